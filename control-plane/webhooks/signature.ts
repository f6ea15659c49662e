// Whether something was signed with a secret, by the web's own cryptography, which compares in constant time.

import { hexToBytes } from "@noble/hashes/utils.js";
import { bytesOf } from "./bytes.ts";

const sha256 = { name: "HMAC", hash: "SHA-256" };

/** Whether `signature` is the HMAC-SHA256 of `message`. */
export async function isHmac(
	secret: Uint8Array<ArrayBuffer>,
	message: Uint8Array<ArrayBuffer>,
	signature: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
	// There is no key of no bytes, and nobody has one.
	if (secret.length === 0) return false;
	const key = await crypto.subtle.importKey("raw", secret, sha256, false, ["verify"]);
	return crypto.subtle.verify("HMAC", key, signature, message);
}

/** The same of a signature as most forges write it, 64 hexadecimal digits; null for a header that is not there. */
export async function isHexHmac(
	secret: string,
	message: Uint8Array<ArrayBuffer>,
	signature: string | null | undefined,
): Promise<boolean> {
	if (!signature || !/^[0-9a-f]{64}$/i.test(signature)) return false;
	return isHmac(bytesOf(secret), message, Uint8Array.from(hexToBytes(signature)));
}

/** Whether two texts are the same, in a time that tells nothing of where they differ. */
export async function isSame(secret: string, given: string): Promise<boolean> {
	if (secret === "") return false;
	const random = crypto.getRandomValues(new Uint8Array(32));
	const key = await crypto.subtle.importKey("raw", random, sha256, false, ["sign", "verify"]);
	const expected = await crypto.subtle.sign("HMAC", key, bytesOf(secret));
	return crypto.subtle.verify("HMAC", key, expected, bytesOf(given));
}
