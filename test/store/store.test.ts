// The store's laws, on an embedded file and on a real libSQL server: what lands, lands whole and once; what is kept up
// is what would be read; reports come to the same whatever their order.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Reported } from "../../control-plane/cluster.ts";
import { randomId } from "../../control-plane/clusters.ts";
import type { Database } from "../../control-plane/store/client.ts";
import {
	type ClusterStore,
	insertCluster,
	openCluster,
} from "../../control-plane/store/cluster.ts";
import { mergeReports, StaleSnapshot } from "../../control-plane/store/commit.ts";
import { eraseRows } from "../../control-plane/store/copy.ts";
import {
	applyCommit,
	applyReports,
	type Held,
	holdNews,
	readNews,
} from "../../control-plane/store/snapshot.ts";
import type { Change } from "../../model/change.ts";
import { must } from "../../model/invariant.ts";
import type { Material } from "../../model/material.ts";
import type { Facts } from "../../model/snapshot.ts";
import { type TaskState, taskStates } from "../../model/taskstate.ts";
import { hasSqld, startFile, startSqld, type TestDatabase } from "./databases.ts";
import {
	networkId,
	nodeId,
	sampleChanges,
	sampleCluster,
	sampleDescription,
	sampleMaterial,
	sampleNetwork,
	sampleNode,
	sampleService,
	sampleStatus,
	sampleTask,
	sampleTemplate,
	serviceId,
	taskId,
} from "./sample.ts";

const kinds = [
	["a file", startFile, true],
	["a libSQL server", startSqld, hasSqld],
] as const;

