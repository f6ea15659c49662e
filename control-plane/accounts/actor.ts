// Who asks: somebody at the socket, a person with a session, or a token, in one organization and with one role there.

import type { ClusterId } from "../../model/id.ts";
import type { Right } from "./rights.ts";

/** Each may what the ones after it may, and more. */
export const memberRoles = ["owner", "admin", "developer", "viewer"] as const;

export type MemberRole = (typeof memberRoles)[number];

export interface Actor {
	readonly kind: "socket" | "user" | "token";
	/** The user's, or the token's own. */
	readonly id: string;
	/** For people: the user's name, or what the token was called. */
	readonly name: string;
	/** The id of the organization that is acted for. */
	readonly organization: string;
	readonly role: MemberRole;
	/** Those of the organization that are in reach. */
	readonly clusters: "all" | readonly ClusterId[];
	/** Whose doing it is: a token acts for the user who made it. */
	readonly user: string;
	/** What of the role's rights a token has. */
	readonly scopes: "all" | readonly Right[];
	/** The session's, so that it can be told from the user's others. */
	readonly session?: string;
}

/** The organization of whoever installed this control plane, and its one owner. */
export const owner = "owner";

/** Whoever may open the socket owns what is behind it. */
export const atSocket: Actor = {
	kind: "socket",
	id: owner,
	name: owner,
	organization: owner,
	role: "owner",
	clusters: "all",
	user: owner,
	scopes: "all",
};

export function isMemberRole(text: string): text is MemberRole {
	return memberRoles.some((each) => each === text);
}

export function atLeast(role: MemberRole, least: MemberRole): boolean {
	return memberRoles.indexOf(role) <= memberRoles.indexOf(least);
}

/** A token never may more than whoever made it, whatever became of them since. */
export function lesserOf(one: MemberRole, other: MemberRole): MemberRole {
	return atLeast(one, other) ? other : one;
}
