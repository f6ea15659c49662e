// What is looked up before a cluster is known: machines' join tokens, agents' credentials, and on which shard it lies.
// People and their tokens lie here too (users.ts, tokens.ts).
//
// Credentials are hashes. The one place that reads across tenants; it gives away ids and where they lie, never a
// cluster's rows. Nothing is atomic across databases, so every step that a cluster takes between them is a state of its
// placement, written before the step, from which a sweep can go on (placed.ts, move.ts).

import { eq, ne, sql } from "drizzle-orm";
import type { Cluster } from "../../model/cluster.ts";
import { conflict, forbidden } from "../../model/errors.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import type { Limits } from "../../model/limits.ts";
import type { Role } from "../../model/node.ts";
import type { Database, Statement } from "./client.ts";
import { asked, queriesOn, statementOf } from "./query.ts";
import { credential, joinToken, organization, placement } from "./schema.ts";

/**
 * `making`: its rows may be there or not. `active`: they are. `moving`: those on `shard` are fenced and copied to
 * `other`. `settling`: `shard` has them all, those on `other` are to go. `staying`: the move was given up, `shard` is to
 * be opened again. `erasing`: its rows are to go. `erased`: they are gone. `remaking`: as `making`, out of a file; what
 * comes of it if that fails is erased, as it was.
 */
export type PlacementState =
	| "making"
	| "remaking"
	| "active"
	| "moving"
	| "settling"
	| "staying"
	| "erasing"
	| "erased";

export interface Placement {
	readonly cluster: ClusterId;
	readonly organization: string;
	readonly name: string;
	readonly shard: string;
	readonly state: PlacementState;
	readonly other: string | null;
	/** Counts its moves. */
	readonly move: number;
	readonly changedMs: number;
}

export type NewPlacement = Pick<Placement, "cluster" | "organization" | "name" | "shard">;

export interface Directory {
	/** Where it lies, for what else lies there (keyrings.ts). */
	readonly database: Database;

	/** Those that differ from the settings'. Empty for an organization that is not known. */
	limitsOf(organization: string): Promise<Partial<Limits>>;
	setLimits(
		organization: string,
		limits: Partial<Limits>,
		also: readonly Statement[],
	): Promise<void>;

	placementOf(cluster: ClusterId): Promise<Placement | undefined>;
	/** Of the cluster with that name or id, whosever it is. */
	organizationOf(cluster: string): Promise<string | undefined>;
	/** Those of an organization that can be asked for something, or will be in a moment (`isBeingMade`), by name. */
	clustersOf(organization: string): Promise<readonly Placement[]>;
	/** All that are not erased. */
	placements(): Promise<readonly Placement[]>;
	/** Whether the organization had a cluster at any time, erased ones included. One that is being made is none yet. */
	everHadCluster(organization: string): Promise<boolean>;
	/** How many clusters lie on each shard; none on those that are missing. */
	load(): Promise<ReadonlyMap<string, number>>;
	/**
	 * As `making`, or `remaking` where it is an erased one of the same organization. A conflict when the name is taken, or the
	 * cluster is there; forbidden when the organization has `most` already.
	 */
	reserve(asked: NewPlacement, most: number | null, nowMs: number): Promise<Placement>;
	/** False, and nothing, when it is not in that state (of that move) any more. */
	turn(from: Placement, to: Partial<Omit<Placement, "cluster">>, nowMs: number): Promise<boolean>;
	/** One that is being made, and will not be: it never was, or is erased as before. */
	forget(from: Placement, nowMs: number): Promise<void>;

	/** Before the commit from which on the cluster takes them. */
	putJoinTokens(cluster: ClusterId, tokens: Cluster["tokens"]): Promise<void>;
	findJoinToken(sha256: string): Promise<JoinTokenRow | undefined>;
	putCredential(node: NodeId, cluster: ClusterId, sha256: string): Promise<void>;
	findCredential(
		node: NodeId,
	): Promise<{ readonly cluster: ClusterId; readonly sha256: string } | undefined>;
}

export interface JoinTokenRow {
	readonly cluster: ClusterId;
	readonly role: Role;
	readonly epoch: number;
}

