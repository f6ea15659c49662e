// `/api/organizations…` and `/api/invitations…`: who belongs where, as what.
//
// `:organization` in a path decides for which of their organizations the caller acts (app.ts), so what is done here is
// always to the actor's own; but for what whoever runs the control plane lets an organization have.

import { Hono } from "hono";
import { z } from "zod";
import { conflict, forbidden, notFound } from "../../model/errors.ts";
import { must } from "../../model/invariant.ts";
import { besideLimits, limitNames } from "../../model/limits.ts";
import { auditDays, type InvitationRow } from "../store/users.ts";
import { type Actor, memberRoles } from "./actor.ts";
import {
	type AccountsContext,
	type AccountsEnv,
	actorOf,
	audited,
	bodyOf,
	noMail,
} from "./door.ts";
import { mailOf } from "./letters.ts";
import { acceptInvitation } from "./people.ts";
import { may } from "./rights.ts";
import { newInvitation, sha256 } from "./tokens.ts";

const name = z.string().trim().min(1).max(100);
const role = z.enum(memberRoles);

export const nameSchema = z.strictObject({ name });
export const changeSchema = z.strictObject({
	name: name.optional(),
	auditDays: z.int().min(1).max(3650).optional(),
});
/** What is left out is as the settings have it; null is as much as they like. */
export const limitsSchema = z.partialRecord(z.enum(limitNames), z.int().min(0).nullable());
export const roleSchema = z.strictObject({ role });
export const inviteSchema = z.strictObject({
	role,
	note: z.string().trim().max(200).default(""),
	/** Where the link is mailed to. */
	email: z.email().max(254).optional(),
	days: z.int().min(1).max(30).default(7),
});
export const acceptSchema = z.strictObject({ invitation: z.string().max(200) });

export function organizationRoutes(): Hono<AccountsEnv> {
	return new Hono<AccountsEnv>()
		.get("/api/organizations", async (c) => {
			const memberships = await c.get("accounts").access.users.memberships(actorOf(c).user);
			return c.json(
				memberships.map((each) => ({
					id: each.organization,
					name: each.organizationName,
					role: each.role,
				})),
			);
		})
		.post("/api/organizations", async (c) => {
			const { access, nowMs, newId } = c.get("accounts");
			if (access.signUp !== "open") {
				throw forbidden("this control plane has one organization, its owner's: ask to be invited");
			}
			const asked = await bodyOf(c, nameSchema);
			const row = { id: newId(), name: asked.name, auditDays, createdMs: nowMs() };
			await access.users.createOrganization(row, actorOf(c).user, [
				audited(c, row.id, "always", row.id),
			]);
			return c.json({ id: row.id, name: row.name, role: "owner" }, 201);
		})
		.get("/api/organizations/:organization", async (c) => {
			const actor = actorOf(c);
			const found = await c.get("accounts").access.users.organization(actor.organization);
			if (!found) throw notFound(`no organization ${actor.organization}`);
			return c.json({
				id: found.id,
				name: found.name,
				role: actor.role,
				auditDays: found.auditDays,
				limits: await c.get("accounts").limits.of(found.id),
				created: new Date(found.createdMs).toISOString(),
			});
		})
		.patch("/api/organizations/:organization", async (c) => {
			const { organization } = actorOf(c);
			const asked = await bodyOf(c, changeSchema);
			const change = {
				...(asked.name !== undefined && { name: asked.name }),
				...(asked.auditDays !== undefined && { auditDays: asked.auditDays }),
			};
			if (Object.keys(change).length > 0) {
				await c
					.get("accounts")
					.access.users.changeOrganization(organization, change, [audited(c, organization)]);
			}
			return c.body(null, 204);
		})
		.get("/api/organizations/:organization/limits", async (c) =>
			c.json(await c.get("accounts").limits.of(actorOf(c).organization)),
		)
		.get("/api/organizations/:organization/usage", async (c) => {
			const { clustersOf, limits } = c.get("accounts");
			const { organization } = actorOf(c);
			const clusters = (await clustersOf(organization)).length;
			return c.json(besideLimits({ clusters }, await limits.of(organization)));
		})
		.put("/api/organizations/:organization/limits", async (c) => {
			const { access, limits } = c.get("accounts");
			const id = c.req.param("organization");
			const own = await bodyOf(c, limitsSchema);
			if (!(await access.users.organization(id))) throw notFound(`no organization ${id}`);
			const logs = new Set([actorOf(c).organization, id]);
			await limits.set(
				id,
				own,
				[...logs].map((log) => audited(c, id, "always", log)),
			);
			return c.json(await limits.of(id));
		})
		.get("/api/organizations/:organization/members", async (c) => {
			const rows = await c.get("accounts").access.users.members(actorOf(c).organization);
			return c.json(
				rows.map((row) => ({
					user: row.user,
					name: row.name,
					email: row.email,
					role: row.role,
					since: new Date(row.createdMs).toISOString(),
				})),
			);
		})
		.patch("/api/organizations/:organization/members/:user", async (c) => {
			const { access } = c.get("accounts");
			const { organization } = actorOf(c);
			const asked = await bodyOf(c, roleSchema);
			const user = await memberOf(c, [asked.role]);
			const row = audited(c, `${user} ${asked.role}`, "ifChanged");
			if (await access.users.setRole(organization, user, asked.role, row)) return c.body(null, 204);
			throw lastOwner();
		})
		.delete("/api/organizations/:organization/members/:user", async (c) => {
			const { access } = c.get("accounts");
			const actor = actorOf(c);
			if (c.req.param("user") !== actor.user && !may(actor, "members")) {
				throw forbidden("others are removed by an owner or admin; you can leave by yourself");
			}
			const user = await memberOf(c, []);
			const row = audited(c, user, "ifChanged");
			if (await access.users.removeMember(actor.organization, user, row)) return c.body(null, 204);
			throw lastOwner();
		})
		.get("/api/organizations/:organization/invitations", async (c) => {
			const { access, nowMs } = c.get("accounts");
			const rows = await access.users.invitations(actorOf(c).organization, nowMs());
			return c.json(rows.map(showInvitation));
		})
		.post("/api/organizations/:organization/invitations", async (c) => {
			const { access, nowMs, publicUrl, tooOften } = c.get("accounts");
			const actor = actorOf(c);
			const asked = await bodyOf(c, inviteSchema);
			if (asked.role === "owner" && actor.role !== "owner") throw ownersOnly();
			if (asked.email !== undefined && !access.mail) {
				throw noMail("leave `email` out, and pass the link on yourself");
			}
			const late = asked.email === undefined ? undefined : await tooOften("mail", actor.user);
			if (late) return late;
			const invitation = newInvitation();
			const row: InvitationRow = {
				sha256: await sha256(invitation),
				organization: actor.organization,
				role: asked.role,
				note: asked.note,
				invitedBy: actor.user,
				createdMs: nowMs(),
				expiresMs: nowMs() + asked.days * 86_400_000,
			};
			await access.users.invite(row, [audited(c, invitationId(row))]);
			const link = `${publicUrl}/api/invitations/${invitation}`;
			const { email } = asked;
			const mailed = email !== undefined && { mailed: await isMailed(c, row, link, email) };
			return c.json({ ...showInvitation(row), invitation, link, ...mailed }, 201);
		})
		.delete("/api/organizations/:organization/invitations/:id", async (c) => {
			const { access, nowMs } = c.get("accounts");
			const { organization } = actorOf(c);
			const id = c.req.param("id");
			const rows = await access.users.invitations(organization, nowMs());
			const found = rows.find((row) => invitationId(row) === id);
			if (!found) throw notFound(`no invitation ${id} is open here`);
			await access.users.uninvite(organization, found.sha256, [audited(c, id)]);
			return c.body(null, 204);
		})
		.get("/api/invitations/:invitation", async (c) => {
			const { access, nowMs } = c.get("accounts");
			const hash = await sha256(c.req.param("invitation"));
			const found = await access.users.findInvitation(hash, nowMs());
			const organization = found && (await access.users.organization(found.organization));
			if (!found || !organization)
				throw notFound("this invitation was used, withdrawn or is past its end");
			return c.json({
				organization: organization.name,
				role: found.role,
				expires: new Date(found.expiresMs).toISOString(),
				next:
					"sign up with POST /api/auth/sign-up/email {name, email, password, invitation}, or signed in: " +
					"POST /api/invitations/accept {invitation}; the invitation is the last part of this link",
			});
		})
		.post("/api/invitations/accept", async (c) => {
			const actor = actorOf(c);
			const { invitation } = await bodyOf(c, acceptSchema);
			const user = { id: actor.user, name: actor.name };
			return c.json({ organization: await acceptInvitation(c, await sha256(invitation), user) });
		});
}

