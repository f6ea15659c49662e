// Makes a topology so: mesh, bridges and tunnels, the engine's networks, in the order in which they lean on each other.
//
// May be called at any time, again and again: it looks, and does only what is missing. What cannot be done becomes a
// problem in words, for the node's description; the rest is done all the same.

import { existsSync, readFileSync } from "node:fs";
import { messageOf } from "../../model/errors.ts";
import type { NetworkId } from "../../model/id.ts";
import { bridgeName, meshInterface, vxlanName } from "../../model/mesh.ts";
import type { Docker } from "../host/docker.ts";
import type { Exec } from "../host/exec.ts";
import { createNetworks, type ReadyNetwork, removeNetworks } from "./networks.ts";
import { createPaths } from "./paths.ts";
import type { Topology } from "./topology.ts";
import { ensureOverlays } from "./vxlan.ts";
import { createWireGuard } from "./wireguard.ts";

export interface MeshShell {
	apply(topology: Topology, nowMs: number, silent: ReadonlySet<string>): Promise<Applied>;
}

export interface Applied {
	/** The kernel has all of the mesh, the overlays and their entries: what a node acknowledges. */
	readonly kernel: boolean;
	/** The overlays that containers can be attached to. */
	readonly networks: ReadonlyMap<NetworkId, ReadyNetwork>;
	readonly problems: readonly string[];
}

/** `dir`: where the agent keeps its state, the private key among it. */
export function createMesh(exec: Exec, docker: Docker, dir: string): MeshShell {
	const wireguard = createWireGuard(exec, dir);
	const paths = createPaths(exec);
	let modulesLoaded = false;
	return {
		async apply(topology, nowMs, silent) {
			if (!modulesLoaded) await loadModules(exec);
			modulesLoaded = true;
			const problems: string[] = [];
			const attempt = async <Result>(what: string, work: Promise<Result>) => {
				try {
					return await work;
				} catch (error) {
					problems.push(`${what}: ${messageOf(error)}`);
					return undefined;
				}
			};
			const { mesh, overlays, dockerNetworks } = topology;
			const unheard = await attempt("WireGuard", wireguard.ensure(mesh, nowMs, silent));
			await attempt("paths", paths.ensure(mesh));
			const removed = await attempt("Docker networks", removeNetworks(docker, dockerNetworks));
			// With the engine away we cannot tell which bridges still have containers: none is removed.
			const keep = removed?.lingering ?? allBridges;
			const laid = await attempt(
				"overlays",
				ensureOverlays(exec, overlays, keep).then(() => true),
			);
			const created =
				removed && laid
					? await attempt("Docker networks", createNetworks(docker, dockerNetworks))
					: undefined;
			// An engine that makes or removes a network may leave its bridge down, and its neighbours lost.
			const relaid =
				removed?.changed || created?.changed
					? await attempt(
							"overlays",
							ensureOverlays(exec, overlays, keep).then(() => true),
						)
					: laid;
			return {
				kernel: unheard !== undefined && relaid === true,
				networks: created?.ready ?? new Map(),
				problems: [
					...problems,
					...(unheard ?? []),
					...(removed?.problems ?? []),
					...(created?.problems ?? []),
				],
			};
		},
	};
}

const allBridges: Pick<ReadonlySet<string>, "has"> = { has: () => true };

/** Most load themselves when asked for; br_netfilter does not, and bridged packets would pass our rules by. */
async function loadModules(exec: Exec): Promise<void> {
	const modules = ["wireguard", "vxlan", "bridge", "br_netfilter", "nf_tables"];
	for (const module of modules) {
		// Built in, or not to be had: what needs it will say so.
		await exec("modprobe", ["-q", module]).catch(() => "");
	}
}

/** Whether all interfaces are there and up: cheap enough to ask every second. False calls for `apply`. */
export function isIntact(networks: readonly { readonly vni: number }[]): boolean {
	return (
		existsSync(`/sys/class/net/${meshInterface}`) &&
		networks.every(({ vni }) => isUp(bridgeName(vni)) && isUp(vxlanName(vni)))
	);
}

function isUp(name: string): boolean {
	try {
		return (Number(readFileSync(`/sys/class/net/${name}/flags`, "utf8")) & 1) === 1;
	} catch {
		return false;
	}
}
