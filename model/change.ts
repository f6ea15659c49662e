// Everything a plan, or a user's request, can ask of the store, as one tagged union.
//
// `put-…` writes what the manager decides of an object (all of it when the object is new) and leaves alone what
// agents reported since; so a plan never overwrites a report, and no field has two writers.

import type { Application } from "./application.ts";
import type { AgentRelease } from "./assignment.ts";
import type { Build, BuildStatus } from "./build.ts";
import type { Cluster } from "./cluster.ts";
import type { Deployment } from "./deployment.ts";
import type {
	ApplicationId,
	BuildId,
	DeploymentId,
	MaterialId,
	NetworkId,
	NodeId,
	ServiceId,
	TaskId,
} from "./id.ts";
import type { Material, SealedContent } from "./material.ts";
import type { Lease, Network } from "./network.ts";
import type { Node } from "./node.ts";
import type { Service, TemplateVersion } from "./service.ts";
import type { Task, TaskStatus } from "./task.ts";

export type Change =
	| { readonly kind: "put-cluster"; readonly cluster: Cluster }
	| { readonly kind: "put-node"; readonly node: Node }
	| { readonly kind: "remove-node"; readonly id: NodeId }
	| { readonly kind: "put-network"; readonly network: Network }
	| { readonly kind: "remove-network"; readonly id: NetworkId }
	| { readonly kind: "put-service"; readonly service: Service }
	| { readonly kind: "remove-service"; readonly id: ServiceId }
	| { readonly kind: "put-template"; readonly template: TemplateVersion }
	| { readonly kind: "remove-template"; readonly service: ServiceId; readonly version: number }
	| { readonly kind: "put-lease"; readonly lease: Lease }
	| { readonly kind: "remove-lease"; readonly network: NetworkId; readonly address: string }
	| { readonly kind: "put-material"; readonly material: Material }
	| { readonly kind: "remove-material"; readonly id: MaterialId }
	/** Lands beside the snapshot, which has no contents; goes with its version, or with its material. */
	| { readonly kind: "put-content"; readonly content: SealedContent }
	/** On a task that exists, `task.status` is ignored: see `task-status`. */
	| { readonly kind: "put-task"; readonly task: Task }
	/** Lands only if its state is later than the one there (or the same, observed later). */
	| { readonly kind: "task-status"; readonly id: TaskId; readonly status: TaskStatus }
	| { readonly kind: "remove-task"; readonly id: TaskId }
	| { readonly kind: "put-application"; readonly application: Application }
	| { readonly kind: "remove-application"; readonly id: ApplicationId }
	| { readonly kind: "put-deployment"; readonly deployment: Deployment }
	| { readonly kind: "remove-deployment"; readonly id: DeploymentId }
	/** As with tasks. */
	| { readonly kind: "put-build"; readonly build: Build }
	| { readonly kind: "build-status"; readonly id: BuildId; readonly status: BuildStatus }
	| { readonly kind: "remove-build"; readonly id: BuildId };

/** What time alone would change, and what has to be written now. `wakeAtMs` is null when only news can change it. */
export interface Plan {
	readonly changes: readonly Change[];
	readonly wakeAtMs: number | null;
}

export interface AgentOffer extends AgentRelease {
	/** Since when it is served: of two hosts with different ones, the later decides. */
	readonly sinceMs: number;
	/** For how long a node must do well with it before more nodes are told. */
	readonly soakMs: number;
}

/** Time and identity, passed in: the planner has no clock and no dice of its own. */
export interface Moment {
	readonly nowMs: number;
	/** Since when this planner's host has been able to hear agents: silence before that counts against nobody. */
	readonly listeningSinceMs: number;
	/** The agents' program that this host serves; absent while it knows of none. */
	readonly agent?: AgentOffer | undefined;
	newId(): string;
}

/** What to plan. `plan` over the objects touched equals `plan` over all, and costs what changed. */
export type Scope =
	| "all"
	| { readonly services: ReadonlySet<ServiceId>; readonly nodes: ReadonlySet<NodeId> };
