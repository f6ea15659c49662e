// A cluster: one tenant's swarm, the scope of every key.

import type { ClusterId } from "./id.ts";
import type { Document } from "./service.ts";

export interface Cluster {
	readonly id: ClusterId;
	/** Docker's swarm spec, whole, opaque to all but the Engine API's door. */
	readonly document: Document;
	readonly specVersion: number;
	/** Subnets are cut from these, `subnetPrefix` bits each. */
	readonly addressPools: readonly string[];
	readonly subnetPrefix: number;
	/** Node i has the i-th address of this range in the WireGuard mesh. */
	readonly meshRange: string;
	/** Finished tasks kept per slot. */
	readonly taskHistory: number;
	/** A node unheard for this long is down. */
	readonly nodeTimeoutMs: number;
	/** Rises with each rotation; tokens are derived from it and kept as hashes. */
	readonly tokens: Readonly<
		Record<"worker" | "manager", { readonly epoch: number; readonly sha256: string }>
	>;
	/** The address of the control plane that has taken the cluster over: its agents are told. */
	readonly movedTo?: string;
	/** The program that its agents go to, and how that goes: manager/agents.ts. */
	readonly agent?:
		| {
				readonly version: string;
				readonly sha256: string;
				/** Since when the control plane that brought it serves it: of two, the later one's word counts. */
				readonly sinceMs: number;
				/** Nobody is on the way, and nobody waits to be told. */
				readonly settled: boolean;
				/** Why nobody else is told. */
				readonly stopped?: string;
		  }
		| undefined;
	readonly createdMs: number;
	readonly updatedMs: number;
}
