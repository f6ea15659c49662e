// The container of a task, as Docker's lists and inspections show one: as the node last reported it.

import { macOf } from "../../../model/cidr.ts";
import { nodeName } from "../../../model/node.ts";
import type { Document, TemplateVersion } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { isTerminal } from "../../../model/taskstate.ts";
import { containerName, type Held } from "../container.ts";
import { timestamp } from "./time.ts";

/** Says where the container is: Docker's own lists have no place for it. */
export const nodeLabel = "skein.node";

export type ContainerState = "created" | "running" | "exited" | "dead";

export function stateOf({ status }: Held): ContainerState {
	// Written off with its silent node: nobody knows.
	if (status.state === "orphaned") return "dead";
	if (isTerminal(status.state)) return status.exitCode === null ? "created" : "exited";
	return status.pid > 0 ? "running" : "created";
}

export function toSummary(task: Held, snapshot: Snapshot, nowMs: number): Document {
	const spec = templateOf(task, snapshot)?.template.container;
	return {
		Id: task.status.containerId,
		Names: [`/${containerName(snapshot, task)}`],
		Image: spec?.image ?? "",
		ImageID: "",
		Command: [...(spec?.command ?? []), ...(spec?.args ?? [])].join(" "),
		Created: Math.floor(task.createdMs / 1000),
		Ports: [
			...new Map(portsOf(task, snapshot).map((port) => [JSON.stringify(port), port])).values(),
		],
		Labels: labelsOf(task, snapshot),
		State: stateOf(task),
		Status: statusText(task, snapshot, nowMs),
		HostConfig: { NetworkMode: networksOf(task, snapshot)[0]?.[0] ?? "bridge" },
		NetworkSettings: { Networks: Object.fromEntries(networksOf(task, snapshot)) },
		Mounts: (spec?.mounts ?? []).map(mountOf),
	};
}

/** What the control plane knows by itself, for a node that cannot be asked: `why` says so. */
export function toInspection(task: Held, snapshot: Snapshot, why: string): Document {
	const spec = templateOf(task, snapshot)?.template.container;
	const state = stateOf(task);
	const { status } = task;
	const [path = "", ...args] = [...(spec?.command ?? []), ...(spec?.args ?? [])];
	const never = "0001-01-01T00:00:00Z";
	const since = timestamp(status.sinceMs);
	return {
		Id: status.containerId,
		Created: timestamp(task.createdMs),
		Path: path,
		Args: args,
		State: {
			Status: state,
			Running: state === "running",
			Paused: false,
			Restarting: false,
			OOMKilled: /out of memory/.test(status.error),
			Dead: state === "dead",
			Pid: status.pid,
			ExitCode: status.exitCode ?? 0,
			Error: [status.error, `${why}; this is what it last reported`].filter(Boolean).join("; "),
			StartedAt: state === "running" ? since : never,
			FinishedAt: state === "exited" ? since : never,
		},
		Image: "",
		Name: `/${containerName(snapshot, task)}`,
		RestartCount: 0,
		Driver: "",
		Platform: "linux",
		HostConfig: { NetworkMode: networksOf(task, snapshot)[0]?.[0] ?? "bridge" },
		Mounts: (spec?.mounts ?? []).map(mountOf),
		Config: {
			Hostname: spec?.hostname ?? "",
			User: spec?.user ?? "",
			Tty: spec?.tty ?? false,
			OpenStdin: spec?.openStdin ?? false,
			Env: spec?.env ?? [],
			Cmd: spec?.args ?? [],
			Entrypoint: spec?.command ?? [],
			Image: spec?.image ?? "",
			WorkingDir: spec?.dir ?? "",
			Labels: labelsOf(task, snapshot),
		},
		NetworkSettings: {
			Networks: Object.fromEntries(networksOf(task, snapshot)),
			Ports: Object.fromEntries(
				portsOf(task, snapshot).map(({ IP, PrivatePort, PublicPort, Type }) => [
					`${PrivatePort}/${Type}`,
					PublicPort === undefined ? null : [{ HostIp: IP ?? "", HostPort: String(PublicPort) }],
				]),
			),
		},
	};
}

