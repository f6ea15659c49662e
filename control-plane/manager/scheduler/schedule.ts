// Picks a node for each task that waits for one, or says why none will do.
//
// Tasks of one template ask for the same, so they are placed together: their nodes are looked at once. Which nodes
// will do is filters.ts, which of them is best is spread.ts. Global services never come here: their nodes are given.

import type { NodeId, TaskId } from "../../../model/id.ts";
import type { Node } from "../../../model/node.ts";
import type { Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import { demandOf, explain, type Filter, refusalOf, suits } from "./filters.ts";
import { nodeInfoOf, occupy, type Roster, rosterOf } from "./nodeinfo.ts";
import { pickerOf, standingsOf } from "./spread.ts";

export interface Placed {
	readonly kind: "placed";
	readonly node: NodeId;
}

export interface Unplaced {
	readonly kind: "unplaced";
	/** Docker's words, for the task's status: why it still waits. */
	readonly reason: string;
}

/** One outcome for each of `waiting`, whose `node` is null. Earlier ones get the better places. */
export function schedule(
	snapshot: Snapshot,
	waiting: readonly Task[],
): ReadonlyMap<TaskId, Placed | Unplaced> {
	const outcomes = new Map<TaskId, Placed | Unplaced>();
	if (waiting.length === 0) return outcomes;
	const roster = rosterOf(snapshot);
	for (const group of Map.groupBy(waiting, groupKey).values()) {
		for (const [id, outcome] of placeGroup(snapshot, roster, group)) outcomes.set(id, outcome);
	}
	return outcomes;
}

const groupKey = (task: Task) => `${task.service}:${task.templateVersion}`;

function* placeGroup(
	snapshot: Snapshot,
	roster: Roster,
	group: readonly Task[],
): Generator<[TaskId, Placed | Unplaced]> {
	const [{ service, templateVersion }] = group as [Task];
	const demand = demandOf(snapshot, service, templateVersion);
	const refusals = new Map<Filter, number>();
	const picker = pickerOf(
		roster,
		demand.template.placement.spreads,
		standingsOf(snapshot, service, templateVersion),
		({ info, ofService }) => {
			const refusal = refusalOf(demand, info, ofService);
			if (refusal) refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
			return !refusal;
		},
	);
	for (const { id } of group) {
		const candidate = picker.pick();
		if (!candidate) {
			// Every node has been refused by now, so the counts are complete.
			yield [id, { kind: "unplaced", reason: explain(refusals) }];
			continue;
		}
		occupy(candidate.info, demand);
		roster.raise(candidate.info);
		candidate.ofService++;
		picker.putBack(candidate);
		yield [id, { kind: "placed", node: candidate.info.node.id }];
	}
}

/**
 * For global services: may a task of this one start on that node? Undefined if so, else the reason. What the
 * service's own tasks there hold does not count against it: the new one comes in their place.
 */
export function eligible(snapshot: Snapshot, service: Service, node: Node): string | undefined {
	const demand = demandOf(snapshot, service.id, service.templateVersion);
	const refusal = refusalOf(demand, nodeInfoOf(snapshot, node, idle, service.id), 0);
	return refusal ? explain(new Map([[refusal, 1]])) : undefined;
}

/** No filter asks how busy a node is. */
const idle = { index: 0, active: 0 };

/** May a task of the service that runs on the node stay there? A paused or full node keeps what it has. */
export function mayStay(snapshot: Snapshot, service: Service, node: Node): boolean {
	return suits(demandOf(snapshot, service.id, service.templateVersion), node);
}
