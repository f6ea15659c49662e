// A program that takes its time: heard line by line, ended with all that it started.

import { readdir, readFile } from "node:fs/promises";
import { lines } from "./docker.ts";

export interface Running {
	readonly env: Readonly<Record<string, string>>;
	readonly cwd: string;
	/** Ends it: asked first, killed after a moment. */
	readonly signal: AbortSignal;
	/** Of its output and its errors alike, as they come. */
	line(text: string): void;
}

/** It is told to end, and gets so long to do it. */
const graceMs = 5_000;

/**
 * Runs it after everybody else on the machine, in a process group of its own; resolves with its exit code once it has
 * ended, and nothing of the group is left. Rejects where it cannot be started, and with the signal's reason.
 */
export async function runProgram(
	command: string,
	args: readonly string[],
	{ env, cwd, signal, line }: Running,
): Promise<number> {
	signal.throwIfAborted();
	const child = Bun.spawn(["nice", "-n", "10", command, ...args], {
		env: { ...env },
		cwd,
		stdin: "ignore",
		stdout: "pipe",
		stderr: "pipe",
		detached: true,
	});
	let timer: ReturnType<typeof setTimeout> | undefined;
	const end = () => {
		killGroup(child.pid, "SIGTERM");
		timer = setTimeout(() => killGroup(child.pid, "SIGKILL"), graceMs);
	};
	signal.addEventListener("abort", end);
	const hear = async (stream: ReadableStream<Uint8Array>) => {
		for await (const text of lines(stream)) line(text);
	};
	const heard = Promise.all([hear(child.stdout), hear(child.stderr)]);
	try {
		const code = await child.exited;
		killGroup(child.pid, "SIGKILL");
		await heard;
		signal.throwIfAborted();
		return code;
	} finally {
		clearTimeout(timer);
		signal.removeEventListener("abort", end);
	}
}

/** Ends what bears the variable, whoever left it: an agent that was killed. */
export async function endMarked(variable: string): Promise<void> {
	for (const name of await readdir("/proc")) {
		if (!/^\d+$/.test(name)) continue;
		const environment = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
		if (!environment.split("\0").some((entry) => entry.startsWith(`${variable}=`))) continue;
		kill(Number(name), "SIGKILL");
	}
}

const killGroup = (pid: number, signal: NodeJS.Signals) => kill(-pid, signal);

function kill(pid: number, signal: NodeJS.Signals): void {
	try {
		process.kill(pid, signal);
	} catch {
		// Gone by itself.
	}
}
