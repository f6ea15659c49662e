// What is looked up before a cluster is known: callers' tokens, machines' join tokens, agents' credentials.
//
// All of it hashes. The one place besides `openCluster` that reads across tenants; it gives away ids, never their rows.

import { eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/sqlite-proxy";
import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import { conflict, Refusal } from "../../model/errors.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import type { Role } from "../../model/node.ts";
import type { Database } from "./client.ts";
import { commitStatements } from "./commit.ts";
import { cluster, credential, joinToken, token } from "./schema.ts";

export interface Accounts {
	putToken(sha256: string, account: string, nowMs: number): Promise<void>;
	/** Whose token it is, and that account's cluster where it has one. */
	findToken(
		sha256: string,
	): Promise<{ readonly account: string; readonly cluster: ClusterId | null } | undefined>;
	clusterOf(account: string): Promise<ClusterId | undefined>;
	allClusters(): Promise<readonly ClusterId[]>;
	/** Whether there was one here at any time, erased ones included. */
	everHadCluster(): Promise<boolean>;
	/** With its first changes, as revision 1. A conflict when the account has a cluster. */
	createCluster(made: NewClusterRow): Promise<void>;
	/** All of it but the hashes of credentials and tokens, by which agents learn that it is no more. */
	eraseCluster(id: ClusterId): Promise<void>;
	findJoinToken(sha256: string): Promise<JoinTokenRow | undefined>;
	putCredential(node: NodeId, cluster: ClusterId, sha256: string): Promise<void>;
	findCredential(
		node: NodeId,
	): Promise<{ readonly cluster: ClusterId; readonly sha256: string } | undefined>;
}

export interface NewClusterRow {
	readonly account: string;
	readonly cluster: Cluster;
	readonly changes: readonly Change[];
	readonly nowMs: number;
}

export interface JoinTokenRow {
	readonly cluster: ClusterId;
	readonly role: Role;
	readonly epoch: number;
}

export function openAccounts(database: Database): Accounts {
	const db = drizzle(async (sql, args, method) => {
		const statement = { sql, args: args as (string | number | null)[] };
		const results = await (method === "run"
			? database.write([statement])
			: database.read([statement]));
		const rows = results[0]?.rows.map((row) => Array.from(row)) ?? [];
		return { rows: method === "get" ? (rows[0] as unknown[]) : rows };
	});
	return {
		async putToken(sha256, account, nowMs) {
			await asked(
				db.insert(token).values({ sha256, account, createdMs: nowMs }).onConflictDoNothing().run(),
			);
		},
		async findToken(sha256) {
			const [found] = await asked(
				db
					.select({ account: token.account, cluster: cluster.id })
					.from(token)
					.leftJoin(cluster, eq(cluster.account, token.account))
					.where(eq(token.sha256, sha256)),
			);
			return found as { account: string; cluster: ClusterId | null } | undefined;
		},
		async clusterOf(account) {
			const [found] = await asked(
				db.select({ id: cluster.id }).from(cluster).where(eq(cluster.account, account)),
			);
			return found?.id as ClusterId | undefined;
		},
		async allClusters() {
			const found = await asked(db.select({ id: cluster.id }).from(cluster));
			return found.map(({ id }) => id as ClusterId);
		},
		async everHadCluster() {
			const found = await asked(db.select({ cluster: joinToken.cluster }).from(joinToken).limit(1));
			return found.length > 0;
		},
		async createCluster(made) {
			const row = db
				.insert(cluster)
				.values({
					id: made.cluster.id,
					account: made.account,
					revision: 0,
					seq: 0,
					decided: JSON.stringify(made.cluster),
					planned: 0,
					wakeAtMs: null,
					planner: "",
					plannerUntilMs: 0,
					aliveMs: made.nowMs,
					listeningSinceMs: made.nowMs,
					pruned: 0,
				})
				.toSQL();
			try {
				await database.write([
					{ sql: row.sql, args: row.params as (string | number | null)[] },
					...commitStatements(made.cluster.id, {
						base: 0,
						writer: made.cluster.id,
						nowMs: made.nowMs,
						changes: [{ kind: "put-cluster", cluster: made.cluster }, ...made.changes],
						events: [],
						planned: null,
						wake: { atMs: null, whole: true },
					}),
				]);
			} catch (error) {
				if (!/UNIQUE constraint failed: cluster\.account/.test(String(error))) throw error;
				throw conflict("there is a cluster already: `docker info` shows it");
			}
		},
		async eraseCluster(id) {
			await database.write([
				{ sql: "delete from cluster where id = ?", args: [id] },
				...clusterTables.map((table) => ({
					sql: `delete from ${table} where cluster = ?`,
					args: [id],
				})),
			]);
		},
		async findJoinToken(sha256) {
			const [found] = await asked(db.select().from(joinToken).where(eq(joinToken.sha256, sha256)));
			return found as JoinTokenRow | undefined;
		},
		async putCredential(node, of, sha256) {
			await asked(db.insert(credential).values({ node, cluster: of, sha256 }).run());
		},
		async findCredential(node) {
			const [found] = await asked(db.select().from(credential).where(eq(credential.node, node)));
			return found as { cluster: ClusterId; sha256: string } | undefined;
		},
	};
}

/** Drizzle wraps what goes wrong in an error of its own; a refusal is for the caller. */
async function asked<Result>(query: PromiseLike<Result>): Promise<Result> {
	try {
		return await query;
	} catch (error) {
		if (error instanceof Error && error.cause instanceof Refusal) throw error.cause;
		throw error;
	}
}

const clusterTables = [
	"revision",
	"node",
	"network",
	"lease",
	"service",
	"template",
	"task",
	"gone",
	"event",
];
