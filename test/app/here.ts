// The whole control plane in the test's own process, over a file: what `main.ts` builds, without a port.

import { openAccess } from "../../control-plane/accounts/access.ts";
import { owner } from "../../control-plane/accounts/actor.ts";
import { putOwnerToken } from "../../control-plane/accounts/auth.ts";
import { importMasterKeys } from "../../control-plane/accounts/master.ts";
import { type SignInVariables, signInSettings } from "../../control-plane/accounts/signin.ts";
import type { Throttle } from "../../control-plane/accounts/throttle.ts";
import { app } from "../../control-plane/app.ts";
import { after, hostClusters, randomId } from "../../control-plane/clusters.ts";
import { planner } from "../../control-plane/deployments/plan.ts";
import { ProcessRelay } from "../../control-plane/dispatcher/relay.ts";
import type { Entry } from "../../control-plane/operations/log.ts";
import { Metrics } from "../../control-plane/operations/metrics.ts";
import { readinessOf } from "../../control-plane/operations/readiness.ts";
import { measureClusters, measureKeyrings } from "../../control-plane/operations/router.ts";
import type { Database } from "../../control-plane/store/client.ts";
import { counted } from "../../control-plane/store/counted.ts";
import { openDirectory } from "../../control-plane/store/directory.ts";
import { openShards, type ShardConfig } from "../../control-plane/store/shards.ts";
import type { AppEnv, World } from "../../control-plane/world.ts";
import type { Limits } from "../../model/limits.ts";
import { holdToDocument } from "../contract/openapi.ts";
import { startFile } from "../store/databases.ts";

export interface Here {
	readonly token: string;
	/** All that was logged. */
	readonly logged: Entry[];
	readonly metrics: Metrics;
	/** Over TCP, with the owner's token unless the caller sends something else. */
	ask(path: string, init?: RequestInit): Promise<Response>;
	/** As it is. */
	fetch(request: Request, env?: Partial<AppEnv["Bindings"]>): Promise<Response>;
	readonly world: World;
	readonly database: Database;
	/** What the doors take the time to be. */
	readonly clock: { nowMs: () => number };
	stop(): Promise<void>;
}

export async function startHere(
	wrap: (database: Database) => Database = (same) => same,
	options: {
		readonly signIn?: SignInVariables;
		readonly throttle?: Throttle;
		readonly nodeTimeoutMs?: number;
		readonly dockerHost?: string;
		readonly limits?: Limits;
		/** Where clusters lie besides. */
		readonly shards?: readonly ShardConfig[];
	} = {},
): Promise<Here> {
	const file = await startFile();
	const metrics = new Metrics();
	const opened = await file.open();
	const database = counted(wrap(opened), metrics, () => performance.now());
	const directory = openDirectory(database);
	const logged: Entry[] = [];
	const log = (entry: Entry) => void logged.push(entry);
	const token = `skein-${"5".repeat(64)}`;
	const access = openAccess(
		database,
		await signInSettings("a key for tests", options.signIn ?? {}),
		(work) => void work.catch((cause) => log({ level: "error", message: "a mail", cause })),
	);
	await putOwnerToken(access, token, Date.now());
	const clock = { nowMs: Date.now };
	const shards = openShards(database, options.shards ?? []);
	const hosted = hostClusters({
		directory,
		shards,
		masters: await importMasterKeys("a key for tests"),
		world: {
			planner,
			name: randomId(),
			nowMs: Date.now,
			after,
			random: Math.random,
			newId: randomId,
			listeningSinceMs: () => 0,
			background: (work) => void work.catch(() => undefined),
			metrics,
			log: (message) => log({ level: "error", message }),
		},
		snapshots: new Map(),
		meshRange: "10.200.0.0/16",
		nodeTimeoutMs: options.nodeTimeoutMs ?? 3_000,
		...(options.limits && { limits: options.limits }),
	});
	await hosted.of(owner).create({});
	const world: World = {
		directory,
		access,
		hosted,
		relay: new ProcessRelay(),
		identities: new Map(),
		...(options.throttle && { throttle: options.throttle }),
		forges: { insecure: [], isPrivateAllowed: true },
		install: { script: async () => "@URL@", files: async () => [], open: async () => undefined },
		operations: {
			log,
			metrics,
			ready: readinessOf(database, shards, hosted, Date.now),
			metricsTokens: ["a-scraper"],
			async measure() {
				measureClusters(metrics, await hosted.open());
				await measureKeyrings(metrics, hosted.keyrings);
			},
		},
		publicUrl: undefined,
		dockerHost: options.dockerHost,
		listenUrl: "http://skein.test",
		background: (work) => void work.catch(() => undefined),
		nowMs: () => clock.nowMs(),
		newId: randomId,
	};
	const routes = app({
		version: "0.0.0",
		insecureRegistries: [],
		fetch: () => Promise.reject(new Error("this test has no network")),
	});
	const fetch: Here["fetch"] = async (request, env) => {
		const isJson = request.headers.get("Content-Type") === "application/json";
		const sent = isJson ? request.clone() : undefined;
		const reply = await routes.fetch(request, { world, via: "tcp", ...env });
		await holdToDocument(request, async () => (await sent?.text()) ?? "", reply);
		return reply;
	};
	return {
		token,
		logged,
		metrics,
		async ask(path, init = {}) {
			const headers = { Authorization: `Bearer ${token}`, ...init.headers };
			return fetch(new Request(`http://skein.test${path}`, { ...init, headers }));
		},
		fetch,
		world,
		database,
		clock,
		async stop() {
			await hosted.close();
			database.close();
			await file.stop();
		},
	};
}
