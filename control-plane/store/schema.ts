// The tables: those of the directory, which leads to clusters, and those of the shards, where clusters lie.
//
// Both are made in every database, so that one file can hold all; a shard leaves the directory's empty. A shard's keys
// all begin with the cluster, so that a tenant's rows lie together and no query can miss its tenant.
// What is decided and what is reported of an object stand in columns of their own, because they have different writers.
// `seq` is that of the row's last write: a host that keeps a snapshot in memory reads what is newer than what it has.
// Drizzle makes the migrations from this file; the triggers are migrations written by hand.

import { sql } from "drizzle-orm";
import {
	index,
	integer,
	primaryKey,
	sqliteTable,
	text,
	uniqueIndex,
} from "drizzle-orm/sqlite-core";

// The directory.

/** People. What this and the three after it hold besides their keys is laid down by the sign-in library. */
export const user = sqliteTable("user", {
	id: text().primaryKey(),
	name: text().notNull(),
	email: text().notNull().unique(),
	emailVerified: integer("email_verified", { mode: "boolean" }).notNull(),
	image: text(),
	createdAt: integer("created_ms", { mode: "timestamp_ms" }).notNull(),
	updatedAt: integer("updated_ms", { mode: "timestamp_ms" }).notNull(),
});

export const session = sqliteTable(
	"session",
	{
		id: text().primaryKey(),
		userId: text("user").notNull(),
		token: text().notNull().unique(),
		expiresAt: integer("expires_ms", { mode: "timestamp_ms" }).notNull(),
		createdAt: integer("created_ms", { mode: "timestamp_ms" }).notNull(),
		updatedAt: integer("updated_ms", { mode: "timestamp_ms" }).notNull(),
		ipAddress: text("address"),
		userAgent: text("agent"),
	},
	(table) => [index("session_user").on(table.userId)],
);

/** The ways in which a user may sign in: a password, or an account elsewhere. */
export const login = sqliteTable(
	"login",
	{
		id: text().primaryKey(),
		userId: text("user").notNull(),
		providerId: text("provider").notNull(),
		accountId: text("subject").notNull(),
		password: text(),
		accessToken: text("access_token"),
		refreshToken: text("refresh_token"),
		idToken: text("id_token"),
		accessTokenExpiresAt: integer("access_token_expires_ms", { mode: "timestamp_ms" }),
		refreshTokenExpiresAt: integer("refresh_token_expires_ms", { mode: "timestamp_ms" }),
		scope: text(),
		createdAt: integer("created_ms", { mode: "timestamp_ms" }).notNull(),
		updatedAt: integer("updated_ms", { mode: "timestamp_ms" }).notNull(),
	},
	(table) => [
		index("login_user").on(table.userId),
		index("login_subject").on(table.providerId, table.accountId),
	],
);

/** What is on its way: a sign-in that is elsewhere just now. */
export const verification = sqliteTable(
	"verification",
	{
		id: text().primaryKey(),
		identifier: text().notNull(),
		value: text().notNull(),
		expiresAt: integer("expires_ms", { mode: "timestamp_ms" }).notNull(),
		createdAt: integer("created_ms", { mode: "timestamp_ms" }).notNull(),
		updatedAt: integer("updated_ms", { mode: "timestamp_ms" }).notNull(),
	},
	(table) => [index("verification_identifier").on(table.identifier)],
);

/** Owns clusters. A self-hosted instance has one, `owner`. */
export const organization = sqliteTable("organization", {
	id: text().primaryKey(),
	name: text().notNull(),
	/** How long its audit log is kept. */
	auditDays: integer("audit_days").notNull(),
	/** JSON, those that differ from the settings' (model/limits.ts). */
	limits: text(),
	createdMs: integer("created_ms").notNull(),
});

export const member = sqliteTable(
	"member",
	{
		organization: text().notNull(),
		user: text().notNull(),
		role: text().notNull(),
		createdMs: integer("created_ms").notNull(),
	},
	(table) => [
		primaryKey({ columns: [table.organization, table.user] }),
		index("member_user").on(table.user),
	],
);

/** A link that makes whoever follows it first a member; as its hash. */
export const invitation = sqliteTable(
	"invitation",
	{
		sha256: text().primaryKey(),
		organization: text().notNull(),
		role: text().notNull(),
		/** For whom, in the inviter's words. */
		note: text().notNull(),
		invitedBy: text("invited_by").notNull(),
		createdMs: integer("created_ms").notNull(),
		expiresMs: integer("expires_ms").notNull(),
	},
	(table) => [index("invitation_organization").on(table.organization)],
);

/**
 * Credentials of programs: the hash of a secret, or of a client's certificate. What they may is bounded by the role that
 * their user has in the organization at the time.
 */
export const token = sqliteTable(
	"token",
	{
		sha256: text().primaryKey(),
		organization: text("account").notNull(),
		createdMs: integer("created_ms").notNull(),
		user: text().notNull().default("owner"),
		name: text().notNull().default("owner"),
		kind: text().notNull().default("secret"),
		role: text().notNull().default("owner"),
		/** Rights and cluster ids as JSON; null: all of them. */
		scopes: text(),
		clusters: text(),
		expiresMs: integer("expires_ms"),
		/** Up to an hour late: a write for every request would be dearer than the request. */
		usedMs: integer("used_ms"),
	},
	(table) => [index("token_organization").on(table.organization)],
);

