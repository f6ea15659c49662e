// What the directory keeps of a cluster besides its place: who may speak for its nodes, and which tokens let machines
// join, as hashes. As pages, for a file: copy.ts has what lies on the shard.

import { conflict, invalid } from "../../model/errors.ts";
import type { ClusterId } from "../../model/id.ts";
import type { Database } from "./client.ts";
import type { Page } from "./copy.ts";

const columnsOf: Readonly<Record<string, readonly string[]>> = {
	credential: ["node", "sha256"],
	join_token: ["sha256", "role", "epoch"],
};

const pageRows = 5_000;

export async function* readAccess(directory: Database, id: ClusterId): AsyncGenerator<Page> {
	for (const [table, columns] of Object.entries(columnsOf)) {
		const [key = ""] = columns;
		for (let after = ""; ; ) {
			const [found] = await directory.read([
				{
					sql: `select ${columns.join(", ")} from ${table} where cluster = ?1 and ${key} > ?2
						order by ${key} limit ${pageRows}`,
					args: [id, after],
				},
			]);
			const rows = (found?.rows ?? []).map((row) =>
				columns.map((name) => row[name] as string | number),
			);
			if (rows.length > 0) yield { table, columns, rows };
			after = String(rows.at(-1)?.[0] ?? "");
			if (rows.length < pageRows) break;
		}
	}
}

/** A conflict when one of the nodes belongs to another cluster here: then neither is touched. */
export async function writeAccess(directory: Database, id: ClusterId, page: Page): Promise<void> {
	const columns = columnsOf[page.table];
	if (!columns) throw invalid(`${page.table}: there is no such table about a cluster`);
	const [key = ""] = columns;
	const cells = columns.map((name) => `j.value->>${page.columns.indexOf(name)}`);
	const [, strange] = await directory.write([
		{
			sql: `insert or ignore into ${page.table} (cluster, ${columns.join(", ")})
				select ?1, ${cells.join(", ")} from json_each(?2) j where not exists
					(select 1 from json_each(?2) j join ${page.table} t on t.${key} = ${cells[0]} where t.cluster <> ?1)`,
			args: [id, JSON.stringify(page.rows)],
		},
		{
			sql: `select t.${key} as key from json_each(?2) j join ${page.table} t on t.${key} = ${cells[0]}
				where t.cluster <> ?1 limit 1`,
			args: [id, JSON.stringify(page.rows)],
		},
	]);
	const [row] = strange?.rows ?? [];
	if (!row) return;
	throw conflict(
		`${page.table} ${String(row["key"])} of the file belongs to another cluster here: erase that one first`,
	);
}

/** Of a cluster that is being made, and will not be. An erased one's stays: its agents are to hear that it is. */
export async function dropAccess(directory: Database, id: ClusterId): Promise<void> {
	const isBeingMade = "exists (select 1 from placement where cluster = ?1 and state = 'making')";
	await directory.write(
		Object.keys(columnsOf).map((table) => ({
			sql: `delete from ${table} where cluster = ?1 and ${isBeingMade}`,
			args: [id],
		})),
	);
}
