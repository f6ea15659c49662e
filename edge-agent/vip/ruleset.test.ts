import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { gatewayMac } from "../../model/mesh.ts";
import { difference, type ElementSet, render, ruleset, type Tables, tables } from "./ruleset.ts";
import { assignmentOf, type Scene, type SceneNetwork } from "./scene.test-data.ts";
import { elements, type Packet, type Traced, trace } from "./tracer.test-data.ts";

/** Seen from node 1 of three. Blue is VNI 5, so 10.0.5.0/24; red 6; ingress 10. */
const scene: Scene = {
	nodes: 3,
	networks: [
		{
			name: "ingress",
			vni: 10,
			ingress: true,
			at: { "10.0.10.11": 1, "10.0.10.12": 2 },
			services: [
				{
					name: "web",
					backends: ["10.0.10.11", "10.0.10.12"],
					ports: [
						{ protocol: "tcp", published: 8091, target: 80 },
						{ protocol: "udp", published: 53, target: 5353 },
						{ protocol: "udp", published: 51820, target: 51820 },
					],
				},
				{ name: "idle", backends: [], ports: [{ protocol: "tcp", published: 22, target: 22 }] },
			],
		},
		{
			name: "blue",
			vni: 5,
			at: { "10.0.5.11": 1, "10.0.5.12": 2 },
			services: [
				{ name: "web", vip: "10.0.5.2", backends: ["10.0.5.11", "10.0.5.12"] },
				{ name: "idle", vip: "10.0.5.3", backends: [] },
			],
		},
		{ name: "red", vni: 6, at: {} },
	],
};
const text = ruleset(assignmentOf(scene, 1));
const own = ["192.168.79.1", "10.200.0.1", "10.0.10.241", "10.0.5.241", "10.0.6.241"];
/** VIPs are on the bridges too. */
const vips = ["10.0.5.2", "10.0.5.3"];

function traced(packet: Partial<Packet>, random = () => 0, rules = text): Traced {
	const whole: Packet = {
		protocol: "tcp",
		source: "203.0.113.9",
		dest: "192.168.79.1",
		port: 8091,
		from: "eth0",
		...packet,
	};
	return trace(rules, whole, {
		own: [...own, ...vips],
		routes: (address) => /^10\.0\.(\d+)\./.exec(address)?.[1]?.replace(/^/, "sk-") ?? "eth0",
		random,
	});
}

const last = () => 0.99;
const blue = { from: "sk-5", source: "10.0.5.13" };
const red = { from: "sk-6", source: "10.0.6.13" };
const node = { from: null, source: "192.168.79.1" };

