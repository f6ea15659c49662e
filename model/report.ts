// What a node saw: the message, and its schema, since whoever sends one is not to be trusted with our tables.

import { z } from "zod";
import { type BuildState, type BuildStatus, buildBounds, buildRankOf } from "./build.ts";
import type { BuildId, NodeId, TaskId } from "./id.ts";
import { manifestTypes } from "./image.ts";
import type { AttachedContainer, NodeDescription, Said } from "./node.ts";
import { evidenceBounds } from "./rollout.ts";
import type { TaskStatus } from "./task.ts";
import { rankOf, type TaskState } from "./taskstate.ts";

export interface TaskReport {
	readonly id: TaskId;
	readonly status: TaskStatus;
}

export interface BuildReport {
	readonly id: BuildId;
	readonly status: BuildStatus;
}

/** Everything is optional: a report with no news is a heartbeat. Fields that are there replace what was said before. */
export interface Report {
	/**
	 * Late copies are told by it. An agent says one report after the other, and says again what it does not know to
	 * have been heard, so all that an older report says of the node was heard or stands in a newer one.
	 */
	readonly said?: Said;
	/** The newest assignment whose tables are in the node's kernel. */
	readonly applied?: { readonly revision: number; readonly hash: string };
	readonly tasks?: readonly TaskReport[];
	readonly description?: NodeDescription;
	/** All of them, not the news. */
	readonly attached?: readonly AttachedContainer[];
	readonly builds?: readonly BuildReport[];
	/** Digests of the images (`model/image.ts`) of which this node has a whole copy. All of them, not the news. Sorted. */
	readonly images?: readonly string[];
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

const evidence = z.strictObject({
	oomKilled: z.boolean(),
	health: z.string().max(evidenceBounds.healthLength),
	lines: z.array(z.string().max(evidenceBounds.lineLength)).max(evidenceBounds.lines),
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
	evidence: evidence.optional(),
}) satisfies z.ZodType<TaskStatus>;

const buildState = z.enum(Object.keys(buildRankOf) as [BuildState, ...BuildState[]]);
const imageDigest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "no sha256 digest");

const buildStatus = z.strictObject({
	state: buildState,
	error: text,
	lines: z.array(z.string().max(buildBounds.lineLength)).max(buildBounds.lines),
	digest: imageDigest.or(z.literal("")),
	bytes: count,
	manifest: z.strictObject({ mediaType: z.enum(manifestTypes), size: count }).optional(),
	sinceMs: count,
	times: z.array(z.tuple([buildState, count])).max(Object.keys(buildRankOf).length),
	observed: count,
}) satisfies z.ZodType<BuildStatus>;

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
	genericResources: z.record(text, z.union([strings, count])).optional(),
	publicKey: z.string().regex(/^[A-Za-z0-9+/]{43}=$/, "no WireGuard public key"),
	wireguardPort: count.min(1).max(65535),
	wireguard: text,
	addresses: strings,
	routes: strings,
	problems: strings,
	warnings: strings.optional(),
	diskFull: z.boolean().optional(),
	goingDown: z.boolean().optional(),
	builder: z
		.object({
			git: text,
			builder: z.enum(["buildkit", "classic"]),
			compose: z.boolean().optional(),
			parts: z.boolean().optional(),
		})
		.optional(),
	agentProgram: z
		.object({
			sha256: text,
			failed: z.object({ sha256: text, reason: text }).optional(),
		})
		.optional(),
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
	said: z.object({ start: count, count }).optional(),
	applied: z.object({ revision: count, hash: text }).optional(),
	tasks: z
		.array(z.object({ id: text, status }))
		.max(10_000)
		.optional(),
	description: descriptionSchema.optional(),
	attached: z.array(attached).max(10_000).optional(),
	builds: z
		.array(z.object({ id: text, status: buildStatus }))
		.max(1_000)
		.optional(),
	images: z.array(imageDigest).max(10_000).optional(),
	unreachable: z.array(text).max(10_000).optional(),
});

export const joinSchema = z.object({ token: text, description: descriptionSchema });
