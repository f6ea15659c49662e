// The cluster as Docker's swarm object.

import { z } from "zod";
import { parseRange, showRange } from "../../../model/cidr.ts";
import type { Cluster } from "../../../model/cluster.ts";
import { invalid } from "../../../model/errors.ts";
import { vxlanPort } from "../../../model/protocol.ts";
import type { Document } from "../../../model/service.ts";
import { badArgument } from "../errors.ts";
import { timestamp } from "./time.ts";

const count = z.int().nonnegative();

export const swarmSchema = z
	.looseObject({
		Name: z.string(),
		Labels: z.record(z.string(), z.string()),
		Orchestration: z.looseObject({ TaskHistoryRetentionLimit: z.int() }).partial(),
		Raft: z.looseObject({}),
		Dispatcher: z.looseObject({ HeartbeatPeriod: count }).partial(),
		CAConfig: z.looseObject({}),
		TaskDefaults: z.looseObject({}),
		EncryptionConfig: z.looseObject({ AutoLockManagers: z.boolean() }).partial(),
	})
	.partial();

export type SwarmDocument = z.infer<typeof swarmSchema>;

export const initSchema = z
	.looseObject({
		ListenAddr: z.string(),
		AdvertiseAddr: z.string(),
		ForceNewCluster: z.boolean(),
		AutoLockManagers: z.boolean(),
		DefaultAddrPool: z.array(z.string()),
		SubnetSize: count,
		Spec: swarmSchema,
	})
	.partial();

/** What Docker has in the spec of a swarm of which nobody said anything. */
const defaults = {
	Name: "default",
	Labels: {},
	Orchestration: { TaskHistoryRetentionLimit: 5 },
	Raft: {
		SnapshotInterval: 10000,
		KeepOldSnapshots: 0,
		LogEntriesForSlowFollowers: 500,
		ElectionTick: 10,
		HeartbeatTick: 1,
	},
	Dispatcher: { HeartbeatPeriod: 5e9 },
	CAConfig: { NodeCertExpiry: 7776000000000000 },
	TaskDefaults: {},
	EncryptionConfig: { AutoLockManagers: false },
} as const satisfies SwarmDocument;

export interface AskedSwarm {
	readonly document: Document;
	readonly taskHistory: number;
}

export function fromEngine(asked: SwarmDocument): AskedSwarm {
	if ((asked.Name ?? "default") !== "default") {
		throw invalid('swarm spec must be named "default"');
	}
	if (asked.EncryptionConfig?.AutoLockManagers) {
		throw badArgument("autolock is not supported: there is no manager on your machines to lock");
	}
	const taskHistory =
		asked.Orchestration?.TaskHistoryRetentionLimit ??
		defaults.Orchestration.TaskHistoryRetentionLimit;
	const document = {
		...asked,
		...Object.fromEntries(
			Object.entries(defaults).map(([key, value]) => {
				const given = asked[key];
				if (typeof value !== "object") return [key, value];
				return [key, { ...value, ...said(given) }];
			}),
		),
	};
	// Docker takes a negative limit for "keep all"; we keep a great many.
	return { document, taskHistory: taskHistory < 0 ? 1000 : taskHistory };
}

/** `docker swarm init` sends zeros for what its user did not say. */
function said(given: unknown): Document {
	if (typeof given !== "object" || given === null) return {};
	return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== 0));
}

export function poolsOf(asked: readonly string[]): string[] {
	return asked.map((text) => {
		const range = text.includes("/") ? parseRange(text) : undefined;
		if (!range || range.prefix > 28) {
			throw invalid(
				`invalid default address pool ${JSON.stringify(text)}: use CIDR notation, at most /28`,
			);
		}
		return showRange(range);
	});
}

/** Without the tokens, as `docker info` has it. */
export function toEngine(cluster: Cluster): Document {
	return {
		ID: cluster.id,
		Version: { Index: cluster.specVersion },
		CreatedAt: timestamp(cluster.createdMs),
		UpdatedAt: timestamp(cluster.updatedMs),
		Spec: fromEngine(cluster.document).document,
		TLSInfo: {},
		RootRotationInProgress: false,
		DefaultAddrPool: cluster.addressPools,
		SubnetSize: cluster.subnetPrefix,
		DataPathPort: vxlanPort,
	};
}