describe("where a packet goes, and who it says it is from", () => {
	test.each([
		[
			"a container to a VIP",
			{ ...blue, dest: "10.0.5.2", port: 80 },
			"10.0.5.11:80 from 10.0.5.13",
		],
		["any port of it", { ...blue, dest: "10.0.5.2", port: 9 }, "10.0.5.11:9 from 10.0.5.13"],
		[
			"any protocol",
			{ ...blue, dest: "10.0.5.2", protocol: "sctp", port: 9 },
			"10.0.5.11:9 from 10.0.5.13",
		],
		["a ping of it", { ...blue, dest: "10.0.5.2", protocol: "icmp" }, "host:8091 from 10.0.5.13"],
		[
			"a task that draws itself",
			{ ...blue, source: "10.0.5.11", dest: "10.0.5.2", port: 80 },
			"10.0.5.11:80 from bridge",
		],
		[
			"the node to a VIP, from that VIP as the kernel has it",
			{ from: null, source: "10.0.5.2", dest: "10.0.5.2", port: 80 },
			"10.0.5.11:80 from bridge",
		],
		["a VIP with nobody", { ...blue, dest: "10.0.5.3", port: 80 }, "refused from 10.0.5.13"],
		["its port that others publish", { ...blue, dest: "10.0.5.3" }, "refused from 10.0.5.13"],
		["the node to it", { ...node, dest: "10.0.5.3", port: 22 }, "refused from 192.168.79.1"],
		[
			"a task by its own address",
			{ ...blue, dest: "10.0.5.12", port: 80 },
			"10.0.5.12:80 from 10.0.5.13",
		],
		["a port from outside", {}, "10.0.10.11:80 from 203.0.113.9"],
		["at another address of the node", { dest: "10.200.0.1" }, "10.0.10.11:80 from 203.0.113.9"],
		["of the other protocol", { protocol: "udp" }, "host:8091 from 203.0.113.9"],
		["not published", { port: 443 }, "host:443 from 203.0.113.9"],
		["published by a service with nobody", { port: 22 }, "refused from 203.0.113.9"],
		["the same port elsewhere", { dest: "198.51.100.7" }, "198.51.100.7:8091 from 203.0.113.9"],
		["the node at its own address", { ...node }, "10.0.10.11:80 from 192.168.79.1"],
		[
			"the node at 127.0.0.1",
			{ from: null, source: "127.0.0.1", dest: "127.0.0.1" },
			"10.0.10.11:80 from bridge",
		],
		["another network's container", { ...red }, "10.0.10.11:80 from bridge"],
		[
			"a task of the ingress network",
			{ from: "sk-10", source: "10.0.10.12" },
			"10.0.10.11:80 from 10.0.10.12",
		],
		["a container at 127.0.0.1", { ...blue, dest: "127.0.0.1" }, "dropped from 10.0.5.13"],
		[
			"names, though somebody publishes port 53",
			{ ...blue, dest: "10.200.0.1", port: 53, protocol: "udp" },
			"host:53 from 10.0.5.13",
		],
		["the port he publishes", { port: 53, protocol: "udp" }, "10.0.10.11:5353 from 203.0.113.9"],
		[
			"WireGuard, whoever publishes its port",
			{ port: 51820, protocol: "udp" },
			"host:51820 from 203.0.113.9",
		],
		[
			"VXLAN from a peer",
			{ from: "skein0", port: 4790, protocol: "udp" },
			"host:4790 from 203.0.113.9",
		],
		["VXLAN from anywhere else", { port: 4790, protocol: "udp" }, "dropped from 203.0.113.9"],
		["Docker Swarm's VXLAN", { port: 4789, protocol: "udp" }, "host:4789 from 203.0.113.9"],
	] as [string, Partial<Packet>, string][])("%s", (_, packet, want) => {
		const { to, from } = traced(packet);
		expect(`${to} from ${from}`).toBe(want);
	});

	test("the draw decides among backends", () => {
		expect(traced({ ...blue, dest: "10.0.5.2", port: 80 }, last).to).toBe("10.0.5.12:80");
		expect(traced({}, last).to).toBe("10.0.10.12:80");
	});

	test("what another node's bridge sends is marked and kept apart as that node's", () => {
		const packet = { from: "sk-10", dest: "10.0.10.11", port: 80, mac: gatewayMac(3) };
		expect(traced(packet)).toEqual({
			to: "10.0.10.11:80",
			from: "203.0.113.9",
			mark: 0x2000003,
			zone: 3,
		});
		expect(traced({ ...packet, mac: "02:42:0a:00:0a:0c" })).toMatchObject({ mark: 0, zone: 0 });
	});

	test("published ports are told apart from direct calls, for the engine's firewall", () => {
		expect(traced({}).mark).toBe(0x1000000);
		expect(traced({ ...blue, dest: "10.0.5.2" }).mark).toBe(0);
	});
});

/** Up to a few networks with a few services, backends among the networks' members. */
const scenes: fc.Arbitrary<Scene> = fc
	.uniqueArray(fc.integer({ min: 2, max: 9 }), { minLength: 1, maxLength: 3 })
	.chain((vnis) => fc.tuple(...vnis.map(networks)))
	.map((networks) => ({ nodes: 3, networks }));

function networks(vni: number): fc.Arbitrary<SceneNetwork> {
	const backends = fc.uniqueArray(fc.integer({ min: 11, max: 30 }), { maxLength: 6 });
	return fc.array(backends, { maxLength: 4 }).map((services) => ({
		name: `net${vni}`,
		vni,
		ingress: vni === 9,
		at: Object.fromEntries(services.flat().map((byte) => [`10.0.${vni}.${byte}`, (byte % 3) + 1])),
		services: services.map((backends, at) => ({
			name: `service${at}`,
			...(vni !== 9 && { vip: `10.0.${vni}.${2 + at}` }),
			backends: backends.map((byte) => `10.0.${vni}.${byte}`),
			ports: vni === 9 ? [{ protocol: "tcp" as const, published: 8000 + at, target: 80 }] : [],
		})),
	}));
}

