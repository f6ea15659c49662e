// Secrets, configs and the stacks that use them, on three machines with engines of three ages, through the real CLI.
//
// What matters is what a container finds, who else could find it, and that it is so again after everything that
// happens to machines: an agent killed, a reboot with the control plane away, a removal.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { startCluster, type TestCluster, threeEngines, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const files = "/run/skein-agent/files";
const state = "/var/lib/skein-agent";

describe.skipIf(Boolean(reason))("secrets and configs", () => {
	let cluster: TestCluster;
	let nodes: readonly LabNode[];
	const docker = (line: string, timeoutMs = 120_000) => cluster.docker(line, { timeoutMs });

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: threeEngines,
		});
		nodes = cluster.lab.nodes;
		await docker("network create -d overlay --attachable net");
	}, 900_000);

	afterAll(async () => {
		await cluster?.stop();
	}, 60_000);

	const node = (name: string) => cluster.lab.node(name);
	const onNode = async (on: LabNode, script: string) =>
		(await on.exec(["sh", "-c", script], { timeoutMs: 60_000 })).stdout.trim();
	const file = async (name: string, text: string) => {
		const path = join(cluster.data, "../typed", name);
		await Bun.write(path, text);
		return path;
	};
	/** What a command in the service's container on that node prints; empty while there is none. */
	const inside = async (on: LabNode, service: string, ...command: string[]) => {
		const filter = `label=com.docker.swarm.service.name=${service}`;
		const id = (await onNode(on, `docker ps -q -f ${filter}`)).split("\n")[0] ?? "";
		if (id === "") return "";
		return (await on.exec(["docker", "exec", id, ...command], { timeoutMs: 30_000 })).stdout;
	};
	const says = (on: LabNode, service: string, path: string, text: string) =>
		until(
			`${service} on ${on.name} reads ${JSON.stringify(text)} in ${path}`,
			async () => (await inside(on, service, "cat", path)) === text,
			120_000,
		);
	/** Wherever it runs. */
	const sayWhoever = (service: string, path: string, text: string) =>
		until(
			`${service} reads ${JSON.stringify(text)} in ${path}`,
			async () => {
				const read = await Promise.all(nodes.map((on) => inside(on, service, "cat", path)));
				const there = read.filter((each) => each !== "");
				return there.length > 0 && there.every((each) => each === text);
			},
			120_000,
		);

	test("a container finds them with mode and owner, and nobody else finds them", async () => {
		await docker(`secret create pw ${await file("pw", "hunter2")}`);
		await docker(`config create conf ${await file("conf", "a=1\n")}`);
		await docker(
			"service create --name one --constraint node.hostname==h1 --network net " +
				"--secret source=pw,uid=33,gid=34,mode=0440 --secret source=pw,target=/etc/pw " +
				"--config conf --config source=conf,target=/etc/app/conf nginx:1.22",
			240_000,
		);
		const [h1, h2, h3] = [node("h1"), node("h2"), node("h3")];
		await says(h1, "one", "/run/secrets/pw", "hunter2");
		expect(await inside(h1, "one", "cat", "/etc/pw", "/conf", "/etc/app/conf")).toBe(
			"hunter2a=1\na=1\n",
		);
		expect(await inside(h1, "one", "ls", "-ln", "/run/secrets/pw")).toMatch(
			/^-r--r----- +1 33 +34 +7 /,
		);
		expect(await inside(h1, "one", "sh", "-c", "echo x >/etc/pw; cat /etc/pw")).toBe("hunter2");
		// In memory, for root alone, and one folder for the one task.
		expect(
			await onNode(h1, `stat -f -c %T ${files}; stat -c %a ${files}; ls ${files} | wc -l`),
		).toBe("tmpfs\n700\n1");
		for (const other of [h2, h3]) {
			expect(
				await onNode(
					other,
					`ls -A ${files} 2>/dev/null; cat ${state}/contents.json 2>/dev/null | grep -c :`,
				),
			).toBeOneOf(["", "0"]);
		}
		// Nor in what the agents keep and say, in what the engine shows, in the database, in the control plane's log.
		for (const each of nodes) {
			const grep = `grep -rlE 'hunter2|aHVudGVyMg' ${state} /var/log /var/lib/docker/containers 2>/dev/null`;
			expect([each.name, await onNode(each, grep)]).toEqual([each.name, ""]);
		}
		expect(await onNode(h1, "docker inspect $(docker ps -q) | grep -c hunter2")).toBe("0");
		const ours = await readdir(cluster.data, { withFileTypes: true });
		expect(ours.map(({ name }) => name)).toContain("skein.db");
		const folder = join(cluster.data, "..");
		const logs = (await readdir(folder)).filter((name) => name.startsWith("control-plane."));
		for (const path of [
			...ours.filter((each) => each.isFile()).map(({ name }) => join(cluster.data, name)),
			...logs.map((name) => join(folder, name)),
		]) {
			const bytes = Buffer.from(await Bun.file(path).arrayBuffer());
			expect([path, bytes.includes("hunter2"), bytes.includes("aHVudGVyMg")]).toEqual([
				path,
				false,
				false,
			]);
		}
	}, 400_000);

	test("templates know the node, the task and its address, on every engine", async () => {
		const text =
			'{{.Node.Hostname}} {{.Node.Address}} {{.Task.Name}} {{.Task.Address}} {{secret "pw"}} {{env "WHO"}}\n';
		await docker(`config create --template-driver golang about ${await file("about", text)}`);
		await docker(
			"service create --name about --mode global --network net --publish 8070:80 --secret pw --config about " +
				"--hostname host-{{.Node.Hostname}} --env 'WHO={{.Service.Name}}:{{.Task.Port 80}}' nginx:1.22",
			240_000,
		);
		for (const on of nodes) {
			const filter = "label=com.docker.swarm.service.name=about";
			const name = await onNode(on, `docker ps --format '{{.Names}}' -f ${filter}`);
			const address = (await inside(on, "about", "hostname", "-i")).trim();
			const read = await inside(on, "about", "cat", "/about");
			expect(read).toMatch(
				/^h\d 192\.168\.77\.\d about\.[0-9a-z.]+ 10\.[0-9.]+ hunter2 about:8070\n$/,
			);
			expect(read).toStartWith(`${on.name} ${on.address} ${name} `);
			expect(
				`${address} ${await onNode(on, `docker exec $(docker ps -q -f ${filter}) cat /etc/hosts`)}`,
			).toContain(read.split(" ")[3] ?? "no address");
			expect((await inside(on, "about", "hostname")).trim()).toBe(`host-${on.name}`);
		}
		await docker("service rm about");
	}, 400_000);

	const compose = (page: string, more = "") => `version: "3.9"
services:
  web:
    image: nginx:1.22
    networks: [front, net]
    ports: ["8090:80"]
    environment: {WHO: "{{.Task.Slot}}"}
    configs:
      - source: page
        target: /usr/share/nginx/html/index.html
    secrets: [key, pw]
    volumes: [data:/data]
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], interval: 1s, retries: 3}
    deploy:
      replicas: 2
      labels: {tier: front}
      update_config: {parallelism: 1, order: start-first, monitor: 1s}
      restart_policy: {condition: on-failure, max_attempts: 3}
      resources: {limits: {memory: 64M}}
${more}networks:
  front: {driver: overlay, attachable: true, driver_opts: {com.docker.network.driver.mtu: "1300"}}
  net: {external: true}
volumes:
  data: {driver_opts: {type: tmpfs, device: tmpfs, o: size=1m}, labels: {keep: "yes"}}
configs:
  page: {file: ./${page}}
secrets:
  key: {file: ./key}
  pw: {external: true}
`;

	test("a stack: deployed, listed, its content changed and rolled, rolled back, pruned", async () => {
		await file("page1", "<h1>one</h1>\n");
		await file("page2", "<h1>two</h1>\n");
		await file("key", "s3cr3t\n");
		const worker = "  worker:\n    image: nginx:1.22\n    command: [tail, -f, /dev/null]\n";
		const first = await file("stack1.yml", compose("page1", worker));
		const second = await file("stack2.yml", compose("page2"));
		const page = "/usr/share/nginx/html/index.html";
		expect(await docker(`stack config -c ${first}`)).toContain("page1");
		const deployed = await cluster.tryDocker(`stack deploy --with-registry-auth -c ${first} app`, {
			timeoutMs: 120_000,
		});
		expect([deployed.code, deployed.stdout]).toEqual([
			0,
			expect.stringContaining("Creating service app_web"),
		]);
		await sayWhoever("app_web", page, "<h1>one</h1>\n");
		await sayWhoever("app_web", "/run/secrets/key", "s3cr3t\n");
		await until("both of web and the worker run", async () => {
			const lines = await docker('stack services app --format "{{.Name}} {{.Replicas}}"');
			return lines.includes("app_web 2/2") && lines.includes("app_worker 1/1");
		});
		expect(await docker("stack ls")).toMatch(/app +2/);
		expect(await docker('stack ps app --format "{{.Name}} {{.DesiredState}}"')).toContain(
			"app_web.1 Running",
		);
		const volumes = await Promise.all(
			nodes.map((on) => onNode(on, "docker volume ls -q -f label=keep=yes")),
		);
		expect(volumes.join(" ")).toContain("app_data");
		expect(await inside(node("h1"), "app_web", "cat", "/proc/mounts")).toMatch(
			/^(|[\s\S]*tmpfs \/data tmpfs [^\n]*size=1024k[\s\S]*)$/,
		);

		await docker(`stack deploy --prune -c ${second} app`);
		await sayWhoever("app_web", page, "<h1>two</h1>\n");
		await until("the update is done, and the worker is gone", async () => {
			const status = await docker('service inspect app_web --format "{{.UpdateStatus.State}}"');
			return status.trim() === "completed" && !(await docker("service ls")).includes("app_worker");
		});
		for (const each of nodes) {
			const ran = await cluster.lab.client.exec([
				"curl",
				"-sS",
				"-m",
				"5",
				`http://${each.address}:8090/`,
			]);
			expect([each.name, ran.stdout]).toEqual([each.name, "<h1>two</h1>\n"]);
		}

		await docker("service rollback app_web", 240_000);
		await sayWhoever("app_web", page, "<h1>one</h1>\n");
		await docker("service scale app_web=3", 240_000);
		await sayWhoever("app_web", page, "<h1>one</h1>\n");
		const again = await cluster.tryDocker(`stack deploy -c ${second} app`, { timeoutMs: 120_000 });
		expect(again.stderr).toContain("config app_page stays with the content");
		await docker("service update --force app_web", 240_000);
		await sayWhoever("app_web", page, "<h1>two</h1>\n");

		await docker("stack rm app", 180_000);
		expect(await docker("secret ls --format {{.Name}}")).not.toContain("app_key");
		expect(await docker("config ls --format {{.Name}}")).not.toContain("app_page");
		expect(await docker("network ls --format {{.Name}}")).not.toContain("app_front");
	}, 900_000);

	test("an agent that is killed: the file stays, and the next task has it too", async () => {
		const h1 = node("h1");
		await onNode(h1, "kill -9 $(pgrep -f 'agent.js run')");
		expect(await inside(h1, "one", "cat", "/run/secrets/pw")).toBe("hunter2");
		await onNode(h1, "docker kill $(docker ps -q -f label=com.docker.swarm.service.name=one)");
		await says(h1, "one", "/run/secrets/pw", "hunter2");
		await until(
			"one folder for the one task",
			async () => (await onNode(h1, `ls ${files} | wc -l`)) === "1",
		);
	}, 240_000);

	test("a rotated secret reaches who uses it, and nobody else is restarted", async () => {
		const { stdout } = await node("h1").exec(["docker", "ps", "-q"]);
		const before = stdout.trim();
		const socket = ["--unix-socket", cluster.socket];
		const inspected = JSON.parse(await docker("secret inspect pw")) as {
			Version: { Index: number };
		}[];
		const body = JSON.stringify({
			Name: "pw",
			Data: Buffer.from("correct horse").toString("base64"),
		});
		const path = `http://d/secrets/pw/update?version=${inspected[0]?.Version.Index}`;
		const ran = await cluster.lab.client.exec([
			"curl",
			"-sS",
			"-m",
			"20",
			...socket,
			"-d",
			body,
			path,
		]);
		expect([ran.code, ran.stdout]).toEqual([0, ""]);
		await says(node("h1"), "one", "/run/secrets/pw", "correct horse");
		expect((await node("h1").exec(["docker", "ps", "-q"])).stdout.trim()).not.toBe(before);
		await docker("service rollback one", 240_000);
		await says(node("h1"), "one", "/run/secrets/pw", "hunter2");
	}, 400_000);

	test("a machine that boots with the control plane away has them", async () => {
		const h1 = node("h1");
		await cluster.stopControlPlane();
		await h1.stop();
		await h1.start();
		await says(h1, "one", "/run/secrets/pw", "hunter2");
		expect(await inside(h1, "one", "cat", "/etc/app/conf")).toBe("a=1\n");
		expect(await onNode(h1, `stat -f -c %T ${files}`)).toBe("tmpfs");
		await cluster.startControlPlane();
	}, 300_000);

	test("a service that is removed leaves nothing in memory, nothing on disk", async () => {
		await docker("service rm one");
		await docker("secret rm pw");
		const h1 = node("h1");
		await until(
			"the folder is empty, and so is what the agent keeps",
			async () =>
				(await onNode(h1, `ls -A ${files}`)) === "" &&
				(await onNode(h1, `grep -c '"sealed":{}' ${state}/contents.json`)) === "1",
		);
	}, 180_000);

	test("a machine that leaves keeps no trace", async () => {
		const h1 = node("h1");
		const ran = await h1.exec(
			["sh", "-c", "curl -fsSL http://192.168.77.254:8787/install.sh | sh -s -- --uninstall"],
			{ timeoutMs: 120_000 },
		);
		expect([ran.code, ran.stderr]).toEqual([0, expect.anything()]);
		expect(
			await onNode(h1, `grep -c skein-agent /proc/mounts; ls -d ${state} ${files} 2>/dev/null`),
		).toBe("0");
	}, 180_000);
});
