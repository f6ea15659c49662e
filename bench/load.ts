// The control plane under its agents: as many as the machine bears, each a node of its own, in many clusters. What they
// cost while nothing happens; whether anybody hears of another cluster; and how they come back after the control plane
// was killed, started again at once, and started again after an outage.
//
// One of the two alone, and with other numbers of clusters and nodes: `LOAD="bun 20 10" bun bench/main.ts load`.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDatabase } from "../control-plane/store/client.ts";
import { migrate } from "../control-plane/store/migrate.ts";
import { startBun, startWorkerOver, testKey } from "../test/runtimes.ts";
import { freePort, hasSqld, startSqld } from "../test/store/databases.ts";
import { type Crowd, countedBy, type Joined, rssOf, startCrowd, until } from "./crowd.ts";
import type { Row } from "./row.ts";
import { type Size, seed } from "./seed.ts";

export const name = "load";

const restMs = 60_000;
const outageMs = 30_000;
const givenUpMs = 300_000;
const settledMs = 10_000;
/** As they are by themselves: for how long a node may be silent, self-hosted and at the edge. */
const nodeTimeoutMs = { bun: 12_000, workerd: 24_000 };

export async function run(): Promise<Row[]> {
	const [only, clusters, nodes] = (process.env["LOAD"] ?? "").split(" ");
	const size = (usual: Size) =>
		clusters && nodes ? { clusters: Number(clusters), nodes: Number(nodes) } : usual;
	const rows: Row[] = [];
	if (only !== "workerd") rows.push(...(await onBun(size({ clusters: 200, nodes: 50 }))));
	if (only !== "bun" && hasSqld) {
		rows.push(...(await onWorkerd(size({ clusters: 150, nodes: 20 }))));
	}
	return rows;
}

/** A control plane that can be killed, and started again where it was. */
interface Stand {
	readonly where: string;
	readonly url: string;
	readonly token: string;
	pid(): Promise<number>;
	counted(): Promise<Counted>;
	kill(): Promise<void>;
	start(): Promise<void>;
}

interface Counted {
	readonly read: number;
	readonly written: number;
}

async function onBun(size: Size): Promise<Row[]> {
	const data = await mkdtemp(join(tmpdir(), "skein-load-"));
	const database = await openDatabase({ url: `file:${join(data, "skein.db")}` });
	await migrate(database);
	const joined = await seed(database, testKey, size, nodeTimeoutMs.bun);
	database.close();
	const env = {
		SKEIN_KEY: testKey,
		SKEIN_LISTEN: `127.0.0.1:${await freePort()}`,
		SKEIN_NODE_TIMEOUT_MS: String(nodeTimeoutMs.bun),
	};
	let at = await startBun({ env, data });
	const { url, token } = at;
	const crowd = startCrowd(url, nodeTimeoutMs.bun / 3, 2);
	try {
		return await measure(size, joined, crowd, {
			where: "Bun over a file",
			url,
			token,
			pid: async () => at.process.pid,
			async counted() {
				const { reads, rowsWritten } = await countedBy(at);
				return { read: reads, written: rowsWritten };
			},
			async kill() {
				at.process.kill("SIGKILL");
				await at.process.exited;
			},
			async start() {
				at = await startBun({ env, data });
			},
		});
	} finally {
		await crowd.stop();
		await at.stop();
		await rm(data, { recursive: true, force: true });
	}
}

async function onWorkerd(size: Size): Promise<Row[]> {
	const server = await startSqld();
	const database = await server.open();
	const joined = await seed(database, testKey, size, nodeTimeoutMs.workerd);
	database.close();
	const listen = { host: "127.0.0.1", port: await freePort() };
	const env = { SKEIN_NODE_TIMEOUT_MS: String(nodeTimeoutMs.workerd) };
	const begin = () => startWorkerOver(server, undefined, env, listen);
	let at = await begin();
	const { url, token } = at;
	const crowd = startCrowd(url, nodeTimeoutMs.workerd / 3);
	try {
		return await measure(size, joined, crowd, {
			where: "workerd over sqld",
			url,
			token,
			pid: workerd,
			counted: () => server.stats(),
			async kill() {
				process.kill(await workerd(), "SIGKILL");
				await at.stop();
			},
			async start() {
				at = await begin();
			},
		});
	} finally {
		await crowd.stop();
		await at.stop();
		await server.stop();
	}
}

/** The runtime is a child of ours. */
async function workerd(): Promise<number> {
	for (const pid of (await readdir("/proc")).filter((each) => /^\d+$/.test(each))) {
		const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
		const [, command, parent] = /\((.*)\) \S (\d+)/.exec(stat) ?? [];
		if (command === "workerd" && Number(parent) === process.pid) return Number(pid);
	}
	throw new Error("workerd does not run");
}

