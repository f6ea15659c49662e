// A task as the engine's own JSON: the body of the one call that creates its container.
//
// Pure. Says where a container goes and what it may do; whether there is an image is controller.ts's concern, and
// whether there is a network mesh/networks.ts's.

import type { TaskAssignment } from "../../model/assignment.ts";
import { macOf } from "../../model/cidr.ts";
import type { NetworkId } from "../../model/id.ts";
import { ownImage } from "../../model/image.ts";
import { must } from "../../model/invariant.ts";
import { filesOf } from "../../model/material.ts";
import type { Healthcheck, Mount, PortSpec } from "../../model/service.ts";
import { expandTemplate, TemplateError, type TemplateSite } from "./template.ts";

/** Where the container will stand. */
export interface Site extends TemplateSite {
	readonly cluster: string;
	/** Local names of the networks, for those that are made. */
	readonly networkNames: ReadonlyMap<NetworkId, string>;
	/** Resolvers, own first: the addresses in the mesh at which nodes answer. */
	readonly nameservers: readonly string[];
	/**
	 * Files that name the bridge as resolver, for the networks that have no way out: newer engines ask nobody on behalf
	 * of a container that is in such networks only.
	 */
	readonly resolvFiles: ReadonlyMap<NetworkId, string>;
	/** The engine takes several networks in one create (API 1.44); earlier ones refuse, but derive the MAC themselves. */
	readonly severalNetworks: boolean;
	/** The engine lets us choose the default route (API 1.48); before, the network that sorts first has it. */
	readonly gatewayPriority: boolean;
}

/** Our labels. Who bears `task` is ours to stop and remove; nothing else is ever touched. */
export const label = {
	task: "skein.task",
	generation: "skein.generation",
	cluster: "skein.cluster",
	slot: "skein.slot",
} as const;

export interface Creation {
	readonly name: string;
	readonly body: CreateBody;
	/** Networks to connect before the start, with engines that take but one at create. */
	readonly connects: readonly { readonly network: string; readonly endpoint: EndpointSettings }[];
}

export interface EndpointSettings {
	readonly IPAMConfig: { readonly IPv4Address: string };
	readonly MacAddress: string;
	readonly GwPriority?: number;
}

export type CreateBody = Readonly<Record<string, unknown>> & {
	readonly Image: string;
	readonly Labels: Readonly<Record<string, string>>;
	readonly HostConfig: Readonly<Record<string, unknown>>;
	readonly NetworkingConfig: {
		readonly EndpointsConfig: Readonly<Record<string, EndpointSettings>>;
	};
};

export function creationOf(task: TaskAssignment, site: Site): Creation {
	const spec = task.template.container;
	const expand = (field: string, text: string) => {
		try {
			return expandTemplate(text, task, site);
		} catch (error) {
			if (!(error instanceof TemplateError)) throw error;
			throw new ContainerError(`expanding ${field} failed: ${error.message}: ${text}`, {
				cause: error,
			});
		}
	};
	const endpoints = endpointsOf(task, site);
	const atOnce = site.severalNetworks ? endpoints : endpoints.slice(0, 1);
	const first = endpoints[0];
	const body: CreateBody = {
		Image: ownImage(spec.image)?.name ?? spec.image,
		...(spec.command.length > 0 && { Entrypoint: spec.command }),
		...(spec.args.length > 0 && { Cmd: spec.args }),
		...(spec.hostname && { Hostname: expand("hostname", spec.hostname) }),
		...(spec.dir && { WorkingDir: spec.dir }),
		...(spec.user && { User: spec.user }),
		...(spec.stopSignal && { StopSignal: spec.stopSignal }),
		...(spec.healthcheck && { Healthcheck: healthcheckOf(spec.healthcheck) }),
		Env: [...spec.env.map((entry) => expand("env", entry)), ...genericEnv(task)],
		Labels: { ...spec.labels, ...labelsOf(task, site) },
		Tty: spec.tty,
		OpenStdin: spec.openStdin,
		StopTimeout: stopSeconds(task),
		ExposedPorts: Object.fromEntries(task.hostPorts.map((port) => [portKey(port), {}])),
		HostConfig: {
			// A task is one attempt: who starts another is the manager.
			RestartPolicy: { Name: "no" },
			NetworkMode: first?.[0] ?? "bridge",
			PortBindings: portBindings(task.hostPorts),
			Mounts: [
				...spec.mounts.map((mount) => mountOf(mount, site, expand)),
				...fileMounts(task),
				...resolvMount(task, site),
			],
			ReadonlyRootfs: spec.readOnly,
			CapAdd: spec.capabilityAdd,
			CapDrop: spec.capabilityDrop,
			Sysctls: spec.sysctls,
			Ulimits: spec.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
			GroupAdd: spec.groups,
			ExtraHosts: spec.hosts.flatMap(extraHosts),
			OomScoreAdj: spec.oomScoreAdj,
			...(spec.noNewPrivileges && { SecurityOpt: ["no-new-privileges"] }),
			...(spec.init !== null && { Init: spec.init }),
			...dnsOf(task, site),
			...resourcesOf(task),
			...(task.template.logDriver && {
				LogConfig: {
					Type: task.template.logDriver.name,
					Config: task.template.logDriver.options,
				},
			}),
		},
		NetworkingConfig: { EndpointsConfig: Object.fromEntries(atOnce) },
	};
	const connects = endpoints.slice(atOnce.length);
	return {
		name: task.name,
		body,
		connects: connects.map(([network, endpoint]) => ({ network, endpoint })),
	};
}

