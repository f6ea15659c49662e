// `/api/auth/…` and `/api/account…`: signing up, in and out, sessions, leaving.

import { Hono } from "hono";
import { routePath } from "hono/route";
import { z } from "zod";
import { conflict, forbidden, invalid, notFound } from "../../model/errors.ts";
import type { AuditRow } from "../store/audit.ts";
import { auditDays } from "../store/users.ts";
import { type Actor, owner } from "./actor.ts";
import { auditRow, type Deed, type Doer } from "./audit.ts";
import { type AccountsContext, type AccountsEnv, actorOf, audited, bodyOf } from "./door.ts";
import { mailOf } from "./letters.ts";
import type { SigningIn } from "./signin.ts";
import { sha256 } from "./tokens.ts";

export const signUpSchema = z.looseObject({
	name: z.string().trim().min(1).max(100),
	email: z.email(),
	password: z.string(),
	/** The last part of an invitation's link. */
	invitation: z.string().max(200).optional(),
});

export const signInSchema = z.looseObject({ email: z.email().max(254), password: z.string() });

export function peopleRoutes(): Hono<AccountsEnv> {
	return new Hono<AccountsEnv>()
		.post("/api/auth/sign-up/email", async (c) => {
			const { access, nowMs } = c.get("accounts");
			const { invitation, ...body } = await bodyOf(c, signUpSchema);
			const hash = invitation === undefined ? undefined : await sha256(invitation);
			if (hash === undefined && access.signUp !== "open") {
				throw forbidden(
					"invitation: only who was invited can sign up here: ask an owner or admin for a link",
				);
			}
			if (hash !== undefined && !(await access.users.findInvitation(hash, nowMs()))) {
				throw notFound(invitationGone);
			}
			return signedIn(c, requestWith(c, body), async (user) => {
				if (hash === undefined) return firstOrganization(c, user);
				await acceptInvitation(c, hash, user);
			});
		})
		.post("/api/auth/sign-in/email", async (c) => {
			const body = await bodyOf(c, signInSchema);
			const request = requestWith(c, body);
			return signedIn(c, request, undefined, body.email);
		})
		.post("/api/auth/sign-in/social", (c) => signedIn(c, c.req.raw))
		.get("/api/auth/callback/:provider", (c) =>
			signedIn(c, c.req.raw, (user) => firstOrganization(c, user)),
		)
		.post("/api/auth/link-social", (c) => signedIn(c, c.req.raw))
		.post("/api/auth/change-password", (c) => signedIn(c, c.req.raw))
		.post("/api/auth/sign-out", async (c) => {
			const actor = actorOf(c);
			if (actor.session === undefined) {
				throw invalid("this came with a token, not a session: DELETE /api/tokens/ID ends one");
			}
			const { access } = c.get("accounts");
			const rows = await personalRows(c, actor, { target: actor.session, status: 204 });
			const also = rows.map(access.audit.statementIfChanged);
			await access.users.endSession(actor.user, actor.session, also);
			return c.body(null, 204);
		})
		.get("/api/account", async (c) => {
			const actor = actorOf(c);
			const { access } = c.get("accounts");
			const [user, memberships] = await Promise.all([
				access.users.find(actor.user),
				access.users.memberships(actor.user),
			]);
			return c.json({
				id: actor.user,
				name: user?.name,
				email: user?.email,
				emailVerified: user?.emailVerified,
				kind: actor.kind,
				organization: actor.organization,
				role: actor.role,
				scopes: actor.scopes,
				clusters: actor.clusters,
				organizations: memberships.map((each) => ({
					id: each.organization,
					name: each.organizationName,
					role: each.role,
				})),
			});
		})
		.get("/api/account/sessions", async (c) => {
			const actor = actorOf(c);
			const { access, nowMs } = c.get("accounts");
			const rows = await access.users.sessions(actor.user, nowMs());
			return c.json(
				rows.map((row) => ({
					id: row.id,
					created: row.createdAt.toISOString(),
					expires: row.expiresAt.toISOString(),
					address: row.ipAddress,
					agent: row.userAgent,
					isThis: row.id === actor.session,
				})),
			);
		})
		.delete("/api/account/sessions/:id", async (c) => {
			const actor = actorOf(c);
			const id = c.req.param("id");
			const row = audited(c, id, "ifChanged");
			if (await c.get("accounts").access.users.endSession(actor.user, id, [row])) {
				return c.body(null, 204);
			}
			throw notFound(`no session ${id} of yours: GET /api/account/sessions lists them`);
		});
}

export const invitationGone =
	"invitation: it was used, withdrawn or is past its end: ask whoever invited you for another";

