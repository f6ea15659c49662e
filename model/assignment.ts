// What one node must run and know: the message. Whatever is not in it must stop, or leave the node's tables.
//
// Full messages, no deltas: they heal themselves. The agent trusts its control plane, so the schema only guards
// against versions that differ.

import type { ClusterId, NetworkId, NodeId, ServiceId, TaskId } from "./id.ts";
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
	};
	readonly peers: readonly Peer[];
	readonly networks: readonly NetworkAssignment[];
	readonly tasks: readonly TaskAssignment[];
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
	readonly template: TaskTemplate;
	/** The ingress network's among them where the service publishes ports. The first is the default route's. */
	readonly attachments: readonly Attachment[];
	readonly hostPorts: readonly PortSpec[];
}

/** What the agent is told, and what it says it has: a hash over all but the revision. */
export interface AssignmentReply {
	readonly revision: number;
	readonly hash: string;
	/** Null when the node's assignment has not changed since the hash it named. */
	readonly assignment: Assignment | null;
	/** How soon to call again at the latest, with or without news. */
	readonly pollMs: number;
	/** Streams that somebody waits for since the last call. */
	readonly streams?: readonly StreamRequest[];
}

/**
 * A task's output that somebody reads: the agent opens `POST /agent/stream/<id>` and sends, as the body, what the
 * engine's `/containers/<containerId>/logs` gives for these options, unchanged, until it ends or the answer comes
 * (the reader went). A container that is gone: an empty body.
 */
export interface StreamRequest {
	readonly id: string;
	readonly task: TaskId;
	readonly containerId: string;
	readonly stdout: boolean;
	readonly stderr: boolean;
	readonly follow: boolean;
	readonly timestamps: boolean;
	/** Lines from the end, or `all`. */
	readonly tail: string;
	/** Unix seconds with fraction, empty for the beginning. */
	readonly since: string;
	readonly until: string;
}