test("each VIP and each port leads to its backends, all of them and nobody else", () => {
	fc.assert(
		fc.property(scenes, (scene) => {
			const rules = ruleset(assignmentOf(scene, 1));
			for (const { vni, ingress, services = [] } of scene.networks) {
				for (const { vip, backends, ports = [] } of services) {
					const asked = ingress
						? { dest: "192.168.79.1", port: ports[0]?.published ?? 0 }
						: { dest: vip ?? "", port: 80, from: `sk-${vni}`, source: `10.0.${vni}.200` };
					const draws = Array.from({ length: 60 }, (_, at) => at / 60);
					const reached = draws.map((draw) => traceIn(scene, asked, draw, rules));
					const want = backends.length === 0 ? ["refused"] : backends.map((one) => `${one}:80`);
					expect([...new Set(reached)].sort()).toEqual(want.toSorted());
				}
			}
		}),
		{ numRuns: 30 },
	);
});

function traceIn(scene: Scene, packet: Partial<Packet>, draw: number, rules: string): string {
	const vips = scene.networks.flatMap(({ services = [] }) =>
		services.flatMap(({ vip }) => vip ?? []),
	);
	const whole: Packet = {
		protocol: "tcp",
		source: "203.0.113.9",
		dest: "",
		port: 0,
		from: "eth0",
		...packet,
	};
	const routes = (address: string) => `sk-${address.split(".")[2]}`;
	return trace(rules, whole, { own: ["192.168.79.1", ...vips], routes, random: () => draw }).to;
}

test("a difference leads from any tables to any others", () => {
	fc.assert(
		fc.property(scenes, scenes, (one, other) => {
			const before = tables(assignmentOf(one, 1));
			const after = tables(assignmentOf(other, 1));
			const change = difference(before, after) ?? "";
			expect(contents(applied(before, change))).toEqual(contents(after));
			expect(difference(after, after)).toBe("");
		}),
		{ numRuns: 200 },
	);
});

test("more backends than there are chains is a whole load, and one more service is not", () => {
	const crowd = (count: number): Scene => ({
		nodes: 1,
		networks: [
			{
				name: "blue",
				vni: 5,
				at: {},
				services: [
					{
						name: "web",
						vip: "10.0.5.2",
						backends: Array.from({ length: count }, (_, at) => `10.0.5.${at + 3}`),
					},
				],
			},
		],
	});
	const of = (scene: Scene) => tables(assignmentOf(scene, 1));
	expect(difference(of(crowd(64)), of(crowd(65)))).toBeUndefined();
	expect(difference(of(crowd(65)), of(crowd(128)))).toBeString();
	expect(render(of(crowd(65)))).toContain("chain vip_65 ");
});

test("a port that two services claim stays the first one's, and the tables stay whole", () => {
	const web = { name: "web", backends: ["10.0.10.11"] };
	const ports = [{ protocol: "tcp" as const, published: 80, target: 80 }];
	const rules = ruleset(
		assignmentOf(
			{
				nodes: 1,
				networks: [
					{
						name: "ingress",
						vni: 10,
						ingress: true,
						at: {},
						services: [
							{ ...web, ports },
							{ name: "late", backends: ["10.0.10.12"], ports },
						],
					},
				],
			},
			1,
		),
	);
	expect(traced({ port: 80 }, last, rules).to).toBe("10.0.10.11:80");
});

/** What `nft` would make of the lines: deletes of what is there, adds of what is not, anything else an error. */
function applied(before: Tables, change: string): Tables {
	const sets = before.sets.map((set) => ({ ...set, elements: new Map(set.elements) }));
	for (const line of change.split("\n").filter((line) => line !== "")) {
		const match = /^(add|delete) element (\w+) skein (\w+) \{ (.*) \}$/.exec(line);
		const [, verb, family, name, list = ""] = match ?? [];
		const set = sets.find((one) => one.family === family && one.name === name);
		if (!set) throw new Error(`no set for ${line}`);
		for (const [key, value] of elements(list)) {
			if (set.elements.has(key) === (verb === "add")) throw new Error(`${verb} ${key}: ${line}`);
			if (verb === "add") set.elements.set(key, value);
			else set.elements.delete(key);
		}
	}
	return { ...before, sets };
}

function contents({ sets }: { readonly sets: readonly ElementSet[] }) {
	return sets.map(({ name, elements }) => [name, [...elements].sort()]);
}