async function measure(
	size: Size,
	joined: readonly Joined[],
	crowd: Crowd,
	stand: Stand,
): Promise<Row[]> {
	const all = size.clusters * size.nodes;
	const { where } = stand;
	const begunMs = Date.now();
	const before = await rssOf(await stand.pid());
	for (const cluster of joined) crowd.add(cluster);
	await until(() => crowd.backMs(0).length >= all, givenUpMs);
	// Until everybody has been told the last of the others' news.
	await until(async () => {
		const fromMs = Date.now();
		await Bun.sleep(10_000);
		return crowd.sum("news", fromMs) === 0;
	}, givenUpMs);
	const thereMs = Date.now() - begunMs;

	const start = await stand.counted();
	const restFromMs = Date.now();
	const memory = await rssOf(await stand.pid());
	await Bun.sleep(restMs);
	const end = await stand.counted();
	const perHour = 3_600_000 / (Date.now() - restFromMs) / all;
	const grown = (await rssOf(await stand.pid())) - memory;
	const sent = crowd.sum("requests", restFromMs);
	const refused = crowd.errors(restFromMs);

	const toldMs = Date.now();
	await tellOne(stand);
	await until(() => crowd.sum("news", toldMs) >= size.nodes);
	const heardMs = Date.now() - toldMs;
	// Whoever hears what is not for them would have by then.
	await Bun.sleep(5_000);
	const heard = crowd.sum("news", toldMs);

	const atOnce = await storm("started again at once", stand, crowd, all, 0);
	const later = await storm(`after ${outageMs / 1000} s`, stand, crowd, all, outageMs);
	const down = await nodesDown(stand, size);
	return [
		{
			what: `${where}: agents`,
			value: all,
			unit: "",
			note: `${size.clusters} clusters of ${size.nodes}; all there in ${(thereMs / 1000).toFixed(0)} s`,
		},
		{
			what: "memory",
			value: (memory - before) / all / 1024,
			unit: "KiB/agent",
			note: `resident; ${mib(memory)} MiB in all, ${mib(grown)} more after ${restMs / 1000} s of rest`,
		},
		{
			what: "requests",
			value: sent * perHour,
			unit: "/agent-hour",
			note: `refused: ${shown(refused)}`,
		},
		{ what: "read", value: (end.read - start.read) * perHour, unit: "/agent-hour" },
		{ what: "rows written", value: (end.written - start.written) * perHour, unit: "/agent-hour" },
		{
			what: "a change in one cluster: heard by",
			value: heard,
			unit: "agents",
			note: `of its ${size.nodes}, the last after ${heardMs} ms; by others in all this time: ${crowd.sum("strange", 0)}`,
		},
		...atOnce,
		...later,
		{ what: "nodes that went down meanwhile", value: down, unit: "" },
	];
}

async function storm(
	when: string,
	stand: Stand,
	crowd: Crowd,
	all: number,
	awayMs: number,
): Promise<Row[]> {
	await stand.kill();
	const killedMs = Date.now();
	await Bun.sleep(awayMs);
	const starting = stand.start();
	await until(() => isThere(stand), givenUpMs);
	const startedMs = Date.now();
	await starting;
	const start = await stand.counted();
	const back = () => crowd.backMs(killedMs);
	// Who asked nothing while it was away, never knew.
	const cut = () => crowd.sum("cut", killedMs);
	await Bun.sleep(settledMs);
	await until(() => back().length >= cut(), givenUpMs).catch(() => undefined);
	await Bun.sleep(settledMs);
	const end = await stand.counted();
	const within = (share: number) => {
		const atMs = back()[Math.ceil(cut() * share) - 1] ?? Number.NaN;
		return Math.max(0, atMs - startedMs) / 1000;
	};
	const most = await rssOf(await stand.pid(), "most");
	return [
		{
			what: `killed, ${when}: half are back after`,
			value: within(0.5),
			unit: "s",
			note: `it was away for ${((startedMs - killedMs) / 1000).toFixed(1)} s`,
		},
		{ what: "99 of 100", value: within(0.99), unit: "s" },
		{
			what: "all",
			value: within(1),
			unit: "s",
			note: `${back().length} of ${cut()} that were cut off`,
		},
		{
			what: "requests in the busiest second",
			value: crowd.mostRequests(startedMs),
			unit: "/s",
			note: `refused from then on: ${shown(crowd.errors(startedMs))}; while it was away: ${crowd.mostRequests(killedMs)}/s at the most`,
		},
		{
			what: "read in the storm",
			value: (end.read - start.read) / all,
			unit: "/agent",
			note: `rows written ${((end.written - start.written) / all).toFixed(2)}`,
		},
		{ what: "memory at the most", value: most / 2 ** 20, unit: "MiB", note: "resident" },
	];
}

async function isThere({ url }: Stand): Promise<boolean> {
	const reply = await fetch(`${url}/api/health`).catch(() => undefined);
	return reply?.ok === true;
}

/** A network is news for every node of its cluster. */
async function tellOne({ url, token }: Stand): Promise<void> {
	const reply = await fetch(`${url}/c/c0/networks/create`, {
		method: "POST",
		headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
		body: JSON.stringify({ Name: "news", Driver: "overlay", Attachable: true }),
	});
	if (!reply.ok) throw new Error(`a network: ${reply.status} ${await reply.text()}`);
}

async function nodesDown({ url, token }: Stand, { clusters }: Size): Promise<number> {
	let down = 0;
	for (let n = 0; n < clusters; n++) {
		const headers = { Authorization: `Bearer ${token}` };
		const reply = await fetch(`${url}/c/c${n}/nodes`, { headers });
		const nodes = (await reply.json()) as { Status: { State: string } }[];
		down += nodes.filter(({ Status }) => Status.State !== "ready").length;
	}
	return down;
}

const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
const shown = (errors: ReadonlyMap<string, number>) =>
	[...errors].map(([what, times]) => `${times} ${what}`).join(", ") || "none";
