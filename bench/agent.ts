// The agent at rest, and how long things take that people wait for. A lab of two machines, the real agent on each.

import { startCluster, until } from "../test/e2e/cluster.ts";
import { labAvailable } from "../test/lab/available.ts";
import type { LabNode } from "../test/lab/node.ts";
import type { Row } from "./row.ts";

export const name = "agent";

const idleSeconds = 20;

export async function run(): Promise<Row[]> {
	const reason = labAvailable();
	if (reason) return [{ what: `not measured: ${reason}`, value: Number.NaN, unit: "" }];
	const cluster = await startCluster({
		nodes: [
			{ name: "h1", suite: "trixie" },
			{ name: "h2", suite: "trixie" },
		],
	});
	try {
		const { docker, lab } = cluster;
		const [h1, h2] = lab.nodes;
		if (!h1 || !h2) throw new Error("two nodes were asked for");
		await docker("network create -d overlay net");
		const started = performance.now();
		await docker(
			"service create -d --name web --replicas 10 --network net --publish 8080:80 nginx:1.22",
		);
		await until("ten containers run", async () => (await running(h1)) + (await running(h2)) === 10);
		const containersMs = performance.now() - started;
		await until("the port answers on both", async () => (await answers(h1)) && (await answers(h2)));
		const servingMs = performance.now() - started;
		await Bun.sleep(5_000);

		const before = await usage(h1);
		await Bun.sleep(idleSeconds * 1000);
		const after = await usage(h1);
		const changeMs: number[] = [];
		for (let turn = 0; turn < 5; turn++) {
			const asked = performance.now();
			await docker(
				`service create -d --name probe${turn} --replicas 0 --publish ${9000 + turn}:80 nginx:1.22`,
			);
			await until("the port is in the other node's tables", async () =>
				(
					await h2.must(["nft", "list", "set", "ip", "skein", "published"]).catch(() => "")
				).includes(`${9000 + turn}`),
			);
			changeMs.push(performance.now() - asked);
		}
		return [
			{
				what: "memory of an idle agent",
				value: after.rssKiB / 1024,
				unit: "MiB",
				note: "resident; five tasks, two networks",
			},
			{
				what: "of which its own",
				value: after.anonymousKiB / 1024,
				unit: "MiB",
				note: "the rest is the runtime's program file",
			},
			{
				what: "CPU of an idle agent",
				value: ((after.cpuMs - before.cpuMs) / (idleSeconds * 1000)) * 100,
				unit: "% of one",
				note: "with the programs it calls",
			},
			{ what: "ten tasks: create to running", value: containersMs / 1000, unit: "s" },
			{ what: "ten tasks: create to both ports answering", value: servingMs / 1000, unit: "s" },
			{
				what: "a change: typed to in another node's tables",
				value: changeMs.sort((a, b) => a - b)[2] ?? Number.NaN,
				unit: "ms",
				note: "median of five, the CLI's own time included",
			},
		];
	} finally {
		await cluster.stop();
	}

	async function running(node: LabNode): Promise<number> {
		return (
			await node.must(["docker", "ps", "-q", "-f", "label=com.docker.swarm.service.name=web"])
		)
			.split("\n")
			.filter(Boolean).length;
	}

	async function answers(node: LabNode): Promise<boolean> {
		return (
			(
				await cluster.lab.client.exec([
					"curl",
					"-sf",
					"-m",
					"2",
					"-o",
					"/dev/null",
					`http://${node.address}:8080/`,
				])
			).code === 0
		);
	}
}

/** Of the agent's process: its time with that of the programs it waited for, and its memory now. */
async function usage(node: LabNode) {
	// The service's own process only starts the agent again when it dies.
	const pid = (await node.must(["pgrep", "-n", "-f", "agent.js run"])).trim();
	const stat = (await node.must(["cat", `/proc/${pid}/stat`])).split(") ")[1]?.split(" ") ?? [];
	const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(stat[field] ?? 0), 0);
	const status = await node.must(["cat", `/proc/${pid}/status`]);
	const read = (field: string) =>
		Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? Number.NaN);
	return { cpuMs: ticks * 10, rssKiB: read("VmRSS"), anonymousKiB: read("RssAnon") };
}
