// Mail, by an HTTP call: the edge has no SMTP. The shape is that of Resend's API; docs/operations.md says how other
// services and SMTP are reached.

import { z } from "zod";
import { messageOf } from "../../model/errors.ts";

export interface Mail {
	readonly to: string;
	readonly subject: string;
	readonly text: string;
}

export interface MailSettings {
	/** Takes a POST of `{from, to, subject, text}` with a bearer token. */
	readonly url: string;
	readonly token: string;
	/** `Skein <skein@example.com>` */
	readonly from: string;
}

export interface MailVariables {
	readonly SKEIN_MAIL_URL?: string | undefined;
	readonly SKEIN_MAIL_TOKEN?: string | undefined;
	readonly SKEIN_MAIL_FROM?: string | undefined;
	readonly SKEIN_URL?: string | undefined;
}

/** Undefined where no mail is sent. Throws what is wrong with them, by name. */
export function mailSettings(variables: MailVariables): MailSettings | undefined {
	const { SKEIN_MAIL_URL: url, SKEIN_MAIL_TOKEN: token, SKEIN_MAIL_FROM: from } = variables;
	// A secret stays where it was put, whatever becomes of the rest.
	if (!url && !from) return undefined;
	if (!url || !token || !from) {
		throw new Error("SKEIN_MAIL_URL, SKEIN_MAIL_TOKEN, SKEIN_MAIL_FROM: give all three, or none");
	}
	if (!z.url({ protocol: /^https?$/ }).safeParse(url).success) {
		throw new Error(`SKEIN_MAIL_URL: ${url} is no URL such as https://api.resend.com/emails`);
	}
	if (!/^([^<>]+<[^\s<>@]+@[^\s<>@]+>|[^\s<>@]+@[^\s<>@]+)$/.test(from)) {
		throw new Error(`SKEIN_MAIL_FROM: ${from} is no address such as Skein <skein@example.com>`);
	}
	// Else whoever asks would say by a header where links in others' mails lead.
	if (!variables.SKEIN_URL) {
		throw new Error("SKEIN_MAIL_URL: set SKEIN_URL too, where links in mails lead");
	}
	return { url, token, from };
}

const timeoutMs = 15_000;

/** Throws when the service did not take it. */
export async function sendMail({ url, token, from }: MailSettings, mail: Mail): Promise<void> {
	let reply: Response;
	try {
		reply = await fetch(url, {
			method: "POST",
			headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
			body: JSON.stringify({ from, ...mail }),
			redirect: "manual",
			signal: AbortSignal.timeout(timeoutMs),
		});
	} catch (cause) {
		throw new Error(`SKEIN_MAIL_URL cannot be reached: ${messageOf(cause)}`, { cause });
	}
	const said = await reply.text();
	if (reply.ok) return;
	throw new Error(`SKEIN_MAIL_URL did not take a mail: ${reply.status} ${said.slice(0, 300)}`);
}
