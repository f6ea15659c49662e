#!/usr/bin/env bun
// The agent's program: builds the real world around the loop. One word says what to do:
//
//   join --url URL --token TOKEN [--name NAME] [--advertise-addr ADDRESS]   make this machine a node
//   run                                                                     be one, in the foreground
//   leave                                                                   tell the control plane, remove all of ours
//   preflight --url URL                                                     say what keeps it from being one
//   check                                                                   reach the control plane as this node, once
//   version

import { hostname } from "node:os";
import { parseArgs } from "node:util";
import { messageOf } from "../model/errors.ts";
import type { NodeId } from "../model/id.ts";
import { wireguardPort } from "../model/protocol.ts";
import { after, sleep } from "./bell.ts";
import { openBuilding } from "./building.ts";
import { openContents, withContents } from "./contents.ts";
import { describe, engineInfo } from "./describe.ts";
import { type Dispatcher, isKnown, join, load, NodeGone, openDispatcher } from "./dispatcher.ts";
import { bootMark, eraOf } from "./era.ts";
import { emptied, isGoingDown } from "./goingdown.ts";
import { defaultSocket } from "./host/docker.ts";
import { openEngine } from "./host/engine.ts";
import { exec } from "./host/exec.ts";
import { openRaw } from "./host/raw.ts";
import { forget, type Identity, readIdentity, writeIdentity } from "./identity.ts";
import { openImages } from "./images.ts";
import { keeperOf } from "./keeper.ts";
import { openLedger } from "./ledger.ts";
import { runLoop } from "./loop.ts";
import { nothingFound, type Proof, probePeers } from "./mesh/prober.ts";
import { watchPeers } from "./mesh/watch.ts";
import { ensureKey } from "./mesh/wireguard.ts";
import { movedTo } from "./move.ts";
import { preflight } from "./preflight.ts";
import { purge } from "./purge.ts";
import { answerTo, type BuildLogs } from "./relay.ts";
import { createTables } from "./tables.ts";
import { connectionsBy } from "./task/drain.ts";
import { taskFiles } from "./task/files.ts";
import { Tasks } from "./task/tasks.ts";
import { noUpdates, openUpdates } from "./update.ts";

export const agentVersion = "0.1.0";

