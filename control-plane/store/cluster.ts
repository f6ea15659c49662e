// One tenant's rows: the only door to them. Whoever holds one of these can reach no other cluster.

import type { ClusterId } from "../../model/id.ts";
import type { ClusterEvent } from "../cluster.ts";
import type { Database } from "./client.ts";
import {
	type Commit,
	clusterGone,
	commit,
	type Landed,
	type Wake,
	writeReports,
} from "./commit.ts";
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
	events(sinceMs: number, untilMs: number): Promise<readonly ClusterEvent[]>;
	/** Asks to be the one that plans, until then. False: somebody else is, and will see what we wrote. */
	takePlanning(planner: string, nowMs: number, untilMs: number): Promise<boolean>;
	/** Stops being the one; unless somebody wrote since `seq`: then false, and there may be more to plan. */
	endPlanning(planner: string, seq: number | null, wake: Wake): Promise<boolean>;
	/** Forgets old events, tombstones and revisions. */
	prune(nowMs: number): Promise<void>;
}

/** How long `docker events --since` reaches back. */
const keepEventsMs = 24 * 3_600_000;
/** A host that was away for longer reads everything anew. */
const keepTombstonesMs = 3_600_000;
const keepRevisions = 10_000;

export function openCluster(database: Database, id: ClusterId): ClusterStore {
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
			catchUp(held, news);
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
		async events(sinceMs, untilMs) {
			const [found] = await database.read([
				{
					sql: `select body from event where cluster = ? and at_ms >= ? and at_ms <= ?
						order by at_ms, revision, place limit 10000`,
					args: [id, sinceMs, untilMs],
				},
			]);
			return (found?.rows ?? []).map((row) => JSON.parse(String(row["body"])) as ClusterEvent);
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
