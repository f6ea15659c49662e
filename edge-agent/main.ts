#!/usr/bin/env bun
// The agent's program: builds the real world around the loop. One word says what to do:
//
//   join --url URL --token TOKEN [--name NAME] [--advertise-addr ADDRESS]   make this machine a node
//   run                                                                     be one, in the foreground
//   leave                                                                   tell the control plane, remove all of ours
//   preflight --url URL                                                     say what keeps it from being one
//   version

import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { messageOf } from "../model/errors.ts";
import { wireguardPort } from "../model/protocol.ts";
import { sleep } from "./bell.ts";
import { describe, engineInfo } from "./describe.ts";
import { join, NodeGone, openDispatcher } from "./dispatcher.ts";
import { bootMark, eraOf } from "./era.ts";
import { defaultSocket } from "./host/docker.ts";
import { openEngine } from "./host/engine.ts";
import { exec } from "./host/exec.ts";
import { forget, type Identity, readIdentity, writeIdentity } from "./identity.ts";
import { keeperOf } from "./keeper.ts";
import { openLedger } from "./ledger.ts";
import { logsOf } from "./logs.ts";
import { runLoop } from "./loop.ts";
import { watchPeers } from "./mesh/watch.ts";
import { ensureKey } from "./mesh/wireguard.ts";
import { preflight } from "./preflight.ts";
import { purge } from "./purge.ts";
import { createTables } from "./tables.ts";
import { Tasks } from "./task/tasks.ts";

export const agentVersion = "0.1.0";

const dir = process.env["SKEIN_AGENT_STATE"] ?? "/var/lib/skein-agent";
const socket = process.env["DOCKER_HOST"]?.replace(/^unix:\/\//, "") ?? defaultSocket;

if (import.meta.main) {
	try {
		process.exitCode = await main(process.argv.slice(2));
	} catch (error) {
		console.error(messageOf(error));
		process.exitCode = 1;
	}
}

async function main([command = "run", ...args]: string[]): Promise<number> {
	switch (command) {
		case "run":
			return run();
		case "join":
			return joinCluster(args);
		case "preflight":
			return checkMachine(args);
		case "leave":
			return leave();
		case "version":
			console.log(agentVersion);
			return 0;
		default:
			console.error(`no such command: ${command}; there are run, join, leave, preflight, version`);
			return 2;
	}
}

async function run(): Promise<number> {
	const identity = await readIdentity(dir);
	if (!identity) {
		console.error("this machine is not a node: run the install line with a token to make it one");
		return 0;
	}
	const ending = new AbortController();
	for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => ending.abort());

	const { mark, fresh } = bootMark();
	const engine = openEngine(socket);
	const ledger = await openLedger(dir);
	const { publicKey } = await ensureKey(exec, dir);
	let liveRestore = true;
	const world = { exec, engine, dir, wireguardPort: identity.wireguardPort, nowMs: Date.now };
	const tasks = new Tasks(
		{
			docker: engine.current,
			nowMs: Date.now,
			era: () => eraOf(mark, liveRestore),
			save: ledger.remember,
		},
		ledger.remembered,
	);
	const end = await runLoop(
		{
			dispatcher: openDispatcher(identity.url, identity.credential),
			ledger,
			tables: createTables(world),
			tasks: keeperOf(tasks, engine, dir),
			engine,
			watch: (changed, signal) => watchPeers(() => ledger.accepted?.assignment, changed, signal),
			async describe(complaints) {
				const info = await engineInfo(engine.docker).catch(() => null);
				if (info) liveRestore = info.LiveRestoreEnabled;
				return describe(info, { ...givenOf(identity, publicKey), ...complaints });
			},
			logs: (request, signal) => logsOf(engine.docker, request, signal),
			freshBoot: fresh,
			sleep,
			random: Math.random,
			log,
		},
		ending.signal,
	);
	await ledger.flush();
	if (end === "removed") {
		log("this node was removed from its cluster: its containers, networks and rules go now");
		tasks.stop();
		await tasks.settled();
		for (const problem of await purge(exec, engine.current())) log(problem);
		await forget(dir);
		log("to bring this machine back, run the install line with a token");
	}
	// What still runs for a task is the engine's to finish: nothing of it is undone.
	process.exit(0);
}

async function joinCluster(args: string[]): Promise<number> {
	const { values } = parseArgs({
		args,
		options: {
			url: { type: "string" },
			token: { type: "string", default: "" },
			name: { type: "string", default: "" },
			"advertise-addr": { type: "string", default: "" },
		},
	});
	const url = (values.url ?? "").replace(/\/+$/, "");
	if (!/^https?:\/\//.test(url)) throw new Error("--url must be the control plane's: http(s)://…");
	const { name, token, "advertise-addr": advertise } = values;
	const known = await readIdentity(dir);
	if (known && (await isStillOurs(known, url))) {
		await writeIdentity(dir, {
			...known,
			name: name || known.name,
			advertise: advertise || known.advertise,
		});
		console.log(`this machine is node ${known.node} already`);
		return 0;
	}
	if (token === "") throw new Error("--token is needed: docker swarm join-token worker prints it");
	const { publicKey } = await ensureKey(exec, dir);
	const engine = openEngine(socket);
	const info = await engineInfo(await engine.connect());
	const identity = { url, name, advertise, wireguardPort };
	const description = describe(info, {
		...givenOf(identity, publicKey),
		problems: [],
		warnings: [],
	});
	const { node, credential } = await join(url, { token, description }, known?.credential);
	await forget(dir);
	await writeIdentity(dir, { ...identity, node, credential });
	console.log(`this machine is node ${node}, ${name || hostname()}`);
	return 0;
}

/** A second install keeps the identity of the first, unless the control plane knows it no more. */
async function isStillOurs(identity: Identity, url: string): Promise<boolean> {
	if (identity.url !== url) return false;
	try {
		await openDispatcher(url, identity.credential).report({});
		return true;
	} catch {
		return false;
	}
}

/** First the cluster, so that the tasks are elsewhere soon; a control plane that is away holds up nothing. */
async function leave(): Promise<number> {
	const identity = await readIdentity(dir);
	if (identity) {
		await openDispatcher(identity.url, identity.credential)
			.leave()
			.catch((error: Error) => {
				if (error instanceof NodeGone) return;
				console.error(
					`the control plane was not told (${error.message}): docker node rm --force ${identity.node}`,
				);
			});
	}
	const docker = await openEngine(socket)
		.connect()
		.catch(() => undefined);
	const problems = await purge(exec, docker);
	for (const problem of problems) console.error(problem);
	if (problems.length > 0) return 1;
	await forget(dir);
	return 0;
}

async function checkMachine(args: string[]): Promise<number> {
	const { values } = parseArgs({ args, options: { url: { type: "string", default: "" } } });
	const { refusals, warnings } = await preflight(exec, openEngine(socket), values.url);
	for (const warning of warnings) console.log(`note: ${warning}`);
	for (const refusal of refusals) console.error(`refused: ${refusal}`);
	return refusals.length > 0 ? 1 : 0;
}

function givenOf(
	identity: Pick<Identity, "name" | "advertise" | "wireguardPort">,
	publicKey: string,
) {
	const { name, advertise } = identity;
	return { name, advertise, agentVersion, publicKey, wireguardPort: identity.wireguardPort };
}

function log(line: string): void {
	console.log(`${new Date().toISOString()} ${line}`);
}
