// Global services: on every node that will do, a task that is meant to run.
//
// The node is the slot. Which nodes will do is the scheduler's to say; a node that only lacks room gets a task that
// waits there and says so.

import type { Moment } from "../../../model/change.ts";
import type { NodeId } from "../../../model/id.ts";
import { isToBeEmptied, type Node } from "../../../model/node.ts";
import type { Service } from "../../../model/service.ts";
import type { Draft } from "../draft.ts";
import { mayStay } from "../scheduler/schedule.ts";
import { mend } from "./mend.ts";
import { placesOf } from "./place.ts";
import { createTask, retire, type Slot, slotsOf } from "./slot.ts";

/** `only` limits the look at nodes without a task to those; tasks that are there are all looked at. */
export function reconcileGlobal(
	draft: Draft,
	moment: Moment,
	service: Service,
	only: ReadonlySet<NodeId> | "all",
): void {
	const stays = placesOf(draft, service);
	const seen = new Set<NodeId>();
	for (const slot of slotsOf(service, draft.tasksOfService(service.id).values())) {
		if (slot.node) seen.add(slot.node);
		const node = slot.node && draft.nodes.get(slot.node);
		const filling = mend(draft, moment, service, slot, stays);
		if (!node) for (const { id } of slot.tasks) retire(draft, id, "remove");
		else if (filling === "vacant") fill(draft, moment, service, slot, node);
	}
	const nodes = only === "all" ? draft.nodes.keys() : only;
	for (const id of nodes) {
		const node = draft.nodes.get(id);
		if (!node || seen.has(id)) continue;
		fill(draft, moment, service, { number: 0, node: id, tasks: [] }, node);
	}
}

function fill(draft: Draft, moment: Moment, service: Service, slot: Slot, node: Node): void {
	const { status, spec } = node;
	if (status.state !== "ready" || spec.availability !== "active" || isToBeEmptied(node)) return;
	if (mayStay(draft, service, node)) createTask(draft, moment, service, slot);
}
