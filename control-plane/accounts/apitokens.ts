// `/api/tokens`: credentials for programs. Each is some user's, and never may more than that user may.

import { Hono } from "hono";
import { z } from "zod";
import { conflict, forbidden, invalid, notFound } from "../../model/errors.ts";
import type { ClusterId } from "../../model/id.ts";
import type { TokenRow } from "../store/tokens.ts";
import { atLeast, memberRoles } from "./actor.ts";
import { tokenId } from "./auth.ts";
import { fingerprintOf } from "./certificate.ts";
import { type AccountsContext, type AccountsEnv, actorOf, audited, bodyOf } from "./door.ts";
import { may, type Right, rights } from "./rights.ts";
import { newApiToken, sha256 } from "./tokens.ts";

export const tokenSchema = z.strictObject({
	name: z.string().trim().min(1).max(100),
	role: z.enum(memberRoles).optional(),
	scopes: z.union([z.literal("all"), z.array(z.enum(rights as [Right])).min(1)]).optional(),
	clusters: z.union([z.literal("all"), z.array(z.string()).min(1).max(100)]).optional(),
	expires: z.iso.datetime({ offset: true }).optional(),
	/** PEM of a client's certificate: then that is the credential, and no secret is made. */
	certificate: z.string().max(20_000).optional(),
});

export function tokenRoutes(): Hono<AccountsEnv> {
	return new Hono<AccountsEnv>()
		.get("/api/tokens", async (c) => {
			const actor = actorOf(c);
			const { access } = c.get("accounts");
			const whose = may(actor, "tokens") ? undefined : actor.user;
			const rows = await access.tokens.list(actor.organization, whose);
			return c.json(rows.map(showToken));
		})
		.post("/api/tokens", async (c) => {
			const actor = actorOf(c);
			const { access, nowMs } = c.get("accounts");
			const asked = await bodyOf(c, tokenSchema);
			const role = asked.role ?? actor.role;
			if (!atLeast(actor.role, role)) {
				throw forbidden(`role: you are ${actor.role} here, so a token of yours cannot be ${role}`);
			}
			const secret = newApiToken();
			const row: TokenRow = {
				sha256: await (asked.certificate === undefined
					? sha256(secret)
					: fingerprintOf(asked.certificate)),
				organization: actor.organization,
				user: actor.user,
				name: asked.name,
				kind: asked.certificate === undefined ? "secret" : "certificate",
				role,
				scopes: listed("scopes", asked.scopes, actor.scopes),
				clusters: listed("clusters", await clusterIds(c, asked.clusters), actor.clusters),
				createdMs: nowMs(),
				expiresMs: asked.expires === undefined ? null : Date.parse(asked.expires),
				usedMs: null,
			};
			if (row.expiresMs !== null && row.expiresMs <= row.createdMs) {
				throw invalid("expires: this is in the past: give a later time, or leave it out");
			}
			if (row.kind === "certificate" && (await access.tokens.find(row.sha256))) {
				throw conflict("certificate: it is known here already: delete its token first");
			}
			await access.tokens.put(row, [audited(c, tokenId(row))]);
			return c.json({ ...showToken(row), ...(row.kind === "secret" && { token: secret }) }, 201);
		})
		.delete("/api/tokens/:id", async (c) => {
			const actor = actorOf(c);
			const { access } = c.get("accounts");
			const whose = may(actor, "tokens") ? undefined : actor.user;
			const rows = await access.tokens.list(actor.organization, whose);
			const found = rows.find((row) => tokenId(row) === c.req.param("id"));
			if (!found) throw notFound(`no token ${c.req.param("id")} here: GET /api/tokens lists them`);
			await access.tokens.remove(found.sha256, [audited(c, tokenId(found))]);
			return c.body(null, 204);
		});
}

/** By their names or ids. */
async function clusterIds(
	c: AccountsContext,
	asked: "all" | readonly string[] | undefined,
): Promise<"all" | readonly string[] | undefined> {
	if (asked === undefined || asked === "all") return asked;
	const known = await c.get("accounts").clustersOf(actorOf(c).organization);
	return asked.map((each) => {
		const found = known.find(({ id, name }) => name === each || id === each);
		if (!found) throw notFound(`clusters: no such cluster: ${each}`);
		return found.id;
	});
}

/** A token that makes another hands on no more than it has. */
function listed<Item extends string>(
	field: string,
	asked: "all" | readonly string[] | undefined,
	had: "all" | readonly Item[],
): string | null {
	const wanted = asked ?? had;
	if (had === "all") return wanted === "all" ? null : JSON.stringify(wanted);
	if (wanted === "all") throw forbidden(`${field}: "all" is more than your own token has`);
	const stray = wanted.find((each) => !had.some((own) => own === each));
	if (stray !== undefined) throw forbidden(`${field}: ${stray} is more than your own token has`);
	return JSON.stringify(wanted);
}

export function showToken(row: TokenRow) {
	const time = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
	return {
		id: tokenId(row),
		name: row.name,
		kind: row.kind,
		user: row.user,
		organization: row.organization,
		role: row.role,
		scopes: row.scopes === null ? "all" : (JSON.parse(row.scopes) as Right[]),
		clusters: row.clusters === null ? "all" : (JSON.parse(row.clusters) as ClusterId[]),
		created: time(row.createdMs),
		expires: time(row.expiresMs),
		lastUsed: time(row.usedMs),
	};
}
