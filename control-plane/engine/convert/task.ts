// Tasks as Docker shows them.

import { nodeName } from "../../../model/node.ts";
import type { Document } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { slotKey, type Task } from "../../../model/task.ts";
import { adviceFor } from "../../manager/scheduler/advice.ts";
import { showIteration, shownSlot } from "./job.ts";
import { showNetworkOfTask } from "./network.ts";
import { showGeneric } from "./node.ts";
import { showPort } from "./port.ts";
import { backsOff, shownDesired, shownState, waitsFor } from "./state.ts";
import { timestamp } from "./time.ts";

/** Waiting longer than this has something wrong with it, and `docker service ps` shows only errors. */
const patienceMs = 5_000;

export function toEngine(task: Task, snapshot: Snapshot, nowMs: number): Document {
	const { status } = task;
	const waiting = waitsFor(task, snapshot);
	const isLate = waiting !== "" && status.health !== "starting";
	const late = isLate && nowMs - status.sinceMs > patienceMs ? waiting : "";
	const template = snapshot.template(task.service, task.templateVersion);
	const mode = snapshot.services.get(task.service)?.spec.mode;
	const slot = shownSlot(task, mode);
	const backOff = template ? backsOff(task, template.template.restart.delayMs, nowMs) : "";
	const error = status.error || backOff || late;
	const changedMs = Math.max(status.sinceMs, task.createdMs);
	return {
		ID: task.id,
		Version: { Index: task.tablesRevision },
		CreatedAt: timestamp(task.createdMs),
		UpdatedAt: timestamp(changedMs),
		Labels: {},
		Spec: template?.document ?? {},
		ServiceID: task.service,
		...(slot > 0 && { Slot: slot }),
		...(task.node !== null && { NodeID: task.node }),
		Status: {
			Timestamp: timestamp(changedMs),
			State: shownState(task),
			Message: waiting || status.message,
			...(error !== "" && { Err: error }),
			...(status.containerId !== "" && {
				ContainerStatus: {
					ContainerID: status.containerId,
					PID: status.pid,
					ExitCode: status.exitCode ?? 0,
				},
			}),
			PortStatus: status.ports.length > 0 ? { Ports: status.ports.map(showPort) } : {},
		},
		DesiredState: shownDesired(task),
		...(task.iteration !== undefined && { JobIteration: showIteration(task.iteration) }),
		...(status.state === "pending" && { Placement: placementOf(task, snapshot) }),
		...(task.genericResources && {
			AssignedGenericResources: showGeneric(task.genericResources)["GenericResources"],
		}),
		...(task.attachments.length > 0 && {
			NetworksAttachments: task.attachments.flatMap(({ network, address }) =>
				showNetworkOfTask(snapshot, network, address),
			),
		}),
	};
}

/** Ours, not Docker's: why it waits, node by node, and what would mend that. */
function placementOf(task: Task, snapshot: Snapshot): Document[] {
	return adviceFor(snapshot, task).map(({ node, lacks }) => ({
		NodeID: node.id,
		Node: nodeName(node),
		Lacks: lacks.map(({ what }) => what),
		Remedy: lacks.map(({ change }) => change),
	}));
}

/** By slot, the newest task of a slot first: the order that `docker service ps` keeps where it does not sort. */
export function inOrder(tasks: Iterable<Task>): Task[] {
	return [...tasks].sort(
		(a, b) => compare(slotKey(a), slotKey(b)) || b.createdMs - a.createdMs || compare(a.id, b.id),
	);
}

function compare(a: string, b: string): number {
	if (a === b) return 0;
	return a < b ? -1 : 1;
}
