// What is known of people, tokens and what they did: three stores in the directory database, the way in, and mail.

import { type Audit, openAudit } from "../store/audit.ts";
import type { Database } from "../store/client.ts";
import { openTokens, type Tokens } from "../store/tokens.ts";
import { openUsers, type Users } from "../store/users.ts";
import { type Mail, sendMail } from "./mail.ts";
import { type SignInSettings, type SigningIn, signIn } from "./signin.ts";

export interface Access {
	readonly tokens: Tokens;
	readonly users: Users;
	readonly audit: Audit;
	readonly signUp: SignInSettings["signUp"];
	/** The sign-in library's answer to a request under `/api/auth`. */
	signIn(request: Request, at: SigningIn): Promise<Response>;
	/** Where this control plane sends mail. Throws when the service did not take it. */
	readonly mail?: (mail: Mail) => Promise<void>;
	/** Goes on after the answer; what goes wrong is in the log. */
	background(work: Promise<void>): void;
}

export function openAccess(
	database: Database,
	settings: SignInSettings,
	background: Access["background"],
): Access {
	const { mail } = settings;
	return {
		tokens: openTokens(database),
		users: openUsers(database),
		audit: openAudit(database),
		signUp: settings.signUp,
		signIn: (request, at) => signIn(database, settings, request, at),
		...(mail && { mail: (each) => sendMail(mail, each) }),
		background,
	};
}
