// Tokens: join tokens in Docker's form, agents' credentials, the owner's token. Web crypto only.
//
// A join token is never stored: it is derived from the server's key, and the database keeps its hash. So it can be shown
// whenever somebody asks, and a copy of the database lets nobody in.

import type { Cluster } from "../../model/cluster.ts";
import { unavailable } from "../../model/errors.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import type { Role } from "../../model/node.ts";

export type ServerKey = CryptoKey;

export function importServerKey(secret: string): Promise<ServerKey> {
	const bytes = new TextEncoder().encode(secret);
	return crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-512" }, false, ["sign"]);
}

/** `SWMTKN-1-<50: the cluster>-<25: the secret>`, as Docker writes them and its tools expect them. */
export async function joinToken(
	key: ServerKey,
	cluster: ClusterId,
	role: Role,
	epoch: number,
): Promise<string> {
	const name = await base36(key, `cluster ${cluster}`, 50);
	const secret = await base36(key, `join ${cluster} ${role} ${epoch}`, 25);
	return `SWMTKN-1-${name}-${secret}`;
}

export const joinTokenForm = /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/;

/** The token as derived, if it is the one that the cluster accepts. */
export async function currentJoinToken(
	key: ServerKey,
	cluster: Cluster,
	role: Role,
): Promise<string> {
	const { epoch, sha256: accepted } = cluster.tokens[role];
	const token = await joinToken(key, cluster.id, role, epoch);
	if ((await sha256(token)) === accepted) return token;
	throw unavailable(
		"this control plane's key is not the one that made the join tokens: start it with the SKEIN_KEY or the data " +
			`directory of the one that did, or make new tokens with \`docker swarm join-token --rotate ${role}\``,
	);
}

/** The role's tokens of the next epoch. */
export async function nextTokens(
	key: ServerKey,
	id: ClusterId,
	tokens: Cluster["tokens"],
	roles: readonly Role[],
): Promise<Cluster["tokens"]> {
	const next = async (role: Role) => {
		if (!roles.includes(role)) return tokens[role];
		const epoch = tokens[role].epoch + 1;
		return { epoch, sha256: await sha256(await joinToken(key, id, role, epoch)) };
	};
	return { worker: await next("worker"), manager: await next("manager") };
}

/** An agent's: names its node, so that we can tell a removed one from an unknown one. */
export function newCredential(node: NodeId): string {
	return `SKEIN-NODE.${node}.${randomHex()}`;
}

export function nodeOfCredential(credential: string): NodeId | undefined {
	return /^SKEIN-NODE\.([0-9a-z]{25})\.[0-9a-f]{64}$/.exec(credential)?.[1] as NodeId | undefined;
}

export function newOwnerToken(): string {
	return `skein-${randomHex()}`;
}

/** Secrets of 256 random bits need no salt and no slow hash: nobody can guess what to hash. */
export async function sha256(text: string): Promise<string> {
	const bytes = new TextEncoder().encode(text);
	return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

function randomHex(): string {
	return hex(crypto.getRandomValues(new Uint8Array(32)));
}

function hex(bytes: Uint8Array): string {
	return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** 25 characters carry 129 bits; that 256 is no multiple of 36 costs a fraction of one. */
async function base36(key: ServerKey, message: string, length: number): Promise<string> {
	const signed = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(message));
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";
	return [...new Uint8Array(signed)]
		.slice(0, length)
		.map((byte) => alphabet[byte % 36])
		.join("");
}