/** The library's answer, with rows in the audit log about what came of it. */
async function signedIn(
	c: AccountsContext,
	request: Request,
	onNewUser: (user: NewUser) => Promise<void> = async () => undefined,
	/** Whom somebody says to be. */
	email = "",
): Promise<Response> {
	const { access, publicUrl } = c.get("accounts");
	let isNew = false;
	let signedIn: string | undefined;
	let joined: { user: string; provider: string } | undefined;
	const reply = await asked(c, request, {
		async onNewUser(user) {
			isNew = true;
			await onNewUser(user);
		},
		onSession(user) {
			signedIn = user;
		},
		onLogin(user, provider) {
			joined = { user, provider };
		},
	});
	// Whoever is new has a row about that.
	if (isNew) return reply;
	const rows = await rowsOf();
	if (rows.length > 0) await access.audit.write(...rows);
	return reply;

	async function rowsOf(): Promise<AuditRow[]> {
		const known = c.get("actor");
		const of = async (id: string, deed: Partial<Deed>) => {
			const name = (await access.users.find(id))?.name ?? "";
			return personalRows(c, actorFor({ id, name }, "", "viewer"), deed);
		};
		if (joined) {
			const { user, provider } = joined;
			return of(user, { action: "POST /api/auth/link-social", target: provider });
		}
		// Signed in already, they changed their password, or could not; that a link was begun is no change.
		if (known) {
			if (!c.req.path.endsWith("/change-password")) return [];
			return personalRows(c, known, { target: known.user, status: reply.status });
		}
		if (signedIn !== undefined) return of(signedIn, { target: signedIn });
		const why = new URL(reply.headers.get("Location") ?? publicUrl, publicUrl).searchParams;
		const hasFailed = reply.status === 401 || why.has("error");
		if (!hasFailed) return [];
		const tried = email === "" ? undefined : await access.users.findByEmail(email.toLowerCase());
		const target = email || `${why.get("error")}`;
		return personalRows(c, unknown(tried?.id), { target, status: 401 });
	}
}

/** Of whom nobody knows who they are. */
export const unknown = (user = "") =>
	({ kind: "unknown", id: "", name: "", organization: "", user }) as const;

/** The library's answer. What it wants mailed is, unless somebody else takes it. */
export async function asked(
	c: AccountsContext,
	request: Request,
	on: Partial<SigningIn> = {},
): Promise<Response> {
	const { access, from, publicUrl } = c.get("accounts");
	const nothing = () => undefined;
	return access.signIn(request, {
		...{ publicUrl, address: from.address },
		...{ onNewUser: async () => undefined, onSession: nothing, onLogin: nothing },
		...{ onReset: nothing, onVerified: nothing },
		onLetter(letter) {
			if (access.mail) access.background(access.mail(mailOf(letter, publicUrl)));
		},
		...on,
	});
}

/** The same request, with what its body turned out to be. */
export function requestWith(c: AccountsContext, body: unknown, path = c.req.path): Request {
	const { url, headers } = c.req.raw;
	return new Request(new URL(path, url).href, {
		method: "POST",
		headers,
		body: JSON.stringify(body),
	});
}

/** What concerns a person is in the log of each organization that they belong to, and in the operator's where there is none. */
export async function personalRows(
	c: AccountsContext,
	actor: Doer,
	deed: Partial<Deed>,
	person = actor.user,
): Promise<AuditRow[]> {
	const { access, from, nowMs, newId } = c.get("accounts");
	// Asked for nobody, too: how long it takes must not tell whether there is an account.
	const memberships = await access.users.memberships(person);
	const organizations = memberships.map(({ organization }) => organization);
	return (organizations.length === 0 ? [owner] : organizations).map((organization) => {
		const action = `${c.req.method} ${routePath(c)}`;
		const whole = { actor, from, action, target: "", organization, status: 200, ...deed };
		return auditRow(whole, nowMs(), newId);
	});
}

interface NewUser {
	readonly id: string;
	readonly name: string;
}

/** Whoever comes by themselves has one of their own. */
async function firstOrganization(c: AccountsContext, user: NewUser): Promise<void> {
	const { access, from, nowMs, newId } = c.get("accounts");
	const row = { id: newId(), name: user.name, auditDays, createdMs: nowMs() };
	const deed = {
		actor: actorFor(user, row.id, "owner"),
		from,
		action: "POST /api/auth/sign-up",
		target: user.id,
		status: 200,
	};
	await access.users.createOrganization(row, user.id, [
		access.audit.statement(auditRow(deed, nowMs(), newId)),
	]);
}

export async function acceptInvitation(
	c: AccountsContext,
	hash: string,
	user: NewUser,
): Promise<string> {
	const { access, from, nowMs, newId } = c.get("accounts");
	const found = await access.users.findInvitation(hash, nowMs());
	if (!found) throw notFound(invitationGone);
	const memberships = await access.users.memberships(user.id);
	if (memberships.some(({ organization }) => organization === found.organization)) {
		throw conflict("invitation: you belong to this organization already");
	}
	const deed = {
		actor: actorFor(user, found.organization, found.role as Actor["role"]),
		from,
		action: "POST /api/invitations/accept",
		target: user.id,
		status: 200,
	};
	const row = access.audit.statementIfChanged(auditRow(deed, nowMs(), newId));
	if (await access.users.accept(hash, user.id, nowMs(), row)) return found.organization;
	throw notFound(invitationGone);
}

export function actorFor(user: NewUser, organization: string, role: Actor["role"]): Actor {
	const { id, name } = user;
	return { kind: "user", id, name, organization, role, clusters: "all", user: id, scopes: "all" };
}