/** Whether it was taken; where not, the log says why, and the link can be passed on all the same. */
async function isMailed(c: AccountsContext, row: InvitationRow, link: string, to: string) {
	const { access, publicUrl } = c.get("accounts");
	const organization = await access.users.organization(row.organization);
	const letter = {
		...({ kind: "invite", to, role: row.role, link } as const),
		by: actorOf(c).name,
		organization: organization?.name ?? row.organization,
		expires: new Date(row.expiresMs).toISOString(),
	};
	const mail = must(access.mail, "an address is taken only where mail is sent");
	const sending = mail(mailOf(letter, publicUrl));
	access.background(sending);
	return sending.then(
		() => true,
		() => false,
	);
}

/** The member that the path names. Owners are made, changed and removed by owners alone. */
async function memberOf(c: AccountsContext, becoming: readonly Actor["role"][]): Promise<string> {
	const actor = actorOf(c);
	const id = c.req.param("user") ?? "";
	const rows = await c.get("accounts").access.users.members(actor.organization);
	const found = rows.find((row) => row.user === id);
	if (!found) throw notFound(`no member ${id}: GET /api/organizations/ID/members lists them`);
	const isAboutOwner = found.role === "owner" || becoming.includes("owner");
	if (isAboutOwner && actor.role !== "owner") throw ownersOnly();
	return id;
}

const ownersOnly = () =>
	forbidden("this takes the role owner: owners are made and changed by owners alone");

const lastOwner = () =>
	conflict(
		"an organization needs an owner: make another member owner first, or delete the organization",
	);

const invitationId = (row: InvitationRow) => row.sha256.slice(0, 20);

function showInvitation(row: InvitationRow) {
	return {
		id: invitationId(row),
		role: row.role,
		note: row.note,
		invitedBy: row.invitedBy,
		created: new Date(row.createdMs).toISOString(),
		expires: new Date(row.expiresMs).toISOString(),
	};
}
