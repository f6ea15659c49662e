// The mesh under real engines, 20.10, 26.1 and 28.5 in one cluster, with VXLAN's usual port dropped between them.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
	assignmentOf,
	networkId,
	type SceneNetwork,
} from "../../edge-agent/mesh/assignment.test-data.ts";
import { macOf } from "../../model/cidr.ts";
import type { AttachedContainer } from "../../model/node.ts";
import { labAvailable } from "../lab/available.ts";
import { busyboxImage } from "../lab/image.ts";
import { type Lab, startLab } from "../lab/lab.ts";
import type { LabNode } from "../lab/node.ts";
import { until } from "../lab/run.ts";
import { Dialogue } from "./dialogue.ts";
import type { Order } from "./mesh-node.ts";
import type { Applied } from "./world.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: the mesh under real engines. ${reason}`);

const members = { "10.0.5.10": 1, "10.0.5.20": 2, "10.0.5.30": 3 };
const vip = "10.0.5.2";
const blue: SceneNetwork = { name: "mynet1", vni: 5, attachable: true, at: members, vips: [vip] };
const inner: SceneNetwork = { name: "inner", vni: 7, internal: true, attachable: true, at: {} };
const ingress: SceneNetwork = { name: "ingress", vni: 6, ingress: true, at: {} };

