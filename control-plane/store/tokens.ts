// Programs' credentials: secrets and client certificates, as hashes.

import { and, desc, eq, isNull, or, sql } from "drizzle-orm";
import type { Database, Statement } from "./client.ts";
import { asked, queriesOn, statementOf } from "./query.ts";
import { member, token } from "./schema.ts";

export interface TokenRow {
	readonly sha256: string;
	readonly organization: string;
	readonly user: string;
	readonly name: string;
	readonly kind: string;
	readonly role: string;
	/** JSON, or null for all. */
	readonly scopes: string | null;
	readonly clusters: string | null;
	readonly createdMs: number;
	readonly expiresMs: number | null;
	readonly usedMs: number | null;
}

export interface Tokens {
	/** With the role that its user has in its organization now; nothing when that is none. */
	find(sha256: string): Promise<(TokenRow & { readonly memberRole: string }) | undefined>;
	/** Everybody's, or one user's; the newest first. */
	list(organization: string, user?: string): Promise<readonly TokenRow[]>;
	/** One that is there already stays as it is. */
	put(row: TokenRow, also?: readonly Statement[]): Promise<void>;
	remove(sha256: string, also: readonly Statement[]): Promise<void>;
	/** Written when the last time was an hour ago or more. */
	used(row: TokenRow, nowMs: number): Promise<void>;
}

const hourMs = 3_600_000;

export function openTokens(database: Database): Tokens {
	const db = queriesOn(database);
	return {
		async find(sha256) {
			const [found] = await asked(
				db
					.select({ token, memberRole: member.role })
					.from(token)
					.innerJoin(
						member,
						and(eq(member.organization, token.organization), eq(member.user, token.user)),
					)
					.where(eq(token.sha256, sha256)),
			);
			return found && { ...found.token, memberRole: found.memberRole };
		},
		list: (organization, user) =>
			asked(
				db
					.select()
					.from(token)
					.where(
						and(
							eq(token.organization, organization),
							user === undefined ? undefined : eq(token.user, user),
						),
					)
					.orderBy(desc(token.createdMs), token.sha256),
			),
		async put(row, also = []) {
			await database.write([
				statementOf(db.insert(token).values(row).onConflictDoNothing()),
				...also,
			]);
		},
		async remove(sha256, also) {
			await database.write([
				statementOf(db.delete(token).where(eq(token.sha256, sha256))),
				...also,
			]);
		},
		async used(row, nowMs) {
			const before = nowMs - hourMs;
			if (row.usedMs !== null && row.usedMs > before) return;
			await asked(
				db
					.update(token)
					.set({ usedMs: nowMs })
					.where(
						and(
							eq(token.sha256, row.sha256),
							or(isNull(token.usedMs), sql`${token.usedMs} <= ${before}`),
						),
					)
					.run(),
			);
		},
	};
}
