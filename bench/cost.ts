// What an idle agent costs a month: hollow agents against Bun over a file, and against workerd over a libSQL server.
//
// What happens a month is counted from what the code does (docs/design/edge.md); what each of those things costs is
// measured here, the idle stretches in between too. docs/cost.md has the formula and the prices.

import { startBun, startWorkerOver, testKey } from "../test/runtimes.ts";
import { hasSqld, startSqld } from "../test/store/databases.ts";
import { monthly, type Usage } from "./bill.ts";
import { countedBy, joinNodes, rssOf, startCrowd, until } from "./crowd.ts";
import type { Row } from "./row.ts";
import { seed } from "./seed.ts";

export const name = "cost";

const nodes = 20;
const idleMs = 20_000;
/** At the edge, where the rest of an agent is an hour long; each of `nodes`. */
const measuredClusters = 150;
const edgeIdleMs = 60_000;
const monthMs = 30 * 86_400_000;
/** An agent whose bell is open calls once an hour, give or take, and its lease is renewed twice a day. */
const pollsPerMonth = monthMs / 3_600_000;
const renewalsPerMonth = monthMs / 43_200_000;
/** Lines are looked at every 12.5 timeouts of 24 s, by the cluster's alarm; the cron looks every minute, once for all. */
const looksPerMonth = monthMs / 300_000;

export async function run(): Promise<Row[]> {
	const rows = await onBun(50);
	return hasSqld ? [...rows, ...(await onWorkerd())] : rows;
}

async function onBun(each: number): Promise<Row[]> {
	const at = await startBun({ env: { SKEIN_NODE_TIMEOUT_MS: "12000" } });
	const crowd = startCrowd(at.url, 4_000);
	try {
		const joined = await joinNodes(at, "default", nodes);
		const before = await rssOf(at.process.pid);
		crowd.add(joined, each);
		const all = nodes * each;
		await until(() => crowd.backMs(0).length >= all);
		await Bun.sleep(5_000);
		const start = await countedBy(at);
		const fromMs = Date.now();
		await Bun.sleep(idleMs);
		const end = await countedBy(at);
		const perMonth = monthMs / (Date.now() - fromMs);
		const grown = (await rssOf(at.process.pid)) - before;
		const requests = crowd.sum("answers", fromMs);
		const where = `Bun over a file, ${all} agents of ${nodes} nodes`;
		return [
			{ what: `requests, ${where}`, value: (requests / all) * perMonth, unit: "/agent-month" },
			{
				what: "read batches",
				value: ((end.reads - start.reads) / all) * perMonth,
				unit: "/agent-month",
			},
			{
				what: "rows written",
				value: ((end.rowsWritten - start.rowsWritten) / nodes) * perMonth,
				unit: "/node-month",
			},
			{ what: "memory", value: grown / all / 1024, unit: "KiB/agent", note: "resident" },
		];
	} finally {
		await crowd.stop();
		await at.stop();
	}
}

async function onWorkerd(): Promise<Row[]> {
	const database = await startSqld();
	const opened = await database.open();
	const seeded = await seed(opened, testKey, { clusters: measuredClusters, nodes }, 24_000);
	opened.close();
	const at = await startWorkerOver(database, () => database.stop(), {
		SKEIN_NODE_TIMEOUT_MS: "24000",
	});
	const crowd = startCrowd(at.url, 8_000);
	try {
		const here = measuredClusters * nodes;
		for (const cluster of seeded) crowd.add(cluster);
		await until(() => crowd.backMs(0).length >= here, 120_000);
		// Until every bell is open and everybody has been told the last of the others' news.
		await Bun.sleep(30_000);
		const idleFromMs = Date.now();
		const quiet = await during(database, () => Bun.sleep(edgeIdleMs));
		const idleRequests = crowd.sum("requests", idleFromMs);
		await crowd.stop();

		const polls = 200;
		const { credentials } = await joinNodes(at, "alone", nodes);
		const headersOf = (credential = "") => ({ Authorization: `Bearer ${credential}` });
		const ask = async (hash: string) => {
			const reply = await fetch(`${at.url}/agent/assignment?revision=0&hash=${hash}&hold=no`, {
				headers: headersOf(credentials[0]),
			});
			return (await reply.json()) as { hash: string };
		};
		const { hash } = await ask("");
		const polled = await during(database, async () => {
			for (let n = 0; n < polls; n++) await ask(hash);
		});
		const renewed = await during(database, async () => {
			for (const credential of credentials) await openBell(at.url, headersOf(credential));
		});
		const perPoll = { read: polled.read / polls, written: polled.written / polls };
		const perLease = { read: renewed.read / nodes, written: renewed.written / nodes };
		const agents = 100_000;
		const clusters = agents / nodes;
		const usage: Usage = {
			workerRequests: agents * pollsPerMonth + monthMs / 60_000,
			objectRequests: agents * pollsPerMonth + clusters * looksPerMonth,
			objectSeconds:
				(agents * (pollsPerMonth + renewalsPerMonth) + clusters * looksPerMonth) * 0.01,
			cpuMs: agents * pollsPerMonth * 3 + clusters * looksPerMonth,
			rowsRead: agents * (pollsPerMonth * perPoll.read + renewalsPerMonth * perLease.read),
			rowsWritten: agents * (pollsPerMonth * perPoll.written + renewalsPerMonth * perLease.written),
		};
		const bill = monthly(usage);
		const agent = (value: number) => value / agents;
		return [
			{
				what: `requests in ${edgeIdleMs / 1000} s of rest, workerd, ${here} agents`,
				value: idleRequests,
				unit: "",
				note: `rows read ${quiet.read}, written ${quiet.written}`,
			},
			{
				what: "rows read by a poll",
				value: perPoll.read,
				unit: "rows",
				note: `written ${perPoll.written}`,
			},
			{
				what: "rows written by a lease",
				value: perLease.written,
				unit: "rows",
				note: `as the server counts them, entries of indexes included; read ${perLease.read}`,
			},
			{ what: "requests", value: agent(usage.workerRequests), unit: "/agent-month" },
			{ what: "rows read", value: agent(usage.rowsRead), unit: "/agent-month" },
			{ what: "rows written", value: agent(usage.rowsWritten), unit: "/agent-month" },
			...Object.entries(bill.parts).map(([what, dollars]) => ({
				what: `${agents.toLocaleString("en-US")} idle agents: ${what}`,
				value: dollars,
				unit: "$/month",
			})),
			{ what: "altogether", value: bill.dollars, unit: "$/month", note: "aim: 112" },
		];
	} finally {
		await crowd.stop();
		await at.stop();
	}
}

async function openBell(url: string, headers: Readonly<Record<string, string>>): Promise<void> {
	const socket = new WebSocket(`${url.replace(/^http/, "ws")}/agent/bell`, { headers });
	await new Promise((resolve, reject) => {
		socket.addEventListener("open", resolve);
		socket.addEventListener("error", reject);
	});
	socket.close();
}

/** What the server itself read and wrote, which is what is billed. */
async function during(
	database: { stats(): Promise<{ read: number; written: number }> },
	work: () => Promise<unknown>,
) {
	const before = await database.stats();
	await work();
	const after = await database.stats();
	return { read: after.read - before.read, written: after.written - before.written };
}
