// VIPs and published ports on the real kernel: three nodes, every way to ask, and whom the server sees.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
	assignmentOf,
	type Scene,
	type SceneNetwork,
	type SceneService,
} from "../../edge-agent/vip/scene.test-data.ts";
import {
	outside,
	type Place,
	startWorld,
	underlay,
	type World,
	type WorldNode,
	worldAvailable,
} from "./vip-world.ts";

const programs = ["ip", "bridge", "nft", "iptables", "conntrack", "nsenter", "unshare", "ping"];
const reason = worldAvailable(programs);
if (reason) console.log(`skipped: VIPs on a real kernel ${reason}`);

const bridges = { ingress: "sk-10", blue: "sk-5", red: "sk-6", inner: "sk-7" } as const;
type NetworkName = keyof typeof bridges;
const vniOf = (name: NetworkName) => Number(bridges[name].slice(3));
const addressIn = (name: NetworkName, last: number) => `10.0.${vniOf(name)}.${last}`;
const gatewayIn = (name: NetworkName, node: number) => addressIn(name, 240 + node);
const vip = { web: "10.0.5.2", empty: "10.0.5.3", inner: "10.0.7.2" };

/** Containers: where they run, and their networks, the default route's first. The last byte is 10 plus the node. */
const containers = [
	{ name: "t1", node: 1, networks: ["ingress", "blue"] },
	{ name: "t2", node: 2, networks: ["ingress", "blue"] },
	{ name: "c3", node: 3, networks: ["blue"] },
	{ name: "r1", node: 1, networks: ["red"] },
	{ name: "r3", node: 3, networks: ["red"] },
	{ name: "i1", node: 1, networks: ["inner"] },
	{ name: "i2", node: 2, networks: ["inner"] },
] as const satisfies readonly { name: string; node: number; networks: readonly NetworkName[] }[];

const web: SceneService = {
	name: "web",
	backends: [addressIn("ingress", 11), addressIn("ingress", 12)],
	ports: [
		{ protocol: "tcp", published: 8091, target: 80 },
		{ protocol: "udp", published: 8091, target: 81 },
	],
};

function network(name: NetworkName, services: readonly SceneService[]): SceneNetwork {
	const here = containers.filter(({ networks }) => (networks as readonly string[]).includes(name));
	return {
		name,
		vni: vniOf(name),
		ingress: name === "ingress",
		internal: name === "inner",
		at: Object.fromEntries(here.map(({ node }) => [addressIn(name, 10 + node), node])),
		services,
	};
}

const scene = (webs: readonly number[] = [11, 12]): Scene => ({
	nodes: 3,
	networks: [
		network("ingress", [
			{ ...web, backends: webs.map((last) => addressIn("ingress", last)) },
			{
				name: "solo",
				backends: [addressIn("ingress", 11)],
				ports: [{ protocol: "tcp", published: 8093, target: 80 }],
			},
			{
				name: "empty",
				backends: [],
				ports: [
					{ protocol: "tcp", published: 8094, target: 80 },
					{ protocol: "udp", published: 8094, target: 80 },
				],
			},
		]),
		network("blue", [
			{ name: "web", vip: vip.web, backends: webs.map((last) => addressIn("blue", last)) },
			{ name: "empty", vip: vip.empty, backends: [] },
		]),
		network("red", []),
		network("inner", [
			{
				name: "inner",
				vip: vip.inner,
				backends: [addressIn("inner", 11), addressIn("inner", 12)],
			},
		]),
	],
});

