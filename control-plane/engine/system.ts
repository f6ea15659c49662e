// What clients ask before anything else: who are you, which API do you speak, what have you got.
//
// Also the lists of things that each machine keeps for itself: empty here, so that dashboards which ask for
// everything show the rest.

import { Hono } from "hono";
import type { Cluster } from "../../model/cluster.ts";
import { notFound } from "../../model/errors.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { DoorEnv } from "../cluster.ts";
import { hostOf } from "./address.ts";
import { managerId } from "./convert/node.ts";
import { toEngine as showCluster } from "./convert/swarm.ts";
import { timestamp } from "./convert/time.ts";
import type { EngineContext, EngineDeps } from "./door.ts";
import { onTheMachine } from "./errors.ts";

export const apiVersion = "1.51";
/** Old clients name 1.24; what changed since then they do not look at. */
export const oldestApiVersion = "1.24";

export function systemRoutes({ version }: EngineDeps): Hono<DoorEnv> {
	const ping = (c: EngineContext) =>
		c.body("OK", 200, {
			"Content-Type": "text/plain; charset=utf-8",
			"Cache-Control": "no-cache, no-store, must-revalidate",
			Pragma: "no-cache",
		});
	return new Hono<DoorEnv>()
		.get("/_ping", ping)
		.get("/version", (c) => c.json(versions(version)))
		.get("/info", async (c) => c.json(await info(c, version)))
		.get("/images/json", (c) => c.json([]))
		.get("/plugins", (c) => c.json([]))
		.get("/system/df", (c) =>
			c.json({ LayersSize: 0, Images: [], Containers: [], Volumes: [], BuildCache: [] }),
		)
		.get("/images/:name{.+}/json", (c) => {
			throw notFound(`No such image: ${c.req.param("name")}`);
		})
		.post("/images/:any{.+}", () => {
			throw onTheMachine("images");
		})
		.post("/build/prune", () => {
			throw onTheMachine("builds");
		})
		.post("/build", () => {
			throw onTheMachine("builds");
		});
}

/** Clients show the component's details where there are components, and the flat fields where they are old. */
function versions(version: string) {
	const flat = {
		ApiVersion: apiVersion,
		MinAPIVersion: oldestApiVersion,
		GitCommit: "",
		GoVersion: "",
		Os: "linux",
		Arch: "amd64",
		KernelVersion: "",
		BuildTime: "",
	};
	return {
		Platform: { Name: "Skein" },
		Components: [{ Name: "Engine", Version: version, Details: { ...flat, Experimental: "false" } }],
		Version: version,
		...flat,
	};
}

function agentWarnings({ agent }: Cluster): string[] {
	if (agent?.stopped === undefined) return [];
	const { version, sha256, stopped } = agent;
	return [
		`WARNING: the rollout of agent ${version} (${sha256.slice(0, 12)}) has stopped: ${stopped}. Nodes that were not told stay as they are`,
	];
}

/** The figures of all nodes together: what the cluster has, where dockerd says what its machine has. */
async function info(c: EngineContext, version: string) {
	const snapshot = await c.get("cluster")?.snapshot();
	const nodes = [...(snapshot?.nodes.values() ?? [])];
	const sum = (of: (node: (typeof nodes)[number]) => number) =>
		nodes.reduce((total, node) => total + of(node), 0);
	const containers = [...(snapshot?.tasks.values() ?? [])].filter(
		({ status }) => status.containerId !== "",
	);
	const running = containers.filter(({ status }) => status.state === "running");
	const stopped = containers.filter(({ status }) => isTerminal(status.state));
	const managers = nodes.filter(({ spec }) => spec.role === "manager").length;
	return {
		ID: snapshot?.cluster.id ?? "",
		Containers: containers.length,
		ContainersRunning: running.length,
		ContainersPaused: 0,
		ContainersStopped: stopped.length,
		Images: 0,
		Driver: "overlay2",
		DriverStatus: [],
		Plugins: { Volume: ["local"], Network: ["overlay"], Authorization: [], Log: [] },
		MemoryLimit: true,
		SwapLimit: true,
		CpuCfsPeriod: true,
		CpuCfsQuota: true,
		CPUShares: true,
		CPUSet: true,
		PidsLimit: true,
		IPv4Forwarding: true,
		BridgeNfIptables: true,
		BridgeNfIp6tables: true,
		OomKillDisable: true,
		Debug: false,
		NFd: 0,
		NGoroutines: 0,
		NEventsListener: 0,
		SystemTime: timestamp(Date.now()),
		LoggingDriver: "json-file",
		CgroupDriver: "none",
		KernelVersion: "",
		OperatingSystem: `Skein ${version}`,
		OSVersion: "",
		OSType: "linux",
		Architecture: "x86_64",
		IndexServerAddress: "https://index.docker.io/v1/",
		RegistryConfig: { InsecureRegistryCIDRs: ["127.0.0.0/8"], IndexConfigs: {}, Mirrors: [] },
		NCPU: Math.floor(sum((node) => node.description.nanoCpus) / 1e9),
		MemTotal: sum((node) => node.description.memoryBytes),
		GenericResources: [],
		DockerRootDir: "",
		HttpProxy: "",
		HttpsProxy: "",
		NoProxy: "",
		Name: "control-plane",
		Labels: [],
		ExperimentalBuild: false,
		ServerVersion: version,
		Runtimes: {},
		DefaultRuntime: "",
		LiveRestoreEnabled: false,
		Isolation: "",
		InitBinary: "",
		SecurityOptions: [],
		Warnings: [
			...(snapshot ? agentWarnings(snapshot.cluster) : []),
			...nodes.flatMap((node) =>
				[...node.description.problems, ...(node.description.warnings ?? [])].map(
					(problem) => `WARNING: node ${node.description.hostname}: ${problem}`,
				),
			),
		],
		Swarm: snapshot
			? {
					NodeID: managerId(snapshot.cluster),
					NodeAddr: hostOf(c.get("publicUrl")),
					LocalNodeState: "active",
					ControlAvailable: true,
					Error: "",
					RemoteManagers: [
						{ NodeID: managerId(snapshot.cluster), Addr: hostOf(c.get("publicUrl")) },
					],
					Nodes: nodes.length,
					Managers: Math.max(managers, 1),
					Cluster: showCluster(snapshot.cluster),
				}
			: {
					NodeID: "",
					NodeAddr: "",
					LocalNodeState: "inactive",
					ControlAvailable: false,
					Error: "",
					RemoteManagers: [],
				},
	};
}
