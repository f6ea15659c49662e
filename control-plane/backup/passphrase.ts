// What a passphrase becomes: the keys of one file. scrypt, because people choose passphrases and a file can be tried
// for ever.

import { hkdf } from "@noble/hashes/hkdf.js";
import { scryptAsync } from "@noble/hashes/scrypt.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { z } from "zod";
import { invalid } from "../../model/errors.ts";
import { fromBase64, toBase64 } from "../accounts/base64.ts";
import type { Rings } from "../accounts/seal.ts";

export const kdfSchema = z.object({
	name: z.literal("scrypt"),
	/** 16 bytes, base64. */
	salt: z.base64().length(24),
	// A file says what its keys cost; whoever opens it must not be made to pay any price.
	N: z.union([z.literal(2 ** 14), z.literal(2 ** 15), z.literal(2 ** 16)]),
	r: z.literal(8),
	p: z.number().int().min(1).max(4),
});

export type Kdf = z.infer<typeof kdfSchema>;

export interface FileKeys {
	/** For `sealFor`. */
	readonly rings: Rings;
	/** Of the file's last line. */
	readonly mac: Uint8Array;
}

/** OWASP's choice for 32 MiB: what fits into a worker's memory beside the rest. */
export function newKdf(): Kdf {
	const salt = toBase64(crypto.getRandomValues(new Uint8Array(16)));
	return { name: "scrypt", salt, N: 2 ** 15, r: 8, p: 3 };
}

export const passphraseHeader = "Skein-Passphrase";

const shortest = 12;

/** The header's: base64 of UTF-8, since a header carries no other letters than ASCII's. */
export function parsePassphrase(header: string | undefined): string {
	let text = "";
	try {
		text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(
			fromBase64(header?.trim() ?? ""),
		);
	} catch (error) {
		throw invalid(
			`${passphraseHeader}: not the base64 of a passphrase: \`printf %s PASSPHRASE | base64 -w0\` makes it`,
			{ cause: error },
		);
	}
	if (text.length >= shortest) return text;
	throw invalid(
		`${passphraseHeader}: a passphrase of ${shortest} characters or more is needed, as base64: secrets in the file open with it alone`,
	);
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

export async function fileKeys(passphrase: string, kdf: Kdf): Promise<FileKeys> {
	const { N, r, p } = kdf;
	const salt = fromBase64(kdf.salt);
	const root = await scryptAsync(passphrase.normalize("NFKC"), salt, { N, r, p, dkLen: 32 });
	const draw = (what: string) => hkdf(sha256, root, salt, bytesOf(`skein backup ${what}`), 32);
	const key = toBase64(draw("seals"));
	const ring = { version: 1, data: { 1: { key } }, join: "" };
	return { rings: async () => ring, mac: draw("whole") };
}
