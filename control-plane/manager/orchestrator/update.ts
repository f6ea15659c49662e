// Rolling updates: tasks of an older template give way to new ones, a few slots at a time.
//
// Keeps no book: what is under way is read from the tasks, so any planner can go on where another stopped. The order
// of `updateStatus` is what progress bars wait for: null when the spec is stored, `updating`, then `completed`.

import type { Moment } from "../../../model/change.ts";
import type { NodeId } from "../../../model/id.ts";
import { deadlineLabel } from "../../../model/labels.ts";
import { nodeName } from "../../../model/node.ts";
import type { Outcome } from "../../../model/rollout.ts";
import type { Service, UpdatePolicy, UpdateStatus } from "../../../model/service.ts";
import type { Task } from "../../../model/task.ts";
import type { Draft } from "../draft.ts";
import { same } from "../same.ts";
import { isDirty } from "./dirty.ts";
import { restartOf } from "./restart.ts";
import { beginRollout, deadlineMsOf, endRollout, openRollout } from "./rollout.ts";
import { createTask, isUp, meantToRun, retire, type Slot, slotsOf } from "./slot.ts";

export function updateService(draft: Draft, moment: Moment, service: Service): void {
	const view = viewOf(draft, service);
	const { nowMs } = moment;
	if (!view) {
		const slots = slotsOf(service, draft.tasksOfService(service.id).values());
		const isDue = slots.some((slot) => meantToRun(slot).some((task) => isDirty(service, task)));
		if (!isDue || isHalted(service) || goOnTrying(draft, moment, service, slots)) return;
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
		const cause = `due to failure or early termination of task ${describeFailure(draft, service, failed)}`;
		halt(draft, moment, service, view, cause);
		return;
	}
	const overdueMs = overdueAtMs(view, nowMs);
	if (overdueMs !== null && overdueMs <= nowMs) {
		halt(draft, moment, service, view, describeDelay(view), "timed out");
		return;
	}
	let free = view.policy.parallelism === 0 ? Number.POSITIVE_INFINITY : view.policy.parallelism;
	for (const slot of view.slots) {
		const { kind } = stageOf(view, slot, nowMs);
		// One that an update before this one had begun is down for this one too.
		const isHeld = kind === "underway" || (kind === "clean" && !hasUp(slot));
		// Slots that are merely new cost nobody anything: they do not hold up the others.
		if (slot.tasks.length > 1 && isHeld) free--;
		finishStartFirst(draft, service, slot);
	}
	const dirty = view.slots.filter((slot) => stageOf(view, slot, nowMs).kind === "dirty");
	// What is down already first: beside it another would be taken away from those that are up.
	for (const slot of dirty.toSorted((a, b) => Number(hasUp(a)) - Number(hasUp(b)))) {
		if (free <= 0) break;
		replace(draft, moment, service, slot, view.policy);
		free--;
	}
	const stages = view.slots.map((slot) => ({ slot, ...stageOf(view, slot, nowMs) }));
	for (const { kind, slot } of stages) {
		if (kind === "failed" && isBehind(service, slot)) {
			replace(draft, moment, service, slot, view.policy);
		}
	}
	if (restsAtMs(view, nowMs) !== null) return;
	if (!stages.every(({ kind }) => kind === "clean" || kind === "failed")) return;
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
	const times = [...rests, restsAtMs(view, nowMs), overdueAtMs(view, nowMs)].filter(
		(time) => time !== null,
	);
	return times.length > 0 ? Math.min(...times) : null;
}

/**
 * Where the new starts first, the old one goes on in slots that were counted as failed, also when the update is
 * completed: it goes once a new one is up. False where that is not all that is left to replace.
 */
