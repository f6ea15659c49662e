// The overlays as the node's engine knows them: bridge networks over the bridges that vxlan.ts makes.
//
// They carry our label; a network without it is somebody else's and is never touched, whatever its name. Containers
// are attached by their owners: tasks by task/, the rest by people.

import type { NetworkId } from "../../model/id.ts";
import { type Docker, DockerError } from "../host/docker.ts";
import { taskLabel } from "./attached.ts";
import type { DockerNetwork } from "./topology.ts";

/** Names the overlay that a local network stands for. */
export const networkLabel = "skein.network";

export interface EnsuredNetworks {
	/** The overlays that are there and as they should be. */
	readonly ready: ReadonlyMap<NetworkId, ReadyNetwork>;
	/** Bridges of networks that could not be removed because containers of people are still on them. */
	readonly lingering: ReadonlySet<string>;
	/** The engine was told something, and may have left a bridge down. */
	readonly changed: boolean;
	readonly problems: readonly string[];
}

/** An overlay that containers of this node can be attached to. */
export interface ReadyNetwork extends DockerNetwork {
	readonly engineId: string;
}

/** An engine's network, in its own JSON: what we read of it. */
export interface EngineNetwork {
	readonly Id: string;
	readonly Name: string;
	readonly Internal: boolean;
	readonly Labels?: Readonly<Record<string, string>> | null;
	readonly Options?: Readonly<Record<string, string>> | null;
	readonly IPAM?: {
		readonly Config?:
			| readonly {
					readonly Subnet?: string;
					readonly Gateway?: string;
					readonly IPRange?: string;
			  }[]
			| null;
	};
}

/** Removes ours that are not wanted or not as wanted. The bridges may go only after this. */
export async function removeNetworks(
	docker: Docker,
	wanted: readonly DockerNetwork[],
): Promise<Pick<EnsuredNetworks, "lingering" | "changed" | "problems">> {
	const lingering = new Set<string>();
	const problems: string[] = [];
	let changed = false;
	const byId = new Map(wanted.map((network) => [network.id as string, network]));
	for (const seen of await ours(docker)) {
		const network = byId.get(seen.Labels?.[networkLabel] ?? "");
		if (network && isSame(network, seen)) continue;
		try {
			await docker.request("DELETE", `/networks/${seen.Id}`);
			changed = true;
		} catch (error) {
			if (error instanceof DockerError && error.status === 404) continue;
			if (!(error instanceof DockerError)) throw error;
			const bridge = seen.Options?.[bridgeOption];
			if (bridge) lingering.add(bridge);
			if (network && isUsable(network, seen)) continue;
			const why = network ? "has other addresses now" : "is not this node's any more";
			const guests = await guestsOf(docker, seen.Id);
			// Tasks that are about to end: the next turn finds it free.
			if (guests?.length === 0) continue;
			const who = guests?.join(", ") ?? "nobody that Docker knows of";
			problems.push(
				`network ${seen.Name} ${why}, but ${who} is on it: ` +
					`docker network disconnect -f ${seen.Name} ${guests?.[0] ?? "CONTAINER"} (${error.message})`,
			);
		}
	}
	return { lingering, changed, problems };
}

/** Makes those that are missing, over bridges that are there. */
export async function createNetworks(
	docker: Docker,
	wanted: readonly DockerNetwork[],
): Promise<Pick<EnsuredNetworks, "ready" | "changed" | "problems">> {
	const ready = new Map<NetworkId, ReadyNetwork>();
	const problems: string[] = [];
	let changed = false;
	const all = await docker.request<readonly EngineNetwork[]>("GET", "/networks");
	for (const network of wanted) {
		const seen = all.find(({ Labels }) => Labels?.[networkLabel] === network.id);
		if (seen) {
			if (isUsable(network, seen)) ready.set(network.id, { ...network, engineId: seen.Id });
			continue;
		}
		const other = all.find(({ Name }) => Name === network.name);
		if (other) {
			problems.push(
				`network ${network.name} cannot be had on this node: Docker has one of that name already ` +
					`(${other.Id.slice(0, 12)}): docker network rm ${other.Id.slice(0, 12)}`,
			);
			continue;
		}
		try {
			const made = await docker.request<{ Id: string }>(
				"POST",
				"/networks/create",
				createBody(network),
			);
			ready.set(network.id, { ...network, engineId: made.Id });
			changed = true;
		} catch (error) {
			if (!(error instanceof DockerError)) throw error;
			problems.push(`network ${network.name} cannot be made on this node: ${error.message}`);
		}
	}
	return { ready, changed, problems };
}

async function ours(docker: Docker): Promise<readonly EngineNetwork[]> {
	const filters = encodeURIComponent(JSON.stringify({ label: [networkLabel] }));
	return docker.request<readonly EngineNetwork[]>("GET", `/networks?filters=${filters}`);
}

/** Names of the containers on it that are no tasks; undefined when there are none at all, of either kind. */
async function guestsOf(docker: Docker, id: string): Promise<string[] | undefined> {
	const filters = encodeURIComponent(JSON.stringify({ network: [id] }));
	const containers = await docker.request<
		readonly { Names: readonly string[]; Labels?: Readonly<Record<string, string>> | null }[]
	>("GET", `/containers/json?all=1&filters=${filters}`);
	if (containers.length === 0) return undefined;
	return containers
		.filter(({ Labels }) => Labels?.[taskLabel] === undefined)
		.map(({ Names }) => (Names[0] ?? "a container").replace(/^\//, ""));
}

const bridgeOption = "com.docker.network.bridge.name";
const mtuOption = "com.docker.network.driver.mtu";

/** `inhibit_ipv4`: the addresses of the bridge are ours; the engine would delete those it does not know. */
function optionsOf(network: DockerNetwork): Record<string, string> {
	return {
		[bridgeOption]: network.bridge,
		"com.docker.network.bridge.inhibit_ipv4": "true",
		[mtuOption]: String(network.mtu),
	};
}

/**
 * No auxiliary addresses for VIPs: those come and go, a network's are for its life, and the engine would one day
 * refuse a task the address that a VIP once had. Its range keeps it from giving them away.
 */
export function createBody(network: DockerNetwork) {
	return {
		Name: network.name,
		// Engines before 1.44 take a second network of one name unless asked not to.
		CheckDuplicate: true,
		Driver: "bridge",
		Internal: network.internal,
		IPAM: {
			Driver: "default",
			Config: [{ Subnet: network.subnet, Gateway: network.gateway, IPRange: network.range }],
		},
		Options: optionsOf(network),
		Labels: { [networkLabel]: network.id },
	};
}

export function isSame(network: DockerNetwork, seen: EngineNetwork): boolean {
	return isUsable(network, seen) && seen.Options?.[mtuOption] === String(network.mtu);
}

/** As wanted but for the MTU, which kernels find out by themselves: not worth throwing anybody off the network. */
function isUsable(network: DockerNetwork, seen: EngineNetwork): boolean {
	const [pool, ...more] = seen.IPAM?.Config ?? [];
	return (
		seen.Name === network.name &&
		seen.Internal === network.internal &&
		more.length === 0 &&
		pool?.Subnet === network.subnet &&
		pool.Gateway === network.gateway &&
		pool.IPRange === network.range &&
		seen.Options?.[bridgeOption] === network.bridge
	);
}