/** `DOCKER_RESOURCE_GPU=gpu0,gpu1`, as Swarm tells a task which ones are its own. */
function genericEnv({ genericResources = {} }: TaskAssignment): string[] {
	return Object.entries(genericResources).map(
		([kind, what]) =>
			`DOCKER_RESOURCE_${kind.toUpperCase()}=${typeof what === "number" ? what : what.join(",")}`,
	);
}

/** Names a slot among the containers of a node. */
export function slotOf(task: Pick<TaskAssignment, "service" | "slot">): string {
	return `${task.service.id}:${task.slot}`;
}

/** Seconds until a container that was asked to stop is killed. Docker counts whole ones. */
export function stopSeconds(task: Pick<TaskAssignment, "template">): number {
	return Math.ceil(task.template.container.stopGraceMs / 1000);
}

/** Swarm's own labels beside ours, so that what people already use to find a service's containers goes on to. */
function labelsOf(task: TaskAssignment, site: Site): Record<string, string> {
	return {
		"com.docker.swarm.node.id": site.node.id,
		"com.docker.swarm.service.id": task.service.id,
		"com.docker.swarm.service.name": task.service.name,
		"com.docker.swarm.task": "",
		"com.docker.swarm.task.id": task.id,
		"com.docker.swarm.task.name": task.name,
		[label.task]: task.id,
		[label.generation]: String(task.generation),
		[label.cluster]: site.cluster,
		[label.slot]: slotOf(task),
	};
}

/**
 * The MAC is a function of the address, so that a task that moves is found at once. Engines before 28 derive just
 * this one by themselves; 28 makes a random one unless told, and forgets it on `connect`.
 */
function endpointsOf(task: TaskAssignment, site: Site): [string, EndpointSettings][] {
	return task.attachments.map(({ network, address }, index) => {
		const name = must(site.networkNames.get(network), "a task waits until its networks are made");
		const endpoint = { IPAMConfig: { IPv4Address: address }, MacAddress: macOf(address) };
		const first = site.gatewayPriority && index === 0;
		return [name, first ? { ...endpoint, GwPriority: 100 } : endpoint];
	});
}

/** A task that cannot be put in the engine's words: the spec asks for what there is not. */
export class ContainerError extends Error {}

/** Docker's resolver passes on what it does not know; with our networks, to us first. */
function dnsOf(task: TaskAssignment, site: Site) {
	const { nameservers, search, options } = task.template.container.dns;
	const ours = nameservers.length > 0 ? site.nameservers.slice(0, 1) : site.nameservers;
	return {
		Dns: task.attachments.length > 0 ? [...ours, ...nameservers] : nameservers,
		DnsSearch: search,
		DnsOptions: options,
	};
}

/** Files in memory of secrets and configs: one folder a task, each file by its place among them. */
export const filesRoot = "/run/skein-agent/files";

