import { expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Assignment } from "../model/assignment.ts";
import { type Accepted, judge, openLedger } from "./ledger.ts";

const at = (revision: number, hash: string, cluster = "c1"): Accepted => ({
	revision,
	hash,
	assignment: { cluster, revision } as Assignment,
});

test.each([
	["the first", null, at(1, "a"), "accepted"],
	["a newer one", at(1, "a"), at(2, "b"), "accepted"],
	["a newer number for the same", at(1, "a"), at(7, "a"), "known"],
	["the very same", at(3, "a"), at(3, "a"), "known"],
	["an older one", at(3, "a"), at(2, "b"), "refused"],
	["an older one of the same content", at(3, "a"), at(2, "a"), "refused"],
	["other content under one number, which reports make", at(3, "a"), at(3, "b"), "accepted"],
	["an older number of another cluster", at(3, "a"), at(1, "b", "c2"), "accepted"],
] as const)("%s", (_name, held, offered, kind) => {
	expect(judge(held, offered).kind).toBe(kind);
});

test("what was accepted and remembered is there after a restart; a torn file is as none", async () => {
	const dir = await mkdtemp(join(tmpdir(), "skein-ledger-"));
	try {
		const ledger = await openLedger(dir, 5);
		expect(ledger.accepted).toBeNull();
		await ledger.accept(at(5, "a"));
		await ledger.accept(at(4, "b"));
		ledger.remember({});
		ledger.remember({ t1: { status: { state: "running" }, era: "x" } as never });
		await ledger.flush();

		const again = await openLedger(dir, 5);
		expect(again.accepted).toEqual(at(5, "a"));
		expect(new Map(Object.entries(again.remembered)).get("t1")?.era).toBe("x");

		await writeFile(join(dir, "assignment.json"), '{"revision": 9, "ha');
		expect((await openLedger(dir, 5)).accepted).toBeNull();
	} finally {
		await rm(dir, { recursive: true });
	}
});

test("what cannot be written is in force, says why, and is written when it can be", async () => {
	const dir = await mkdtemp(join(tmpdir(), "skein-ledger-"));
	try {
		const ledger = await openLedger(dir, 5);
		await ledger.accept(at(5, "a"));
		// As with a full disk: the file beside it cannot be opened.
		await mkdir(join(dir, "assignment.json.half", "in-the-way"), { recursive: true });
		expect(await ledger.accept(at(6, "b"))).toEqual({ kind: "accepted" });
		expect(ledger.accepted).toEqual(at(6, "b"));
		expect(ledger.unwritten).toContain("EISDIR");
		expect((await openLedger(dir, 5)).accepted).toEqual(at(5, "a"));
		await ledger.flush();
		expect(ledger.unwritten).toContain("EISDIR");
		await rm(join(dir, "assignment.json.half"), { recursive: true });
		await ledger.flush();
		expect(ledger.unwritten).toBeNull();
		expect((await openLedger(dir, 5)).accepted).toEqual(at(6, "b"));
	} finally {
		await rm(dir, { recursive: true });
	}
});

test("every start is later than the one before, whatever the machine's clock says", async () => {
	const dir = await mkdtemp(join(tmpdir(), "skein-ledger-"));
	try {
		const starts: number[] = [];
		for (const nowMs of [5_000, 9_000, 100, 9_500]) {
			starts.push((await openLedger(dir, nowMs)).start);
		}
		expect(starts).toEqual([5_000, 9_000, 9_001, 9_500]);
	} finally {
		await rm(dir, { recursive: true });
	}
});
