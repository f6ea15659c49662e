// The control group that the steps of builds run in: what they may take of the machine, and after whom they get it.
//
// Made straight in the kernel's tree, under no service manager: runc, as BuildKit runs it, makes its groups in whichever
// it is told, whatever the engine's own driver is.

import { access, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Resources } from "../../model/service.ts";

const name = "skein-build";
const periodUs = 100_000;

/** Its name for `--cgroup-parent`; undefined where the kernel's tree is not ours to write. */
export async function limitBuilds(
	{ nanoCpus, memoryBytes }: Resources,
	root = "/sys/fs/cgroup",
): Promise<string | undefined> {
	const quota = nanoCpus > 0 ? String(Math.ceil((nanoCpus / 1e9) * periodUs)) : undefined;
	try {
		if (await isThere(join(root, "cgroup.controllers"))) {
			await writeFile(join(root, "cgroup.subtree_control"), "+cpu +memory");
			await set(join(root, name), [
				["cpu.max", `${quota ?? "max"} ${periodUs}`],
				["cpu.weight", "10"],
				["memory.max", memoryBytes > 0 ? String(memoryBytes) : "max"],
			]);
		} else {
			await set(join(root, "cpu", name), [
				["cpu.cfs_period_us", String(periodUs)],
				["cpu.cfs_quota_us", quota ?? "-1"],
				["cpu.shares", "102"],
			]);
			await set(join(root, "memory", name), [
				["memory.limit_in_bytes", memoryBytes > 0 ? String(memoryBytes) : "-1"],
			]);
		}
		return `/${name}`;
	} catch {
		return undefined;
	}
}

/** A step is in our group so soon after it began. */
const gatherMs = 100;

/**
 * Engines before 23 make BuildKit's groups where they like, and not in ours: whoever is in them is moved into it, until
 * this is ended. Whose builds they are cannot be told, so another's on this machine are limited meanwhile, too.
 */
export function gatherSteps(root = "/sys/fs/cgroup"): { end(): void } {
	let isGathering = false;
	const timer = setInterval(() => {
		if (isGathering) return;
		isGathering = true;
		void gather(root).finally(() => {
			isGathering = false;
		});
	}, gatherMs);
	return { end: () => clearInterval(timer) };
}

async function gather(root: string): Promise<void> {
	const isOneTree = await isThere(join(root, "cgroup.controllers"));
	for (const tree of isOneTree ? [root] : [join(root, "cpu"), join(root, "memory")]) {
		for (const group of await stepsIn(tree)) {
			const pids = await readFile(join(group, "cgroup.procs"), "utf8").catch(() => "");
			for (const pid of pids.split("\n").filter(Boolean)) {
				// One that has ended meanwhile is in no group.
				await writeFile(join(tree, name, "cgroup.procs"), pid).catch(() => undefined);
			}
		}
	}
}

/** By the engine's two drivers: cgroupfs, and systemd, whose name for a group runc takes for a folder's here. */
async function stepsIn(tree: string): Promise<readonly string[]> {
	const within = (path: string) => readdir(path).catch(() => []);
	const ofBuildKit = join(tree, "docker/buildkit");
	return [
		...(await within(ofBuildKit)).map((each) => join(ofBuildKit, each)),
		...(await within(tree))
			.filter((each) => each.startsWith("system.slice:docker:"))
			.map((each) => join(tree, each)),
	];
}

async function set(group: string, values: readonly (readonly [string, string])[]): Promise<void> {
	await mkdir(group, { recursive: true });
	for (const [file, value] of values) await writeFile(join(group, file), value);
}

const isThere = (path: string) =>
	access(path).then(
		() => true,
		() => false,
	);
