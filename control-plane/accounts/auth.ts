// Who is asking: the socket's file permissions are trust, TCP takes a token. Without one, no answer but `_ping`.

import type { ClusterId } from "../../model/id.ts";
import type { Accounts } from "../store/accounts.ts";
import { sha256 } from "./tokens.ts";

/** The account of whoever installed this control plane; there are no others yet. */
export const owner = "owner";

export interface Caller {
	readonly account: string;
	readonly cluster: ClusterId | null;
}

export async function authenticate(
	request: Request,
	via: "socket" | "tcp",
	accounts: Accounts,
): Promise<Caller | undefined> {
	if (via === "socket") {
		return { account: owner, cluster: (await accounts.clusterOf(owner)) ?? null };
	}
	const token = tokenOf(request.headers.get("Authorization") ?? "");
	return token === undefined ? undefined : accounts.findToken(await sha256(token));
}

/** `Bearer TOKEN`, or Basic with the token as the password, whatever the user's name: some clients know only that. */
export function tokenOf(header: string): string | undefined {
	const [, scheme = "", value = ""] = /^(\S+) +(\S+)$/.exec(header.trim()) ?? [];
	if (scheme.toLowerCase() === "bearer") return value;
	if (scheme.toLowerCase() !== "basic") return undefined;
	try {
		const text = atob(value);
		return text.includes(":") ? text.slice(text.indexOf(":") + 1) : undefined;
	} catch {
		return undefined;
	}
}

export function unauthorized(given: boolean): Response {
	const message = given
		? "this token is not known here. The right one is in the file `token` of the control plane's data directory"
		: "this endpoint wants a token. It is in the file `token` of the control plane's data directory; send it as " +
			"`Authorization: Bearer TOKEN`. With docker 27.1 or later: export DOCKER_CUSTOM_HEADERS='Authorization=Bearer TOKEN'; " +
			'with any: {"HttpHeaders": {"Authorization": "Bearer TOKEN"}} in config.json. ' +
			"On the control plane's own machine its unix socket needs none";
	return Response.json(
		{ message },
		{
			status: 401,
			// Exactly this: with a charset behind it, the CLI shows the raw JSON.
			headers: { "Content-Type": "application/json", "WWW-Authenticate": "Bearer" },
		},
	);
}
