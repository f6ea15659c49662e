// What the worker and the clusters' objects both build from the environment: the store, the hosts, the world of the doors.
//
// Nothing that waits may pass from one request of a worker to another, so a worker builds this for each; an object
// keeps its own. Only plain facts are kept between them.

import cliScript from "../../cli/install.sh" with { type: "text" };
import agentScript from "../../edge-agent/install.sh" with { type: "text" };
import type { AgentOffer } from "../../model/change.ts";
import type { ClusterId } from "../../model/id.ts";
import { parseLimits } from "../../model/limits.ts";
import manifest from "../../package.json" with { type: "json" };
import { openAccess } from "../accounts/access.ts";
import { importMasterKeys, type MasterKeys, parseKeyList } from "../accounts/master.ts";
import { type SignInVariables, signInSettings } from "../accounts/signin.ts";
import { app } from "../app.ts";
import { after, hostClusters, randomId } from "../clusters.ts";
import { planner } from "../deployments/plan.ts";
import type { Identity } from "../dispatcher/identity.ts";
import type { Relay } from "../dispatcher/relay.ts";
import { jsonLog, plainLog } from "../operations/log.ts";
import { Metrics } from "../operations/metrics.ts";
import { readinessOf } from "../operations/readiness.ts";
import { measureClusters, measureKeyrings } from "../operations/router.ts";
import type { HostWorld } from "../reconcile.ts";
import { type Database, openDatabase } from "../store/client.ts";
import { counted } from "../store/counted.ts";
import { openDirectory } from "../store/directory.ts";
import { openShards, parseShards, type Shards } from "../store/shards.ts";
import type { InstallFile, World } from "../world.ts";

/** The variables and secrets of `wrangler.toml` that are text. */
export interface Settings extends SignInVariables {
	readonly SKEIN_DATABASE_URL: string;
	readonly SKEIN_DATABASE_TOKEN?: string;
	/** The master key, a secret of any length: every cluster's keys are wrapped under it. */
	readonly SKEIN_KEY: string;
	/** Master keys from before, accepted until nothing is wrapped under them (docs/runbooks/keys.md). */
	readonly SKEIN_OLD_KEYS?: string;
	/** The owner's token. */
	readonly SKEIN_TOKEN: string;
	/** Where clusters lie besides: `NAME=URL#TOKEN`, in lines or with commas; see store/shards.ts. */
	readonly SKEIN_AGENT_SOAK_MS?: string;
	readonly SKEIN_SHARDS?: string;
	/** Where people and agents reach this; the request's own address otherwise. */
	readonly SKEIN_URL?: string;
	/** What follows a cluster's name in a host name, where such names lead here: `docker.example.com`. */
	readonly SKEIN_DOCKER_HOST?: string;
	/** What an organization may have that has no limits of its own: `clusters=3 nodes=20 contents=10MB`. */
	readonly SKEIN_LIMITS?: string;
	readonly SKEIN_MESH_RANGE?: string;
	readonly SKEIN_NODE_TIMEOUT_MS?: string;
	/** `HOST[:PORT]` of forges that are told without TLS, or in a private network. */
	readonly SKEIN_INSECURE_FORGES?: string;
	/** What the install line loads: a line "name sha256 url" for each file. */
	readonly SKEIN_INSTALL_FILES?: string;
	/** `plain` leaves out what went well; JSON otherwise, every request. */
	readonly SKEIN_LOG?: string;
	/** May read the metrics, besides the owner's. */
	readonly SKEIN_METRICS_TOKEN?: string;
}

/** Twice the self-hosted one's: fewer signs of life are cheaper. */
export const nodeTimeoutMs = 24_000;

/** For how long a node must do well with a new agent before more nodes go there. */
const agentSoakMs = 120_000;

const line = (text: string) => {
	// biome-ignore lint/suspicious/noConsole: it is the edge's log
	console.error(text);
};
const log = jsonLog(line, Date.now);

export const report = (cause: unknown) => log({ level: "error", message: "at the edge", cause });

/** This isolate's, for as long as it lives. */
const metrics = new Metrics();

export const routes = app({ version: manifest.version, insecureRegistries: [] });

const identities = new Map<string, Identity>();
const imported = new Map<string, MasterKeys>();
/** Shards whose tables are up to date. */
const prepared = new Set<string>();

/** What differs between the two. */
export interface Place extends Pick<World, "passOn" | "bells" | "throttle"> {
	readonly relay: Relay;
	readonly alarm: (atMs: number) => void;
	readonly changed?: () => void;
	readonly landed?: HostWorld["landed"];
	/** Since when agents are offered the program here. Absent where none is offered: in the worker, which plans no cluster's life. */
	readonly servedSinceMs?: (sha256: string) => number;
	readonly background: HostWorld["background"];
}

