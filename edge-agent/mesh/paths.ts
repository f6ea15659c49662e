// Peers whose path carries less than the mesh promises: a route of their own says how much.
//
// Nothing else has to know. The tunnels of the overlays ask the route, and tell whoever sends more by ICMP, containers
// included; the interface keeps its MTU, so that the other peers lose nothing and a path that is mended is noticed.

import { meshInterface } from "../../model/mesh.ts";
import type { Exec } from "../host/exec.ts";
import { parseRows } from "./links.ts";
import type { Mesh } from "./topology.ts";

export interface Paths {
	ensure(mesh: Pick<Mesh, "peers">): Promise<void>;
}

export function createPaths(exec: Exec): Paths {
	/** There may be routes in the kernel: of this agent, or of the one before it. */
	let mayBe = true;
	return {
		async ensure({ peers }) {
			const wanted = new Map(
				peers.flatMap(({ meshAddress, mtu }) =>
					mtu === null ? [] : [[meshAddress, mtu] as const],
				),
			);
			if (wanted.size === 0 && !mayBe) return;
			const lines = compareRoutes(
				wanted,
				await exec("ip", ["-json", "route", "show", "dev", meshInterface]),
			);
			if (lines.length > 0) await exec("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n` });
			mayBe = wanted.size > 0;
		},
	};
}

/** Lines for `ip -batch`. Routes to a range are the interface's own, those to an address ours. */
export function compareRoutes(wanted: ReadonlyMap<string, number>, text: string): string[] {
	interface Row {
		readonly dst?: string;
		readonly metrics?: readonly { readonly mtu?: number }[];
	}
	const there = new Map(
		parseRows<Row>(text)
			.filter(({ dst = "/" }) => !dst.includes("/"))
			.map(({ dst = "", metrics }) => [dst, metrics?.[0]?.mtu]),
	);
	return [
		...[...there.keys()]
			.filter((address) => !wanted.has(address))
			.map((address) => `route del ${address}/32 dev ${meshInterface}`),
		...[...wanted]
			.filter(([address, mtu]) => there.get(address) !== mtu)
			.map(([address, mtu]) => `route replace ${address}/32 dev ${meshInterface} mtu ${mtu}`),
	];
}
