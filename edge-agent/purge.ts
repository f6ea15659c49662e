// Leaves nothing of ours on the machine: containers, networks, names, rules, tunnels. The reverse of what `tables.ts`
// and `task/` make.
//
// What people attached to our networks is disconnected, and goes on running without them. Every step is tried, whatever
// became of the one before it.

import { readdirSync } from "node:fs";
import { messageOf } from "../model/errors.ts";
import { bridgePrefix, meshInterface, vxlanPrefix } from "../model/mesh.ts";
import { buildMemory } from "./build/builds.ts";
import type { Docker } from "./host/docker.ts";
import type { Exec } from "./host/exec.ts";
import { removeMemory } from "./host/memory.ts";
import { networkLabel } from "./mesh/networks.ts";
import { stopWireguardGo } from "./mesh/wireguard.ts";
import { filesRoot } from "./task/container.ts";
import { removeOurs } from "./task/tasks.ts";
import { removeAccepts } from "./vip/dockeruser.ts";
import { Nft } from "./vip/nft.ts";

/** What could not be removed, and why. `docker` is undefined when the engine does not answer. */
export async function purge(exec: Exec, docker: Docker | undefined): Promise<string[]> {
	const problems: string[] = [];
	const attempt = async (what: string, work: () => Promise<unknown>) => {
		try {
			await work();
		} catch (error) {
			problems.push(`${what}: ${messageOf(error)}`);
		}
	};
	if (docker) {
		await attempt("containers", () => removeOurs(docker));
		await attempt("networks", () => removeNetworks(docker));
	} else problems.push("containers and networks: Docker does not answer; start it and try again");
	for (const root of [filesRoot, buildMemory]) {
		await attempt(root, () => removeMemory(exec, root));
	}
	await attempt("rules", () => new Nft(exec).remove());
	await attempt("firewall", () => removeAccepts(exec));
	for (const name of ourInterfaces()) {
		await attempt(name, () => exec("ip", ["link", "del", name]));
	}
	await attempt("wireguard-go", stopWireguardGo);
	return problems;
}

interface ListedNetwork {
	readonly Id: string;
	readonly Containers?: Readonly<Record<string, unknown>> | null;
}

async function removeNetworks(docker: Docker): Promise<void> {
	const filters = encodeURIComponent(JSON.stringify({ label: [networkLabel] }));
	const listed = await docker.request<ListedNetwork[]>("GET", `/networks?filters=${filters}`);
	for (const { Id } of listed) {
		const { Containers } = await docker.request<ListedNetwork>("GET", `/networks/${Id}`);
		for (const Container of Object.keys(Containers ?? {})) {
			await docker.request("POST", `/networks/${Id}/disconnect`, { Container, Force: true });
		}
		await docker.request("DELETE", `/networks/${Id}`);
	}
}

/** Tunnels before the bridges that they are ports of, and the mesh last. */
function ourInterfaces(): string[] {
	const names = readdirSync("/sys/class/net");
	const starting = (prefix: string) => names.filter((name) => name.startsWith(prefix));
	const mesh = names.filter((name) => name === meshInterface);
	return [...starting(vxlanPrefix), ...starting(bridgePrefix), ...mesh];
}
