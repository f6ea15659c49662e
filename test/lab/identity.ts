// Names of labs, and what dead ones left behind.
//
// A lab is named for the process that controls it, pid and start time, so that
// anyone can see from the name whether it still lives.

import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labsWithGroups, removeGroups } from "./cgroup.ts";
import { until } from "./run.ts";

const directory = join(tmpdir(), "skein-lab");
let count = 0;

export interface Identity {
	readonly id: string;
	/** A directory of this lab, at the same path for the controller and the outside client. */
	readonly dir: string;
}

export function newIdentity(): Identity {
	const id = `${process.pid}-${startTime(process.pid)}-${count++}`;
	const dir = join(directory, id);
	mkdirSync(dir, { recursive: true });
	return { id, dir };
}

/** Removes what the kernel does not: groups and files. The lab's processes are gone. */
export async function removeRemains(id: string, timeoutMs = 10_000): Promise<void> {
	rmSync(join(directory, id), { recursive: true, force: true });
	await until(`control groups of lab ${id} to go`, timeoutMs, () => removeGroups(id));
}

/** Removes what labs left whose controllers were killed. */
export async function sweep(): Promise<void> {
	const dead = remains().filter((id) => !lives(id));
	// What cannot be removed yet is still dying; a later sweep has it.
	await Promise.allSettled(dead.map((id) => removeRemains(id, 1000)));
}

/** Labs of which there is anything to see, dead or alive. */
export function remains(): string[] {
	mkdirSync(directory, { recursive: true });
	return [...new Set([...readdirSync(directory), ...labsWithGroups()])];
}

function lives(id: string): boolean {
	const [pid, start] = id.split("-");
	return start !== undefined && start === startTime(Number(pid));
}

/** Field 22 of /proc/PID/stat: clock ticks since boot. The second field may hold spaces. */
function startTime(pid: number): string | undefined {
	try {
		const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
		return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
	} catch {
		return undefined;
	}
}
