// The audit log: one row for each change and for each refusal of a right. Who, what, when, from where.

import type { Audit, AuditRow } from "../store/audit.ts";
import type { Actor } from "./actor.ts";

/** Where a request comes from, as far as it can be told. */
export interface From {
	readonly address: string;
	readonly agent: string;
}

/** Of a sign-in that failed nobody knows whose it was. */
export type Doer =
	| Pick<Actor, "kind" | "id" | "name" | "organization" | "user">
	| {
			readonly kind: "unknown";
			readonly id: "";
			readonly name: "";
			readonly organization: "";
			/** Whom it was tried for. */
			readonly user: string;
	  };

export interface Deed {
	readonly actor: Doer;
	readonly from: From;
	/** The route's name. */
	readonly action: string;
	/** What it is done to: a path, or the id of what was made. */
	readonly target: string;
	readonly organization?: string;
	readonly cluster?: string;
	readonly status: number | null;
}

/**
 * For changes that land in another database than the log: the row is there before the change is begun, and says how it
 * ended afterwards. Whoever dies in between leaves a row without an end, never a change without a row.
 */
export async function begin(log: Audit, row: AuditRow): Promise<(end: Response) => Promise<void>> {
	await log.write(row);
	return async (end) => log.ended(row, end.status, (await idOf(end)) ?? row.target);
}

/** What was made says its id in the answer: the path of the request did not know it yet. */
async function idOf(response: Response): Promise<string | undefined> {
	if (response.status !== 201 || !response.headers.get("Content-Type")?.includes("json"))
		return undefined;
	const made: unknown = await response.clone().json();
	const named = made as { ID?: unknown; Id?: unknown; id?: unknown };
	const id = named.ID ?? named.Id ?? named.id;
	return typeof id === "string" ? id : undefined;
}

export function auditRow(deed: Deed, nowMs: number, newId: () => string): AuditRow {
	const { actor, from } = deed;
	return {
		organization: deed.organization ?? actor.organization,
		atMs: nowMs,
		id: newId(),
		cluster: deed.cluster ?? null,
		actorKind: actor.kind,
		actor: actor.id,
		actorName: actor.name,
		user: actor.user,
		action: deed.action,
		target: deed.target.slice(0, 500),
		address: from.address,
		agent: from.agent.slice(0, 200),
		status: deed.status,
	};
}
