// A node whose disk is small, and a service that is rolled to one new image after the other: old ones make room, those
// that a rollback needs and those of other people stay.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import type { Registry } from "../lab/registry.ts";
import { startCluster, type TestCluster } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const versions = [1, 2, 3, 4, 5, 6];

describe.skipIf(Boolean(reason))("images", () => {
	let cluster: TestCluster;
	let h1: LabNode;
	let registry: Registry;

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: [
				{ name: "h1", suite: "sid" },
				{ name: "h2", suite: "bookworm" },
			],
			joined: 0,
		});
		h1 = cluster.lab.node("h1");
		await h1.stopEngine();
		await h1.must(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", "/var/lib/docker"]);
		await h1.startEngine();
		registry = await cluster.lab.registry();
		const builder = cluster.lab.node("h2");
		for (const version of [...versions, "theirs"]) {
			const image = `${registry.address}/web:${version}`;
			await builder.must([
				"docker",
				"run",
				"--name",
				`v${version}`,
				"lab/busybox:1",
				"dd",
				"if=/dev/urandom",
				"of=/big",
				"bs=1M",
				"count=16",
			]);
			await builder.must([
				"docker",
				"commit",
				"--change",
				'CMD ["sleep", "1000000"]',
				`v${version}`,
				image,
			]);
			await builder.must(["docker", "push", "-q", image]);
		}
		await h1.must(["docker", "pull", "-q", `${registry.address}/web:theirs`]);
		const ran = await cluster.join(h1);
		if (ran.code !== 0) throw new Error(ran.stderr);
	}, 600_000);
	afterAll(() => cluster?.stop(), 60_000);

	test("older ones make room, and a rollback's are here without the registry", async () => {
		const idOf = async (node: LabNode, name: string) =>
			(await node.must(["docker", "image", "inspect", "-f", "{{.Id}}", name])).trim();
		const images = async () =>
			(await h1.must(["docker", "images", "-aq", "--no-trunc"])).split("\n");
		const ids = await Promise.all(
			versions.map((version) => idOf(cluster.lab.node("h2"), `${registry.address}/web:${version}`)),
		);
		await cluster.docker(`service create -q --name web ${registry.address}/web:1`);
		for (const version of versions.slice(1)) {
			await cluster.docker(`service update -q --image ${registry.address}/web:${version} web`);
		}
		// The disk does not hold all of them: the last pull made room for itself, by the one that was unused longest.
		const here = await images();
		expect(ids.map((id) => here.includes(id))).toEqual([
			false,
			expect.any(Boolean),
			expect.any(Boolean),
			true,
			true,
			true,
		]);
		expect(here).toContain(await idOf(h1, `${registry.address}/web:theirs`));
		await registry.stop();
		await cluster.docker("service update -q --rollback web");
		expect(await cluster.docker("service ls")).toMatch(/1\/1 .*web:5/);
	}, 300_000);
});
