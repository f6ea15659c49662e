// A cluster read whole, written whole, and moved from one database to another beside running work: whatever dies in the
// middle, whoever wakes up late, it is in one place with every row, and can be written to.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { randomId } from "../../control-plane/clusters.ts";
import { ClusterHost } from "../../control-plane/reconcile.ts";
import type { Database } from "../../control-plane/store/client.ts";
import { insertCluster, openCluster } from "../../control-plane/store/cluster.ts";
import {
	fenceOf,
	hasRows,
	insertPage,
	liftFence,
	type Page,
	readCluster,
	setFence,
} from "../../control-plane/store/copy.ts";
import { openDirectory, type Placement } from "../../control-plane/store/directory.ts";
import { type Mover, mend, moveCluster } from "../../control-plane/store/move.ts";
import { openPlaced } from "../../control-plane/store/placed.ts";
import type { Shards } from "../../control-plane/store/shards.ts";
import type { Change } from "../../model/change.ts";
import type { ClusterId } from "../../model/id.ts";
import { hasSqld, startFile, startSqld, type TestDatabase } from "./databases.ts";
import { nothingSealed, testPlanner, testWorld } from "./planner.ts";
import {
	nodeId,
	sampleChanges,
	sampleCluster,
	sampleMaterial,
	sampleService,
	sampleStatus,
	serviceId,
	taskId,
} from "./sample.ts";

const kinds = [
	["two files", startFile, true, 1],
	// The steps are the same; some of them show that the databases behave alike.
	["two libSQL servers", startSqld, hasSqld, 4],
] as const;