/** Who did what, from where. Kept for as long as the organization wants. */
export const audit = sqliteTable(
	"audit",
	{
		organization: text().notNull(),
		atMs: integer("at_ms").notNull(),
		id: text().notNull(),
		cluster: text(),
		actorKind: text("actor_kind").notNull(),
		actor: text().notNull(),
		actorName: text("actor_name").notNull(),
		user: text().notNull(),
		action: text().notNull(),
		target: text().notNull(),
		address: text().notNull(),
		agent: text().notNull(),
		/** HTTP's; null while nobody knows how it ended. */
		status: integer(),
	},
	(table) => [primaryKey({ columns: [table.organization, table.atMs, table.id] })],
);

/** Where a cluster lies. The row outlives its cluster, so that agents can be told that it was erased. */
export const placement = sqliteTable(
	"placement",
	{
		cluster: text().primaryKey(),
		organization: text().notNull(),
		/** Of all clusters here only this one has it, until it is erased: it becomes a host name. */
		name: text().notNull(),
		shard: text().notNull(),
		/** See `PlacementState` in directory.ts. */
		state: text().notNull(),
		/** While it moves: the shard at the other end. */
		other: text(),
		/** Counts its moves: the fence of the last. */
		move: integer().notNull().default(0),
		changedMs: integer("changed_ms").notNull(),
		createdMs: integer("created_ms").notNull(),
	},
	(table) => [
		index("placement_organization").on(table.organization),
		uniqueIndex("placement_name").on(table.name).where(sql`state <> 'erased'`),
	],
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

/** The keys that the cluster's secrets are sealed under, wrapped under a master key that no database has. */
export const keyring = sqliteTable(
	"keyring",
	{
		cluster: text().primaryKey(),
		/** Of the data key that seals now. */
		version: integer().notNull(),
		/** The id of the master key it is wrapped under. */
		master: text().notNull(),
		wrapped: text().notNull(),
		/** 1 while texts may be sealed under older data keys, which the sweep then seals anew. */
		resealing: integer().notNull(),
	},
	(table) => [
		index("keyring_master").on(table.master),
		index("keyring_resealing").on(table.resealing),
	],
);

// The shards.

/** Of objects that only the planner and people write. */
const decidedTable = <Name extends string>(name: Name) =>
	sqliteTable(
		name,
		{
			cluster: text().notNull(),
			id: text().notNull(),
			seq: integer().notNull(),
			decided: text().notNull(),
		},
		(table) => [
			primaryKey({ columns: [table.cluster, table.id] }),
			index(`${name}_seq`).on(table.cluster, table.seq),
		],
	);

/** Of objects that a node goes on with, and reports. */
const reportedTable = <Name extends string>(name: Name) =>
	sqliteTable(
		name,
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
			index(`${name}_seq`).on(table.cluster, table.seq),
		],
	);

export const cluster = sqliteTable(
	"cluster",
	{
		id: text().primaryKey(),
		/** Whose it is; the directory's word counts. */
		organization: text("account").notNull(),
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
		/** The last move that these rows were part of, and whether they are fenced for it: then a trigger refuses writes. */
		move: integer().notNull().default(0),
		fenced: integer().notNull().default(0),
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
		/** The report that the description and its like are from: see `Said`. */
		saidStart: integer("said_start").notNull().default(0),
		saidCount: integer("said_count").notNull().default(0),
		images: text().notNull().default("[]"),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.id] }),
		index("node_seq").on(table.cluster, table.seq),
	],
);

export const network = decidedTable("network");

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

export const service = decidedTable("service");

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

export const task = reportedTable("task");

/** Secrets and configs, without their contents. */
export const material = decidedTable("material");

export const application = decidedTable("application");

export const deployment = decidedTable("deployment");

export const build = reportedTable("build");

/** What a build printed, whole, once it has ended. */
export const buildLog = sqliteTable(
	"build_log",
	{
		cluster: text().notNull(),
		build: text().notNull(),
		text: text().notNull(),
	},
	(table) => [primaryKey({ columns: [table.cluster, table.build] })],
);

/** What forges told us, before anything is made of it: a delivery is written, answered, and then handled, once. */
export const delivery = sqliteTable(
	"delivery",
	{
		cluster: text().notNull(),
		application: text().notNull(),
		/** Of what was signed: the same delivery is the same row, however often it comes. */
		id: text().notNull(),
		forge: text().notNull(),
		/** The forge's own name of it. */
		name: text().notNull(),
		atMs: integer("at_ms").notNull(),
		/** GitEvents as JSON. */
		events: text().notNull(),
		/** What became of each event and environment, as JSON; null until it was handled. */
		outcome: text(),
	},
	(table) => [
		primaryKey({ columns: [table.cluster, table.application, table.id] }),
		index("delivery_at").on(table.cluster, table.application, table.atMs),
		index("delivery_unhandled").on(table.cluster).where(sql`outcome is null`),
	],
);

/** Contents of secrets and configs (and of applications: one for each), sealed; never in a snapshot. A row goes with its version or its material. */
export const content = sqliteTable(
	"content",
	{
		cluster: text().notNull(),
		material: text().notNull(),
		version: integer().notNull(),
		sealed: text().notNull(),
	},
	(table) => [primaryKey({ columns: [table.cluster, table.material, table.version] })],
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