for (const [name, start, there] of kinds) {
	describe.skipIf(!there)(`on ${name}`, () => {
		let at: TestDatabase;
		let database: Database;
		beforeAll(async () => {
			at = await start();
			database = await at.open();
		});
		afterAll(async () => {
			database.close();
			await at.stop();
		});

		async function newStore(changes: readonly Change[] = []): Promise<ClusterStore> {
			const cluster = sampleCluster(randomId());
			await insertCluster(database, {
				organization: "owner",
				cluster,
				changes,
				nowMs: 1,
			});
			return openCluster(database, cluster.id);
		}

		const commitAt = (store: ClusterStore, base: number, changes: readonly Change[]) =>
			store.commit({
				base,
				writer: randomId(),
				nowMs: 5,
				changes,
				events: [],
				planned: null,
				wake: { atMs: null, whole: false },
			});

		test("of 200 commits that race for each revision, exactly one lands, whole", async () => {
			const store = await newStore();
			for (let revision = 1; revision <= 3; revision++) {
				const racers = await Promise.allSettled(
					Array.from({ length: 200 }, (_, racer) =>
						commitAt(store, revision, [
							{ kind: "put-service", service: sampleService(revision, racer) },
							{ kind: "put-network", network: sampleNetwork(revision, racer) },
						]),
					),
				);
				const landed = racers.flatMap((each, racer) =>
					each.status === "fulfilled" ? [racer] : [],
				);
				const refused = racers.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
				expect(landed).toHaveLength(1);
				expect(refused.every((reason) => reason instanceof StaleSnapshot)).toBe(true);
				const { facts } = await store.load();
				expect(facts.revision).toBe(revision + 1);
				const [winner = -1] = landed;
				expect(facts.services.get(serviceId(revision))?.specVersion).toBe(winner);
				expect(facts.networks.get(networkId(revision))?.labels).toEqual({ version: `${winner}` });
			}
		}, 60_000);

		test("contents lie beside the snapshot, and go with their version, their secret, their cluster", async () => {
			const store = await newStore();
			const other = await newStore();
			const [pw, key] = [sampleMaterial(1, [1]), sampleMaterial(2, [1])];
			const name = (material: Material, version: number) => ({ material: material.id, version });
			const content = (material: Material, version: number): Change => ({
				kind: "put-content",
				content: { ...name(material, version), sealed: `sealed ${material.id} ${version}` },
			});
			const all = [name(pw, 1), name(pw, 2), name(key, 1)];
			const there = async (from = store) =>
				(await from.contents(all)).map(({ material, version, sealed }) => {
					expect(sealed).toBe(`sealed ${material} ${version}`);
					return `${material === pw.id ? "pw" : "key"} ${version}`;
				});
			await commitAt(store, 1, [
				{ kind: "put-material", material: pw },
				{ kind: "put-material", material: key },
				content(pw, 1),
				content(key, 1),
			]);
			expect((await there()).sort()).toEqual(["key 1", "pw 1"]);
			expect(await there(other)).toEqual([]);
			const two = sampleMaterial(1, [1, 2]);
			await commitAt(store, 2, [{ kind: "put-material", material: two }, content(pw, 2)]);
			expect((await there()).sort()).toEqual(["key 1", "pw 1", "pw 2"]);
			const held = await store.load();
			expect(held.facts.materials.get(pw.id)).toEqual(two);
			expect(JSON.stringify([...held.facts.materials.values()])).not.toContain("sealed");
			await commitAt(store, 3, [{ kind: "put-material", material: sampleMaterial(1, [2]) }]);
			expect((await there()).sort()).toEqual(["key 1", "pw 2"]);
			await commitAt(store, 4, [{ kind: "remove-material", id: key.id }]);
			expect(await there()).toEqual(["pw 2"]);
			await store.refresh(held);
			expect([...held.facts.materials.values()]).toEqual([sampleMaterial(1, [2])]);
			await eraseRows(database, store.id);
			expect(there()).rejects.toThrow(/erased/);
			await there().catch(() => undefined);
		});

		test("a plan that read revision n never lands on n+1, even if it changes other things", async () => {
			const store = await newStore();
			await commitAt(store, 1, [{ kind: "put-network", network: sampleNetwork(1) }]);
			const late = commitAt(store, 1, [{ kind: "put-service", service: sampleService(1) }]);
			expect(late).rejects.toThrow(StaleSnapshot);
			await late.catch(() => undefined);
			expect((await store.load()).facts.services.size).toBe(0);
		});

		test("nothing lands in a cluster that was erased", async () => {
			const store = await newStore(sampleChanges({ nodes: 1, tasks: 1 }));
			await eraseRows(database, store.id);
			const after = commitAt(store, 1, [{ kind: "put-service", service: sampleService(2) }]);
			expect(after).rejects.toThrow(/erased/);
			await after.catch(() => undefined);
			const report = store.report(mergeReports([{ node: nodeId(1), leaseUntilMs: 5 }]), 1, 1);
			expect(report).rejects.toThrow(/erased/);
			await report.catch(() => undefined);
			expect(await readNews(database, store.id, 0)).toBeUndefined();
			const [left] = await database.read([
				{ sql: "select count(*) as n from service where cluster = ?", args: [store.id] },
			]);
			expect(Number(left?.rows[0]?.["n"])).toBe(0);
		});

		test("a node's decisions and its reports do not overwrite each other", async () => {
			const store = await newStore([{ kind: "put-node", node: sampleNode(1) }]);
			const description = { ...sampleDescription(1), hostname: "renamed" };
			const before = await store.load();
			await store.report(
				mergeReports([
					{ node: nodeId(1), description, leaseUntilMs: 77, applied: { revision: 1, hash: "h" } },
				]),
				1,
				1,
			);
			// Decided from the snapshot before the report.
			const drained = {
				...sampleNode(1),
				spec: { ...sampleNode(1).spec, availability: "drain" as const },
			};
			await commitAt(store, before.facts.revision, [{ kind: "put-node", node: drained }]);
			const node = (await store.load()).facts.nodes.get(nodeId(1));
			expect(node).toEqual({
				...drained,
				description,
				leaseUntilMs: 77,
				appliedRevision: 1,
				appliedHash: "h",
			});
		});

		test("pages: rows too many and too large for one answer arrive, each once", async () => {
			const store = await newStore(sampleChanges({ nodes: 2, tasks: 12_000 }));
			const large = (n: number) => ({
				...sampleService(n),
				document: { Name: `web${n}`, filler: "x".repeat(2_500_000) },
			});
			for (let n = 2; n < 6; n++) {
				await commitAt(store, n - 1, [{ kind: "put-service", service: large(n) }]);
			}
			const { facts } = await store.load();
			expect(facts.tasks.size).toBe(12_000);
			expect(facts.tasks.get(taskId(11_999))).toEqual(sampleTask(11_999, { service: 1, node: 1 }));
			expect(
				[...facts.services.values()].map((each) => JSON.stringify(each.document).length),
			).toEqual(
				[sampleService(1), large(2), large(3), large(4), large(5)].map(
					(each) => JSON.stringify(each.document).length,
				),
			);
		}, 60_000);

		test("what is kept up equals what is read anew, after any changes, applied or caught up with", async () => {
			await fc.assert(
				fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
					const store = await newStore();
					const applying = await store.load();
					const following = await store.load();
					for (const [index, each] of steps.entries()) {
						await perform(store, applying, each);
						if (index % 3 === 0) await store.refresh(following);
					}
					await store.refresh(following);
					const fresh = await store.load();
					expect(contents(following)).toEqual(contents(fresh));
					expect(contents(applying)).toEqual(contents(fresh));
				}),
				{ numRuns: 40 },
			);
		}, 120_000);

		test("a host that slept through the pruning of tombstones reads everything anew", async () => {
			const store = await newStore(sampleChanges({ nodes: 2, tasks: 4 }));
			const sleeper = await store.load();
			await commitAt(store, 1, [
				{ kind: "remove-task", id: taskId(1) },
				{ kind: "remove-node", id: nodeId(2) },
			]);
			await store.prune(7_200_000);
			await store.refresh(sleeper);
			expect(contents(sleeper)).toEqual(contents(await store.load()));
			expect(sleeper.facts.tasks.has(taskId(1))).toBe(false);
		});

		test("reports come to the same in any order, repeated or not", async () => {
			await fc.assert(
				fc.asyncProperty(
					fc.array(reportOf(2, 4), { maxLength: 8 }),
					fc.nat(),
					async (reports, seed) => {
						const results = await Promise.all(
							[reports, shuffled([...reports, ...reports], seed)].map(async (order) => {
								const store = await newStore(sampleChanges({ nodes: 2, tasks: 4 }));
								for (const report of order) await store.report(mergeReports([report]), 1, 1);
								return contents(await store.load());
							}),
						);
						const together = await newStore(sampleChanges({ nodes: 2, tasks: 4 }));
						await together.report(mergeReports(shuffled(reports, seed + 1)), 1, 1);
						const [first, second] = results.map(reportedOf);
						expect(second).toEqual(first as typeof second);
						expect([reportedOf(contents(await together.load()))]).toEqual(
							results.slice(0, 1).map(reportedOf),
						);
					},
				),
				{ numRuns: 25 },
			);
		}, 120_000);

		test("what a node describes is its newest report's, in any order, together or one by one", async () => {
			const start = fc.record({ start: fc.nat(3), count: fc.nat(5) });
			await fc.assert(
				fc.asyncProperty(fc.array(start, { minLength: 1, maxLength: 6 }), async (places) => {
					const reports = places.map((said) => {
						const name = `${said.start}.${said.count}`;
						const description = { ...sampleDescription(1), hostname: name };
						return { node: nodeId(1), said, description, unreachable: [name as never] };
					});
					const { node: id, ...newest } = must(
						reports.toSorted((a, b) => a.said.start - b.said.start || a.said.count - b.said.count)[
							reports.length - 1
						],
						"there is at least one",
					);
					const store = await newStore([{ kind: "put-node", node: sampleNode(1) }]);
					const applying = await store.load();
					const half = reports.length / 2;
					const batches = [...reports.slice(0, half).map((each) => [each]), reports.slice(half)];
					for (const batch of batches) {
						const merged = mergeReports(batch);
						applyReports(applying, await store.report(merged, 1, 1), merged);
					}
					const fresh = await store.load();
					expect(fresh.facts.nodes.get(id)).toMatchObject(newest);
					expect(contents(applying)).toEqual(contents(fresh));
				}),
				{ numRuns: 25 },
			);
		}, 60_000);

		test("an old report still renews the lease; one without its place counts as it comes", async () => {
			const store = await newStore([{ kind: "put-node", node: sampleNode(1) }]);
			const named = (hostname: string) => ({ ...sampleDescription(1), hostname });
			const say = async (report: Omit<Reported, "node">) => {
				await store.report(mergeReports([{ node: nodeId(1), ...report }]), 1, 1);
				const { description, leaseUntilMs, said } = must(
					(await store.load()).facts.nodes.get(nodeId(1)),
					"it was put",
				);
				return [description.hostname, leaseUntilMs, said.start, said.count];
			};
			expect(await say({ description: named("without") })).toEqual(["without", 0, 0, 0]);
			const second = { start: 5, count: 2 };
			expect(await say({ description: named("second"), said: second })).toEqual([
				"second",
				0,
				5,
				2,
			]);
			const first = { start: 5, count: 1 };
			expect(await say({ description: named("first"), said: first, leaseUntilMs: 9 })).toEqual([
				"second",
				9,
				5,
				2,
			]);
			expect(await say({ description: named("older agent") })).toEqual(["older agent", 9, 5, 2]);
			const restarted = { start: 6, count: 1 };
			expect(await say({ said: restarted })).toEqual(["older agent", 9, 6, 1]);
		});

		test("only one process at a time plans, and nothing that is written meanwhile is left behind", async () => {
			const store = await newStore([{ kind: "put-node", node: sampleNode(1) }]);
			expect(await store.takePlanning("a", 1_000, 6_000)).toBe(true);
			expect(await store.takePlanning("b", 2_000, 7_000)).toBe(false);
			const { seq } = await store.load();
			await store.report(mergeReports([{ node: nodeId(1), unreachable: [] }]), 1, 1);
			const wake = { atMs: null, whole: true };
			expect(await store.endPlanning("a", seq, wake)).toBe(false);
			expect(await store.endPlanning("a", seq + 1, wake)).toBe(true);
			expect(await store.takePlanning("b", 2_000, 7_000)).toBe(true);
			// A leader that died is followed when its time is over.
			expect(await store.takePlanning("c", 7_001, 9_000)).toBe(true);
			expect(await store.endPlanning("b", seq + 1, wake)).toBe(true);
			expect(await store.takePlanning("d", 8_000, 9_000)).toBe(false);
		});
	});
}

