// Jobs between Docker's JSON and ours: their mode, how far they are, and what is refused of them.
//
// Docker counts the slots of a replicated job from 0, which the CLI's progress bars count on; we count all from 1.

import { checkSchedule } from "../../../model/schedule.ts";
import type { Document, JobMode, Mode, Service } from "../../../model/service.ts";
import { isJob } from "../../../model/service.ts";
import type { Task } from "../../../model/task.ts";
import { badArgument } from "../errors.ts";
import type { ServiceDocument, UpdateDocument } from "./document.ts";
import { timestamp } from "./time.ts";

type ModeDocument = NonNullable<ServiceDocument["Mode"]>;

/** Undefined for what is no job. */
export function jobModeOf({
	ReplicatedJob,
	GlobalJob,
}: Pick<ModeDocument, "ReplicatedJob" | "GlobalJob">): JobMode | undefined {
	if (GlobalJob) return { kind: "global-job" };
	if (!ReplicatedJob) return undefined;
	const { MaxConcurrent: maxConcurrent = 1, TotalCompletions: totalCompletions = maxConcurrent } =
		ReplicatedJob;
	if (maxConcurrent === 0 && totalCompletions > 0) {
		throw badArgument(
			"Mode.ReplicatedJob.MaxConcurrent is 0, so that nothing would ever run: 1 at least (--max-concurrent)",
		);
	}
	return { kind: "replicated-job", totalCompletions, maxConcurrent };
}

export function showJob(mode: JobMode): ModeDocument {
	if (mode.kind === "global-job") return { GlobalJob: {} };
	const { maxConcurrent, totalCompletions } = mode;
	return { ReplicatedJob: { MaxConcurrent: maxConcurrent, TotalCompletions: totalCompletions } };
}

export function checkJob(
	mode: Mode,
	labels: Readonly<Record<string, string>>,
	update: UpdateDocument | undefined,
	nowMs: number,
): void {
	if (isJob(mode) && update) throw badArgument("Jobs may not have an update config");
	if (checkSchedule(labels, nowMs) && !isJob(mode)) {
		throw badArgument(
			"label skein.schedule is for jobs: use --mode replicated-job or --mode global-job",
		);
	}
}

/**
 * How the last run is. `UpdateStatus` is what clients watch: `paused` ends `docker service create` with an error, once
 * the run has failed for good; `completed` ends it at once where only the clock will start the next run.
 */
export function showJobStatus(service: Service): Document {
	const { job, createdMs } = service;
	if (!job) return {};
	return {
		JobStatus: {
			JobIteration: showIteration(job.iteration),
			...(job.startedMs > 0 && { LastExecution: timestamp(job.startedMs) }),
		},
		...showOutcome(service, job, job.startedMs || createdMs),
	};
}

function showOutcome(
	{ spec }: Service,
	job: NonNullable<Service["job"]>,
	startedMs: number,
): Document {
	const StartedAt = timestamp(startedMs);
	if (job.state === "failed") {
		return { UpdateStatus: { State: "paused", StartedAt, Message: `job failed: ${job.message}` } };
	}
	if (job.nextMs === null || job.state === "running") return {};
	const next = `${spec.name} runs next at ${new Date(job.nextMs).toISOString()}`;
	const Message = job.message === "" ? next : `${next}; ${job.message}`;
	return { UpdateStatus: { State: "completed", StartedAt, Message } };
}

/** Docker leaves out a zero. */
export function showIteration(iteration: number): Document {
	return iteration > 0 ? { Index: iteration } : {};
}

export function shownSlot({ slot }: Task, mode: Mode | undefined): number {
	return mode?.kind === "replicated-job" ? slot - 1 : slot;
}

/** `docker service ls` shows `running/desired (completed/total completed)`; the total of a global job is the sum of both. */
export function tallyOf({ job }: Service, mode: JobMode, tasks: readonly Task[]): Document {
	const ofRun = tasks.filter((task) => task.iteration === job?.iteration);
	const completed = ofRun.filter(({ status }) => status.state === "complete").length;
	const nodes = new Set(ofRun.map(({ node }) => node));
	return {
		DesiredTasks:
			mode.kind === "global-job"
				? nodes.size - completed
				: Math.min(mode.maxConcurrent, Math.max(0, mode.totalCompletions - completed)),
		CompletedTasks: completed,
	};
}
