// Whether a service would lie better with one task somewhere else, and which move is the best.
//
// Judged as the scheduler places: the branches of each spread preference first, then the nodes. A move counts only
// where it takes from a place that has two more than the one it leads to, so that moves come to an end.

import type { NodeId } from "../../../model/id.ts";
import { must } from "../../../model/invariant.ts";
import type { Node } from "../../../model/node.ts";
import type { Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { demandOf, refusalOf } from "./filters.ts";
import { rosterOf } from "./nodeinfo.ts";
import { branchOf, pickerOf, spreadLabels, standingsOf } from "./spread.ts";

/** The node to take a task from. Undefined where all is well, or nothing can be done. `mayTake` is asked of nodes. */
export function overfullNode(
	snapshot: Snapshot,
	service: Service,
	mayTake: (node: Node) => boolean,
): NodeId | undefined {
	const { id, templateVersion } = service;
	const demand = demandOf(snapshot, id, templateVersion);
	const standings = standingsOf(snapshot, id, templateVersion);
	const { spreads } = demand.template.placement;
	const picker = pickerOf(
		rosterOf(snapshot),
		spreads,
		standings,
		({ info, ofService }) => mayTake(info.node) && !refusalOf(demand, info, ofService),
	);
	const to = picker.pick();
	if (!to) return undefined;

	const labels = spreadLabels(spreads);
	const placesOf = (node: Node) => [...labels.map((label) => branchOf(node, label)), node.id];
	const tasksIn = new Map<string, number>();
	for (const [nodeId, count] of standings.ofService) {
		const node = snapshot.nodes.get(nodeId);
		for (const prefix of node ? prefixes(placesOf(node)) : []) {
			tasksIn.set(prefix, (tasksIn.get(prefix) ?? 0) + count);
		}
	}
	const target = prefixes(placesOf(to.info.node));
	let [fullest, most]: [NodeId | undefined, number] = [undefined, 1];
	for (const nodeId of standings.ofService.keys()) {
		const node = snapshot.nodes.get(nodeId);
		const source = node ? prefixes(placesOf(node)) : [];
		const level = source.findIndex((prefix, at) => prefix !== target[at]);
		if (level < 0) continue;
		const here = must(source[level], "the level was found in it");
		const there = must(target[level], "all nodes have as many levels");
		const surplus = (tasksIn.get(here) ?? 0) - (tasksIn.get(there) ?? 0);
		if (surplus > most) [fullest, most] = [nodeId, surplus];
	}
	return fullest;
}

/** `east`, `east rack1`, `east rack1 n1`: what is the same for two nodes lies in one place on that level. */
function prefixes(places: readonly string[]): string[] {
	return places.map((_place, at) => JSON.stringify(places.slice(0, at + 1)));
}
