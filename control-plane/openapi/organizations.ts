// Described: organizations, their members and invitations, tokens, the audit log.

import { z } from "zod";
import { limitNames } from "../../model/limits.ts";
import { tokenSchema } from "../accounts/apitokens.ts";
import {
	acceptSchema,
	changeSchema,
	inviteSchema,
	limitsSchema,
	nameSchema,
	roleSchema,
} from "../accounts/organizations.ts";
import type { Group } from "./describe.ts";
import { allOr, membership, right, role, time } from "./people.ts";

z.globalRegistry.add(tokenSchema, { id: "NewToken" });

const limits = z
	.record(z.enum(limitNames), z.int().nullable())
	.describe("null is as much as they like")
	.meta({ id: "Limits" });

const beside = z.object({ used: z.int(), limit: z.int().nullable() });
export const usage = (...names: readonly string[]) =>
	z.object(Object.fromEntries(names.map((name) => [name, beside])));

const organization = z
	.object({
		id: z.string(),
		name: z.string(),
		role: role.describe("the caller's"),
		auditDays: z.int().describe("for so long the audit log is kept"),
		limits,
		created: time,
	})
	.meta({ id: "Organization" });

const member = z
	.object({
		user: z.string(),
		name: z.string().nullable(),
		email: z.string().nullable(),
		role,
		since: time,
	})
	.meta({ id: "Member" });

const invitation = z
	.object({
		id: z.string(),
		role,
		note: z.string(),
		invitedBy: z.string(),
		created: time,
		expires: time,
	})
	.meta({ id: "Invitation" });

const newInvitation = invitation.extend({
	invitation: z.string().describe("shown this once"),
	link: z.string(),
	mailed: z.boolean().optional().describe("whether the mail was taken"),
});

const token = z
	.object({
		id: z.string(),
		name: z.string(),
		kind: z.enum(["secret", "certificate"]),
		user: z.string(),
		organization: z.string(),
		role,
		scopes: allOr(right),
		clusters: allOr(z.string()).describe("their ids"),
		created: time,
		expires: time.nullable(),
		lastUsed: time.nullable(),
	})
	.meta({ id: "Token" });

const entry = z
	.object({
		time,
		actor: z.object({
			kind: z.string(),
			id: z.string(),
			name: z.string(),
			user: z.string(),
		}),
		action: z.string().describe("the route: POST /services/create"),
		target: z.string(),
		cluster: z.string().nullable(),
		from: z.object({ address: z.string(), agent: z.string() }),
		status: z.int().nullable().describe("null: how it ended is not known"),
	})
	.meta({ id: "AuditEntry" });

const member204 = { 204: null };

export const organizations: Group = {
	name: "Organizations",
	about: "Who belongs where, as what; invitations; how much there may be.",
	routes: {
		"GET /api/organizations": {
			does: "List the organizations that the caller belongs to",
			answers: { 200: z.array(membership) },
		},
		"POST /api/organizations": {
			does: "Make an organization",
			more: "Where sign-up is open.",
			body: nameSchema,
			answers: { 201: membership },
		},
		"GET /api/organizations/:organization": {
			does: "Look at an organization",
			answers: { 200: organization },
		},
		"PATCH /api/organizations/:organization": {
			does: "Change an organization's name, or for how long its audit log is kept",
			body: changeSchema,
			answers: { 204: null },
		},
		"DELETE /api/organizations/:organization": {
			does: "Delete an organization, and all that is its own",
			answers: { 204: null },
		},
		"GET /api/organizations/:organization/limits": {
			does: "How much an organization may have",
			answers: { 200: limits },
		},
		"PUT /api/organizations/:organization/limits": {
			does: "Set how much an organization may have",
			more: "Whole: what is left out is as the settings have it.",
			body: limitsSchema,
			answers: { 200: limits },
		},
		"GET /api/organizations/:organization/usage": {
			does: "What an organization has, beside what it may have",
			answers: { 200: usage("clusters") },
		},
		"GET /api/organizations/:organization/members": {
			does: "List an organization's members",
			answers: { 200: z.array(member) },
		},
		"PATCH /api/organizations/:organization/members/:user": {
			does: "Change a member's role",
			more: "Owners are made and changed by owners alone.",
			body: roleSchema,
			answers: member204,
		},
		"DELETE /api/organizations/:organization/members/:user": {
			does: "Remove a member, or leave",
			more: "Of others it takes the right `members`.",
			answers: member204,
		},
		"GET /api/organizations/:organization/invitations": {
			does: "List the open invitations",
			answers: { 200: z.array(invitation) },
		},
		"POST /api/organizations/:organization/invitations": {
			does: "Invite somebody",
			body: inviteSchema,
			answers: { 201: newInvitation },
		},
		"DELETE /api/organizations/:organization/invitations/:id": {
			does: "Withdraw an invitation",
			answers: { 204: null },
		},
		"GET /api/invitations/:invitation": {
			does: "What an invitation leads to; for whoever has its link",
			answers: {
				200: z.object({ organization: z.string(), role, expires: time, next: z.string() }),
			},
		},
		"POST /api/invitations/accept": {
			does: "Accept an invitation, signed in",
			body: acceptSchema,
			answers: { 200: z.object({ organization: z.string() }) },
		},
	},
};

export const tokens: Group = {
	name: "Tokens",
	about:
		"Credentials for programs. Each is some user's, and never may more than that user may. The docker CLI needs the scope `read` besides what it is to do.",
	routes: {
		"GET /api/tokens": {
			does: "List API tokens",
			more: "One's own; everybody's with the right `tokens`.",
			answers: { 200: z.array(token) },
		},
		"POST /api/tokens": {
			does: "Make an API token",
			more: "With `certificate` that is the credential, and no secret is made.",
			body: tokenSchema,
			answers: { 201: token.extend({ token: z.string().optional().describe("shown this once") }) },
		},
		"DELETE /api/tokens/:id": { does: "End an API token", answers: { 204: null } },
	},
};

export const audit: Group = {
	name: "Audit log",
	about: "Every change, every sign-in, every refused right.",
	routes: {
		"GET /api/audit": {
			does: "The organization's audit log, the newest first",
			more: "Organizations and accounts that were deleted are in that of whoever runs the control plane.",
			query: z.object({
				since: time.optional(),
				until: time.optional(),
				actor: z.string().optional().describe("an id, or a user's"),
				cluster: z.string().optional().describe("its id"),
				limit: z.int().min(1).max(1000).default(100),
				before: z.string().optional().describe("what the page before had as `next`"),
				format: z.literal("ndjson").optional().describe("all of them, a line each"),
			}),
			answers: { 200: z.object({ entries: z.array(entry), next: z.string().nullable() }) },
		},
	},
};
