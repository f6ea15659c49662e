// Forgets: tasks past the history limit, what belonged to services that are gone, templates nobody runs.

import type { Moment } from "../../model/change.ts";
import { vipHolder } from "../../model/network.ts";
import { isSettled, type Service } from "../../model/service.ts";
import { isMeantToRun } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import { networksOf, releaseSlot, settleAddresses } from "./allocator/allocate.ts";
import { release } from "./allocator/ipam.ts";
import type { Draft } from "./draft.ts";
import { completes } from "./orchestrator/job.ts";
import { type Slot, slotsOf } from "./orchestrator/slot.ts";

export function reap(draft: Draft, moment: Moment, service: Service): void {
	const networks = networksOf(draft, service);
	for (const slot of slotsOf(service, draft.tasksOfService(service.id).values())) {
		const kept = forgetTasks(draft, service, slot);
		settleAddresses(draft, moment, kept);
		if (kept.length > 0) continue;
		const { number, node } = slot;
		releaseSlot(draft, moment, networks, { service: service.id, slot: number, node });
	}
	const tasks = draft.tasksOfService(service.id);
	if (service.removing && tasks.size === 0) {
		for (const network of networks) release(draft, network, vipHolder(service.id), moment.nowMs);
		draft.put({ kind: "remove-service", id: service.id });
		return;
	}
	forgetTemplates(draft, moment, service);
}

/**
 * A slot keeps its last task at least: how that ended says whether there is to be another. A job's run keeps those that
 * completed, whatever came after them: they are what says that the slot is done.
 */
function forgetTasks(draft: Draft, service: Service, slot: Slot): Slot["tasks"] {
	const { maxAttempts } = service.spec.template.restart;
	const history = Math.max(
		draft.cluster.taskHistory,
		// Attempts are counted by what is still there to count.
		maxAttempts > 0 ? maxAttempts + 1 : 0,
		// So is an update's progress.
		isSettled(service) ? 0 : 1,
		// And whether a move was tried and failed.
		service.spec.rebalance ? 1 : 0,
		slot.tasks.some(isMeantToRun) ? 0 : 1,
	);
	const kept: Slot["tasks"][number][] = [];
	let finished = 0;
	for (const task of slot.tasks) {
		const isOver = isTerminal(task.status.state) && !isMeantToRun(task);
		// Also in a slot that was scaled away: it may be wanted again while the run goes on.
		const isDone = slot.number > 0 && !service.removing && completes(service, task);
		const isKept = finished < history || completes(service, task);
		const isNeeded = !isOver || isDone || (task.desired !== "remove" && isKept);
		if (isOver) finished++;
		if (isNeeded) kept.push(task);
		else draft.put({ kind: "remove-task", id: task.id });
	}
	return kept;
}

function forgetTemplates(draft: Draft, moment: Moment, service: Service): void {
	const templates = draft.templatesOfService(service.id);
	if (templates.length <= 1) return;
	const tasks = [...draft.tasksOfService(service.id).values()];
	const used = new Set(tasks.map((task) => task.templateVersion));
	used.add(service.templateVersion);
	const unused = templates.filter(({ version }) => !used.has(version));
	if (unused.length === 0) return;
	const before = networksOf(draft, service);
	for (const { version } of unused) {
		draft.put({ kind: "remove-template", service: service.id, version });
	}
	// With the last task of a template go the addresses in networks that only it had.
	const after = networksOf(draft, service);
	const left = [...before].filter((network) => !after.has(network));
	for (const network of left) release(draft, network, vipHolder(service.id), moment.nowMs);
	for (const { number, node } of left.length > 0 ? slotsOf(service, tasks) : []) {
		releaseSlot(draft, moment, left, { service: service.id, slot: number, node });
	}
}
