// The contents of secrets and configs that this node's tasks use: brought with the assignment that first names them,
// kept for as long as one does.
//
// A machine that boots with the control plane away starts its tasks from here, so they must outlive a power cut. On
// disk they are sealed under a key that lies beside them, readable for root alone: see docs/decisions/ for what that
// protects. In the clear they are nowhere but in the files of tasks (task/files.ts).

import { randomBytes } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment } from "../model/assignment.ts";
import { type ContentName, contentKey, type DeliveredContent, filesOf } from "../model/material.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { readJson, writeDurably } from "./ledger.ts";

export interface ContentKeeper {
	/** What the assignment names and is not here. */
	lacking(assignment: Assignment): readonly ContentName[];
	has(name: ContentName): boolean;
	/** On disk when it returns. */
	add(contents: readonly DeliveredContent[]): Promise<void>;
	/** Forgets what none of these names. */
	keepOnly(assignments: readonly Assignment[]): Promise<void>;
	read(name: ContentName): Promise<Uint8Array | undefined>;
}

/** A reply holds several; an assignment may name many. */
const askedAtOnce = 8;

/** The same dispatcher, whose assignments come together with what their tasks need. */
export function withContents(
	dispatcher: Dispatcher,
	keeper: ContentKeeper,
	accepted: () => Assignment | undefined,
): Dispatcher {
	const inVain = new Set<string>();
	const bring = async (assignment: Assignment) => {
		const names = keeper.lacking(assignment).filter((name) => !inVain.has(contentKey(name)));
		for (let at = 0; at < names.length; at += askedAtOnce) {
			const asked = names.slice(at, at + askedAtOnce);
			await keeper.add(await dispatcher.contents(asked));
			// Removed in between: the next assignment does without it.
			for (const name of asked) if (!keeper.has(name)) inVain.add(contentKey(name));
		}
	};
	return {
		...dispatcher,
		async poll(held, signal) {
			const known = accepted();
			if (known) {
				await keeper.keepOnly([known]);
				// A disk that lost them: what runs goes on, what starts waits for this.
				await bring(known);
			}
			const reply = await dispatcher.poll(held, signal);
			if (reply.assignment) {
				inVain.clear();
				await bring(reply.assignment);
			}
			return reply;
		},
	};
}

interface Kept {
	readonly format: 1;
	readonly sealed: Readonly<Record<string, string>>;
}

const fileName = "contents.json";
const keyName = "contents.key";
export const contentFiles: readonly string[] = [fileName, keyName];

export async function openContents(dir: string): Promise<ContentKeeper> {
	const key = await ensureKey(join(dir, keyName));
	const path = join(dir, fileName);
	const kept = await readJson<Kept>(path);
	let sealed = new Map(Object.entries(kept?.format === 1 ? kept.sealed : {}));
	// What does not open is as good as not there: it is asked for again.
	for (const [name, text] of sealed) {
		if ((await unseal(key, name, text)) === undefined) sealed.delete(name);
	}
	let isWritten = true;
	const replace = async (next: Map<string, string>) => {
		sealed = next;
		// On a full disk they are asked for again after a restart.
		isWritten = await writeDurably(
			path,
			JSON.stringify({ format: 1, sealed: Object.fromEntries(next) }),
		).then(
			() => true,
			() => false,
		);
	};
	return {
		lacking: (assignment) => namedIn(assignment).filter((name) => !sealed.has(contentKey(name))),
		has: (name) => sealed.has(contentKey(name)),
		async add(contents) {
			if (contents.length === 0) return;
			const next = new Map(sealed);
			for (const content of contents) {
				const name = contentKey(content);
				next.set(name, await seal(key, name, Buffer.from(content.data, "base64")));
			}
			await replace(next);
		},
		async keepOnly(assignments) {
			const named = new Set(assignments.flatMap(namedIn).map(contentKey));
			const next = new Map([...sealed].filter(([name]) => named.has(name)));
			if (next.size < sealed.size || !isWritten) await replace(next);
		},
		async read(name) {
			const text = sealed.get(contentKey(name));
			return text === undefined ? undefined : unseal(key, contentKey(name), text);
		},
	};
}

function namedIn({ tasks }: Assignment): ContentName[] {
	const files = tasks.flatMap(({ template }) => filesOf(template));
	const names = files.map(
		({ material, version }) => [contentKey({ material, version }), { material, version }] as const,
	);
	return [...new Map(names).values()];
}

async function ensureKey(path: string): Promise<CryptoKey> {
	const known = await readFile(path).catch(() => undefined);
	if (known?.length !== 32) await writeKey(path);
	const bytes = known?.length === 32 ? known : await readFile(path);
	return crypto.subtle.importKey("raw", Uint8Array.from(bytes), "AES-GCM", false, [
		"encrypt",
		"decrypt",
	]);
}

async function writeKey(path: string): Promise<void> {
	const file = await open(path, "w", 0o600);
	try {
		await file.writeFile(randomBytes(32));
		await file.sync();
	} finally {
		await file.close();
	}
}

async function seal(key: CryptoKey, name: string, plain: Uint8Array): Promise<string> {
	const iv = crypto.getRandomValues(new Uint8Array(12));
	const cipher = await crypto.subtle.encrypt(cipherOf(name, iv), key, Uint8Array.from(plain));
	return Buffer.concat([iv, new Uint8Array(cipher)]).toString("base64");
}

async function unseal(key: CryptoKey, name: string, text: string): Promise<Uint8Array | undefined> {
	const bytes = Uint8Array.from(Buffer.from(text, "base64"));
	const plain = await crypto.subtle
		.decrypt(cipherOf(name, bytes.slice(0, 12)), key, bytes.slice(12))
		.catch(() => undefined);
	return plain && new Uint8Array(plain);
}

const cipherOf = (name: string, iv: Uint8Array<ArrayBuffer>) => ({
	name: "AES-GCM",
	iv,
	additionalData: new TextEncoder().encode(name),
});
