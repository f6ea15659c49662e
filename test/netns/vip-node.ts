// The part of an agent that leads packets, for tests: takes assignments on its input, one JSON line each, and makes
// overlays, VIPs, ports and accepts so. WireGuard, engine and tasks are left out: `skein0` is whatever the test made.

import { lines } from "../../edge-agent/host/docker.ts";
import { exec } from "../../edge-agent/host/exec.ts";
import { topology } from "../../edge-agent/mesh/topology.ts";
import { ensureHairpins, ensureOverlays } from "../../edge-agent/mesh/vxlan.ts";
import { departed, endFlows } from "../../edge-agent/vip/conntrack.ts";
import { ensureAccepts, removeAccepts } from "../../edge-agent/vip/dockeruser.ts";
import { Nft } from "../../edge-agent/vip/nft.ts";
import { Reservations } from "../../edge-agent/vip/reserve.ts";
import { tables } from "../../edge-agent/vip/ruleset.ts";
import type { Assignment } from "../../model/assignment.ts";
import { wireguardPort } from "../../model/protocol.ts";

export type Order =
	| { readonly kind: "apply"; readonly assignment: Assignment }
	| { readonly kind: "check" }
	| { readonly kind: "remove" };

const nft = new Nft(exec);
const reservations = new Reservations(exec, () => undefined);
let last: Assignment | undefined;

for await (const line of lines(Bun.stdin.stream())) {
	const reply = await obey(JSON.parse(line) as Order).catch((error: Error) => ({
		error: `${error.message} ${String(error.cause ?? "")}`,
	}));
	console.log(JSON.stringify(reply));
}

async function obey(order: Order): Promise<object> {
	switch (order.kind) {
		case "apply": {
			const { assignment } = order;
			const local = { underlayMtu: 1500, addresses: [], wireguardPort, attached: [] };
			await ensureOverlays(exec, topology(assignment, local).overlays);
			await ensureHairpins(exec);
			const tables_ = await nft.ensure(tables(assignment));
			if (last) await endFlows(exec, departed(last.networks, assignment.networks));
			await ensureAccepts(exec, wireguardPort);
			last = assignment;
			return { tables: tables_, taken: await reservations.ensure(assignment.networks) };
		}
		case "check": {
			await ensureAccepts(exec, wireguardPort);
			return { tables: await nft.check() };
		}
		case "remove":
			await nft.remove();
			await removeAccepts(exec);
			return {};
	}
}
