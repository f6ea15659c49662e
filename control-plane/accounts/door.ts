// What the routes about people, organizations and tokens are given, and what each of them does first.

import type { Context } from "hono";
import { routePath } from "hono/route";
import type { z } from "zod";
import { invalid, messageOf, type Refusal } from "../../model/errors.ts";
import type { Limits } from "../../model/limits.ts";
import type { ClusterSummary } from "../cluster.ts";
import type { AuditRow } from "../store/audit.ts";
import type { Statement } from "../store/client.ts";
import type { Access } from "./access.ts";
import type { Actor } from "./actor.ts";
import { auditRow, type From } from "./audit.ts";
import type { Throttled } from "./throttle.ts";

export interface AccountsDoor {
	readonly access: Access;
	readonly from: From;
	/** Ours, as the caller reaches us. */
	readonly publicUrl: string;
	/** Those of an organization, by name. */
	clustersOf(organization: string): Promise<readonly ClusterSummary[]>;
	readonly limits: LimitsOf;
	/** All of them: their agents wind down. */
	eraseClusters(organization: string): Promise<void>;
	/** The answer to whoever asks for something too often; `key` is whose bucket it is. */
	tooOften(what: Throttled, key: string): Promise<Response | undefined>;
	nowMs(): number;
	newId(): string;
}

export const noMail = (remedy: string): Refusal =>
	invalid(`this control plane sends no mail, since SKEIN_MAIL_URL is not set there: ${remedy}`);

export interface LimitsOf {
	/** What counts for an organization: its own, and the settings' where it has none. */
	of(organization: string): Promise<Limits>;
	/** What it has of its own, whole. */
	set(organization: string, own: Partial<Limits>, also: readonly Statement[]): Promise<void>;
}

export interface AccountsEnv {
	Variables: {
		/** Whoever asks, where they are known. */
		actor: Actor | undefined;
		accounts: AccountsDoor;
	};
}

export type AccountsContext = Context<AccountsEnv>;

/** app.ts lets nobody through to a route that takes a right and whom it does not know. */
export function actorOf(c: { get(key: "actor"): Actor | undefined }): Actor {
	const actor = c.get("actor");
	if (!actor) throw new Error("this route is open to all, so it has no actor");
	return actor;
}

/** The audit log's row about this request, to be written in the batch of its change, right after it. */
export function audited(
	c: AccountsContext,
	target: string,
	when: "always" | "ifChanged" = "always",
	organization?: string,
): Statement {
	const { access } = c.get("accounts");
	const row = auditedRow(c, target, organization);
	return when === "always" ? access.audit.statement(row) : access.audit.statementIfChanged(row);
}

export function auditedRow(
	c: AccountsContext,
	target: string,
	organization?: string,
	status = 200,
): AuditRow {
	const { from, nowMs, newId } = c.get("accounts");
	const deed = {
		actor: actorOf(c),
		from,
		action: `${c.req.method} ${routePath(c)}`,
		target,
		...(organization !== undefined && { organization }),
		status,
	};
	return auditRow(deed, nowMs(), newId);
}

const bodyLimitBytes = 64 * 1024;

/** The body in the schema's shape, or a refusal that names the field. Never reads more than the limit. */
export async function bodyOf<Shape>(
	c: { readonly req: { readonly raw: Request } },
	schema: z.ZodType<Shape>,
): Promise<Shape> {
	let value: unknown;
	try {
		value = JSON.parse(await textWithin(c.req.raw, bodyLimitBytes));
	} catch (error) {
		throw invalid(`body: ${messageOf(error)}: send one JSON object`, { cause: error });
	}
	const result = schema.safeParse(value);
	if (result.success) return result.data;
	const [issue] = result.error.issues;
	throw invalid(`${issue?.path.join(".") || "body"}: ${issue?.message}`);
}

async function textWithin(request: Request, limitBytes: number): Promise<string> {
	const decoder = new TextDecoder();
	let text = "";
	let bytes = 0;
	for await (const chunk of request.body ?? []) {
		bytes += chunk.byteLength;
		if (bytes > limitBytes) throw invalid(`more than ${limitBytes} bytes`);
		text += decoder.decode(chunk, { stream: true });
	}
	return text + decoder.decode();
}
