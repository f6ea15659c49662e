// Jobs through the door: what clients are shown of them, run after run. Every answer is held against Docker's schema.

import { afterEach, expect, test } from "bun:test";
import { type Door, openDoor } from "./door.ts";

let door: Door;
afterEach(() => door.close());

const job = (exit: string, more: object = {}) => ({
	Name: "job",
	TaskTemplate: {
		ContainerSpec: { Image: "busybox:1.36", Args: ["sh", "-c", exit] },
		RestartPolicy: { Condition: "none" },
	},
	Mode: { ReplicatedJob: { TotalCompletions: 3, MaxConcurrent: 2 } },
	...more,
});

async function begin(body: object): Promise<void> {
	door = await openDoor({ nodes: ["h1", "h2"] });
	await Bun.sleep(2);
	const made = await door.ask("POST", "/services/create", body);
	expect([made.status, made.body.message]).toEqual([201, undefined]);
}

const service = async (query = "") => (await door.ask("GET", `/services/job${query}`)).body;
const status = async () => (await door.ask("GET", "/services?status=true")).body[0].ServiceStatus;
// biome-ignore lint/suspicious/noExplicitAny: read as clients without types do
const tasks = async (filters: object = {}): Promise<any[]> =>
	(
		await door.ask(
			"GET",
			`/tasks?filters=${encodeURIComponent(JSON.stringify({ service: ["job"], ...filters }))}`,
		)
	).body;

test("slots count from 0, tasks are meant to complete, and so many are", async () => {
	await begin(job("exit 0"));
	expect(await status()).toEqual({ RunningTasks: 0, DesiredTasks: 2, CompletedTasks: 0 });
	expect((await tasks()).map(({ Slot, DesiredState }) => [Slot, DesiredState])).toEqual([
		[undefined, "complete"],
		[1, "complete"],
	]);
	await door.settle();
	const done = await tasks();
	expect(done.map(({ Slot, Status, JobIteration }) => [Slot, Status.State, JobIteration])).toEqual([
		[undefined, "complete", {}],
		[1, "complete", {}],
		[2, "complete", {}],
	]);
	expect(await tasks({ "desired-state": ["complete"] })).toHaveLength(3);
	expect(await status()).toEqual({ RunningTasks: 0, DesiredTasks: 0, CompletedTasks: 3 });
	const { JobStatus, UpdateStatus, Spec } = await service();
	expect([JobStatus.JobIteration, typeof JobStatus.LastExecution]).toEqual([{}, "string"]);
	expect(UpdateStatus).toBeUndefined();
	expect(Spec.Mode).toEqual({ ReplicatedJob: { TotalCompletions: 3, MaxConcurrent: 2 } });
});

test("the same spec again runs nothing, --force does, and what is sent back with defaults is taken", async () => {
	await begin(job("exit 0"));
	await door.settle();
	const update = async (force: number) => {
		const { Version, Spec } = await service("?insertDefaults=true");
		const answer = await door.ask("POST", `/services/job/update?version=${Version.Index}`, {
			...Spec,
			TaskTemplate: { ...Spec.TaskTemplate, ForceUpdate: force },
		});
		expect([answer.status, answer.body.message]).toEqual([200, undefined]);
		await door.settle();
	};
	const { Version, Spec } = await service();
	await door.ask("POST", `/services/job/update?version=${Version.Index}`, Spec);
	await door.settle();
	expect((await service()).JobStatus.JobIteration).toEqual({});
	expect(await tasks()).toHaveLength(3);
	await update(1);
	expect((await service()).JobStatus.JobIteration).toEqual({ Index: 1 });
	expect(await tasks({ "_up-to-date": ["true"] })).toHaveLength(3);
	expect(await status()).toMatchObject({ CompletedTasks: 3 });
	const now = await service();
	const back = await door.ask(
		"POST",
		`/services/job/update?version=${now.Version.Index}&rollback=previous`,
		now.Spec,
	);
	expect([back.status, back.body.message]).toEqual([
		400,
		"rpc error: code = FailedPrecondition desc = a job has no roll-back: run what it was before with docker service update, which starts a new run",
	]);
});

test("one that failed for good says so, and why", async () => {
	await begin(job("exit 7"));
	await door.settle();
	const { UpdateStatus } = await service();
	expect(UpdateStatus.State).toBe("paused");
	expect(UpdateStatus.Message).toMatch(
		/^job failed: 0 of 3 completed, the others failed for good: task \w{25}: task: non-zero exit \(7\)$/,
	);
	expect(await status()).toEqual({ RunningTasks: 0, DesiredTasks: 2, CompletedTasks: 0 });
});

test("a global job counts the nodes that completed it", async () => {
	await begin(job("exit 0", { Mode: { GlobalJob: {} } }));
	expect(await status()).toEqual({ RunningTasks: 0, DesiredTasks: 2, CompletedTasks: 0 });
	await door.settle();
	expect(await status()).toEqual({ RunningTasks: 0, DesiredTasks: 0, CompletedTasks: 2 });
	expect(new Set((await tasks()).map(({ NodeID }) => NodeID)).size).toBe(2);
});

test("what completions and concurrency default to is what the CLI counts on", async () => {
	await begin(job("exit 0", { Mode: { ReplicatedJob: {} } }));
	expect((await service()).Spec.Mode).toEqual({
		ReplicatedJob: { TotalCompletions: 1, MaxConcurrent: 1 },
	});
});

test("one with a schedule runs nothing yet, and tells when", async () => {
	await begin(job("exit 0", { Labels: { "skein.schedule": "0 0 1 1 *" } }));
	await door.settle();
	expect(await tasks()).toEqual([]);
	const { JobStatus, UpdateStatus } = await service();
	expect(JobStatus).toEqual({ JobIteration: {} });
	expect([UpdateStatus.State, UpdateStatus.Message]).toEqual([
		"completed",
		expect.stringMatching(/^job runs next at \d{4}-01-01T00:00:00.000Z$/),
	]);
});

test("one with a schedule runs when it is due, once", async () => {
	await begin(job("exit 0", { Labels: { "skein.schedule": "* * * * * *" } }));
	const seen = new Set<number>();
	const endMs = Date.now() + 20_000;
	while (seen.size < 3 && Date.now() < endMs) {
		await door.settle();
		const { JobStatus } = await service();
		if (JobStatus.LastExecution) seen.add(JobStatus.JobIteration.Index ?? 0);
		await Bun.sleep(50);
	}
	expect([...seen].slice(0, 3)).toEqual([0, 1, 2]);
	const ofRuns = Map.groupBy(await tasks(), ({ JobIteration }) => JobIteration.Index ?? 0);
	for (const [, group] of ofRuns) {
		const slots = group.map(({ Slot }) => Slot ?? 0);
		expect(new Set(slots).size).toBe(slots.length);
	}
});
