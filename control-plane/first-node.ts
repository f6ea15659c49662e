// The last act of `npm start`: makes this machine the first node, by the very line that any other machine is added with.
//
// Says what it does before it does it. Whatever goes wrong, the control plane runs on: a node can be added later.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { messageOf } from "../model/errors.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type { Clusters } from "./cluster.ts";
import type { ClusterHost } from "./reconcile.ts";
import type { InstallFiles } from "./world.ts";

export interface FirstNode {
	readonly host: ClusterHost;
	readonly clusters: Clusters;
	readonly install: InstallFiles;
	/** By which this machine reaches the control plane. */
	readonly url: string;
	/** No, when the one who started us said so. */
	readonly wanted: boolean;
	readonly isRoot: boolean;
	say(line: string): void;
}

export async function makeFirstNode(first: FirstNode): Promise<void> {
	const { host, say } = first;
	if (process.platform !== "linux") {
		say("this machine stays out of the cluster: nodes run Linux");
		return;
	}
	if (first.wanted && (await isNodeAlready(first))) {
		say("this machine is a node of the cluster");
		return;
	}
	const { cluster } = await host.snapshot();
	const { worker } = await first.clusters.joinTokens(cluster);
	const line = `curl -fsSL ${first.url}/install.sh | sh -s -- --token ${worker}`;
	if (!first.wanted || !first.isRoot) {
		const why = first.wanted ? "making it a node takes root" : "SKEIN_NODE=no";
		say(`nothing was done to this machine (${why}). To make it a node, if it is none:`);
		say(`  ${first.isRoot ? line : line.replace("| sh", "| sudo sh")}`);
		return;
	}
	say("making this machine the first node (SKEIN_NODE=no keeps it from that):");
	say(`  ${line}`);
	const script = await fetch(`${first.url}/install.sh`);
	const child = Bun.spawn(["sh", "-s", "--", "--token", worker], {
		stdin: script,
		stdout: "inherit",
		stderr: "inherit",
	});
	const code = await child.exited;
	// Ctrl-C in a terminal ends both of us, and we may hear of the child's end first: our own signal is next.
	await new Promise((resolve) => setImmediate(resolve));
	if (code !== 0) {
		say("this machine is no node yet, for the reason above; the control plane runs all the same");
		return;
	}
	if (await comesUp(host)) say("this machine is a node of the cluster, and ready");
	else say("the node was not heard yet: `docker node ls` shows it, its log says why");
}

/** Where the install line puts things. */
const identityFile = "/var/lib/skein-agent/identity.json";
const agentFile = "/usr/local/lib/skein/agent.js";
const initscript = "/etc/init.d/skein-agent";

/** With today's agent, and running: an older one is replaced, a dead one started, by running the line again. */
async function isNodeAlready({ host, install, url }: FirstNode): Promise<boolean> {
	const identity = await readIdentity();
	const node = nodeOf(await host.snapshot(), identity?.node);
	if (!node || identity?.url !== url) return false;
	const promised = (await install.files()).find(({ name }) => name === "agent.js");
	const installed = await readFile(agentFile).catch(() => undefined);
	if (!installed) return false;
	if (new Bun.CryptoHasher("sha256").update(installed).digest("hex") !== promised?.sha256)
		return false;
	return agentRuns();
}

async function readIdentity(): Promise<{ node?: string; url?: string } | undefined> {
	const text = await readFile(identityFile, "utf8").catch(() => undefined);
	return text === undefined ? undefined : JSON.parse(text);
}

const nodeOf = ({ nodes }: Snapshot, id: string | undefined) =>
	[...nodes.values()].find((node) => node.id === id);

async function agentRuns(): Promise<boolean> {
	const command = existsSync("/run/systemd/system")
		? ["systemctl", "is-active", "--quiet", "skein-agent"]
		: [initscript, "status"];
	try {
		const asked = Bun.spawn(command, { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
		return (await asked.exited) === 0;
	} catch {
		return false;
	}
}

const comesUpWithinMs = 30_000;

async function comesUp(host: ClusterHost): Promise<boolean> {
	const id = (await readIdentity())?.node;
	const untilMs = Date.now() + comesUpWithinMs;
	for (;;) {
		if (nodeOf(await host.snapshot(), id)?.status.state === "ready") return true;
		const leftMs = untilMs - Date.now();
		if (leftMs <= 0) return false;
		await host.wait(host.seq(), leftMs);
	}
}

/** What to type next. Every line works as it stands, once there is a node: a name that is taken is not proposed. */
export async function nextSteps(
	{ clusters, host, url }: Pick<FirstNode, "clusters" | "host" | "url">,
	socket: string,
): Promise<string[]> {
	const { cluster, nodes, services } = await host.snapshot();
	const line = await clusters.joinTokens(cluster).then(
		({ worker }) => `  curl -fsSL ${url}/install.sh | sh -s -- --token ${worker}`,
		// Without its keys the control plane still serves what needs none.
		(error: unknown) => `  not now: ${messageOf(error)}`,
	);
	const docker = `docker -H unix://${socket}`;
	const get = Bun.which("curl") ? "curl" : "wget -qO-";
	const local = /^https?:\/\/(127\.|localhost|\[::1\])/.test(url);
	const first = nodes.size > 0 ? "Run something" : "Once there is a node, run something";
	return [
		...(services.size > 0
			? ["Look at what runs:", `  ${docker} service ls`]
			: [
					`${first}, and look at it:`,
					`  ${docker} service create --name web --publish 8080:80 nginx`,
					`  ${get} http://127.0.0.1:8080`,
				]),
		...(local
			? [`To add machines, start with SKEIN_LISTEN=0.0.0.0:8787: they cannot reach ${url}`]
			: ["Add a machine, by typing on it:", line]),
	];
}
