// What the scheduler counts of a node: its tasks, what they reserve, the ports they hold.
//
// The counts are the scheduler's own working copy and rise with each placement; the snapshot never changes under it.

import type { NodeId, ServiceId } from "../../../model/id.ts";
import { must } from "../../../model/invariant.ts";
import type { Node } from "../../../model/node.ts";
import type { PortSpec, TaskTemplate } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import { isBefore, isTerminal } from "../../../model/taskstate.ts";

export interface NodeInfo {
	readonly node: Node;
	/** Tasks meant to run there, of all services. */
	active: number;
	freeNanoCpus: number;
	freeMemoryBytes: number;
	/** `tcp/8080`, with the service that holds it. */
	readonly hostPorts: Map<string, ServiceId>;
}

/** All nodes, the least busy first, and so they stay while tasks are placed. */
export interface Roster {
	readonly sorted: readonly NodeInfo[];
	get(id: NodeId): NodeInfo | undefined;
	/** One task more that is meant to run there. */
	raise(info: NodeInfo): void;
}

export function rosterOf(snapshot: Snapshot): Roster {
	const infos = new Map<NodeId, NodeInfo>();
	for (const node of snapshot.nodes.values()) infos.set(node.id, nodeInfoOf(snapshot, node));
	const sorted = [...infos.values()].sort((a, b) => (isLessBusy(a, b) ? -1 : 1));
	return {
		sorted,
		get: (id) => infos.get(id),
		raise(info) {
			sorted.splice(positionOf(sorted, info), 1);
			info.active++;
			sorted.splice(positionOf(sorted, info), 0, info);
		},
	};
}

/** The index breaks ties, so that one snapshot always gives one plan. */
export function isLessBusy(a: NodeInfo, b: NodeInfo): boolean {
	return a.active === b.active ? a.node.index < b.node.index : a.active < b.active;
}

/** Where it stands, or would have to. */
function positionOf(sorted: readonly NodeInfo[], info: NodeInfo): number {
	let [low, high] = [0, sorted.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (isLessBusy(sorted[middle] as NodeInfo, info)) low = middle + 1;
		else high = middle;
	}
	return low;
}

/** The node as its tasks leave it; those of one service may be left out of the count. */
export function nodeInfoOf(snapshot: Snapshot, node: Node, without?: ServiceId): NodeInfo {
	const info: NodeInfo = {
		node,
		active: 0,
		freeNanoCpus: node.description.nanoCpus,
		freeMemoryBytes: node.description.memoryBytes,
		hostPorts: new Map(),
	};
	for (const task of snapshot.tasksOfNode(node.id).values()) {
		if (isTerminal(task.status.state) || task.service === without) continue;
		const version = must(
			snapshot.template(task.service, task.templateVersion),
			"a task's template is kept as long as the task",
		);
		occupy(info, task.service, version);
		if (isActive(task)) info.active++;
	}
	return info;
}

/** It is meant to run: counts in the spread, while one told to stop only holds on to what it reserved. */
export function isActive(task: Task): boolean {
	return !isTerminal(task.status.state) && !isBefore("running", task.desired);
}

export function occupy(
	info: NodeInfo,
	service: ServiceId,
	version: { readonly template: TaskTemplate; readonly hostPorts: readonly PortSpec[] },
): void {
	info.freeNanoCpus -= version.template.reservations.nanoCpus;
	info.freeMemoryBytes -= version.template.reservations.memoryBytes;
	for (const port of version.hostPorts) {
		const key = hostPortKey(port);
		if (key) info.hostPorts.set(key, service);
	}
}

/** Undefined for a port that the engine picks: it collides with nobody. */
export function hostPortKey(port: PortSpec): string | undefined {
	if (port.mode !== "host" || port.published === 0) return undefined;
	return `${port.protocol}/${port.published}`;
}
