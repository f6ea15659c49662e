// For clusters made before there were keyrings: keeps what was derived from the server's key, so that their tokens go
// on to be shown and their secrets to open when that key has been rotated away.

import type { Cluster } from "../../model/cluster.ts";
import { unavailable } from "../../model/errors.ts";
import type { Role } from "../../model/node.ts";
import { toBase64 } from "./base64.ts";
import type { Before } from "./keyring.ts";
import type { MasterKey, MasterKeys } from "./master.ts";
import { joinMessages, joinToken, keyedBase36, sha256 } from "./tokens.ts";

const roles: readonly Role[] = ["worker", "manager"];
const purposes = ["contents", "registries"];

/** From whichever keys made the tokens that the cluster accepts; one that lost its key once may have two. */
export async function beforeKeyrings(masters: MasterKeys, cluster: Cluster): Promise<Before> {
	const said: Record<string, string> = {};
	const makers: MasterKey[] = [];
	for (const master of masters.all) {
		for (const role of roles) {
			const { epoch, sha256: accepted } = cluster.tokens[role];
			const key = { hmac: master.signing, said: {} };
			if ((await sha256(await joinToken(key, cluster.id, role, epoch))) !== accepted) continue;
			for (const [message, length] of joinMessages(cluster.id, role, epoch)) {
				said[message] ??= await keyedBase36(master.signing, message, length);
			}
			if (!makers.includes(master)) makers.push(master);
		}
	}
	if (makers.length === 0) {
		const given = masters.all.map(({ id }) => id).join(", ");
		throw unavailable(
			"this cluster was made with another key than this control plane was given " +
				`(it has master key ${given}): start it with that key in SKEIN_KEY or SKEIN_OLD_KEYS (docs/runbooks/keys.md)`,
		);
	}
	const seals = await Promise.all(
		purposes.map(async (purpose) => {
			const keys = makers.map((master) => sealingKey(master.signing, cluster.id, purpose));
			return [purpose, await Promise.all(keys)] as const;
		}),
	);
	return { seals: Object.fromEntries(seals), said };
}

async function sealingKey(server: CryptoKey, cluster: string, purpose: string): Promise<string> {
	const drawn = await crypto.subtle.sign("HMAC", server, bytesOf(`seal ${purpose}`));
	const source = await crypto.subtle.importKey("raw", drawn, "HKDF", false, ["deriveBits"]);
	const algorithm = {
		name: "HKDF",
		hash: "SHA-256",
		salt: bytesOf(cluster),
		info: bytesOf(`skein ${purpose} 1`),
	};
	return toBase64(new Uint8Array(await crypto.subtle.deriveBits(algorithm, source, 256)));
}

const bytesOf = (text: string) => new TextEncoder().encode(text);
