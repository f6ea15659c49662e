// I10: a finished job never runs again.
//
// Once the control plane has a slot's attempt as `complete`, no container of that slot and that run starts any more,
// on whatever machine; and no attempt's container starts twice. Until then a second attempt is right: whether one that
// went with its machine had done its work, nobody can know.

import type { TaskId } from "../../model/id.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { slotKey } from "../../model/task.ts";
import { broken } from "./broken.ts";

export interface JobWatcher {
	/** Something landed, a decision or a report. */
	note(facts: Snapshot): void;
	started(task: TaskId): void;
}

export function jobWatcher(happened: (what: string) => void): JobWatcher {
	/** Of each attempt, the slot and the run; also of those that the control plane has forgotten. */
	const placeOf = new Map<TaskId, string>();
	const completed = new Map<string, TaskId>();
	const started = new Set<TaskId>();
	return {
		note(facts) {
			for (const task of facts.tasks.values()) {
				if (task.iteration === undefined) continue;
				const place = `${slotKey(task)} run ${task.iteration}`;
				placeOf.set(task.id, place);
				if (task.status.state !== "complete" || completed.has(place)) continue;
				completed.set(place, task.id);
				happened("a job's slot completes");
			}
		},
		started(task) {
			const place = placeOf.get(task);
			if (place === undefined) return;
			if (started.has(task)) broken("I10", `${task} of ${place} starts a second time`);
			started.add(task);
			const first = completed.get(place);
			if (first) broken("I10", `${task} of ${place} starts, which ${first} had completed`);
		},
	};
}
