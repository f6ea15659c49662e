// A cluster's rows, on whichever shard they lie: the same door as `openCluster`, which goes with the cluster when it is
// moved. Rows are moved as they are, revision and seq included, so whoever holds a snapshot does not notice.
//
// Only the directory's word makes a cluster gone. Rows that are missing where it says they are is an outage of ours:
// agents that took it for an erasure would stop what runs.

import { Refusal, unavailable } from "../../model/errors.ts";
import type { Database } from "./client.ts";
import { type ClusterStore, openCluster } from "./cluster.ts";
import { clusterGone, findLanded, isFenced, StaleSnapshot } from "./commit.ts";
import { fenceOf, liftFence } from "./copy.ts";
import { type Directory, isBeingMade, isThere, type Placement } from "./directory.ts";
import type { Shards } from "./shards.ts";

/** A move's two ends at most, and one more that began meanwhile. */
const mostTurns = 4;
/** A cluster of ten thousand tasks is copied in less. */
const moveSeconds = 5;

export const beingMoved = (options?: ErrorOptions) =>
	unavailable("this cluster is being moved to another database: try again in a few seconds", {
		...options,
		retryAfterSeconds: moveSeconds,
	});

/** Rows that come out of a file come one after the other: half of them would tell agents to stop the rest. */
const notYet = () =>
	unavailable("this cluster is being made: try again in a moment", { retryAfterSeconds: 1 });

export interface PlacedStore extends ClusterStore {
	/** With the database that has the rows now; again with another, when they went there meanwhile. */
	on<Result>(ask: (database: Database) => Promise<Result>): Promise<Result>;
}

export async function openPlaced(
	directory: Directory,
	shards: Shards,
	id: Placement["cluster"],
): Promise<PlacedStore> {
	let shard: string;
	let database: Database;
	let store: ClusterStore;

	async function settle(): Promise<Placement> {
		const placement = await directory.placementOf(id);
		if (placement && isBeingMade(placement)) throw notYet();
		if (placement && !isThere(placement)) throw clusterGone();
		if (!placement) throw missing("the directory does not know it");
		if (placement.shard !== shard) {
			database = await shards.open(placement.shard);
			store = openCluster(database, id);
			shard = placement.shard;
		}
		return placement;
	}

	/** Again, where the cluster went elsewhere in the meantime. */
	async function follow<Result>(
		ask: (store: ClusterStore, turn: number) => Promise<Result>,
	): Promise<Result> {
		for (let turn = 0; ; turn++) {
			try {
				return await ask(store, turn);
			} catch (error) {
				if (!isFenced(error) && !isGone(error)) throw error;
				if (turn === mostTurns) throw beingMoved({ cause: error });
				const before = shard;
				// The fence first: a move is in the directory before its fence is here.
				const fence = await fenceOf(database, id);
				const placement = await settle();
				if (shard !== before) continue;
				if (isGone(error)) throw missing(`shard ${shard} has none`, { cause: error });
				if (fence === undefined) continue;
				if (placement.state === "moving" && placement.move === fence) {
					throw beingMoved({ cause: error });
				}
				// No move stands for it any more: it is done, or was given up.
				await liftFence(database, id, fence);
			}
		}
	}

	function missing(why: string, options?: ErrorOptions): Refusal {
		return unavailable(
			`the rows of cluster ${id} are not where they should be (${why}): was a database restored, or SKEIN_SHARDS changed?`,
			options,
		);
	}

	shard = "";
	await settle();
	return {
		id,
		get exclusive() {
			return database.exclusive;
		},
		on: (ask) => follow(() => ask(database)),
		load: () => follow((at) => at.load()),
		refresh: (held) => follow((at) => at.refresh(held)),
		seq: () =>
			follow(async (at) => {
				const seq = await at.seq();
				if (seq === undefined) throw clusterGone();
				return seq;
			}).catch((error: unknown) => {
				if (isGone(error)) return undefined;
				throw error;
			}),
		commit: (wanted) =>
			follow(async (at, turn) => {
				try {
					return await at.commit(wanted);
				} catch (error) {
					// It may have landed before the rows were copied, and its answer got lost with the shard.
					if (turn === 0 || !(error instanceof StaleSnapshot)) throw error;
					const landed = await findLanded(database, id, wanted);
					if (landed) return landed;
					throw error;
				}
			}),
		report: (...report) => follow((at) => at.report(...report)),
		endLeases: (ends) => follow((at) => at.endLeases(ends)),
		events: (...times) => follow((at) => at.events(...times)),
		contents: (names) => follow((at) => at.contents(names)),
		takePlanning: (...wanted) => follow((at) => at.takePlanning(...wanted)),
		endPlanning: (...ended) => follow((at) => at.endPlanning(...ended)),
		prune: (nowMs) => follow((at) => at.prune(nowMs)),
	};
}

const isGone = (error: unknown) => error instanceof Refusal && error.kind === "not-found";
