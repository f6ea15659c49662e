// What users notice when something breaks: a task killed, a machine gone, the control plane away, its link cut.
//
// Prints how long requests failed and how long until all replicas were back; asserts that they are.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { startCluster, type TestCluster, threeEngines, until } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

/** Asks the VIP as fast as answers come (a second at most each), one line an answer: seconds of uptime, then `ok` or `no`. */
const asking = (url: string, seconds: number) =>
	`end=$(($(cut -d. -f1 /proc/uptime) + ${seconds})); ` +
	`while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do ` +
	`if timeout 1 wget -q -O /dev/null ${url}; then w=ok; else w=no; fi; echo "$(cut -d' ' -f1 /proc/uptime) $w"; sleep 0.05; done`;

/** The time from the first failed request to the last one, and how many failed of how many. */
function outage(lines: string): { failed: number; asked: number; seconds: number } {
	const asked = lines
		.trim()
		.split("\n")
		.map((line) => line.split(" "));
	const failed = asked.filter(([, word]) => word === "no").map(([at]) => Number(at));
	const seconds = failed.length === 0 ? 0 : Math.max(...failed) - Math.min(...failed);
	return { failed: failed.length, asked: asked.length, seconds };
}

describe.skipIf(Boolean(reason))("outages", () => {
	let cluster: TestCluster;
	let nodes: readonly LabNode[];

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: threeEngines,
		});
		nodes = cluster.lab.nodes;
		await cluster.docker("network create -d overlay --attachable net");
		await cluster.docker(
			"service create --replicas 6 --name web --network net --publish 8080:80 nginx:1.22",
			{ timeoutMs: 180_000 },
		);
		await cluster.docker(
			"service create --name client --network net --constraint node.hostname==h1 nginx:1.22 tail -f /dev/null",
			{ timeoutMs: 120_000 },
		);
	}, 900_000);

	afterAll(async () => {
		await cluster?.stop();
	}, 60_000);

	const node = (name: string) => cluster.lab.node(name);
	const containers = async (on: LabNode, service: string) =>
		(
			await on.exec(["docker", "ps", "-q", "-f", `label=com.docker.swarm.service.name=${service}`])
		).stdout
			.trim()
			.split("\n")
			.filter(Boolean);
	const running = async (service: string) =>
		(
			await cluster.docker(
				`service ps ${service} -f desired-state=running --format "{{.CurrentState}}"`,
			)
		)
			.split("\n")
			.filter((line) => line.startsWith("Running")).length;
	const ask = async (seconds: number) => {
		const [client = ""] = await containers(node("h1"), "client");
		const ran = await node("h1").exec(
			["docker", "exec", client, "sh", "-c", asking("http://web/whoami", seconds)],
			{ timeoutMs: (seconds + 20) * 1000 },
		);
		return outage(ran.stdout);
	};

	test("a killed task", async () => {
		const asked = ask(12);
		await Bun.sleep(2_000);
		const [victim = ""] = await containers(node("h2"), "web");
		await node("h2").exec(["docker", "kill", victim]);
		const whole = await until(
			"six of six",
			async () =>
				(await running("web")) === 6 && !(await containers(node("h2"), "web")).includes(victim),
		);
		const { failed, asked: all, seconds } = await asked;
		console.log(
			`task killed: ${failed} of ${all} requests failed within ${seconds.toFixed(2)} s; whole after ${(whole / 1000).toFixed(1)} s`,
		);
		expect(all).toBeGreaterThan(20);
		expect(await ask(2)).toMatchObject({ failed: 0 });
	}, 120_000);

	test("a machine gone: cut off at once, whole later, back without harm", async () => {
		const asked = ask(30);
		await Bun.sleep(2_000);
		await node("h3").stop();
		const whole = await until(
			"six of six on the others",
			async () => {
				const lines = (
					await cluster.docker(
						'service ps web -f desired-state=running --format "{{.Node}} {{.CurrentState}}"',
					)
				)
					.trim()
					.split("\n");
				return lines.length === 6 && lines.every((line) => /^h[12] Running/.test(line));
			},
			90_000,
		);
		const { failed, asked: all, seconds } = await asked;
		console.log(
			`machine gone: ${failed} of ${all} requests failed within ${seconds.toFixed(2)} s; whole after ${(whole / 1000).toFixed(1)} s`,
		);
		expect(all).toBeGreaterThan(20);
		expect(await ask(2)).toMatchObject({ failed: 0 });
		await node("h3").start();
		await until(
			"h3 is back",
			async () =>
				/h3 Ready/.test(await cluster.docker('node ls --format "{{.Hostname}} {{.Status}}"')),
			90_000,
		);
		expect(await ask(3)).toMatchObject({ failed: 0 });
	}, 240_000);

	test("the control plane away, every machine rebooted one by one: all of it serves from what the agents know", async () => {
		await cluster.docker("service update --replicas 6 --force web", { timeoutMs: 240_000 });
		await cluster.stopControlPlane();
		for (const name of ["h2", "h3"]) {
			await node(name).stop();
			await node(name).start();
			await until(
				`${name} serves its own tasks`,
				async () => (await containers(node(name), "web")).length > 0,
				90_000,
			);
			await until(
				`${name} answers the published port`,
				async () =>
					(
						await cluster.lab.client.exec([
							"curl",
							"-sS",
							"-m",
							"3",
							`http://${node(name).address}:8080/whoami`,
						])
					).code === 0,
			);
		}
		expect(await ask(3)).toMatchObject({ failed: 0 });
		await cluster.startControlPlane();
		await until(
			"all are heard again",
			async () =>
				(
					(await cluster.docker('node ls --format "{{.Hostname}} {{.Status}}"')).match(
						/h\d Ready/g,
					) ?? []
				).length === 3,
		);
		expect(await running("web")).toBe(6);
		expect(await ask(3)).toMatchObject({ failed: 0 });
	}, 360_000);

	test("a link between two machines cut, and mended", async () => {
		await cluster.lab.cut("h1", "h2");
		await until("h1 serves from the others", async () => (await ask(2)).failed === 0, 60_000);
		await cluster.lab.mend("h1", "h2");
		await Bun.sleep(3_000);
		expect(await ask(3)).toMatchObject({ failed: 0 });
	}, 180_000);

	test("ports in host mode: on the node that runs the task, and on no other", async () => {
		await cluster.docker(
			"service create --name plain --constraint node.hostname!=h3 --mode global --publish mode=host,published=8082,target=80 nginx:1.22",
			{ timeoutMs: 120_000 },
		);
		for (const each of nodes) {
			const ran = await cluster.lab.client.exec([
				"curl",
				"-sS",
				"-m",
				"3",
				`http://${each.address}:8082/whoami`,
			]);
			expect([each.name, ran.code === 0]).toEqual([each.name, each.name !== "h3"]);
			if (each.name !== "h3") expect(ran.stdout).toEndWith(" 192.168.77.254\n");
		}
		expect(await cluster.docker('service ps plain --format "{{.Ports}}"')).toContain(
			"8082->80/tcp",
		);
		await cluster.docker("service rm plain");
	}, 180_000);

	test("an internal network: its services are reached inside, and there is no way out", async () => {
		await cluster.docker("network create -d overlay --internal inner");
		await cluster.docker("service create --name hidden --replicas 2 --network inner nginx:1.22", {
			timeoutMs: 120_000,
		});
		await cluster.docker(
			"service create --name asker --network inner --constraint node.hostname==h1 nginx:1.22 tail -f /dev/null",
			{ timeoutMs: 120_000 },
		);
		const [asker = ""] = await containers(node("h1"), "asker");
		const inside = (url: string) =>
			node("h1").exec(["docker", "exec", asker, "timeout", "3", "wget", "-q", "-O", "-", url]);
		await until(
			"the VIP answers inside",
			async () => (await inside("http://hidden/whoami")).code === 0,
		);
		expect((await inside("http://192.168.77.254:8787/_ping")).code).not.toBe(0);
		expect(
			(await node("h1").exec(["curl", "-s", "-m", "3", "http://192.168.77.254:8787/_ping"])).stdout,
		).toBe("OK");
		for (const service of ["hidden", "asker"]) await cluster.docker(`service rm ${service}`);
		await cluster.docker("network rm inner", { timeoutMs: 60_000 });
	}, 240_000);

	test("UDP through a VIP and a published port", async () => {
		await cluster.docker(
			"service create --replicas 2 --name names --network net --publish 5300:5300/udp nginx:1.22",
			{ timeoutMs: 120_000 },
		);
		const say = (address: string) =>
			`exec 3<>/dev/udp/${address}/5300; echo hello >&3; timeout 2 head -n 1 <&3`;
		const vip =
			(
				await cluster.docker(
					'service inspect names --format "{{(index .Endpoint.VirtualIPs 0).Addr}}"',
				)
			).split("/")[0] ?? "";
		const [client = ""] = await containers(node("h1"), "client");
		const { stdout: pid } = await node("h1").exec([
			"docker",
			"inspect",
			"-f",
			"{{.State.Pid}}",
			client,
		]);
		await until("the VIP answers a container", async () => {
			const inside = ["nsenter", "-t", pid.trim(), "-n", "bash", "-c", say(vip)];
			return (await node("h1").exec(inside)).stdout.includes(" 10.");
		});
		for (const each of nodes) {
			await until(
				`${each.name} answers, and the program sees the client's own address`,
				async () => {
					const ran = await cluster.lab.client.exec(["bash", "-c", say(each.address)]);
					return ran.stdout.includes(" 192.168.77.254");
				},
			);
		}
		await cluster.docker("service rm names");
	}, 240_000);
});
