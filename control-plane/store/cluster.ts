// One tenant's rows: the only door to them. Whoever holds one of these can reach no other cluster.

import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import type { ContentName, SealedContent } from "../../model/material.ts";
import type { ClusterEvent } from "../cluster.ts";
import type { Database } from "./client.ts";
import {
	type Commit,
	clusterGone,
	commit,
	commitStatements,
	type Landed,
	type Wake,
	writeReports,
} from "./commit.ts";
import { endLeases } from "./leases.ts";
import { catchUp, type Held, holdNews, type MergedReports, readNews } from "./snapshot.ts";

export interface ClusterStore {
	readonly id: ClusterId;
	/** No other process can write: a snapshot that was kept up is never stale. */
	readonly exclusive: boolean;
	load(): Promise<Held>;
	/** Brings what is held up to now. */
	refresh(held: Held): Promise<void>;
	/** One cheap look, to see whether others wrote. Undefined when the cluster is no more. */
	seq(): Promise<number | undefined>;
	/** The next revision, or `StaleSnapshot` and nothing. */
	commit(wanted: Commit): Promise<Landed>;
	/** Returns the seq it landed at. `gapMs` without any write counts as an outage of ours. */
	report(reports: MergedReports, nowMs: number, gapMs: number): Promise<number>;
	/** Leases that end before their time. Returns the seq it landed at. */
	endLeases(ends: ReadonlyMap<NodeId, number>): Promise<number>;
	events(sinceMs: number, untilMs: number): Promise<readonly ClusterEvent[]>;
	/** Those of them that are there, sealed. */
	contents(names: readonly ContentName[]): Promise<readonly SealedContent[]>;
	/** Asks to be the one that plans, until then. False: somebody else is, and will see what we wrote. */
	takePlanning(planner: string, nowMs: number, untilMs: number): Promise<boolean>;
	/** Stops being the one; unless somebody wrote since `seq`: then false, and there may be more to plan. */
	endPlanning(planner: string, seq: number | null, wake: Wake): Promise<boolean>;
	/** Forgets old events, tombstones and revisions. */
	prune(nowMs: number): Promise<void>;
}

export interface NewCluster {
	readonly organization: string;
	readonly cluster: Cluster;
	/** Its first, which land as revision 1. */
	readonly changes: readonly Change[];
	readonly nowMs: number;
}

/** How long `docker events --since` reaches back. */
const keepEventsMs = 24 * 3_600_000;
/** A host that was away for longer reads everything anew. */
const keepTombstonesMs = 3_600_000;
const keepRevisions = 10_000;
const contentsAtOnce = 5;

/** Those in which a plan was due before then and was not made. */
export async function overdueClusters(
	database: Database,
	beforeMs: number,
): Promise<readonly ClusterId[]> {
	const [found] = await database.read([
		{ sql: "select id from cluster where wake_at_ms < ? limit 1000", args: [beforeMs] },
	]);
	return (found?.rows ?? []).map((row) => row["id"] as ClusterId);
}

/** The rows of a cluster that is new. */
export async function insertCluster(database: Database, made: NewCluster): Promise<void> {
	const { cluster, organization, nowMs } = made;
	const first = commitStatements(cluster.id, {
		base: 0,
		writer: cluster.id,
		nowMs,
		changes: [{ kind: "put-cluster", cluster }, ...made.changes],
		events: [],
		planned: null,
		wake: { atMs: null, whole: true },
	});
	await database.write([
		{
			sql: `insert into cluster (id, account, revision, seq, decided, planned, planner, planner_until_ms,
				alive_ms, listening_since_ms, pruned) values (?1, ?2, 0, 0, ?3, 0, '', 0, ?4, ?4, 0)`,
			args: [cluster.id, organization, JSON.stringify(cluster), nowMs],
		},
		...first,
	]);
}

