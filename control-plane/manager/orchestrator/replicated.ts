// Replicated services: as many slots as the spec asks for, and in each a task that is meant to run.
//
// Never picks a node (schedule.ts), replaces what is out of date (update.ts) or forgets a task (reaper.ts).

import type { Moment } from "../../../model/change.ts";
import type { Service } from "../../../model/service.ts";
import type { Draft } from "../draft.ts";
import { mend } from "./mend.ts";
import { placesOf } from "./place.ts";
import { createTask, retire, type Slot, slotsOf } from "./slot.ts";

export function reconcileReplicated(
	draft: Draft,
	moment: Moment,
	service: Service,
	replicas: number,
): void {
	const slots = () => slotsOf(service, draft.tasksOfService(service.id).values());
	const mayStay = placesOf(draft, service);
	const vacant = new Map<number, Slot>();
	for (const slot of slots()) {
		if (mend(draft, moment, service, slot, mayStay) === "vacant") vacant.set(slot.number, slot);
	}
	const taken = slots().filter(({ number }) => !vacant.has(number));
	const missing = replicas - taken.length;
	for (const number of freeNumbers(taken, missing)) {
		const slot = vacant.get(number) ?? { number, node: null, tasks: [] };
		createTask(draft, moment, service, slot);
		vacant.delete(number);
	}
	for (const slot of [...surplus(taken, -missing), ...vacant.values()]) {
		for (const { id } of slot.tasks) retire(draft, id, "remove");
	}
}

/** The lowest numbers that nobody has. */
function freeNumbers(taken: readonly Slot[], count: number): number[] {
	const numbers = new Set(taken.map(({ number }) => number));
	const free: number[] = [];
	for (let number = 1; free.length < count; number++) if (!numbers.has(number)) free.push(number);
	return free;
}

/** Gives up slots that run nothing before slots that run, then the highest number: leaders sit in low slots. */
function surplus(taken: readonly Slot[], count: number): Slot[] {
	if (count <= 0) return [];
	const runs = ({ tasks }: Slot) =>
		Number(tasks.some((task) => task.desired === "running" && task.status.state === "running"));
	return taken
		.map((slot) => ({ slot, runs: runs(slot) }))
		.sort((a, b) => a.runs - b.runs || b.slot.number - a.slot.number)
		.slice(0, count)
		.map(({ slot }) => slot);
}
