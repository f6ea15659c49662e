// The ways between nodes, broken in ways that only real traffic shows: what people are told, and what still works.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const bytes = 1_000_000;

describe.skipIf(Boolean(reason))("the ways between nodes", () => {
	let cluster: TestCluster;
	let h1: LabNode;
	let h2: LabNode;
	let client = "";

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: [
				{ name: "h1", suite: "bookworm" },
				{ name: "h2", suite: "sid" },
			],
		});
		h1 = cluster.lab.node("h1");
		h2 = cluster.lab.node("h2");
		await cluster.docker("network create -d overlay net");
		await cluster.docker(
			"service create --name web --network net --publish 8080:80 --constraint node.hostname==h2 nginx:1.22",
			{ timeoutMs: 120_000 },
		);
		await cluster.docker(
			"service create --name client --network net --constraint node.hostname==h1 nginx:1.22 tail -f /dev/null",
			{ timeoutMs: 120_000 },
		);
		const find = ["docker", "ps", "-q", "-f", "label=com.docker.swarm.service.name="];
		const on = async (node: LabNode, service: string) =>
			(await node.must([...find.slice(0, -1), `${find.at(-1)}${service}`])).trim();
		client = await on(h1, "client");
		await h2.must(
			["docker", "exec", "-i", await on(h2, "web"), "sh", "-c", "cat >/usr/share/nginx/html/big"],
			{
				stdin: crypto
					.getRandomValues(new Uint8Array(bytes / 20))
					.toBase64()
					.repeat(15)
					.slice(0, bytes),
			},
		);
	}, 900_000);

	afterAll(async () => {
		await cluster?.stop();
	}, 60_000);

	const byVip = async (seconds = 20) => {
		const get = `docker exec ${client} timeout ${seconds} wget -q -O - http://web/big | wc -c`;
		return (await h1.must(["sh", "-c", get])).trim();
	};
	/** By the node that has no task of it. */
	const byPort = async () => {
		const get = `curl -s -m 20 http://${h1.address}:8080/big | wc -c`;
		return (await cluster.lab.client.must(["sh", "-c", get])).trim();
	};
	const told = async (node: string) =>
		(await cluster.docker(`node inspect ${node} --format "{{.Status.Message}}"`)).trim();

	const both = [
		{ from: "h1", to: "h2" },
		{ from: "h2", to: "h1" },
	];

	test("sound ways: nobody complains", async () => {
		expect([await byVip(), await byPort()]).toEqual([`${bytes}`, `${bytes}`]);
		await Bun.sleep(25_000);
		expect([await told("h1"), await told("h2")]).toEqual(["", ""]);
	}, 120_000);

	test.each([
		["both ways", both, /path MTU: packets over \d+ bytes/],
		["there", both.slice(0, 1), /from node h1 to h2/],
		["back", both.slice(1), /from node h2 to h1/],
	])(
		"packets over 1300 bytes are lost %s: named, and large answers come all the same",
		async (where, ways, words) => {
			for (const way of ways) await cluster.lab.narrow(1300, way);
			// The first time; then the sender remembers what it was told, for ten minutes.
			if (where === "both ways") expect(await byVip(4)).not.toBe(`${bytes}`);
			const tookMs = await until(
				"both nodes say so",
				async () => words.test(await told("h1")) && words.test(await told("h2")),
			);
			console.log(`named after ${Math.round(tookMs / 1000)} s: ${await told("h1")}`);
			await until("1 MB by VIP and by a published port", async () => {
				const got = [await byVip(), await byPort()];
				return got.every((size) => size === `${bytes}`);
			});
			expect(await cluster.docker("info --format {{.Warnings}}")).toContain("path MTU");
			await cluster.lab.widen();
			await until("the warnings go", async () => `${await told("h1")}${await told("h2")}` === "");
			await until(
				"the routes go",
				async () => !(await h1.must(["ip", "route", "show", "dev", "skein0"])).includes("mtu"),
			);
		},
		240_000,
	);

	test("the remedy that is told works: the machines' own MTU, and the warnings go", async () => {
		for (const way of both) await cluster.lab.narrow(1300, way);
		const found = /ip link set dev DEVICE mtu (\d+)/;
		await until("both nodes say so", async () => {
			return found.test(await told("h1")) && found.test(await told("h2"));
		});
		const [, mtu = ""] = found.exec(await told("h1")) ?? [];
		for (const node of [h1, h2]) await node.must(["ip", "link", "set", "dev", "eth0", "mtu", mtu]);
		await until("the warnings go", async () => `${await told("h1")}${await told("h2")}` === "");
		expect([await byVip(), await byPort()]).toEqual([`${bytes}`, `${bytes}`]);
		await cluster.lab.widen();
		for (const node of [h1, h2])
			await node.must(["ip", "link", "set", "dev", "eth0", "mtu", "1500"]);
	}, 240_000);

	test("a firewall on the overlay: the network and the node are named", async () => {
		const table =
			"add table ip theirs; add chain ip theirs in { type filter hook input priority -400; }";
		await h2.must(["nft", `${table}; add rule ip theirs in iifname skein0 udp dport 4790 drop`]);
		await until(
			"h1 names it",
			async () => /network net: node h2 answers the mesh and not/.test(await told("h1")),
			90_000,
		);
		await h2.must(["nft", "delete table ip theirs"]);
		await until("the warnings go", async () => `${await told("h1")}${await told("h2")}` === "");
	}, 240_000);

	test("Swarm's VXLAN port shut changes nothing", async () => {
		await cluster.lab.dropUdp(4789);
		expect([await byVip(), await byPort()]).toEqual([`${bytes}`, `${bytes}`]);
		await Bun.sleep(20_000);
		expect([await told("h1"), await told("h2")]).toEqual(["", ""]);
	}, 120_000);
});
