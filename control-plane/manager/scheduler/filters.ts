// Which nodes a task may run on, and in Docker's own words why it may not run on the others.

import { must } from "../../../model/invariant.ts";
import type { Node } from "../../../model/node.ts";
import type { TemplateVersion } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { architectureOf, type Constraint, parseConstraint, satisfies } from "./constraint.ts";
import { hostPortKey, type NodeInfo } from "./nodeinfo.ts";

/** What all tasks of one template ask of a node. */
export interface Demand extends Pick<TemplateVersion, "service" | "template" | "hostPorts"> {
	readonly constraints: readonly Constraint[];
	readonly hostPortKeys: readonly string[];
}

export interface Filter {
	/** `ofService` counts the tasks of the demanding service that are meant to run on the node. */
	admits(demand: Demand, info: NodeInfo, ofService: number): boolean;
	explain(nodes: number): string;
}

const on = (what: string) => (nodes: number) =>
	`${what} on ${nodes} ${nodes === 1 ? "node" : "nodes"}`;

const ready: Filter = {
	admits: (_demand, { node }) => isAvailable(node),
	explain: (nodes) => `${nodes} ${nodes === 1 ? "node" : "nodes"} not available for new tasks`,
};

const resources: Filter = {
	admits: ({ template: { reservations } }, info) =>
		(reservations.nanoCpus === 0 || reservations.nanoCpus <= info.holdings.freeNanoCpus) &&
		(reservations.memoryBytes === 0 || reservations.memoryBytes <= info.holdings.freeMemoryBytes),
	explain: on("insufficient resources"),
};

const plugins: Filter = { admits: hasPlugins, explain: on("missing plugin") };

const constraints: Filter = {
	admits: (demand, { node }) =>
		demand.constraints.every((constraint) => satisfies(node, constraint)),
	explain: on("scheduling constraints not satisfied"),
};

const platforms: Filter = { admits: hasPlatform, explain: on("unsupported platform") };

const hostPorts: Filter = {
	admits: (demand, info) => demand.hostPortKeys.every((key) => !info.holdings.hostPorts.has(key)),
	explain: on("host-mode port already in use"),
};

const maxReplicas: Filter = {
	admits: ({ template }, _info, ofService) =>
		template.placement.maxReplicasPerNode === 0 ||
		ofService < template.placement.maxReplicasPerNode,
	explain: () => "max replicas per node limit exceed",
};

/** Docker's order: a node that fails several is counted under the first. */
const pipeline: readonly Filter[] = [
	ready,
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
	const { template, hostPorts } = must(
		snapshot.template(service, templateVersion),
		"a template is kept while a task of it waits",
	);
	return {
		service,
		template,
		hostPorts,
		// A constraint that cannot be read was refused at the door; Docker's scheduler passes over it too.
		constraints: template.placement.constraints
			.map(parseConstraint)
			.filter((constraint) => constraint.kind === "constraint"),
		hostPortKeys: hostPorts.map(hostPortKey).filter((key) => key !== undefined),
	};
}

function isAvailable({ status, spec, description }: Node): boolean {
	return (
		status.state === "ready" && spec.availability === "active" && description.problems.length === 0
	);
}

function meetsConstraints(demand: Demand, { node }: Pick<NodeInfo, "node">): boolean {
	return demand.constraints.every((constraint) => satisfies(node, constraint));
}

function hasPlugins({ template }: Demand, { node }: NodeInfo): boolean {
	const { mounts } = template.container;
	const has = (type: string, name: string) =>
		node.description.plugins.some(
			(plugin) =>
				plugin.type === type && (plugin.name === name || plugin.name === `${name}:latest`),
		);
	const drivers = mounts.map((mount) => mount.volume?.driver ?? "");
	if (!drivers.every((name) => name === "" || name === "local" || has("Volume", name)))
		return false;
	// An engine that lists no log drivers at all is too old to say.
	const logs = node.description.plugins.some(({ type }) => type === "Log");
	return !logs || !template.logDriver || has("Log", template.logDriver.name);
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
