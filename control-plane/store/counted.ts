// A database that counts what is asked of it: batches, statements, rows, time.

import type { Metrics } from "../operations/metrics.ts";
import type { Database, Statement } from "./client.ts";

export function counted(database: Database, metrics: Metrics, nowMs: () => number): Database {
	const counting =
		(kind: "read" | "write") =>
		async (statements: readonly Statement[]): ReturnType<Database["read"]> => {
			const begunMs = nowMs();
			const results = await database[kind](statements);
			metrics.observe("databaseTime", { kind }, (nowMs() - begunMs) / 1000);
			metrics.add("batches", { kind });
			metrics.add("statements", { kind }, statements.length);
			const rows = results.reduce(
				(sum, each) => sum + (kind === "read" ? each.rows.length : each.rowsAffected),
				0,
			);
			metrics.add("rows", { kind }, rows);
			return results;
		};
	return {
		exclusive: database.exclusive,
		read: counting("read"),
		write: counting("write"),
		close: () => database.close(),
	};
}
