// `GET /api/audit`: the organization's audit log, the newest first, in pages or whole as NDJSON.

import { Hono } from "hono";
import { invalid } from "../../model/errors.ts";
import type { AuditQuery, AuditRow } from "../store/audit.ts";
import { type AccountsContext, type AccountsEnv, actorOf } from "./door.ts";

const pageRows = 100;
const longestPage = 1000;

export function auditRoutes(): Hono<AccountsEnv> {
	return new Hono<AccountsEnv>().get("/api/audit", async (c) => {
		const query = queryOf(c);
		if (c.req.query("format") === "ndjson") return exported(c, query);
		const rows = await c.get("accounts").access.audit.list(query);
		const last = rows.length === query.limit ? rows.at(-1) : undefined;
		return c.json({ entries: rows.map(show), next: last ? cursorOf(last) : null });
	});
}

function queryOf(c: AccountsContext): AuditQuery {
	const { organization, clusters } = actorOf(c);
	const since = timeOf(c, "since");
	const until = timeOf(c, "until");
	const actor = c.req.query("actor");
	const cluster = c.req.query("cluster");
	const before = c.req.query("before");
	const limit = Number(c.req.query("limit") ?? pageRows);
	if (!Number.isInteger(limit) || limit < 1 || limit > longestPage) {
		throw invalid(`limit: a number from 1 to ${longestPage}`);
	}
	const [, atMs, id] = /^(\d+)-(\w+)$/.exec(before ?? "") ?? [];
	if (before !== undefined && (atMs === undefined || id === undefined)) {
		throw invalid("before: give what the page before had as `next`");
	}
	return {
		organization,
		clusters,
		limit,
		...(since !== undefined && { sinceMs: since }),
		...(until !== undefined && { untilMs: until }),
		...(actor !== undefined && { actor }),
		...(cluster !== undefined && { cluster }),
		...(atMs !== undefined && id !== undefined && { before: { atMs: Number(atMs), id } }),
	};
}

function timeOf(c: AccountsContext, name: string): number | undefined {
	const text = c.req.query(name);
	if (text === undefined) return undefined;
	const ms = Date.parse(text);
	if (Number.isNaN(ms)) throw invalid(`${name}: ${text} is no time such as 2026-11-28T12:00:00Z`);
	return ms;
}

/** A page is read when the one before it was taken, so that a long log never stands in memory. */
function exported(c: AccountsContext, query: AuditQuery): Response {
	const { audit } = c.get("accounts").access;
	const encoder = new TextEncoder();
	let before = query.before;
	const body = new ReadableStream<Uint8Array>(
		{
			async pull(to) {
				const rows = await audit.list({ ...query, limit: longestPage, ...(before && { before }) });
				const lines = rows.map((row) => `${JSON.stringify(show(row))}\n`).join("");
				if (lines !== "") to.enqueue(encoder.encode(lines));
				before = rows.at(-1);
				if (rows.length < longestPage) to.close();
			},
		},
		{ highWaterMark: 0 },
	);
	return new Response(body, { headers: { "Content-Type": "application/x-ndjson" } });
}

const cursorOf = (row: AuditRow) => `${row.atMs}-${row.id}`;

function show(row: AuditRow) {
	return {
		time: new Date(row.atMs).toISOString(),
		actor: { kind: row.actorKind, id: row.actor, name: row.actorName, user: row.user },
		action: row.action,
		target: row.target,
		cluster: row.cluster,
		from: { address: row.address, agent: row.agent },
		status: row.status,
	};
}
