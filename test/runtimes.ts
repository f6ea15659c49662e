// The whole control plane in each place it has to run: Bun over a file, Bun over a libSQL server, workerd over one.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Miniflare } from "miniflare";
import { freePort, hasSqld, startSqld, type TestDatabase } from "./store/databases.ts";

const root = join(import.meta.dir, "..");

/** A poll is held for a third of it: long enough to tell a held one, short enough not to wait for. */
const nodeTimeoutMs = "3000";

/** The master key, at the edge. */
export const testKey = "a key for tests";

/** The owner's, at the edge. */
export const testToken = "skein-test-token";

export type Settings = Readonly<Record<string, string>>;

export interface Runtime {
	readonly url: string;
	/** The owner's. */
	readonly token: string;
	/** Docker's, on the machine that it runs on; the edge runs on none. */
	readonly socket?: string;
	/** Lets a minute pass, as far as the runtime's cron is concerned. */
	cron(): Promise<void>;
	stop(): Promise<void>;
}

export const runtimes: readonly {
	readonly name: string;
	readonly there: boolean;
	/** Reached over the network alone. */
	readonly hosted: boolean;
	/** With these settings besides. */
	start(settings?: Settings): Promise<Runtime>;
}[] = [
	{ name: "Bun over a file", there: true, hosted: false, start: (env = {}) => startBun({ env }) },
	{ name: "Bun over a libSQL server", there: hasSqld, hosted: false, start: startBunOverSqld },
	{ name: "workerd over a libSQL server", there: hasSqld, hosted: true, start: startWorkerd },
];

export interface BunProcess extends Runtime {
	readonly data: string;
	readonly socket: string;
	readonly process: Bun.Subprocess;
	readonly log: () => string;
}

/** As `npm start` does, on an address of its own. With `data` given it is the caller's to remove. */
export async function startBun(options: {
	readonly data?: string;
	readonly env?: Settings;
}): Promise<BunProcess> {
	const data = options.data ?? (await mkdtemp(join(tmpdir(), "skein-run-")));
	const socket = join(data, "skein.sock");
	const child = Bun.spawn([process.execPath, join(root, "control-plane/main.ts")], {
		cwd: root,
		env: {
			...process.env,
			SKEIN_LISTEN: "127.0.0.1:0",
			SKEIN_SOCKET: socket,
			SKEIN_DATA: data,
			SKEIN_NODE: "no",
			SKEIN_NODE_TIMEOUT_MS: nodeTimeoutMs,
			...options.env,
		},
		stdout: "pipe",
		stderr: "pipe",
	});
	let log = "";
	const ready = Promise.withResolvers<void>();
	const follow = async (stream: ReadableStream<Uint8Array>) => {
		const decoder = new TextDecoder();
		for await (const chunk of stream) {
			log += decoder.decode(chunk, { stream: true });
			if (log.includes("is ready")) ready.resolve();
		}
	};
	const streams = Promise.all([follow(child.stdout), follow(child.stderr)]);
	void child.exited.then(async () => {
		await streams;
		ready.reject(new Error(`the control plane ended:\n${log}`));
	});
	ready.promise.catch(() => undefined);
	await ready.promise;
	return {
		url: /listening +(\S+)/.exec(log)?.[1] ?? "",
		token: (await readFile(join(data, "token"), "utf8")).trim(),
		data,
		socket,
		process: child,
		log: () => log,
		cron: async () => undefined,
		async stop() {
			child.kill("SIGTERM");
			await child.exited;
			if (!options.data) await rm(data, { recursive: true, force: true });
		},
	};
}

async function startBunOverSqld(settings: Settings = {}): Promise<Runtime> {
	const database = await startSqld();
	const env = { SKEIN_DATABASE_URL: database.url, ...settings };
	const bun = await orStop(database, startBun({ env }));
	return {
		...bun,
		async stop() {
			await bun.stop();
			await database.stop();
		},
	};
}

async function startWorkerd(settings: Settings = {}): Promise<Runtime> {
	const database = await startSqld();
	return orStop(
		database,
		startWorkerOver(database, () => database.stop(), settings),
	);
}

/** What does not start leaves no server behind. */
async function orStop<Started>(
	database: TestDatabase,
	starting: Promise<Started>,
): Promise<Started> {
	try {
		return await starting;
	} catch (error) {
		await database.stop();
		throw error;
	}
}

export async function startWorkerOver(
	database: Pick<TestDatabase, "url">,
	stopped: () => Promise<void> = async () => undefined,
	bindings: Settings = {},
	listen: { readonly host: string; readonly port?: number } = { host: "127.0.0.1" },
): Promise<Runtime> {
	const folder = await mkdtemp(join(tmpdir(), "skein-worker-"));
	const built = await Bun.build({
		entrypoints: [join(root, "control-plane/worker.ts")],
		target: "browser",
		conditions: ["workerd"],
		external: ["cloudflare:workers", "node:*"],
		outdir: folder,
	});
	if (!built.success) throw new AggregateError(built.logs, "the worker does not build");
	const token = testToken;
	const { host, port = await freePort() } = listen;
	const miniflare = new Miniflare({
		modules: [{ type: "ESModule", path: join(folder, "worker.js") }],
		modulesRoot: folder,
		compatibilityDate: "2026-04-01",
		compatibilityFlags: ["enable_request_signal", "request_signal_passthrough", "nodejs_compat"],
		durableObjects: { CLUSTER: { className: "ClusterObject", useSQLite: true } },
		cf: false,
		host,
		port,
		bindings: {
			SKEIN_DATABASE_URL: database.url,
			SKEIN_KEY: testKey,
			SKEIN_TOKEN: token,
			SKEIN_LOG: "plain",
			SKEIN_NODE_TIMEOUT_MS: nodeTimeoutMs,
			...bindings,
		},
	});
	await miniflare.ready;
	return {
		url: `http://${host}:${port}`,
		token,
		async cron() {
			const worker = await miniflare.getWorker();
			const { outcome } = await worker.scheduled({ cron: "* * * * *" });
			if (outcome !== "ok") throw new Error(`the cron ended with ${outcome}`);
		},
		async stop() {
			await miniflare.dispose();
			await stopped();
			await rm(folder, { recursive: true, force: true });
		},
	};
}
