// The agent by itself, on three real machines: installed by the real line, told what to do by a stand-in for the
// control plane, through restarts of itself, of the engine, of the machine, and to the end.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { taskOf } from "../../edge-agent/task/template.test-data.ts";
import type {
	Assignment,
	Endpoint,
	Member,
	NetworkAssignment,
	TaskAssignment,
} from "../../model/assignment.ts";
import { macOf } from "../../model/cidr.ts";
import type { ClusterId, NetworkId, NodeId, ServiceId, TaskId } from "../../model/id.ts";
import { labAvailable } from "../lab/available.ts";
import { type Lab, startLab } from "../lab/lab.ts";
import type { LabNode } from "../lab/node.ts";
import { until } from "./cluster.ts";
import type { StandInNode } from "./stand-in.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const address = "192.168.77.254:8787";
const names = ["h1", "h2", "h3"] as const;

describe.skipIf(Boolean(reason))("the agent", () => {
	let lab: Lab;
	let standIn: ReturnType<Lab["client"]["spawn"]>;
	let revision = 0;

	beforeAll(async () => {
		lab = await startLab({
			nodes: [
				{ name: "h1", suite: "bookworm" },
				{ name: "h2", suite: "sid" },
				{ name: "h3", suite: "trixie", engine: { "live-restore": false } },
			],
		});
		await startStandIn();
	}, 600_000);
	afterAll(() => lab?.stop(), 60_000);

	// --- the stand-in

	async function startStandIn(): Promise<void> {
		const program = join(import.meta.dir, "stand-in.ts");
		standIn = lab.client.spawn([process.execPath, program, address, socket(), lab.dir]);
		await until("the stand-in answers", async () => {
			return ask("/nodes").then(
				() => true,
				() => false,
			);
		});
	}
	const socket = () => join(lab.dir, "stand-in.sock");
	async function ask<Answer>(path: string, body?: unknown): Promise<Answer> {
		const reply = await fetch(`http://stand-in${path}`, {
			unix: socket(),
			...(body !== undefined && { method: "PUT", body: JSON.stringify(body) }),
		} as RequestInit);
		return (await reply.json()) as Answer;
	}
	const nodes = () => ask<Record<string, StandInNode>>("/nodes");
	const seen = async (name: string): Promise<StandInNode> => {
		const node = (await nodes())[name];
		if (!node) throw new Error(`${name} has not joined`);
		return node;
	};
	const statusOf = async (name: string, task: string) => (await seen(name)).tasks[task]?.at(-1);
	const isRunning = async (name: string, task: string) =>
		(await statusOf(name, task))?.state === "running";

	// --- the machines

	const install = (node: LabNode, ...args: string[]) =>
		node.exec(
			["sh", "-c", `curl -fsSL http://${address}/install.sh | sh -s -- ${args.join(" ")}`],
			{ timeoutMs: 120_000 },
		);
	const containers = async (node: LabNode) =>
		(
			await node.must([
				"docker",
				"ps",
				"-a",
				"--no-trunc",
				"--format",
				"{{.Names}} {{.State}} {{.ID}}",
			])
		)
			.trim()
			.split("\n")
			.filter(Boolean)
			.sort();
	const who = (node: LabNode) =>
		lab.client.exec(["curl", "-sS", "-m", "3", `http://${node.address}:8091/cgi-bin/who`]);
	const node = (name: string) => lab.node(name);

	// --- assignments by hand

	const ingress = "net0" as NetworkId;
	const front = "net1" as NetworkId;
	const inner = "net2" as NetworkId;
	const prefixOf = (network: NetworkId) => `10.90.${network.slice(3)}`;
	const indexOf = (name: string) => names.indexOf(name as "h1") + 1;

	/** Task i of `web` lives on node i, at .1i of each network. */
	function webOn(name: string, changes: Parameters<typeof taskOf>[0] = {}): TaskAssignment {
		const index = indexOf(name);
		return taskOf({
			id: `web${index}` as TaskId,
			name: `web.${index}.web${index}`,
			service: { id: "web" as ServiceId, name: "web", labels: {} },
			slot: index,
			attachments: [ingress, front].map((network) => ({
				network,
				address: `${prefixOf(network)}.1${index}`,
			})),
			container: {
				args: ["sh", "-c", "echo out; echo err >&2; exec httpd -f -p 80 -h /www"],
				stopGraceMs: 1_000,
			},
			...changes,
		});
	}

	async function assign(
		name: string,
		tasks: readonly TaskAssignment[],
		serving: readonly string[] = names,
	): Promise<void> {
		const known = await nodes();
		const index = indexOf(name);
		const others = names.filter((other) => other !== name && known[other]);
		revision++;
		const network = (
			id: NetworkId,
			rest: Partial<NetworkAssignment> & Pick<NetworkAssignment, "name">,
		): NetworkAssignment => ({
			id,
			vni: 100 + Number(id.slice(3)),
			subnet: `${prefixOf(id)}.0/24`,
			internal: false,
			attachable: false,
			ingress: false,
			gateway: `${prefixOf(id)}.24${index}`,
			slice: null,
			gateways: others.map((other) => ({
				node: other as unknown as NodeId,
				address: `${prefixOf(id)}.24${indexOf(other)}`,
			})),
			members: membersOf(prefixOf(id)),
			endpoints: [],
			...rest,
		});
		const assignment: Assignment = {
			protocol: 1,
			cluster: "by-hand" as ClusterId,
			revision,
			self: {
				node: name as unknown as NodeId,
				hostname: name,
				index,
				meshAddress: `10.91.0.${index}`,
				meshRange: "10.91.0.0/24",
				availability: "active",
			},
			peers: others.map((other) => ({
				node: other as unknown as NodeId,
				hostname: other,
				index: indexOf(other),
				meshAddress: `10.91.0.${indexOf(other)}`,
				publicKey: known[other]?.description.publicKey ?? "",
				endpoints: [`${node(other).address}:51820`],
				down: false,
			})),
			networks: [
				network(ingress, {
					name: "ingress",
					ingress: true,
					endpoints: [endpoint(prefixOf(ingress), null, serving)],
				}),
				network(front, {
					name: "front",
					attachable: true,
					slice: `10.90.1.${128 + 16 * index}/28`,
					endpoints: [endpoint(prefixOf(front), "10.90.1.2", serving)],
				}),
				network(inner, { name: "inner", internal: true }),
			],
			tasks,
		};
		await ask(`/assignment/${name}`, assignment);
	}
	const membersOf = (prefix: string): Member[] =>
		names.map((name) => {
			const index = indexOf(name);
			const at = `${prefix}.1${index}`;
			return {
				address: at,
				mac: macOf(at),
				node: name as unknown as NodeId,
				names: [`web.${index}`, `web.${index}.web${index}`],
				task: `web${index}` as TaskId,
				generation: 1,
			};
		});
	const endpoint = (prefix: string, vip: string | null, serving: readonly string[]): Endpoint => ({
		service: "web" as ServiceId,
		name: "web",
		aliases: [],
		vip,
		backends: serving.map((name) => `${prefix}.1${indexOf(name)}`),
		ports: vip ? [] : [{ protocol: "tcp", published: 8091, target: 80 }],
	});

	// --- what happens

	test("is refused with a wrong token, and says which is the right one", async () => {
		const refused = await install(node("h1"), "--token", "bad");
		expect(refused.code).not.toBe(0);
		expect(refused.stderr).toContain("token: no such token");
		const none = await install(node("h1"));
		expect(none.stderr).toContain("--token is missing");
		expect((await install(node("h1"), "--nonsense")).stderr).toContain(
			"no such option: --nonsense",
		);
	}, 120_000);

	test("is put on a machine by one line, on engines 20.10, 28 and 26", async () => {
		for (const name of names) {
			const ran = await install(node(name), "--token", "good");
			expect(`${name} ${ran.code} ${ran.stderr}`).toBe(`${name} 0 `);
		}
		const { h1, h2 } = await nodes();
		expect(h1?.description).toMatchObject({
			hostname: "h1",
			addresses: ["192.168.77.1"],
			routes: ["172.17.0.0/16", "192.168.77.0/24"],
			problems: [],
		});
		expect(h1?.description.engineVersion).toStartWith("20.10");
		expect(h2?.description.engineVersion).toStartWith("28");
	}, 180_000);

	test("twice: the identity stays, the agent runs on", async () => {
		const before = await node("h1").must(["cat", "/var/lib/skein-agent/identity.json"]);
		const ran = await install(node("h1"));
		expect(ran.code).toBe(0);
		expect(ran.stdout).toContain("already");
		expect(await node("h1").must(["cat", "/var/lib/skein-agent/identity.json"])).toBe(before);
		expect(await node("h1").must(["/etc/init.d/skein-agent", "status"])).toContain("runs");
	}, 60_000);

	test("runs what it is assigned, with the addresses and hardware addresses it is told", async () => {
		for (const name of names) await assign(name, [webOn(name)]);
		for (const name of names) {
			await until(`${name} runs its task`, () => isRunning(name, `web${indexOf(name)}`));
			await until(`${name} acknowledges`, async () => {
				const { applied, hash } = await seen(name);
				return applied.hash === hash;
			});
			const index = indexOf(name);
			const inside = ["docker", "exec", `web.${index}.web${index}`, "ip", "addr"];
			const links = await node(name).must(inside);
			for (const prefix of [ingress, front].map(prefixOf)) {
				expect(links).toContain(`${prefix}.1${index}/24`);
				expect(links).toContain(macOf(`${prefix}.1${index}`));
			}
			const route = ["docker", "exec", `web.${index}.web${index}`, "ip", "route"];
			expect(await node(name).must(route)).toContain(`default via 10.90.0.24${index}`);
			expect((await seen(name)).description.problems).toEqual([]);
		}
	}, 120_000);

	test("answers on the published port, everywhere, with the client's address", async () => {
		for (const name of names) {
			const answers = new Set<string>();
			for (let turn = 0; turn < 20; turn++) {
				const answer = await who(node(name));
				expect(`${name} ${answer.code} ${answer.stderr}`).toBe(`${name} 0 `);
				const [container = "", client] = answer.stdout.trim().split(" ");
				expect(client).toBe("192.168.77.254");
				answers.add(container);
			}
			expect(answers.size).toBe(3);
		}
	}, 60_000);

	test("tells of containers that people attach, and these find services", async () => {
		const run = ["docker", "run", "-d", "--name", "mine", "--network", "front", "lab/busybox:1"];
		await node("h2").must([...run, "sleep", "1000"]);
		await until("it is reported", async () => (await seen("h2")).attached.length === 1);
		expect((await seen("h2")).attached[0]).toMatchObject({ name: "mine", network: front });
		const asked = await node("h2").must(["docker", "exec", "mine", "nslookup", "web"]);
		expect(asked).toContain("10.90.1.2");
		await node("h2").must(["docker", "rm", "-f", "mine"]);
		await until("its end is reported", async () => (await seen("h2")).attached.length === 0);
	}, 60_000);

	test("sends logs to whoever asks", async () => {
		const options = { stdout: true, stderr: true, follow: false, timestamps: false };
		const more = { tail: "all", since: "", until: "", details: false };
		const asked = { kind: "logs", ...options, ...more };
		const request = { id: "s1", task: "web1", containerId: "web.1.web1", sends: false, asked };
		await ask("/stream/h1", request);
		await until("the log is here", async () => (await seen("h1")).streams["s1"] !== undefined);
		expect((await seen("h1")).streams["s1"]).toContain("out\n");
		expect((await seen("h1")).streams["s1"]).toContain("err\n");
	}, 60_000);

	test("says why a task cannot be", async () => {
		const task = (id: string, container: Parameters<typeof taskOf>[0]) =>
			taskOf({ id: id as TaskId, name: `${id}.1.${id}`, slot: 100 + id.length, ...container });
		await assign("h2", [
			webOn("h2"),
			task("unknown", { container: { image: "192.168.77.254:1/nope:1" } }),
			task("unbound", {
				container: {
					args: ["true"],
					mounts: [{ type: "bind", source: "/x", target: "/y", readOnly: true }],
				},
			}),
			task("broken", { container: { args: ["/nonsense"] } }),
			task("one-shot", { container: { args: ["true"] } }),
			task("exits", { container: { args: ["sh", "-c", "exit 3"] } }),
			task("sick", {
				container: {
					args: ["sleep", "1000"],
					stopGraceMs: 1_000,
					healthcheck: {
						test: ["CMD", "false"],
						intervalMs: 300,
						timeoutMs: 1_000,
						startPeriodMs: 0,
						retries: 1,
					},
				},
			}),
		]);
		const wanted = {
			unknown: ["rejected", /^No such image: 192\.168\.77\.254:1\/nope:1 \(.*refused/],
			unbound: [
				"rejected",
				/^invalid mount config for type "bind": bind source path does not exist: \/x$/,
			],
			broken: ["failed", /^starting container failed: .*"\/nonsense"/],
			"one-shot": ["complete", /^$/],
			exits: ["failed", /^task: non-zero exit \(3\)$/],
			sick: ["failed", /unhealthy/],
		} as const;
		for (const [id, [state, error]] of Object.entries(wanted)) {
			await until(`${id} is ${state}`, async () => (await statusOf("h2", id))?.state === state);
			expect((await statusOf("h2", id))?.error).toMatch(error);
		}
		await assign("h2", [webOn("h2")]);
		await until("the rest is gone", async () => {
			const left = await containers(node("h2"));
			return left.every((line) => line.startsWith("web."));
		});
	}, 120_000);

	test("finds names also in a network that has no way out", async () => {
		const attachments = [{ network: inner, address: "10.90.2.50" }];
		for (const name of names) {
			const task = taskOf({
				id: `inner${name}` as TaskId,
				name: `inner.1.${name}`,
				slot: 50,
				attachments,
				container: { args: ["sleep", "1000"], stopGraceMs: 0 },
			});
			await assign(name, [webOn(name), task]);
			await until(`${name} runs it`, () => isRunning(name, `inner${name}`));
			const asked = ["docker", "exec", `inner.1.${name}`, "nslookup", "web.1.web1"];
			await until(`${name} answers`, async () =>
				(await node(name).exec(asked)).stdout.includes("10.90.2.11"),
			);
			await assign(name, [webOn(name)]);
		}
	}, 120_000);

	test("restarted or killed, leaves running what runs", async () => {
		const before = await containers(node("h1"));
		await node("h1").must(["/etc/init.d/skein-agent", "restart"]);
		await node("h1").must(["sh", "-c", "kill -9 $(pgrep -x bun)"]);
		await assign("h1", [
			webOn("h1"),
			webOn("h1", { id: "more" as TaskId, name: "web.9.more", slot: 9, attachments: [] }),
		]);
		await until("it works again", () => isRunning("h1", "more"));
		await assign("h1", [webOn("h1")]);
		await until("and goes on", async () => {
			const running = (await containers(node("h1"))).filter((line) => line.includes(" running "));
			return running.join() === before.join();
		});
		expect((await who(node("h1"))).code).toBe(0);
	}, 60_000);

	test("on a full disk does what it is told all the same, also when it starts again, and says so", async () => {
		const state = "/var/lib/skein-agent";
		const shell = (line: string) => node("h1").must(["sh", "-c", line]);
		const warned = async () =>
			((await seen("h1")).description.warnings ?? []).some((text) => text.includes("ENOSPC"));
		await shell(
			`cp -a ${state} /tmp/state && mount -t tmpfs -o size=16m full ${state} && cp -a /tmp/state/. ${state}`,
		);
		await shell(`dd if=/dev/zero of=${state}/full bs=4k 2>/dev/null; test -s ${state}/full`);
		const more = { id: "full" as TaskId, name: "web.9.full", slot: 9, attachments: [] };
		await assign("h1", [webOn("h1"), webOn("h1", more)]);
		await until("it works", () => isRunning("h1", "full"));
		await until("it says so", warned);
		const before = await containers(node("h1"));
		await node("h1").must(["/etc/init.d/skein-agent", "restart"]);
		expect(await containers(node("h1"))).toEqual(before);

		await shell(`rm ${state}/full`);
		await until("it says so no more", async () => !(await warned()));
		const written = await shell(`cat ${state}/assignment.json`);
		expect(JSON.parse(written)).toMatchObject({ revision });
		await shell(`cp -a ${state}/. /tmp/state && umount ${state} && cp -a /tmp/state/. ${state}`);
		await assign("h1", [webOn("h1")]);
		await until("and goes on", async () => (await containers(node("h1"))).length < before.length);
	}, 60_000);

	test("keeps containers through a restart of the engine, or starts them again where it ended them", async () => {
		for (const name of ["h1", "h3"]) {
			const index = indexOf(name);
			const [before = ""] = await containers(node(name));
			await node(name).stopEngine();
			await node(name).startEngine();
			await until(`${name} runs the same container`, async () => {
				const now = await containers(node(name));
				return now.includes(before) && (await isRunning(name, `web${index}`));
			});
			await until(`${name} answers`, async () => (await who(node(name))).code === 0);
		}
	}, 120_000);

	test("tells of a death at once", async () => {
		await node("h2").must(["docker", "kill", "web.2.web2"]);
		const ms = await until("the failure is known", async () => {
			return (await statusOf("h2", "web2"))?.state === "failed";
		});
		console.log(`a killed task was reported within ${Math.round(ms)} ms`);
		expect((await statusOf("h2", "web2"))?.exitCode).toBe(137);
	}, 60_000);

	test("starts a machine's tasks again after a power cut, with the control plane away", async () => {
		for (const name of ["h1", "h3"]) {
			await assign(name, [webOn(name)], ["h1", "h3"]);
			const asked = revision;
			await until(`${name} has it`, async () => (await seen(name)).applied.revision === asked);
		}
		const before = await containers(node("h3"));
		standIn.kill("SIGKILL");
		await node("h3").stop();
		await node("h3").start();
		const ms = await until("the task is back, and reachable", async () => {
			return (
				(await containers(node("h3"))).join() === before.join() &&
				(await who(node("h3"))).code === 0
			);
		});
		console.log(`back after a power cut, alone: ${Math.round(ms)} ms after the boot`);
		for (const name of ["h1", "h3"]) expect((await who(node(name))).code).toBe(0);
	}, 120_000);

	test("winds down where its node was removed, and rests", async () => {
		await startStandIn();
		// The stand-in forgot everything: the nodes are strangers, which changes nothing.
		await Bun.sleep(1_000);
		expect((await who(node("h1"))).code).toBe(0);
		const ran = await install(node("h3"), "--token", "good");
		expect(`${ran.code} ${ran.stderr}`).toBe("0 ");
		await assign("h3", [webOn("h3")], ["h3"]);
		await until("h3 serves", async () => (await who(node("h3"))).code === 0);
		await ask("/remove/h3", {});
		await until("h3 is bare", async () => {
			const left = await remains(node("h3"));
			return left === "";
		});
		await until("the agent rests", async () => {
			return (await node("h3").exec(["/etc/init.d/skein-agent", "status"])).code === 3;
		});
		expect(await node("h3").must(["cat", "/var/log/skein-agent.log"])).toContain("was removed");
	}, 120_000);

	test("leaves nothing when it is uninstalled", async () => {
		await node("h1").must([
			"docker",
			"run",
			"-d",
			"--name",
			"theirs",
			"lab/busybox:1",
			"sleep",
			"1000",
		]);
		for (const name of ["h1", "h3"]) {
			const ran = await install(node(name), "--uninstall");
			expect(`${name} ${ran.code}`).toBe(`${name} 0`);
			expect(await remains(node(name))).toBe("");
			const files = ["/usr/local/lib/skein", "/var/lib/skein-agent", "/etc/init.d/skein-agent"];
			const others = ["/etc/default/skein-agent", "/var/log/skein-agent.log", "/run/skein-agent"];
			for (const file of [...files, ...others]) {
				expect(`${file} ${(await node(name).exec(["test", "-e", file])).code}`).toBe(`${file} 1`);
			}
		}
		expect((await containers(node("h1"))).join()).toStartWith("theirs running");
	}, 120_000);

	/** Whatever has a name of ours in the kernel, the engine or the list of programs. */
	async function remains(machine: LabNode): Promise<string> {
		const look = [
			"ip -br link | grep -E '^(sk-|sx-|skein)'",
			"nft list ruleset | grep -i skein",
			"iptables-save | grep -i skein",
			"docker ps -aq --filter label=skein.task",
			"docker network ls -q --filter label=skein.network",
			"pgrep -a wireguard-go",
		].join("; ");
		return (await machine.exec(["sh", "-c", look])).stdout.trim();
	}
});
