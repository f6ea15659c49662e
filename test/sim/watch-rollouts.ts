// I4 and I9: what rollouts take away, and where roll-backs end.
//
// I4  when a rollout takes away a task that is up, so many slots and no more are without one: `parallelism`. Those
//     that were down before, for whatever reason, are among them, so faults are no excuse, but for those that failed
//     under the new template, which the policy lets pass; one that starts first takes nothing away before the
//     successor is up
// I9  a roll-back is to the spec that the service had before, and ends with every task on its template, contents
//     included; a version of a template means one thing, which is what its containers are made of

import type { Change } from "../../model/change.ts";
import type { ServiceId, TaskId } from "../../model/id.ts";
import { filesOf } from "../../model/material.ts";
import { isToBeEmptied } from "../../model/node.ts";
import { isJob, type Service, type ServiceSpec, type TaskTemplate } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isHealthy, isMeantToRun, slotKey, type Task } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import { broken } from "./broken.ts";
import { suits } from "./suits.ts";

export interface RolloutWatcher {
	landed(decision: { readonly before: Snapshot; readonly changes: readonly Change[] }): void;
	started(task: TaskId, image: string): void;
}

interface Remembered {
	readonly service: Service;
	readonly spec: ServiceSpec;
	readonly previous: ServiceSpec | null;
}

export function rolloutWatcher(
	store: { readonly facts: Snapshot },
	happened: (what: string) => void,
): RolloutWatcher {
	const specs = new Map<ServiceId, Remembered>();
	const versions = new Map<string, TaskTemplate>();
	/** What each task is to be made of, by the template that its version was when it was decided. */
	const images = new Map<TaskId, string>();

	function remember(service: Service) {
		const known = specs.get(service.id);
		const { spec } = service;
		specs.set(service.id, { service, spec, previous: previousOf(service, known) });
	}

	function previousOf(service: Service, known: Remembered | undefined): ServiceSpec | null {
		if (!known) return null;
		if (isRollback(service) && !isRollback(known.service)) {
			if (!Bun.deepEquals(service.spec, known.previous))
				broken("I9", `${service.spec.name} is rolled back to what it was not before`);
			return known.spec;
		}
		if (Bun.deepEquals(service.spec, known.spec)) return known.previous;
		// Changed contents, and what the user says while they roll: one step, to be taken back as one.
		const isOneStep = known.service.updateStatus?.state === "updating" && isRotation(known);
		return isOneStep ? known.previous : known.spec;
	}

	function endsWhereItBegan(service: Service) {
		const wanted = specs.get(service.id)?.spec.template;
		for (const task of store.facts.tasksOfService(service.id).values()) {
			if (!isMeantToRun(task)) continue;
			const template = store.facts.template(service.id, task.templateVersion)?.template;
			if (Bun.deepEquals(template, wanted)) continue;
			broken(
				"I9",
				`${service.spec.name} is rolled back, and ${task.id} has version ${task.templateVersion}`,
			);
		}
		happened("a roll-back ends where it began");
	}

	return {
		landed({ before, changes }) {
			for (const change of changes) {
				if (change.kind === "put-service") remember(change.service);
				if (change.kind === "put-template") {
					const { service, version, template } = change.template;
					const known = versions.get(`${service} ${version}`);
					if (known && !Bun.deepEquals(known, template))
						broken("I9", `version ${version} of ${service} changes what it means`);
					versions.set(`${service} ${version}`, template);
				}
				if (change.kind === "remove-template")
					versions.delete(`${change.service} ${change.version}`);
			}
			for (const change of changes) {
				if (change.kind === "put-task" && !images.has(change.task.id)) {
					const { id, service, templateVersion } = change.task;
					const template = versions.get(`${service} ${templateVersion}`);
					if (!template) broken("I9", `${id} has version ${templateVersion}, which is not there`);
					images.set(id, template.container.image);
				}
				if (change.kind !== "put-service") continue;
				const was = before.services.get(change.service.id)?.updateStatus?.state;
				const { updateStatus } = change.service;
				if (updateStatus?.state === "rollback_completed" && was !== updateStatus.state)
					endsWhereItBegan(change.service);
			}
			keepsCapacity(before, changes);
		},
		started(task, image) {
			const wanted = images.get(task);
			if (wanted !== undefined && wanted !== image)
				broken("I9", `${task} runs ${image}, not ${wanted}`);
		},
	};
}

const isRollback = ({ updateStatus }: Service) => updateStatus?.state === "rollback_started";