export function openDirectory(database: Database): Directory {
	const db = queriesOn(database);
	const placed = (rows: unknown[]) => rows as Placement[];
	return {
		database,
		async limitsOf(id) {
			const [found] = await asked(
				db
					.select({ limits: organization.limits })
					.from(organization)
					.where(eq(organization.id, id)),
			);
			return found?.limits ? (JSON.parse(found.limits) as Partial<Limits>) : {};
		},
		async setLimits(id, limits, also) {
			const set = { limits: JSON.stringify(limits) };
			const update = db.update(organization).set(set).where(eq(organization.id, id));
			await database.write([statementOf(update), ...also]);
		},
		async placementOf(id) {
			const found = await asked(db.select().from(placement).where(eq(placement.cluster, id)));
			return placed(found)[0];
		},
		async organizationOf(named) {
			// In two, since no index has both.
			const [found] = await database.read([
				{
					sql: `select organization from placement where name = ?1 and state not in ('making', 'remaking', 'erasing') and state <> 'erased'
						union all select organization from placement where cluster = ?1 and state not in ('making', 'remaking', 'erasing', 'erased')`,
					args: [named],
				},
			]);
			const [row] = found?.rows ?? [];
			return row && String(row["organization"]);
		},
		async clustersOf(of) {
			const found = await asked(
				db.select().from(placement).where(eq(placement.organization, of)).orderBy(placement.name),
			);
			return placed(found).filter((each) => isThere(each) || isBeingMade(each));
		},
		async placements() {
			return placed(await asked(db.select().from(placement).where(ne(placement.state, "erased"))));
		},
		async everHadCluster(of) {
			// Before there were organizations, who had an erased one was not kept.
			const [found] = await database.read([
				{
					sql: "select 1 from placement where organization in (?, '') and state <> 'making' limit 1",
					args: [of],
				},
			]);
			return found?.rows.length === 1;
		},
		async load() {
			const found = await asked(
				db
					.select({ shard: placement.shard, count: sql<number>`count(*)` })
					.from(placement)
					.where(ne(placement.state, "erased"))
					.groupBy(placement.shard),
			);
			return new Map(found.map(({ shard, count }) => [shard, count]));
		},
		async reserve(wanted, most, nowMs) {
			const { cluster, organization: of, name, shard } = wanted;
			const [reserved] = await database
				.write([
					{
						sql: `insert into placement (cluster, organization, name, shard, state, changed_ms, created_ms)
							select ?1, ?2, ?3, ?4, 'making', ?5, ?5 where ?6 is null or ?6 >
								(select count(*) from placement where organization = ?2 and state <> 'erased')
							on conflict (cluster) do update set name = ?3, shard = ?4, state = 'remaking', other = null,
								move = move + 1, changed_ms = ?5 where state = 'erased' and organization = ?2
							returning cluster, organization, name, shard, state, other, move, changed_ms as changedMs`,
						args: [cluster, of, name, shard, nowMs, most],
					},
				])
				.catch((error: unknown) => {
					if (!/UNIQUE constraint failed/.test(String(error))) throw error;
					throw conflict(`name: there is a cluster ${name} already: choose another name`);
				});
			const [made] = placed([...(reserved?.rows ?? [])]);
			if (made) return made;
			const found = await asked(db.select().from(placement).where(eq(placement.cluster, cluster)));
			if (placed(found).some(({ state }) => state !== "erased")) {
				throw conflict(`cluster ${cluster} is there already, or is being made`);
			}
			throw forbidden(
				`clusters: this organization may have ${most} and has them: erase one, or ask for a higher limit`,
			);
		},
		async turn(from, to, nowMs) {
			const next = { ...from, ...to };
			const after = next.state === "erased" ? [shredding(from.cluster, "erased")] : [];
			const [turned] = await database.write([
				{
					sql: `update placement set organization = ?4, name = ?5, shard = ?6, state = ?7, other = ?8, move = ?9,
						changed_ms = ?10 where cluster = ?1 and state = ?2 and move = ?3 returning cluster`,
					args: [
						...[from.cluster, from.state, from.move],
						...[next.organization, next.name, next.shard, next.state, next.other, next.move, nowMs],
					],
				},
				...after,
			]);
			return turned?.rows.length === 1;
		},
		async forget({ cluster, move }, nowMs) {
			await database.write([
				shredding(cluster, "making"),
				{ sql: "delete from placement where cluster = ? and state = 'making'", args: [cluster] },
				{
					sql: `update placement set state = 'erased', changed_ms = ?3
						where cluster = ?1 and state = 'remaking' and move = ?2`,
					args: [cluster, move, nowMs],
				},
				shredding(cluster, "erased"),
			]);
		},
		async putJoinTokens(cluster, tokens) {
			await database.write(
				Object.entries(tokens).map(([role, { sha256, epoch }]) => ({
					sql: "insert into join_token (sha256, cluster, role, epoch) values (?, ?, ?, ?) on conflict do nothing",
					args: [sha256, cluster, role, epoch],
				})),
			);
		},
		async findJoinToken(sha256) {
			const [found] = await asked(db.select().from(joinToken).where(eq(joinToken.sha256, sha256)));
			return found as JoinTokenRow | undefined;
		},
		async putCredential(node, cluster, sha256) {
			await asked(db.insert(credential).values({ node, cluster, sha256 }).run());
		},
		async findCredential(node) {
			const [found] = await asked(db.select().from(credential).where(eq(credential.node, node)));
			return found as { cluster: ClusterId; sha256: string } | undefined;
		},
	};
}

/** Without its keyring, copies of what was sealed open for nobody. */
function shredding(cluster: ClusterId, state: PlacementState): Statement {
	return {
		sql: `delete from keyring where cluster = ?1
			and exists (select 1 from placement where cluster = ?1 and state = ?2)`,
		args: [cluster, state],
	};
}

/** Whether somebody can ask for something of the cluster, be it only to read. */
export function isThere({ state }: Pick<Placement, "state">): boolean {
	return state === "active" || state === "moving" || state === "settling" || state === "staying";
}

/** It is there in a moment, or never was. */
export const isBeingMade = ({ state }: Pick<Placement, "state">) =>
	state === "making" || state === "remaking";
