// The self-hosted control plane: `npm start`. Builds the real world from the environment, listens on TCP and on a unix
// socket, and ends cleanly on Ctrl-C. What runs on the nodes goes on running.

import { createSocket } from "node:dgram";
import { chmod, mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { homedir, networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import manifest from "../package.json" with { type: "json" };
import { owner } from "./accounts/auth.ts";
import { importServerKey, newOwnerToken, sha256 } from "./accounts/tokens.ts";
import { app } from "./app.ts";
import { hostClusters, randomId } from "./clusters.ts";
import { Streams } from "./dispatcher/streams.ts";
import { makeFirstNode, nextSteps } from "./first-node.ts";
import { localInstallFiles } from "./installables.ts";
import { lockDatabase } from "./lock.ts";
import { plan, planAfter } from "./manager/plan.ts";
import type { HostWorld } from "./reconcile.ts";
import { readSettings, type Settings } from "./settings.ts";
import { openAccounts } from "./store/accounts.ts";
import { openDatabase } from "./store/client.ts";
import { migrate } from "./store/migrate.ts";
import type { World } from "./world.ts";

const sweepMs = 2_000;
const tickMs = 1_000;
/** A process that did not run for so long (a laptop asleep, a starved machine) could not hear its agents. */
const asleepMs = 5_000;
const pruneMs = 600_000;
const sayAliveMs = 60_000;

async function main(): Promise<void> {
	// Whatever we make is its owner's alone; the socket is opened up below.
	const umask = process.umask(0o077);
	const settings = readSettings(process.env, {
		isRoot: process.getuid?.() === 0,
		home: homedir(),
	});
	await mkdir(settings.data, { recursive: true, mode: 0o700 });
	await refuseTakenSocket(settings.socket);

	if (settings.databaseUrl.startsWith("file:")) {
		lockDatabase(settings.databaseUrl.slice("file:".length));
	}
	const database = await openDatabase({
		url: settings.databaseUrl,
		...(settings.databaseToken && { authToken: settings.databaseToken }),
	});
	await migrate(database);
	const accounts = openAccounts(database);
	const key = await importServerKey(await serverKey(settings));
	const token = await ownerToken(settings.data);
	await accounts.putToken(await sha256(token), owner, Date.now());

	const timers: ReturnType<typeof setInterval>[] = [];
	const every = (ms: number, work: () => void) => timers.push(setInterval(work, ms));
	let listeningSinceMs = Date.now();
	let lastTickMs = Date.now();
	every(tickMs, () => {
		if (Date.now() - lastTickMs > asleepMs) listeningSinceMs = Date.now();
		lastTickMs = Date.now();
	});
	const world: HostWorld = {
		planner: { plan, planAfter },
		name: randomId(),
		nowMs: () => Date.now(),
		newId: randomId,
		listeningSinceMs: () => (Date.now() - lastTickMs > asleepMs ? Date.now() : listeningSinceMs),
		background: (work) => void work.catch(() => undefined),
		timers: true,
		log: (message) => console.error(message),
	};
	const hosted = hostClusters({
		database,
		accounts,
		key,
		world,
		snapshots: new Map(),
		meshRange: settings.meshRange,
		nodeTimeoutMs: settings.nodeTimeoutMs,
	});
	if (settings.makeCluster && !(await accounts.everHadCluster())) await hosted.of(owner).create({});
	// Opened now, so that time goes on in them although nobody asks.
	for (const id of await accounts.allClusters()) await hosted.host(id);

	const forEach =
		(work: (host: Awaited<ReturnType<typeof hosted.host>>) => Promise<void>) => () => {
			void hosted
				.open()
				.then((hosts) =>
					Promise.all(
						hosts.map((host) =>
							work(host).catch((error: unknown) => console.error(`cluster ${host.id}: ${error}`)),
						),
					),
				);
		};
	every(
		sweepMs,
		forEach((host) => host.sweep()),
	);
	every(
		pruneMs,
		forEach((host) => host.prune()),
	);
	if (!database.exclusive)
		every(
			sayAliveMs,
			forEach((host) => host.sayAlive()),
		);

	const routes = app({
		version: manifest.version,
		insecureRegistries: settings.insecureRegistries,
		onFault: (error) => console.error(error),
	});
	const serve =
		(via: "socket" | "tcp"): Serve =>
		(request, server) => {
			// Logs and events may say nothing for hours.
			server.timeout(request, 0);
			return routes.fetch(request, { world: doors, via });
		};
	const tcp = listenTcp(settings, serve("tcp"));
	const port = tcp.port ?? settings.listen.port;
	const listening = await urlOf({ host: settings.listen.host, port });
	const doors: World = {
		accounts,
		hosted,
		streams: new Streams(),
		identities: new Map(),
		install: localInstallFiles(settings.data),
		publicUrl: settings.publicUrl,
		listenUrl: settings.publicUrl ?? listening,
		nowMs: world.nowMs,
		newId: world.newId,
	};
	const socket = listenSocket(settings.socket, serve("socket"));
	await chmod(settings.socket, 0o660);
	process.umask(umask);

	let ending = false;
	const end = async () => {
		if (ending) return;
		ending = true;
		setTimeout(() => process.exit(1), 5_000).unref();
		for (const timer of timers) clearInterval(timer);
		await hosted.close();
		await Promise.all([tcp.stop(true), socket.stop(true)]);
		await unlink(settings.socket).catch(() => undefined);
		database.close();
		console.log("ended; what runs on the nodes goes on running");
		process.exit(0);
	};
	process.on("SIGINT", () => void end());
	process.on("SIGTERM", () => void end());

	console.log(`data       ${settings.data}`);
	console.log(`socket     unix://${settings.socket}`);
	console.log(`listening  ${listening}  (token: ${join(settings.data, "token")})`);
	const id = await accounts.clusterOf(owner);
	if (id) {
		const first = {
			host: await hosted.host(id),
			clusters: hosted.of(owner),
			install: doors.install,
			url: doors.listenUrl,
			wanted: settings.makeNode,
			isRoot: process.getuid?.() === 0,
			say: (line: string) => console.log(line),
		};
		await makeFirstNode(first).catch((error: unknown) => {
			if (!ending) console.error(`this machine was not made a node: ${messageOf(error)}`);
		});
		if (ending) return;
		for (const line of await nextSteps(first, settings.socket)) console.log(line);
	}
	console.log(`Skein ${manifest.version} is ready`);
}

type Serve = (request: Request, server: Bun.Server<undefined>) => Response | Promise<Response>;

function listenTcp(settings: Settings, fetch: Serve) {
	const { host, port } = settings.listen;
	try {
		return Bun.serve({ hostname: host, port, idleTimeout: 255, fetch });
	} catch (error) {
		throw new Error(
			`SKEIN_LISTEN: cannot listen on ${host}:${port} (${messageOf(error)}): end what listens there or choose another port`,
			{ cause: error },
		);
	}
}

/** Bun's types know no idle time for a socket, but without one it ends a silent answer after ten seconds. */
function listenSocket(path: string, fetch: Serve) {
	const forEver = { unix: path, idleTimeout: 0, fetch };
	return Bun.serve(forEver as { unix: string; fetch: Serve });
}

/** A socket that nobody answers on is left over from a process that was killed. */
async function refuseTakenSocket(path: string): Promise<void> {
	await mkdir(dirname(path), { recursive: true });
	const answered = await fetch("http://skein/_ping", {
		unix: path,
		signal: AbortSignal.timeout(2_000),
	}).then(
		() => true,
		() => false,
	);
	if (answered) {
		throw new Error(
			`SKEIN_SOCKET: ${path} is in use by another control plane: end that one, or give this one a socket and SKEIN_DATA of its own`,
		);
	}
	await unlink(path).catch((error: unknown) => {
		if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
	});
}

async function serverKey(settings: Settings): Promise<string> {
	if (settings.key) return settings.key;
	const path = join(settings.data, "key");
	const fresh = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64");
	return secretFile(path, fresh);
}

const ownerToken = (data: string) => secretFile(join(data, "token"), newOwnerToken());

/** The file's content; where there is none, it is made with what is given, for its owner alone. */
async function secretFile(path: string, fresh: string): Promise<string> {
	await writeFile(path, `${fresh}\n`, { flag: "wx", mode: 0o600 }).catch((error: unknown) => {
		if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
	});
	return (await readFile(path, "utf8")).trim();
}

/** An address that others can use: a wildcard becomes the machine's own, as others see it. */
async function urlOf({ host, port }: Settings["listen"]): Promise<string> {
	const isWildcard = host === "0.0.0.0" || host === "::";
	const shown = isWildcard ? ((await outwardAddress()) ?? firstAddress() ?? "127.0.0.1") : host;
	return `http://${shown.includes(":") ? `[${shown}]` : shown}:${port}`;
}

/**
 * Of the way out: a machine with Docker has more addresses, which nobody else knows. Nothing is sent, to an address
 * that is nobody's.
 */
function outwardAddress(): Promise<string | undefined> {
	return new Promise((resolve) => {
		const socket = createSocket("udp4");
		const end = (address?: string) => {
			socket.close();
			resolve(address);
		};
		socket.on("error", () => end());
		socket.connect(9, "192.0.2.1", () => {
			const { address } = socket.address();
			// What Bun says where there is no way out.
			end(address === "0.0.0.0" ? undefined : address);
		});
	});
}

/** Of a machine without a way out. */
function firstAddress(): string | undefined {
	return Object.values(networkInterfaces())
		.flat()
		.find((each) => each && each.family === "IPv4" && !each.internal)?.address;
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

try {
	await main();
} catch (error) {
	console.error(`skein: ${messageOf(error)}`);
	process.exit(1);
}
