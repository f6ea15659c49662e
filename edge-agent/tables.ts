// Everything of an assignment but its tasks, made so in one go: mesh, overlays, networks, VIPs and ports, names.
//
// The parts know nothing of each other; their order is here. A part that fails says why, and the others go on.

import { readFileSync } from "node:fs";
import type { Assignment } from "../model/assignment.ts";
import type { NetworkId, NodeId } from "../model/id.ts";
import type { AttachedContainer } from "../model/node.ts";
import { readInterfaces, readRoutes, underlayMtu } from "./describe.ts";
import { DnsServer } from "./dns/server.ts";
import { zone } from "./dns/zone.ts";
import type { Engine } from "./host/engine.ts";
import type { Exec } from "./host/exec.ts";
import type { Applied, Tables } from "./loop.ts";
import { createMesh } from "./mesh/apply.ts";
import { listAttached } from "./mesh/attached.ts";
import type { ReadyNetwork } from "./mesh/networks.ts";
import { createResolvers } from "./mesh/resolv.ts";
import { topology } from "./mesh/topology.ts";
import { ensureHairpins } from "./mesh/vxlan.ts";
import { departed, endFlows, strays } from "./vip/conntrack.ts";
import { ensureAccepts } from "./vip/dockeruser.ts";
import { Nft } from "./vip/nft.ts";
import { reachable } from "./vip/reachable.ts";
import { tables as tablesOf } from "./vip/ruleset.ts";

export interface TablesWorld {
	readonly exec: Exec;
	readonly engine: Engine;
	/** The agent's state directory. */
	readonly dir: string;
	readonly wireguardPort: number;
	nowMs(): number;
}

export function createTables(world: TablesWorld): Tables {
	const { exec, engine, dir, wireguardPort } = world;
	const mesh = createMesh(exec, engine.docker, dir);
	const resolvers = createResolvers(engine.docker);
	const nft = new Nft(exec);
	const dns = new DnsServer();
	let networks: ReadonlyMap<NetworkId, ReadyNetwork> = new Map();
	let attached: readonly AttachedContainer[] = [];
	let loaded: Assignment["networks"] | undefined;

	async function applyVips(assignment: Assignment, silent: ReadonlySet<NodeId>) {
		const seen = reachable(assignment, silent);
		await nft.ensure(tablesOf(seen));
		const gone = loaded ? departed(loaded, seen.networks) : await strays(exec, seen.networks);
		loaded = seen.networks;
		await endFlows(exec, gone);
	}

	async function applyNames(assignment: Assignment, silent: ReadonlySet<NodeId>) {
		dns.serve(zone(reachable(assignment, silent)));
		const gateways = assignment.networks.map(({ gateway }) => gateway);
		return dns.ensureListening([assignment.self.meshAddress, ...gateways]);
	}

	async function lookAtContainers() {
		const docker = engine.current();
		if (!docker) return attached;
		attached = await listAttached(docker, networks);
		const ids = new Set(attached.map(({ containerId }) => containerId));
		await resolvers.ensure(ids, networks);
		return attached;
	}

	return {
		async apply(assignment, silent): Promise<Applied> {
			const problems: string[] = [];
			const attempt = async (what: string, work: () => Promise<unknown>) => {
				try {
					await work();
					return true;
				} catch (error) {
					problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
					return false;
				}
			};
			const keys = new Set(
				assignment.peers.filter(({ node }) => silent.has(node)).map(({ publicKey }) => publicKey),
			);
			const local = {
				underlayMtu: underlayMtu(readRoutes(readFileSync("/proc/net/route", "utf8"))),
				addresses: readInterfaces().map(({ cidr }) => cidr),
				wireguardPort,
				attached,
			};
			const meshed = await mesh.apply(topology(assignment, local), world.nowMs(), keys);
			problems.push(...meshed.problems);
			networks = meshed.networks;
			const vips = await attempt("VIPs", () => applyVips(assignment, silent));
			problems.push(...(await applyNames(assignment, silent)));
			await attempt("firewall", () => ensureAccepts(exec, wireguardPort));
			await attempt("containers", () => lookAtContainers());
			await attempt("hairpins", () => ensureHairpins(exec));
			const ids = new Map([...networks].map(([id, { engineId }]) => [id, engineId]));
			return { kernel: meshed.kernel && vips, networks: ids, attached, problems };
		},
		heed: (event) => resolvers.heed(event, networks),
		async containersChanged() {
			const found = await lookAtContainers();
			await ensureHairpins(exec);
			return found;
		},
	};
}
