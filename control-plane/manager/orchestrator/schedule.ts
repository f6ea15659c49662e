// Jobs that run by the clock: what is due starts a run, once, and the next due time is noted.
//
// The due time is kept with the service, so whoever plans finds it there: of two who plan at once only one's revision
// lands, and the other then finds that nothing is due any more.

import type { Moment } from "../../../model/change.ts";
import { nextDueMs, type Schedule, scheduleOf } from "../../../model/schedule.ts";
import type { JobRun, Service } from "../../../model/service.ts";
import { isMeantToRun } from "../../../model/task.ts";
import type { Draft } from "../draft.ts";
import { begin } from "./run.ts";

/** A due time that is found so much later was missed: nobody was there to plan. */
const missedMs = 60_000;

export function keepSchedule(draft: Draft, { nowMs }: Moment, service: Service): void {
	const { job } = service;
	if (!job) return;
	const schedule = scheduleOf(service.spec.labels);
	const isBusy = [...draft.tasksOfService(service.id).values()].some(
		(task) => task.iteration === job.iteration && isMeantToRun(task),
	);
	const next = schedule ? afterClock(job, schedule, isBusy, nowMs) : { ...job, nextMs: null };
	draft.put({ kind: "put-service", service: { ...service, job: next } });
}

function afterClock(job: JobRun, schedule: Schedule, isBusy: boolean, nowMs: number): JobRun {
	const dueMs = job.nextMs;
	if (dueMs !== null && dueMs > nowMs) return job;
	// The last due time of all has passed, and with it its run.
	if (dueMs === null && job.state !== "scheduled" && nextDueMs(schedule, nowMs) === null)
		return job;
	const waiting = { ...job, nextMs: nextDueMs(schedule, nowMs) };
	if (dueMs === null) return waiting;
	const at = timeOf(dueMs);
	if (schedule.catchup === "none" && isMissed(schedule, dueMs, nowMs)) {
		return { ...waiting, message: `the run due at ${at} was left out: it was noticed too late` };
	}
	if (isBusy && schedule.overlap === "skip") {
		return { ...waiting, message: `the run due at ${at} was left out: the one before still runs` };
	}
	return begin(waiting, nowMs);
}

/** However many have passed since, the last of them may be in time. */
function isMissed(schedule: Schedule, dueMs: number, nowMs: number): boolean {
	if (dueMs > nowMs - missedMs) return false;
	const lastMs = nextDueMs(schedule, nowMs - missedMs);
	return lastMs === null || lastMs > nowMs;
}

const timeOf = (ms: number) => new Date(ms).toISOString();
