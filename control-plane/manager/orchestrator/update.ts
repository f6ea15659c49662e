// Rolling updates: tasks of an older template give way to new ones, a few slots at a time.
//
// Keeps no book: what is under way is read from the tasks, so any planner can go on where another stopped. The order
// of `updateStatus` is what progress bars wait for: null when the spec is stored, `updating`, then `completed`.

import type { Moment } from "../../../model/change.ts";
import type { Service, UpdatePolicy, UpdateStatus } from "../../../model/service.ts";
import { isHealthy, type Task } from "../../../model/task.ts";
import type { Draft } from "../draft.ts";
import { same } from "../same.ts";
import { isDirty } from "./dirty.ts";
import { restartOf } from "./restart.ts";
import { createTask, meantToRun, retire, type Slot, slotsOf } from "./slot.ts";

export function updateService(draft: Draft, moment: Moment, service: Service): void {
	const view = viewOf(draft, service);
	const { nowMs } = moment;
	if (!view) {
		const slots = slotsOf(service, draft.tasksOfService(service.id).values());
		const isDue = slots.some((slot) => meantToRun(slot).some((task) => isDirty(service, task)));
		if (!isDue || isHalted(service)) return;
		setUpdateStatus(draft, service, {
			state: "updating",
			startedMs: nowMs,
			completedMs: null,
			message: "update in progress",
		});
		const started = draft.services.get(service.id);
		if (started) updateService(draft, moment, started);
		return;
	}
	const failed = failureOf(view);
	if (failed && view.policy.failureAction !== "continue") {
		halt(draft, moment, service, view, failed);
		return;
	}
	let free = view.policy.parallelism === 0 ? Number.POSITIVE_INFINITY : view.policy.parallelism;
	for (const slot of view.slots) {
		// Slots that are merely new cost nobody anything: they do not hold up the others.
		if (slot.tasks.length > 1 && stageOf(view, slot, nowMs).kind === "underway") free--;
		finishStartFirst(draft, service, slot);
	}
	for (const slot of view.slots) {
		if (free <= 0) break;
		if (stageOf(view, slot, nowMs).kind !== "dirty") continue;
		replace(draft, moment, service, slot, view.policy);
		free--;
	}
	if (restsAtMs(view, nowMs) !== null) return;
	if (!view.slots.every((slot) => stageOf(view, slot, nowMs).kind === "clean")) return;
	const { status } = view;
	const isRollback = status.state === "rollback_started";
	setUpdateStatus(draft, service, {
		...status,
		state: isRollback ? "rollback_completed" : "completed",
		completedMs: nowMs,
		message: isRollback ? "rollback completed" : "update completed",
	});
}

/** When time alone lets the update go on: a delay or the watch over the last slots is over. Null for never. */
export function nextUpdateMs(draft: Draft, service: Service, nowMs: number): number | null {
	const view = viewOf(draft, service);
	if (!view) return null;
	const rests = view.slots
		.map((slot) => stageOf(view, slot, nowMs))
		.filter((stage) => stage.kind === "underway")
		.map(({ untilMs }) => untilMs)
		.filter((untilMs) => untilMs !== null);
	const whole = restsAtMs(view, nowMs);
	const times = whole === null ? rests : [...rests, whole];
	return times.length > 0 ? Math.min(...times) : null;
}

interface View {
	readonly service: Service;
	readonly status: UpdateStatus;
	readonly policy: UpdatePolicy;
	/** Those in which a task is meant to run. */
	readonly slots: readonly Slot[];
	readonly all: readonly Slot[];
}

/** Undefined unless an update is under way. */
function viewOf(draft: Draft, service: Service): View | undefined {
	const { updateStatus: status, spec } = service;
	if (status?.state !== "updating" && status?.state !== "rollback_started") return undefined;
	const all = slotsOf(service, draft.tasksOfService(service.id).values());
	return {
		service,
		status,
		policy: status.state === "updating" ? spec.update : spec.rollback,
		slots: all.filter((slot) => meantToRun(slot).length > 0),
		all,
	};
}

function isHalted({ updateStatus }: Service): boolean {
	return updateStatus?.state === "paused" || updateStatus?.state === "rollback_paused";
}

type Stage =
	| { readonly kind: "dirty" | "clean" }
	/** `untilMs`: it serves, and only the delay before the next slot is still to pass. */
	| { readonly kind: "underway"; readonly untilMs: number | null };

function stageOf({ service, status, policy }: View, slot: Slot, nowMs: number): Stage {
	const live = meantToRun(slot);
	const clean = live.find((task) => !isDirty(service, task));
	if (!clean) return { kind: "dirty" };
	if (live.length > 1) return { kind: "underway", untilMs: null };
	if (clean.createdMs < status.startedMs) return { kind: "clean" };
	if (!isUp(clean)) return { kind: "underway", untilMs: null };
	const untilMs = upSinceMs(clean, nowMs) + policy.delayMs;
	return untilMs > nowMs ? { kind: "underway", untilMs } : { kind: "clean" };
}

