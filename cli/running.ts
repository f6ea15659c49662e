// The local socket's process, seen from a command: is it there, start it, tell it what changed, end it.

import { spawn } from "node:child_process";
import { mkdir, open, readFile } from "node:fs/promises";
import type { z } from "zod";
import { Complaint } from "./complaint.ts";
import type { Places } from "./logins.ts";
import { stateSchema } from "./socket.ts";

export type State = z.infer<typeof stateSchema>;

export const startMs = 10_000;
const otherMs = 2_000;
/** A unix socket's path is an array of 108 bytes. */
const longestPath = 107;

/** Undefined when it does not run. */
export async function stateOf(places: Places, path = "/"): Promise<State | undefined> {
	let reply: Response;
	try {
		reply = await fetch(`http://skein${path}`, {
			unix: places.control,
			method: path === "/" ? "GET" : "POST",
		});
	} catch {
		return undefined;
	}
	const body: unknown = await reply.json();
	if (!reply.ok) throw new Complaint((body as { message: string }).message);
	return stateSchema.parse(body);
}

/** Runs, and serves what stands in skein.json now. `program` is how this very program is started. */
export async function ensureRunning(places: Places, program: readonly string[]): Promise<State> {
	refuseLongPath(places.socketOf("x".repeat(32)));
	const running = await stateOf(places, "/reload");
	if (running) return running;
	await mkdir(places.folder, { recursive: true, mode: 0o700 });
	const log = await open(places.log, "a", 0o600);
	const [command = "", ...args] = program;
	const child = spawn(command, [...args, "skein", "socket", "--run"], {
		// Its own session: it outlives the terminal, and Ctrl-C there is not meant for it.
		detached: true,
		cwd: "/",
		stdio: ["ignore", log.fd, log.fd],
		env: { ...process.env, DOCKER_CONFIG: places.config },
	});
	child.unref();
	await log.close();
	let until = performance.now() + startMs;
	// One that ends at once may have found another that is about to serve.
	child.once("exit", () => {
		until = performance.now() + otherMs;
	});
	const state = await startedBefore(places, () => until);
	if (state) return state;
	const said = await readFile(places.log, "utf8").catch(() => "");
	const last = said.trim().split("\n").at(-1) ?? "";
	throw new Complaint(`the local socket does not start: ${last} (its log is ${places.log})`);
}

/** Undefined when it does not run by then. */
export async function startedBefore(
	places: Places,
	untilMs: () => number,
): Promise<State | undefined> {
	do {
		const state = await stateOf(places);
		if (state) return state;
		await Bun.sleep(20);
	} while (performance.now() < untilMs());
	return undefined;
}

/** False when it did not run. */
export async function endRunning(places: Places): Promise<boolean> {
	const state = await stateOf(places, "/stop");
	if (!state) return false;
	const until = performance.now() + startMs;
	while (isAlive(state.pid) && performance.now() < until) await Bun.sleep(20);
	return true;
}

function isAlive(pid: number): boolean {
	try {
		process.kill(pid, 0);
		return true;
	} catch {
		return false;
	}
}

function refuseLongPath(path: string): void {
	if (Buffer.byteLength(path) <= longestPath) return;
	throw new Complaint(
		`${path} is too long for a unix socket: give docker a shorter folder with DOCKER_CONFIG`,
	);
}