export function openCluster(database: Database, id: ClusterId): ClusterStore {
	/** Of a cluster that went elsewhere there is nothing here, which is not the same as having nothing. */
	const isThere = { sql: "select 1 from cluster where id = ?", args: [id] };
	return {
		id,
		exclusive: database.exclusive,
		async load() {
			const news = await readNews(database, id, 0);
			if (!news) throw clusterGone();
			return holdNews(news);
		},
		async refresh(held) {
			const news = await readNews(database, id, held.seq);
			if (!news) throw clusterGone();
			catchUp(held, news, database.exclusive);
		},
		async seq() {
			const [found] = await database.read([
				{ sql: "select seq from cluster where id = ?", args: [id] },
			]);
			const row = found?.rows[0];
			return row && Number(row["seq"]);
		},
		commit: (wanted) => commit(database, id, wanted),
		report: (reports, nowMs, gapMs) => writeReports(database, id, reports, nowMs, gapMs),
		endLeases: (ends) => endLeases(database, id, ends),
		async events(sinceMs, untilMs) {
			const [there, found] = await database.read([
				isThere,
				{
					sql: `select body from event where cluster = ? and at_ms >= ? and at_ms <= ?
						order by at_ms, revision, place limit 10000`,
					args: [id, sinceMs, untilMs],
				},
			]);
			if (there?.rows.length !== 1) throw clusterGone();
			return (found?.rows ?? []).map((row) => JSON.parse(String(row["body"])) as ClusterEvent);
		},
		async contents(names) {
			if (names.length === 0) return [];
			// A page at a time: a server answers with 10 MB at most, and a content has up to 1.4.
			const found: SealedContent[] = [];
			for (let from = 0; from < names.length; from += contentsAtOnce) {
				const asked = names.slice(from, from + contentsAtOnce);
				const [there, rows] = await database.read([
					isThere,
					{
						sql: `select c.material, c.version, c.sealed from json_each(?2) j
							cross join content c on c.cluster = ?1 and c.material = j.value->>0 and c.version = j.value->>1`,
						args: [id, JSON.stringify(asked.map((each) => [each.material, each.version]))],
					},
				]);
				if (there?.rows.length !== 1) throw clusterGone();
				for (const row of rows?.rows ?? []) {
					const [material, sealed] = [row["material"], row["sealed"]].map(String);
					found.push({ material, version: Number(row["version"]), sealed } as SealedContent);
				}
			}
			return found;
		},
		async takePlanning(planner, nowMs, untilMs) {
			const [taken] = await database.write([
				{
					sql: `update cluster set planner = ?2, planner_until_ms = ?4
						where id = ?1 and (planner = ?2 or planner_until_ms < ?3) returning id`,
					args: [id, planner, nowMs, untilMs],
				},
			]);
			return taken?.rows.length === 1;
		},
		async endPlanning(planner, seq, wake) {
			const [ended, found] = await database.write([
				{
					sql: `update cluster set planner_until_ms = 0, planned = max(planned, coalesce(?3, 0)),
						wake_at_ms = case when ?5 then ?4 else min(coalesce(wake_at_ms, ?4), coalesce(?4, wake_at_ms)) end
						where id = ?1 and planner = ?2 and seq = coalesce(?3, seq) returning id`,
					args: [id, planner, seq, wake.atMs, wake.whole ? 1 : 0],
				},
				{ sql: "select planner from cluster where id = ?1", args: [id] },
			]);
			// Whoever took it over in the meantime plans on from there.
			return ended?.rows.length === 1 || found?.rows[0]?.["planner"] !== planner;
		},
		async prune(nowMs) {
			const tombstonesBefore = nowMs - keepTombstonesMs;
			await database.write([
				{
					sql: "delete from event where cluster = ? and at_ms < ?",
					args: [id, nowMs - keepEventsMs],
				},
				{
					sql: `delete from revision where cluster = ?1 and revision <
						(select revision from cluster where id = ?1) - ?2`,
					args: [id, keepRevisions],
				},
				{
					sql: `update cluster set pruned = max(pruned, coalesce(
						(select max(seq) from gone where cluster = ?1 and at_ms < ?2), 0)) where id = ?1`,
					args: [id, tombstonesBefore],
				},
				{
					sql: `delete from gone where cluster = ?1
						and seq <= (select pruned from cluster where id = ?1)`,
					args: [id],
				},
			]);
		},
	};
}
