// Jobs: each slot is run until it has completed once, or until its restart policy gives up.
//
// A finished job never runs again. Its tasks say so, slot by slot: the reaper keeps those that completed for as long as
// the run is the service's last, and `job.state` says it of the whole.

import type { Moment } from "../../../model/change.ts";
import type { NodeId } from "../../../model/id.ts";
import type { Node } from "../../../model/node.ts";
import type { JobMode, JobRun, RestartPolicy, Service } from "../../../model/service.ts";
import { isMeantToRun, type Task } from "../../../model/task.ts";
import { isTerminal } from "../../../model/taskstate.ts";
import type { Draft } from "../draft.ts";
import { mayStay } from "../scheduler/schedule.ts";
import { placesOf } from "./place.ts";
import { isToRestart, restartOf } from "./restart.ts";
import { createTask, retire, type Slot, slotsOf } from "./slot.ts";

/** `only` limits the look at nodes without a task to those; tasks that are there are all looked at. */
export function reconcileJob(
	draft: Draft,
	moment: Moment,
	service: Service,
	mode: JobMode,
	only: ReadonlySet<NodeId> | "all",
): void {
	const { job } = service;
	if (!job || job.state === "scheduled") return;
	const work: Work = { draft, moment, service, job, stays: placesOf(draft, service) };
	const slots = slotsOf(service, draft.tasksOfService(service.id).values());
	for (const task of slots.flatMap(({ tasks }) => tasks)) {
		if (!isOfRun(job, task) && isMeantToRun(task)) retire(draft, task.id, "remove");
	}
	const tally =
		mode.kind === "global-job" ? onNodes(work, slots, only) : inSlots(work, slots, mode);
	draft.put({ kind: "put-service", service: { ...service, job: { ...job, ...verdict(tally) } } });

	function verdict({ completed, failed, open }: Tally): Pick<JobRun, "state" | "message"> {
		const message = job?.state === "running" ? job.message : "";
		if (open) return { state: "running", message };
		if (failed.length === 0) return { state: "complete", message: "" };
		const [first] = failed;
		return {
			state: "failed",
			message: `${completed} of ${completed + failed.length} completed, the others failed for good: task ${first?.id}: ${first?.status.error || first?.status.message}`,
		};
	}
}

/** The task is one of those by which a slot of the service's present run is done. */
export function completes({ job }: Service, task: Task): boolean {
	return job !== undefined && isOfRun(job, task) && task.status.state === "complete";
}

const isOfRun = (job: JobRun, task: Task) => task.iteration === job.iteration;

interface Work {
	readonly draft: Draft;
	readonly moment: Moment;
	readonly service: Service;
	readonly job: JobRun;
	readonly stays: (node: NodeId | null) => boolean;
}

interface Tally {
	readonly completed: number;
	/** Of each slot that was given up, the last attempt. */
	readonly failed: readonly Task[];
	/** Something is under way, or still to be begun. */
	readonly open: boolean;
}

function inSlots(work: Work, slots: readonly Slot[], mode: JobMode & { kind: "replicated-job" }) {
	const { draft, job } = work;
	const byNumber = new Map(slots.map((slot) => [slot.number, slot]));
	const failed: Task[] = [];
	const vacant: Slot[] = [];
	let [completed, active] = [0, 0];
	for (let number = 1; number <= mode.totalCompletions; number++) {
		const slot = byNumber.get(number) ?? { number, node: null, tasks: [] };
		byNumber.delete(number);
		const found = mendAttempt(work, slot);
		if (found === "complete") completed++;
		else if (found === "active") active++;
		else if (found === "vacant") vacant.push(slot);
		else failed.push(found);
	}
	for (const { tasks } of byNumber.values()) {
		for (const task of tasks) {
			if (!completes(work.service, task)) retire(draft, task.id, "remove");
		}
	}
	if (job.state !== "running") return { completed, failed, open: false };
	for (const slot of vacant.slice(0, Math.max(0, mode.maxConcurrent - active))) start(work, slot);
	return { completed, failed, open: active + vacant.length > 0 };
}

/** A node that joins later has no part in the run; one that was away or drained has, once it is back. */
function onNodes(work: Work, slots: readonly Slot[], only: ReadonlySet<NodeId> | "all"): Tally {
	const { draft } = work;
	const seen = new Set<NodeId>();
	const failed: Task[] = [];
	let [completed, active] = [0, 0];
	for (const slot of slots) {
		const node = slot.node === null ? undefined : draft.nodes.get(slot.node);
		if (!node) {
			for (const { id } of slot.tasks) retire(draft, id, "remove");
			continue;
		}
		seen.add(node.id);
		const found = mendAttempt(work, slot);
		if (found === "complete") completed++;
		else if (found === "active" || (found === "vacant" && begun(slot, node))) active++;
		else if (found !== "vacant") failed.push(found);
	}
	for (const id of only === "all" ? draft.nodes.keys() : only) {
		const node = draft.nodes.get(id);
		if (!node || seen.has(id)) continue;
		if (begun({ number: 0, node: id, tasks: [] }, node)) active++;
	}
	// None at all is not the same as all of them: some node may come to do. One that is done stays so without its nodes.
	const isUntouched = work.job.state === "running" && completed + failed.length === 0;
	return { completed, failed, open: active > 0 || isUntouched };

	function begun(slot: Slot, node: Node): boolean {
		const { status, spec, createdMs } = node;
		if (createdMs > work.job.startedMs) return false;
		if (status.state !== "ready" || spec.availability !== "active") return false;
		if (!mayStay(draft, work.service, node)) return false;
		start(work, slot);
		return true;
	}
}

/** What ended or lost its place is retired. The last attempt itself is the answer where the policy gives up. */
function mendAttempt(
	{ draft, job, service, stays }: Work,
	{ tasks }: Slot,
): "complete" | "active" | "vacant" | Task {
	const attempts = tasks.filter((task) => isOfRun(job, task));
	const live = attempts.filter(isMeantToRun);
	const isComplete = attempts.some(({ status }) => status.state === "complete");
	const lost = live.filter(
		(task) => isComplete || isTerminal(task.status.state) || !stays(task.node),
	);
	for (const { id } of lost) retire(draft, id, "shutdown");
	if (isComplete) return "complete";
	if (live.length > lost.length) return "active";
	const [last, ...before] = attempts.filter(({ id }) => draft.tasks.has(id));
	if (!last || isToRestart(policyOf(service), [last, ...before])) return "vacant";
	// Told to stop, it may yet end well.
	return isTerminal(last.status.state) ? last : "active";
}

function start({ draft, moment, service, job }: Work, slot: Slot): void {
	const attempts = slot.tasks.filter((task) => isOfRun(job, task));
	const when = attempts.length > 0 && restartOf(policyOf(service), attempts, moment.nowMs);
	createTask(draft, moment, service, slot, when || undefined);
}

/** What ended well is done, whatever the condition. */
function policyOf({ spec }: Service): RestartPolicy {
	const { restart } = spec.template;
	return restart.condition === "any" ? { ...restart, condition: "on-failure" } : restart;
}
