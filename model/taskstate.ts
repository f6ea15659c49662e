// The life of a task, as one total order. A task only ever moves up it, so late and repeated reports do no harm.
//
// The states and their order are Docker's (api/types, TaskState). Ranks leave gaps for states to come.

export const rankOf = {
	new: 0,
	pending: 64,
	assigned: 192,
	accepted: 256,
	preparing: 320,
	ready: 384,
	starting: 448,
	running: 512,
	complete: 576,
	shutdown: 640,
	failed: 704,
	rejected: 768,
	remove: 800,
	orphaned: 832,
} as const;

export type TaskState = keyof typeof rankOf;

export const taskStates = Object.keys(rankOf) as TaskState[];

export function isBefore(a: TaskState, b: TaskState): boolean {
	return rankOf[a] < rankOf[b];
}

/** It will never run again: it finished, failed, was stopped, refused or written off. */
export function isTerminal(state: TaskState): boolean {
	return rankOf[state] > rankOf.running;
}
