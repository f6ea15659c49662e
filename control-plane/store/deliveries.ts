// The inbox: what forges told a cluster's applications. Written before anything is made of it, and handled once, however
// often it comes and whoever dies in between. Beside it the logs of builds, which nobody but people reads.

import type { GitEvent } from "../../model/git.ts";
import type { ApplicationId, ClusterId } from "../../model/id.ts";
import type { Delivery, Inbox } from "../cluster.ts";
import type { Database } from "./client.ts";
import { writeUnfenced } from "./commit.ts";

/** Of each application. */
const kept = 200;
const handledAtOnce = 100;

/** Those whose repositories are to be looked at now and then. */
export async function clustersWithApplications(database: Database): Promise<readonly ClusterId[]> {
	const [found] = await database.read([
		{ sql: "select distinct cluster from application limit 10000", args: [] },
	]);
	return (found?.rows ?? []).map((row) => row["cluster"] as ClusterId);
}

export function openInbox(database: Database, id: ClusterId): Inbox {
	const rows = async (sql: string, ...args: (string | number)[]) => {
		const [found] = await database.read([{ sql, args: [id, ...args] }]);
		return found?.rows ?? [];
	};
	const deliveries = async (where: string, ...args: (string | number)[]) => {
		const found = await rows(
			`select application, id, forge, name, at_ms, events, outcome from delivery where cluster = ? and ${where}`,
			...args,
		);
		return found.map(
			(row): Delivery => ({
				application: row["application"] as ApplicationId,
				key: String(row["id"]),
				forge: String(row["forge"]),
				name: String(row["name"]),
				atMs: Number(row["at_ms"]),
				events: JSON.parse(String(row["events"])) as GitEvent[],
				outcome: row["outcome"] === null ? null : JSON.parse(String(row["outcome"])),
			}),
		);
	};
	return {
		async add({ application, key, forge, name, atMs, events }) {
			const known = await rows(
				"select 1 from delivery where cluster = ? and application = ? and id = ?",
				application,
				key,
			);
			if (known.length > 0) return false;
			await writeUnfenced(database, id, [
				{
					sql: `insert into delivery (cluster, application, id, forge, name, at_ms, events)
						values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
					args: [id, application, key, forge, name, atMs, JSON.stringify(events)],
				},
				{
					sql: `delete from delivery where cluster = ?1 and application = ?2 and outcome is not null and at_ms <
						(select at_ms from delivery where cluster = ?1 and application = ?2 order by at_ms desc limit 1 offset ?3)`,
					args: [id, application, kept - 1],
				},
			]);
			return true;
		},
		list: (application) =>
			deliveries(`application = ? order by at_ms desc, id limit ${kept}`, application),
		unhandled: () => deliveries(`outcome is null order by at_ms, id limit ${handledAtOnce}`),
		settle: ({ application, key }, outcome) =>
			writeUnfenced(database, id, [
				{
					sql: "update delivery set outcome = ?4 where cluster = ?1 and application = ?2 and id = ?3",
					args: [id, application, key, JSON.stringify(outcome)],
				},
			]),
		async log(build) {
			const [row] = await rows("select text from build_log where cluster = ? and build = ?", build);
			return row && String(row["text"]);
		},
		keepLog: (build, text) =>
			writeUnfenced(database, id, [
				{
					sql: `insert into build_log (cluster, build, text) select cluster, id, ?3 from build
						where cluster = ?1 and id = ?2 on conflict do update set text = excluded.text`,
					args: [id, build, text],
				},
			]),
	};
}
