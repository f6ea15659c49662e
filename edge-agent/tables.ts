// Everything of an assignment but its tasks, made so in one go: mesh, overlays, networks, VIPs and ports, names.
//
// The parts know nothing of each other; their order is here. A part that fails says why, and the others go on.

import { readFileSync } from "node:fs";
import type { Assignment } from "../model/assignment.ts";
import { messageOf } from "../model/errors.ts";
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
import type { Proof } from "./mesh/prober.ts";
import { createResolvers } from "./mesh/resolv.ts";
import { type Local, topology } from "./mesh/topology.ts";
import { ensureHairpins } from "./mesh/vxlan.ts";
import { departed, endFlows, strays } from "./vip/conntrack.ts";
import { ensureAccepts } from "./vip/dockeruser.ts";
import { Nft } from "./vip/nft.ts";
import { reachable } from "./vip/reachable.ts";
import { Reservations } from "./vip/reserve.ts";
import { tables as tablesOf } from "./vip/ruleset.ts";

/** How long rules that somebody flushed stay flushed. */
const checkMs = 20_000;

export interface TablesWorld {
	readonly exec: Exec;
	readonly engine: Engine;
	/** The agent's state directory. */
	readonly dir: string;
	readonly wireguardPort: number;
	/** What is known of the ways to the peers. */
	proof(): Proof;
	nowMs(): number;
}

export function createTables(world: TablesWorld): Tables {
	const { exec, engine, dir, wireguardPort } = world;
	const mesh = createMesh(exec, engine.docker, dir);
	const resolvers = createResolvers(engine.docker);
	const nft = new Nft(exec);
	const dns = new DnsServer();
	const reservations = new Reservations(exec, engine.current);
	let networks: ReadonlyMap<NetworkId, ReadyNetwork> = new Map();
	let attached: readonly AttachedContainer[] = [];
	let loaded: Assignment["networks"] | undefined;
	let checkedMs = 0;

	async function applyVips(seen: Assignment) {
		const tables = tablesOf(seen);
		if ((await nft.ensure(tables)) === "changed") checkedMs = world.nowMs();
		else if (world.nowMs() - checkedMs > checkMs) {
			checkedMs = world.nowMs();
			await nft.check();
		}
		const gone = loaded ? departed(loaded, seen.networks) : await strays(exec, seen.networks);
		loaded = seen.networks;
		await endFlows(exec, gone);
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
			const attempt = async <Result>(what: string, work: () => Promise<Result>) => {
				try {
					return { result: await work() };
				} catch (error) {
					problems.push(`${what}: ${messageOf(error)}`);
					return undefined;
				}
			};
			const seen = reachable(assignment, silent);
			// Who has left must get no more calls, however long the engine takes to answer below.
			dns.serve(zone(seen));
			const [vips, meshed] = await Promise.all([
				attempt("VIPs", () => applyVips(seen)),
				attempt("mesh", () => {
					const wanted = topology(assignment, localOf(attached, wireguardPort, world.proof()));
					return mesh.apply(wanted, world.nowMs(), keysOf(assignment, silent));
				}),
			]);
			networks = meshed?.result.networks ?? networks;
			const gateways = assignment.networks.map(({ gateway }) => gateway);
			const names = [assignment.self.meshAddress, ...gateways];
			const listening = await attempt("names", () => dns.ensureListening(names));
			await attempt("firewall", () => ensureAccepts(exec, wireguardPort));
			const taken = await attempt("ports", () => reservations.ensure(assignment.networks));
			await attempt("containers", lookAtContainers);
			await attempt("hairpins", () => ensureHairpins(exec));
			return {
				kernel: vips !== undefined && meshed?.result.kernel === true,
				networks: new Map([...networks].map(([id, { engineId }]) => [id, engineId])),
				attached,
				problems: [
					...(meshed?.result.problems ?? []),
					...world.proof().complaints,
					...problems,
					...(listening?.result ?? []),
					...(taken?.result ?? []),
				],
			};
		},
		heed: (event) => resolvers.heed(event, networks),
		async containersChanged() {
			const found = await lookAtContainers();
			await ensureHairpins(exec);
			return found;
		},
	};
}

function localOf(
	attached: readonly AttachedContainer[],
	wireguardPort: number,
	{ narrow }: Proof,
): Local {
	return {
		underlayMtu: underlayMtu(readRoutes(readFileSync("/proc/net/route", "utf8"))),
		addresses: readInterfaces().map(({ cidr }) => cidr),
		wireguardPort,
		attached,
		narrow,
	};
}

/** WireGuard knows peers by their keys. */
function keysOf({ peers }: Assignment, nodes: ReadonlySet<NodeId>): Set<string> {
	return new Set(peers.filter(({ node }) => nodes.has(node)).map(({ publicKey }) => publicKey));
}
