// The mesh given to the real kernel: two nodes, WireGuard between them, overlays inside it, and what people break.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
	assignmentOf,
	type Scene,
	type SceneNetwork,
} from "../../edge-agent/mesh/assignment.test-data.ts";
import { macOf } from "../../model/cidr.ts";
import { until } from "../lab/run.ts";
import {
	type Applied,
	type Container,
	startWorld,
	type World,
	type WorldNode,
	worldAvailable,
} from "./world.ts";

const reason = worldAvailable(["ip", "bridge", "wg", "wireguard-go", "nsenter", "unshare", "ping"]);
if (reason) console.log(`skipped: the mesh on a real kernel ${reason}`);

const one = "10.0.5.10";
const two = "10.0.5.20";

describe.skipIf(reason !== undefined)("the mesh on a real kernel", () => {
	let world: World;
	let keys: string[];
	let a: WorldNode;
	let b: WorldNode;
	let onA: Container;
	let onB: Container;

	let candidates = (node: WorldNode) => [`${node.address}:51820`];
	const scene = (networks: readonly SceneNetwork[]): Scene => ({
		nodes: world.nodes.map((node, index) => ({
			publicKey: keys[index] ?? "",
			endpoints: candidates(node),
		})),
		networks,
	});
	const blue = (over: Partial<SceneNetwork> = {}): SceneNetwork => ({
		name: "blue",
		vni: 5,
		at: { [one]: 1, [two]: 2 },
		vips: ["10.0.5.2"],
		...over,
	});
	const apply = async (node: WorldNode, ...networks: SceneNetwork[]) => {
		const applied = await node.ask<Applied>({
			kind: "apply",
			assignment: assignmentOf(scene(networks), node.number),
			local: {
				underlayMtu: 1500,
				addresses: [`${node.address}/24`],
				wireguardPort: 51820,
				attached: [],
			},
		});
		expect(applied.problems).toEqual([]);
		expect(applied.kernel).toBe(true);
		return applied;
	};
	const applyAll = (...networks: SceneNetwork[]) =>
		Promise.all(world.nodes.map((node) => apply(node, ...networks)));

	beforeAll(async () => {
		world = await startWorld(2);
		[a, b] = world.nodes as [WorldNode, WorldNode];
		const made = await Promise.all(
			world.nodes.map((node) => node.ask<{ publicKey: string }>({ kind: "key" })),
		);
		keys = made.map(({ publicKey }) => publicKey);
		await applyAll(blue());
		onA = await a.addContainer("sk-5", one, macOf(one));
		onB = await b.addContainer("sk-5", two, macOf(two));
		// The containers' ports.
		await applyAll(blue());
	}, 60_000);
	afterAll(() => world?.stop());

	test("containers reach each other, the other node's bridge and a VIP", async () => {
		// Both ends may greet at once, and WireGuard greets again after five seconds.
		for (const address of [two, "10.0.5.242", "10.0.5.2"]) {
			expect([address, await onA.pings(address, { waitS: 12 })]).toEqual([address, true]);
		}
	});

	test("a packet of the overlay's MTU passes, and nothing on the underlay is cut", async () => {
		expect(await onA.pings(two, { size: 1370 - 28 })).toBe(true);
		expect(await onA.pings(two, { size: 1371 - 28 })).toBe(false);
		// 1500 bytes are enough for all of it: nobody has seen a fragment.
		const counters = await a.must("nstat", "-asz", "IpFragCreates", "IpReasmReqds");
		expect(counters.match(/\s[1-9]\d*\s/)).toBeNull();
	});

	test("applying the same again changes nothing", async () => {
		expect((await apply(a, blue())).changes).toEqual([]);
	});

	test.each([
		["a bridge deleted", ["ip", "link", "del", "sk-5"]],
		["a bridge set down", ["ip", "link", "set", "sk-5", "down"]],
		["a tunnel deleted", ["ip", "link", "del", "sx-5"]],
		[
			"entries flushed",
			["bridge", "fdb", "del", macOf(two), "dev", "sx-5", "dst", "10.200.0.2", "self"],
		],
		["neighbours flushed", ["ip", "neighbour", "flush", "dev", "sk-5", "nud", "all"]],
		["the gateway's address deleted", ["ip", "address", "flush", "dev", "sk-5"]],
		["the mesh address deleted", ["ip", "address", "flush", "dev", "skein0"]],
		["a peer removed", []],
		["wireguard-go killed", []],
	])(
		"mends %s",
		async (what, command) => {
			if (what === "wireguard-go killed") await killWireguardGo(a);
			else if (what === "a peer removed")
				await a.must("wg", "set", "skein0", "peer", keys[1] ?? "", "remove");
			else await a.must(...command);
			const gone = /deleted$|down$|killed$/.test(what) && !what.includes("address");
			await until(`${what} to be noticed`, 5_000, async () => {
				return (await a.ask<{ intact: boolean }>({ kind: "intact" })).intact !== gone;
			});
			await apply(a, blue());
			if (what === "a bridge deleted") {
				await onA.remove();
				onA = await a.addContainer("sk-5", one, macOf(one));
				await apply(a, blue());
			}
			await until(`${what}, then mended`, 20_000, () => onA.pings(two));
			expect((await apply(a, blue())).changes).toEqual([]);
		},
		40_000,
	);

	test("a task that moves keeps its address and is found at once", async () => {
		await onB.remove();
		const moved = blue({ at: { [one]: 1, [two]: 1 } });
		const here = await a.addContainer("sk-5", two, macOf(two));
		await applyAll(moved);
		expect(await onA.pings(two)).toBe(true);
		await here.remove();
		onB = await b.addContainer("sk-5", two, macOf(two));
		await applyAll(blue());
		expect(await onA.pings(two)).toBe(true);
	}, 20_000);

	test("a container that comes back with another MAC is found at once", async () => {
		const address = "10.0.5.161";
		const attached = (mac: string) =>
			blue({ at: { [one]: 1, [two]: 2, [address]: 2 }, macs: { [address]: mac } });
		await applyAll(attached("8a:00:00:00:00:01"));
		const first = await b.addContainer("sk-5", address, "8a:00:00:00:00:01");
		expect(await onA.pings(address)).toBe(true);
		await first.remove();
		const second = await b.addContainer("sk-5", address, "8a:00:00:00:00:02");
		// As when the engine disconnects and connects: for a moment nobody has the address.
		await applyAll(blue());
		await applyAll(attached("8a:00:00:00:00:02"));
		expect(await onA.pings(address)).toBe(true);
		await second.remove();
	}, 20_000);

	test("an address in no entry is not asked for on other nodes", async () => {
		const stranger = await b.addContainer("sk-5", "10.0.5.99", macOf("10.0.5.99"));
		expect(await onA.pings("10.0.5.99")).toBe(false);
		await stranger.remove();
	});

	test("of several endpoints it finds the one that works, and stays there", async () => {
		const endpoints = (node: WorldNode) => [`192.168.78.99:51820`, `${node.address}:51820`];
		const applied = () => Promise.all(world.nodes.map((node) => apply(node, blue())));
		candidates = endpoints;
		for (const [index, node] of world.nodes.entries()) {
			await node.must("wg", "set", "skein0", "peer", keys[1 - index] ?? "", "remove");
		}
		await applied();
		expect(await a.must("wg", "show", "skein0", "endpoints")).toContain("192.168.78.99:");
		await until("the second endpoint to be tried", 40_000, async () => {
			await applied();
			return onA.pings(two);
		});
		const working = await a.must("wg", "show", "skein0", "endpoints");
		expect(working).toContain(b.address);
		await applied();
		expect(await a.must("wg", "show", "skein0", "endpoints")).toBe(working);
		candidates = (node) => [`${node.address}:51820`];
	}, 60_000);

	describe("watching", () => {
		const silent = async (node: WorldNode) =>
			(await node.ask<{ silent: string[] }>({ kind: "silent" })).silent;
		const becomes = (node: WorldNode, ...want: string[]) =>
			until(`${want.join(" and ") || "nobody"} to be silent`, 15_000, async () => {
				return (await silent(node)).toSorted().join() === want.join();
			});
		let c: WorldNode;

		beforeAll(async () => {
			c = await world.addNode(3);
			keys.push((await c.ask<{ publicKey: string }>({ kind: "key" })).publicKey);
			await applyAll(blue());
			for (const node of world.nodes) await silent(node);
			// Strangers are given time for their handshakes: here all have met, and a few questions are answered.
			for (const target of ["1", "2", "3"]) {
				for (const node of world.nodes)
					await node.must("ping", "-c", "1", "-W", "6", `10.200.0.${target}`);
			}
			await Bun.sleep(1_000);
			for (const node of world.nodes) await becomes(node);
		}, 30_000);

		test("a cut link silences both ends of it, and mends", async () => {
			await world.must("ip", "link", "set", "vm2", "down");
			const began = performance.now();
			await becomes(a, "node2");
			console.log(`a cut link was noticed after ${Math.round(performance.now() - began)} ms`);
			await becomes(b, "node1", "node3");
			await becomes(c, "node2");
			await world.must("ip", "link", "set", "vm2", "up");
			await Promise.all([becomes(a), becomes(b), becomes(c)]);
		}, 40_000);

		test("an agent that died is silent; its peers go on hearing each other", async () => {
			c.killAgent();
			await becomes(a, "node3");
			// Many more refusals than it takes to be confused by them.
			await Bun.sleep(2_500);
			expect([await silent(a), await silent(b)]).toEqual([["node3"], ["node3"]]);
			world.nodes.pop();
			keys.pop();
			await applyAll(blue());
			await Promise.all([becomes(a), becomes(b)]);
		}, 40_000);
	});

	test("what is no longer wanted goes, what others made stays", async () => {
		await a.must("ip", "link", "add", "skiff0", "type", "bridge");
		await apply(a);
		const links = await a.must("ip", "-brief", "link", "show");
		expect(links).not.toMatch(/^s[kx]-/m);
		expect(links).toMatch(/^skiff0/m);
		await applyAll(blue());
	});

	async function killWireguardGo(node: WorldNode): Promise<void> {
		// An interface's process is the one that holds its socket.
		const held = await node.must(
			"sh",
			"-c",
			"fuser /run/wireguard/skein0.sock 2>/dev/null || ss -xlpH src /run/wireguard/skein0.sock",
		);
		const pid = /pid=(\d+)/.exec(held)?.[1] ?? /\d+/.exec(held)?.[0];
		await node.must("kill", "-9", pid ?? "");
	}
});
