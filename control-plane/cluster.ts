// What a door may do with the cluster that its caller was let into: read it, change it, wait for news.
//
// The only implementation is `reconcile.ts`; tests of a door may bring a smaller one.

import type { StreamRequest } from "../model/assignment.ts";
import type { Change, Moment } from "../model/change.ts";
import type { Cluster } from "../model/cluster.ts";
import type { ClusterId, NodeId, TaskId } from "../model/id.ts";
import type { AttachedContainer, NodeDescription, Role } from "../model/node.ts";
import type { Document } from "../model/service.ts";
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

/** What the agents' door needs besides: it compiles an assignment anew only when one may differ. */
export interface AgentsDoor extends ClusterDoor {
	/** Rises when something that assignments are made of changed: a decision, an address, an attached container. */
	assignedSeq(): number;
}

/** Making and erasing the account's cluster, and the tokens that let machines join it. */
export interface Clusters {
	/** With its ingress network. A conflict when there is one already. */
	create(asked: NewCluster): Promise<ClusterDoor>;
	/** Forgets everything in it. Its agents learn so with their next poll, and wind down. */
	erase(id: ClusterId): Promise<void>;
	/** What `docker swarm join-token` shows. */
	joinTokens(cluster: Cluster): Promise<Readonly<Record<Role, string>>>;
	/** The cluster's `tokens`, those of the roles made anew, for a `put-cluster`. The old ones are refused from then on. */
	rotateTokens(cluster: Cluster, roles: readonly Role[]): Promise<Cluster["tokens"]>;
}

export interface NewCluster {
	/** Docker's swarm spec, whole. */
	readonly document?: Document;
	readonly addressPools?: readonly string[];
	readonly subnetPrefix?: number;
	readonly taskHistory?: number;
}

/** What `app.ts` puts in the way of every request before a door sees it. */
export interface DoorEnv {
	Variables: {
		/** The caller's, or undefined while none was made. */
		cluster: ClusterDoor | undefined;
		clusters: Clusters;
		/** By which way the caller came: the socket's file permissions are trust, TCP takes a token. */
		via: "socket" | "tcp";
		/** A task's output, from its node, as its engine gives it. Rejects with a sentence when the node does not answer. */
		readTask: (
			node: NodeId,
			asked: Omit<StreamRequest, "id">,
			signal: AbortSignal,
		) => Promise<ReadableStream<Uint8Array>>;
		/** How agents and people reach this control plane: `http://192.0.2.1:8787`, no slash at the end. */
		publicUrl: string;
	};
}
