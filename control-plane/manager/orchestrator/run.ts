// A job's runs: when there is a first, and when a change of the spec is a reason for another.
//
// What is due by the clock is schedule.ts's; what a run makes of its tasks is job.ts's.

import { isAboutSchedules } from "../../../model/schedule.ts";
import { isJob, type JobRun, type Service, type ServiceSpec } from "../../../model/service.ts";
import { same } from "../same.ts";

/** Undefined for what is no job. A job with a schedule waits for its first due time. */
export function firstRun(spec: ServiceSpec, nowMs: number): JobRun | undefined {
	if (!isJob(spec.mode)) return undefined;
	const none: JobRun = {
		iteration: 0,
		state: "scheduled",
		startedMs: 0,
		message: "",
		nextMs: null,
	};
	return hasSchedule(spec) ? none : begin(none, nowMs);
}

/**
 * A new spec is run at once, as Docker does it, and so is `--force`. The same spec once more is not: what is finished
 * stays so. A schedule says when to run: beside one only `--force` is a reason to run at once.
 */
export function runAfterUpdate(
	{ job, spec: old }: Service,
	spec: ServiceSpec,
	nowMs: number,
): JobRun | undefined {
	if (!job) return firstRun(spec, nowMs);
	const kept = same(scheduleLabels(old), scheduleLabels(spec)) ? job : { ...job, nextMs: null };
	const isForced = old.template.forceUpdate !== spec.template.forceUpdate;
	const isByClock = hasSchedule(old) || hasSchedule(spec);
	return isForced || (!isByClock && !same(old, spec)) ? begin(kept, nowMs) : kept;
}

export function begin(job: JobRun, nowMs: number): JobRun {
	return {
		...job,
		iteration: job.state === "scheduled" ? job.iteration : job.iteration + 1,
		state: "running",
		startedMs: nowMs,
		message: "",
	};
}

function scheduleLabels({ labels }: ServiceSpec): Record<string, string> {
	return Object.fromEntries(Object.entries(labels).filter(([label]) => isAboutSchedules(label)));
}

const hasSchedule = (spec: ServiceSpec) => Object.keys(spec.labels).some(isAboutSchedules);
