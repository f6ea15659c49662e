// The state of a task as its users see it.

import { nodeName } from "../../../model/node.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import { isBefore, type TaskState } from "../../../model/taskstate.ts";
import { laggards } from "../../manager/serving.ts";

/**
 * `running` is what users, progress bars and scripts wait for, so it means that the task answers: its health check
 * passed and every node's tables lead to it. Until then it is starting, whatever its process does.
 */
export function shownState(task: Task): TaskState {
	const { state, health } = task.status;
	const meantToRun = !isBefore("running", task.desired);
	if (state !== "running" || !meantToRun) return state;
	return health === "starting" || !task.serving ? "starting" : "running";
}

/** A job's task is meant to end, and that it ended well is no reason to say that it was told to stop. */
export function shownDesired({ desired, iteration, status }: Task): TaskState {
	if (iteration === undefined) return desired;
	const isDone = desired === "shutdown" && status.state === "complete";
	return desired === "running" || isDone ? "complete" : desired;
}

/** What a task whose process runs still waits for, in words; empty if nothing. */
export function waitsFor(task: Task, snapshot: Snapshot): string {
	if (task.status.state !== "running" || shownState(task) === "running") return "";
	if (task.status.health === "starting") return "started, waiting for its health check";
	const lagging = laggards(snapshot, task);
	if (lagging.length === 0) return "started, about to serve";
	return `started, waiting for ${lagging.map(nodeName).join(", ")} to know its address`;
}

/** Whether a task's start is put off for longer than its restart policy asks, in words; empty if not. */
export function backsOff(task: Task, restartDelayMs: number, nowMs: number): string {
	const delayMs = task.startAfterMs - task.createdMs;
	if (task.desired !== "ready" || task.startAfterMs <= nowMs || delayMs <= restartDelayMs)
		return "";
	return `its last tasks ended soon after their start: the next starts in ${delayMs / 1000} s`;
}
