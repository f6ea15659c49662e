// Which nodes a task may run on, and in Docker's own words why it may not run on the others.

import type { NodeId, ServiceId } from "../../../model/id.ts";
import { must } from "../../../model/invariant.ts";
import type { Node } from "../../../model/node.ts";
import type { TaskTemplate, TemplateVersion } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { platformsOf } from "../images.ts";
import { architectureOf, type Constraint, parseConstraint, satisfies } from "./constraint.ts";
import { countOf, hostPortKey, type NodeInfo } from "./nodeinfo.ts";

/** What all tasks of one template ask of a node. */
export interface Demand extends Pick<TemplateVersion, "service" | "template" | "hostPorts"> {
	readonly constraints: readonly Constraint[];
	readonly hostPortKeys: readonly string[];
	/** The service's. */
	readonly name: string;
	/** A task of the service had the same image there, so the next one needs no room for it. */
	hasImageOn(node: NodeId): boolean;
}

export type FilterName =
	| "ready"
	| "disk"
	| "resources"
	| "plugins"
	| "constraints"
	| "platforms"
	| "hostPorts"
	| "maxReplicas";

export interface Filter {
	readonly name: FilterName;
	/** `ofService` counts the tasks of the demanding service that are meant to run on the node. */
	admits(demand: Demand, info: NodeInfo, ofService: number): boolean;
	explain(nodes: number): string;
}

const on = (what: string) => (nodes: number) =>
	`${what} on ${nodes} ${nodes === 1 ? "node" : "nodes"}`;

const ready: Filter = {
	name: "ready",
	admits: (_demand, { node }) => isAvailable(node),
	explain: (nodes) => `${nodes} ${nodes === 1 ? "node" : "nodes"} not available for new tasks`,
};

/** A task that comes back to its node, after a crash or a reboot, takes nothing that it did not have. */
const disk: Filter = {
	name: "disk",
	admits: (demand, { node }) => !node.description.diskFull || demand.hasImageOn(node.id),
	explain: on("disk full"),
};

const resources: Filter = {
	name: "resources",
	admits: ({ template: { reservations, genericReservations = {} } }, info) =>
		(reservations.nanoCpus === 0 || reservations.nanoCpus <= info.holdings.freeNanoCpus) &&
		(reservations.memoryBytes === 0 || reservations.memoryBytes <= info.holdings.freeMemoryBytes) &&
		Object.entries(genericReservations).every(
			([kind, count]) => count <= countOf(info.holdings.freeGeneric.get(kind)),
		),
	explain: on("insufficient resources"),
};

const plugins: Filter = {
	name: "plugins",
	admits: (demand, { node }) => missingPlugins(demand, node).length === 0,
	explain: on("missing plugin"),
};

const constraints: Filter = {
	name: "constraints",
	admits: (demand, { node }) =>
		demand.constraints.every((constraint) => satisfies(node, constraint)),
	explain: on("scheduling constraints not satisfied"),
};

const platforms: Filter = {
	name: "platforms",
	admits: hasPlatform,
	explain: on("unsupported platform"),
};

const hostPorts: Filter = {
	name: "hostPorts",
	admits: (demand, info) => demand.hostPortKeys.every((key) => !info.holdings.hostPorts.has(key)),
	explain: on("host-mode port already in use"),
};

const maxReplicas: Filter = {
	name: "maxReplicas",
	admits: ({ template }, _info, ofService) =>
		template.placement.maxReplicasPerNode === 0 ||
		ofService < template.placement.maxReplicasPerNode,
	explain: () => "max replicas per node limit exceed",
};

/** Docker's order, with the disk, of which Docker knows nothing: a node that fails several is counted under the first. */
const pipeline: readonly Filter[] = [
	ready,
	disk,
	resources,
	plugins,
	constraints,
	platforms,
	hostPorts,
	maxReplicas,
];

/** The first filter that turns the node away; undefined if the task may run there. */
export function refusalOf(demand: Demand, info: NodeInfo, ofService: number): Filter | undefined {
	return pipeline.find((filter) => !filter.admits(demand, info, ofService));
}

/** All that turn the node away. */
export function refusalsOf(demand: Demand, info: NodeInfo, ofService: number): Filter[] {
	return pipeline.filter((filter) => !filter.admits(demand, info, ofService));
}

