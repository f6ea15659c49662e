import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Service } from "../../../model/service.ts";
import type { Facts, Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import { Draft } from "../draft.ts";
import { demandOf, refusalOf } from "./filters.ts";
import { nodeInfoOf } from "./nodeinfo.ts";
import {
	facts,
	gigabyte,
	type NodeWords,
	node,
	nodeId,
	placedOn,
	type ServiceWords,
	scheduleNaively,
	serviceId,
	task,
	template,
} from "./schedule.test-data.ts";
import { mayStay, type Placed, schedule, scheduleOn, type Unplaced } from "./schedule.ts";

const waitingIn = (snapshot: Snapshot) =>
	[...snapshot.tasks.values()].filter((one) => one.node === null);

/** `a: n1` for each that waited, `a: -` for one that still does. */
function places(all: Facts): string[] {
	return [...schedule(all, waitingIn(all))].map(
		([id, outcome]) => `${id}: ${outcome.kind === "placed" ? outcome.node : "-"}`,
	);
}

/** Docker's; what would mend it is advice.test.ts's. */
const wordsOf = (outcome: Placed | Unplaced | undefined) =>
	outcome?.kind === "unplaced" ? outcome.reason.split("; smallest change: ")[0] : undefined;

const running = (of: string, id: string, index: number, words = {}) =>
	task(of, id, { node: nodeId(index), ...words });

describe("generic resources", () => {
	const gpus = (index: number, gpu: readonly string[] | number): NodeWords => ({
		index,
		description: { genericResources: { gpu } },
	});
	const learn: ServiceWords = { name: "learn", template: { genericReservations: { gpu: 2 } } };
	const share = (all: Facts) =>
		[...schedule(all, waitingIn(all)).values()].map((outcome) =>
			outcome.kind === "placed"
				? `${outcome.node}: ${JSON.stringify(outcome.genericResources)}`
				: wordsOf(outcome),
		);

	test.each<[string, NodeWords[], Task[], string[]]>([
		[
			"are handed out by name, each to one task",
			[gpus(1, ["a", "b", "c", "d"])],
			["x", "y"].map((id) => task("learn", id)),
			['n1: {"gpu":["a","b"]}', 'n1: {"gpu":["c","d"]}'],
		],
		["are handed out by number", [gpus(1, 3)], [task("learn", "x")], ['n1: {"gpu":2}']],
		[
			"run out",
			[gpus(1, 3), gpus(2, ["a"]), { index: 3 }],
			["x", "y"].map((id) => task("learn", id)),
			['n1: {"gpu":2}', "no suitable node (insufficient resources on 3 nodes)"],
		],
		[
			"that a running task has are not given again",
			[gpus(1, ["a", "b", "c"])],
			[running("learn", "w", 1, { genericResources: { gpu: ["b"] } }), task("learn", "x")],
			['n1: {"gpu":["a","c"]}'],
		],
		[
			"come back when their task has ended",
			[gpus(1, ["a", "b"])],
			[
				running("learn", "w", 1, {
					genericResources: { gpu: ["a", "b"] },
					desired: "shutdown",
					status: { state: "failed" },
				}),
				task("learn", "x"),
			],
			['n1: {"gpu":["a","b"]}'],
		],
	])("%s", (_name, nodes, tasks, want) => {
		expect(share(facts({ nodes, services: [learn], tasks }))).toEqual(want);
	});

	test("of a node that has some go to a global service's task as well", () => {
		const all = facts({ nodes: [gpus(1, 2)], services: [learn] });
		const subject = all.services.get(serviceId("learn")) as Service;
		expect(scheduleOn(all, subject, node(gpus(1, 2)))).toEqual({
			kind: "placed",
			node: nodeId(1),
			genericResources: { gpu: 2 },
		});
	});
});

describe("a node whose disk is full", () => {
	const nodes: NodeWords[] = [{ index: 1, description: { diskFull: true } }];
	const web: ServiceWords = { name: "web" };
	const waits = task("web", "a");
	const had = (state: "failed" | "running", containerId: string) =>
		running("web", "x", 1, { desired: "shutdown", status: { state, containerId } });

	test.each<[string, NodeWords[], Task[], string | undefined]>([
		["gets no new task", nodes, [waits], "no suitable node (disk full on 1 node)"],
		["is passed over for another", [...nodes, { index: 2 }], [waits], undefined],
		["takes one back that ran there", nodes, [had("failed", "c1"), waits], undefined],
		[
			"takes none back that never had its image",
			nodes,
			[had("failed", ""), waits],
			"no suitable node (disk full on 1 node)",
		],
	])("%s", (_name, nodes, tasks, want) => {
		const all = facts({ nodes, services: [web], tasks });
		expect(wordsOf(schedule(all, waitingIn(all)).get(waits.id))).toBe(want as string);
	});

	test("keeps what runs there, and takes no other task of a global service", () => {
		const all = facts({ nodes, services: [web] });
		const subject = all.services.get(serviceId("web")) as Service;
		const [full] = [...all.nodes.values()];
		if (!full) throw new Error("there is a node");
		expect(mayStay(all, subject, full)).toBe(true);
		expect(wordsOf(scheduleOn(all, subject, full))).toBe("no suitable node (disk full on 1 node)");
	});
});

describe("the best node", () => {
	const three: NodeWords[] = [{ index: 1 }, { index: 2 }, { index: 3 }];
	const web: ServiceWords = { name: "web" };
	const db: ServiceWords = { name: "db" };
	const failed = (id: string, index: number, sinceMs: number) =>
		running("web", id, index, { desired: "shutdown", status: { state: "failed", sinceMs } });
	const failures = (count: number, sinceMs: number) =>
		Array.from({ length: count }, (_, at) => failed(`f${at}`, 1, sinceMs));

	test.each<[string, Task[], string[]]>([
		[
			"is one after the other",
			["a", "b", "c"].map((id) => task("web", id)),
			["a: n1", "b: n2", "c: n3"],
		],
		[
			"has fewest tasks of the service",
			[
				running("web", "x", 1),
				running("db", "y", 2),
				running("db", "z", 2),
				running("web", "w", 3),
				task("web", "a"),
			],
			["a: n2"],
		],
		[
			"has fewest tasks of all, where the service has none",
			[running("db", "x", 1), running("db", "y", 3), task("web", "a"), task("web", "b")],
			["a: n2", "b: n1"],
		],
		[
			"has fewest of the service, busy as it be with others",
			[
				...["u", "v", "w"].map((id) => running("db", id, 2)),
				...[1, 1, 2, 3, 3].map((at, nth) => running("web", `x${nth}`, at)),
				task("web", "a"),
			],
			["a: n2"],
		],
		[
			"does not count what is told to stop",
			[
				running("web", "x", 1, { desired: "shutdown" }),
				running("web", "y", 2),
				running("db", "z", 3),
				task("web", "a"),
			],
			["a: n1"],
		],
		[
			"counts what waits to start",
			[
				running("web", "x", 1, { desired: "ready", status: { state: "assigned" } }),
				task("web", "a"),
				task("web", "b"),
			],
			["a: n2", "b: n3"],
		],
		[
			"does not count what still looks for a place, its node given",
			[running("db", "x", 1, { status: { state: "pending" } }), task("web", "a")],
			["a: n1"],
		],
		[
			"is not where the service just failed five times",
			[
				...failures(5, 1000),
				task("web", "a", { createdMs: 2000 }),
				task("web", "b"),
				task("web", "c"),
			],
			["a: n2", "b: n3", "c: n2"],
		],
		["may be where it failed four times", [...failures(4, 1000), task("web", "a")], ["a: n1"]],
		[
			"may be where it failed long ago",
			[...failures(5, 1000), task("web", "a", { createdMs: 301_000 })],
			["a: n1"],
		],
	])("%s", (_name, tasks, want) => {
		expect(places(facts({ nodes: three, services: [web, db], tasks }))).toEqual(want);
	});

	test("is any, if the service fails everywhere", () => {
		const all = facts({
			nodes: [{ index: 1 }],
			services: [web],
			tasks: [...failures(9, 1000), task("web", "a", { createdMs: 2000 })],
		});
		expect(places(all)).toEqual(["a: n1"]);
	});
});

describe("spread preferences", () => {
	const zones: NodeWords[] = [
		{ index: 1, labels: { zone: "a", rack: "1" } },
		{ index: 2, labels: { zone: "a", rack: "1" } },
		{ index: 3, labels: { zone: "a", rack: "2" } },
		{ index: 4, labels: { zone: "b", rack: "3" } },
		{ index: 5 },
	];
	const tasks = (count: number) => Array.from({ length: count }, (_, at) => task("web", `t${at}`));
	const perNode = (all: Facts) => {
		const outcomes = schedule(all, waitingIn(all));
		return Object.fromEntries(
			[...Map.groupBy(outcomes.values(), (one) => (one.kind === "placed" ? one.node : "-"))]
				.map(([id, group]) => [id, group.length] as const)
				.sort(),
		);
	};

	test.each([
		["none: nodes alike", [], 10, { n1: 2, n2: 2, n3: 2, n4: 2, n5: 2 }],
		[
			"one level, those without the label together",
			["node.labels.zone"],
			12,
			{ n1: 2, n2: 1, n3: 1, n4: 4, n5: 4 },
		],
		[
			"two levels",
			["node.labels.zone", "node.labels.rack"],
			12,
			{ n1: 1, n2: 1, n3: 2, n4: 4, n5: 4 },
		],
		["what is no label is passed over", ["node.id"], 5, { n1: 1, n2: 1, n3: 1, n4: 1, n5: 1 }],
	] as const)("%s", (_name, spreads, count, want) => {
		const web = { name: "web", placement: { spreads } };
		expect(perNode(facts({ nodes: zones, services: [web], tasks: tasks(count) }))).toEqual(want);
	});

	test("a branch that is full leaves the rest to the others", () => {
		const web = {
			name: "web",
			placement: { spreads: ["node.labels.zone"] as const, maxReplicasPerNode: 3 },
		};
		const all = facts({ nodes: zones, services: [web], tasks: tasks(16) });
		expect(perNode(all)).toEqual({ "-": 1, n1: 3, n2: 3, n3: 3, n4: 3, n5: 3 });
	});
});

describe("what cannot be placed says why, in Docker's words", () => {
	const nodes: NodeWords[] = [
		{ index: 1, labels: { zone: "a" } },
		{ index: 2, labels: { zone: "b" }, description: { memoryBytes: gigabyte } },
		{ index: 3, labels: { zone: "b" } },
	];
	test.each<[string, NodeWords[], ServiceWords, Task[], string]>([
		["no nodes at all", [], { name: "web" }, [], "no suitable node"],
		[
			"constraints, plural",
			nodes,
			{ name: "web", placement: { constraints: ["node.labels.zone==c"] } },
			[],
			"no suitable node (scheduling constraints not satisfied on 3 nodes)",
		],
		[
			"several reasons, the most frequent first",
			nodes,
			{
				name: "web",
				memoryBytes: 2 * gigabyte,
				placement: { constraints: ["node.labels.zone==c"] },
			},
			[],
			"no suitable node (scheduling constraints not satisfied on 2 nodes; insufficient resources on 1 node)",
		],
		[
			"as frequent: the filters' order",
			nodes.slice(1),
			{
				name: "web",
				memoryBytes: 2 * gigabyte,
				placement: { constraints: ["node.labels.zone==c"] },
			},
			[],
			"no suitable node (insufficient resources on 1 node; scheduling constraints not satisfied on 1 node)",
		],
		[
			"cpus taken by others",
			[{ index: 1 }],
			{ name: "web", nanoCpus: 3e9 },
			[running("web", "x", 1)],
			"no suitable node (insufficient resources on 1 node)",
		],
		[
			"cpus still held by one told to stop",
			[{ index: 1 }],
			{ name: "web", nanoCpus: 3e9 },
			[running("web", "x", 1, { desired: "shutdown" })],
			"no suitable node (insufficient resources on 1 node)",
		],
		[
			"unavailable in each of the ways",
			[
				{ index: 1, state: "down" },
				{ index: 2, state: "unknown" },
				{ index: 3, availability: "pause" },
				{ index: 4, availability: "drain" },
				{ index: 5, description: { problems: ["no nft"] } },
			],
			{ name: "web" },
			[],
			"no suitable node (5 nodes not available for new tasks)",
		],
		[
			"one unavailable",
			[{ index: 1, state: "down" }],
			{ name: "web" },
			[],
			"no suitable node (1 node not available for new tasks)",
		],
		[
			"platform",
			[{ index: 1 }, { index: 2 }],
			{ name: "web", placement: { platforms: [{ os: "linux", architecture: "arm64" }] } },
			[],
			"no suitable node (unsupported platform on 2 nodes)",
		],
		[
			"host port",
			[{ index: 1 }],
			{ name: "web", hostPorts: [8080] },
			[running("web", "x", 1)],
			"no suitable node (host-mode port already in use on 1 node)",
		],
		[
			"max replicas",
			nodes,
			{ name: "web", placement: { maxReplicasPerNode: 1 } },
			[running("web", "x", 1), running("web", "y", 2), running("web", "z", 3)],
			"no suitable node (max replicas per node limit exceed)",
		],
		[
			"volume plugin",
			[{ index: 1 }],
			{
				name: "web",
				template: {
					container: {
						...template({ name: "web" }).container,
						mounts: [
							{
								type: "volume",
								source: "v",
								target: "/v",
								readOnly: false,
								volume: { driver: "rexray", driverOptions: {}, labels: {}, noCopy: false },
							},
						],
					},
				},
			},
			[],
			"no suitable node (missing plugin on 1 node)",
		],
	])("%s", (_name, some, web, there, want) => {
		const waits = task("web", "waits");
		const all = facts({ nodes: some, services: [web], tasks: [...there, waits] });
		expect(wordsOf(schedule(all, [waits]).get(waits.id))).toBe(want);
	});

	test("what was placed before in the same call counts", () => {
		const services = [
			{ name: "web", nanoCpus: 3e9 },
			{ name: "db", nanoCpus: 2e9 },
		];
		const tasks = [task("web", "a"), task("db", "b"), task("web", "c")];
		expect(places(facts({ nodes: [{ index: 1 }], services, tasks }))).toEqual([
			"a: n1",
			"c: -",
			"b: -",
		]);
	});
});

test.each([
	["x86_64", "amd64", true],
	["amd64", "x86_64", true],
	["aarch64", "arm64", true],
	["x86_64", "", true],
	["x86_64", "arm64", false],
])("a node that is %s runs images for %p: %p", (architecture, wanted, want) => {
	const web = { name: "web", placement: { platforms: [{ os: "linux", architecture: wanted }] } };
	const all = facts({
		nodes: [{ index: 1, description: { architecture } }],
		services: [web],
		tasks: [task("web", "a")],
	});
	expect(places(all)).toEqual([want ? "a: n1" : "a: -"]);
});

describe("a global service on a node", () => {
	const web: ServiceWords = {
		name: "web",
		nanoCpus: 3e9,
		hostPorts: [80],
		placement: { constraints: ["node.labels.zone==a"] },
	};
	const other: ServiceWords = { name: "other", hostPorts: [80] };
	test.each<[string, NodeWords, Task[], string | undefined, boolean]>([
		["fits", { index: 1, labels: { zone: "a" } }, [], undefined, true],
		[
			"counts not its own task",
			{ index: 1, labels: { zone: "a" } },
			[running("web", "x", 1)],
			undefined,
			true,
		],
		[
			"finds its port taken",
			{ index: 1, labels: { zone: "a" } },
			[running("other", "x", 1)],
			"no suitable node (host-mode port already in use on 1 node)",
			true,
		],
		[
			"is not placed on a paused node, but stays",
			{ index: 1, labels: { zone: "a" }, availability: "pause" },
			[],
			"no suitable node (1 node not available for new tasks)",
			true,
		],
		[
			"goes when the label goes",
			{ index: 1 },
			[running("web", "x", 1)],
			"no suitable node (scheduling constraints not satisfied on 1 node)",
			false,
		],
	])("%s", (_name, words, tasks, want, stays) => {
		const all = facts({ nodes: [words], services: [web, other], tasks });
		const subject = all.services.get(serviceId("web")) as Service;
		const outcome = scheduleOn(all, subject, node(words));
		expect(wordsOf(outcome)).toBe(want);
		expect(mayStay(all, subject, node(words))).toBe(stays);
	});
});

const anyNode = fc.record({
	zone: fc.constantFrom("a", "b", "c", undefined),
	rack: fc.constantFrom("1", "2"),
	state: fc.constantFrom("ready", "ready", "ready", "down" as const),
	availability: fc.constantFrom("active", "active", "active", "pause" as const),
	cpus: fc.integer({ min: 0, max: 4 }),
});
const anyService = fc.record({
	constraints: fc.subarray(["node.labels.zone==a", "node.labels.zone!=b", "node.labels.rack!=2"], {
		maxLength: 1,
	}),
	spreads: fc.subarray(["node.labels.zone", "node.labels.rack"]),
	maxReplicasPerNode: fc.integer({ min: 0, max: 3 }),
	cpus: fc.integer({ min: 0, max: 2 }),
	hostPort: fc.option(fc.constantFrom(80, 81)),
});
const anyTask = fc.record({
	service: fc.nat(2),
	node: fc.nat(7),
	desired: fc.constantFrom("running", "ready", "shutdown" as const),
	state: fc.constantFrom("running", "running", "failed", "starting" as const),
	sinceMs: fc.nat(600_000),
});

const anyCluster = fc
	.record({
		nodes: fc.array(anyNode, { maxLength: 7 }),
		services: fc.array(anyService, { minLength: 3, maxLength: 3 }),
		tasks: fc.array(anyTask, { maxLength: 40 }),
		waiting: fc.array(fc.nat(2), { maxLength: 20 }),
	})
	.map(
		({ nodes, services, tasks, waiting }) =>
			() =>
				facts({
					nodes: nodes.map(({ zone, rack, cpus, ...rest }, at) => ({
						index: at + 1,
						...rest,
						labels: { rack, ...(zone ? { zone } : {}) },
						description: { nanoCpus: cpus * 1e9 },
					})) as NodeWords[],
					services: services.map(({ cpus, hostPort, ...placement }, at) => ({
						name: `${at}`,
						nanoCpus: cpus * 1e9,
						hostPorts: hostPort ? [hostPort] : [],
						placement,
					})),
					tasks: [
						...tasks.map((words, at) =>
							running(`${words.service}`, `r${at}`, words.node, {
								desired: words.desired,
								status: { state: words.state, sinceMs: words.sinceMs },
							}),
						),
						...waiting.map((of, at) => task(`${of}`, `w${at}`)),
					],
				}),
	);

describe("whatever the cluster", () => {
	test("the outcome is that of the plain scheduler", () => {
		fc.assert(
			fc.property(anyCluster, (make) => {
				const all = make();
				const fast = schedule(all, waitingIn(all));
				const naive = scheduleNaively(make(), waitingIn(all));
				expect(Object.fromEntries(fast)).toEqual(Object.fromEntries(naive));
			}),
			{ numRuns: 500 },
		);
	});

	test("nothing is placed where it may not run", () => {
		fc.assert(
			fc.property(anyCluster, (make) => {
				const all = make();
				for (const [id, outcome] of schedule(all, waitingIn(all))) {
					if (outcome.kind === "unplaced") continue;
					const waits = all.tasks.get(id) as Task;
					const there = all.nodes.get(outcome.node);
					if (!there) throw new Error("placed on a node that is not there");
					const ofService = [...all.tasksOfNode(there.id).values()].filter(
						(one) =>
							one.service === waits.service &&
							one.desired !== "shutdown" &&
							one.status.state !== "failed",
					).length;
					const demand = demandOf(all, waits.service, 1);
					expect(
						refusalOf(demand, nodeInfoOf(all, there, { index: 0, active: 0 }), ofService),
					).toBeUndefined();
					all.setTask(placedOn(waits, there.id));
				}
			}),
		);
	});

	test("a draft is as good as facts", () => {
		fc.assert(
			fc.property(anyCluster, fc.array(fc.nat(40)), (make, ends) => {
				const all = make();
				const draft = new Draft(make());
				for (const [at, one] of [...all.tasks.values()].entries()) {
					if (!ends.includes(at) || one.node === null) continue;
					all.apply({ kind: "put-task", task: { ...one, desired: "shutdown" } });
					draft.put({ kind: "put-task", task: { ...one, desired: "shutdown" } });
				}
				expect(schedule(draft, waitingIn(draft))).toEqual(schedule(all, waitingIn(all)));
			}),
		);
	});

	test("the snapshot is left as it was", () => {
		fc.assert(
			fc.property(anyCluster, (make) => {
				const all = make();
				schedule(all, waitingIn(all));
				expect([...all.tasks]).toEqual([...make().tasks]);
			}),
			{ numRuns: 20 },
		);
	});
});

test("nodes that are alike differ by one task at most", () => {
	fc.assert(
		fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(200), fc.nat(200), (size, web, db) => {
			const many = (of: string, count: number) =>
				Array.from({ length: count }, (_, at) => task(of, `${of}${at}`));
			const all = facts({
				nodes: Array.from({ length: size }, (_, at) => ({ index: at + 1 })),
				services: [{ name: "web" }, { name: "db" }],
				tasks: [...many("web", web), ...many("db", db)],
			});
			for (const [id, outcome] of schedule(all, waitingIn(all))) {
				if (outcome.kind === "placed")
					all.setTask(placedOn(all.tasks.get(id) as Task, outcome.node));
			}
			for (const of of ["web", "db", ""]) {
				const counts = [...all.nodes.keys()].map(
					(id) =>
						[...all.tasksOfNode(id).values()].filter(({ service }) => service.endsWith(of)).length,
				);
				expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
			}
		}),
		{ numRuns: 50 },
	);
});
