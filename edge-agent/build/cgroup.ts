// The control group that the steps of builds run in: what they may take of the machine, and after whom they get it.
//
// Made straight in the kernel's tree, under no service manager: runc, as BuildKit runs it, makes its groups in whichever
// it is told, whatever the engine's own driver is.

import { access, mkdir, writeFile } from "node:fs/promises";
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

async function set(group: string, values: readonly (readonly [string, string])[]): Promise<void> {
	await mkdir(group, { recursive: true });
	for (const [file, value] of values) await writeFile(join(group, file), value);
}

const isThere = (path: string) =>
	access(path).then(
		() => true,
		() => false,
	);
