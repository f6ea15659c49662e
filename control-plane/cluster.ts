// What a door may do with the cluster that its caller was let into: read it, change it, wait for news.
//
// The only implementation is `reconcile.ts`; tests of a door may bring a smaller one.

import type { BuildStatus } from "../model/build.ts";
import type { Change, Moment } from "../model/change.ts";
import type { Cluster } from "../model/cluster.ts";
import type { GitEvent } from "../model/git.ts";
import type { ApplicationId, BuildId, ClusterId, MaterialId, NodeId, TaskId } from "../model/id.ts";
import type { ContentName, SealedContent } from "../model/material.ts";
import type { AttachedContainer, NodeDescription, Role, Said } from "../model/node.ts";
import type { AnswerHead, NodeQuestion } from "../model/relay.ts";
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

	/** What secrets and configs say. Beside the snapshot, since no plan may know it. */
	readonly contents: Contents;

	/** What forges told of, and what builds printed. */
	readonly inbox: Inbox;

	/** Registries' credentials, which stand sealed in the services' specs. */
	readonly credentials: Credentials;

	/** What happened since then, oldest first, in Docker's terms; for `docker events`. */
	events(sinceMs: number, untilMs: number): Promise<readonly ClusterEvent[]>;
}

export interface Contents {
	/** For what is about to be made: a content is sealed to its owner before the commit that makes both. */
	newId(): MaterialId;
	/** For a `put-content`. */
	seal(name: ContentName, plain: Uint8Array): Promise<SealedContent>;
	/** By `contentKey`; what is gone is not among them. */
	read(names: readonly ContentName[]): Promise<ReadonlyMap<string, Uint8Array>>;
}

export interface Credentials {
	seal(plain: string): Promise<string>;
	open(sealed: string): Promise<string>;
}

export interface Delivery {
	readonly application: ApplicationId;
	/** Of what was signed: see `webhooks/delivery.ts`. */
	readonly key: string;
	readonly forge: string;
	/** As the forge's own pages name it. */
	readonly name: string;
	readonly atMs: number;
	readonly events: readonly GitEvent[];
	/** A sentence for each event and environment; null while nothing was made of it. */
	readonly outcome: readonly string[] | null;
}

export interface Inbox {
	/** False when it is there already. */
	add(delivery: Delivery): Promise<boolean>;
	/** The newest first. */
	list(application: ApplicationId): Promise<readonly Delivery[]>;
	/** Those that nobody has made anything of, the oldest first. */
	unhandled(): Promise<readonly Delivery[]>;
	settle(
		delivery: Pick<Delivery, "application" | "key">,
		outcome: readonly string[],
	): Promise<void>;
	/** Undefined while it has not ended, or is forgotten. */
	log(build: BuildId): Promise<string | undefined>;
	keepLog(build: BuildId, text: string): Promise<void>;
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
	readonly said?: Said;
	readonly applied?: { readonly revision: number; readonly hash: string };
	readonly description?: NodeDescription;
	readonly attached?: readonly AttachedContainer[];
	readonly unreachable?: readonly NodeId[];
	readonly images?: readonly string[];
	readonly tasks?: readonly { readonly id: TaskId; readonly status: TaskStatus }[];
	readonly builds?: readonly { readonly id: BuildId; readonly status: BuildStatus }[];
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

/** An organization's clusters as such: making and erasing them, and the tokens that let machines join them. */
export interface Clusters {
	/** By name. */
	list(): Promise<readonly ClusterSummary[]>;
	/** The same, and besides those that are being made: who asks for one comes a moment too early. */
	found(): Promise<FoundClusters>;
	/** With its ingress network. A conflict when there is one of that name already, whosever it is. */
	create(asked: NewCluster): Promise<ClusterDoor>;
	/** Forgets everything in it. Its agents learn so with their next poll, and wind down. Not found when it is another's. */
	erase(id: ClusterId): Promise<void>;
	/** What `docker swarm join-token` shows. */
	joinTokens(cluster: Cluster): Promise<Readonly<Record<Role, string>>>;
	/** The cluster's `tokens`, those of the roles made anew, for a `put-cluster`. The old ones are refused from then on. */
	rotateTokens(cluster: Cluster, roles: readonly Role[]): Promise<Cluster["tokens"]>;
}

export interface ClusterSummary {
	readonly id: ClusterId;
	/** Unique among all clusters here: it is part of a host name. */
	readonly name: string;
	readonly organization: string;
}

export interface FoundClusters {
	readonly there: readonly ClusterSummary[];
	readonly beingMade: readonly ClusterSummary[];
}

export interface NewCluster {
	/** `default` otherwise. */
	readonly name?: string;
	/** Docker's swarm spec, whole. */
	readonly document?: Document;
	readonly addressPools?: readonly string[];
	readonly subnetPrefix?: number;
	readonly taskHistory?: number;
}

/** Asks a node's engine: what model/relay.ts lists. Rejects with a sentence when the node does not answer. */
export type AskNode = (node: NodeId, request: NodeQuestion, going: Going) => Promise<NodeAnswer>;

export interface Going {
	/** The asker goes away. */
	readonly signal: AbortSignal;
	/** What the asker sends besides. */
	readonly stdin?: ReadableStream<Uint8Array>;
}

export interface NodeAnswer extends AnswerHead {
	readonly body: ReadableStream<Uint8Array>;
	/** Resolves when the answer has ended, however it did. */
	readonly over: Promise<void>;
}

/** What `app.ts` puts in the way of every request before a door sees it. */
export interface DoorEnv {
	Variables: {
		/** The caller's, or undefined while none was made. */
		cluster: ClusterDoor | undefined;
		clusters: Clusters;
		/** Whether the caller may see what lets machines join. */
		mayAdmit: boolean;
		/** By which way the caller came: the socket's file permissions are trust, TCP takes a token. */
		via: "socket" | "tcp";
		askNode: AskNode;
		/** What the caller sends after the request, on a connection that was upgraded to raw bytes. */
		stdin: ReadableStream<Uint8Array> | undefined;
		/** How agents and people reach this control plane: `http://192.0.2.1:8787`, no slash at the end. */
		publicUrl: string;
	};
}
