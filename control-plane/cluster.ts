// What a door may do with the cluster that its caller was let into: read it, change it, wait for news.
//
// The only implementation is `reconcile.ts`; tests of a door may bring a smaller one.

import type { Change, Moment } from "../model/change.ts";
import type { ClusterId, NodeId, TaskId } from "../model/id.ts";
import type { AttachedContainer, NodeDescription } from "../model/node.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type { TaskStatus } from "../model/task.ts";

export interface ClusterDoor {
	readonly id: ClusterId;

	/** Everything, no older than the moment of the call. */
	snapshot(): Promise<Snapshot>;

	/**
	 * Commits what `decide` asks for, together with what the planner makes of it, as the next revision. `decide` is
	 * called again on a newer snapshot when somebody else committed first, so it must not act on the world; what it
	 * throws (a `Refusal`) is thrown to the caller and nothing is written.
	 */
	commit<Result>(
		decide: (snapshot: Snapshot, moment: Moment) => Decision<Result>,
	): Promise<{ readonly result: Result; readonly revision: number }>;

	/** Writes what a node reported. Needs no revision: later states win. Then plans for what it touched. */
	report(reported: Reported): Promise<void>;

	/** Until the cluster is past `seq` (see `seq()`), or the time is over, or the signal says so. Never rejects. */
	wait(seq: number, timeoutMs: number, signal?: AbortSignal): Promise<void>;

	/** Counts every write of the cluster, reports included; `snapshot()` was no older than this when last called. */
	seq(): number;

	/** What happened since then, oldest first, in Docker's terms; for `docker events`. */
	events(sinceMs: number, untilMs: number): Promise<readonly ClusterEvent[]>;
}

export interface Decision<Result> {
	readonly changes: readonly Change[];
	readonly result: Result;
	readonly events?: readonly Omit<ClusterEvent, "timeMs">[];
}

/** What the dispatcher writes of a node: absent fields stay as they are. */
export interface Reported {
	readonly node: NodeId;
	readonly leaseUntilMs?: number;
	readonly applied?: { readonly revision: number; readonly hash: string };
	readonly description?: NodeDescription;
	readonly attached?: readonly AttachedContainer[];
	readonly unreachable?: readonly NodeId[];
	readonly tasks?: readonly { readonly id: TaskId; readonly status: TaskStatus }[];
}

export interface ClusterEvent {
	readonly type: "service" | "node" | "network" | "secret" | "config";
	readonly action: "create" | "update" | "remove";
	readonly id: string;
	readonly attributes: Readonly<Record<string, string>>;
	readonly timeMs: number;
}