const isRotation = ({ spec, previous }: Remembered) =>
	previous !== null &&
	!Bun.deepEquals(spec, previous) &&
	Bun.deepEquals(withoutContents(spec), withoutContents(previous));

function withoutContents(spec: ServiceSpec): unknown {
	const files = filesOf(spec.template).map(({ name }) => name);
	return {
		...spec,
		template: { ...spec.template, container: { ...spec.template.container, files } },
	};
}

function keepsCapacity(before: Snapshot, changes: readonly Change[]): void {
	const decided = new Map<TaskId, Task>();
	const gone = new Set<TaskId>();
	const services = new Map<ServiceId, Service>();
	for (const change of changes) {
		if (change.kind === "put-task") decided.set(change.task.id, change.task);
		if (change.kind === "remove-task") gone.add(change.id);
		if (change.kind === "put-service") services.set(change.service.id, change.service);
	}
	const isUp = (task: Task) => {
		const now = decided.get(task.id) ?? task;
		const known = before.tasks.get(task.id)?.status;
		const runs = known?.state === "running" && isHealthy(known);
		return isMeantToRun(now) && now.serving && runs;
	};
	const taken = Map.groupBy(
		[...decided.values()].filter((task) => {
			const known = before.tasks.get(task.id);
			const wasUp =
				known && isMeantToRun(known) && known.serving && known.status.state === "running";
			return wasUp && isHealthy(known.status) && task.desired === "shutdown";
		}),
		({ service }) => service,
	);
	for (const [id, tasks] of taken) {
		const service = services.get(id) ?? before.services.get(id);
		if (!service || isJob(service.spec.mode)) continue;
		const state = service.updateStatus?.state;
		if (state !== "updating" && state !== "rollback_started") continue;
		const policy = state === "updating" ? service.spec.update : service.spec.rollback;
		const all = [...before.tasksOfService(id).values()].filter((task) => !gone.has(task.id));
		const made = [...decided.values()].filter(
			(task) => task.service === id && !before.tasks.has(task.id),
		);
		const slots = Map.groupBy(
			[...all, ...made].map((task) => decided.get(task.id) ?? task),
			slotKey,
		);
		const byRollout = tasks.filter(
			(task) =>
				task.templateVersion !== service.templateVersion && mayStay(before, changes, service, task),
		);
		if (byRollout.length === 0) continue;
		if (policy.order === "start-first") {
			const bare = byRollout.find((task) => !slots.get(slotKey(task))?.some(isUp));
			if (bare) broken("I4", `${slotKey(bare)} loses ${bare.id} before another is up`);
			continue;
		}
		// What falls with this very decision was up, or thought to be, when the rollout counted.
		const fell = (task: Task) => {
			const known = before.tasks.get(task.id);
			if (!known || !isMeantToRun(known)) return false;
			return isTerminal(known.status.state) || !mayStay(before, changes, service, known);
		};
		// One that a new task of the rollout's went wrong in is given up, and no longer counts.
		const isGivenUp = (task: Task) => {
			const now = before.tasks.get(task.id)?.status.state;
			const isNew =
				task.templateVersion === service.templateVersion &&
				task.createdMs >= (service.updateStatus?.startedMs ?? 0);
			return isNew && (now === "failed" || now === "rejected");
		};
		// Slots that are merely new cost nobody anything.
		const out = [...slots].filter(
			([, each]) =>
				each.length > 1 &&
				each.some(isMeantToRun) &&
				![isUp, fell, isGivenUp].some((isFine) => each.some(isFine)),
		);
		if (policy.parallelism === 0 || out.length <= policy.parallelism) continue;
		const names = out.map(([slot]) => slot.slice(-6)).join(", ");
		broken(
			"I4",
			`${service.spec.name} takes away ${byRollout[0]?.id} and has ${out.length} slots down, ${policy.parallelism} at once allowed: ${names}`,
		);
	}
}

/** Its node does not ask for its going. */
function mayStay(
	before: Snapshot,
	changes: readonly Change[],
	service: Service,
	{ node: id }: Task,
): boolean {
	const known = id === null ? undefined : before.nodes.get(id);
	const put = changes.findLast((change) => change.kind === "put-node" && change.node.id === id);
	const node = put?.kind === "put-node" ? put.node : known;
	return (
		node !== undefined &&
		node.status.state === "ready" &&
		!isToBeEmptied(node) &&
		suits(service, node)
	);
}
