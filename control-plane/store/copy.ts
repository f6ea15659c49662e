// All rows of one cluster, out of a database and into one, whatever they mean: to move it, to keep a copy, to erase it.
//
// To read a cluster whole: `await readCluster(database, id)`, or page by page with `readPages`. What comes is of one
// moment, the `cluster` row first: the pages name their columns, and hold texts, integers and nulls only, so they pass
// through JSON as they are. To write it: `insertPage` for each page in that order, then `liftFence`, all with one move's
// number. The `cluster` row goes in fenced and the others go by it: until the fence is lifted nobody can change the
// cluster there, and a writer who comes late changes nothing any more. Where another version of Skein wrote the pages,
// columns that are missing take their defaults. The directory's rows (placement, join tokens, credentials, keyring) are
// not among them.

import { getTableConfig } from "drizzle-orm/sqlite-core";
import { conflict, invalid, unavailable } from "../../model/errors.ts";
import type { ClusterId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import type { Database, Statement } from "./client.ts";
import { clusterGone, StaleSnapshot } from "./commit.ts";
import * as schema from "./schema.ts";

export type Cell = string | number | null;

/** Rows of one table; each row has a cell for each column. */
export interface Page {
	readonly table: string;
	readonly columns: readonly string[];
	readonly rows: readonly (readonly Cell[])[];
}

/** What a cluster's rows lie in besides `cluster` itself. */
const tables = [
	schema.revision,
	schema.node,
	schema.network,
	schema.lease,
	schema.service,
	schema.template,
	schema.task,
	schema.material,
	schema.content,
	schema.application,
	schema.deployment,
	schema.build,
	schema.buildLog,
	schema.delivery,
	schema.gone,
	schema.event,
];

const configs = [...tables, schema.cluster].map((table) => getTableConfig(table));
const columnsOf = new Map(
	configs.map(({ name, columns }) => [name, columns.map((each) => each.name)]),
);
/** What names a row, after its cluster. */
const keyOf = new Map(
	configs.map(({ name, primaryKeys }) => [
		name,
		(primaryKeys[0]?.columns ?? []).map((each) => each.name).slice(1),
	]),
);
const names = tables.map((table) => getTableConfig(table).name);
/** Of the place, and not of the cluster. */
const ofThePlace = new Set(["planner", "planner_until_ms", "move", "fenced"]);

const pageRows = 2_000;
/** A server answers with 10 MB at most, and a batch asks for a page of every table; one row may be larger than this. */
const pageBytes = 500_000;
const mostReads = 5;

/** Pages of one moment, the cluster's own row first, `without` those tables. Unavailable when others write faster than it can be read. */
export async function readCluster(
	database: Database,
	id: ClusterId,
	without: readonly string[] = [],
): Promise<Page[]> {
	for (let reads = 1; ; reads++) {
		try {
			return await Array.fromAsync(readPages(database, id, without));
		} catch (error) {
			if (!(error instanceof StaleSnapshot)) throw error;
			if (reads < mostReads) continue;
			throw unavailable("the cluster changes faster than it can be read: try again later", {
				cause: error,
			});
		}
	}
}

/**
 * The same, page by page, for what is too large to be held whole. `StaleSnapshot` when the cluster changed on the way: what
 * came until then is worth nothing. Behind a fence it cannot.
 */
export async function* readPages(
	database: Database,
	id: ClusterId,
	without: readonly string[] = [],
): AsyncGenerator<Page> {
	const wanted = names.filter((name) => !without.includes(name));
	const after = new Map(wanted.map((name): [string, readonly Cell[]] => [name, []]));
	let seq: Cell | undefined;
	for (;;) {
		const asked = [...after];
		const [found, ...results] = await database.read([
			{
				sql: `select ${jsonRow("cluster")} as body, seq from cluster where id = ?`,
				args: [id],
			},
			...asked.map(([name, key]) => pageOf(name, id, key)),
		]);
		const head = found?.rows[0];
		if (!head) throw clusterGone();
		if (seq === undefined) {
			const columns = columnsOf.get("cluster") ?? [];
			yield { table: "cluster", columns, rows: [JSON.parse(String(head["body"])) as Cell[]] };
			seq = Number(head["seq"]);
		}
		if (seq !== Number(head["seq"]))
			throw new StaleSnapshot("the cluster changed while it was read");
		for (const [index, [table]] of asked.entries()) {
			const row = must(results[index]?.rows[0], "an aggregate has one row");
			const rows = JSON.parse(String(row["page"] ?? "[]")) as Cell[][];
			const columns = columnsOf.get(table) ?? [];
			const last = rows.at(-1);
			const isAll = Number(row["candidates"] ?? 0) === rows.length && rows.length < pageRows;
			if (isAll || !last) after.delete(table);
			else
				after.set(
					table,
					(keyOf.get(table) ?? []).map((key) => last[columns.indexOf(key)] ?? null),
				);
			if (last) yield { table, columns, rows };
		}
		if (after.size === 0) return;
	}
}

/**
 * Repeated, it changes nothing. A conflict when the cluster is there without this move's fence: it is lifted, or a newer
 * move's. What an older move left behind goes.
 */
export async function insertPage(
	database: Database,
	id: ClusterId,
	page: Page,
	move: number,
): Promise<void> {
	const known = columnsOf.get(page.table);
	if (!known) throw invalid(`${page.table}: a cluster has no such table`);
	const columns = page.columns.filter((name) => known.includes(name) && !ofThePlace.has(name));
	const isHead = page.table === "cluster";
	const owner = isHead ? "id" : "cluster";
	const cells = columns.map((name) =>
		name === owner ? "?1" : `j.value->>${page.columns.indexOf(name)}`,
	);
	for (const rows of inParts(page.rows)) {
		const inserts: Statement[] = isHead
			? [
					...eraseStatements(id, "fenced = 1 and move < ?2", [move]),
					{
						sql: `insert or ignore into cluster (${columns.join(", ")}, planner, planner_until_ms, move, fenced)
							select ${cells.join(", ")}, '', 0, ?3, 1 from json_each(?2) j`,
						args: [id, rows, move],
					},
				]
			: [
					{
						sql: `insert or ignore into ${page.table} (${columns.join(", ")})
							select ${cells.join(", ")} from cluster c cross join json_each(?2) j
							where c.id = ?1 and c.move = ?3 and c.fenced = 1`,
						args: [id, rows, move],
					},
				];
		const results = await database.write([...inserts, fencedBy(id, move)]);
		if (results.at(-1)?.rows.length !== 1) {
			throw conflict(`cluster ${id} is there already, and not of this move`);
		}
	}
}

/** From now on every write to the cluster here is refused. False when it is not here, or a newer move was. */
export async function setFence(database: Database, id: ClusterId, move: number): Promise<boolean> {
	const [, found] = await database.write([
		{
			sql: "update cluster set fenced = 1, move = ?2 where id = ?1 and move < ?2",
			args: [id, move],
		},
		fencedBy(id, move),
	]);
	return found?.rows.length === 1;
}

/** Only this one; a newer move's stays. */
export async function liftFence(database: Database, id: ClusterId, move: number): Promise<void> {
	await database.write([
		{
			sql: "update cluster set fenced = 0 where id = ?1 and move = ?2 and fenced = 1",
			args: [id, move],
		},
	]);
}

/** The move that its rows here are fenced for; undefined when they are not. */
export async function fenceOf(database: Database, id: ClusterId): Promise<number | undefined> {
	const [found] = await database.read([
		{ sql: "select move from cluster where id = ? and fenced = 1", args: [id] },
	]);
	const row = found?.rows[0];
	return row && Number(row["move"]);
}

export async function hasRows(database: Database, id: ClusterId): Promise<boolean> {
	const [found] = await database.read([{ sql: "select 1 from cluster where id = ?", args: [id] }]);
	return found?.rows.length === 1;
}

/** How many rows of each table there are: what was copied is compared with what it was copied from. */
export async function countRows(
	database: Database,
	id: ClusterId,
): Promise<Readonly<Record<string, number>>> {
	const results = await database.read(
		names.map((name) => ({
			sql: `select count(*) as rows from ${name} where cluster = ?`,
			args: [id],
		})),
	);
	return Object.fromEntries(
		names.map((name, at) => [name, Number(results[at]?.rows[0]?.["rows"])]),
	);
}

export async function eraseRows(database: Database, id: ClusterId): Promise<void> {
	await database.write([
		...names.map((name) => ({ sql: `delete from ${name} where cluster = ?`, args: [id] })),
		{ sql: "delete from cluster where id = ?", args: [id] },
	]);
}

/** Only where they are fenced for this move. */
export async function eraseFenced(database: Database, id: ClusterId, move: number): Promise<void> {
	await database.write(eraseStatements(id, "fenced = 1 and move = ?2", [move]));
}

const fencedBy = (id: ClusterId, move: number): Statement => ({
	sql: "select 1 from cluster where id = ? and move = ? and fenced = 1",
	args: [id, move],
});

/** The cluster's own row last, since the others go by it. */
function eraseStatements(id: ClusterId, where: string, args: readonly number[]): Statement[] {
	return [
		...names.map((name) => ({
			sql: `delete from ${name} where cluster = ?1
				and exists (select 1 from cluster where id = ?1 and ${where})`,
			args: [id, ...args],
		})),
		{ sql: `delete from cluster where id = ?1 and ${where}`, args: [id, ...args] },
	];
}

function jsonRow(table: string): string {
	return `json_array(${(columnsOf.get(table) ?? []).join(", ")})`;
}

/** One page as one row: of the rows behind that key those that fit, and how many were looked at. */
function pageOf(table: string, id: ClusterId, after: readonly Cell[]): Statement {
	const key = (keyOf.get(table) ?? []).join(", ");
	const behind = after.length > 0 ? `and (${key}) > (${after.map((_, at) => `?${at + 2}`)})` : "";
	return {
		sql: `select '[' || group_concat(body, ',') || ']' as page, max(candidates) as candidates
			from (
				select body, row_number() over lines as place, count(*) over () as candidates,
					sum(length(body)) over (lines rows unbounded preceding) as bytes
				from (
					select ${key}, ${jsonRow(table)} as body from ${table}
					where cluster = ?1 ${behind} order by ${key} limit ${pageRows}
				)
				window lines as (order by ${key})
			)
			where bytes <= ${pageBytes} or place = 1`,
		args: [id, ...after],
	};
}

const partBytes = 2_000_000;

/** As JSON texts of a size that every server takes. */
function* inParts(rows: Page["rows"]): Generator<string> {
	let part: string[] = [];
	let bytes = 0;
	for (const row of rows) {
		const text = JSON.stringify(row);
		if (part.length > 0 && bytes + text.length > partBytes) {
			yield `[${part.join(",")}]`;
			part = [];
			bytes = 0;
		}
		part.push(text);
		bytes += text.length;
	}
	if (part.length > 0) yield `[${part.join(",")}]`;
}