describe.skipIf(reason !== undefined)("VIPs and published ports on a real kernel", () => {
	let world: World;
	const places: Record<string, Place> = {};
	const at = (name: string): Place => {
		const place = places[name];
		if (!place) throw new Error(`no place ${name}`);
		return place;
	};
	const node = (number: number): WorldNode => {
		const found = world.nodes[number - 1];
		if (!found) throw new Error(`no node ${number}`);
		return found;
	};
	const apply = (wanted: Scene) =>
		Promise.all(
			world.nodes.map((one) =>
				one.order<{ tables: string; taken: readonly string[] }>({
					kind: "apply",
					assignment: assignmentOf(wanted, one.number),
				}),
			),
		);

	beforeAll(async () => {
		world = await startWorld(3);
		await apply(scene());
		for (const { name, node: number, networks } of containers) {
			places[name] = await world.addContainer(
				node(number),
				name,
				networks.map((network) => ({
					bridge: bridges[network],
					address: addressIn(network, 10 + number),
					gateway: gatewayIn(network, number),
					internal: (network as string) === "inner",
				})),
			);
		}
		for (const one of world.nodes) {
			places[`n${one.number}`] = one.place;
			const names = Object.keys(bridges) as NetworkName[];
			await one.addEngineRules(
				names.map((name) => ({
					bridge: bridges[name],
					subnet: `10.0.${vniOf(name)}.0/24`,
					internal: name === "inner",
				})),
				containers
					.filter(({ node }) => node === one.number)
					.flatMap(({ node, networks }) =>
						networks.map((name) => ({
							bridge: bridges[name],
							address: addressIn(name, 10 + node),
						})),
					),
			);
		}
		places["ext"] = world.client;
		// Containers' ports, and our jumps before the engine's.
		await apply(scene());
		for (const name of ["t1", "t2", "i1", "i2"]) await at(name).serve(name, 80, 81, 7777);
	}, 120_000);
	afterAll(() => world?.stop());

	/** Asks often enough to meet every backend but once in 65 000 runs; what was said, each once. */
	const asked = async (from: string, protocol: "tcp" | "udp", address: string, port: number) =>
		[...new Set(await at(from).ask(protocol, address, port, 17))].sort();

	const both = (address: string) => [`t1 ${address}`, `t2 ${address}`];
	const own = (last: number) => addressIn("blue", last);

	test.each([
		["a container on a node without a task", "c3", vip.web, both(own(13))],
		[
			"a task calling its own service",
			"t1",
			vip.web,
			[`t1 ${gatewayIn("blue", 1)}`, `t2 ${own(11)}`],
		],
		["the other task", "t2", vip.web, [`t1 ${own(12)}`, `t2 ${gatewayIn("blue", 2)}`]],
		["a node with a task", "n1", vip.web, both(gatewayIn("blue", 1))],
		["a node without one", "n3", vip.web, both(gatewayIn("blue", 3))],
		["a container of another network", "r3", vip.web, ["timeout"]],
		["a container, and no backends", "c3", vip.empty, ["ECONNREFUSED"]],
		["a node, and no backends", "n2", vip.empty, ["ECONNREFUSED"]],
		[
			"a task of an internal network",
			"i1",
			vip.inner,
			[`i1 ${gatewayIn("inner", 1)}`, `i2 ${addressIn("inner", 11)}`],
		],
	])(
		"VIP: %s",
		async (_, from, address, want) => {
			// Who is refused by ICMP often is not told each time: the kernel sends few of them.
			const times = want.length === 1 ? 1 : 17;
			for (const [protocol, port] of [
				["tcp", 80],
				["udp", 81],
				["tcp", 7777],
				["udp", 7777],
			] as const) {
				const said = [...new Set(await at(from).ask(protocol, address, port, times))].sort();
				expect([protocol, port, said]).toEqual([protocol, port, want]);
			}
		},
		30_000,
	);

	test.each([
		["c3", vip.web],
		["t1", vip.web],
		["c3", vip.empty],
		["n3", vip.web],
		["i1", vip.inner],
	])("VIP: %s pings %s", async (from, address) => {
		expect(await at(from).pings(address)).toBe(true);
	});

	const bridgeOf = (number: number) => `${gatewayIn("ingress", number)}`;
	test.each([
		...[1, 2, 3].flatMap((number) => [
			["from outside", "ext", underlay(number), both(outside)],
			["127.0.0.1", `n${number}`, "127.0.0.1", both(gatewayIn("ingress", number))],
			["the node's own address", `n${number}`, underlay(number), both(underlay(number))],
			["another node", `n${number}`, underlay((number % 3) + 1), both(underlay(number))],
			[
				"another node by the mesh",
				`n${number}`,
				`10.200.0.${(number % 3) + 1}`,
				both(`10.200.0.${number}`),
			],
		]),
		["a container, its node", "c3", underlay(3), both(bridgeOf(3))],
		["a container, its bridge", "c3", gatewayIn("blue", 3), both(bridgeOf(3))],
		["a container, another node", "c3", underlay(1), both(underlay(3))],
		["a container of another network, its node", "r3", underlay(3), both(bridgeOf(3))],
		["a container of another network, another node", "r3", underlay(2), both(underlay(3))],
		["and with a task there", "r1", underlay(1), both(bridgeOf(1))],
		[
			"a task, its own node",
			"t1",
			underlay(1),
			[`t1 ${bridgeOf(1)}`, `t2 ${addressIn("ingress", 11)}`],
		],
		["a task, another node with a task", "t1", underlay(2), both(underlay(1))],
		["a task, another node without", "t1", underlay(3), both(underlay(1))],
	] as [string, string, string, string[]][])(
		"published: %s (%s asks %s)",
		async (_, from, address, want) => {
			expect(await asked(from, "tcp", address, 8091)).toEqual(want);
			expect(await asked(from, "udp", address, 8091)).toEqual(want);
		},
		30_000,
	);

	test("published: nobody behind it is a refusal", async () => {
		for (const from of ["ext", "c3", "n2"]) {
			for (const protocol of ["tcp", "udp"] as const) {
				const said = await at(from).ask(protocol, underlay(2), 8094);
				expect([from, protocol, said]).toEqual([from, protocol, ["ECONNREFUSED"]]);
			}
		}
	});

	test("a published port is not found behind a VIP whose service has nobody", async () => {
		expect(await at("c3").ask("tcp", vip.empty, 8091)).toEqual(["ECONNREFUSED"]);
	});

	test("published: the port is held, and who had it first is named", async () => {
		const third = node(3).place;
		const listen = async (program: string) =>
			(await third.run("timeout", "5", process.execPath, "-e", program)).stderr;
		const overTcp = (port: number) =>
			listen(`Bun.listen({ hostname: "0.0.0.0", port: ${port}, socket: { data() {} } })`);
		const overUdp = (port: number) =>
			listen(`await Bun.udpSocket({ hostname: "0.0.0.0", port: ${port} })`);
		expect(await overTcp(8091)).toMatch(/EADDRINUSE/);
		expect(await overUdp(8091)).toMatch(/EADDRINUSE/);

		const all = scene();
		const quiet = all.networks.map((each) => (each.ingress ? { ...each, services: [] } : each));
		await apply({ ...all, networks: quiet });
		const early = await third.serve("early", 8093);
		expect((await apply(scene())).map(({ taken }) => taken)).toEqual([
			[],
			[],
			[
				expect.stringMatching(
					/^port 8093\/tcp is published by service solo,.* bun\S* on this machine/,
				),
			],
		]);
		// What is sent there is the service's all the same.
		expect(await at("ext").ask("tcp", underlay(3), 8093)).toEqual([`t1 ${outside}`]);
		early.kill();
		await early.exited;
		expect((await apply(scene())).flatMap(({ taken }) => taken)).toEqual([]);
		expect(await overTcp(8093)).toMatch(/EADDRINUSE/);
	}, 30_000);

	test("published: one client port through three nodes at once", async () => {
		const said = await Promise.all(
			[1, 2, 3].map((number) => at("ext").ask("tcp", underlay(number), 8093, 1, 45_000)),
		);
		expect(said).toEqual([1, 2, 3].map(() => [`t1 ${outside}`]));
	});

	test("a connection lives through whole loads, and through its backend's leaving", async () => {
		const script = `
			const opened = Promise.withResolvers();
			let heard = "";
			const socket = await Bun.connect({ hostname: "${vip.web}", port: 80, socket: {
				data: (_, data) => { heard += data; opened.resolve(); },
			} });
			await opened.promise;
			for await (const line of console) {
				heard = "";
				socket.write(line);
				while (heard === "") await Bun.sleep(5);
				console.log(heard);
			}`;
		const talk = Bun.spawn(at("c3").command(process.execPath, "-e", script), {
			stdin: "pipe",
			stdout: "pipe",
		});
		const said = talk.stdout[Symbol.asyncIterator]();
		const say = async (word: string) => {
			talk.stdin.write(`${word}\n`);
			talk.stdin.flush();
			return new TextDecoder().decode((await said.next()).value).trim();
		};
		expect(await say("before")).toBe("before");

		await node(3).order({ kind: "check" });
		await node(3).place.must("nft", "add", "element", "ip", "skein", "vips", "{ 10.0.5.99 }");
		expect(await node(3).order<object>({ kind: "check" })).toEqual({ tables: "repaired" });
		expect(await say("loaded")).toBe("loaded");
		// Drained, not cut: the tasks are there, but serve nobody new.
		await apply(scene([]));
		expect(await say("drained")).toBe("drained");
		expect(await at("c3").ask("tcp", vip.web, 80)).toEqual(["ECONNREFUSED"]);
		talk.kill();
		await apply(scene());
	}, 30_000);

	test("a UDP flow moves when its backend leaves", async () => {
		const script = `
			let heard = "";
			const socket = await Bun.udpSocket({
				connect: { hostname: "${vip.web}", port: 81 },
				socket: { data: (_, data) => { heard = String(data); }, error() {} },
			});
			for await (const _ of console) {
				heard = "";
				while (heard === "") { socket.send("?"); await Bun.sleep(20); }
				console.log(heard.split(" ")[0]);
			}`;
		const talk = Bun.spawn(at("c3").command(process.execPath, "-e", script), {
			stdin: "pipe",
			stdout: "pipe",
		});
		const said = talk.stdout[Symbol.asyncIterator]();
		const say = async () => {
			talk.stdin.write("\n");
			talk.stdin.flush();
			return new TextDecoder().decode((await said.next()).value).trim();
		};
		const first = await say();
		expect(await say()).toBe(first);
		await apply(scene([first === "t1" ? 12 : 11]));
		expect(await say()).toBe(first === "t1" ? "t2" : "t1");
		await apply(scene());
		talk.kill();
	}, 30_000);

	test("what somebody flushed or edited is put back, and nothing is touched where nobody did", async () => {
		const [one, two] = [node(1), node(2)];
		expect(await one.order<object>({ kind: "check" })).toEqual({ tables: "same" });
		expect(await one.order<object>({ kind: "check" })).toEqual({ tables: "same" });
		await one.place.must("nft", "flush", "chain", "ip", "skein", "source");
		expect(await one.order<object>({ kind: "check" })).toEqual({ tables: "repaired" });
		await two.order({ kind: "check" });
		await two.place.must("nft", "delete", "element", "ip", "skein", "vips", `{ ${vip.web} }`);
		await two.place.must("iptables", "-I", "FORWARD", "1", "-j", "DOCKER-ISOLATION-STAGE-1");
		expect(await two.order<object>({ kind: "check" })).toEqual({ tables: "repaired" });
		// The engine puts its own rules back when it starts again, not before.
		await node(3).place.must("nft", "flush", "ruleset");
		expect(await node(3).order<object>({ kind: "check" })).toEqual({ tables: "repaired" });
		expect(await asked("c3", "tcp", vip.web, 80)).toEqual(both(own(13)));
		expect(await asked("c3", "tcp", underlay(3), 8091)).toEqual(both(bridgeOf(3)));
		expect(await asked("n1", "tcp", "127.0.0.1", 8091)).toEqual(both(gatewayIn("ingress", 1)));
		expect(await asked("ext", "tcp", underlay(2), 8091)).toEqual(both(outside));
	}, 30_000);

	test("a frame forged on the underlay does not get into an overlay", async () => {
		// VXLAN to node 3, network blue, and in it a datagram for c3: what a stranger could send.
		await at("ext").sh(
			`ip link add forged type vxlan id 5 dstport 4790 remote ${underlay(3)} dev ul0`,
			"ip address add 10.0.5.99/24 dev forged",
			"ip link set forged up",
			`ip neighbour replace ${own(13)} lladdr 02:42:0a:00:05:0d dev forged nud permanent`,
		);
		await at("c3").must("iptables", "-A", "INPUT", "-s", "10.0.5.99");
		await at("ext").run("ping", "-q", "-c", "3", "-i", "0.2", "-W", "1", own(13));
		const counters = await at("c3").must("iptables", "-nvxL", "INPUT");
		expect(counters).toMatch(/^\s+0\s+0\s.*10\.0\.5\.99/m);
		await at("ext").sh("ip link del forged");
	}, 30_000);

	test("an agent that leaves takes all of its rules and none of others'", async () => {
		const [, , third] = world.nodes;
		if (!third) throw new Error("three nodes");
		await third.place.sh("nft add table ip theirs", "iptables -A INPUT -p tcp --dport 9 -j DROP");
		await third.order({ kind: "remove" });
		const rules = await third.place.must("iptables-save");
		expect(rules).not.toMatch(/skein/i);
		expect(rules).toContain("--dport 9 -j DROP");
		expect(rules).toContain("-A FORWARD -j DOCKER-USER");
		const tables = await third.place.must("nft", "list", "tables");
		expect(tables).not.toContain("skein");
		expect(tables).toContain("theirs");
	});
});
