// Drizzle over a `Database`: queries built in types, each one statement of a read or a write batch.

import { drizzle, type SqliteRemoteDatabase } from "drizzle-orm/sqlite-proxy";
import { Refusal } from "../../model/errors.ts";
import type { Database, Statement } from "./client.ts";

export function queriesOn(database: Database): SqliteRemoteDatabase {
	return drizzle(async (sql, args, method) => {
		const statement = { sql, args: args as (string | number | null)[] };
		// What returns rows may have written them.
		const results = await (/^\s*select\b/i.test(sql)
			? database.read([statement])
			: database.write([statement]));
		const rows = results[0]?.rows.map((row) => Array.from(row)) ?? [];
		return { rows: method === "get" ? (rows[0] as unknown[]) : rows };
	});
}

/** For a batch of several. */
export function statementOf(query: {
	toSQL(): { readonly sql: string; readonly params: unknown[] };
}): Statement {
	const { sql, params } = query.toSQL();
	return { sql, args: params as (string | number | null)[] };
}

/** Drizzle wraps what goes wrong in an error of its own; a refusal is for the caller. */
export async function asked<Result>(query: PromiseLike<Result>): Promise<Result> {
	try {
		return await query;
	} catch (error) {
		if (error instanceof Error && error.cause instanceof Refusal) throw error.cause;
		throw error;
	}
}
