import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { servedSinceMs } from "./installables.ts";

test("since when a program is served outlives the process, until another one is served", async () => {
	const data = await mkdtemp(join(tmpdir(), "skein-served-"));
	const [one, two] = [{ sha256: "a".repeat(64) }, { sha256: "b".repeat(64) }];
	expect(await servedSinceMs(data, one, 1)).toBe(1);
	expect(await servedSinceMs(data, one, 2)).toBe(1);
	expect(await servedSinceMs(data, two, 3)).toBe(3);
	expect(await servedSinceMs(data, two, 4)).toBe(3);
	// The way back, on purpose.
	expect(await servedSinceMs(data, one, 5)).toBe(5);
	await rm(data, { recursive: true, force: true });
});
