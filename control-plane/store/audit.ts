// The audit log's rows: who did what, when, from where.

import { and, desc, eq, gte, inArray, isNull, lt, or } from "drizzle-orm";
import type { Database, Statement } from "./client.ts";
import { asked, queriesOn, statementOf } from "./query.ts";
import { audit } from "./schema.ts";

export interface AuditRow {
	readonly organization: string;
	readonly atMs: number;
	readonly id: string;
	readonly cluster: string | null;
	readonly actorKind: string;
	readonly actor: string;
	readonly actorName: string;
	readonly user: string;
	readonly action: string;
	readonly target: string;
	readonly address: string;
	readonly agent: string;
	/** HTTP's; null: it was begun, and nobody came back to say how it ended. */
	readonly status: number | null;
}

export interface AuditQuery {
	readonly organization: string;
	readonly sinceMs?: number;
	readonly untilMs?: number;
	/** An actor's or user's id. */
	readonly actor?: string;
	readonly cluster?: string;
	/** Those that may be seen, besides what concerns no cluster. */
	readonly clusters: "all" | readonly string[];
	/** Older than this one: where the page before ended. */
	readonly before?: { readonly atMs: number; readonly id: string };
	readonly limit: number;
}

export interface Audit {
	/** To be written together with the change that it is about. */
	statement(row: AuditRow): Statement;
	/** As `statement`, if the one before it in the batch changed anything. */
	statementIfChanged(row: AuditRow): Statement;
	write(...rows: readonly AuditRow[]): Promise<void>;
	/** How it ended, and what came of it. */
	ended(row: AuditRow, status: number, target: string): Promise<void>;
	/** The newest first. */
	list(query: AuditQuery): Promise<readonly AuditRow[]>;
	/** Forgets what is older than its organization wants kept. */
	prune(nowMs: number): Promise<void>;
}

export function openAudit(database: Database): Audit {
	const db = queriesOn(database);
	const statement = (row: AuditRow) => statementOf(db.insert(audit).values(row));
	return {
		statement,
		statementIfChanged(row) {
			const { sql, args } = statement(row);
			return { sql: sql.replace(/ values \((.*)\)$/s, " select $1 where changes() > 0"), args };
		},
		async write(...rows) {
			await database.write(rows.map(statement));
		},
		async ended(row, status, target) {
			await asked(
				db
					.update(audit)
					.set({ status, target })
					.where(
						and(
							eq(audit.organization, row.organization),
							eq(audit.atMs, row.atMs),
							eq(audit.id, row.id),
						),
					)
					.run(),
			);
		},
		list: (query) =>
			asked(
				db
					.select()
					.from(audit)
					.where(
						and(
							eq(audit.organization, query.organization),
							query.sinceMs === undefined ? undefined : gte(audit.atMs, query.sinceMs),
							query.untilMs === undefined ? undefined : lt(audit.atMs, query.untilMs),
							query.actor === undefined
								? undefined
								: or(eq(audit.actor, query.actor), eq(audit.user, query.actor)),
							query.cluster === undefined ? undefined : eq(audit.cluster, query.cluster),
							query.clusters === "all"
								? undefined
								: or(isNull(audit.cluster), inArray(audit.cluster, [...query.clusters])),
							query.before &&
								or(
									lt(audit.atMs, query.before.atMs),
									and(eq(audit.atMs, query.before.atMs), lt(audit.id, query.before.id)),
								),
						),
					)
					.orderBy(desc(audit.atMs), desc(audit.id))
					.limit(query.limit),
			),
		async prune(nowMs) {
			await database.write([
				{
					sql: `delete from audit where exists (select 1 from organization where organization.id = audit.organization
						and audit.at_ms < ? - organization.audit_days * 86400000)`,
					args: [nowMs],
				},
			]);
		},
	};
}
