// Described: signing up, in and out, and one's own account.

import { z } from "zod";
import { memberRoles } from "../accounts/actor.ts";
import { changeSchema, emailSchema, nothingSchema, resetSchema } from "../accounts/addresses.ts";
import { signInSchema, signUpSchema } from "../accounts/people.ts";
import { rights } from "../accounts/rights.ts";
import type { Group } from "./describe.ts";

export const role = z.enum(memberRoles).meta({ id: "Role" });
export const right = z.enum(rights as readonly [string]).meta({ id: "Right" });
export const allOr = (some: z.ZodType) => z.union([z.literal("all"), z.array(some)]);
export const time = z.iso.datetime();

const user = z
	.object({
		id: z.string(),
		name: z.string(),
		email: z.email(),
		emailVerified: z.boolean(),
		image: z.string().nullish(),
		createdAt: time,
		updatedAt: time,
	})
	.meta({ id: "User" });

const signedIn = z
	.object({
		token: z.string().nullable().describe("the session's: send it as Authorization: Bearer TOKEN"),
		user,
		redirect: z.boolean().optional(),
		url: z.string().nullish(),
	})
	.meta({ id: "SignedIn" });

const social = z.object({
	provider: z.literal("github"),
	callbackURL: z.string().optional().describe("where the browser goes afterwards"),
});
const goTo = z
	.object({ url: z.string(), redirect: z.boolean().optional() })
	.describe("the address to go to");

const status = z.object({ status: z.boolean() });

export const membership = z
	.object({ id: z.string(), name: z.string(), role })
	.meta({ id: "Membership" });

const account = z
	.object({
		id: z.string(),
		name: z.string().optional(),
		email: z.string().optional(),
		emailVerified: z.boolean().optional(),
		kind: z.enum(["socket", "user", "token"]),
		organization: z.string().describe("for which the caller acts"),
		role,
		scopes: allOr(right),
		clusters: allOr(z.string()),
		organizations: z.array(membership),
	})
	.meta({ id: "Account" });

const session = z
	.object({
		id: z.string(),
		created: time,
		expires: time,
		address: z.string().nullable(),
		agent: z.string().nullable(),
		isThis: z.boolean().describe("with which the caller asks"),
	})
	.meta({ id: "Session" });

export const people: Group = {
	name: "People",
	about:
		"Signing up, in and out; one's own account and sessions. An answer to signing in also sets a cookie.",
	routes: {
		"POST /api/auth/sign-up/email": {
			does: "Sign up",
			more: "Where sign-up is not open, it takes an invitation.",
			body: signUpSchema,
			answers: { 200: signedIn },
		},
		"POST /api/auth/sign-in/email": {
			does: "Sign in",
			body: signInSchema,
			answers: { 200: signedIn },
		},
		"POST /api/auth/sign-in/social": {
			does: "Begin to sign in by GitHub",
			body: social,
			answers: { 200: goTo },
		},
		"GET /api/auth/callback/:provider": {
			does: "Where GitHub sends the browser back to",
			query: z.object({ code: z.string().optional(), state: z.string().optional() }),
			answers: { 302: null },
		},
		"POST /api/auth/link-social": {
			does: "Let whoever is signed in come in by GitHub, too",
			body: social,
			answers: { 200: goTo },
		},
		"POST /api/auth/change-password": {
			does: "Change one's password",
			body: z.object({
				currentPassword: z.string(),
				newPassword: z.string().min(10),
				revokeOtherSessions: z.boolean().optional(),
			}),
			answers: { 200: signedIn },
		},
		"POST /api/auth/sign-out": {
			does: "End the session",
			answers: { 204: null },
		},
		"POST /api/auth/request-password-reset": {
			does: "Have a code mailed, for a new password",
			more: "The answer is the same, whether anybody has the address or not. A code is good once, for an hour.",
			body: emailSchema,
			answers: { 200: status.extend({ message: z.string() }) },
		},
		"POST /api/auth/reset-password": {
			does: "Set a new password by a code",
			more: "All sessions end, and other codes; API tokens stay.",
			body: resetSchema,
			answers: { 200: status },
		},
		"POST /api/users/password-reset": {
			does: "Make a code for somebody's new password, to be handed over",
			body: emailSchema,
			answers: { 201: z.object({ code: z.string(), minutes: z.int() }) },
		},
		"POST /api/auth/send-verification-email": {
			does: "Have a link mailed that proves one's address",
			body: nothingSchema,
			answers: { 200: status },
		},
		"POST /api/auth/change-email": {
			does: "Change one's address",
			more: "With a session only. A link is mailed to the address before, if that was proved, then one to the new.",
			body: changeSchema,
			answers: { 200: status.extend({ message: z.string().optional() }) },
		},
		"GET /api/auth/verify-email": {
			does: "What a mailed link leads to",
			more: "Good for an hour. It signs nobody in.",
			query: z.object({ token: z.string() }),
			answers: { 200: status.extend({ email: z.string().optional() }) },
		},
		"GET /api/account": { does: "Who is asking", answers: { 200: account } },
		"DELETE /api/account": {
			does: "Delete one's account",
			more: "With a session only. Organizations in which nobody else is go with it.",
			answers: { 204: null },
		},
		"GET /api/account/sessions": {
			does: "List one's sessions",
			answers: { 200: z.array(session) },
		},
		"DELETE /api/account/sessions/:id": {
			does: "End one of one's sessions",
			answers: { 204: null },
		},
	},
};
