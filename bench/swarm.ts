// Beside Docker's own swarm mode, on the same three machines, one after the other: how long a service takes to serve,
// and what its callers lose when it is rolled and when a machine dies.
//
// Swarm's virtual addresses need ip_vs, which not every kernel has: it is asked by name (dnsrr), and so are we, besides
// by our own virtual address. The caller is a container on the overlay that opens a connection for each request.

import { startCluster, type TestCluster, until } from "../test/e2e/cluster.ts";
import { labAvailable } from "../test/lab/available.ts";
import type { LabNode } from "../test/lab/node.ts";
import type { Row } from "./row.ts";

export const name = "swarm";

const replicas = 3;
const settleMs = 5_000;

interface Stand {
	readonly what: string;
	readonly mode: "dnsrr" | "vip";
	docker(line: string): Promise<string>;
}

export async function run(): Promise<Row[]> {
	const reason = labAvailable();
	if (reason) return [{ what: `not measured: ${reason}`, value: Number.NaN, unit: "" }];
	const cluster = await startCluster({
		// Swarm refuses engines that keep their containers through a restart.
		nodes: ["h1", "h2", "h3"].map((name) => ({
			name,
			suite: "trixie" as const,
			engine: { "live-restore": false },
		})),
	});
	try {
		const swarm = await makeSwarm(cluster);
		const skein = (line: string) => cluster.docker(line, { timeoutMs: 180_000 });
		const stands: Stand[] = [
			{ what: "Swarm by name", mode: "dnsrr", docker: swarm },
			{ what: "Skein by name", mode: "dnsrr", docker: skein },
			{ what: "Skein by VIP", mode: "vip", docker: skein },
		];
		const rows: Row[] = [];
		for (const stand of stands) {
			rows.push(...(await measure(cluster, stand)));
			if (stand.docker === swarm) await leaveSwarm(cluster);
		}
		return rows;
	} finally {
		await cluster.stop();
	}
}

async function makeSwarm({ lab }: TestCluster): Promise<Stand["docker"]> {
	const [manager, ...workers] = lab.nodes as [LabNode, ...LabNode[]];
	await manager.must(["docker", "swarm", "init", "--advertise-addr", manager.address]);
	const token = (await manager.must(["docker", "swarm", "join-token", "-q", "worker"])).trim();
	for (const worker of workers) {
		await worker.must(["docker", "swarm", "join", "--token", token, `${manager.address}:2377`]);
	}
	return (line) => manager.must(["docker", ...line.split(" ")], { timeoutMs: 180_000 });
}

/** So that its engines are busy with us alone. */
async function leaveSwarm({ lab }: TestCluster): Promise<void> {
	for (const node of lab.nodes.toReversed()) {
		await node.must(["docker", "swarm", "leave", "--force"], { timeoutMs: 60_000 });
	}
}

async function measure({ lab }: TestCluster, { what, mode, docker }: Stand): Promise<Row[]> {
	const [h1, , h3] = lab.nodes as [LabNode, LabNode, LabNode];
	const net = `net-${what.split(" ").join("-").toLowerCase()}`;
	await docker(`network create -d overlay --attachable ${net}`);
	await until("the node has the network", async () => {
		return (await h1.exec(["docker", "network", "inspect", net])).code === 0;
	});
	const caller = await startCaller(h1, net);
	const startedMs = Date.now();
	// A task serves once it answers; no healthcheck, since Swarm by name would wait for its first interval.
	await docker(
		`service create -d --name web --replicas ${replicas} --network ${net} --endpoint-mode ${mode} nginx:1.22`,
	);
	const all = () => caller.answersSince(startedMs);
	await until("all tasks answer", async () => servers(await all()).size === replicas, 120_000);
	const servingMs = (await all()).find(
		(_answer, at, answers) => servers(answers.slice(0, at + 1)).size === replicas,
	)?.atMs;
	await Bun.sleep(settleMs);

	const rolledMs = Date.now();
	await docker("service update -q --force web");
	await Bun.sleep(settleMs);
	const rolled = await caller.answersSince(rolledMs);

	const offMs = Date.now();
	await h3.stop();
	await Bun.sleep(30_000);
	const off = await caller.answersSince(offMs);
	await h3.start();
	await caller.stop();
	await docker("service rm web");
	await until(
		"the machine is back",
		async () => /Ready/.test(h3Line(await docker("node ls"))),
		60_000,
	);
	const lost = (answers: readonly Answer[]) => answers.filter(({ text }) => text === "lost");
	const last = lost(off).at(-1)?.atMs;
	return [
		{
			what: `${what}: create to all ${replicas} answering`,
			value: ((servingMs ?? Number.NaN) - startedMs) / 1000,
			unit: "s",
		},
		{
			what: `${what}: lost in a rolling update`,
			value: lost(rolled).length,
			unit: "requests",
			note: `of ${rolled.length}`,
		},
		{
			what: `${what}: lost when a machine dies`,
			value: lost(off).length,
			unit: "requests",
			note: `of ${off.length}; the last ${last ? ((last - offMs) / 1000).toFixed(1) : "0"} s after`,
		},
	];
}

const h3Line = (listed: string) => listed.split("\n").find((line) => /\bh3\b/.test(line)) ?? "";

interface Answer {
	readonly atMs: number;
	/** The server's name and addresses, or `lost`. */
	readonly text: string;
}

const servers = (answers: readonly Answer[]) =>
	new Set(answers.flatMap(({ text }) => (text === "lost" ? [] : [text.split(" ")[0]])));

/** Asks without a pause, two seconds for each answer. */
async function startCaller(node: LabNode, net: string) {
	const loop =
		"while :; do timeout 2 wget -q -O - http://web/whoami 2>/dev/null || { echo lost; sleep 0.05; }; done";
	const id = (
		await node.must(["docker", "run", "-d", "--network", net, "nginx:1.22", "sh", "-c", loop])
	).trim();
	return {
		async answersSince(sinceMs: number): Promise<Answer[]> {
			const since = (sinceMs / 1000).toFixed(3);
			const lines = await node.must(["docker", "logs", "-t", "--since", since, id]);
			return lines
				.trim()
				.split("\n")
				.filter(Boolean)
				.map((line) => {
					const [at = "", ...words] = line.split(" ");
					return { atMs: Date.parse(at), text: words.join(" ") };
				});
		},
		stop: () => node.must(["docker", "rm", "-f", id]),
	};
}
