// VIPs: throughput and connections a second through one, beside the same task by its own address.
//
// Two nodes made of namespaces, VXLAN between them, no WireGuard: what the rules cost, not what encryption does.

import { join } from "node:path";
import { assignmentOf, type Scene } from "../edge-agent/vip/scene.test-data.ts";
import { type Place, startWorld, worldAvailable } from "../test/netns/vip-world.ts";
import type { Row } from "./row.ts";

export const name = "vip";

const rounds = 3;
const vip = { near: "10.0.5.2", far: "10.0.5.3" };
const task = { client: "10.0.5.11", near: "10.0.5.12", far: "10.0.5.13" };

/** One task here and one on the other node, a service for each. */
const scene: Scene = {
	nodes: 2,
	networks: [
		{
			name: "blue",
			vni: 5,
			at: { [task.client]: 1, [task.near]: 1, [task.far]: 2 },
			services: [
				{ name: "near", vip: vip.near, backends: [task.near] },
				{ name: "far", vip: vip.far, backends: [task.far] },
			],
		},
	],
};

export async function run(): Promise<Row[]> {
	const reason = worldAvailable(["ip", "bridge", "nft", "iptables", "nsenter", "unshare"]);
	if (reason) return [{ what: `not measured: ${reason}`, value: Number.NaN, unit: "" }];
	const world = await startWorld(2);
	try {
		const apply = () =>
			Promise.all(
				world.nodes.map((node) =>
					node.order({ kind: "apply", assignment: assignmentOf(scene, node.number) }),
				),
			);
		await apply();
		const [here, there] = world.nodes;
		if (!here || !there) throw new Error("two nodes");
		const place = (node: typeof here, name: string, address: string) => {
			const gateway = `10.0.5.${240 + node.number}`;
			return world.addContainer(node, name, [{ bridge: "sk-5", address, gateway }]);
		};
		const client = await place(here, "client", task.client);
		const servers = [await place(here, "near", task.near), await place(there, "far", task.far)];
		await apply();
		for (const server of servers) await start(server);
		const rows: Row[] = [];
		for (const where of ["near", "far"] as const) {
			const distance = where === "near" ? "same node" : "other node";
			const bits = await compare(client, "throughput", task[where], vip[where]);
			const calls = await compare(client, "connections", task[where], vip[where]);
			rows.push(
				{ what: `direct, ${distance}`, value: bits.direct, unit: "Gbit/s" },
				{ what: `VIP, ${distance}`, value: bits.vip, unit: "Gbit/s", note: share(bits) },
				{ what: `direct, ${distance}`, value: calls.direct, unit: "conn/s" },
				{ what: `VIP, ${distance}`, value: calls.vip, unit: "conn/s", note: share(calls) },
			);
		}
		return rows;
	} finally {
		await world.stop();
	}
}

interface Pair {
	readonly direct: number;
	readonly vip: number;
}

const share = (pair: Pair) => `${(pair.vip / pair.direct).toFixed(2)} of direct`;

/** In turns, so that a neighbour's load meets both; the middle of each. */
async function compare(client: Place, what: string, direct: string, vip: string): Promise<Pair> {
	const seen: { direct: number[]; vip: number[] } = { direct: [], vip: [] };
	// One client that calls one port both ways in quick succession meets its own ports in the kernel's table, still
	// waiting: that is a figure too, but of something that no program does.
	const ports = what === "throughput" ? { direct: 81, vip: 81 } : { direct: 82, vip: 83 };
	for (let round = 0; round < rounds; round++) {
		seen.direct.push(await load(client, what, direct, ports.direct));
		seen.vip.push(await load(client, what, vip, ports.vip));
	}
	return { direct: middle(seen.direct), vip: middle(seen.vip) };
}

function middle(values: readonly number[]): number {
	return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

async function load(client: Place, what: string, address: string, port: number): Promise<number> {
	const script = join(import.meta.dir, "vip", "load.ts");
	return Number(await client.must(process.execPath, script, what, address, String(port)));
}

async function start(server: Place): Promise<void> {
	const script = join(import.meta.dir, "vip", "serve.ts");
	await server.start(process.execPath, script).stdout.getReader().read();
}
