// What the scheduler counts of a node: its tasks, what they reserve, the ports they hold.
//
// The counts are the scheduler's own working copy and rise with each placement; the snapshot never changes under it.
// Nothing is counted before it is asked for: placing one task among thousands of nodes looks at a few of them.

import type { NodeId, ServiceId } from "../../../model/id.ts";
import { must } from "../../../model/invariant.ts";
import { isInPlace, isLessBusy, type Load, rankAmong } from "../../../model/load.ts";
import type { GenericResources, Node } from "../../../model/node.ts";
import type { PortSpec, TaskTemplate } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";

export interface NodeInfo {
	readonly node: Node;
	readonly index: number;
	/** Tasks meant to run there, of all services. */
	active: number;
	readonly holdings: Holdings;
}

/** What the tasks there leave of the node, those included that were told to stop and have not yet. */
export interface Holdings {
	freeNanoCpus: number;
	freeMemoryBytes: number;
	/** Of generic resources what is left of each kind: the names, or how many. */
	readonly freeGeneric: Map<string, readonly string[] | number>;
	/** `tcp/8080` */
	readonly hostPorts: Set<string>;
}

/** All nodes, the least busy first, and so they stay while tasks are placed. */
export interface Roster {
	get(id: NodeId): NodeInfo | undefined;
	/** In order, from the least busy on; what is raised meanwhile may come again. */
	walk(): Iterator<NodeInfo, undefined>;
	/** One task more that is meant to run there. */
	raise(info: NodeInfo): void;
}

export function rosterOf(snapshot: Snapshot): Roster {
	const { sorted, changed } = snapshot.loads;
	const infos = new Map<NodeId, NodeInfo>();
	/** The nodes that do not stand where `sorted` has them, in order. */
	const moved: NodeInfo[] = [];
	const isMoved = new Set<NodeId>(changed.keys());

	const infoOf = ({ id, index, active }: Load): NodeInfo | undefined => {
		const known = infos.get(id);
		const node = snapshot.nodes.get(id);
		if (known || !node) return known;
		const info = nodeInfoOf(snapshot, node, { index, active });
		infos.set(id, info);
		return info;
	};
	for (const load of changed.values()) {
		const info = load && infoOf(load);
		if (info) moved.splice(rankAmong(moved, info), 0, info);
	}

	return {
		get(id) {
			const index = snapshot.loads.indexOf(id);
			if (index === undefined) return undefined;
			return infoOf({ id, index, active: snapshot.loads.activeOn(id) });
		},
		*walk() {
			// Raising one that was given takes it out from under `at` and puts it in further on: nothing is left out.
			let [still, at] = [0, 0];
			for (;;) {
				const load = sorted[still];
				if (load && isMoved.has(load.id)) {
					still++;
					continue;
				}
				const other = moved[at];
				if (!load && !other) return undefined;
				const mine = load && (!other || isLessBusy(load, other)) ? infoOf(load) : other;
				if (mine) yield mine;
				if (mine === undefined || mine !== other) still++;
				else if (moved[at] === mine) at++;
			}
		},
		raise(info) {
			const { id } = info.node;
			if (isMoved.has(id)) moved.splice(rankAmong(moved, info), 1);
			isMoved.add(id);
			info.active++;
			moved.splice(rankAmong(moved, info), 0, info);
		},
	};
}

/** The node as its tasks leave it; those of one service may be left out of the count. */
export function nodeInfoOf(
	snapshot: Snapshot,
	node: Node,
	{ index, active }: Omit<Load, "id">,
	without?: ServiceId,
): NodeInfo {
	let holdings: Holdings | undefined;
	return {
		node,
		index,
		active,
		get holdings() {
			holdings ??= holdingsOf(snapshot, node, without);
			return holdings;
		},
	};
}

function holdingsOf(snapshot: Snapshot, node: Node, without: ServiceId | undefined): Holdings {
	const holdings = {
		freeNanoCpus: node.description.nanoCpus,
		freeMemoryBytes: node.description.memoryBytes,
		freeGeneric: new Map(Object.entries(node.description.genericResources ?? {})),
		hostPorts: new Set<string>(),
	};
	for (const task of snapshot.tasksOfNode(node.id).values()) {
		if (!isInPlace(task) || task.service === without) continue;
		const version = must(
			snapshot.template(task.service, task.templateVersion),
			"a task's template is kept as long as the task",
		);
		take(holdings, version);
		takeGeneric(holdings, task.genericResources ?? {});
	}
	return holdings;
}

/** The node gets a task of that template. The generic resources that become the task's, if it wants any. */
export function occupy(info: NodeInfo, version: Occupant): GenericResources | undefined {
	const { nanoCpus, memoryBytes } = version.template.reservations;
	if (nanoCpus > 0 || memoryBytes > 0 || version.hostPorts.length > 0) {
		take(info.holdings, version);
	}
	const { genericReservations: wanted } = version.template;
	if (!wanted) return undefined;
	const claimed = claim(info.holdings, wanted);
	takeGeneric(info.holdings, claimed);
	return claimed;
}

interface Occupant {
	readonly template: Pick<TaskTemplate, "reservations" | "genericReservations">;
	readonly hostPorts: readonly PortSpec[];
}

export const countOf = (what: readonly string[] | number | undefined): number =>
	typeof what === "number" ? what : (what?.length ?? 0);

/** The first ones that are free. */
function claim(
	{ freeGeneric }: Holdings,
	wanted: Readonly<Record<string, number>>,
): GenericResources {
	return Object.fromEntries(
		Object.entries(wanted).map(([kind, count]) => {
			const free = freeGeneric.get(kind);
			return [kind, Array.isArray(free) ? free.slice(0, count) : count];
		}),
	);
}

function takeGeneric({ freeGeneric }: Holdings, taken: GenericResources): void {
	for (const [kind, what] of Object.entries(taken)) {
		const free = freeGeneric.get(kind);
		if (typeof free === "number") freeGeneric.set(kind, free - countOf(what));
		else if (free && typeof what !== "number") {
			freeGeneric.set(
				kind,
				free.filter((name) => !what.includes(name)),
			);
		}
	}
}

function take(holdings: Holdings, { template: { reservations }, hostPorts }: Occupant): void {
	holdings.freeNanoCpus -= reservations.nanoCpus;
	holdings.freeMemoryBytes -= reservations.memoryBytes;
	for (const port of hostPorts) {
		const key = hostPortKey(port);
		if (key) holdings.hostPorts.add(key);
	}
}

/** Undefined for a port that the engine picks: it collides with nobody. */
export function hostPortKey(port: PortSpec): string | undefined {
	if (port.mode !== "host" || port.published === 0) return undefined;
	return `${port.protocol}/${port.published}`;
}
