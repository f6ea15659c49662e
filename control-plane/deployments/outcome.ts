// What has become of the service that a deployment changed.

import type { Moment } from "../../model/change.ts";
import type { DeploymentOutcome } from "../../model/deployment.ts";
import type { Evidence, Outcome, RolloutFailure } from "../../model/rollout.ts";
import { isJob, type Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun } from "../../model/task.ts";
import { isUp, meantToRun, slotsOf } from "../manager/orchestrator/slot.ts";

export interface Ended {
	readonly outcome: DeploymentOutcome;
	readonly reason: string;
	readonly evidence: Evidence | null;
}

export type Found = { readonly outcome: null; readonly untilMs: number | null } | Ended;

/** What a deployment made of the service, and since when it rolls. */
export interface Rolling {
	readonly template: number;
	readonly sinceMs: number;
}

export function outcomeOf(
	snapshot: Snapshot,
	moment: Moment,
	service: Service,
	rolling: Rolling,
): Found {
	return (
		runOf(service) ??
		rolloutOf(snapshot, moment, service, rolling) ??
		firstTasksOf(snapshot, moment, service, rolling)
	);
}

/** A job's is its run. */
function runOf({ spec, job }: Service): Found | undefined {
	if (!isJob(spec.mode)) return undefined;
	if (job?.state === "complete") return { outcome: "succeeded", reason: "", evidence: null };
	if (job?.state !== "failed") return { outcome: null, untilMs: null };
	return { outcome: "failed", reason: `rollout: ${spec.name}: the job failed`, evidence: null };
}

const outcomes: Readonly<Record<Outcome, DeploymentOutcome>> = {
	succeeded: "succeeded",
	failed: "failed",
	"timed out": "failed",
	"rolled back": "rolled back",
	superseded: "superseded",
};

/** Where nothing goes on for so long, nothing will. The service's own deadline, where it has one, may be shorter. */
const longestMs = 600_000;

/** By the service's own rollout; undefined where none carries it. */
function rolloutOf(
	snapshot: Snapshot,
	{ nowMs }: Moment,
	service: Service,
	{ template, sinceMs }: Rolling,
): Found | undefined {
	const rollout = service.rollouts?.find(
		({ to, startedMs }) => to.templateVersion === template && startedMs >= sinceMs,
	);
	if (!rollout) return undefined;
	if (rollout.outcome === null) {
		const untilMs = rollout.progressedMs + longestMs;
		if (nowMs < untilMs) return { outcome: null, untilMs };
		const why = waitingFor(snapshot, service) || "no task says why";
		const reason = `rollout: no slot was done within ${longestMs / 60_000} minutes: ${why}`;
		return { outcome: "failed", reason, evidence: null };
	}
	const { failure } = rollout;
	const told = [rollout.reason, failure ? tellOf(service, failure) : ""].filter(Boolean);
	const isWell = rollout.outcome === "succeeded";
	return {
		outcome: outcomes[rollout.outcome],
		reason: told.length > 0 && !isWell ? `rollout: ${told.join("; ")}` : "",
		evidence: isWell ? null : (failure?.evidence ?? null),
	};
}

/** What holds up a slot, in the words of its task; empty where nothing does. */
export function waitingFor(snapshot: Snapshot, { id }: Pick<Service, "id">): string {
	const tasks = [...snapshot.tasksOfService(id).values()].filter(isMeantToRun);
	return tasks.find((task) => !isUp(task) && task.status.error !== "")?.status.error ?? "";
}

function tellOf({ spec }: Service, { slot, error, exitCode }: RolloutFailure): string {
	const what = slot > 0 ? `${spec.name}.${slot}` : spec.name;
	return `${what}: ${error || `exit code ${exitCode}`}`;
}

/** A service's first tasks are no rollout: they come up, or fail again and again. */
const mostFailures = 3;

function firstTasksOf(
	snapshot: Snapshot,
	{ nowMs }: Moment,
	service: Service,
	{ template, sinceMs: startedMs }: Rolling,
): Found {
	const tasks = [...snapshot.tasksOfService(service.id).values()].filter(
		({ templateVersion }) => templateVersion === template,
	);
	const slots = slotsOf(service, tasks)
		.map(meantToRun)
		.filter((slot) => slot.length > 0);
	const isQuiet = service.updateStatus?.state !== "updating";
	const areUp = slots.every((slot) => slot.some(isUp));
	const { mode } = service.spec;
	const isEmpty = mode.kind === "replicated" && mode.replicas === 0;
	if (isQuiet && areUp && (slots.length > 0 || isEmpty)) {
		const sinceMs = Math.max(0, ...slots.flat().map(({ status }) => status.sinceMs));
		const untilMs = sinceMs + service.spec.update.monitorMs;
		if (untilMs > nowMs) return { outcome: null, untilMs };
		return { outcome: "succeeded", reason: "", evidence: null };
	}
	const untilMs = startedMs + longestMs;
	const failed = tasks
		.filter(({ status }) => status.state === "failed" || status.state === "rejected")
		.toSorted((a, b) => b.status.sinceMs - a.status.sinceMs);
	const [last] = failed;
	const hasFailed = failed.length >= mostFailures && !slots.some((slot) => slot.some(isUp));
	if (!hasFailed && nowMs < untilMs) return { outcome: null, untilMs };
	const waiting = slots.flat().find(({ status }) => status.error !== "");
	const why =
		last?.status.error || waiting?.status.error || `not up within ${longestMs / 60_000} minutes`;
	return {
		outcome: "failed",
		reason: `rollout: ${why}`,
		evidence: last?.status.evidence ?? null,
	};
}
