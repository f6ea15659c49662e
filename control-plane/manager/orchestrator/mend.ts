// One slot: what has ended or lost its place is retired, and has a successor if the restart policy says so.

import type { Moment } from "../../../model/change.ts";
import type { NodeId } from "../../../model/id.ts";
import type { Service } from "../../../model/service.ts";
import { isTerminal } from "../../../model/taskstate.ts";
import type { Draft } from "../draft.ts";
import { isDirty } from "./dirty.ts";
import { isToRestart, restartOf } from "./restart.ts";
import { createTask, meantToRun, retire, type Slot } from "./slot.ts";

/**
 * `filled`: a task is meant to run in it. `done`: its last one ended, and by the policy that was the last. `vacant`:
 * nobody fills it; whether somebody should is the caller's to say.
 */
export type Filling = "filled" | "done" | "vacant";

export function mend(
	draft: Draft,
	moment: Moment,
	service: Service,
	slot: Slot,
	mayStay: (node: NodeId | null) => boolean,
): Filling {
	const live = meantToRun(slot);
	const lost = live.filter((task) => isTerminal(task.status.state) || !mayStay(task.node));
	for (const { id } of lost) retire(draft, id, "shutdown");
	if (live.length > lost.length) return "filled";
	const [newest] = slot.tasks;
	const { restart } = service.spec.template;
	if (!newest || newest.desired === "remove") return "vacant";
	if (lost.length === 0) {
		return isDirty(service, newest) || isToRestart(restart, slot.tasks) ? "vacant" : "done";
	}
	if (!isToRestart(restart, slot.tasks)) return "done";
	// A slot of a global service is a node, and whether that is to have a task is the caller's to say.
	if (slot.node !== null && !mayStay(slot.node)) return "vacant";
	createTask(draft, moment, service, slot, restartOf(restart, slot.tasks, moment.nowMs));
	return "filled";
}
