// Brings a database's tables up to date: the migrations not yet applied, in order, each in a batch of its own.
//
// Small, because Drizzle's own migrator reads a file system and there is none at the edge: the SQL is in the bundle.

/// <reference path="../text.d.ts" />

import tables from "../../migrations/0000_tables.sql" with { type: "text" };
import revisionGuard from "../../migrations/0001_revision_guard.sql" with { type: "text" };
import secrets from "../../migrations/0002_secrets.sql" with { type: "text" };
import said from "../../migrations/0003_said.sql" with { type: "text" };
import keyrings from "../../migrations/0004_keyrings.sql" with { type: "text" };
import accounts from "../../migrations/0005_accounts.sql" with { type: "text" };
import directory from "../../migrations/0006_directory.sql" with { type: "text" };
import placements from "../../migrations/0007_placements.sql" with { type: "text" };
import applications from "../../migrations/0008_applications.sql" with { type: "text" };
import type { Database } from "./client.ts";

/** As in `migrations/meta/_journal.json`, which a test compares. */
export const migrations: readonly (readonly [name: string, sql: string])[] = [
	["0000_tables", tables],
	["0001_revision_guard", revisionGuard],
	["0002_secrets", secrets],
	["0003_said", said],
	["0004_keyrings", keyrings],
	["0005_accounts", accounts],
	["0006_directory", directory],
	["0007_placements", placements],
	["0008_applications", applications],
];

/** Up to an earlier version where `wanted` says so. */
export async function migrate(database: Database, wanted = migrations): Promise<void> {
	const applied = await appliedOf(database);
	for (const [name, sql] of wanted) {
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

/** Names of those that this code needs and the database has not got. Writes nothing. */
export async function missingMigrations(database: Database): Promise<string[]> {
	const [names] = await database.read([{ sql: "select name from migration", args: [] }]);
	const applied = new Set(names?.rows.map((row) => row["name"]));
	return migrations.map(([name]) => name).filter((name) => !applied.has(name));
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
