// Rollouts as clients see them: the native answer, the labels, and what ends a progress bar with the truth.

import { afterEach, describe, expect, test } from "bun:test";
import { type Door, openDoor } from "./door.ts";

let door: Door;
afterEach(() => door.close());

const filters = (of: Record<string, string[]>) =>
	`filters=${encodeURIComponent(JSON.stringify(of))}`;

const web = (image: string, args: string[], more: object = {}) => ({
	Name: "web",
	Labels: {},
	TaskTemplate: {
		ContainerSpec: { Image: image, Args: args },
		RestartPolicy: { Condition: "any", Delay: 0 },
	},
	Mode: { Replicated: { Replicas: 2 } },
	...more,
});

async function broken(action: "pause" | "rollback", labels: Record<string, string> = {}) {
	door = await openDoor({ nodes: ["h1"] });
	const more = { Labels: labels, UpdateConfig: { Parallelism: 1, FailureAction: action } };
	await door.ask("POST", "/services/create", web("nginx:1", [], more));
	await door.settle();
	const update = web("nginx:2", ["exit 7"], more);
	expect((await door.ask("POST", "/services/web/update?version=1", update)).status).toBe(200);
	await door.settle();
}

const bar = () =>
	door.ask("GET", `/tasks?${filters({ service: ["web"], "_up-to-date": ["true"] })}`);

describe("an update that fails", () => {
	test("is told whole: outcome, task, node, exit code, last lines", async () => {
		await broken("pause");
		const { status, body } = await door.ask("GET", "/api/services/web/rollouts");
		expect(status).toBe(200);
		expect(body).toMatchObject([
			{
				number: 1,
				kind: "update",
				outcome: "failed",
				from: { image: "nginx:1" },
				to: { image: "nginx:2" },
				progress: { total: 2 },
				failure: {
					name: expect.stringMatching(/^web\.[12]$/),
					nodeName: "h1",
					exitCode: 7,
					oomKilled: false,
					error: "task: non-zero exit (7)",
					lastLines: ["starting", "boom"],
				},
			},
		]);
		expect(body[0].endedAt).toMatch(/^\d{4}-/);
	});

	test("says why where the CLI looks", async () => {
		await broken("pause");
		const { body } = await door.ask("GET", "/services/web");
		expect(body.UpdateStatus.State).toBe("paused");
		expect(body.UpdateStatus.Message).toMatch(
			/^update paused due to failure or early termination of task \w{25} \(web\.[12] on h1\): task: non-zero exit \(7\): its last line: boom$/,
		);
		expect((await bar()).status).toBe(200);
	});

	test("is a label in the answer that nobody sends back, and none in the one that is", async () => {
		await broken("pause");
		const shown = (await door.ask("GET", "/services/web?insertDefaults=true")).body;
		expect(shown.Spec.Labels["skein.rollout.1"]).toMatch(
			/^update failed, \d of 2: nginx:1 to nginx:2; first to fail: web\.[12] on h1: task: non-zero exit \(7\) \| starting \| boom$/,
		);
		expect((await door.ask("GET", "/services/web")).body.Spec.Labels).toEqual({});
		const again = { ...shown.Spec, Labels: { ...shown.Spec.Labels, own: "kept" } };
		const { Index } = shown.Version;
		await door.ask("POST", `/services/web/update?version=${Index}`, again);
		expect((await door.ask("GET", "/services/web")).body.Spec.Labels).toEqual({ own: "kept" });
	});

	test("and goes back: a bar that waits for it is refused, so that the CLI does not end with 0", async () => {
		await broken("rollback");
		expect(await bar()).toMatchObject({
			status: 409,
			body: {
				message: expect.stringMatching(
					/^update rolled back due to failure or early termination of task \w{25} \(web\.[12] on h1\): task: non-zero exit \(7\): its last line: boom$/,
				),
			},
		});
		const { body } = await door.ask("GET", "/api/services/web/rollouts");
		expect(body).toMatchObject([
			{ kind: "automatic rollback", to: { image: "nginx:1" } },
			{ kind: "update", outcome: "rolled back" },
		]);
		// The list itself, and the bar of whatever is asked for next, are as ever.
		expect((await door.ask("GET", `/tasks?${filters({ service: ["web"] })}`)).status).toBe(200);
		const { Index } = (await door.ask("GET", "/services/web")).body.Version;
		await door.ask("POST", `/services/web/update?version=${Index}`, web("nginx:1", []));
		expect((await bar()).status).toBe(200);
	});
});

test("a rollback that was asked for is no refusal", async () => {
	door = await openDoor({ nodes: ["h1"] });
	await door.ask("POST", "/services/create", web("nginx:1", []));
	await door.settle();
	await door.ask("POST", "/services/web/update?version=1", web("nginx:2", []));
	await door.settle();
	await door.ask("POST", "/services/web/update?version=2&rollback=previous", web("nginx:2", []));
	await door.settle();
	expect((await bar()).status).toBe(200);
	const { body } = await door.ask("GET", "/api/services/web/rollouts");
	expect(body.map(({ kind }: { kind: string }) => kind)).toEqual(["rollback", "update"]);
});

test.each(["skein.drain", "skein.rollout.deadline"])("%s must be a duration", async (label) => {
	door = await openDoor({ nodes: ["h1"] });
	const create = web("nginx:1", [], { Labels: { [label]: "soon" } });
	expect(await door.ask("POST", "/services/create", create)).toMatchObject({
		status: 400,
		body: {
			message: `rpc error: code = InvalidArgument desc = label ${label}: "soon" is no duration: write it as 90s, 10m or 1m30s`,
		},
	});
});

test("a stranger's service has no rollouts", async () => {
	door = await openDoor({ nodes: ["h1"] });
	expect((await door.ask("GET", "/api/services/nobody/rollouts")).status).toBe(404);
});
