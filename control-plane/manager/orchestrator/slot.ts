// Slots, and the tasks that come and go in them: how one is made, retired, let run.

import type { Moment } from "../../../model/change.ts";
import type { NodeId, TaskId } from "../../../model/id.ts";
import { isGlobal, type Service } from "../../../model/service.ts";
import {
	isHealthy,
	isMeantToRun,
	type Task,
	type TaskStatus,
	unstarted,
} from "../../../model/task.ts";
import { isBefore, isTerminal, type TaskState } from "../../../model/taskstate.ts";
import type { Draft } from "../draft.ts";

/** The place that tasks fill one after the other: a number, or a node in global services (number 0). */
export interface Slot {
	readonly number: number;
	readonly node: NodeId | null;
	/** Newest first. */
	readonly tasks: readonly Task[];
}

/** By number, then by node. */
export function slotsOf(service: Service, tasks: Iterable<Task>): Slot[] {
	const byNode = isGlobal(service.spec.mode);
	const groups = Map.groupBy(tasks, (task) => (byNode ? task.node : task.slot));
	return [...groups]
		.map(([place, group]) => ({
			number: typeof place === "number" ? place : 0,
			node: typeof place === "number" ? null : place,
			tasks: group.sort((a, b) => b.generation - a.generation || (a.id < b.id ? -1 : 1)),
		}))
		.sort((a, b) => a.number - b.number || compareText(a.node ?? "", b.node ?? ""));
}

export const meantToRun = (slot: Slot): Task[] => slot.tasks.filter(isMeantToRun);

/** It does its work, and every node knows. */
export function isUp(task: Task): boolean {
	return task.serving && task.status.state === "running" && isHealthy(task.status);
}

export interface Start {
	/** 0 is at once. */
	readonly afterMs: number;
	readonly message: string;
}

export const atOnce: Start = { afterMs: 0, message: "created" };

/** The slot's next task. It is held back, prepared, while it has to wait for its time or for its predecessors' end. */
export function createTask(
	draft: Draft,
	moment: Moment,
	service: Service,
	slot: Slot,
	start: Start = atOnce,
): void {
	const inTheWay = slot.tasks.some(({ id }) => isWindingDown(draft, id));
	draft.put({
		kind: "put-task",
		task: {
			id: moment.newId() as TaskId,
			service: service.id,
			slot: slot.number,
			node: slot.node,
			templateVersion: service.templateVersion,
			...(service.job && { iteration: service.job.iteration }),
			generation: slot.tasks.reduce((most, { generation }) => Math.max(most, generation), 0) + 1,
			desired: inTheWay || start.afterMs > moment.nowMs ? "ready" : "running",
			attachments: [],
			serving: false,
			tablesRevision: 0,
			released: false,
			createdMs: moment.nowMs,
			startAfterMs: start.afterMs,
			status: { ...unstarted, message: start.message, sinceMs: moment.nowMs },
		},
	});
}

/** It may still run at its slot's address. One that is meant to run has an address of its own beside the next. */
function isWindingDown(draft: Draft, id: TaskId): boolean {
	const task = draft.tasks.get(id);
	return task !== undefined && !isTerminal(task.status.state) && !isMeantToRun(task);
}

/**
 * No longer wanted; forgotten at once where no node ever heard of it. `shutdown` keeps it as its slot's history, `remove` does not. It leaves every node's tables
 * before it is told to stop (serving.ts), unless it is in none.
 */
export function retire(draft: Draft, id: TaskId, desired: "shutdown" | "remove"): void {
	const task = draft.tasks.get(id);
	if (!task) return;
	if (isBefore(task.status.state, "assigned")) {
		draft.put({ kind: "remove-task", id });
		return;
	}
	if (!isBefore(task.desired, desired)) return;
	draft.put({
		kind: "put-task",
		task: {
			...task,
			desired,
			serving: false,
			...(task.serving && { tablesRevision: draft.landing }),
			released: isMeantToRun(task) ? !task.serving : task.released,
		},
	});
}

/** Those that were held back and need not be any more. Their address leads to them from this revision on. */
export function letRun(draft: Draft, { nowMs }: Moment, slots: readonly Slot[]): void {
	for (const slot of slots) {
		for (const task of slot.tasks) {
			if (task.desired !== "ready" || task.startAfterMs > nowMs) continue;
			const older = slot.tasks.filter(({ generation }) => generation < task.generation);
			if (older.some(({ id }) => isWindingDown(draft, id))) continue;
			draft.put({
				kind: "put-task",
				task: {
					...task,
					desired: "running",
					tablesRevision: task.node ? draft.landing : task.tablesRevision,
				},
			});
		}
	}
}

/** A status that the manager gives; of one state, the later one counts. */
export function setStatus(
	draft: Draft,
	{ nowMs }: Moment,
	task: Task,
	words: { readonly state: TaskState; readonly message: string; readonly error: string },
): void {
	const { status } = task;
	const isSame = status.state === words.state;
	if (isSame && status.message === words.message && status.error === words.error) return;
	const next: TaskStatus = {
		...status,
		...words,
		sinceMs: isSame ? status.sinceMs : nowMs,
		observed: isSame ? status.observed + 1 : 0,
	};
	draft.put({ kind: "task-status", id: task.id, status: next });
}

export function compareText(a: string, b: string): number {
	if (a === b) return 0;
	return a < b ? -1 : 1;
}
