// What is known of a service's rollouts: when one began and ended, how far it got, who failed first.
//
// Follows what update.ts does and decides nothing. Ends what was overtaken; what fails is ended by update.ts itself,
// which knows why.

import type { Moment } from "../../../model/change.ts";
import type { ServiceId } from "../../../model/id.ts";
import { deadlineLabel, durationOf } from "../../../model/labels.ts";
import {
	keptRollouts,
	type Outcome,
	type RolledVersion,
	type Rollout,
	type RolloutFailure,
} from "../../../model/rollout.ts";
import type { Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import type { Draft } from "../draft.ts";
import { same } from "../same.ts";
import { isDirty } from "./dirty.ts";
import { isUp, meantToRun, slotsOf } from "./slot.ts";

export function followRollout(draft: Draft, moment: Moment, id: ServiceId): void {
	const service = draft.services.get(id);
	if (!service) return;
	const ended = endOvertaken(service, moment);
	const begun = beginWhereDue(draft, { ...service, rollouts: ended }, moment);
	const rollouts = settle(draft, { ...service, rollouts: begun }, moment);
	if (rollouts.length === 0 || same(rollouts, service.rollouts)) return;
	draft.put({ kind: "put-service", service: { ...service, rollouts } });
}

/** The one under way. */
export function openRollout({ rollouts = [] }: Service): Rollout | undefined {
	const [newest] = rollouts;
	return newest?.outcome === null ? newest : undefined;
}

/** Null for none: as long as it takes. */
export function deadlineMsOf({ spec }: Service): number | null {
	return durationOf(spec.labels, deadlineLabel, null) || null;
}

export function endRollout(
	service: Service,
	{ nowMs }: Moment,
	outcome: Outcome,
	reason: string,
): readonly Rollout[] {
	const [newest, ...older] = service.rollouts ?? [];
	if (newest?.outcome !== null) return service.rollouts ?? [];
	return [{ ...newest, outcome, reason, endedMs: nowMs }, ...older];
}

export function beginRollout(
	service: Service,
	{ nowMs }: Moment,
	kind: Rollout["kind"],
	from: RolledVersion | null,
): readonly Rollout[] {
	const { rollouts = [], templateVersion, spec } = service;
	const begun: Rollout = {
		number: (rollouts[0]?.number ?? 0) + 1,
		kind,
		from,
		to: { templateVersion, image: spec.template.container.image },
		startedMs: nowMs,
		endedMs: null,
		outcome: null,
		reason: "",
		progress: { updated: 0, total: 0 },
		progressedMs: nowMs,
		failure: null,
	};
	return [begun, ...rollouts.slice(0, keptRollouts)];
}

function endOvertaken(service: Service, moment: Moment): readonly Rollout[] {
	const open = openRollout(service);
	if (!open || open.to.templateVersion === service.templateVersion) return service.rollouts ?? [];
	return service.updateStatus?.state.startsWith("rollback")
		? endRollout(service, moment, "rolled back", service.updateStatus.message)
		: endRollout(service, moment, "superseded", "another update came before it was done");
}

function beginWhereDue(draft: Draft, service: Service, moment: Moment): readonly Rollout[] {
	const state = service.updateStatus?.state;
	const isUnderWay = state === "updating" || state === "rollback_started";
	if (!isUnderWay || openRollout(service)) return service.rollouts ?? [];
	const kind = state === "updating" ? "update" : "rollback";
	return beginRollout(service, moment, kind, versionBefore(draft, service));
}

/** What the service ran until now: that of the spec before, or of the tasks that are to be replaced. */
function versionBefore(snapshot: Snapshot, service: Service): RolledVersion | null {
	const before = service.previous?.spec.template;
	const templates = snapshot
		.templatesOfService(service.id)
		.filter(({ version }) => version !== service.templateVersion)
		.toSorted((a, b) => b.version - a.version);
	const found = templates.find(({ template }) => same(template, before)) ?? templates[0];
	return found ? { templateVersion: found.version, image: found.template.container.image } : null;
}

/** How far it got, who failed first, and whether it is over. */
function settle(snapshot: Snapshot, service: Service, moment: Moment): readonly Rollout[] {
	const tasks = [...snapshot.tasksOfService(service.id).values()];
	// One that was rolled back is no longer the newest, and its task may still have something to say.
	const [newest, ...older] = (service.rollouts ?? []).map((rollout) => ({
		...rollout,
		failure: failureOf(rollout, tasks),
	}));
	if (!newest) return [];
	if (newest.outcome !== null) return [newest, ...older];
	const live = slotsOf(service, tasks).map(meantToRun);
	const slots = live.filter((slot) => slot.length > 0);
	const isDone = (slot: Task[]) =>
		slot.length === 1 && slot.every((task) => !isDirty(service, task) && isUp(task));
	const progress = { updated: slots.filter(isDone).length, total: slots.length };
	const isFurther = progress.updated > newest.progress.updated;
	const progressedMs = isFurther ? moment.nowMs : newest.progressedMs;
	const open: Service = { ...service, rollouts: [{ ...newest, progress, progressedMs }, ...older] };
	const state = service.updateStatus?.state;
	const isUnderWay = state === "updating" || state === "rollback_started";
	// Nothing is left to replace: it is done, or was scaled to nothing.
	if (isUnderWay) return open.rollouts ?? [];
	const failed = progress.total - progress.updated;
	const reason =
		failed > 0
			? `${failed} of ${progress.total} slots are not up, which the update's policy allows`
			: "";
	return endRollout(open, moment, "succeeded", reason);
}

/** The one we know, with what its node said since; else the first that failed. */
function failureOf(rollout: Rollout, tasks: readonly Task[]): RolloutFailure | null {
	const known = rollout.failure;
	const failed = tasks
		.filter(
			({ templateVersion, createdMs, status }) =>
				templateVersion === rollout.to.templateVersion &&
				createdMs >= rollout.startedMs &&
				createdMs <= (rollout.endedMs ?? Number.POSITIVE_INFINITY) &&
				(status.state === "failed" || status.state === "rejected"),
		)
		.toSorted((a, b) => a.status.sinceMs - b.status.sinceMs || a.slot - b.slot);
	const first = known ? failed.find(({ id }) => id === known.task) : failed[0];
	if (!first || (!known && rollout.outcome === "succeeded")) return known;
	const { id, slot, node, status } = first;
	return {
		task: id,
		slot,
		node,
		error: status.error,
		exitCode: status.exitCode,
		evidence: status.evidence ?? null,
	};
}
