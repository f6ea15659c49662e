// Folders that are memory and never a disk: for what must not outlive the machine's power, like secrets.

import { mkdir, readFile, rm } from "node:fs/promises";
import type { Exec } from "./exec.ts";

/** Only root can enter it. Once for each start of the machine; where the kernel can keep it out of swap, it does. */
export async function ensureMemory(exec: Exec, root: string): Promise<void> {
	if (await isMounted(root)) return;
	await mkdir(root, { recursive: true, mode: 0o700 });
	const options = "mode=0700,nosuid,nodev";
	const mount = (more: string) =>
		exec("mount", ["-t", "tmpfs", "-o", `${options}${more}`, "skein-files", root]);
	await mount(",noswap").catch(() => mount(""));
}

/** Nothing of it is left on the machine. */
export async function removeMemory(exec: Exec, root: string): Promise<void> {
	while (await isMounted(root)) await exec("umount", ["-l", root]);
	await rm(root, { recursive: true, force: true });
}

async function isMounted(root: string): Promise<boolean> {
	const table = await readFile("/proc/self/mountinfo", "utf8");
	return table.split("\n").some((line) => line.split(" ")[4] === root);
}
