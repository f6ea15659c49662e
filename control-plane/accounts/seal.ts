// Seals what the database must keep and nobody may read there: AES-256-GCM under a key derived from the cluster's own.
//
// Web crypto only. Each sealed text begins with its format and the version of the data key it is sealed under, so that
// keys can be rotated beside it. What it belongs to is sealed along with it: a text that was moved to another row does
// not open.

import { unavailable } from "../../model/errors.ts";
import { fromBase64, toBase64 } from "./base64.ts";
import type { Keyring } from "./keyring.ts";

export interface Seal {
	seal(belongsTo: string, plain: Uint8Array): Promise<string>;
	open(belongsTo: string, sealed: string): Promise<Uint8Array<ArrayBuffer>>;
	/** Whether it is sealed under the newest key, so that sealing it anew would change nothing. */
	isNewest(sealed: string): Promise<boolean>;
}

/** Where a cluster's keyring comes from; given a version, one that has it, unless there is none. */
export type Rings = (version?: number) => Promise<Keyring>;

/** 1: under a key of the server's, before there were keyrings. 2: under version n of the cluster's data key. */
const format = "2";
const ivBytes = 12;

/** `purpose` keeps keys of different uses apart; so does the cluster, in the salt. */
export function sealFor(rings: Rings, cluster: string, purpose: string): Seal {
	const derived = new Map<string, Promise<CryptoKey>>();
	const keyOf = (version: string, data: string) => {
		const known = derived.get(`${version} ${data}`) ?? deriveKey(data, cluster, purpose);
		derived.set(`${version} ${data}`, known);
		return known;
	};
	async function keysFor(version: string, sealed: readonly string[]): Promise<CryptoKey[]> {
		if (version === "1") {
			const { before } = await rings();
			return Promise.all((before?.seals[purpose] ?? []).map(importSealingKey));
		}
		if (version !== format) {
			throw unavailable(
				`a content is sealed in format ${version}, which this version of Skein does not know`,
			);
		}
		const number = sealed[0] ?? "";
		const data = (await rings(Number(number))).data[number];
		return data ? [await keyOf(number, data.key)] : [];
	}
	return {
		async seal(belongsTo, plain) {
			const { version, data } = await rings();
			const key = await keyOf(String(version), data[version]?.key ?? "");
			const iv = crypto.getRandomValues(new Uint8Array(ivBytes));
			const algorithm = { name: "AES-GCM", iv, additionalData: dataOf(cluster, belongsTo) };
			const cipher = await crypto.subtle.encrypt(algorithm, key, Uint8Array.from(plain));
			return `${format}.${version}.${toBase64(iv)}.${toBase64(new Uint8Array(cipher))}`;
		},
		async open(belongsTo, sealed) {
			const [version = "", ...rest] = sealed.split(".");
			const [iv = "", cipher = ""] = rest.slice(-2);
			const additionalData = dataOf(cluster, belongsTo);
			const algorithm = { name: "AES-GCM", iv: fromBase64(iv), additionalData };
			for (const key of await keysFor(version, rest)) {
				const plain = await crypto.subtle
					.decrypt(algorithm, key, fromBase64(cipher))
					.catch(() => undefined);
				if (plain) return new Uint8Array(plain);
			}
			throw unavailable(
				"this content does not open under the cluster's keys: it was sealed under keys that are lost, or its row was changed. " +
					"Give the secret, config or registry login anew",
			);
		},
		isNewest: async (sealed) => sealed.startsWith(`${format}.${(await rings()).version}.`),
	};
}

async function deriveKey(data: string, cluster: string, purpose: string): Promise<CryptoKey> {
	const source = await crypto.subtle.importKey("raw", fromBase64(data), "HKDF", false, [
		"deriveKey",
	]);
	return crypto.subtle.deriveKey(
		{
			name: "HKDF",
			hash: "SHA-256",
			salt: bytesOf(cluster),
			info: bytesOf(`skein ${purpose} ${format}`),
		},
		source,
		{ name: "AES-GCM", length: 256 },
		false,
		["encrypt", "decrypt"],
	);
}

const importSealingKey = (key: string) =>
	crypto.subtle.importKey("raw", fromBase64(key), "AES-GCM", false, ["decrypt"]);

const dataOf = (cluster: string, belongsTo: string) => bytesOf(`${cluster} ${belongsTo}`);

const bytesOf = (text: string) => new TextEncoder().encode(text);
