// Names for containers that people attach: they bring no `--dns`, so we point their resolv.conf to this node's DNS.
//
// The engine's own resolver knows services on no engine, and asks the node's resolver from the container's namespace or
// from the node's, depending on its age: neither its configuration nor its traffic is ours to change. The file that the
// engine mounts into the container is the one thing that all engines share. They write it moments before the
// first process starts, so we look at it again and again from the container's creation on. Tasks get their resolver by `--dns`.

import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { NetworkId } from "../../model/id.ts";
import type { Docker, DockerEvent } from "../host/docker.ts";
import type { ReadyNetwork } from "./networks.ts";

type Networks = ReadonlyMap<NetworkId, ReadyNetwork>;

export interface Resolvers {
	/** Takes the engine's events of containers and networks, each as soon as it comes: we race a first process. */
	heed(event: DockerEvent, networks: Networks): Promise<void>;
	/** For containers whose events were missed. */
	ensure(containers: Iterable<string>, networks: Networks): Promise<void>;
	stop(): void;
}

/** Engines take a tenth of a second from their last word in the file to the first process; 28 takes less. */
const lookMs = 3;
/** Who is created and not started for this long is started by hand, and seen again when it joins its network. */
const patienceMs = 15_000;

export function createResolvers(docker: Docker): Resolvers {
	/** Containers about to start. By looking, since a watch on the file misses what is written twice in a moment. */
	const starting = new Set<string>();
	let root: Promise<string> | undefined;
	const directoryOf = async (container: string) => {
		root ??= docker
			.request<{ DockerRootDir: string }>("GET", "/info")
			.then(({ DockerRootDir }) => join(DockerRootDir, "containers"));
		root.catch(() => {
			root = undefined;
		});
		return join(await root, container);
	};
	const pointer = async (container: string, networks: Networks) => {
		const directory = await directoryOf(container);
		// Not by asking the engine: some hold a container's answers back for as long as it starts.
		const hostConfig = readJson<HostConfig>(join(directory, "hostconfig.json"));
		const nameserver = hostConfig && nameserverFor(hostConfig, [...networks.values()]);
		if (!nameserver) return undefined;
		return () => ensureNameserver(join(directory, "resolv.conf"), nameserver);
	};
	const pointUntilStarted = async (container: string, networks: Networks) => {
		const point = await pointer(container, networks);
		if (!point || starting.has(container)) return;
		starting.add(container);
		const endMs = performance.now() + patienceMs;
		while (starting.has(container) && performance.now() < endMs) {
			point();
			await Bun.sleep(lookMs);
		}
		starting.delete(container);
		point();
	};
	return {
		async heed({ Type, Action, Actor }, networks) {
			switch (`${Type} ${Action}`) {
				case "container create":
					return pointUntilStarted(Actor.ID, networks);
				case "network connect": {
					const { container } = Actor.Attributes;
					return container ? pointUntilStarted(container, networks) : undefined;
				}
				case "container start":
				case "container destroy":
					starting.delete(Actor.ID);
			}
		},
		async ensure(containers, networks) {
			for (const container of containers) (await pointer(container, networks))?.();
		},
		stop() {
			starting.clear();
		},
	};
}

/** In place, as the container has this very file mounted, and never empty, as it may be reading it. */
function ensureNameserver(file: string, nameserver: string): void {
	let open: number;
	try {
		open = openSync(file, "r+");
	} catch {
		return; // Not written yet, or gone with its container.
	}
	try {
		const known = readFileSync(open, "utf8");
		const wanted = pointTo(known, nameserver);
		// Empty in the moment when the engine has opened it.
		if (known === "" || wanted === known) return;
		ftruncateSync(open, writeSync(open, wanted, 0));
	} finally {
		closeSync(open);
	}
}

/** What the engine keeps of `docker run`'s options, as far as we care. */
export interface HostConfig {
	/** The network, by name or id, as it was typed. */
	readonly NetworkMode: string;
	readonly Dns?: readonly string[] | null;
}

/**
 * The bridge: it is a step away also where the default route leads elsewhere or nowhere, and the DNS sees who asks.
 * Null for those who brought their own (tasks do), and for those that were merely connected later: they live in
 * another network, whose names only the engine knows.
 */
export function nameserverFor(
	{ NetworkMode, Dns }: HostConfig,
	networks: readonly ReadyNetwork[],
): string | null {
	if ((Dns ?? []).length > 0) return null;
	const network = networks.find(
		({ name, engineId }) =>
			NetworkMode === name || (NetworkMode.length >= 12 && engineId.startsWith(NetworkMode)),
	);
	return network?.gateway ?? null;
}

/** Search domains and options stay; other resolvers go, since some programs ask all at once and heed the first answer. */
export function pointTo(resolvConf: string, nameserver: string): string {
	const others = resolvConf.split("\n").filter((line) => !/^\s*nameserver\s/.test(line));
	return [`nameserver ${nameserver}`, ...others].join("\n");
}

function readJson<Value>(file: string): Value | undefined {
	try {
		return JSON.parse(readFileSync(file, "utf8")) as Value;
	} catch {
		return undefined; // Gone with its container, or an engine that keeps it elsewhere.
	}
}
