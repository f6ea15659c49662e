// The laws of planning, whatever happened before.

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Change, Moment, Scope } from "../../model/change.ts";
import { slotHolder } from "../../model/network.ts";
import { isJob, type Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { Little } from "../../test/build.ts";
import { befall, begin, type Event, event, history, historyOfJob } from "./arbitrary.test-data.ts";
import { check } from "./checks.ts";
import { Draft } from "./draft.ts";
import { completes } from "./orchestrator/job.ts";
import { plan } from "./plan.ts";
import { showChanges, showSnapshot } from "./show.ts";

/** `SKEIN_LAW_RUNS=20000 bun test control-plane/manager/laws.test.ts` for whoever has the time. */
const runs = { numRuns: Number(process.env["SKEIN_LAW_RUNS"] ?? 200) };

const globalJob = {
	replicas: 0,
	mode: "global-job",
	concurrent: 1,
	schedule: "",
	networks: [],
	published: false,
	condition: "any",
} as const;

function after(past: readonly Event[]): Little {
	const little = begin();
	for (const each of past) befall(little, each);
	return little;
}

/** Ids in order, the same for everybody who asks anew. */
function momentOf(little: Little): Moment {
	let count = 0;
	return { ...little.moment(), newId: () => `fresh-${String(++count).padStart(4, "0")}` };
}

function landed(snapshot: Snapshot, changes: readonly Change[]): Draft {
	const draft = new Draft(snapshot);
	for (const change of changes) draft.put(change);
	return draft;
}

test("a plan settles: planning the planned changes nothing", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = after(past);
			const moment = momentOf(little);
			const { changes } = plan(little.facts, moment);
			const again = plan(landed(little.facts, changes), moment);
			expect(showChanges(little.facts, again.changes)).toEqual([]);
		}),
		runs,
	);
});

test("a plan depends on nothing but what it is given", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = after(past);
			const [first, second] = [
				plan(little.facts, momentOf(little)),
				plan(little.facts, momentOf(little)),
			];
			expect(second).toEqual(first);
		}),
		runs,
	);
});

test("a plan for what was touched equals a plan for all", () => {
	fc.assert(
		fc.property(history, event, (past, last) => {
			const little = after(past);
			little.plan();
			const before = snapshotOf(little);
			befall(little, last);
			const scope = touchedSince(before, little);
			const whole = plan(little.facts, momentOf(little), "all");
			const part = plan(little.facts, momentOf(little), scope);
			const show = (changes: readonly Change[]) => showSnapshot(landed(little.facts, changes));
			expect(show(part.changes)).toEqual(show(whole.changes));
			expect(part.changes).toHaveLength(whole.changes.length);
		}),
		{
			...runs,
			// Found: a plan for all knew only the nodes that are there, and left the last task of one that is gone.
			examples: [
				[
					[
						{ kind: "create", name: "web", words: globalJob },
						{ kind: "turns", count: 4 },
						{ kind: "remove", name: "web" },
						{ kind: "forget", node: 2 },
					],
					{ kind: "sick", pick: 33 },
				],
			],
		},
	);
});

interface Before {
	readonly tasks: ReadonlyMap<unknown, unknown>;
	readonly nodes: ReadonlyMap<unknown, unknown>;
	readonly services: ReadonlyMap<unknown, unknown>;
}

const snapshotOf = ({ facts }: Little): Before => ({
	tasks: new Map(facts.tasks),
	nodes: new Map(facts.nodes),
	services: new Map(facts.services),
});

/** As the host of a cluster reckons it: services and nodes of what is another object now. */
function touchedSince(before: Before, { facts }: Little): Scope {
	const tasks = [...facts.tasks.values()].filter((task) => before.tasks.get(task.id) !== task);
	const nodes = [...facts.nodes.values()].filter((node) => before.nodes.get(node.id) !== node);
	const services = [...facts.services.values()].filter(
		(service) => before.services.get(service.id) !== service,
	);
	return {
		services: new Set([...tasks.map(({ service }) => service), ...services.map(({ id }) => id)]),
		nodes: new Set([
			...nodes.map(({ id }) => id),
			...tasks.flatMap(({ node }) => (node ? [node] : [])),
		]),
	};
}