/** It does its work, and every node knows. */
function isUp(task: Task): boolean {
	return task.serving && task.status.state === "running" && isHealthy(task.status);
}

/** By the node's clock, which may be ahead of ours. */
const upSinceMs = ({ status }: Task, nowMs: number) => Math.min(status.sinceMs, nowMs);

/** The end of the watch over what was updated last; null when it is over, or when nothing would follow from it. */
function restsAtMs({ service, status, policy, slots }: View, nowMs: number): number | null {
	if (policy.failureAction === "continue") return null;
	const ends = slots
		.flatMap(meantToRun)
		.filter((task) => !isDirty(service, task) && task.createdMs >= status.startedMs)
		.filter(isUp)
		.map((task) => upSinceMs(task, nowMs) + policy.monitorMs)
		.filter((endMs) => endMs > nowMs);
	return ends.length > 0 ? Math.max(...ends) : null;
}

/** A task that went wrong under the new template, once too many slots had one. */
function failureOf({ service, status, policy, all }: View): Task | undefined {
	const failures = all.flatMap(({ tasks }) => {
		const failed = tasks.find(
			(task) =>
				!isDirty(service, task) &&
				task.createdMs >= status.startedMs &&
				(task.status.state === "failed" || task.status.state === "rejected"),
		);
		return failed ? [failed] : [];
	});
	return failures.length > policy.maxFailureRatio * all.length ? failures[0] : undefined;
}

function replace(
	draft: Draft,
	moment: Moment,
	service: Service,
	slot: Slot,
	{ order }: UpdatePolicy,
): void {
	const live = meantToRun(slot);
	const upThere = order === "start-first" ? live.find(isUp) : undefined;
	// Beside the one that is up; an update that was overtaken by this one may have left a second.
	for (const task of live) if (task !== upThere) retire(draft, task.id, "shutdown");
	const before = slot.tasks.filter((task) => !isDirty(service, task));
	// What failed beside the old one is tried again, at the pace of restarts.
	const start = upThere && restartOf(service.spec.template.restart, before, moment.nowMs);
	createTask(draft, moment, service, slot, start);
}

/** The old one goes once the new one serves in its stead. */
function finishStartFirst(draft: Draft, service: Service, slot: Slot): void {
	const live = meantToRun(slot);
	const clean = live.find((task) => !isDirty(service, task));
	if (!clean || live.length < 2 || !isUp(clean)) return;
	for (const task of live) if (isDirty(service, task)) retire(draft, task.id, "shutdown");
}

function halt(draft: Draft, moment: Moment, service: Service, view: View, failed: Task): void {
	const isRollback = view.status.state === "rollback_started";
	const cause = `due to failure or early termination of task ${failed.id}`;
	if (!isRollback && view.policy.failureAction === "rollback" && service.previous) {
		rollBack(draft, moment, service, service.previous, `update rolled back ${cause}`);
		return;
	}
	setUpdateStatus(draft, service, {
		...view.status,
		state: isRollback ? "rollback_paused" : "paused",
		message: isRollback ? `rollback paused ${cause}` : `update paused ${cause}`,
	});
}

function rollBack(
	draft: Draft,
	{ nowMs }: Moment,
	service: Service,
	previous: NonNullable<Service["previous"]>,
	message: string,
): void {
	const { spec, document } = previous;
	const hostPorts = spec.ports.filter(({ mode }) => mode === "host");
	const templates = draft.templatesOfService(service.id);
	// Slots that were not updated yet still run it, and are left alone.
	const kept = templates.find(
		(old) => same(old.template, spec.template) && same(old.hostPorts, hostPorts),
	);
	const version = kept?.version ?? Math.max(...templates.map((each) => each.version)) + 1;
	if (!kept) {
		const { TaskTemplate: ofTask = {} } = document as { TaskTemplate?: TemplateDocument };
		draft.put({
			kind: "put-template",
			template: {
				service: service.id,
				version,
				template: spec.template,
				hostPorts,
				document: ofTask,
			},
		});
	}
	draft.put({
		kind: "put-service",
		service: {
			...service,
			spec,
			document,
			specVersion: service.specVersion + 1,
			templateVersion: version,
			previous: { spec: service.spec, document: service.document },
			ports: spec.ports,
			updateStatus: { state: "rollback_started", startedMs: nowMs, completedMs: null, message },
			updatedMs: nowMs,
		},
	});
}

type TemplateDocument = Service["document"];

function setUpdateStatus(draft: Draft, service: Service, updateStatus: UpdateStatus): void {
	draft.put({ kind: "put-service", service: { ...service, updateStatus } });
}
