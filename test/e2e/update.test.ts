// The agent goes to a newer program by itself, ring by ring, while a task serves; one that does not work makes place for
// the one before, and nobody else is told to go there.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { hasSqld } from "../store/databases.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const soak = { SKEIN_AGENT_SOAK_MS: "1000" };
const installed = "/usr/local/lib/skein";

const kinds = [
	["file", true, "0.3.0"],
	// There the version is the worker's, whatever the program says of itself.
	["edge", hasSqld, "0.1.0"],
] as const;

for (const [kind, there, third] of kinds) {
	describe.skipIf(Boolean(reason) || !there)(`agents' updates, ${kind}`, () => {
		let cluster: TestCluster;
		let nodes: readonly LabNode[];
		let agent = "";

		beforeAll(async () => {
			cluster = await startCluster({
				nodes: [
					{ name: "h1", suite: "trixie" },
					{ name: "h2", suite: "bookworm" },
				],
				env: soak,
				kind,
			});
			nodes = cluster.lab.nodes;
			agent = await readFile(join(cluster.data, "install/agent.js"), "utf8");
			await cluster.docker("service create --name web --replicas 2 --publish 8080:80 nginx:1.22", {
				timeoutMs: 180_000,
			});
		}, 600_000);

		afterAll(async () => {
			await cluster?.stop();
		}, 60_000);

		const programs = () =>
			Promise.all(nodes.map((node) => node.must(["cat", `${installed}/agent.js`])));
		const containers = () =>
			Promise.all(nodes.map((node) => node.must(["docker", "ps", "--no-trunc", "-q"])));
		const warnings = async () => (await cluster.tryDocker("info")).stderr;
		const agentLog = (node: LabNode) => node.must(["cat", "/var/log/skein-agent.log"]);

		/** Asks both nodes all the while; what was asked, and how often in vain. */
		async function serving(work: () => Promise<void>) {
			let done = false;
			let asked = 0;
			const failed: string[] = [];
			const asking = nodes.map(async (node) => {
				while (!done) {
					const line = [
						"curl",
						"-sf",
						"-m",
						"2",
						"-o",
						"/dev/null",
						`http://${node.address}:8080/`,
					];
					asked++;
					const { code } = await cluster.lab.client.exec(line);
					if (code !== 0) failed.push(`${node.name}: curl ${code}`);
					await Bun.sleep(50);
				}
			});
			try {
				await work();
			} finally {
				done = true;
				await Promise.all(asking);
			}
			return { asked, failed };
		}

		test("a new program reaches every node, one before the others; tasks go on", async () => {
			const before = await containers();
			const next = agent.replace('"0.1.0"', '"0.2.0"');
			expect(next).not.toBe(agent);
			const { asked, failed } = await serving(async () => {
				await cluster.upgrade(next);
				await until("both nodes run it", async () =>
					(await programs()).every((each) => each === next),
				);
				await until("both have proved it", async () =>
					(await Promise.all(nodes.map(agentLog))).every((log) => log.includes("has taken over")),
				);
			});
			console.log(`${asked} requests through two updates, ${failed.length} failed`);
			expect(failed).toEqual([]);
			expect(await containers()).toEqual(before);
			expect(await warnings()).not.toContain("agent");
		}, 180_000);

		test("a broken program falls back on the first node, and goes to no other", async () => {
			const before = await containers();
			const running = await programs();
			const broken = agent
				.replace('"0.1.0"', '"0.3.0"')
				.replace(
					"\n",
					'\nif ((process.argv[2] ?? "run") === "run") throw new Error("broken on purpose");\n',
				);
			const { asked, failed } = await serving(async () => {
				await cluster.upgrade(broken);
				await until("the rollout has stopped", async () =>
					(await warnings()).includes("the rollout of agent"),
				);
			});
			console.log(`${asked} requests through a broken update, ${failed.length} failed`);
			const said = await warnings();
			expect(said).toContain(`the rollout of agent ${third} (`);
			expect(said).toMatch(/ \([0-9a-f]{12}\) has stopped: h[12]: it ended before/);
			await until("the node says so too", async () =>
				(await warnings()).includes("could not become the one that the control plane serves"),
			);
			expect(await programs()).toEqual(running);
			const tries = await Promise.all(
				nodes.map((node) => node.exec(["test", "-e", `${installed}/rejected`])),
			);
			expect(tries.filter(({ code }) => code === 0)).toHaveLength(1);
			expect(failed).toEqual([]);
			expect(await containers()).toEqual(before);
			const list = await cluster.docker("node ls --format '{{.Hostname}} {{.Status}}'");
			expect(list.trim().split("\n").sort()).toEqual(["h1 Ready", "h2 Ready"]);
		}, 180_000);
	});
}
