// The tables. Every key begins with the cluster, so that a tenant's rows lie together and no query can miss its tenant.
//
// What is decided and what is reported of an object stand in columns of their own, because they have different writers.
// `seq` is that of the row's last write: a host that keeps a snapshot in memory reads what is newer than what it has.
// Drizzle makes the migrations from this file; the trigger that guards revisions is a migration written by hand.

import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

/** Who may ask, and for which account: an account has at most one cluster. */
export const token = sqliteTable("token", {
	sha256: text().primaryKey(),
	account: text().notNull(),
	createdMs: integer("created_ms").notNull(),
});

export const cluster = sqliteTable(
	"cluster",
	{
		id: text().primaryKey(),
		account: text().notNull().unique(),
		/** Counts decisions. A trigger lets it rise by one and by nothing else. */
		revision: integer().notNull(),
		/** Counts writes, reports included. */
		seq: integer().notNull(),
		decided: text().notNull(),
		/** Everything reported up to this seq has been planned for. */
		planned: integer().notNull(),
		/** When time alone changes the plan; null when only news can. */
		wakeAtMs: integer("wake_at_ms"),
		/** Which process plans, and until when the others leave it to that one. Spares work; nothing depends on it. */
		planner: text().notNull(),
		plannerUntilMs: integer("planner_until_ms").notNull(),
		/** When a process last wrote anything, and since when there was no long gap between such writes. */
		aliveMs: integer("alive_ms").notNull(),
		listeningSinceMs: integer("listening_since_ms").notNull(),
		/** Tombstones up to this seq are gone: who knows less must read everything. */
		pruned: integer().notNull(),
	},
	(table) => [index("cluster_wake").on(table.wakeAtMs)],
);

/** Who wrote which revision: an answer that got lost on the way can be asked for again. */
export const revision = sqliteTable(
	"revision",
	{
		cluster: text().notNull(),
		revision: integer().notNull(),
		writer: text().notNull(),
		atMs: integer("at_ms").notNull(),
	},
	(table) => [primaryKey({ columns: [table.cluster, table.revision] })],
);

export const node = sqliteTable(
	"node",
	{
		cluster: text().notNull(),
		id: text().notNull(),
		seq: integer().notNull(),
		decided: text().notNull(),
		description: text().notNull(),
		attached: text().notNull(),
		appliedRevision: integer("applied_revision").notNull(),
		appliedHash: text("applied_hash").notNull(),
		leaseUntilMs: integer("lease_until_ms").notNull(),
		unreachable: text().notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.id] }),
		index("node_seq").on(table.cluster, table.seq),
	],
);

export const network = sqliteTable(
	"network",
	{
		cluster: text().notNull(),
		id: text().notNull(),
		seq: integer().notNull(),
		decided: text().notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.id] }),
		index("network_seq").on(table.cluster, table.seq),
	],
);

export const lease = sqliteTable(
	"lease",
	{
		cluster: text().notNull(),
		network: text().notNull(),
		address: text().notNull(),
		seq: integer().notNull(),
		decided: text().notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.network, table.address] }),
		index("lease_seq").on(table.cluster, table.seq),
	],
);

export const service = sqliteTable(
	"service",
	{
		cluster: text().notNull(),
		id: text().notNull(),
		seq: integer().notNull(),
		decided: text().notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.id] }),
		index("service_seq").on(table.cluster, table.seq),
	],
);

/** What tasks run, once per version: a hundred thousand tasks do not carry a hundred thousand specs. */
export const template = sqliteTable(
	"template",
	{
		cluster: text().notNull(),
		service: text().notNull(),
		version: integer().notNull(),
		seq: integer().notNull(),
		decided: text().notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.service, table.version] }),
		index("template_seq").on(table.cluster, table.seq),
	],
);

export const task = sqliteTable(
	"task",
	{
		cluster: text().notNull(),
		id: text().notNull(),
		seq: integer().notNull(),
		decided: text().notNull(),
		status: text().notNull(),
		/** Of `status`: what reports are merged by. */
		rank: integer().notNull(),
		observed: integer().notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.id] }),
		index("task_seq").on(table.cluster, table.seq),
	],
);

/** Tombstones: what a host that keeps a snapshot has to forget. */
export const gone = sqliteTable(
	"gone",
	{
		cluster: text().notNull(),
		kind: text().notNull(),
		key: text().notNull(),
		seq: integer().notNull(),
		atMs: integer("at_ms").notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.kind, table.key] }),
		index("gone_seq").on(table.cluster, table.seq),
	],
);

/** What happened, in Docker's terms, for as long as somebody may ask. */
export const event = sqliteTable(
	"event",
	{
		cluster: text().notNull(),
		atMs: integer("at_ms").notNull(),
		revision: integer().notNull(),
		place: integer().notNull(),
		body: text().notNull(),
	},
	(table) => [primaryKey({ columns: [table.cluster, table.atMs, table.revision, table.place] })],
);

/** Tokens that let machines join, as hashes; the old ones stay, so that we can tell what became of them. */
export const joinToken = sqliteTable("join_token", {
	sha256: text().primaryKey(),
	cluster: text().notNull(),
	role: text().notNull(),
	epoch: integer().notNull(),
});

/** Agents' credentials, as hashes. They outlive their node, so that an agent can be told that it was removed. */
export const credential = sqliteTable("credential", {
	node: text().primaryKey(),
	cluster: text().notNull(),
	sha256: text().notNull(),
});
