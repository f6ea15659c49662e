// The host of a cluster: decisions are taken again when somebody else was first, reports are planned for, alarms ring,
// and whoever waits hears of other processes' writes.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { randomId } from "../../control-plane/clusters.ts";
import { ClusterHost, type HostWorld } from "../../control-plane/reconcile.ts";
import type { Database } from "../../control-plane/store/client.ts";
import { insertCluster, openCluster } from "../../control-plane/store/cluster.ts";
import { mergeReports } from "../../control-plane/store/commit.ts";
import type { Change } from "../../model/change.ts";
import type { ClusterId } from "../../model/id.ts";
import { hasSqld, startFile, startSqld, type TestDatabase } from "./databases.ts";
import { nothingSealed, type TestPlanner, testPlanner, testWorld } from "./planner.ts";
import {
	nodeId,
	sampleChanges,
	sampleCluster,
	sampleNode,
	sampleService,
	sampleStatus,
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
		const opened: ClusterHost[] = [];
		beforeAll(async () => {
			at = await start();
			database = await at.open();
		});
		afterEach(async () => {
			for (const host of opened.splice(0)) await host.close();
		});
		afterAll(async () => {
			database.close();
			await at.stop();
		});

		async function newCluster(changes: readonly Change[] = []): Promise<ClusterId> {
			const cluster = sampleCluster(randomId());
			await insertCluster(database, {
				organization: "owner",
				cluster,
				changes,
				nowMs: 1,
			});
			return cluster.id;
		}

		async function openHost(
			id: ClusterId,
			planner: TestPlanner = testPlanner(),
			overrides: Partial<HostWorld> = {},
		): Promise<ClusterHost> {
			const store = openCluster(database, id);
			const world = testWorld(planner, overrides);
			const host = new ClusterHost(
				store,
				await store.load(),
				world,
				nothingSealed,
				() => undefined,
			);
			opened.push(host);
			host.planIfDue();
			await host.settled();
			return host;
		}

		test("of many decisions at once each is made from what the one before it left", async () => {
			const id = await newCluster();
			const host = await openHost(id);
			const results = await Promise.all(
				Array.from({ length: 30 }, () =>
					host.commit((snapshot) => {
						const count = snapshot.services.get(serviceId(1))?.specVersion ?? 0;
						return {
							changes: [{ kind: "put-service", service: sampleService(1, count + 1) }],
							result: count + 1,
						};
					}),
				),
			);
			expect(results.map(({ result }) => result).sort((a, b) => a - b)).toEqual(
				Array.from({ length: 30 }, (_, n) => n + 1),
			);
			expect(
				(await openCluster(database, id).load()).facts.services.get(serviceId(1))?.specVersion,
			).toBe(30);
		});

		test("a refusal writes nothing and reaches the caller", async () => {
			const host = await openHost(await newCluster());
			const before = host.seq();
			const refused = host.commit(() => {
				throw new Error("name taken");
			});
			expect(refused).rejects.toThrow("name taken");
			await refused.catch(() => undefined);
			expect(host.seq()).toBe(before);
		});

		test("a report is planned for, with a scope of what it touched, and a heartbeat is not", async () => {
			const planner = testPlanner();
			const host = await openHost(await newCluster(sampleChanges({ nodes: 3, tasks: 6 })), planner);
			planner.planned.length = 0;
			await host.report({ node: nodeId(2), leaseUntilMs: 500 });
			await host.settled();
			expect(planner.planned).toEqual([]);
			const running = { id: taskId(2), status: sampleStatus("running", 1) };
			await host.report({ node: nodeId(2), tasks: [running] });
			await host.settled();
			expect(planner.planned).toEqual([
				{ services: new Set([serviceId(1)]), nodes: new Set([nodeId(2)]) },
			]);
			planner.planned.length = 0;
			// The very same once more is no news.
			await host.report({ node: nodeId(2), tasks: [running] });
			await host.settled();
			expect(planner.planned).toEqual([]);
		});

		test("signs of life count at once, and are written where others plan too", async () => {
			let nowMs = 1_000_000;
			const host = await openHost(
				await newCluster([{ kind: "put-node", node: sampleNode(1) }]),
				testPlanner(),
				{ nowMs: () => nowMs },
			);
			const written: number[] = [];
			for (let poll = 0; poll < 6; poll++, nowMs += 4_000) {
				const before = host.seq();
				await host.report({ node: nodeId(1), leaseUntilMs: nowMs + 12_000 });
				const { nodes } = await host.snapshot();
				expect(nodes.get(nodeId(1))?.leaseUntilMs).toBe(nowMs + 12_000);
				if (host.seq() > before) written.push(poll);
			}
			expect(written).toEqual(name === "a file" ? [] : [0, 1, 2, 3, 4, 5]);
		});

		test("what was heard outlives a look at the database", async () => {
			let nowMs = 1_000_000;
			const id = await newCluster([{ kind: "put-node", node: sampleNode(1) }]);
			const host = await openHost(id, testPlanner(), { nowMs: () => nowMs });
			const heard = () => host.report({ node: nodeId(1), leaseUntilMs: nowMs + 12_000 });
			for (; nowMs < 1_060_000; nowMs += 4_000) await heard();
			await heard();
			const described = mergeReports([{ node: nodeId(1), unreachable: [nodeId(2)] }]);
			const seq = await openCluster(database, id).report(described, nowMs, 1);
			// Ours lands behind the one that we know nothing of, so both are read.
			await host.report({ node: nodeId(1), attached: [] });
			expect(host.seq()).toBe(seq + 1);
			const node = (await host.snapshot()).nodes.get(nodeId(1));
			expect(node?.unreachable).toEqual([nodeId(2)]);
			expect(node?.leaseUntilMs).toBe(nowMs + 12_000);
		});

		test("what one process heard, others that plan know within a second", async () => {
			let nowMs = 1_000_000;
			const host = await openHost(
				await newCluster([{ kind: "put-node", node: sampleNode(1) }]),
				testPlanner(),
				{ nowMs: () => nowMs },
			);
			const written: number[] = [];
			for (const atMs of [0, 900, 2_000, 2_900]) {
				nowMs = 1_000_000 + atMs;
				const before = host.seq();
				await host.report({ node: nodeId(1), leaseUntilMs: nowMs + 12_000 });
				if (host.seq() > before) written.push(atMs);
			}
			expect(written).toEqual(name === "a file" ? [] : [0, 2_000]);
		});

		test("a burst of reports is planned for together", async () => {
			const planner = testPlanner();
			const host = await openHost(
				await newCluster(sampleChanges({ nodes: 3, tasks: 60 })),
				planner,
			);
			planner.planned.length = 0;
			await Promise.all(
				Array.from({ length: 60 }, (_, n) =>
					host.report({
						node: nodeId((n % 3) + 1),
						tasks: [{ id: taskId(n + 1), status: sampleStatus("running", 1) }],
					}),
				),
			);
			await host.settled();
			expect(planner.planned.length).toBeLessThan(4);
			const { tasks } = await host.snapshot();
			expect([...tasks.values()].every((task) => task.status.state === "running")).toBe(true);
		});

		test("a plan that fails loses no report, and is made when it can be", async () => {
			const planner = testPlanner();
			const said: string[] = [];
			const host = await openHost(
				await newCluster(sampleChanges({ nodes: 1, tasks: 1 })),
				planner,
				{
					log: (message) => said.push(message),
				},
			);
			planner.plans = () => {
				throw new Error("planner broke");
			};
			await host.report({
				node: nodeId(1),
				tasks: [{ id: taskId(1), status: sampleStatus("failed", 1) }],
			});
			await host.settled();
			expect(said.join()).toContain("planner broke");
			expect((await host.snapshot()).tasks.get(taskId(1))?.status.state).toBe("failed");
			planner.planned.length = 0;
			planner.plans = () => ({ changes: [], wakeAtMs: null });
			await host.sweep();
			expect(planner.planned.at(-1)).toEqual({
				services: new Set([serviceId(1)]),
				nodes: new Set([nodeId(1)]),
			});
		});

		test("an alarm wakes the planner for what set it", async () => {
			let nowMs = 1_000;
			const planner = testPlanner();
			const host = await openHost(
				await newCluster(sampleChanges({ nodes: 1, tasks: 1 })),
				planner,
				{
					nowMs: () => nowMs,
				},
			);
			planner.plans = () => ({ changes: [], wakeAtMs: 60_000 });
			await host.report({
				node: nodeId(1),
				tasks: [{ id: taskId(1), status: sampleStatus("failed", 1) }],
			});
			await host.settled();
			planner.planned.length = 0;
			await host.sweep();
			expect(planner.planned).toEqual([]);
			nowMs = 60_000;
			await host.sweep();
			expect(planner.planned[0]).toEqual({ services: new Set(), nodes: new Set([nodeId(1)]) });
		});

		test("whoever waits hears of a write, at once", async () => {
			const host = await openHost(await newCluster([{ kind: "put-node", node: sampleNode(1) }]));
			const seq = host.seq();
			const waiting = host.wait(seq, 60_000);
			await host.report({ node: nodeId(1), attached: [] });
			await waiting;
			expect(host.seq()).toBeGreaterThan(seq);
		});

		test("waiting ends with its time and with its signal", async () => {
			const host = await openHost(await newCluster());
			await host.wait(host.seq(), 5);
			const over = new AbortController();
			const waiting = host.wait(host.seq(), 60_000, over.signal);
			over.abort();
			await waiting;
		});

		test("events come back in their order, each at a time of its own", async () => {
			const host = await openHost(await newCluster(), testPlanner(), { nowMs: () => 5_000 });
			const event = (id: string) =>
				({ type: "service", action: "create", id, attributes: { name: id } }) as const;
			for (const pair of [["a", "b"], ["c"]]) {
				await host.commit(() => ({
					changes: [{ kind: "put-service", service: sampleService(1) }],
					result: null,
					events: pair.map(event),
				}));
			}
			const events = await host.events(0, 10_000);
			expect(events.map(({ id, timeMs }) => [id, timeMs])).toEqual([
				["a", 5_000],
				["b", 5_001],
				["c", 5_002],
			]);
			expect(await host.events(5_001, 5_001)).toHaveLength(1);
		});

		test.skipIf(name === "a file")(
			"another process's write wakes who waits, and is seen",
			async () => {
				const id = await newCluster([{ kind: "put-node", node: sampleNode(1) }]);
				const [ours, theirs] = [await openHost(id), await openHost(id)];
				await ours.snapshot();
				const waiting = ours.wait(ours.seq(), 60_000);
				await theirs.commit(() => ({
					changes: [{ kind: "put-service", service: sampleService(1) }],
					result: null,
				}));
				await waiting;
				expect((await ours.snapshot()).services.size).toBe(1);
			},
		);

		test.skipIf(name === "a file")(
			"two processes count to 60 together, and no number is lost",
			async () => {
				const id = await newCluster();
				const hosts = [await openHost(id), await openHost(id)];
				const count = (host: ClusterHost) =>
					host.commit((snapshot) => {
						const now = snapshot.services.get(serviceId(1))?.specVersion ?? 0;
						return {
							changes: [{ kind: "put-service", service: sampleService(1, now + 1) }],
							result: now + 1,
						};
					});
				const results = await Promise.all(
					hosts.flatMap((host) => Array.from({ length: 30 }, () => count(host))),
				);
				expect(new Set(results.map(({ result }) => result)).size).toBe(60);
				const [first, second] = await Promise.all(hosts.map((host) => host.snapshot()));
				expect(first?.services.get(serviceId(1))?.specVersion).toBe(60);
				expect(second?.services.get(serviceId(1))?.specVersion).toBe(60);
			},
			30_000,
		);

		test.skipIf(name === "a file")(
			"a report that its own process did not plan for is planned by another",
			async () => {
				const id = await newCluster(sampleChanges({ nodes: 1, tasks: 1 }));
				const planner = testPlanner();
				const survivor = await openHost(id, planner);
				planner.planned.length = 0;
				const store = openCluster(database, id);
				// A process writes a report and dies before it plans.
				const merged = {
					nodes: new Map(),
					statuses: new Map([[taskId(1), sampleStatus("failed", 1)]]),
					builds: new Map(),
				};
				await store.report(merged, 1, 1);
				await survivor.sweep();
				expect(planner.planned).toEqual([
					{ services: new Set([serviceId(1)]), nodes: new Set([nodeId(1)]) },
				]);
				planner.planned.length = 0;
				await survivor.sweep();
				expect(planner.planned).toEqual([]);
			},
		);
	});
}