for (const [name, start, there, stride] of kinds) {
	describe.skipIf(!there)(`between ${name}`, () => {
		const ends: TestDatabase[] = [];
		let from: Database;
		let to: Database;
		const hosts: ClusterHost[] = [];
		beforeAll(async () => {
			ends.push(await start(), await start());
			[from, to] = (await Promise.all(ends.map((end) => end.open()))) as [Database, Database];
		});
		afterEach(async () => {
			for (const host of hosts.splice(0)) await host.close();
		});
		afterAll(async () => {
			for (const database of [from, to]) database.close();
			for (const end of ends) await end.stop();
		});

		/** As one process has it; the directory lies where the cluster lies first. */
		function mover(watch: (database: Database) => Database = (same) => same): Mover {
			const [main, other] = [watch(from), watch(to)];
			return {
				directory: openDirectory(main),
				shards: shardsOf({ main, other }),
				nowMs: () => 1_000,
			};
		}

		async function newCluster(changes: readonly Change[] = sampleChanges({ nodes: 2, tasks: 5 })) {
			const cluster = sampleCluster(randomId());
			const { directory } = mover();
			const at = { cluster: cluster.id, organization: "owner", name: cluster.id, shard: "main" };
			await directory.reserve(at, null, 1);
			await insertCluster(from, { organization: "owner", cluster, changes, nowMs: 1 });
			const made = await placementOf(cluster.id);
			await directory.turn(made, { state: "active" }, 1);
			return cluster.id;
		}

		async function openHost(id: ClusterId): Promise<ClusterHost> {
			const { directory, shards } = mover();
			const store = await openPlaced(directory, shards, id);
			const world = testWorld(testPlanner());
			const held = await store.load();
			const host = new ClusterHost(store, held, world, nothingSealed, () => undefined);
			hosts.push(host);
			await host.begin();
			return host;
		}

		async function placementOf(id: ClusterId): Promise<Placement> {
			const found = await mover().directory.placementOf(id);
			if (!found) throw new Error("it has no placement");
			return found;
		}

		/** All that is the cluster's, wherever it lies. */
		const rowsAt = async (database: Database, id: ClusterId) =>
			(await readCluster(database, id)).map(withoutPlace);

		/** It is in one place, open, with these rows; and the other has nothing that anybody could take for it. */
		async function expectWhole(id: ClusterId, rows: readonly Page[]) {
			const { state, shard } = await placementOf(id);
			expect(state).toBe("active");
			const [here, away] = shard === "main" ? [from, to] : [to, from];
			expect(await rowsAt(here, id)).toEqual([...rows]);
			const left = await hasRows(away, id);
			expect(left && (await fenceOf(away, id)) === undefined).toBe(false);
			const host = await openHost(id);
			const before = (await host.snapshot()).revision;
			await host.commit(() => ({ changes: [put(9)], result: null }));
			expect((await host.snapshot()).revision).toBe(before + 1);
			await host.close();
		}

		const put = (version: number): Change => ({
			kind: "put-service",
			service: sampleService(1, version),
		});

		test("read whole and written whole it is the same, however many and large its rows are", async () => {
			const materials = [1, 2].map((n) => sampleMaterial(n, [1]));
			const id = await newCluster([
				...sampleChanges({ nodes: 3, tasks: 2_100 }),
				...materials.flatMap((material): Change[] => [
					{ kind: "put-material", material },
					{
						kind: "put-content",
						content: { material: material.id, version: 1, sealed: `"\\ü${"x".repeat(700_000)}` },
					},
				]),
			]);
			const pages = await readCluster(from, id);
			const copied = JSON.parse(JSON.stringify(pages)) as Page[];
			for (const page of copied) await insertPage(to, id, page, 0);
			for (const page of copied) await insertPage(to, id, page, 0);
			const store = openCluster(to, id);
			const late = store.report({ nodes: new Map(), statuses: new Map(), builds: new Map() }, 5, 5);
			expect(late).rejects.toThrow(/CLUSTER_FENCED/);
			await late.catch(() => undefined);
			await liftFence(to, id, 0);
			await store.report({ nodes: new Map(), statuses: new Map(), builds: new Map() }, 5, 5);
			expect((await store.load()).facts.tasks.size).toBe(2_100);
			const tables = (all: readonly Page[]) => all.filter(({ table }) => table !== "cluster");
			expect(tables(await rowsAt(to, id))).toEqual(tables(pages.map(withoutPlace)));
			// What is there and open is not written over.
			const over = insertPage(to, id, pages[0] as Page, 0);
			expect(over).rejects.toThrow(/there already/);
			await over.catch(() => undefined);
		}, 30_000);

		test("a cluster that changes while it is read is read again", async () => {
			const id = await newCluster(sampleChanges({ nodes: 1, tasks: 2_500 }));
			const store = openCluster(from, id);
			let changes = 0;
			const meddling: Database = {
				...from,
				async read(statements) {
					const found = await from.read(statements);
					if (changes++ === 0)
						await store.report({ nodes: new Map(), statuses: new Map(), builds: new Map() }, 7, 7);
					return found;
				},
			};
			const pages = await readCluster(meddling, id);
			expect(changes).toBeGreaterThan(2);
			expect(pages.map(withoutPlace)).toEqual(await rowsAt(from, id));
		});

		test("hosts go on through a move, and nothing that they confirmed is lost", async () => {
			const id = await newCluster();
			const one = await openHost(id);
			const confirmed: number[] = [];
			let refused = 0;
			let isOver = false;
			const work = (async () => {
				for (let version = 2; !isOver || confirmed.length < 10; version++) {
					try {
						await one.commit(() => ({ changes: [put(version)], result: null }));
						confirmed.push(version);
						await one.report({
							node: nodeId(1),
							tasks: [{ id: taskId(1), status: sampleStatus("running", version) }],
						});
					} catch (error) {
						expect(error).toMatchObject({ kind: "unavailable", retryAfterSeconds: 5 });
						refused++;
					}
					await new Promise((resolve) => setTimeout(resolve, 1));
				}
			})();
			await moveCluster(mover(), id, "other");
			isOver = true;
			await work;
			expect((await placementOf(id)).shard).toBe("other");
			expect(await hasRows(from, id)).toBe(false);
			const now = await (await openHost(id)).snapshot();
			expect(now.revision).toBe(confirmed.length + 1);
			expect(now.services.get(serviceId(1))?.specVersion).toBe(confirmed.at(-1) ?? 0);
			expect(now.tasks.get(taskId(1))?.status.state).toBe("running");
			expect(refused).toBeLessThan(1_000);
			// And back.
			await moveCluster(mover(), id, "main");
			expect((await one.snapshot()).revision).toBe(now.revision);
			await one.commit(() => ({ changes: [put(1_000)], result: null }));
			expect(await hasRows(to, id)).toBe(false);
		}, 30_000);

		test("while it is moved it is read as ever, and writes are told to come again", async () => {
			const id = await newCluster();
			const host = await openHost(id);
			const moving = {
				...(await placementOf(id)),
				state: "moving",
				other: "other",
				move: 1,
			} as const;
			await mover().directory.turn({ ...moving, state: "active", move: 0 }, moving, 1_000);
			await setFence(from, id, 1);
			expect((await host.snapshot()).services.size).toBe(1);
			expect(await host.events(0, 1e15)).toEqual([]);
			const write = host.commit(() => ({ changes: [put(2)], result: null }));
			expect(write).rejects.toMatchObject({ kind: "unavailable", retryAfterSeconds: 5 });
			await write.catch(() => undefined);
			await mend(mover(), moving);
			await host.commit(() => ({ changes: [put(2)], result: null }));
			expect((await placementOf(id)).shard).toBe("other");
		});

		test("killed at any step, it is in one place after the next sweep, whole", async () => {
			for (let step = 1; ; step += stride) {
				const id = await newCluster();
				const rows = await rowsAt(from, id);
				const { watch, steps } = dyingAt(step);
				await moveCluster(mover(watch), id, "other").catch(() => undefined);
				// The sweep dies as well, one step further on, before one ends.
				const again = dyingAt(step + 1);
				await mend(mover(again.watch), await placementOf(id)).catch(() => undefined);
				await mend(mover(), await placementOf(id));
				await expectWhole(id, rows);
				if (steps() < step) break;
				expect(step).toBeLessThan(60);
			}
		}, 60_000);

		test("a process that wakes up late, at any step, does no harm", async () => {
			for (let step = 1; ; step += stride) {
				const id = await newCluster();
				const { watch, steps, sleeps, wake } = sleepingAt(step);
				const late = moveCluster(mover(watch), id, "other").catch(() => undefined);
				await Promise.race([sleeps, late]);
				await mend(mover(), await placementOf(id));
				// Somebody works on it where it is now, and it may be moved once more.
				const host = await openHost(id);
				// What is gone by then must not come back with a late copy.
				const gone = [1, 2, 3, 4, 5].map((n): Change => ({ kind: "remove-task", id: taskId(n) }));
				await host.commit(() => ({ changes: [put(2), ...gone], result: null }));
				await host.close();
				const { shard } = await placementOf(id);
				if (step % 3 === 0) await moveCluster(mover(), id, shard === "main" ? "other" : "main");
				const now = await placementOf(id);
				const rows = await rowsAt(now.shard === "main" ? from : to, id);
				wake();
				await late;
				await mend(mover(), await placementOf(id));
				expect((await placementOf(id)).state).toBe("active");
				await expectWhole(id, rows);
				if (steps() < step) break;
				expect(step).toBeLessThan(60);
			}
		}, 60_000);

		test("a fence never gives way to an older one", async () => {
			const id = await newCluster();
			expect(await setFence(from, id, 2)).toBe(true);
			expect(await setFence(from, id, 2)).toBe(true);
			expect(await setFence(from, id, 1)).toBe(false);
			await liftFence(from, id, 1);
			expect(await fenceOf(from, id)).toBe(2);
			await liftFence(from, id, 2);
			expect(await fenceOf(from, id)).toBeUndefined();
			expect(await setFence(from, id, 2)).toBe(false);
			expect(await setFence(from, id, 3)).toBe(true);
		});

		test("what can not be copied stays, open; and can be moved later", async () => {
			const id = await newCluster();
			const host = await openHost(id);
			const deaf: Database = {
				...to,
				write: () => Promise.reject(new Error("this disk is full")),
			};
			const at = { ...mover(), shards: shardsOf({ main: from, other: deaf }) };
			const moved = moveCluster(at, id, "other");
			expect(moved).rejects.toThrow(/stays on main.*this disk is full/);
			await moved.catch(() => undefined);
			expect(await placementOf(id)).toMatchObject({ state: "active", shard: "main", other: null });
			await host.commit(() => ({ changes: [put(2)], result: null }));
			await moveCluster(mover(), id, "other");
			await host.commit(() => ({ changes: [put(3)], result: null }));
		});

		test("only the directory's word makes it gone: rows that are missing are an outage", async () => {
			const id = await newCluster();
			const host = await openHost(id);
			await from.write([{ sql: "delete from cluster where id = ?", args: [id] }]);
			const asked = host.commit(() => ({ changes: [put(2)], result: null }));
			expect(asked).rejects.toMatchObject({ kind: "unavailable" });
			await asked.catch(() => undefined);
			const { directory } = mover();
			await directory.turn(await placementOf(id), { state: "erased" }, 1);
			const later = host.commit(() => ({ changes: [put(2)], result: null }));
			expect(later).rejects.toMatchObject({ kind: "not-found" });
			await later.catch(() => undefined);
		});

		test("making and erasing that died are finished or undone", async () => {
			const { directory } = mover();
			const made = await newCluster();
			await directory.turn(await placementOf(made), { state: "making" }, 1);
			await mend(mover(), await placementOf(made));
			expect((await placementOf(made)).state).toBe("active");
			await directory.turn(await placementOf(made), { state: "erasing" }, 1);
			await mend(mover(), await placementOf(made));
			expect((await placementOf(made)).state).toBe("erased");
			expect(await hasRows(from, made)).toBe(false);

			const never = randomId();
			const asked = { cluster: never, organization: "owner", name: never, shard: "main" };
			await directory.reserve(asked, null, 1);
			await mend(mover(), await placementOf(never));
			expect(await directory.placementOf(never)).toBeUndefined();
			await directory.reserve({ ...asked, cluster: randomId() }, null, 1);
			const taken = directory.reserve({ ...asked, cluster: randomId() }, null, 1);
			expect(taken).rejects.toMatchObject({ kind: "conflict" });
			await taken.catch(() => undefined);
			const one = { ...asked, organization: `of-${never}` };
			await directory.reserve({ ...one, cluster: randomId(), name: randomId() }, 1, 1);
			const two = directory.reserve({ ...one, cluster: randomId(), name: randomId() }, 1, 1);
			expect(two).rejects.toMatchObject({ kind: "forbidden" });
			await two.catch(() => undefined);
		});
	});
}

