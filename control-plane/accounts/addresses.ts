// What mail is for: a new password where the old one is forgotten, and whose an address is. Where no mail is sent, whoever
// runs this control plane hands out the codes.

import { Hono } from "hono";
import { z } from "zod";
import { conflict, invalid, notFound } from "../../model/errors.ts";
import { owner } from "./actor.ts";
import {
	type AccountsContext,
	type AccountsEnv,
	actorOf,
	auditedRow,
	bodyOf,
	noMail,
} from "./door.ts";
import { actorFor, asked, personalRows, requestWith, unknown } from "./people.ts";
import { codeMinutes } from "./signin.ts";

const email = z.email().max(254);
export const emailSchema = z.strictObject({ email });
export const resetSchema = z.strictObject({
	token: z.string().trim().max(200),
	newPassword: z.string(),
});
export const changeSchema = z.strictObject({ newEmail: email });
export const nothingSchema = z.strictObject({});

/** So many for one address within an hour: nobody's mailbox is filled by others. */
const mostCodes = 3;

export function addressRoutes(): Hono<AccountsEnv> {
	return new Hono<AccountsEnv>()
		.post("/api/auth/request-password-reset", async (c) => {
			const { access, nowMs, tooOften } = c.get("accounts");
			const body = await bodyOf(c, emailSchema);
			if (!access.mail) {
				throw noMail(
					"ask whoever runs this control plane for a code: POST /api/users/password-reset {email} gives them one",
				);
			}
			const address = body.email.toLowerCase();
			const late = await tooOften("mail", address);
			if (late) return late;
			const tried = await access.users.findByEmail(address);
			const open = await access.users.openCodes(tried?.id ?? "", nowMs());
			if (open < mostCodes) await asked(c, requestWith(c, body));
			await access.audit.write(...(await personalRows(c, unknown(tried?.id), { target: address })));
			return c.json({
				status: true,
				message: `if ${address} has an account here, a code is on its way there, good for ${codeMinutes} minutes`,
			});
		})
		.post("/api/auth/reset-password", async (c) => {
			const { access } = c.get("accounts");
			const body = await bodyOf(c, resetSchema);
			let user: string | undefined;
			const reply = await asked(c, requestWith(c, body), {
				onReset: (id) => {
					user = id;
				},
			});
			if (user === undefined) {
				await access.audit.write(...(await personalRows(c, unknown(), { status: reply.status })));
				return reply.status === 400 ? refused(reply) : reply;
			}
			const rows = await rowsAbout(c, user, {});
			await access.users.endCodes(user, rows.map(access.audit.statement));
			return c.json({ status: true });
		})
		.post("/api/users/password-reset", async (c) => {
			const { access } = c.get("accounts");
			const body = await bodyOf(c, emailSchema);
			const address = body.email.toLowerCase();
			const found = await access.users.findByEmail(address);
			if (!found) throw notFound(`email: nobody has ${address} here`);
			let code: string | undefined;
			const reply = await asked(c, requestWith(c, body, "/api/auth/request-password-reset"), {
				onLetter(letter) {
					if (letter.kind === "reset") code = letter.code;
				},
			});
			if (code === undefined) return reply;
			const rows = await personalRows(c, actorOf(c), { target: found.id, status: 201 }, found.id);
			if (!rows.some(({ organization }) => organization === owner)) {
				rows.push(auditedRow(c, found.id, owner, 201));
			}
			await access.audit.write(...rows);
			return c.json({ code, minutes: codeMinutes }, 201);
		})
		.post("/api/auth/send-verification-email", async (c) => {
			const { access, tooOften } = c.get("accounts");
			await bodyOf(c, nothingSchema);
			if (!access.mail) throw noMail("an address cannot be verified here");
			const actor = actorOf(c);
			const late = await tooOften("mail", actor.user);
			if (late) return late;
			const user = await access.users.find(actor.user);
			if (user?.emailVerified) throw conflict(`${user.email} is verified already`);
			return asked(c, requestWith(c, { email: user?.email }));
		})
		.post("/api/auth/change-email", async (c) => {
			const { access, tooOften } = c.get("accounts");
			const body = await bodyOf(c, changeSchema);
			if (!access.mail) throw noMail("whoever runs this control plane changes an address");
			const actor = actorOf(c);
			if (actor.kind !== "user") {
				throw invalid("this came with a token: sign in, and change your address with the session");
			}
			const late = await tooOften("mail", actor.user);
			if (late) return late;
			const reply = await asked(c, requestWith(c, body));
			const deed = { target: body.newEmail, status: reply.status };
			await access.audit.write(...(await personalRows(c, actor, deed)));
			return reply;
		})
		.get("/api/auth/verify-email", async (c) => {
			const { access, publicUrl } = c.get("accounts");
			let verified: { readonly id: string; readonly email: string } | undefined;
			let opened: { readonly user: string; readonly session: string } | undefined;
			const { searchParams } = new URL(c.req.url);
			const token = new URLSearchParams({ token: searchParams.get("token") ?? "" });
			const link = `${publicUrl}/api/auth/verify-email?${token.toString()}`;
			const reply = await asked(c, new Request(link), {
				onVerified(user) {
					verified = user;
				},
				onSession(user, session) {
					opened = { user, session };
				},
			});
			// That a mail reached somebody makes an address theirs; it signs nobody in.
			if (opened) await access.users.endSession(opened.user, opened.session, []);
			if (!reply.ok) {
				throw invalid(
					"token: this link is past its end, or not whole, or what it is about has changed: ask for another",
				);
			}
			if (!verified) return c.json({ status: true });
			const rows = await rowsAbout(c, verified.id, { target: verified.email });
			await access.audit.write(...rows);
			return c.json({ status: true, email: verified.email });
		});
}

/** By whoever has their mail. */
async function rowsAbout(c: AccountsContext, id: string, deed: { readonly target?: string }) {
	const name = (await c.get("accounts").access.users.find(id))?.name ?? "";
	return personalRows(c, actorFor({ id, name }, "", "viewer"), { target: id, ...deed });
}

/** The library's word on a password; a code that is good no more it calls invalid. */
async function refused(reply: Response): Promise<Response> {
	const { code, message } = (await reply.json()) as { code?: string; message?: string };
	if (code?.startsWith("PASSWORD_")) throw invalid(`newPassword: ${message}`);
	throw invalid(
		`token: this code was used, is past its end (${codeMinutes} minutes), or is none: ask for another`,
	);
}
