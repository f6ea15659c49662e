import { describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Docker } from "./host/docker.ts";
import { openImages, type Pulled, unneeded } from "./images.ts";
import { readJson } from "./ledger.ts";

describe("what may go when the disk is full", () => {
	test.each<[string, Pulled, string[], string[]]>([
		["nothing that runs", { "r/a:1": 1 }, ["r/a:1"], []],
		[
			"not the two earlier ones of a repository",
			{ "r/a:1": 1, "r/a:2": 2, "r/a:3": 3 },
			["r/a:3"],
			[],
		],
		[
			"the third and older, the longest unused first",
			{ "r/a:1": 10, "r/a:2": 5, "r/a:3": 30, "r/a:4": 40, "r/a:5": 50 },
			["r/a:5"],
			["r/a:2", "r/a:1"],
		],
		[
			"by digest as by tag, each repository for itself",
			{ "r/a:1@sha256:aa": 1, "r/a@sha256:bb": 2, "r/a:3": 3, "r/b:1": 1 },
			[],
			["r/a:1@sha256:aa"],
		],
	])("%s", (_name, pulled, wanted, want) => {
		expect(unneeded(pulled, new Set(wanted))).toEqual(want);
	});
});

test("a disk above the mark is full until there is room, whatever may be removed", async () => {
	const dir = await mkdtemp(join(tmpdir(), "skein-images-"));
	try {
		let [nowMs, percent] = [0, 84.9];
		const removed: string[] = [];
		const docker = {
			async request(method: string, path: string) {
				if (method === "DELETE") removed.push(path);
				if (method === "DELETE") percent -= 8;
				return { DockerRootDir: "/var/lib/docker" };
			},
		} as unknown as Docker;
		const images = await openImages(
			dir,
			() => nowMs,
			async () => percent,
		);
		images.want(new Set());
		for (const tag of ["1", "2", "3"]) images.pulled(`r/a:${tag}`);
		const at = async (used: number) => {
			percent = used;
			nowMs += 30_000;
			await images.tend(docker);
			return [images.diskFull, images.warnings.length, removed.length];
		};
		expect(await at(84.9)).toEqual([false, 0, 0]);
		// One image goes, and that is enough; then none is left that may.
		expect(await at(90)).toEqual([false, 0, 1]);
		expect(await at(85)).toEqual([true, 1, 1]);
		expect(images.warnings[0]).toContain("(/var/lib/docker) is 85 % full");
		expect(await at(84)).toEqual([false, 0, 1]);
	} finally {
		await rm(dir, { recursive: true });
	}
});

test("what was pulled is known to the next agent", async () => {
	const dir = await mkdtemp(join(tmpdir(), "skein-images-"));
	try {
		const images = await openImages(dir, () => 7);
		images.pulled("r/a:1");
		images.pulled("r/a:2");
		const path = join(dir, "images.json");
		const written = async () => (await readJson<Pulled>(path))?.["r/a:2"] !== undefined;
		while (!(await written())) await Bun.sleep(5);
		expect(await readJson<Pulled>(path)).toEqual({ "r/a:1": 7, "r/a:2": 7 });
	} finally {
		await rm(dir, { recursive: true });
	}
});
