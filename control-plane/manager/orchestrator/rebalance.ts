// Tasks move to a node that came back, or is new, for services that ask for it: one at a time, and only while all else
// is well with the service. Which move is worth it is balance.ts's to say.

import type { Moment } from "../../../model/change.ts";
import type { NodeId } from "../../../model/id.ts";
import type { Node } from "../../../model/node.ts";
import { isSettled, type Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Draft } from "../draft.ts";
import { overfullNode } from "../scheduler/balance.ts";
import { atOnce, createTask, isUp, meantToRun, retire, slotsOf } from "./slot.ts";

/** A node has to stay so long before anything moves to it: one that comes and goes would have tasks follow it. */
export const calmMs = 60_000;

export function rebalance(draft: Draft, moment: Moment, service: Service): void {
	const { rebalance: order } = service.spec;
	if (!order || service.removing || !isSettled(service)) return;
	const slots = slotsOf(service, draft.tasksOfService(service.id).values());
	for (const slot of slots) {
		const [newest, ...others] = meantToRun(slot);
		if (newest && isUp(newest)) for (const { id } of others) retire(draft, id, "shutdown");
	}
	// What was tried and failed is not tried again: then the slot's newest task is one that has ended.
	const isWell = slots.every(
		({ tasks: [newest] }) => newest?.desired === "running" && isUp(newest),
	);
	if (!isWell || slots.some((slot) => meantToRun(slot).length > 1)) return;
	const from = overfullNode(draft, service, (node) => isCalm(node, moment));
	if (!from) return;
	const slot = slots.findLast(({ tasks: [newest] }) => newest?.node === from);
	const [task] = slot?.tasks ?? [];
	if (!slot || !task) return;
	if (order === "stop-first") retire(draft, task.id, "shutdown");
	createTask(draft, moment, service, slot, {
		...atOnce,
		message: "moves to a node with fewer tasks",
	});
}

/** When a node of those will have stayed long enough, if any service waits for that. */
export function nextCalmMs(
	snapshot: Snapshot,
	{ nowMs }: Moment,
	nodes: Iterable<NodeId>,
): number | null {
	const times = [...nodes]
		.map((id) => snapshot.nodes.get(id))
		.filter((node) => node?.status.state === "ready")
		.map((node) => (node?.status.sinceMs ?? 0) + calmMs)
		.filter((atMs) => atMs > nowMs);
	if (times.length === 0) return null;
	const isAwaited = [...snapshot.services.values()].some(({ spec }) => spec.rebalance);
	return isAwaited ? Math.min(...times) : null;
}

function isCalm({ status }: Node, { nowMs }: Moment): boolean {
	return status.sinceMs + calmMs <= nowMs;
}
