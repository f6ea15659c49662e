// What is mailed to people, in words. Names that others chose stand in one line, in quotes.

import type { Mail } from "./mail.ts";

export type Letter =
	| { readonly kind: "reset"; readonly to: string; readonly code: string }
	/** Whose address it is proves whoever follows the link. */
	| { readonly kind: "verify"; readonly to: string; readonly token: string }
	/** To the address before, which has to agree. */
	| {
			readonly kind: "change";
			readonly to: string;
			readonly becoming: string;
			readonly token: string;
	  }
	| {
			readonly kind: "invite";
			readonly to: string;
			readonly by: string;
			readonly organization: string;
			readonly role: string;
			readonly link: string;
			readonly expires: string;
	  };

/** @param url of this control plane */
export function mailOf(letter: Letter, url: string): Mail {
	const { to } = letter;
	const { host } = new URL(url);
	const link = (token: string) =>
		`${url}/api/auth/verify-email?${new URLSearchParams({ token }).toString()}`;
	switch (letter.kind) {
		case "reset":
			return {
				to,
				subject: `A new password for ${host}`,
				text: `Somebody asked for a new password for ${to} at ${url}.

Your code is ${letter.code}

It is good once, within an hour:

  docker skein password ${url} --code ${letter.code}

A new password ends all your sessions; API tokens stay. If you did not ask, do nothing: your password stays as it is.
`,
			};
		case "verify":
			return {
				to,
				subject: `Is this your address? (${host})`,
				text: `Somebody gave ${to} as theirs at ${url}. If that was you, this link proves it, within an hour:

${link(letter.token)}

If it was not, do nothing.
`,
			};
		case "change":
			return {
				to,
				subject: `Another address for your account at ${host}`,
				text: `Somebody signed in as you asked for ${letter.becoming} in place of ${to} at ${url}.
If that was you, this link agrees, within an hour; a mail to the new address follows:

${link(letter.token)}

If it was not, change your password, and look at your sessions: GET ${url}/api/account/sessions
`,
			};
		case "invite":
			return {
				to,
				subject: `An invitation to ${host}`,
				text: `${quoted(letter.by)} invites you to the organization ${quoted(letter.organization)} at ${url}, as ${letter.role}.
The link says how to accept, once, until ${letter.expires}:

${letter.link}
`,
			};
	}
}

const quoted = (name: string) => JSON.stringify(name.replaceAll(/\s+/g, " "));
