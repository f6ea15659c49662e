// What clients ask before anything else: who are you, which API do you speak, what have you got.
//
// Also the lists of things that each machine keeps for itself: empty here, so that dashboards which ask for
// everything show the rest.

import { Hono } from "hono";
import { notFound } from "../../model/errors.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { DoorEnv } from "../cluster.ts";
import { hostOf } from "./address.ts";
import { managerId } from "./convert/node.ts";
import { toEngine as showCluster } from "./convert/swarm.ts";
import { timestamp } from "./convert/time.ts";
import { clusterOf, type EngineContext, type EngineDeps } from "./door.ts";
import { onTheMachine } from "./errors.ts";
import { parseFilters } from "./filters.ts";

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
		.get("/containers/json", (c) => c.json([]))
		.get("/images/json", (c) => c.json([]))
		.get("/plugins", (c) => c.json([]))
		.get("/volumes", (c) => c.json({ Volumes: [], Warnings: null }))
		.get("/system/df", (c) =>
			c.json({ LayersSize: 0, Images: [], Containers: [], Volumes: [], BuildCache: [] }),
		)
		.get("/containers/:id/json", (c) => {
			throw notFound(`No such container: ${c.req.param("id")}`);
		})
		.get("/images/:name{.+}/json", (c) => {
			throw notFound(`No such image: ${c.req.param("name")}`);
		})
		.get("/volumes/:name", (c) => {
			throw notFound(`get ${c.req.param("name")}: no such volume`);
		})
		.get("/secrets", (c) => empty(c, ["id", "name", "names", "label"]))
		.get("/configs", (c) => empty(c, ["id", "name", "label"]))
		.get("/secrets/:id", (c) => {
			clusterOf(c);
			throw notFound(`secret ${c.req.param("id")} not found`);
		})
		.get("/configs/:id", (c) => {
			clusterOf(c);
			throw notFound(`config ${c.req.param("id")} not found`);
		})
		.post("/containers/:any{.+}", () => {
			throw onTheMachine("containers");
		})
		.post("/images/:any{.+}", () => {
			throw onTheMachine("images");
		})
		.post("/volumes/:any{.+}", () => {
			throw onTheMachine("volumes");
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

function empty(c: EngineContext, keys: readonly string[]): Response {
	clusterOf(c);
	parseFilters(c.req.query("filters"), keys);
	return c.json([]);
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
		Warnings: nodes.flatMap((node) =>
			node.description.problems.map(
				(problem) => `WARNING: node ${node.description.hostname}: ${problem}`,
			),
		),
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
