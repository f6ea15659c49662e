// What two nodes of a mesh know and nobody else does, for what they say to each other there: out of their WireGuard keys.
//
// Who sends from a node's mesh address need not be its agent: the kernel lends the address to containers that reach out
// of their bridge. The private key they do not have.

import { createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from "node:crypto";
import { readFile } from "node:fs/promises";
import { keyFile } from "./wireguard.ts";

/** `dir` holds the private key of `own`. Of one purpose, so that what is shown for one opens no other. */
export async function openSecrets(
	dir: string,
	own: string,
	purpose: string,
): Promise<(publicKey: string) => string> {
	const d = base64url((await readFile(keyFile(dir), "utf8")).trim());
	const privateKey = createPrivateKey({ format: "jwk", key: { ...curve, d, x: base64url(own) } });
	const known = new Map<string, string>();
	return (peer) => {
		const found = known.get(peer);
		if (found !== undefined) return found;
		const publicKey = createPublicKey({ format: "jwk", key: { ...curve, x: base64url(peer) } });
		const shared = diffieHellman({ privateKey, publicKey });
		const derived = hkdfSync("sha256", shared, "skein", purpose, 32);
		const secret = Buffer.from(derived).toString("base64url");
		known.set(peer, secret);
		return secret;
	};
}

const curve = { kty: "OKP", crv: "X25519" };

const base64url = (text: string) => Buffer.from(text, "base64").toString("base64url");
