// Picks a node for each task that waits for one, or says why none will do.
//
// Tasks of one template ask for the same, so they are placed together: their nodes are looked at once. Which nodes
// will do is filters.ts, which of them is best is spread.ts. Global services never come here: their nodes are given.

import type { NodeId, TaskId } from "../../../model/id.ts";
import type { GenericResources, Node } from "../../../model/node.ts";
import type { Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import { type Advice, adviceOn, advise, smallestChange } from "./advice.ts";
import { demandOf, explain, type Filter, refusalOf, suits } from "./filters.ts";
import { nodeInfoOf, occupy, type Roster, rosterOf } from "./nodeinfo.ts";
import { pickerOf, standingsOf } from "./spread.ts";

export interface Placed {
	readonly kind: "placed";
	readonly node: NodeId;
	/** What of the node's generic resources becomes the task's. */
	readonly genericResources?: GenericResources;
}

export interface Unplaced {
	readonly kind: "unplaced";
	/** Docker's words, for the task's status: why it still waits. And the smallest change that would mend it. */
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
	const standings = standingsOf(snapshot, service, templateVersion);
	const ofService = new Map(standings.ofService);
	const picker = pickerOf(
		roster,
		demand.template.placement.spreads,
		standings,
		({ info, ofService }) => {
			const refusal = refusalOf(demand, info, ofService);
			if (refusal) refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
			return !refusal;
		},
	);
	let reason: string | undefined;
	for (const { id } of group) {
		const candidate = picker.pick();
		if (!candidate) {
			// Every node has been refused by now, so the counts are complete.
			reason ??= waitsFor(explain(refusals), adviceOn(snapshot, roster, demand, ofService));
			yield [id, { kind: "unplaced", reason }];
			continue;
		}
		const genericResources = occupy(candidate.info, demand);
		roster.raise(candidate.info);
		candidate.ofService++;
		ofService.set(candidate.info.node.id, candidate.ofService);
		picker.putBack(candidate);
		yield [id, placed(candidate.info.node.id, genericResources)];
	}
}

function placed(node: NodeId, genericResources: GenericResources | undefined): Placed {
	return { kind: "placed", node, ...(genericResources && { genericResources }) };
}

/** Docker's words, and what would mend it. */
function waitsFor(refused: string, advice: readonly Advice[]): string {
	return advice.length > 0 ? `${refused}; ${smallestChange(advice)}` : refused;
}

/**
 * For global services: may a task of this one start on that node? What the service's own tasks there hold does not
 * count against it: the new one comes in their place.
 */
export function scheduleOn(snapshot: Snapshot, service: Service, node: Node): Placed | Unplaced {
	const demand = demandOf(snapshot, service.id, service.templateVersion);
	const info = nodeInfoOf(snapshot, node, idle, service.id);
	const refusal = refusalOf(demand, info, 0);
	if (!refusal) return placed(node.id, occupy(info, demand));
	const reason = waitsFor(explain(new Map([[refusal, 1]])), advise(demand, info, 0));
	return { kind: "unplaced", reason };
}

/** No filter asks how busy a node is. */
const idle = { index: 0, active: 0 };

/** May a task of the service that runs on the node stay there? A paused or full node keeps what it has. */
export function mayStay(snapshot: Snapshot, service: Service, node: Node): boolean {
	return suits(demandOf(snapshot, service.id, service.templateVersion), node);
}
