// A registry that wants a login, as in session B1: what `docker login` and `--with-registry-auth` hand over is used by
// the nodes that pull, and nobody else ever sees it.

import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const password = "correct-horse-battery";

/** As it is, and as it looks within something that is in base64, wherever it begins there. */
const forms = [
	password,
	...[0, 1, 2].map((before) =>
		Buffer.from(`${" ".repeat(before)}${password}`)
			.toString("base64")
			.slice(before === 0 ? 0 : 4, -4),
	),
];

/** A list of manifests that names the image as one for another processor, put beside it under a tag of its own. */
const otherPlatform = (address: string) => `set -e
	url=http://${address}/v2/redis/manifests
	type=application/vnd.docker.distribution.manifest
	head=$(curl -sfI -u ann:${password} -H "Accept: $type.v2+json" $url/1 | tr -d '\\r')
	digest=$(echo "$head" | sed -n 's/^docker-content-digest: //Ip')
	size=$(echo "$head" | sed -n 's/^content-length: //Ip')
	curl -sf -u ann:${password} -X PUT -H "Content-Type: $type.list.v2+json" $url/arm -d "{
		\\"schemaVersion\\": 2, \\"mediaType\\": \\"$type.list.v2+json\\",
		\\"manifests\\": [{ \\"mediaType\\": \\"$type.v2+json\\", \\"digest\\": \\"$digest\\", \\"size\\": $size,
			\\"platform\\": { \\"os\\": \\"linux\\", \\"architecture\\": \\"arm64\\" } }] }"`;

describe.skipIf(Boolean(reason))("a private registry", () => {
	let cluster: TestCluster;
	let address: string;
	const docker = (line: string) => cluster.docker(line);
	const errorOf = async (service: string) =>
		docker(`service ps ${service} --no-trunc --format {{.Error}}`);

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: [
				{ name: "h1", suite: "bookworm" },
				{ name: "h2", suite: "sid" },
			],
		});
		address = (await cluster.lab.registry({ users: { ann: password } })).address;
		const h1 = cluster.lab.node("h1");
		await h1.must(["docker", "login", "-u", "ann", "-p", password, address]);
		for (const name of ["redis:1", "redis:2"]) {
			await h1.must(["docker", "tag", "nginx:1.22", `${address}/${name}`]);
			await h1.must(["docker", "push", "-q", `${address}/${name}`]);
			await h1.must(["docker", "rmi", `${address}/${name}`]);
		}
		await h1.must(["docker", "logout", address]);
	}, 600_000);
	afterAll(() => cluster?.stop(), 60_000);

	test("without a login the task says that the registry refused, and what to do", async () => {
		await docker(`service create -q -d --name redis ${address}/redis:1`);
		await until("it says why", async () => (await errorOf("redis")).includes(address));
		expect(await errorOf("redis")).toContain(
			`registry ${address} wants a login: "docker login ${address}", then docker service update --with-registry-auth`,
		);
		await docker("service rm redis");
	}, 120_000);

	test("an image that is not there, and a login that is wrong, are told apart", async () => {
		const wrong = await cluster.tryDocker(`login -u ann -p wrong ${address}`);
		expect(wrong.code).not.toBe(0);
		expect(`${wrong.stdout}${wrong.stderr}`).toContain("unauthorized");
		await docker(`login -u ann -p ${password} ${address}`);
		await docker(`service create -q -d --with-registry-auth --name none ${address}/none:1`);
		await until("it says why", async () => (await errorOf("none")).includes("No such image"));
		expect(await errorOf("none")).not.toContain("wants a login");
		await docker("service rm none");
	}, 120_000);

	test("with the login every node pulls, by digest, and goes on doing so", async () => {
		await docker(
			`service create -q --with-registry-auth --replicas 2 --name redis ${address}/redis:1`,
		);
		expect(await docker("service ls")).toContain("2/2");
		expect(
			await docker("service inspect redis --format {{.Spec.TaskTemplate.ContainerSpec.Image}}"),
		).toMatch(/redis:1@sha256:[0-9a-f]{64}/);
		// An update that says nothing of credentials keeps them.
		await docker(`service update -q --image ${address}/redis:2 redis`);
		await docker("service scale redis=4");
		expect(await docker("service ls")).toContain("4/4");
	}, 180_000);

	test("an image for other machines: said before it is pulled, and by who pulls it all the same", async () => {
		await cluster.lab.client.must(["sh", "-c", otherPlatform(address)]);
		await docker(`service create -q -d --with-registry-auth --name arm ${address}/redis:arm`);
		await until("it says why", async () => (await errorOf("arm")).includes("no suitable node"));
		expect(await errorOf("arm")).toContain("unsupported platform on 2 nodes");
		expect(await errorOf("arm")).toContain("smallest change: use an image for linux/x86_64");
		await docker("service rm arm");
		await docker(
			`service create -q -d --no-resolve-image --with-registry-auth --name arm ${address}/redis:arm`,
		);
		await until("it says why", async () => (await errorOf("arm")).includes("platform"));
		expect(await errorOf("arm")).toContain("it has no version for this node's platform");
		await docker("service rm arm");
	}, 120_000);

	test("nobody is shown them: not by the API, not in the database, not on a node's disk, not in a log", async () => {
		const shown = await docker("service inspect redis");
		const database = new Database(join(cluster.data, "skein.db"), { readonly: true });
		const rows = database.query("select decided from service").all();
		database.close();
		expect(JSON.stringify(rows)).toContain("registryAuth");
		const files = await readdir(cluster.data, { recursive: true });
		const stored = await Promise.all(
			files.map((name) =>
				Bun.file(join(cluster.data, name))
					.text()
					.catch(() => ""),
			),
		);
		const onNodes = await Promise.all(
			cluster.lab.nodes.map((node) =>
				node.must([
					"sh",
					"-c",
					"cat /var/lib/skein-agent/*.json /var/log/skein* 2>/dev/null; true",
				]),
			),
		);
		for (const text of [shown, ...stored, ...onNodes]) {
			for (const form of forms) expect(text).not.toContain(form);
		}
	}, 60_000);
});
