// Child processes: run one to its end, or keep one and signal it.
//
// Knows nothing of the lab. A command is a list of arguments, never a sentence.

import { readFileSync } from "node:fs";

export interface Ran {
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
}

export interface SpawnOptions {
	readonly env?: Readonly<Record<string, string>>;
	readonly cwd?: string;
	readonly stdin?: string | Uint8Array | ReadableStream | Blob;
}

export interface RunOptions extends SpawnOptions {
	/** The command and all its descendants are killed after this; 120 s unless told. */
	readonly timeoutMs?: number;
}

/** A command that goes on. `pid` is the host's number for it. */
export interface Process {
	readonly pid: number;
	readonly stdout: ReadableStream<Uint8Array>;
	readonly stderr: ReadableStream<Uint8Array>;
	readonly exited: Promise<number>;
	readonly alive: boolean;
	kill(signal?: NodeJS.Signals): void;
}

/** Something a command can be run in: a node, or the outside client. */
export interface Place {
	/** Runs a command to its end, whatever its exit code. */
	exec(command: readonly string[], options?: RunOptions): Promise<Ran>;
	/** Starts a command. It ends with the lab, if not before. */
	spawn(command: readonly string[], options?: SpawnOptions): Process;
}

export async function run(command: readonly string[], options: RunOptions = {}): Promise<Ran> {
	const child = Bun.spawn([...command], spawnOptions(options));
	let late = false;
	const timeoutMs = options.timeoutMs ?? 120_000;
	const timer = setTimeout(() => {
		late = true;
		killTree(child.pid);
	}, timeoutMs);
	const output = collect(child.stdout);
	const errors = collect(child.stderr);
	const code = await child.exited;
	clearTimeout(timer);
	// What the command left running in the background may hold its output open for ever.
	await Promise.race([Promise.all([output.ended, errors.ended]), Bun.sleep(500)]);
	const stderr = late ? `${errors.text()}\nkilled after ${timeoutMs} ms` : errors.text();
	return { code: late ? 124 : code, stdout: output.text(), stderr };
}

/** Runs a command that must succeed and returns its output. */
export async function must(command: readonly string[], options: RunOptions = {}): Promise<string> {
	return succeeded(command, await run(command, options));
}

export function succeeded(command: readonly string[], ran: Ran): string {
	if (ran.code !== 0) {
		const said = (ran.stderr.trim() || ran.stdout.trim()).slice(-2000);
		throw new Error(`${command.join(" ").slice(0, 400)}: exit ${ran.code}: ${said}`);
	}
	return ran.stdout;
}

/**
 * Starts `command`, which runs the one that is meant `depth` forks further down
 * (`nsenter -p` forks once) and exits as that does.
 */
export function start(command: readonly string[], depth: number, options: SpawnOptions): Process {
	// Detached: Ctrl-C is for the controller, which then stops what it started.
	const child = Bun.spawn([...command], { ...spawnOptions(options), detached: true });
	const innermost = () => {
		let pid = child.pid;
		for (let level = 0; level < depth; level++) pid = childrenOf(pid)[0] ?? pid;
		return pid;
	};
	const alive = () => child.exitCode === null && child.signalCode === null;
	return {
		get pid() {
			return innermost();
		},
		stdout: child.stdout,
		stderr: child.stderr,
		exited: child.exited,
		get alive() {
			return alive();
		},
		kill(signal: NodeJS.Signals = "SIGTERM") {
			if (alive()) process.kill(innermost(), signal);
		},
	};
}

/** Host pids of a process's children; none if it is gone. */
export function childrenOf(pid: number): number[] {
	try {
		const words = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
		return words === "" ? [] : words.split(" ").map(Number);
	} catch {
		return [];
	}
}

/** Polls until `look` returns something, or fails saying what never came. */
export async function until<T>(
	what: string,
	timeoutMs: number,
	look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
	const deadline = Date.now() + timeoutMs;
	for (;;) {
		const found = await look();
		if (found !== undefined && found !== false) return found;
		if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
		await Bun.sleep(20);
	}
}

function killTree(pid: number): void {
	for (const child of childrenOf(pid)) killTree(child);
	try {
		process.kill(pid, "SIGKILL");
	} catch {
		// Gone by itself, or with its parent.
	}
}

function spawnOptions(options: SpawnOptions) {
	const { stdin } = options;
	return {
		stdin: typeof stdin === "string" ? new TextEncoder().encode(stdin) : (stdin ?? "ignore"),
		stdout: "pipe",
		stderr: "pipe",
		...(options.env && { env: { ...options.env } }),
		...(options.cwd && { cwd: options.cwd }),
	} as const;
}

function collect(stream: ReadableStream<Uint8Array>) {
	const decoder = new TextDecoder();
	let text = "";
	const read = async () => {
		for await (const chunk of stream) text += decoder.decode(chunk, { stream: true });
	};
	return { ended: read(), text: () => text };
}
