// An overlay network, and the leases of addresses in it.

import type { NetworkId, NodeId, ServiceId } from "./id.ts";
import type { Document } from "./service.ts";
import { slotKey, type Task } from "./task.ts";

export interface Network {
	readonly id: NetworkId;
	readonly name: string;
	/** VXLAN's number of the network, 24 bits, unique in the cluster, never 1 (that is the probe's). */
	readonly vni: number;
	/** The user's, or empty when ours to choose and not chosen yet. */
	readonly subnet: string;
	/** No way out, and no published ports. */
	readonly internal: boolean;
	/** People may join it with plain `docker run --network`. */
	readonly attachable: boolean;
	/** The one that carries published ports. */
	readonly ingress: boolean;
	readonly labels: Readonly<Record<string, string>>;
	readonly options: Readonly<Record<string, string>>;
	/** The user's words, opaque to all but the Engine API's door. */
	readonly document: Document;
	readonly createdMs: number;
}

/**
 * An address, or a block of them, held for someone for as long as that someone exists.
 * Primary key: (network, address).
 */
export interface Lease {
	readonly network: NetworkId;
	/** First address of the block. */
	readonly address: string;
	/** 32 for one address; a slice's prefix otherwise. */
	readonly prefix: number;
	/** One of the four below: unique in a network among leases that are not released. */
	readonly holder: string;
	/** When the holder went, 0 while it is there: the address rests for the quarantine, then is free. */
	readonly releasedMs: number;
}

export const vipHolder = (service: ServiceId) => `vip:${service}`;
export const slotHolder = (task: Pick<Task, "service" | "slot" | "node">) =>
	`slot:${slotKey(task)}`;
/** The bridge's address on one node. */
export const gatewayHolder = (node: NodeId) => `gateway:${node}`;
/** The block from which one node's engine serves `docker run --network`. */
export const sliceHolder = (node: NodeId) => `slice:${node}`;

/** An address that nobody asks for rests this long before somebody else gets it. */
export const quarantineMs = 60_000;
