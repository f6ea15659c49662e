// The outside client: a program on the underlay, and on the host's files.

import {
	type Place,
	type Process,
	type Ran,
	type RunOptions,
	run,
	type SpawnOptions,
	start,
	succeeded,
} from "./run.ts";

/** The outside world: the underlay's own namespace, at 192.168.77.254, with the host's files. */
export const clientAddress = "192.168.77.254";

/**
 * Programs here see the host's files, /run and /tmp among them, so a unix socket
 * that one of them makes is reached from the controller by the same path. Their
 * network is the underlay alone: what listens on 192.168.77.254 is heard by the
 * nodes and by no one else.
 */
export class Client implements Place {
	readonly address = clientAddress;
	/** Host pid of the lab's first process. */
	readonly pid: number;

	constructor(pid: number) {
		this.pid = pid;
	}

	/** A command line that enters the client's namespaces. */
	get enter(): string[] {
		return ["nsenter", "-t", String(this.pid), "-m", "-n", "-p", "--"];
	}

	exec(command: readonly string[], options: RunOptions = {}): Promise<Ran> {
		return run(this.#inside(command, options), { ...options, env: environment(options) });
	}

	spawn(command: readonly string[], options: SpawnOptions = {}): Process {
		return start(this.#inside(command, options), 1, { ...options, env: environment(options) });
	}

	async must(command: readonly string[], options: RunOptions = {}): Promise<string> {
		return succeeded(command, await this.exec(command, options));
	}

	/** Entering a mount namespace leads to its root directory; env leads back. */
	#inside(command: readonly string[], options: SpawnOptions): string[] {
		return [...this.enter, "env", "-C", options.cwd ?? process.cwd(), ...command];
	}
}

function environment(options: SpawnOptions): Record<string, string> {
	return { ...process.env, ...options.env } as Record<string, string>;
}
