// What one node must run and know: the message. Whatever is not in it must stop, or leave the node's tables.
//
// Full messages, no deltas: they heal themselves. The agent trusts its control plane, so the schema only guards
// against versions that differ.

import type { BuildAssignment } from "./build.ts";
import type { ClusterId, NetworkId, NodeId, ServiceId, TaskId } from "./id.ts";
import type { ImageAssignment } from "./image.ts";
import type { GenericResources } from "./node.ts";
import type { NodeRequest } from "./relay.ts";
import type { PortSpec, Protocol, TaskTemplate } from "./service.ts";
import type { Attachment } from "./task.ts";

export interface Assignment {
	readonly protocol: number;
	readonly cluster: ClusterId;
	/** The cluster's revision that this was compiled from. An agent never goes back to a lower one. */
	readonly revision: number;
	readonly self: {
		readonly node: NodeId;
		readonly hostname: string;
		readonly index: number;
		readonly meshAddress: string;
		readonly meshRange: string;
		readonly availability: "active" | "pause" | "drain";
		/** Where others reach the machine, as it says itself; absent when it says nothing. */
		readonly address?: string;
	};
	readonly peers: readonly Peer[];
	readonly networks: readonly NetworkAssignment[];
	readonly tasks: readonly TaskAssignment[];
	/** Tasks of jobs that ended here, and whose containers are kept for their logs. Sorted. */
	readonly ended?: readonly TaskId[];
	/** Images that this node is to make, each until it has ended and its end was heard. Sorted by id. */
	readonly builds?: readonly BuildAssignment[];
	/** Images that this node keeps or its tasks run, of those that the cluster built. Sorted by digest. */
	readonly images?: readonly ImageAssignment[];
	/** The control plane that has taken the cluster over: the agent goes there once it is known there. */
	readonly movedTo?: string;
	/** The program that the agent is to be; absent while it is to stay what it is. */
	readonly agent?: AgentRelease;
}

/** An agent's program as the control plane serves it, at `/install/agent.js`. */
export interface AgentRelease {
	readonly version: string;
	readonly sha256: string;
}

/** Every other node of the cluster, down or not. Sorted by index. */
export interface Peer {
	readonly node: NodeId;
	readonly hostname: string;
	readonly index: number;
	readonly meshAddress: string;
	readonly publicKey: string;
	/** Where its WireGuard may be reached, best first: `192.168.77.2:51820`. */
	readonly endpoints: readonly string[];
	readonly down: boolean;
}

/** A network that this node takes part in. Sorted by id. */
export interface NetworkAssignment {
	readonly id: NetworkId;
	readonly name: string;
	readonly vni: number;
	readonly subnet: string;
	readonly internal: boolean;
	readonly attachable: boolean;
	readonly ingress: boolean;
	/** This node's address in it: the bridge's. */
	readonly gateway: string;
	/** From where this node's engine serves `docker run --network`; null unless attachable. */
	readonly slice: string | null;
	/** The bridges of the other nodes that have the network. */
	readonly gateways: readonly { readonly node: NodeId; readonly address: string }[];
	/** Every address of the network that something lives at, here and elsewhere: forwarding entries and DNS. */
	readonly members: readonly Member[];
	/** The services with a task or an address in it: VIPs, DNS, published ports. */
	readonly endpoints: readonly Endpoint[];
}

/** A task, or a container that a person attached, at one address of one network. */
export interface Member {
	readonly address: string;
	readonly mac: string;
	readonly node: NodeId;
	/** All names it answers to besides its service's: `web.1`, `web.1.<id>`, a container's name and aliases. */
	readonly names: readonly string[];
	readonly task: TaskId | null;
	/** 0 for attached containers. */
	readonly generation: number;
}

/** A service's face in one network. */
export interface Endpoint {
	readonly service: ServiceId;
	readonly name: string;
	readonly aliases: readonly string[];
	/** Null in dnsrr mode, and on the ingress network: its services are reached by port. */
	readonly vip: string | null;
	/** Addresses of the tasks that serve: chosen by the plan, nobody else. Sorted. */
	readonly backends: readonly string[];
	/** On the ingress network: what every node answers on. */
	readonly ports: readonly {
		readonly protocol: Protocol;
		readonly published: number;
		readonly target: number;
	}[];
}

export interface TaskAssignment {
	readonly id: TaskId;
	readonly name: string;
	readonly service: {
		readonly id: ServiceId;
		readonly name: string;
		readonly labels: Readonly<Record<string, string>>;
	};
	readonly slot: number;
	readonly generation: number;
	/** `ready`: prepare and hold; `running`: run; `shutdown`: stop, with grace. */
	readonly desired: "ready" | "running" | "shutdown";
	/** One attempt to run to the end: a container that ended, however it did, is not started again. */
	readonly job?: true;
	/** With `shutdown`: how long connections that there are may go on before it is told to stop. Absent for no time. */
	readonly drainMs?: number;
	readonly template: TaskTemplate;
	/** The image's registry wants credentials: asked for at the pull, and never kept. */
	readonly registryAuth?: true;
	/** The ingress network's among them where the service publishes ports. The first is the default route's. */
	readonly attachments: readonly Attachment[];
	readonly hostPorts: readonly PortSpec[];
	/** What of the node's generic resources is this task's; absent for none. */
	readonly genericResources?: GenericResources;
}

/** What the agent is told, and what it says it has: a hash over all but the revision. */
export interface AssignmentReply {
	readonly revision: number;
	readonly hash: string;
	/** Null when the node's assignment has not changed since the hash it named. */
	readonly assignment: Assignment | null;
	/** How soon to call again at the latest, with or without news. */
	readonly pollMs: number;
	/** What somebody asked of the node's engine since the last call. */
	readonly requests?: readonly NodeRequest[];
	/**
	 * Where polls are not to be held: the control plane keeps a WebSocket at `/agent/bell` on which it says "news" when
	 * another call is worth while. The agent says "ping" on it every `pingMs` and hears "pong"; and calls anyway after
	 * `pollMs`.
	 */
	readonly bell?: { readonly pingMs: number; readonly pollMs: number };
}
