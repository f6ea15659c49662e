// The local socket: one small process for each user, a unix socket for each docker context. Whoever may open the socket
// acts as the user, so it is the user's alone, as the credential's file is.
//
// What it serves stands in skein.json, and is read again when a command says so on the control socket.

import { Database } from "bun:sqlite";
import { chmod, mkdir, unlink } from "node:fs/promises";
import { z } from "zod";
import { type Listener, listen, type Serve } from "../control-plane/connection/listen.ts";
import { messageOf } from "../model/errors.ts";
import { Complaint } from "./complaint.ts";
import { forward, type Target } from "./forward.ts";
import { type Places, readLogins } from "./logins.ts";

export const stateSchema = z.object({
	pid: z.number(),
	version: z.string(),
	contexts: z.array(z.string()),
});

interface Open {
	target: Target;
	readonly listener: Listener;
}

/** Serves until it is told to stop. Throws when another process does already. */
export async function serveSocket(
	places: Places,
	version: string,
	say: (line: string) => void,
): Promise<void> {
	// A socket is nobody else's from its first moment on.
	process.umask(0o077);
	await mkdir(places.folder, { recursive: true, mode: 0o700 });
	const lock = lockOf(places);
	const open = new Map<string, Open>();
	const ended = Promise.withResolvers<void>();

	async function reload(): Promise<void> {
		const wanted = await targetsOf(places);
		for (const [name, { listener }] of open) {
			if (wanted.has(name)) continue;
			open.delete(name);
			await listener.stop();
			await remove(places.socketOf(name));
		}
		for (const [name, target] of wanted) {
			const known = open.get(name);
			if (known) known.target = target;
			else open.set(name, await opened(places.socketOf(name), target));
		}
	}

	const control: Serve = async (request) => {
		const { pathname } = new URL(request.url);
		try {
			if (pathname === "/reload") await reload();
			// The answer goes out first.
			if (pathname === "/stop") setTimeout(ended.resolve, 50);
			return Response.json({ pid: process.pid, version, contexts: [...open.keys()] });
		} catch (error) {
			return Response.json({ message: messageOf(error) }, { status: 500 });
		}
	};

	await remove(places.control);
	await reload();
	const controlled = await listen({ path: places.control }, control);
	say(`serving ${[...open.keys()].join(", ") || "no context yet"}`);
	process.on("SIGTERM", () => ended.resolve());
	process.on("SIGINT", () => ended.resolve());
	// The terminal that it was started from may be closed.
	process.on("SIGHUP", () => undefined);
	await ended.promise;
	await Promise.all([
		controlled.stop(),
		...[...open.values()].map(({ listener }) => listener.stop()),
	]);
	await Promise.all([places.control, ...[...open.keys()].map(places.socketOf)].map(remove));
	lock.close();
	say("ended");
}

async function opened(path: string, target: Target): Promise<Open> {
	await remove(path);
	const open: { target: Target; listener?: Listener } = { target };
	open.listener = await listen(
		{ path },
		forward(() => open.target),
	);
	await chmod(path, 0o600);
	return open as Open;
}

async function targetsOf(places: Places): Promise<Map<string, Target>> {
	const targets = new Map<string, Target>();
	for (const { url, token, contexts } of await readLogins(places)) {
		for (const [name, { endpoint }] of Object.entries(contexts)) {
			targets.set(name, { endpoint, token, login: url });
		}
	}
	return targets;
}

/** SQLite's own lock: it ends with the process, however that ends. */
function lockOf({ folder }: Places): Database {
	const lock = new Database(`${folder}/.lock`);
	try {
		lock.run("pragma locking_mode = exclusive");
		lock.run("begin exclusive");
	} catch (cause) {
		throw new Complaint("the local socket runs already: docker skein status", { cause });
	}
	return lock;
}

async function remove(path: string): Promise<void> {
	await unlink(path).catch((error: unknown) => {
		if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
	});
}