/** `no suitable node (scheduling constraints not satisfied on 2 nodes; insufficient resources on 1 node)` */
export function explain(refusals: ReadonlyMap<Filter, number>): string {
	if (refusals.size === 0) return "no suitable node";
	const reasons = pipeline
		.map((filter) => ({ filter, nodes: refusals.get(filter) ?? 0 }))
		.filter(({ nodes }) => nodes > 0)
		.sort((a, b) => b.nodes - a.nodes)
		.map(({ filter, nodes }) => filter.explain(nodes));
	return `no suitable node (${reasons.join("; ")})`;
}

/** What a node *is*, its labels and its platform: a task that runs there may stay, paused or full as the node be. */
export function suits(demand: Demand, node: Node): boolean {
	const info = { node } as const;
	return hasPlatform(demand, info) && meetsConstraints(demand, info);
}

export function demandOf(
	snapshot: Snapshot,
	service: TemplateVersion["service"],
	templateVersion: number,
): Demand {
	const { template: asked, hostPorts } = must(
		snapshot.template(service, templateVersion),
		"a template is kept while a task of it waits",
	);
	const template = withPlatforms(snapshot, asked);
	return {
		service,
		template,
		hostPorts,
		// A constraint that cannot be read was refused at the door; Docker's scheduler passes over it too.
		constraints: template.placement.constraints
			.map(parseConstraint)
			.filter((constraint) => constraint.kind === "constraint"),
		hostPortKeys: hostPorts.map(hostPortKey).filter((key) => key !== undefined),
		name: snapshot.services.get(service)?.spec.name ?? service,
		hasImageOn: (node) => hadImage(snapshot, service, template.container.image, node),
	};
}

/** What was built here is known to run on some nodes only. */
function withPlatforms(snapshot: Snapshot, template: TaskTemplate): TaskTemplate {
	const { container, placement } = template;
	if (placement.platforms.length > 0 || snapshot.builds.size === 0) return template;
	const platforms = platformsOf(snapshot, container.image);
	return platforms.length > 0 ? { ...template, placement: { ...placement, platforms } } : template;
}

/** Only asked of nodes whose disk is full. */
function hadImage(snapshot: Snapshot, service: ServiceId, image: string, node: NodeId): boolean {
	return [...snapshot.tasksOfService(service).values()].some(
		(task) =>
			task.node === node &&
			task.status.containerId !== "" &&
			snapshot.template(service, task.templateVersion)?.template.container.image === image,
	);
}

function isAvailable({ status, spec, description }: Node): boolean {
	return (
		status.state === "ready" &&
		spec.availability === "active" &&
		!description.goingDown &&
		description.problems.length === 0
	);
}

function meetsConstraints(demand: Demand, { node }: Pick<NodeInfo, "node">): boolean {
	return demand.constraints.every((constraint) => satisfies(node, constraint));
}

/** `volume driver NAME`, `log driver NAME`. */
export function missingPlugins({ template }: Demand, { description }: Node): string[] {
	const { plugins } = description;
	const has = (type: string, name: string) =>
		plugins.some(
			(plugin) =>
				plugin.type === type && (plugin.name === name || plugin.name === `${name}:latest`),
		);
	const drivers = template.container.mounts.map((mount) => mount.volume?.driver ?? "");
	const missing = new Set(
		drivers
			.filter((name) => name !== "" && name !== "local" && !has("Volume", name))
			.map((name) => `volume driver ${name}`),
	);
	const { logDriver } = template;
	// An engine that lists no log drivers at all is too old to say.
	const listsLogs = plugins.some(({ type }) => type === "Log");
	if (listsLogs && logDriver && !has("Log", logDriver.name)) {
		missing.add(`log driver ${logDriver.name}`);
	}
	return [...missing];
}

function hasPlatform({ template }: Demand, { node }: Pick<NodeInfo, "node">): boolean {
	const wanted = template.placement.platforms;
	const { os, architecture } = node.description;
	return (
		wanted.length === 0 ||
		wanted.some(
			(platform) =>
				(platform.os === "" || platform.os === os) &&
				(platform.architecture === "" ||
					architectureOf(platform.architecture) === architectureOf(architecture)),
		)
	);
}