export function fileSource(
	task: Pick<TaskAssignment, "id">,
	index: number,
	root = filesRoot,
): string {
	return `${root}/${task.id}/${index}`;
}

function fileMounts(task: TaskAssignment) {
	return filesOf(task.template).map(({ target }, index) => ({
		Type: "bind",
		Source: fileSource(task, index),
		Target: target,
		ReadOnly: true,
	}));
}

function resolvMount(task: TaskAssignment, site: Site) {
	const files = task.attachments.map(({ network }) => site.resolvFiles.get(network));
	const [file] = files;
	const chosen = task.template.container.mounts.some(({ target }) => target === resolvConf);
	if (file === undefined || chosen || files.includes(undefined)) return [];
	return [{ Type: "bind", Source: file, Target: resolvConf, ReadOnly: true }];
}

const resolvConf = "/etc/resolv.conf";

function resourcesOf(task: TaskAssignment) {
	const { limits, reservations } = task.template;
	return {
		...(limits.nanoCpus > 0 && { NanoCpus: limits.nanoCpus }),
		...(limits.memoryBytes > 0 && { Memory: limits.memoryBytes }),
		...(limits.pids > 0 && { PidsLimit: limits.pids }),
		...(reservations.memoryBytes > 0 && { MemoryReservation: reservations.memoryBytes }),
	};
}

const nanosOf = (ms: number) => Math.round(ms * 1_000_000);

function healthcheckOf(check: Healthcheck) {
	return {
		...(check.test.length > 0 && { Test: check.test }),
		Interval: nanosOf(check.intervalMs),
		Timeout: nanosOf(check.timeoutMs),
		StartPeriod: nanosOf(check.startPeriodMs),
		Retries: check.retries,
	};
}

function mountOf(mount: Mount, site: Site, expand: (field: string, text: string) => string) {
	const { tmpfs } = mount;
	return {
		Type: mount.type,
		...(mount.source && { Source: expand("mount source", mount.source) }),
		Target: expand("mount target", mount.target),
		ReadOnly: mount.readOnly,
		...(mount.type === "bind" &&
			mount.propagation && { BindOptions: { Propagation: mount.propagation } }),
		...(mount.type === "volume" && volumeOptionsOf(mount, site, expand)),
		...(tmpfs && {
			TmpfsOptions: {
				...(tmpfs.sizeBytes > 0 && { SizeBytes: tmpfs.sizeBytes }),
				...(tmpfs.mode > 0 && { Mode: tmpfs.mode }),
			},
		}),
	};
}

function volumeOptionsOf(
	{ source, volume }: Mount,
	site: Site,
	expand: (field: string, text: string) => string,
) {
	// By it a volume that a task made is known from one that somebody else did.
	const ours = source === "" ? {} : { [label.cluster]: site.cluster };
	const { labels = {}, driver = "", driverOptions = {}, noCopy = false } = volume ?? {};
	return {
		VolumeOptions: {
			NoCopy: noCopy,
			Labels: { ...expandAll("volume label", labels, expand), ...ours },
			...((driver || Object.keys(driverOptions).length > 0) && {
				DriverConfig: {
					// Options alone are for the driver that the engine takes by itself.
					...(driver && { Name: driver }),
					Options: expandAll("volume driver option", driverOptions, expand),
				},
			}),
		},
	};
}

function expandAll(
	field: string,
	map: Readonly<Record<string, string>>,
	expand: (field: string, text: string) => string,
): Record<string, string> {
	return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, expand(field, value)]));
}

/** "IP name alias" is Swarm's order; the engine's is "name:IP". */
function extraHosts(entry: string): string[] {
	const [address, ...names] = entry.trim().split(/\s+/);
	return names.map((name) => `${name}:${address}`);
}

const portKey = (port: PortSpec) => `${port.target}/${port.protocol}`;

function portBindings(ports: readonly PortSpec[]) {
	const bindings: Record<string, { HostPort: string }[]> = {};
	for (const port of ports) {
		const list = bindings[portKey(port)] ?? [];
		bindings[portKey(port)] = list;
		list.push({ HostPort: port.published > 0 ? String(port.published) : "" });
	}
	return bindings;
}
