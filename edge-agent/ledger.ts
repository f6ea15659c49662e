// What the agent knows without being told again: the last accepted assignment, and how far its tasks got.
//
// A node boots from this with the control plane away. Written whole beside the old one, synced and renamed, so that a
// power cut leaves either; an assignment older than the one here is refused, whoever sends it.

import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Assignment } from "../model/assignment.ts";
import { messageOf } from "../model/errors.ts";
import type { Remembered } from "./task/tasks.ts";

/** An assignment as it was accepted. The hash is the control plane's, over all but the revision. */
export interface Accepted {
	readonly revision: number;
	readonly hash: string;
	readonly assignment: Assignment;
}

export type Acceptance =
	| { readonly kind: "accepted" }
	/** We have it, or the same under an older number. */
	| { readonly kind: "known" }
	| { readonly kind: "refused"; readonly reason: string };

export interface Ledger {
	readonly accepted: Accepted | null;
	readonly remembered: Remembered;
	/** Which start of the agent this is: higher than every one before, also where the machine's clock was set back. */
	readonly start: number;
	/** Why what was accepted is not on disk: null when it is. */
	readonly unwritten: string | null;
	/** In force when it returns `accepted`, and on disk unless `unwritten` says why not. */
	accept(offered: Accepted): Promise<Acceptance>;
	/** Written soon; the newest wins. */
	remember(remembered: Remembered): void;
	/** Until what was accepted and remembered is on disk, or could not be written once more. */
	flush(): Promise<void>;
}

export async function openLedger(dir: string, nowMs: number): Promise<Ledger> {
	const assignmentFile = join(dir, "assignment.json");
	const tasksFile = join(dir, "tasks.json");
	const start = await nextStart(join(dir, "start.json"), nowMs);
	let accepted = await readJson<Accepted>(assignmentFile);
	let remembered = (await readJson<Remembered>(tasksFile)) ?? {};
	let unwritten: string | null = null;
	let dirty = false;
	let writing: Promise<void> = Promise.resolve();

	// A node that kept to its old tables because its disk is full would hold up every change in its networks.
	const keep = async () => {
		try {
			await writeDurably(assignmentFile, JSON.stringify(accepted));
			unwritten = null;
		} catch (error) {
			unwritten = messageOf(error);
		}
	};
	// A full disk must not end the agent: what is lost is memory of tasks that ended, and the next change writes all of
	// it again.
	const write = async () => {
		if (!dirty) return;
		dirty = false;
		await writeDurably(tasksFile, JSON.stringify(remembered)).catch(() => {
			dirty = true;
		});
	};
	return {
		get accepted() {
			return accepted;
		},
		get remembered() {
			return remembered;
		},
		get unwritten() {
			return unwritten;
		},
		start,
		async accept(offered) {
			const acceptance = judge(accepted, offered);
			if (acceptance.kind === "refused") return acceptance;
			accepted = offered;
			if (acceptance.kind === "accepted" || unwritten) await keep();
			return acceptance;
		},
		remember(next) {
			remembered = next;
			dirty = true;
			writing = writing.then(write);
		},
		async flush() {
			if (unwritten) await keep();
			writing = writing.then(write);
			await writing;
		},
	};
}

/** Outlives the node: a machine that joins again as the node it was goes on counting. */
async function nextStart(file: string, nowMs: number): Promise<number> {
	const last = (await readJson<{ start: number }>(file))?.start ?? 0;
	const start = Math.max(last + 1, nowMs);
	// A full disk must not keep the agent from starting; with a clock that is right the next start is later all the same.
	await writeDurably(file, JSON.stringify({ start })).catch(() => undefined);
	return start;
}

/** Another cluster begins its own count: the node was made to join it. */
export function judge(held: Accepted | null, offered: Accepted): Acceptance {
	if (!held || held.assignment.cluster !== offered.assignment.cluster) return { kind: "accepted" };
	if (offered.revision < held.revision) {
		const reason = `revision ${offered.revision} is older than ${held.revision}, which this node has`;
		return { kind: "refused", reason };
	}
	// The same revision may come with other content: addresses and attached containers are reported, not decided.
	return { kind: offered.hash === held.hash ? "known" : "accepted" };
}

/** Whole or not at all, also when the power fails in the middle. */
export async function writeDurably(
	path: string,
	text: string | Uint8Array,
	mode = 0o600,
): Promise<void> {
	await mkdir(dirname(path), { recursive: true, mode: 0o700 });
	const half = `${path}.half`;
	try {
		const file = await open(half, "w", mode);
		try {
			await file.writeFile(text);
			await file.sync();
		} finally {
			await file.close();
		}
		await rename(half, path);
	} catch (error) {
		await rm(half, { force: true }).catch(() => undefined);
		throw error;
	}
	const folder = await open(dirname(path), "r");
	try {
		await folder.sync();
	} finally {
		await folder.close();
	}
}

/** Null when there is none, or when it is no JSON: a file we did not write whole. */
export async function readJson<Value>(path: string): Promise<Value | null> {
	const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
		if (error.code === "ENOENT") return null;
		throw error;
	});
	if (text === null) return null;
	try {
		return JSON.parse(text) as Value;
	} catch {
		return null;
	}
}
