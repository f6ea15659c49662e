// Tasks as the loop sees them: it knows networks by the engine's ids, and nothing of engines' ages or resolvers' files.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Assignment } from "../model/assignment.ts";
import type { NetworkId } from "../model/id.ts";
import { type Docker, speaks } from "./host/docker.ts";
import type { Engine } from "./host/engine.ts";
import type { Images } from "./images.ts";
import type { TaskKeeper } from "./loop.ts";
import type { Site } from "./task/container.ts";
import type { Tasks } from "./task/tasks.ts";

export function keeperOf(
	tasks: Tasks,
	images: Pick<Images, "want" | "tend">,
	engine: Pick<Engine, "current">,
	dir: string,
): TaskKeeper {
	return {
		async assign(assignment, networks) {
			images.want(new Set(assignment.tasks.map(({ template }) => template.container.image)));
			const docker = engine.current();
			if (!docker) return;
			const resolvFiles = await writeResolvFiles(assignment, join(dir, "resolv"));
			void images.tend(docker);
			await tasks.assign(assignment, siteOf(assignment, networks, resolvFiles, docker));
		},
		event: (event) => tasks.event(event),
		take: (which) => tasks.take(which),
		putBack: (reports) => tasks.putBack(reports),
		onChange: (ring) => tasks.onChange(ring),
	};
}

function siteOf(
	{ cluster, self, peers, networks }: Assignment,
	networkNames: ReadonlyMap<NetworkId, string>,
	resolvFiles: ReadonlyMap<NetworkId, string>,
	docker: Docker,
): Site {
	// Answers go on while our own agent is restarted: another node's resolver is asked then. Each node asks the one
	// after it, so that none is asked by all.
	const alive = peers.filter((peer) => !peer.down);
	const second = alive.find((peer) => peer.index > self.index) ?? alive[0];
	const architecture = process.arch === "arm64" ? "aarch64" : "x86_64";
	return {
		cluster,
		node: {
			id: self.node,
			hostname: self.hostname,
			os: "linux",
			architecture,
			address: self.address ?? "",
		},
		networks,
		networkNames,
		resolvFiles,
		nameservers: [self.meshAddress, ...(second ? [second.meshAddress] : [])],
		severalNetworks: speaks(docker, "1.44"),
		gatewayPriority: speaks(docker, "1.48"),
	};
}

async function writeResolvFiles(
	{ networks }: Assignment,
	dir: string,
): Promise<Map<NetworkId, string>> {
	const files = new Map<NetworkId, string>();
	for (const { id, internal, gateway } of networks) {
		if (!internal) continue;
		const path = join(dir, id);
		const text = `nameserver ${gateway}\noptions ndots:0\n`;
		await mkdir(dir, { recursive: true });
		const known = await Bun.file(path)
			.text()
			.catch(() => "");
		if (known !== text) await Bun.write(path, text);
		files.set(id, path);
	}
	return files;
}
