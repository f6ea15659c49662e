// Where tasks go, on three real engines: GPUs that an engine was told of, reasons a person can act on, and a machine
// that comes back and gets its share.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { labAvailable } from "../lab/available.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

interface Shown {
	readonly Slot: number;
	readonly NetworksAttachments: readonly { readonly Addresses: readonly string[] }[];
}

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

describe.skipIf(Boolean(reason))("placement", () => {
	let cluster: TestCluster;
	const docker = (line: string) => cluster.docker(line, { timeoutMs: 120_000 });
	const nodesOf = async (service: string) =>
		(await docker(`service ps ${service} -f desired-state=running --format {{.Node}}`))
			.trim()
			.split("\n")
			.sort();

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: [
				{ name: "h1", suite: "bookworm", engine: { "node-generic-resources": ["gpu=a", "gpu=b"] } },
				{ name: "h2", suite: "sid", engine: { "node-generic-resources": ["licence=1"] } },
				{ name: "h3", suite: "trixie" },
			],
		});
		// Away from the start, so that it comes back in the last test.
		await cluster.lab.node("h3").stop();
		await until("h3 is down", async () => /h3\s+Down/.test(await docker("node ls")), 60_000);
	}, 600_000);
	afterAll(() => cluster?.stop(), 60_000);

	test("GPUs go to the tasks that reserve them, each to one", async () => {
		await docker(
			"service create -q --name learn --replicas 2 --generic-resource gpu=1 lab/busybox:1 sleep 1000000",
		);
		expect(await nodesOf("learn")).toEqual(["h1", "h1"]);
		const h1 = cluster.lab.node("h1");
		const ids = (await h1.must(["docker", "ps", "-q", "--filter", "name=learn"]))
			.trim()
			.split("\n");
		const environments = await Promise.all(
			ids.map((id) => h1.must(["docker", "exec", id, "sh", "-c", "echo $DOCKER_RESOURCE_GPU"])),
		);
		expect(environments.map((text) => text.trim()).sort()).toEqual(["a", "b"]);
	}, 180_000);

	test("who waits for one is told what would help, node by node", async () => {
		await docker("service scale -d learn=3");
		await until("the third says why it waits", async () =>
			(await docker("service ps --no-trunc learn")).includes("no suitable node"),
		);
		const listed = await docker("service ps --no-trunc learn");
		expect(listed).toContain("insufficient resources on 2 nodes");
		expect(listed).toContain("smallest change: give h1 1 more of gpu");
		const listed3 = await docker("service ps learn --no-trunc --format '{{.ID}} {{.Name}}'");
		const waiting = /^(\w+) learn\.3$/m.exec(listed3)?.[1];
		const [task] = JSON.parse(await docker(`inspect ${waiting}`));
		expect(task.Placement).toMatchObject([
			{ Node: "h1", Lacks: ["a task reserves 1 of gpu, 0 are free"] },
			{ Node: "h2", Lacks: ["a task reserves 1 of gpu, 0 are free"] },
			{ Node: "h3", Lacks: [expect.stringContaining("it is down"), expect.any(String)] },
		]);
		await docker("service rm learn");
	}, 120_000);

	test("the change that is named is one that helps", async () => {
		await docker(
			"service create -q -d --name east --constraint node.labels.zone==east lab/busybox:1 sleep 1000000",
		);
		const change = /smallest change: docker (node update .*? h[12])/;
		await until("it says what to do", async () =>
			change.test(await docker("service ps --no-trunc east")),
		);
		const [, line] = change.exec(await docker("service ps --no-trunc east")) ?? [];
		await docker(line ?? "");
		await until("it runs", async () => (await docker("service ls")).includes("1/1"));
		await docker("service rm east");
	}, 120_000);

	test("a machine that comes back gets its share, and its tasks keep their addresses", async () => {
		await docker("network create -d overlay net");
		await docker(
			"service create -q --name web --replicas 4 --network net --label skein.rebalance=stop-first lab/busybox:1 sleep 1000000",
		);
		const addresses = async () => {
			const ids = (await docker("service ps web -q -f desired-state=running")).trim().split("\n");
			const tasks = JSON.parse(await docker(`inspect ${ids.join(" ")}`));
			return tasks
				.map(({ Slot, NetworksAttachments: [first] }: Shown) => `${Slot} ${first?.Addresses}`)
				.sort();
		};
		expect(await nodesOf("web")).toEqual(["h1", "h1", "h2", "h2"]);
		const before = await addresses();
		await cluster.lab.node("h3").start();
		await until("h3 has a task", async () => (await nodesOf("web")).includes("h3"), 180_000);
		await until("all four run", async () => (await docker("service ls")).includes("4/4"));
		expect(await addresses()).toEqual(before);
	}, 300_000);
});