export interface Edge {
	readonly database: Database;
	readonly shards: Shards;
	readonly world: World;
}

export async function openEdge(settings: Settings, place: Place): Promise<Edge> {
	const opened = await openDatabase({
		url: settings.SKEIN_DATABASE_URL,
		...(settings.SKEIN_DATABASE_TOKEN && { authToken: settings.SKEIN_DATABASE_TOKEN }),
	});
	const watched = (each: Database) => counted(each, metrics, Date.now);
	const database = watched(opened);
	const directory = openDirectory(database);
	const configs = parseShards(settings.SKEIN_SHARDS);
	const shards = openShards(database, configs, { prepared, watched });
	const agent = place.servedSinceMs && agentOf(settings, place.servedSinceMs);
	const hosted = hostClusters({
		directory,
		shards,
		masters: await mastersOf(settings),
		world: {
			planner,
			// One object hosts a cluster: it takes up what an earlier life of it was about to plan.
			name: "edge",
			nowMs: () => Date.now(),
			after,
			random: Math.random,
			newId: randomId,
			listeningSinceMs: () => null,
			background: place.background,
			alarm: place.alarm,
			metrics,
			agent: () => agent,
			log: (message) => log({ level: "error", message }),
			...(place.changed && { changed: place.changed }),
			...(place.landed && { landed: place.landed }),
		},
		snapshots: new Map<ClusterId, never>(),
		meshRange: settings.SKEIN_MESH_RANGE ?? "10.200.0.0/16",
		limits: parseLimits(settings.SKEIN_LIMITS),
		nodeTimeoutMs: Number(settings.SKEIN_NODE_TIMEOUT_MS ?? nodeTimeoutMs),
	});
	const world: World = {
		directory,
		access: openAccess(database, await signInSettings(settings.SKEIN_KEY, settings), (work) =>
			place.background(work.catch(report)),
		),
		hosted,
		relay: place.relay,
		identities,
		forges: { insecure: wordsOf(settings.SKEIN_INSECURE_FORGES), isPrivateAllowed: false },
		install: installFiles(settings),
		operations: {
			log: settings.SKEIN_LOG === "plain" ? plainLog(line) : log,
			metrics,
			ready: readinessOf(database, shards, hosted, Date.now),
			metricsTokens: [settings.SKEIN_TOKEN, ...wordsOf(settings.SKEIN_METRICS_TOKEN)],
			async measure() {
				measureClusters(metrics, await hosted.open());
				await measureKeyrings(metrics, hosted.keyrings);
			},
		},
		publicUrl: settings.SKEIN_URL,
		dockerHost: settings.SKEIN_DOCKER_HOST,
		listenUrl: settings.SKEIN_URL ?? "",
		background: place.background,
		nowMs: () => Date.now(),
		newId: randomId,
		...(place.passOn && { passOn: place.passOn }),
		...(place.throttle && { throttle: place.throttle }),
		...(place.bells && { bells: place.bells }),
	};
	return { database, shards, world };
}

function agentOf(
	settings: Settings,
	servedSinceMs: (sha256: string) => number,
): AgentOffer | undefined {
	const file = installFilesOf(settings).find(({ name }) => name === "agent.js");
	if (!file) return undefined;
	const { sha256 } = file;
	return {
		version: manifest.version,
		sha256,
		sinceMs: servedSinceMs(sha256),
		soakMs: Number(settings.SKEIN_AGENT_SOAK_MS ?? agentSoakMs),
	};
}

const wordsOf = (text = "") => text.split(/[\s,]+/).filter(Boolean);

async function mastersOf({ SKEIN_KEY, SKEIN_OLD_KEYS }: Settings): Promise<MasterKeys> {
	const asked = JSON.stringify([SKEIN_KEY, SKEIN_OLD_KEYS]);
	const masters =
		imported.get(asked) ?? (await importMasterKeys(SKEIN_KEY, parseKeyList(SKEIN_OLD_KEYS)));
	imported.set(asked, masters);
	return masters;
}

function installFilesOf(settings: Settings): InstallFile[] {
	return (settings.SKEIN_INSTALL_FILES ?? "")
		.split("\n")
		.map((line) => line.trim().split(/\s+/))
		.flatMap(([name, sum, url]) => (name && sum && url ? [{ name, sha256: sum, url }] : []));
}

function installFiles(settings: Settings): World["install"] {
	const files = installFilesOf(settings);
	return {
		script: async (name) => (name === "cli.sh" ? cliScript : agentScript),
		files: async () => files,
		open: async (name) => {
			const file = files.find((each) => each.name === name);
			return file?.url === undefined ? undefined : Response.redirect(file.url, 302);
		},
	};
}