describe.skipIf(reason !== undefined)("the mesh under real engines", () => {
	let lab: Lab;
	let agents: Dialogue<Order>[];
	let keys: string[];
	const attached: AttachedContainer[][] = [[], [], []];

	/** What the control plane and each agent's loop would do. */
	const apply = async (...networks: SceneNetwork[]) => {
		const scene = {
			nodes: lab.nodes.map(({ address }, index) => ({
				publicKey: keys[index] ?? "",
				endpoints: [`${address}:51820`],
			})),
			networks,
		};
		return Promise.all(
			agents.map((agent, index) =>
				agent.ask<Applied>({
					kind: "apply",
					assignment: assignmentOf(scene, index + 1),
					local: {
						underlayMtu: 1500,
						addresses: [`${lab.nodes[index]?.address}/24`],
						wireguardPort: 51820,
						attached: attached[index] ?? [],
					},
				}),
			),
		);
	};
	/** As `apply`, with what people run on the nodes told to all of them. */
	const report = async () => {
		const all = await Promise.all(
			agents.map((agent) => agent.ask<{ attached: AttachedContainer[] }>({ kind: "attached" })),
		);
		const known = { ...members } as Record<string, number>;
		const macs: Record<string, string> = {};
		for (const [index, { attached: here }] of all.entries()) {
			attached[index] = here.filter(({ address }) => !(address in members));
			for (const { address, mac } of attached[index] ?? []) {
				known[address] = index + 1;
				macs[address] = mac;
			}
		}
		return apply({ ...blue, at: known, macs }, ingress, inner);
	};
	/** A tunnel's first handshake that a busy machine is too slow for is begun anew after five seconds. */
	const tries = 5;
	const ping = async (node: LabNode, container: string, target: string) => {
		const command = ["docker", "exec", container, "ping", "-q", "-c", "1", "-W", "2", target];
		for (let tried = 0; tried < tries; tried++) {
			if ((await node.exec(command)).code === 0) return true;
		}
		return false;
	};
	const failures = async (targets: readonly string[]) => {
		const found: string[] = [];
		for (const node of lab.nodes) {
			for (const target of targets) {
				if (!(await ping(node, "task", target))) found.push(`${node.name} to ${target}`);
			}
		}
		return found;
	};
	const tasks = Object.keys(members);

	beforeAll(async () => {
		lab = await startLab({
			nodes: [
				{ name: "h1", suite: "bookworm" },
				{ name: "h2", suite: "trixie" },
				{ name: "h3", suite: "sid" },
			],
		});
		await lab.dropUdp(4789);
		const built = await Bun.build({
			entrypoints: [join(import.meta.dir, "mesh-node.ts"), join(import.meta.dir, "names.ts")],
			target: "bun",
		});
		agents = [];
		for (const node of lab.nodes) {
			await Bun.write(`${node.root}/usr/local/bin/bun`, Bun.file(process.execPath));
			await node.must(["chmod", "755", "/usr/local/bin/bun"]);
			for (const file of built.outputs) await Bun.write(`${node.root}/root/${file.path}`, file);
			const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
			const program = ["bun", "/root/mesh-node.js", "/var/lib/skein-agent", "/run/docker.sock"];
			agents.push(new Dialogue([...node.enter, "env", path, ...program]));
		}
		const made = await Promise.all(
			agents.map((agent) => agent.ask<{ publicKey: string }>({ kind: "key" })),
		);
		keys = made.map(({ publicKey }) => publicKey);
		for (const { problems, kernel } of await apply(blue, ingress, inner)) {
			expect({ problems, kernel }).toEqual({ problems: [], kernel: true });
		}
		for (const [index, node] of lab.nodes.entries()) {
			const address = tasks[index] ?? "";
			node.spawn(["bun", "/root/names.js", "web", vip]);
			const at = ["--network", "mynet1", "--ip", address, "--mac-address", macOf(address)];
			// An engine of 20.10 takes its MAC from the address, and no orders about it from a newer client.
			const run = ["docker", "run", "-d", "--name", "task", "--label", "skein.task=t"];
			await node.must([
				...run,
				...(index === 0 ? at.slice(0, 4) : at),
				busyboxImage,
				"sleep",
				"9999",
			]);
		}
	}, 120_000);
	afterAll(() => lab?.stop());

	test("containers of all engines reach each other, a VIP, and every bridge", async () => {
		expect(await failures([...tasks, vip, "10.0.5.241", "10.0.5.242", "10.0.5.243"])).toEqual([]);
	}, 60_000);

	test("applying again changes nothing", async () => {
		for (const { changes, problems } of await apply(blue, ingress, inner)) {
			expect({ changes: changes.filter((line) => !line.includes("hairpin")), problems }).toEqual({
				changes: [],
				problems: [],
			});
		}
	});

	test.each([1, 2, 3])(
		"node %d: the first look-up of a container that people run finds a service",
		async (number) => {
			const node = lab.node(`h${number}`);
			const found = async (network: string) => {
				const run = ["docker", "run", "--rm", "--network", network, busyboxImage];
				const { stdout } = await node.exec([...run, "nslookup", "web"], { timeoutMs: 30_000 });
				return stdout.includes(vip);
			};
			const networks = [
				"mynet1",
				"mynet1",
				"mynet1",
				"inner",
				"mynet1",
				"mynet1",
				"mynet1",
				"inner",
			];
			const results: boolean[] = [];
			for (const network of networks) results.push(await found(network));
			expect(results).toEqual(networks.map(() => true));
		},
		90_000,
	);

	test("people get addresses of their node's slice, and are reported", async () => {
		for (const node of lab.nodes) {
			await node.must([
				"docker",
				"run",
				"-d",
				"--name",
				"guest",
				"--network",
				"mynet1",
				"--network-alias",
				"friend",
				busyboxImage,
				"sleep",
				"9999",
			]);
		}
		await report();
		for (const [index, here] of attached.entries()) {
			expect(here).toMatchObject([
				{
					name: "guest",
					network: networkId("mynet1"),
					address: `10.0.5.${128 + 16 * (index + 1)}`,
				},
			]);
			expect(here[0]?.aliases).toContain("friend");
		}
		expect(await failures(attached.flat().map(({ address }) => address))).toEqual([]);
	}, 60_000);

	test("a guest that comes back with another MAC is found again", async () => {
		const guests = attached.flat().map(({ address }) => address);
		const before = attached.flat().map(({ mac }) => mac);
		for (const node of lab.nodes) await node.must(["docker", "restart", "-t", "0", "guest"]);
		await report();
		expect(await failures(guests)).toEqual([]);
		// Engines from 28 on give a new one each time; else this test would have shown nothing.
		expect(attached.flat().map(({ mac }) => mac)).not.toEqual(before);
	}, 60_000);

	test("a network that people may not join has no address for them", async () => {
		const closed: SceneNetwork = { name: "closed", vni: 8, at: {} };
		await apply(blue, ingress, inner, closed);
		for (const node of lab.nodes) {
			const { code, stderr } = await node.exec([
				"docker",
				"run",
				"--rm",
				"--network",
				"closed",
				busyboxImage,
			]);
			expect([code, stderr]).toEqual([125, expect.stringContaining("no available IPv4 addresses")]);
		}
		await report();
		for (const node of lab.nodes) {
			expect(await node.must(["docker", "network", "ls", "--format", "{{.Name}}"])).not.toMatch(
				/^closed$/m,
			);
			expect((await node.exec(["ip", "link", "show", "sk-8"])).code).not.toBe(0);
		}
	}, 60_000);

	test("a network of the same name that is not ours is named, and left alone", async () => {
		const node = lab.node("h2");
		await node.must(["docker", "network", "create", "taken"]);
		const taken: SceneNetwork = { name: "taken", vni: 9, at: {} };
		const [, applied] = await apply(blue, ingress, inner, taken);
		expect(applied?.problems.join()).toMatch(/taken.*docker network rm/);
		expect(applied?.kernel).toBe(true);
		await node.must(["docker", "network", "rm", "taken"]);
		expect((await apply(blue, ingress, inner, taken))[1]?.problems).toEqual([]);
		await report();
	}, 60_000);

	test("engines that restart, or are killed, lose nothing", async () => {
		for (const node of lab.nodes) {
			await node.stopEngine();
			await node.startEngine();
			await node.killEngine();
			await node.startEngine();
		}
		expect(await failures([...tasks, vip])).toEqual([]);
		for (const { problems } of await report()) expect(problems).toEqual([]);
	}, 120_000);

	test("a wireguard-go that dies is started again", async () => {
		const node = lab.node("h1");
		await node.must(["pkill", "-9", "wireguard-go"]);
		await until("the mesh to be gone", 5_000, async () => !(await ping(node, "task", "10.0.5.20")));
		await report();
		await until("the mesh to be back", 15_000, () => ping(node, "task", "10.0.5.20"));
	}, 60_000);
});
