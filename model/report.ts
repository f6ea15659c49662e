// What a node saw: the message, and its schema, since whoever sends one is not to be trusted with our tables.

import { z } from "zod";
import type { NodeId, TaskId } from "./id.ts";
import type { AttachedContainer, NodeDescription } from "./node.ts";
import type { TaskStatus } from "./task.ts";
import { rankOf, type TaskState } from "./taskstate.ts";

export interface TaskReport {
	readonly id: TaskId;
	readonly status: TaskStatus;
}

/** Everything is optional: a report with no news is a heartbeat. Fields that are there replace what was said before. */
export interface Report {
	/** The newest assignment whose tables are in the node's kernel. */
	readonly applied?: { readonly revision: number; readonly hash: string };
	readonly tasks?: readonly TaskReport[];
	readonly description?: NodeDescription;
	/** All of them, not the news. */
	readonly attached?: readonly AttachedContainer[];
	/** Peers that do not answer over the mesh. */
	readonly unreachable?: readonly NodeId[];
}

export interface JoinRequest {
	/** `SWMTKN-1-…` */
	readonly token: string;
	readonly description: NodeDescription;
}

export interface JoinReply {
	readonly node: NodeId;
	/** Sent as `Authorization: Bearer …` from then on. Kept by us as a hash only. */
	readonly credential: string;
}

const text = z.string().max(4096);
const strings = z.array(text).max(1024);
const count = z.number().int().nonnegative();

const port = z.strictObject({
	name: text,
	protocol: z.enum(["tcp", "udp", "sctp"]),
	target: count.max(65535),
	published: count.max(65535),
	mode: z.enum(["ingress", "host"]),
});

const status = z.strictObject({
	state: z.enum(Object.keys(rankOf) as [TaskState, ...TaskState[]]),
	message: text,
	error: text,
	sinceMs: count,
	observed: count,
	health: z.enum(["none", "starting", "healthy", "unhealthy"]),
	containerId: text,
	pid: count,
	exitCode: z.number().int().nullable(),
	ports: z.array(port).max(1024),
}) satisfies z.ZodType<TaskStatus>;

export const descriptionSchema = z.object({
	hostname: z.string().min(1).max(255),
	os: text,
	architecture: text,
	kernel: text,
	engineVersion: text,
	engineLabels: z.record(text, text),
	plugins: z.array(z.object({ type: text, name: text })).max(256),
	agentVersion: text,
	nanoCpus: count,
	memoryBytes: count,
	publicKey: z.string().regex(/^[A-Za-z0-9+/]{43}=$/, "no WireGuard public key"),
	wireguardPort: count.min(1).max(65535),
	wireguard: text,
	addresses: strings,
	routes: strings,
	problems: strings,
	warnings: strings.optional(),
}) satisfies z.ZodType<NodeDescription>;

const attached = z.object({
	containerId: text,
	name: text,
	aliases: strings,
	network: text,
	address: z.ipv4(),
	mac: z.mac(),
}) satisfies z.ZodType<AttachedContainer>;

export const reportSchema = z.object({
	applied: z.object({ revision: count, hash: text }).optional(),
	tasks: z
		.array(z.object({ id: text, status }))
		.max(10_000)
		.optional(),
	description: descriptionSchema.optional(),
	attached: z.array(attached).max(10_000).optional(),
	unreachable: z.array(text).max(10_000).optional(),
});

export const joinSchema = z.object({ token: text, description: descriptionSchema });