function shardsOf(databases: Readonly<Record<string, Database>>): Shards {
	return {
		names: Object.keys(databases),
		all: Object.keys(databases),
		async open(name) {
			const database = databases[name];
			if (!database) throw new Error(`no shard ${name}`);
			return database;
		},
		close: () => undefined,
	};
}

/** Calls of a process, counted over all of its databases. */
function counting(at: (step: number) => Promise<void> | undefined) {
	let count = 0;
	const watch = (database: Database): Database => ({
		...database,
		read: async (statements) => {
			await at(++count);
			return database.read(statements);
		},
		write: async (statements) => {
			await at(++count);
			return database.write(statements);
		},
	});
	return { watch, steps: () => count };
}

/** Nothing that it asks from that step on arrives. */
function dyingAt(death: number) {
	return counting((step) =>
		step >= death ? Promise.reject(new Error("this process was killed")) : undefined,
	);
}

/** What it asks at that step arrives late. */
function sleepingAt(sleep: number) {
	const sleeping = Promise.withResolvers<void>();
	const waking = Promise.withResolvers<void>();
	const counted = counting((step) => {
		if (step !== sleep) return undefined;
		sleeping.resolve();
		return waking.promise;
	});
	return { ...counted, sleeps: sleeping.promise, wake: () => waking.resolve() };
}

/** Who plans and how often it was moved differ from place to place. */
function withoutPlace(page: Page): Page {
	if (page.table !== "cluster") return page;
	const ofPlace = ["planner", "planner_until_ms", "move", "fenced"];
	const kept = page.columns.map((column, index) => [column, index] as const);
	return {
		table: page.table,
		columns: [],
		rows: page.rows.map((row) =>
			kept.filter(([column]) => !ofPlace.includes(column)).map(([, index]) => row[index] ?? null),
		),
	};
}
