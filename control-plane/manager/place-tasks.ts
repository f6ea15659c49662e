// Waiting tasks go to the nodes that the scheduler picks, or are told why none will do.

import type { Moment } from "../../model/change.ts";
import type { NodeId } from "../../model/id.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun, type Task } from "../../model/task.ts";
import { admit, pendingMessage } from "./allocator/allocate.ts";
import type { Draft } from "./draft.ts";
import { compareText, setStatus } from "./orchestrator/slot.ts";
import { type Placed, schedule, scheduleOn, type Unplaced } from "./scheduler/schedule.ts";

export function placeTasks(draft: Draft, moment: Moment): void {
	const waiting = [...draft.unsettled.tasks.values()]
		.filter((task) => task.status.state === "pending" && isMeantToRun(task))
		.filter((task) => hasAddresses(draft, task))
		.sort(
			(a, b) =>
				a.createdMs - b.createdMs ||
				compareText(a.service, b.service) ||
				a.slot - b.slot ||
				compareText(a.node ?? "", b.node ?? ""),
		);
	for (const task of waiting) {
		if (task.node === null) continue;
		settle(draft, moment, task, outcomeOn(draft, task, task.node));
	}
	const free = waiting.filter((task) => task.node === null);
	if (free.length === 0) return;
	const outcomes = schedule(draft, free);
	for (const task of free) {
		const outcome = outcomes.get(task.id);
		if (outcome) settle(draft, moment, task, outcome);
	}
}

/** A task of a global service, whose node is given. */
function outcomeOn(draft: Draft, task: Task, id: NodeId): Placed | Unplaced {
	const service = draft.services.get(task.service);
	const node = draft.nodes.get(id);
	return service && node
		? scheduleOn(draft, service, node)
		: { kind: "unplaced", reason: "its node was removed" };
}

/** Without them the allocator has said why it waits. */
function hasAddresses(snapshot: Snapshot, task: Task): boolean {
	if (task.attachments.length > 0) return true;
	const template = snapshot.template(task.service, task.templateVersion);
	if (!template || template.template.networks.length > 0) return false;
	const ports = snapshot.services.get(task.service)?.ports ?? [];
	return ports.every(({ mode }) => mode === "host");
}

function settle(draft: Draft, moment: Moment, task: Task, outcome: Placed | Unplaced): void {
	if (outcome.kind === "unplaced") {
		keepWaiting(draft, moment, task, outcome.reason);
		return;
	}
	const { kind: _placed, ...place } = outcome;
	const reason = admit(draft, task, place.node);
	if (reason !== undefined) {
		keepWaiting(draft, moment, task, reason);
		return;
	}
	draft.put({ kind: "put-task", task: { ...task, ...place, tablesRevision: draft.landing } });
	const assigned = draft.tasks.get(task.id);
	if (!assigned) return;
	setStatus(draft, moment, assigned, {
		state: "assigned",
		message: "scheduler assigned task to node",
		error: "",
	});
}

function keepWaiting(draft: Draft, moment: Moment, task: Task, error: string): void {
	setStatus(draft, moment, task, { state: "pending", message: pendingMessage, error });
}
