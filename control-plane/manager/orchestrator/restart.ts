// What follows when a slot's task has ended or lost its place: another one, when, or none.

import type { RestartPolicy } from "../../../model/service.ts";
import type { Task } from "../../../model/task.ts";
import type { TaskState } from "../../../model/taskstate.ts";
import { atOnce, type Start } from "./slot.ts";

/** A task that ends sooner than this after its start has failed quickly. */
const quickMs = 30_000;
const longestBackOffMs = 60_000;
const shortestBackOffMs = 1_000;

/**
 * Whether the slot's newest task is to have a successor. Attempts are counted back from that task's own end, so that
 * the answer does not change as time goes by.
 */
export function isToRestart(policy: RestartPolicy, tasks: readonly Task[]): boolean {
	const [ended] = tasks;
	if (!ended || policy.condition === "none") return ended === undefined;
	if (policy.condition === "on-failure" && ended.status.state === "complete") return false;
	if (policy.maxAttempts === 0 || !endedByItself(ended)) return true;
	const sinceMs = policy.windowMs > 0 ? ended.status.sinceMs - policy.windowMs : 0;
	const attempts = tasks.filter(
		(task) =>
			task !== ended &&
			task.templateVersion === ended.templateVersion &&
			endedByItself(task) &&
			task.status.sinceMs >= sinceMs,
	);
	return attempts.length < policy.maxAttempts;
}

/**
 * A slot that keeps ending soon after its start waits twice as long each time, up to a minute: an image that cannot
 * be pulled, or a program that cannot start, must not keep the whole cluster busy.
 */
export function restartOf(policy: RestartPolicy, tasks: readonly Task[], nowMs: number): Start {
	const [ended, before] = tasks;
	if (!ended || !endedByItself(ended)) return atOnce;
	const lastDelayMs = Math.max(0, ended.startAfterMs - ended.createdMs);
	const ranMs = nowMs - Math.max(ended.createdMs, ended.startAfterMs);
	const isAgain = lastDelayMs > 0 || (before !== undefined && endedByItself(before));
	if (ranMs >= quickMs || !isAgain) return afterDelay(policy.delayMs, nowMs, "restarts");
	const delayMs = Math.max(
		policy.delayMs,
		Math.min(longestBackOffMs, Math.max(shortestBackOffMs, lastDelayMs * 2)),
	);
	return afterDelay(delayMs, nowMs, "its last tasks ended soon after their start: the next starts");
}

function afterDelay(delayMs: number, nowMs: number, what: string): Start {
	if (delayMs === 0) return { ...atOnce, message: `${what} at once` };
	return { ...atOnce, afterMs: nowMs + delayMs, message: `${what} in ${delayMs / 1000} s` };
}

const ownEnds: readonly TaskState[] = ["complete", "failed", "rejected"];

/** Not because it was told to, and not because its node went. */
export function endedByItself({ status }: Task): boolean {
	return ownEnds.includes(status.state);
}
