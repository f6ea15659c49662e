// Who is asking: the socket's file permissions are trust, TCP takes a token or a session. Without one, no answer but to
// what is open to all.

import type { ClusterId } from "../../model/id.ts";
import type { TokenRow } from "../store/tokens.ts";
import type { Access } from "./access.ts";
import { type Actor, atSocket, isMemberRole, lesserOf, owner } from "./actor.ts";
import type { Right } from "./rights.ts";
import { sessionCookie, sessionHash } from "./signin.ts";
import { sha256 } from "./tokens.ts";

export interface Asking {
	readonly request: Request;
	readonly via: "socket" | "tcp";
	readonly nowMs: number;
	/** The fingerprint of the client's certificate, whose key it has proved to have. */
	readonly certificate?: string;
	/** Which of a user's organizations is meant, where the request says so. */
	readonly organization?: string;
	/** Else the one that has the cluster which the request names, if it is the user's; else their oldest. */
	organizationOfCluster(): Promise<string | undefined>;
}

export async function authenticate(asking: Asking, access: Access): Promise<Actor | undefined> {
	if (asking.via === "socket") return atSocket;
	const { headers } = asking.request;
	const token = tokenOf(headers.get("Authorization") ?? "");
	if (token !== undefined) {
		return (
			(await actorOfToken(await sha256(token), access, asking.nowMs)) ??
			actorOfSession(token, access, asking)
		);
	}
	if (asking.certificate !== undefined) {
		return actorOfToken(asking.certificate, access, asking.nowMs, "certificate");
	}
	const cookie = cookieOf(headers.get("Cookie") ?? "");
	if (cookie === undefined || isForeign(asking.request)) return undefined;
	return actorOfSession(cookie, access, asking);
}

/** Without an organization a user can do no more than make one, join one, or leave. */
async function actorOfSession(
	token: string,
	{ users }: Access,
	{ nowMs, organization, organizationOfCluster }: Asking,
): Promise<Actor | undefined> {
	const found = await users.findSession(await sessionHash(token), nowMs);
	if (!found) return undefined;
	const { memberships } = found;
	const of = (id: string | undefined) => memberships.find((each) => each.organization === id);
	const isOpen = organization === undefined && memberships.length > 1;
	const chosen =
		organization === undefined
			? ((isOpen ? of(await organizationOfCluster()) : undefined) ?? memberships[0])
			: of(organization);
	const role = chosen && isMemberRole(chosen.role) ? chosen.role : undefined;
	return {
		kind: "user",
		id: found.user,
		name: found.userName,
		organization: chosen?.organization ?? "",
		role: role ?? "viewer",
		clusters: "all",
		user: found.user,
		scopes: role ? "all" : ["account"],
		session: found.id,
	};
}

function cookieOf(header: string): string | undefined {
	for (const pair of header.split(/;\s*/)) {
		const [name = "", value = ""] = pair.split("=", 2);
		// The token's signature stands behind the dot; that it is known here says more.
		if (name.replace(/^__Secure-/, "") === sessionCookie) return value.split(".", 1)[0];
	}
	return undefined;
}

/** Browsers add cookies to what a page of another site asks for. */
function isForeign(request: Request): boolean {
	const origin = request.headers.get("Origin");
	if (origin === null) return false;
	const host = /^https?:\/\/([^/]+)$/.exec(origin)?.[1];
	return host !== new URL(request.url).host;
}

async function actorOfToken(
	hash: string,
	{ tokens }: Access,
	nowMs: number,
	kind = "secret",
): Promise<Actor | undefined> {
	const found = await tokens.find(hash);
	if (found?.kind !== kind || (found.expiresMs !== null && found.expiresMs <= nowMs))
		return undefined;
	const { role, memberRole } = found;
	if (!isMemberRole(role) || !isMemberRole(memberRole)) return undefined;
	await tokens.used(found, nowMs);
	return {
		kind: "token",
		id: tokenId(found),
		name: found.name,
		organization: found.organization,
		role: lesserOf(role, memberRole),
		clusters: found.clusters === null ? "all" : (JSON.parse(found.clusters) as ClusterId[]),
		user: found.user,
		scopes: found.scopes === null ? "all" : (JSON.parse(found.scopes) as Right[]),
	};
}

/** The hash's beginning: of what nobody can guess, it gives nothing away. */
export const tokenId = ({ sha256: hash }: Pick<TokenRow, "sha256">) => hash.slice(0, 20);

/** The owner's token: the first way in, from the file or the secret that this control plane was started with. */
export async function putOwnerToken(access: Access, token: string, nowMs: number): Promise<void> {
	await access.users.ensureOwner(nowMs);
	await access.tokens.put({
		sha256: await sha256(token),
		organization: owner,
		user: owner,
		name: owner,
		kind: "secret",
		role: "owner",
		scopes: null,
		clusters: null,
		createdMs: nowMs,
		expiresMs: null,
		usedMs: null,
	});
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

/** @param byPath the same cluster at the host that cookies are of, where that is another */
export function unauthorized(given: boolean, byPath?: string): Response {
	const message = given
		? "this token is not known here, was revoked or is past its end. The owner's is in the file `token` of the control " +
			"plane's data directory; whoever is known here makes one with POST /api/tokens"
		: "this endpoint wants a token. It is in the file `token` of the control plane's data directory; send it as " +
			"`Authorization: Bearer TOKEN`. With docker 27.1 or later: export DOCKER_CUSTOM_HEADERS='Authorization=Bearer TOKEN'; " +
			'with any: {"HttpHeaders": {"Authorization": "Bearer TOKEN"}} in config.json. ' +
			"On the control plane's own machine its unix socket needs none" +
			(byPath
				? `. A cookie is of the host that set it: a browser that signed in there asks at ${byPath}`
				: "");
	return Response.json(
		{ message },
		{
			status: 401,
			// Exactly this: with a charset behind it, the CLI shows the raw JSON.
			headers: { "Content-Type": "application/json", "WWW-Authenticate": "Bearer" },
		},
	);
}
