// A node: a machine with an agent. Availability is ours to set, the description its own, the status liveness's.

import type { NodeId } from "./id.ts";

/** Things that a node has besides processors and memory, by kind: each by its name, or just how many. */
export type GenericResources = Readonly<Record<string, readonly string[] | number>>;

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
	/** As the engine was told (`node-generic-resources`): GPUs, licences. */
	readonly genericResources?: GenericResources | undefined;
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
	/** The disk of its engine is, and no image can be removed: what would need room there goes elsewhere. */
	readonly diskFull?: boolean | undefined;
	/** It is being shut down or rebooted in good order. */
	readonly goingDown?: boolean | undefined;
	/** What it makes images with; absent on a machine that cannot. */
	readonly builder?: Builder | undefined;
	/** The agent's program, of an agent that can go to another one by itself. */
	readonly agentProgram?: AgentProgram | undefined;
}

export interface Builder {
	/** Git's version: `2.39.5`. */
	readonly git: string;
	/** `classic` knows no secrets. */
	readonly builder: "buildkit" | "classic";
	/** It reads compose files. */
	readonly compose?: boolean | undefined;
	/** It says what an index must say of an image that it made. */
	readonly parts?: boolean | undefined;
}

export interface AgentProgram {
	readonly sha256: string;
	/** The last one that it went to and had to leave again. */
	readonly failed?: { readonly sha256: string; readonly reason: string } | undefined;
}

/** Its tasks are to go elsewhere: somebody drains it, or it goes down by itself. */
export function isToBeEmptied({ spec, description }: Pick<Node, "spec" | "description">): boolean {
	return spec.availability === "drain" || description.goingDown === true;
}

/** A report's place among those of its node: which start of the agent it is of, and the how manieth since. */
export interface Said {
	/** Rises with every start: its time in ms where the machine's clock is right. */
	readonly start: number;
	readonly count: number;
}

/** Both are known, and the first was said before the second. */
export function isSaidBefore(one: Said | undefined, other: Said | undefined): boolean {
	if (!one || !other) return false;
	return one.start < other.start || (one.start === other.start && one.count < other.count);
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

/** What an agent said of its node, and what else is known of it: two writers, who never touch each other's. */
export type ReportedNode = Pick<
	Node,
	| "said"
	| "description"
	| "attached"
	| "appliedRevision"
	| "appliedHash"
	| "leaseUntilMs"
	| "unreachable"
	| "images"
>;
export type DecidedNode = Omit<Node, keyof ReportedNode>;

export function splitNode(node: Node): [DecidedNode, ReportedNode] {
	const {
		said,
		description,
		attached,
		appliedRevision,
		appliedHash,
		leaseUntilMs,
		unreachable,
		images,
		...decided
	} = node;
	return [
		decided,
		{
			said,
			description,
			attached,
			appliedRevision,
			appliedHash,
			leaseUntilMs,
			unreachable,
			images,
		},
	];
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
	/** The program that its agent was told to go to last; written by manager/agents.ts alone. */
	readonly agentUpdate?: AgentUpdate;
	readonly createdMs: number;
	readonly updatedMs: number;

	// What the node reported; written by the dispatcher, without a revision.
	/** The newest report that this is from; zeros where none carried its place. */
	readonly said: Said;
	readonly description: NodeDescription;
	readonly attached: readonly AttachedContainer[];
	/** The newest revision whose tables the node has in its kernel; 0 for none. */
	readonly appliedRevision: number;
	readonly appliedHash: string;
	/** The node is heard until then; renewed by its polls and reports. */
	readonly leaseUntilMs: number;
	/** Peers that did not answer its probes when it last reported. */
	readonly unreachable: readonly NodeId[];
	/** Digests of the images that were built here and of which it has a whole copy. Sorted. */
	readonly images: readonly string[];
}

export interface AgentUpdate {
	readonly version: string;
	readonly sha256: string;
	/** `reached`: it runs. `proved`: it did so for a while, and all was well. */
	readonly state: "told" | "reached" | "proved";
	/** Of the state. */
	readonly sinceMs: number;
}

/** Its own, or its machine's. */
export function nodeName({ spec, description }: Pick<Node, "spec" | "description">): string {
	return spec.name || description.hostname;
}
