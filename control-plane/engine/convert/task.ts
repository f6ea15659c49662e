// Tasks as Docker shows them.

import type { Document } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { slotKey, type Task } from "../../../model/task.ts";
import { showNetworkOfTask } from "./network.ts";
import { showPort } from "./port.ts";
import { shownState } from "./state.ts";
import { timestamp } from "./time.ts";

export function toEngine(task: Task, snapshot: Snapshot): Document {
	const { status } = task;
	const template = snapshot.template(task.service, task.templateVersion);
	const changedMs = Math.max(status.sinceMs, task.createdMs);
	return {
		ID: task.id,
		Version: { Index: task.tablesRevision },
		CreatedAt: timestamp(task.createdMs),
		UpdatedAt: timestamp(changedMs),
		Labels: {},
		Spec: template?.document ?? {},
		ServiceID: task.service,
		...(task.slot > 0 && { Slot: task.slot }),
		...(task.node !== null && { NodeID: task.node }),
		Status: {
			Timestamp: timestamp(changedMs),
			State: shownState(task),
			Message: messageOf(task),
			...(status.error !== "" && { Err: status.error }),
			...(status.containerId !== "" && {
				ContainerStatus: {
					ContainerID: status.containerId,
					PID: status.pid,
					ExitCode: status.exitCode ?? 0,
				},
			}),
			PortStatus: status.ports.length > 0 ? { Ports: status.ports.map(showPort) } : {},
		},
		DesiredState: task.desired,
		...(task.attachments.length > 0 && {
			NetworksAttachments: task.attachments.flatMap(({ network, address }) =>
				showNetworkOfTask(snapshot, network, address),
			),
		}),
	};
}

function messageOf(task: Task): string {
	if (task.status.state === "running" && shownState(task) === "starting") {
		return task.status.health === "starting"
			? "started, waiting for its health check"
			: "started, waiting for all nodes to know its address";
	}
	return task.status.message;
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
