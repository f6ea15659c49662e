// The self-hosted control plane: `npm start`. Builds the real world from the environment, listens on TCP and on a unix
// socket, and ends cleanly on Ctrl-C. What runs on the nodes goes on running.

import { createSocket } from "node:dgram";
import { chmod, mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { homedir, networkInterfaces } from "node:os";
import { dirname, join } from "node:path";
import type { AgentOffer } from "../model/change.ts";
import manifest from "../package.json" with { type: "json" };
import { openAccess } from "./accounts/access.ts";
import { owner } from "./accounts/actor.ts";
import { putOwnerToken } from "./accounts/auth.ts";
import { importMasterKeys } from "./accounts/master.ts";
import { signInSettings } from "./accounts/signin.ts";
import { throttleInMemory } from "./accounts/throttle.ts";
import { newOwnerToken } from "./accounts/tokens.ts";
import { app } from "./app.ts";
import { after, hostClusters, randomId } from "./clusters.ts";
import { type Listener, listen, type Serve } from "./connection/listen.ts";
import { listenTls } from "./connection/tls.ts";
import { handleRest } from "./deployments/deliver.ts";
import { lookEveryMs, lookForPushes } from "./deployments/lookout.ts";
import { planner } from "./deployments/plan.ts";
import { tellForges, type Why } from "./deployments/tell.ts";
import { ProcessRelay } from "./dispatcher/relay.ts";
import { makeFirstNode, nextSteps } from "./first-node.ts";
import { agentRelease, localInstallFiles, servedSinceMs } from "./installables.ts";
import { followKeys } from "./keys.ts";
import { lockDatabase } from "./lock.ts";
import { jsonLog, plainLog } from "./operations/log.ts";
import { Metrics } from "./operations/metrics.ts";
import { readinessOf } from "./operations/readiness.ts";
import { measureClusters, measureKeyrings } from "./operations/router.ts";
import { clientOf } from "./proxies.ts";
import type { ClusterHost, HostWorld } from "./reconcile.ts";
import { readSettings, type Settings } from "./settings.ts";
import { type Database, openDatabase } from "./store/client.ts";
import { counted } from "./store/counted.ts";
import { isThere, openDirectory } from "./store/directory.ts";
import { migrate } from "./store/migrate.ts";
import { openShards } from "./store/shards.ts";
import { refsWithin } from "./webhooks/refs.ts";
import type { World } from "./world.ts";

const sweepMs = 2_000;
const tickMs = 1_000;
/** A process that did not run for so long (a laptop asleep, a starved machine) could not hear its agents. */
const asleepMs = 5_000;
const pruneMs = 600_000;
const sweepKeysMs = 60_000;
const mendMs = 60_000;
const sayAliveMs = 60_000;
/** Longer than a person waits who pressed Ctrl-C. */
const endWithinMs = 5_000;

async function main(): Promise<void> {
	// Whatever we make is its owner's alone; the socket is opened up below.
	const umask = process.umask(0o077);
	const settings = readSettings(process.env, {
		isRoot: process.getuid?.() === 0,
		home: homedir(),
	});
	await mkdir(settings.data, { recursive: true, mode: 0o700 });
	await refuseTakenSocket(settings.socket);

	for (const { url } of [{ url: settings.databaseUrl }, ...settings.shards]) {
		if (url.startsWith("file:")) lockDatabase(url.slice("file:".length));
	}
	const stderr = (line: string) => console.error(line);
	const log = settings.log === "json" ? jsonLog(stderr, Date.now) : plainLog(stderr);
	const metrics = new Metrics();
	const opened = await openDatabase({
		url: settings.databaseUrl,
		...(settings.databaseToken && { authToken: settings.databaseToken }),
	});
	const watched = (each: Database) => counted(each, metrics, () => performance.now());
	const database = watched(opened);
	await migrate(database);
	const directory = openDirectory(database);
	const shards = openShards(database, settings.shards, { watched });
	const key = await masterKey(settings);
	const masters = await importMasterKeys(key, settings.oldKeys);
	const token = await ownerToken(settings.data);
	const access = openAccess(database, await signInSettings(key, settings.signIn), (work) => {
		work.catch((cause: unknown) =>
			log({ level: "error", message: "in the background of a request", cause }),
		);
	});
	await putOwnerToken(access, token, Date.now());

	let ending = false;
	const timers: ReturnType<typeof setInterval>[] = [];
	const every = (ms: number, work: () => void) => timers.push(setInterval(work, ms));
	const startedMs = Date.now();
	let listeningSinceMs = startedMs;
	let lastTickMs = Date.now();
	const install = localInstallFiles(settings.data, settings.agentFile);
	let agent: AgentOffer | undefined;
	const offer = async () => {
		const release = await agentRelease(install, settings.data);
		const sinceMs = await servedSinceMs(settings.data, release, startedMs);
		return { ...release, sinceMs, soakMs: settings.agentSoakMs };
	};
	offer().then(
		(offered) => {
			agent = offered;
		},
		(cause) => {
			// Ctrl-C in a terminal ends the program that was asked for its version, too, and we may hear of that first.
			setImmediate(() => {
				if (!ending) log({ level: "warn", message: "agents stay as they are", cause });
			});
		},
	);
	let lagMs = 0;
	every(tickMs, () => {
		if (Date.now() - lastTickMs > asleepMs) listeningSinceMs = Date.now();
		lagMs = Math.max(lagMs, Date.now() - lastTickMs - tickMs);
		lastTickMs = Date.now();
	});
	const forges = { insecure: settings.insecureForges, isPrivateAllowed: true };
	const tell = async (host: ClusterHost, why: Why) => {
		if (host.held().unsettled.untold.size === 0) return;
		const { publicUrl } = settings;
		await tellForges(host, { reach: forges, publicUrl, nowMs: Date.now }, why);
	};
	const world: HostWorld = {
		planner,
		name: randomId(),
		nowMs: () => Date.now(),
		after,
		random: Math.random,
		newId: randomId,
		listeningSinceMs: () => (Date.now() - lastTickMs > asleepMs ? Date.now() : listeningSinceMs),
		background: (work) => void work.catch(() => undefined),
		metrics,
		agent: () => agent,
		landed: (host) =>
			void tell(host, "decided").catch((cause: unknown) =>
				log({ level: "warn", message: "a forge is told later", cause }),
			),
		log: (message) => log({ level: "error", message }),
	};
	const hosted = hostClusters({
		directory,
		shards,
		masters,
		world,
		snapshots: new Map(),
		meshRange: settings.meshRange,
		nodeTimeoutMs: settings.nodeTimeoutMs,
		limits: settings.limits,
	});
	// Nobody else can be at anything in a file that is ours alone.
	await hosted.mend(database.exclusive ? 0 : undefined);
	if (settings.makeCluster) await hosted.makeFirst(owner);
	// Opened now, so that time goes on in them although nobody asks.
	for (const { cluster } of (await directory.placements()).filter(isThere)) {
		await hosted.host(cluster);
	}

	const forEach =
		(work: (host: Awaited<ReturnType<typeof hosted.host>>) => Promise<void>) => () => {
			void hosted
				.open()
				.then((hosts) =>
					Promise.all(
						hosts.map((host) =>
							work(host).catch((cause: unknown) =>
								log({ level: "error", message: `cluster ${host.id}`, cause }),
							),
						),
					),
				);
		};
	every(
		sweepMs,
		forEach((host) => host.sweep()),
	);
	every(
		sweepMs,
		forEach((host) => tell(host, "clock")),
	);
	every(mendMs, () => {
		hosted
			.mend()
			.catch((cause: unknown) => log({ level: "error", message: "mending placements", cause }));
	});
	every(
		mendMs,
		forEach((host) => handleRest(host, refsWithin(forges))),
	);
	every(
		lookEveryMs,
		forEach((host) =>
			lookForPushes(host, (message) => log({ level: "warn", message }), refsWithin(forges)),
		),
	);
	every(
		pruneMs,
		forEach((host) => host.prune()),
	);
	every(
		pruneMs,
		() =>
			void access.audit
				.prune(Date.now())
				.catch((cause: unknown) => log({ level: "warn", message: "the audit log's end", cause })),
	);
	if (!database.exclusive)
		every(
			sayAliveMs,
			forEach((host) => host.sayAlive()),
		);

	const sayKeys = whenNew(world.log);
	await followKeys(hosted, sayKeys, true);
	every(sweepKeysMs, () => void followKeys(hosted, sayKeys, false));

	const routes = app({
		version: manifest.version,
		insecureRegistries: settings.insecureRegistries,
	});
	const serve =
		(via: "socket" | "tcp"): Serve =>
		(request, stdin, upgrade, peer) =>
			routes.fetch(request, {
				world: doors,
				via,
				...(stdin && { stdin }),
				...(upgrade && { upgrade }),
				...peer,
				...(peer?.address !== undefined && {
					address: clientOf(
						peer.address,
						request.headers.get("X-Forwarded-For"),
						settings.trustedProxies,
					),
				}),
			});
	const tcp = await listenTcp(settings, serve("tcp"));
	const plain = await urlOf({ host: settings.listen.host, port: tcp.port });
	const listening = settings.tls ? plain.replace("http:", "https:") : plain;
	const doors: World = {
		directory,
		access,
		hosted,
		relay: new ProcessRelay(),
		identities: new Map(),
		throttle: throttleInMemory(Date.now),
		forges,
		install,
		operations: {
			log,
			metrics,
			ready: readinessOf(database, shards, hosted, Date.now),
			metricsTokens: [token, ...settings.metricsTokens],
			async measure() {
				measureClusters(metrics, await hosted.open());
				await measureKeyrings(metrics, hosted.keyrings);
				metrics.set("memory", {}, process.memoryUsage.rss());
				metrics.set("started", {}, Math.round(startedMs / 1000));
				metrics.set("lag", {}, lagMs / 1000);
				lagMs = 0;
			},
		},
		publicUrl: settings.publicUrl ?? (settings.tls && listening),
		dockerHost: settings.dockerHost,
		listenUrl: settings.publicUrl ?? listening,
		background: world.background,
		nowMs: world.nowMs,
		newId: world.newId,
	};
	const socket = await listen({ path: settings.socket }, serve("socket"));
	await chmod(settings.socket, 0o660);
	process.umask(umask);

	const end = async () => {
		if (ending) return;
		ending = true;
		let awaited = "what is being written";
		setTimeout(() => {
			console.error(`skein: ended by force: ${awaited} took more than ${endWithinMs / 1000} s`);
			process.exit(1);
		}, endWithinMs).unref();
		for (const timer of timers) clearInterval(timer);
		await hosted.close();
		awaited = "closing connections";
		await Promise.all([tcp.stop(), socket.stop()]);
		awaited = "closing the database";
		await unlink(settings.socket).catch(() => undefined);
		shards.close();
		database.close();
		console.log("ended; what runs on the nodes goes on running");
		process.exit(0);
	};
	process.on("SIGINT", () => void end());
	process.on("SIGTERM", () => void end());

	console.log(`data       ${settings.data}`);
	console.log(`socket     unix://${settings.socket}`);
	console.log(`listening  ${listening}  (token: ${join(settings.data, "token")})`);
	const [cluster] = await hosted.of(owner).list();
	if (cluster) {
		const first = {
			host: await hosted.host(cluster.id),
			clusters: hosted.of(owner),
			install: doors.install,
			url: doors.listenUrl,
			wanted: settings.makeNode,
			isRoot: process.getuid?.() === 0,
			say(line: string) {
				if (!ending) console.log(line);
			},
		};
		await makeFirstNode(first).catch((error: unknown) => {
			if (!ending) console.error(`this machine was not made a node: ${messageOf(error)}`);
		});
		if (ending) return;
		for (const line of await nextSteps(first, settings.socket)) console.log(line);
	}
	console.log(`Skein ${manifest.version} is ready`);
}

/** Says a line once, until there is another one. */
function whenNew(log: (message: string) => void): (message: string) => void {
	let last = "";
	return (message) => {
		if (message !== last) log(message);
		last = message;
	};
}

async function listenTcp(settings: Settings, serve: Serve): Promise<Listener> {
	const { host, port } = settings.listen;
	try {
		if (!settings.tls) return await listen({ host, port }, serve);
		const [cert, key] = await Promise.all([
			readFile(settings.tls.cert, "utf8"),
			readFile(settings.tls.key, "utf8"),
		]);
		return await listenTls({ host, port }, { cert, key }, serve);
	} catch (error) {
		throw new Error(
			`SKEIN_LISTEN: cannot listen on ${host}:${port} (${messageOf(error)}): end what listens there or choose another port`,
			{ cause: error },
		);
	}
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

async function masterKey(settings: Settings): Promise<string> {
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
