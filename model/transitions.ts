// Who may move a task into which state. Every state has exactly one owner; `checks.ts` and the tests hold us to it.

import type { TaskState } from "./taskstate.ts";

export type Owner = "manager" | "agent";

/** `remove` is a wish (desired state) only; no task is ever in it. `orphaned` is given by liveness alone. */
export const ownerOf: Readonly<Record<TaskState, Owner>> = {
	new: "manager",
	pending: "manager",
	assigned: "manager",
	accepted: "agent",
	preparing: "agent",
	ready: "agent",
	starting: "agent",
	running: "agent",
	complete: "agent",
	shutdown: "agent",
	failed: "agent",
	rejected: "agent",
	remove: "manager",
	orphaned: "manager",
};