function goOnTrying(
	draft: Draft,
	moment: Moment,
	service: Service,
	slots: readonly Slot[],
): boolean {
	const { updateStatus: status, spec } = service;
	if (status?.state !== "completed" && status?.state !== "rollback_completed") return false;
	const left = slots.filter((slot) => meantToRun(slot).some((task) => isDirty(service, task)));
	if (!left.every((slot) => failureIn({ service, status }, slot))) return false;
	const policy = status.state === "completed" ? spec.update : spec.rollback;
	for (const slot of left) {
		finishStartFirst(draft, service, slot);
		if (isBehind(service, slot)) replace(draft, moment, service, slot, policy);
	}
	return true;
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

const hasUp = (slot: Slot) => meantToRun(slot).some(isUp);

/** Nothing that is meant to run in it is new. */
const isBehind = (service: Service, slot: Slot) =>
	meantToRun(slot).every((task) => isDirty(service, task));

type Stage =
	/** `failed`: a new task of it went wrong, which the policy lets pass: the update does not wait for it. */
	| { readonly kind: "dirty" | "clean" | "failed" }
	/** `untilMs`: it serves, and only the delay before the next slot is still to pass. */
	| { readonly kind: "underway"; readonly untilMs: number | null };

function stageOf(view: View, slot: Slot, nowMs: number): Stage {
	const { service, status, policy } = view;
	const failed = failureIn(view, slot);
	if (failed) {
		const untilMs = Math.min(failed.status.sinceMs, nowMs) + policy.delayMs;
		return untilMs > nowMs ? { kind: "underway", untilMs } : { kind: "failed" };
	}
	const live = meantToRun(slot);
	const clean = live.find((task) => !isDirty(service, task));
	if (!clean) return { kind: "dirty" };
	if (live.length > 1) return { kind: "underway", untilMs: null };
	if (clean.createdMs < status.startedMs) return { kind: "clean" };
	if (!isUp(clean)) return { kind: "underway", untilMs: null };
	const untilMs = upSinceMs(clean, nowMs) + policy.delayMs;
	return untilMs > nowMs ? { kind: "underway", untilMs } : { kind: "clean" };
}

/** By the node's clock, which may be ahead of ours. */
const upSinceMs = ({ status }: Task, nowMs: number) => Math.min(status.sinceMs, nowMs);

/** The end of the watch over what was updated last; null when it is over, or when nothing would follow from it. */
function restsAtMs(view: View, nowMs: number): number | null {
	const { service, status, policy, slots } = view;
	if (policy.failureAction === "continue") return null;
	const ends = slots
		.filter((slot) => !failureIn(view, slot))
		.flatMap(meantToRun)
		.filter((task) => !isDirty(service, task) && task.createdMs >= status.startedMs)
		.filter(isUp)
		.map((task) => upSinceMs(task, nowMs) + policy.monitorMs)
		.filter((endMs) => endMs > nowMs);
	return ends.length > 0 ? Math.max(...ends) : null;
}

/** A task that went wrong under the new template, once too many slots had one. */
function failureOf(view: View): Task | undefined {
	const { policy, all } = view;
	const failures = all.flatMap((slot) => failureIn(view, slot) ?? []);
	return failures.length > policy.maxFailureRatio * all.length ? failures[0] : undefined;
}

/** The slot's first new task that went wrong. */
function failureIn(
	{ service, status }: Pick<View, "service" | "status">,
	{ tasks }: Slot,
): Task | undefined {
	return tasks.findLast(
		(task) =>
			!isDirty(service, task) &&
			task.createdMs >= status.startedMs &&
			(task.status.state === "failed" || task.status.state === "rejected"),
	);
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

/** `cause` says why; the rollout's outcome follows from what becomes of it, unless it is told. */
function halt(
	draft: Draft,
	moment: Moment,
	service: Service,
	view: View,
	cause: string,
	outcome?: Outcome,
): void {
	const isRollback = view.status.state === "rollback_started";
	if (!isRollback && view.policy.failureAction === "rollback" && service.previous) {
		const message = `update rolled back ${cause}`;
		const ended = endRollout(service, moment, outcome ?? "rolled back", message);
		rollBack(draft, moment, { ...service, rollouts: ended }, service.previous, message);
		return;
	}
	const message = isRollback ? `rollback paused ${cause}` : `update paused ${cause}`;
	const rollouts = endRollout(service, moment, outcome ?? "failed", message);
	draft.put({
		kind: "put-service",
		service: {
			...service,
			rollouts,
			updateStatus: {
				...view.status,
				state: isRollback ? "rollback_paused" : "paused",
				message,
			},
		},
	});
}

/** When the rollout's deadline passes, should no slot be done until then; null for never. */
function overdueAtMs(view: View, nowMs: number): number | null {
	const deadlineMs = deadlineMsOf(view.service);
	const open = openRollout(view.service);
	if (deadlineMs === null || !open) return null;
	// What only waits for its time to pass is not stuck.
	if (!view.slots.some((slot) => isStuck(stageOf(view, slot, nowMs)))) return null;
	// A slot that is given up as failed is one less to wait for.
	const failedMs = view.slots.map((slot) => failureIn(view, slot)?.status.sinceMs ?? 0);
	return Math.max(open.progressedMs, ...failedMs) + view.policy.delayMs + deadlineMs;
}

const isStuck = (stage: Stage) =>
	stage.kind === "dirty" || (stage.kind === "underway" && stage.untilMs === null);

/** As it stands in the CLI's last line: which task, where, and what it said. */
function describeFailure(draft: Draft, service: Service, { id, slot, node, status }: Task): string {
	const where = node === null ? "" : ` on ${nameOfNode(draft, node)}`;
	const name = `${service.spec.name}.${slot > 0 ? slot : node}`;
	const said = status.evidence?.lines.findLast((line) => line.trim() !== "");
	const words = [status.error, said && `its last line: ${said}`].filter(Boolean);
	return [`${id} (${name}${where})`, ...words].join(": ");
}

function describeDelay(view: View): string {
	const waiting = view.slots
		.flatMap(meantToRun)
		.find((task) => !isDirty(view.service, task) && !isUp(task));
	const why = waiting && (waiting.status.error || waiting.status.message);
	const name = waiting && `${view.service.spec.name}.${waiting.slot || waiting.node}`;
	const deadline = `no task was updated within ${(deadlineMsOf(view.service) ?? 0) / 1000} s (label ${deadlineLabel})`;
	return `because ${deadline}${waiting ? `: ${name} is ${waiting.status.state}: ${why}` : ""}`;
}

function nameOfNode(draft: Draft, id: NodeId): string {
	const node = draft.nodes.get(id);
	return node ? nodeName(node) : id;
}

function rollBack(
	draft: Draft,
	moment: Moment,
	service: Service,
	previous: NonNullable<Service["previous"]>,
	message: string,
): void {
	const { spec, document } = previous;
	const hostPorts = spec.ports.filter(({ mode }) => mode === "host");
	const templates = draft.templatesOfService(service.id);
	// Slots that were not updated yet still run it, and are left alone: the newest that says so is theirs.
	const kept = templates
		.toSorted((a, b) => b.version - a.version)
		.find((old) => same(old.template, spec.template) && same(old.hostPorts, hostPorts));
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
	const { nowMs } = moment;
	const back: Service = {
		...service,
		spec,
		document,
		specVersion: service.specVersion + 1,
		templateVersion: version,
		previous: { spec: service.spec, document: service.document },
		ports: spec.ports,
		updateStatus: { state: "rollback_started", startedMs: nowMs, completedMs: null, message },
		updatedMs: nowMs,
	};
	const from = { templateVersion: service.templateVersion, image: imageOf(service) };
	const rollouts = beginRollout(back, moment, "automatic rollback", from);
	draft.put({ kind: "put-service", service: { ...back, rollouts } });
}

const imageOf = ({ spec }: Service) => spec.template.container.image;

type TemplateDocument = Service["document"];

function setUpdateStatus(draft: Draft, service: Service, updateStatus: UpdateStatus): void {
	draft.put({ kind: "put-service", service: { ...service, updateStatus } });
}
