// A node: a machine with an agent. Availability is ours to set, the description its own, the status liveness's.

import type { NodeId } from "./id.ts";

export type Availability = "active" | "pause" | "drain";
export type Role = "worker" | "manager";

/** What the agent says of its machine, at the join and whenever it changes. */
export interface NodeDescription {
	readonly hostname: string;
	readonly os: string;
	/** Docker's word: `x86_64`, `aarch64`. */
	readonly architecture: string;
	readonly kernel: string;
	readonly engineVersion: string;
	readonly engineLabels: Readonly<Record<string, string>>;
	readonly plugins: readonly { readonly type: string; readonly name: string }[];
	readonly agentVersion: string;
	readonly nanoCpus: number;
	readonly memoryBytes: number;
	/** WireGuard's public key, base64. */
	readonly publicKey: string;
	readonly wireguardPort: number;
	/** `kernel` or `userspace`. */
	readonly wireguard: string;
	/** The machine's own addresses, best first: where peers send WireGuard's packets. */
	readonly addresses: readonly string[];
	/** Ranges the machine has routes to that are not ours: no subnet of ours may overlap one. */
	readonly routes: readonly string[];
	/** What keeps the machine from doing its part, each with the command that mends it. Empty when all is well. */
	readonly problems: readonly string[];
	/** What a person should know all the same: a peer that is silent, a port that somebody else has. */
	readonly warnings?: readonly string[] | undefined;
}

/** A container that a person runs in one of our networks with plain `docker run --network`. */
export interface AttachedContainer {
	readonly containerId: string;
	readonly name: string;
	readonly aliases: readonly string[];
	readonly network: string;
	readonly address: string;
	readonly mac: string;
}

export interface Node {
	readonly id: NodeId;
	/** A small number of its own, from 1, never reused while the node is known: marks, zones, mesh address. */
	readonly index: number;
	readonly meshAddress: string;
	readonly spec: {
		readonly name: string;
		readonly role: Role;
		readonly availability: Availability;
		readonly labels: Readonly<Record<string, string>>;
	};
	readonly specVersion: number;
	/** Written by liveness alone. `unknown` until the first report. */
	readonly status: {
		readonly state: "unknown" | "ready" | "down";
		readonly message: string;
		readonly sinceMs: number;
	};
	readonly createdMs: number;
	readonly updatedMs: number;

	// What the node reported; written by the dispatcher, without a revision.
	readonly description: NodeDescription;
	readonly attached: readonly AttachedContainer[];
	/** The newest revision whose tables the node has in its kernel; 0 for none. */
	readonly appliedRevision: number;
	readonly appliedHash: string;
	/** The node is heard until then; renewed by its polls and reports. */
	readonly leaseUntilMs: number;
	/** Peers that did not answer its probes when it last reported. */
	readonly unreachable: readonly NodeId[];
}
