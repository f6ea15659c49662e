// The mesh's part of an agent, for tests: takes topologies on its input, one JSON line each, and makes them so.
//
// Runs inside a node, whatever that is made of: `bun mesh-node.ts DIR [DOCKER_SOCKET]`.

import { connectDocker, type Docker, lines } from "../../edge-agent/host/docker.ts";
import { type Exec, exec } from "../../edge-agent/host/exec.ts";
import { createMesh, isIntact } from "../../edge-agent/mesh/apply.ts";
import { listAttached } from "../../edge-agent/mesh/attached.ts";
import type { ReadyNetwork } from "../../edge-agent/mesh/networks.ts";
import { createResolvers } from "../../edge-agent/mesh/resolv.ts";
import { type Local, type Topology, topology } from "../../edge-agent/mesh/topology.ts";
import { ensureHairpins } from "../../edge-agent/mesh/vxlan.ts";
import { watchPeers } from "../../edge-agent/mesh/watch.ts";
import { ensureKey } from "../../edge-agent/mesh/wireguard.ts";
import type { Assignment } from "../../model/assignment.ts";
import type { NetworkId, NodeId } from "../../model/id.ts";

export type Order =
	| { readonly kind: "key" }
	| { readonly kind: "apply"; readonly assignment: Assignment; readonly local: Local }
	| { readonly kind: "intact" }
	| { readonly kind: "attached" }
	/** Who is silent, watched from the first such question on. */
	| { readonly kind: "silent" };

/** Without an engine the networks that containers are attached to are left out. */
const noDocker: Docker = {
	apiVersion: "1.41",
	request: async <Answer>() => [] as Answer,
	stream: () => Promise.reject(new Error("no engine in this test")),
	events: () => {
		throw new Error("no engine in this test");
	},
};

const [dir = "/run/skein", socket] = process.argv.slice(2);
let changes: string[] = [];
/** Keeps what was changed, so that a test can see that nothing was. */
const recorded: Exec = (command, args, options) => {
	if (options?.input && command !== "wg") changes.push(...options.input.trim().split("\n"));
	return exec(command, args, options);
};
const docker = socket ? await connectDocker(socket) : noDocker;
const mesh = createMesh(recorded, docker, dir);
let last: Topology | undefined;
let assignment: Assignment | undefined;
let silent: ReadonlySet<NodeId> | undefined;
let ready: ReadonlyMap<NetworkId, ReadyNetwork> = new Map();
if (socket) void listen();

for await (const line of lines(Bun.stdin.stream())) {
	changes = [];
	const reply = await obey(JSON.parse(line) as Order).catch((error: Error) => ({
		error: `${error.message} ${String(error.cause ?? "")}`,
	}));
	console.log(JSON.stringify(reply));
}

/** What an agent does when people run containers. */
async function listen(): Promise<void> {
	const resolvers = createResolvers(docker);
	const filters = {
		type: ["container", "network"],
		event: ["create", "connect", "start", "destroy"],
	};
	for (;;) {
		try {
			for await (const event of docker.events(filters, new AbortController().signal)) {
				void resolvers.heed(event, ready).catch(console.error);
				if (event.Action === "start") void ensureHairpins(exec).catch(console.error);
			}
		} catch (error) {
			console.error(String(error));
		}
		await Bun.sleep(200);
	}
}

async function obey(order: Order): Promise<object> {
	switch (order.kind) {
		case "key":
			return ensureKey(exec, dir);
		case "apply": {
			assignment = order.assignment;
			last = topology(order.assignment, order.local);
			const wanted = socket ? last : { ...last, dockerNetworks: [] };
			const started = performance.now();
			const applied = await mesh.apply(wanted, Date.now(), new Set());
			ready = applied.networks;
			const networks = Object.fromEntries(applied.networks);
			return { ...applied, networks, changes, tookMs: performance.now() - started };
		}
		case "attached":
			return { attached: await listAttached(docker, ready) };
		case "silent":
			if (!silent)
				void watchPeers(
					() => assignment,
					(fresh) => {
						silent = fresh;
					},
					new AbortController().signal,
				);
			silent ??= new Set();
			return { silent: [...silent] };
		case "intact":
			return { intact: last !== undefined && isIntact(last.overlays) };
	}
}