test("what has been planned is sound, at every step", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = begin();
			for (const each of past) {
				befall(little, each);
				little.plan();
				expect(check(little.facts)).toEqual([]);
			}
		}),
		runs,
	);
});

test("a slot keeps its address, but for updates that start first", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = begin();
			const addresses = new Map<string, string>();
			for (const each of past) {
				befall(little, each.kind === "update" ? { ...each, order: "stop-first" } : each);
				little.plan();
				const there = new Set<string>();
				for (const task of little.facts.tasks.values()) {
					if (isTerminal(task.status.state) || !isMeantToRun(task)) continue;
					for (const { network, address } of task.attachments) {
						const key = `${network} ${slotHolder(task)}`;
						there.add(key);
						expect(address).toBe(addresses.get(key) ?? address);
						addresses.set(key, address);
					}
				}
				for (const key of addresses.keys()) {
					const [network = "", holder = ""] = key.split(" ");
					if (!there.has(key) && !little.facts.leaseOf(network as never, holder)) {
						addresses.delete(key);
					}
				}
			}
		}),
		runs,
	);
});

test("once misfortune ends, everything comes to what was asked for", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = after(past.filter(({ kind }) => kind !== "forget"));
			little.silent.clear();
			little.lagging.clear();
			for (const node of [...little.facts.nodes.values()]) {
				befall(little, { kind: "disk", node: node.index, full: false });
				little.availability(node.index, "active");
			}
			for (const task of little.facts.tasks.values()) {
				if (task.status.health === "unhealthy" && !isTerminal(task.status.state)) {
					little.report(task, { health: "healthy" });
				}
			}
			little.fate = ({ iteration }) => (iteration === undefined ? undefined : "complete");
			little.settle(600_000);
			expect(check(little.facts)).toEqual([]);
			for (const service of little.facts.services.values()) {
				const { mode } = service.spec;
				const { condition } = service.spec.template.restart;
				expect(service.removing).toBe(false);
				if (condition !== "any" || isCramped(little, service.id)) continue;
				if (isJob(mode)) {
					if (mode.kind === "replicated-job" && service.job?.nextMs === null) {
						expect(service.job?.state).toBe("complete");
						expect(completed(little, service)).toHaveLength(mode.totalCompletions);
					}
					continue;
				}
				const wanted = mode.kind === "global" ? little.facts.nodes.size : mode.replicas;
				const serving = little.running(service.spec.name).filter((task) => task.serving);
				if (service.updateStatus?.state !== "paused") expect(serving).toHaveLength(wanted);
			}
		}),
		{ numRuns: 100 },
	);
});

const completed = ({ facts }: Little, service: Service) =>
	[...facts.tasksOfService(service.id).values()].filter((task) => completes(service, task));

test("a finished job never runs again, whatever happens and however little history is kept", () => {
	fc.assert(
		fc.property(historyOfJob, fc.constantFrom(0, 1, 5), (past, taskHistory) => {
			const little = begin();
			little.facts.cluster = { ...little.facts.cluster, taskHistory };
			const done = new Map<string, string>();
			const over = new Set<string>();
			for (const each of past) {
				befall(little, each);
				little.plan();
				for (const service of little.facts.services.values()) {
					const { job, spec } = service;
					if (!job) continue;
					for (const task of completed(little, service)) {
						const key = `${slotHolder(task)} ${job.iteration}`;
						// The same task for ever: a second one would be a second run.
						expect(done.get(key) ?? task.id).toBe(task.id);
						done.set(key, task.id);
					}
					for (const task of little.facts.tasksOfService(service.id).values()) {
						const isDone = done.has(`${slotHolder(task)} ${task.iteration}`);
						const isToRun = isMeantToRun(task) && !isTerminal(task.status.state);
						expect(isDone && isToRun).toBe(false);
					}
					const run = `${service.id} ${job.iteration}`;
					if (spec.mode.kind === "replicated-job") {
						if (over.has(run)) expect(job.state).not.toBe("running");
						if (job.state === "complete" || job.state === "failed") over.add(run);
					}
				}
			}
		}),
		runs,
	);
});

/** Some task waits for an address of the tiny network, and says so. */
function isCramped(little: Little, service: Parameters<Snapshot["tasksOfService"]>[0]): boolean {
	return [...little.facts.tasksOfService(service).values()].some(({ status }) =>
		status.error.includes("no free address"),
	);
}
