// Master keys: what the configuration gives, and the database never has. They wrap clusters' keyrings, and do nothing else.
//
// One is current: it wraps. Others are accepted for as long as something is wrapped under them. Each has an id that can
// be told to everybody, so a keyring can say which one it waits for. Web crypto only.

import { unavailable } from "../../model/errors.ts";
import { fromBase64, toBase64 } from "./base64.ts";

export interface MasterKey {
	/** 12 hexadecimal digits, from the key by a one-way function. */
	readonly id: string;
	readonly wrapping: CryptoKey;
	/** The key itself, for what was derived from it before clusters had keyrings (before-keyrings.ts). */
	readonly signing: CryptoKey;
}

export interface MasterKeys {
	readonly current: MasterKey;
	/** The current one first. */
	readonly all: readonly MasterKey[];
}

/** A keyring as it is stored. */
export interface Wrapped {
	/** Of the data key that seals now. Sealed along: an older keyring cannot be passed off as a newer one. */
	readonly version: number;
	/** The master key's id. */
	readonly master: string;
	readonly wrapped: string;
}

const format = "1";
const ivBytes = 12;

/** `SKEIN_KEY` and what `SKEIN_OLD_KEYS` lists. */
export async function importMasterKeys(
	current: string,
	old: readonly string[] = [],
): Promise<MasterKeys> {
	const first = await importMasterKey(current);
	const others = await Promise.all(old.map(importMasterKey));
	const all = [first, ...others.filter(({ id }) => id !== first.id)];
	return { current: first, all };
}

/** A list of keys in one setting: separated by blanks or commas, or a JSON array for keys that have those in them. */
export function parseKeyList(text: string | undefined): string[] {
	if (!text?.trim().startsWith("[")) return (text ?? "").split(/[\s,]+/).filter(Boolean);
	const refuse = (cause?: unknown) =>
		new Error(
			'SKEIN_OLD_KEYS: begins like a JSON array and is none of strings, such as ["first key", "second key"]',
			{ cause },
		);
	let keys: unknown;
	try {
		keys = JSON.parse(text);
	} catch (error) {
		throw refuse(error);
	}
	if (!Array.isArray(keys) || keys.some((key) => typeof key !== "string" || key === "")) {
		throw refuse();
	}
	return keys as string[];
}

export async function wrap(
	{ current }: MasterKeys,
	cluster: string,
	version: number,
	text: string,
): Promise<Wrapped> {
	const iv = crypto.getRandomValues(new Uint8Array(ivBytes));
	const algorithm = { name: "AES-GCM", iv, additionalData: belonging(cluster, version) };
	const cipher = await crypto.subtle.encrypt(algorithm, current.wrapping, bytesOf(text));
	const wrapped = `${format}.${toBase64(iv)}.${toBase64(new Uint8Array(cipher))}`;
	return { version, master: current.id, wrapped };
}

/** Unavailable when its master key was not given. */
export async function unwrap(
	{ all }: MasterKeys,
	cluster: string,
	{ version, master, wrapped }: Wrapped,
): Promise<string> {
	const key = all.find(({ id }) => id === master);
	if (!key) {
		throw unavailable(
			`the keys of this cluster are wrapped under master key ${master}, which this control plane was not given: ` +
				"start it with that key in SKEIN_KEY or SKEIN_OLD_KEYS (docs/runbooks/keys.md; GET /api/keys names those it has)",
		);
	}
	const [known, iv = "", cipher = ""] = wrapped.split(".");
	if (known !== format) {
		throw unavailable(
			`the keys of this cluster are wrapped in format ${known}, which this version of Skein does not know: run a newer one`,
		);
	}
	const algorithm = {
		name: "AES-GCM",
		iv: fromBase64(iv),
		additionalData: belonging(cluster, version),
	};
	const plain = await crypto.subtle
		.decrypt(algorithm, key.wrapping, fromBase64(cipher))
		.catch(() => {
			throw unavailable(
				"the keys of this cluster do not open, although their master key is here: the row was changed or is another cluster's. " +
					"Restore it from a backup (docs/backup.md)",
			);
		});
	return new TextDecoder().decode(plain);
}

/** The key itself signs and nothing else; what wraps, and the id, are drawn from signatures. */
async function importMasterKey(secret: string): Promise<MasterKey> {
	const signing = await crypto.subtle.importKey(
		"raw",
		bytesOf(secret),
		{ name: "HMAC", hash: "SHA-512" },
		false,
		["sign"],
	);
	const sign = (message: string) => crypto.subtle.sign("HMAC", signing, bytesOf(message));
	const [name, drawn] = await Promise.all([sign("master key id"), sign("wrap keyrings")]);
	const source = await crypto.subtle.importKey("raw", drawn, "HKDF", false, ["deriveKey"]);
	const wrapping = await crypto.subtle.deriveKey(
		{ name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: bytesOf("skein keyring 1") },
		source,
		{ name: "AES-GCM", length: 256 },
		false,
		["encrypt", "decrypt"],
	);
	const id = [...new Uint8Array(name, 0, 6)]
		.map((byte) => byte.toString(16).padStart(2, "0"))
		.join("");
	return { id, wrapping, signing };
}

const belonging = (cluster: string, version: number) => bytesOf(`${cluster} keyring ${version}`);

const bytesOf = (text: string) => new TextEncoder().encode(text);