export function labelsOf(task: Held, snapshot: Snapshot): Readonly<Record<string, string>> {
	const service = snapshot.services.get(task.service);
	const node = snapshot.nodes.get(task.node);
	return {
		...templateOf(task, snapshot)?.template.container.labels,
		"com.docker.swarm.node.id": task.node,
		"com.docker.swarm.service.id": task.service,
		"com.docker.swarm.service.name": service?.spec.name ?? "",
		"com.docker.swarm.task": "",
		"com.docker.swarm.task.id": task.id,
		"com.docker.swarm.task.name": containerName(snapshot, task),
		[nodeLabel]: node ? nodeName(node) : "",
	};
}

function templateOf(task: Held, snapshot: Snapshot): TemplateVersion | undefined {
	return snapshot.template(task.service, task.templateVersion);
}

export interface ShownPort {
	readonly IP?: string;
	readonly PrivatePort: number;
	readonly PublicPort?: number;
	readonly Type: string;
}

/** Ports in host mode are the container's own; those of the service answer on every node, so only their target shows. */
export function portsOf(task: Held, snapshot: Snapshot): ShownPort[] {
	const bound = task.status.ports.map(({ target, published, protocol }) => ({
		IP: "0.0.0.0",
		PrivatePort: target,
		PublicPort: published,
		Type: protocol,
	}));
	const service = snapshot.services.get(task.service);
	const inner = (service?.ports ?? [])
		.filter(({ mode }) => mode === "ingress")
		.map(({ target, protocol }) => ({ PrivatePort: target, Type: protocol }));
	return [...bound, ...inner];
}

export function networksOf(task: Held, snapshot: Snapshot): [string, Document][] {
	return task.attachments.flatMap(({ network, address }) => {
		const found = snapshot.networks.get(network);
		if (!found) return [];
		const prefix = Number(found.subnet.split("/")[1] ?? 0);
		const endpoint = {
			NetworkID: network,
			IPAddress: address,
			IPPrefixLen: prefix,
			MacAddress: macOf(address),
		};
		return [[found.name, endpoint] satisfies [string, Document]];
	});
}

function mountOf(mount: {
	readonly type: string;
	readonly source: string;
	readonly target: string;
	readonly readOnly: boolean;
}): Document {
	return {
		Type: mount.type,
		...(mount.type === "volume" && { Name: mount.source }),
		Source: mount.type === "volume" ? "" : mount.source,
		Destination: mount.target,
		Mode: "",
		RW: !mount.readOnly,
		Propagation: "",
	};
}

function statusText(task: Held, snapshot: Snapshot, nowMs: number): string {
	const { status } = task;
	const age = durationText(nowMs - status.sinceMs);
	const node = snapshot.nodes.get(task.node);
	const down = node?.status.state === "down" ? ` (node ${nodeName(node)} is down)` : "";
	const health = {
		none: "",
		starting: " (health: starting)",
		healthy: " (healthy)",
		unhealthy: " (unhealthy)",
	}[status.health];
	switch (stateOf(task)) {
		case "running":
			return `Up ${age}${health}${down}`;
		case "exited":
			return `Exited (${status.exitCode}) ${age} ago`;
		case "dead":
			return `Dead${down}`;
		case "created":
			return "Created";
	}
}

/** Docker's words for how long. */
export function durationText(ms: number): string {
	const seconds = Math.floor(ms / 1000);
	const minutes = Math.floor(seconds / 60);
	const hours = Math.round(ms / 3_600_000);
	if (seconds < 1) return "Less than a second";
	if (seconds === 1) return "1 second";
	if (seconds < 60) return `${seconds} seconds`;
	if (minutes === 1) return "About a minute";
	if (minutes < 60) return `${minutes} minutes`;
	if (hours === 1) return "About an hour";
	if (hours < 48) return `${hours} hours`;
	if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
	if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
	if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
	return `${Math.floor(hours / 24 / 365)} years`;
}