/** Maps as sorted arrays, without the bookkeeping that differs by how it was learnt. */
function contents(held: Held) {
	const { facts } = held;
	const sorted = (values: Iterable<unknown>) =>
		[...values].map((value) => JSON.stringify(value, byKey)).sort();
	return {
		seq: held.seq,
		revision: facts.revision,
		cluster: facts.cluster,
		nodes: sorted(facts.nodes.values()),
		networks: sorted(facts.networks.values()),
		services: sorted(facts.services.values()),
		tasks: sorted(facts.tasks.values()),
		byNode: [1, 2, 3].map((n) => sorted(facts.tasksOfNode(nodeId(n)).keys())),
		byService: [1, 2, 3].map((n) => sorted(facts.tasksOfService(serviceId(n)).keys())),
		templates: [1, 2, 3].map((n) => sorted(facts.templatesOfService(serviceId(n)))),
		leases: [1, 2, 3].map((n) => sorted(facts.leasesOfNetwork(networkId(n)).values())),
		holders: [1, 2, 3].map((n) => holdersOf(facts, n)),
	};
}

function holdersOf(facts: Facts, network: number) {
	return [1, 2, 3].map((n) => facts.leaseOf(networkId(network), `slot:${n}`)?.address);
}

function byKey(_key: string, value: unknown) {
	if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
	return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function reportedOf(
	{ nodes, tasks }: { nodes: string[]; tasks: string[] } = { nodes: [], tasks: [] },
) {
	return { nodes, tasks };
}

function shuffled<Item>(items: readonly Item[], seed: number): Item[] {
	const key = (index: number) => ((index + 1) * 2_654_435_761 * (seed + 1)) % 1_000_003;
	return items
		.map((item, index) => [key(index), item] as const)
		.sort(([a], [b]) => a - b)
		.map(([, item]) => item);
}

const few = fc.integer({ min: 1, max: 3 });
const version = fc.integer({ min: 1, max: 9 });
const state = fc.constantFrom<TaskState>(...taskStates);

/** What is equal in rank must be equal in words: an agent says one thing once. */
const status = fc
	.record({ state, observed: fc.integer({ min: 0, max: 3 }) })
	.map((each) => sampleStatus(each.state, each.observed));

const change: fc.Arbitrary<Change> = fc.oneof(
	fc.tuple(few, version).map(([n, v]): Change => ({ kind: "put-node", node: sampleNode(n, v) })),
	few.map((n): Change => ({ kind: "remove-node", id: nodeId(n) })),
	fc
		.tuple(few, version)
		.map(([n, v]): Change => ({ kind: "put-network", network: sampleNetwork(n, v) })),
	few.map((n): Change => ({ kind: "remove-network", id: networkId(n) })),
	fc
		.tuple(few, version)
		.map(([n, v]): Change => ({ kind: "put-service", service: sampleService(n, v) })),
	few.map((n): Change => ({ kind: "remove-service", id: serviceId(n) })),
	fc.tuple(few, few).map(
		([n, v]): Change => ({
			kind: "put-template",
			template: {
				service: serviceId(n),
				version: v,
				template: sampleTemplate(v),
				hostPorts: [],
				document: {},
			},
		}),
	),
	fc
		.tuple(few, few)
		.map(([n, v]): Change => ({ kind: "remove-template", service: serviceId(n), version: v })),
	fc.tuple(few, few, few, fc.constantFrom(0, 99)).map(
		([n, address, holder, releasedMs]): Change => ({
			kind: "put-lease",
			lease: {
				network: networkId(n),
				address: `10.0.${n}.${address}`,
				prefix: 32,
				holder: `slot:${releasedMs ? `gone${address}` : `${address === 3 ? holder + 10 : address}`}`,
				releasedMs,
			},
		}),
	),
	fc.tuple(few, few).map(
		([n, address]): Change => ({
			kind: "remove-lease",
			network: networkId(n),
			address: `10.0.${n}.${address}`,
		}),
	),
	fc.tuple(few, few, fc.option(few), status, version).map(
		([n, service, node, status, generation]): Change => ({
			kind: "put-task",
			task: { ...sampleTask(n, { service, node }), status, generation },
		}),
	),
	fc
		.tuple(few, status)
		.map(([n, s]): Change => ({ kind: "task-status", id: taskId(n), status: s })),
	few.map((n): Change => ({ kind: "remove-task", id: taskId(n) })),
	version.map(
		(v): Change => ({
			kind: "put-cluster",
			cluster: { ...sampleCluster("later" as never), specVersion: v },
		}),
	),
);

type Step =
	| { readonly kind: "commit"; readonly changes: readonly Change[] }
	| { readonly kind: "report"; readonly reports: readonly Reported[] };

function reportOf(nodes: number, tasks: number): fc.Arbitrary<Reported> {
	return fc
		.record({
			node: fc.integer({ min: 1, max: nodes }),
			lease: fc.option(fc.nat(1_000)),
			applied: fc.option(fc.integer({ min: 1, max: 9 })),
			tasks: fc.array(fc.tuple(fc.integer({ min: 1, max: tasks }), status), { maxLength: 3 }),
		})
		.map(({ node, lease, applied, tasks: seen }) => ({
			node: nodeId(node),
			...(lease !== null && { leaseUntilMs: lease }),
			...(applied !== null && { applied: { revision: applied, hash: `hash ${applied}` } }),
			tasks: seen.map(([n, s]) => ({ id: taskId(n), status: s })),
		}));
}

const step: fc.Arbitrary<Step> = fc.oneof(
	{
		weight: 3,
		arbitrary: fc
			.array(change, { minLength: 1, maxLength: 8 })
			.map((changes): Step => ({ kind: "commit", changes })),
	},
	{
		weight: 1,
		arbitrary: fc
			.array(
				fc.tuple(reportOf(3, 3), fc.boolean()).map(([report, described]) => ({
					...report,
					...(described && {
						description: { ...sampleDescription(7), hostname: `reported ${report.leaseUntilMs}` },
						unreachable: [nodeId(3)],
					}),
				})),
				{ minLength: 1, maxLength: 4 },
			)
			.map((reports): Step => ({ kind: "report", reports })),
	},
);

/** As the host does it: write, then take over what landed. */
async function perform(store: ClusterStore, held: Held, each: Step): Promise<void> {
	if (each.kind === "report") {
		const merged = mergeReports(each.reports);
		applyReports(held, await store.report(merged, 1, 1), merged);
		return;
	}
	const changes = sound(held.facts, each.changes).map((one) =>
		one.kind === "put-cluster"
			? ({ ...one, cluster: { ...one.cluster, id: store.id } } as const)
			: one,
	);
	const landed = await store.commit({
		base: held.facts.revision,
		writer: randomId(),
		nowMs: 5,
		changes,
		events: [],
		planned: null,
		wake: { atMs: null, whole: false },
	});
	applyCommit(held, landed, changes);
}

/** Leaves out statuses of tasks that are not there when it is their turn: nobody asks for such. */
function sound(facts: Facts, changes: readonly Change[]): Change[] {
	const tasks = new Set<string>(facts.tasks.keys());
	return changes.filter((each) => {
		if (each.kind === "put-task") tasks.add(each.task.id);
		if (each.kind === "remove-task") tasks.delete(each.id);
		return each.kind !== "task-status" || tasks.has(each.id);
	});
}

test("a snapshot that was never refreshed knows all of it as not planned for", async () => {
	const news = {
		since: 0,
		pages: [],
		head: {
			revision: 3,
			seq: 9,
			cluster: sampleCluster(randomId()),
			planned: 2,
			wakeAtMs: null,
			listeningSinceMs: 0,
			plannerUntilMs: 0,
		},
	};
	expect(holdNews(news).touched.all).toBe(9);
});
