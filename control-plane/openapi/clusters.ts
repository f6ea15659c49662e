// Described: clusters, as a whole and as files; their keys; and what a cluster's services were rolled to.

import { z } from "zod";
import { newCluster, toShard } from "../api/clusters.ts";
import { moveSchema } from "../backup/router.ts";
import type { Group } from "./describe.ts";
import { usage } from "./organizations.ts";
import { time } from "./people.ts";

const summary = { id: z.string(), name: z.string(), organization: z.string() };
const cluster = z
	.object({
		...summary,
		endpoint: z.string().describe("Docker's: docker context create NAME --docker host=…"),
	})
	.meta({ id: "Cluster" });
const lies = z.object({ ...summary, shard: z.string() });
const version = z.object({ version: z.int().describe("of the cluster's keys") });
const passphrase = {
	"Skein-Passphrase": "The passphrase that the file's secrets are sealed with, in base64.",
};
const file = { media: "application/vnd.skein.cluster" };

export const clusters: Group = {
	name: "Clusters",
	about: "The caller's clusters. What is in one is Docker's API, and what follows below.",
	routes: {
		"GET /api/clusters": {
			does: "List the clusters in the caller's reach",
			answers: { 200: z.array(cluster) },
		},
		"POST /api/clusters": { does: "Make a cluster", body: newCluster, answers: { 201: cluster } },
		"DELETE /api/clusters/:name": {
			does: "Erase a cluster; its machines are free again",
			answers: { 204: null },
		},
		"GET /api/clusters/:name/usage": {
			does: "What a cluster has, beside what it may have",
			answers: { 200: usage("nodes", "services", "tasks", "contents") },
		},
		"GET /api/clusters/:name/shard": {
			does: "On which database a cluster lies, whosever it is",
			answers: { 200: lies.extend({ state: z.string() }) },
		},
		"POST /api/clusters/:name/shard": {
			does: "Move a cluster to another database",
			more: "Answers when it is there; it goes on meanwhile.",
			body: toShard,
			answers: { 200: lies },
		},
		"POST /api/clusters/:name/export": {
			does: "A cluster as one file",
			headers: passphrase,
			answers: { 200: file },
		},
		"POST /api/clusters/import": {
			does: "A cluster out of such a file",
			query: z.object({
				name: z.string().optional().describe("another than it had"),
			}),
			headers: passphrase,
			body: file,
			answers: {
				201: z.object({
					id: z.string(),
					name: z.string(),
					same: z
						.boolean()
						.describe("it has the id that it had: its machines are let in. Else it is a copy"),
				}),
			},
		},
		"POST /api/clusters/:name/move": {
			does: "Send a cluster's machines to the control plane at another address",
			more: "null calls that off.",
			body: moveSchema,
			answers: { 200: z.object({ url: z.string().nullable() }) },
		},
		"POST /api/clusters/:name/keys/rotate": {
			does: "Give a cluster a new key",
			more: "What was sealed is sealed anew.",
			answers: { 200: version },
		},
		"POST /api/clusters/:name/keys/replace": {
			does: "Give a cluster new keys where the master key is lost",
			more: "What was sealed is given up.",
			answers: { 200: version },
		},
		"GET /api/keys": {
			does: "How many clusters' keys are under which master key",
			answers: {
				200: z.object({
					current: z.string(),
					given: z.array(z.string()),
					wrapped: z.array(z.object({ master: z.string(), clusters: z.int(), given: z.boolean() })),
					left: z.int().describe("clusters whose keys are not under the current one yet"),
				}),
			},
		},
	},
};

const rolled = z.object({ templateVersion: z.int(), image: z.string() });
const rollout = z
	.object({
		number: z.int(),
		kind: z.enum(["update", "rollback", "automatic rollback"]),
		from: rolled.nullable(),
		to: rolled,
		startedAt: time,
		progressedAt: time,
		endedAt: time.nullable(),
		outcome: z.enum(["under way", "succeeded", "failed", "rolled back", "superseded", "timed out"]),
		reason: z.string(),
		progress: z.object({ updated: z.int(), total: z.int() }),
		failure: z
			.object({
				task: z.string(),
				name: z.string(),
				node: z.string().nullable(),
				nodeName: z.string().nullable(),
				error: z.string(),
				exitCode: z.int().nullable(),
				oomKilled: z.boolean(),
				health: z.string(),
				lastLines: z.array(z.string()),
			})
			.nullable()
			.describe("the first task that failed"),
	})
	.meta({ id: "Rollout" });

export const services: Group = {
	name: "Services",
	about: "What Docker's own routes have no word for.",
	routes: {
		"GET /api/services/:id/rollouts": {
			does: "A service's last rollouts with their outcomes, the newest first",
			path: { id: "A service's id or name." },
			answers: { 200: z.array(rollout) },
		},
		"GET /api/tunnel": {
			does: "docker exec and attach over a WebSocket",
			more: "The first message is the rest of the request, `{headers, body}`, then come bytes both ways: what the local socket of docker skein speaks.",
			query: z.object({
				method: z.string(),
				path: z.string().describe("/exec/ID/start"),
			}),
			answers: { 101: null },
		},
	},
};
