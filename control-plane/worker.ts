// The control plane at the edge: the same doors over the same store, one short life per request.
//
// Nothing that waits may pass from one request to another, so each makes its own database client and its own hosts;
// only plain facts are kept between them. There are no timers: agents' polls and the cron plan what is due.
// Streams of logs need both ends in one process, so here their readers are told that the node did not answer.

import script from "../edge-agent/install.sh" with { type: "text" };
import type { ClusterId } from "../model/id.ts";
import manifest from "../package.json" with { type: "json" };
import { owner } from "./accounts/auth.ts";
import { importServerKey, sha256 } from "./accounts/tokens.ts";
import { app } from "./app.ts";
import { type HostedClusters, hostClusters, randomId } from "./clusters.ts";
import type { Identity } from "./dispatcher/identity.ts";
import { Streams } from "./dispatcher/streams.ts";
import { plan, planAfter } from "./manager/plan.ts";
import { openAccounts } from "./store/accounts.ts";
import { type Database, openDatabase } from "./store/client.ts";
import { migrate } from "./store/migrate.ts";
import type { Held } from "./store/snapshot.ts";
import type { InstallFile, World } from "./world.ts";

export interface Env {
	readonly SKEIN_DATABASE_URL: string;
	readonly SKEIN_DATABASE_TOKEN?: string;
	/** A secret of any length: join tokens are derived from it. */
	readonly SKEIN_KEY: string;
	/** The owner's token. */
	readonly SKEIN_TOKEN: string;
	/** Where people and agents reach this; the request's own address otherwise. */
	readonly SKEIN_URL?: string;
	readonly SKEIN_MESH_RANGE?: string;
	readonly SKEIN_NODE_TIMEOUT_MS?: string;
	/** What the install line loads: a line "name sha256 url" for each file. */
	readonly SKEIN_INSTALL_FILES?: string;
}

/** What the runtime gives with a request. */
interface Context {
	waitUntil(work: Promise<unknown>): void;
}

/** Twice the self-hosted one's: a poll that is held here looks at the database now and then, so fewer are cheaper. */
const nodeTimeoutMs = 24_000;

const report = (error: unknown) => {
	// biome-ignore lint/suspicious/noConsole: it is the edge's log
	console.error(error);
};
const routes = app({ version: manifest.version, insecureRegistries: [], onFault: report });

// Facts, and nothing that belongs to a request.
const snapshots = new Map<ClusterId, Held>();
const identities = new Map<string, Identity>();
const prepared = new Set<string>();

export default {
	async fetch(request: Request, env: Env, context: Context): Promise<Response> {
		const { world } = await build(env, context);
		return routes.fetch(request, { world, via: "tcp" });
	},

	async scheduled(_event: unknown, env: Env, context: Context): Promise<void> {
		const { world } = await build(env, context);
		for (const id of await world.accounts.allClusters()) {
			const host = await world.hosted.host(id);
			await host.sayAlive();
			await host.sweep();
			await host.prune();
		}
	},
};

async function build(
	env: Env,
	context: Context,
): Promise<{ readonly world: World; readonly database: Database }> {
	const database = await openDatabase({
		url: env.SKEIN_DATABASE_URL,
		...(env.SKEIN_DATABASE_TOKEN && { authToken: env.SKEIN_DATABASE_TOKEN }),
	});
	const accounts = openAccounts(database);
	// An isolate keeps to few clusters; what it forgets it reads again.
	if (snapshots.size > 16) snapshots.clear();
	const hosted = hostClusters({
		database,
		accounts,
		key: await importServerKey(env.SKEIN_KEY),
		world: {
			planner: { plan, planAfter },
			name: randomId(),
			nowMs: () => Date.now(),
			newId: randomId,
			listeningSinceMs: () => null,
			background: (work) => context.waitUntil(work),
			timers: false,
			log: report,
		},
		snapshots,
		meshRange: env.SKEIN_MESH_RANGE ?? "10.200.0.0/16",
		nodeTimeoutMs: Number(env.SKEIN_NODE_TIMEOUT_MS ?? nodeTimeoutMs),
	});
	await prepare(env, database, hosted);
	const world: World = {
		accounts,
		hosted,
		streams: new Streams(),
		identities,
		install: installFiles(env),
		publicUrl: env.SKEIN_URL,
		listenUrl: env.SKEIN_URL ?? "",
		nowMs: () => Date.now(),
		newId: randomId,
	};
	return { world, database };
}

/** Once in an isolate's life: tables, the owner's token, and a cluster where there never was one. */
async function prepare(env: Env, database: Database, hosted: HostedClusters): Promise<void> {
	if (prepared.has(env.SKEIN_DATABASE_URL)) return;
	await migrate(database);
	const accounts = openAccounts(database);
	await accounts.putToken(await sha256(env.SKEIN_TOKEN), owner, Date.now());
	if (!(await accounts.everHadCluster())) {
		await hosted
			.of(owner)
			.create({})
			.catch(async (error: unknown) => {
				// Another isolate that started together with this one was first.
				if (!(await accounts.clusterOf(owner))) throw error;
			});
	}
	prepared.add(env.SKEIN_DATABASE_URL);
}

function installFiles(env: Env): World["install"] {
	const files: InstallFile[] = (env.SKEIN_INSTALL_FILES ?? "")
		.split("\n")
		.map((line) => line.trim().split(/\s+/))
		.flatMap(([name, sum, url]) => (name && sum && url ? [{ name, sha256: sum, url }] : []));
	return {
		script: async () => script,
		files: async () => files,
		open: async (name) => {
			const file = files.find((each) => each.name === name);
			return file?.url === undefined ? undefined : Response.redirect(file.url, 302);
		},
	};
}