/** How it ends to be started again: a success would mean that this machine is a node no more. */
const startAgain = 75;

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
		case "check":
			return check();
		case "version":
			console.log(agentVersion);
			return 0;
		default:
			console.error(
				`no such command: ${command}; there are run, join, leave, preflight, check, version`,
			);
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
	const goingDown = new AbortController();

	const { mark, fresh } = bootMark();
	const engine = openEngine(socket);
	const raw = openRaw(socket, () => engine.docker.apiVersion);
	const ledger = await openLedger(dir, Date.now());
	const contents = await openContents(dir);
	const toldToEnd = async () => {
		if (await isGoingDown(exec)) {
			goingDown.abort();
			await emptied(
				() => ledger.accepted?.assignment,
				(ms) => sleep(ms, ending.signal),
			);
		}
		ending.abort();
	};
	for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void toldToEnd());
	const { publicKey } = await ensureKey(exec, dir);
	let liveRestore = true;
	let proof = nothingFound;
	const world = {
		exec,
		engine,
		dir,
		wireguardPort: identity.wireguardPort,
		proof: () => proof,
		nowMs: Date.now,
	};
	const images = await openImages(dir, Date.now);
	const dispatcher = openDispatcher(identity.url, identity.credential);
	const { builds, registry, builder } = await openBuilding({
		dir,
		socket,
		publicKey,
		exec,
		engine,
		images,
		dispatcher,
		sleep: (ms) => sleep(ms, ending.signal),
		log,
	});
	let isReplaced = false;
	const lib = process.env["SKEIN_AGENT_LIB"];
	const updates = lib
		? await openUpdates({
				lib,
				runtime: process.execPath,
				// Who starts us says that it can put a runtime back as well.
				runtimeName: process.env["SKEIN_AGENT_RUNTIME"] && `bun-linux-${process.arch}`,
				exec,
				load: (name, path) => load(identity.url, name, path),
				nowMs: Date.now,
				log,
				restart() {
					isReplaced = true;
					ending.abort();
				},
			})
		: noUpdates;
	const proving: Dispatcher = {
		...dispatcher,
		async poll(held, signal) {
			const reply = await dispatcher.poll(held, signal);
			await updates.prove();
			return reply;
		},
	};
	const tasks = new Tasks(
		{
			docker: engine.current,
			nowMs: Date.now,
			era: () => eraOf(mark, liveRestore),
			save: ledger.remember,
			images,
			files: taskFiles(exec, contents.read),
			registryAuth: dispatcher.registryAuth,
			ownRegistryAuth: registry.registryAuth,
			connections: connectionsBy(exec),
			sleep: (ms) => sleep(ms, ending.signal),
		},
		ledger.remembered,
	);
	let isMoved = false;
	const dispatcherAt = (url: string) => openDispatcher(url, identity.credential);
	const follow = movedTo(
		{
			url: identity.url,
			assignment: () => ledger.accepted?.assignment,
			isKnownAt: (url) => isKnown(dispatcherAt(url)),
			sleep,
			log,
		},
		ending.signal,
	);
	void follow
		.then(async (url) => {
			if (url === undefined) return;
			await writeIdentity(dir, { ...identity, url });
			isMoved = true;
			ending.abort();
		})
		.catch((error: unknown) => log(`the cluster has moved: ${messageOf(error)}`));
	const end = await runLoop(
		{
			dispatcher: withContents(proving, contents, () => ledger.accepted?.assignment),
			ledger,
			tables: createTables(world),
			tasks: keeperOf(tasks, images, engine, dir),
			builds: {
				assign: ({ builds: wanted = [] }) => builds.assign(wanted),
				take: (which) => builds.take(which),
				putBack: (reports) => builds.putBack(reports),
				onChange: (ring) => builds.onChange(ring),
			},
			images: registry,
			engine,
			async watch(changed, signal) {
				const assignment = () => ledger.accepted?.assignment;
				let silent: ReadonlySet<NodeId> = new Set();
				const watched = (fresh: ReadonlySet<NodeId>) => {
					silent = fresh;
					changed(fresh);
				};
				const proved = (fresh: Proof) => {
					proof = fresh;
					changed(silent);
				};
				await Promise.all([
					watchPeers(assignment, watched, signal),
					probePeers(assignment, () => silent, proved, signal),
				]);
			},
			async describe(complaints) {
				const info = await engineInfo(engine.docker).catch(() => null);
				if (info) liveRestore = info.LiveRestoreEnabled;
				const warnings = [
					...complaints.warnings,
					...images.warnings,
					...registry.warnings,
					...updates.warnings,
				];
				const { diskFull } = images;
				const { program: agentProgram } = updates;
				const given = { ...givenOf(identity, publicKey), ...complaints, warnings, diskFull };
				return describe(info, {
					...given,
					agentProgram,
					builder: await builder(),
					goingDown: goingDown.signal.aborted,
				});
			},
			answer(request, input, signal) {
				const log: BuildLogs = (...asked) => builds.log(...asked);
				return answerTo(raw, log, request, input, signal);
			},
			become: updates.want,
			freshBoot: fresh,
			after,
			goingDown: goingDown.signal,
			sleep,
			random: Math.random,
			log,
		},
		ending.signal,
	);
	await builds.stop();
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
	process.exit((isReplaced || isMoved) && end === "stopped" ? startAgain : 0);
}

/** A new program tries itself by this, beside the agent that runs: it is this node, and the control plane knows it. */
async function check(): Promise<number> {
	const identity = await readIdentity(dir);
	if (!identity) throw new Error("this machine is not a node");
	await openDispatcher(identity.url, identity.credential).report({});
	return 0;
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
	// A second install keeps the identity of the first, unless the control plane knows it no more.
	if (known?.url === url && (await isKnown(openDispatcher(url, known.credential)))) {
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
