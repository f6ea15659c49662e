// Tokens: join tokens in Docker's form, agents' credentials, the owner's token. Web crypto only.
//
// A join token is never stored: it is derived from a key of the cluster's, and the database keeps its hash. So it can be
// shown whenever somebody asks, and a copy of the database lets nobody in.

import type { Cluster } from "../../model/cluster.ts";
import { unavailable } from "../../model/errors.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import type { Role } from "../../model/node.ts";

/** What a cluster's join tokens are derived from. */
export interface JoinKey {
	readonly hmac: CryptoKey;
	/** Answers that are not the key's own: of tokens made before the cluster had it. */
	readonly said: Readonly<Record<string, string>>;
}

export async function importJoinKey(
	secret: string,
	said: Readonly<Record<string, string>> = {},
): Promise<JoinKey> {
	const bytes = new TextEncoder().encode(secret);
	const algorithm = { name: "HMAC", hash: "SHA-512" };
	return { hmac: await crypto.subtle.importKey("raw", bytes, algorithm, false, ["sign"]), said };
}

/** `SWMTKN-1-<50: the cluster>-<25: the secret>`, as Docker writes them and its tools expect them. */
export async function joinToken(
	{ hmac, said }: JoinKey,
	cluster: ClusterId,
	role: Role,
	epoch: number,
): Promise<string> {
	const parts = joinMessages(cluster, role, epoch).map(
		async ([message, length]) => said[message] ?? keyedBase36(hmac, message, length),
	);
	const [name, secret] = await Promise.all(parts);
	return `SWMTKN-1-${name}-${secret}`;
}

/** What a token's two parts are derived from, and how long they are. */
export function joinMessages(
	cluster: ClusterId,
	role: Role,
	epoch: number,
): readonly (readonly [message: string, length: number])[] {
	return [
		[`cluster ${cluster}`, 50],
		[`join ${cluster} ${role} ${epoch}`, 25],
	];
}

export const joinTokenForm = /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/;

/** The token as derived, if it is the one that the cluster accepts. */
export async function currentJoinToken(
	key: JoinKey,
	cluster: Cluster,
	role: Role,
): Promise<string> {
	const { epoch, sha256: accepted } = cluster.tokens[role];
	const token = await joinToken(key, cluster.id, role, epoch);
	if ((await sha256(token)) === accepted) return token;
	throw unavailable(
		"the key that this cluster's join tokens came from is lost: make new tokens with " +
			`\`docker swarm join-token --rotate ${role}\``,
	);
}

/** The role's tokens of the next epoch. */
export async function nextTokens(
	key: JoinKey,
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

/** The last part of an invitation's link. */
export function newInvitation(): string {
	return randomHex();
}

/** Of a form that scanners for leaked secrets can be told of. */
export function newApiToken(): string {
	return `skein_${randomHex()}`;
}

/** Secrets of 256 random bits need no salt and no slow hash: nobody can guess what to hash. */
export async function sha256(text: string): Promise<string> {
	const bytes = new TextEncoder().encode(text);
	return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

function randomHex(): string {
	return hex(crypto.getRandomValues(new Uint8Array(32)));
}

export function hex(bytes: Uint8Array): string {
	return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** 25 characters carry 129 bits; that 256 is no multiple of 36 costs a fraction of one. */
export async function keyedBase36(
	key: CryptoKey,
	message: string,
	length: number,
): Promise<string> {
	const signed = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(message));
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";
	return [...new Uint8Array(signed)]
		.slice(0, length)
		.map((byte) => alphabet[byte % 36])
		.join("");
}
