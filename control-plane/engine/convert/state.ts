// The state of a task as its users see it.

import type { Task } from "../../../model/task.ts";
import { isBefore, type TaskState } from "../../../model/taskstate.ts";

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
