// Brings a database's tables up to date: the migrations not yet applied, in order, each in a batch of its own.
//
// Small, because Drizzle's own migrator reads a file system and there is none at the edge: the SQL is in the bundle.

/// <reference path="../text.d.ts" />

import tables from "../../migrations/0000_tables.sql" with { type: "text" };
import revisionGuard from "../../migrations/0001_revision_guard.sql" with { type: "text" };
import type { Database } from "./client.ts";

/** As in `migrations/meta/_journal.json`, which a test compares. */
export const migrations: readonly (readonly [name: string, sql: string])[] = [
	["0000_tables", tables],
	["0001_revision_guard", revisionGuard],
];

export async function migrate(database: Database): Promise<void> {
	const applied = await appliedOf(database);
	for (const [name, sql] of migrations) {
		if (applied.has(name)) continue;
		try {
			await database.write([
				{ sql: "insert into migration (name) values (?)", args: [name] },
				...statementsOf(sql).map((each) => ({ sql: each, args: [] })),
			]);
		} catch (error) {
			// Two processes that start together: the second one's insert breaks its batch.
			if (!(await appliedOf(database)).has(name)) throw error;
		}
	}
}

async function appliedOf(database: Database): Promise<Set<unknown>> {
	const ask = { sql: "select name from migration", args: [] };
	try {
		const [names] = await database.read([ask]);
		return new Set(names?.rows.map((row) => row["name"]));
	} catch (error) {
		if (!/no such table/.test(String(error))) throw error;
		await database.write([
			{ sql: "create table if not exists migration (name text primary key not null)", args: [] },
		]);
		return new Set();
	}
}

function statementsOf(sql: string): string[] {
	return sql.split("--> statement-breakpoint").filter((each) => each.trim() !== "");
}
