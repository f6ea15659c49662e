// A cluster's keyring: the random keys that its secrets are sealed under and its join tokens derived from.
//
// It is text that the database has wrapped under a master key (master.ts). Data keys have versions: the newest seals,
// older ones open until nothing is sealed under them any more. The key of the join tokens stays through all of that.

import { toBase64 } from "./base64.ts";
import type { JoinKey } from "./tokens.ts";
import { importJoinKey } from "./tokens.ts";

export interface Keyring {
	/** Of the data key that seals now. */
	readonly version: number;
	readonly data: Readonly<Record<string, DataKey>>;
	/** 32 bytes, base64. */
	readonly join: string;
	/** Of a cluster that is older than its keyring. */
	readonly before?: Before;
}

export interface DataKey {
	/** 32 bytes, base64. */
	readonly key: string;
	/** Since when another one seals. */
	readonly retiredMs?: number;
}

/** What was derived from the server's key when clusters had no keys of their own. */
export interface Before {
	/** The keys of texts sealed in format 1, by purpose, base64; several where the server's key was replaced. */
	readonly seals: Readonly<Record<string, readonly string[]>>;
	/** What the server's key said to the messages that the join tokens of that time come from. */
	readonly said: Readonly<Record<string, string>>;
}

/** `version` is above that of any keyring the cluster had: no text of theirs is mistaken for one of this. */
export function newKeyring(version = 1, before?: Before): Keyring {
	return {
		version,
		data: { [version]: { key: randomKey() } },
		join: randomKey(),
		...(before && { before }),
	};
}

/** With a new data key; what is sealed under the others still opens. */
export function rotated(ring: Keyring, nowMs: number): Keyring {
	const current = ring.data[ring.version];
	const version = ring.version + 1;
	return {
		...ring,
		version,
		data: {
			...ring.data,
			...(current && { [ring.version]: { ...current, retiredMs: nowMs } }),
			[version]: { key: randomKey() },
		},
	};
}

/** Without the data keys that retired before then. For when nothing is sealed under them any more. */
export function withoutRetired(ring: Keyring, beforeMs: number): Keyring {
	const kept = Object.entries(ring.data).filter(
		([, { retiredMs }]) => retiredMs === undefined || retiredMs >= beforeMs,
	);
	const { before, ...rest } = ring;
	const seals = kept.length === 1 ? {} : (before?.seals ?? {});
	return {
		...rest,
		data: Object.fromEntries(kept),
		...(before && { before: { ...before, seals } }),
	};
}

/** Whether it has keys beside those that seal now. */
export function hasRetired({ data, before }: Keyring): boolean {
	return Object.keys(data).length > 1 || Object.keys(before?.seals ?? {}).length > 0;
}

export const joinKeyOf = (ring: Keyring): Promise<JoinKey> =>
	importJoinKey(ring.join, ring.before?.said);

export const showKeyring = (ring: Keyring): string => JSON.stringify(ring);

/** What `showKeyring` made: it was wrapped, so nobody else can have written it. */
export const parseKeyring = (text: string): Keyring => JSON.parse(text) as Keyring;

const randomKey = () => toBase64(crypto.getRandomValues(new Uint8Array(32)));
