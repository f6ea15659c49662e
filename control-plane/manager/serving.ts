// The ack barrier: who is a backend, and who may be told to stop.
//
// A task serves once it is healthy and every live node on its networks has the tables that lead to it; it leaves the
// tables, acknowledged, before its node hears of the stop. A node that lags counts until liveness gives it up.

import type { NetworkId } from "../../model/id.ts";
import { gatewayHolder } from "../../model/network.ts";
import type { Node } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isHealthy, isMeantToRun, type Task } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { Draft } from "./draft.ts";

export function decideServing(draft: Draft): void {
	const isAcknowledged = acknowledgements(draft);
	for (const task of [...draft.unsettled.tasks.values()]) {
		if (task.serving && !isFit(draft, task)) {
			draft.put({
				kind: "put-task",
				task: { ...task, serving: false, tablesRevision: draft.landing },
			});
		} else if (!task.serving && isFit(draft, task) && isAcknowledged(task)) {
			draft.put({
				kind: "put-task",
				task: { ...task, serving: true, tablesRevision: draft.landing },
			});
		} else if (isToBeReleased(task) && isAcknowledged(task)) {
			draft.put({ kind: "put-task", task: { ...task, released: true } });
		}
	}
}

function isFit(snapshot: Snapshot, task: Task): boolean {
	return (
		task.desired === "running" &&
		task.status.state === "running" &&
		isHealthy(task.status) &&
		task.node !== null &&
		snapshot.nodes.get(task.node)?.status.state === "ready"
	);
}

function isToBeReleased(task: Task): boolean {
	return !isMeantToRun(task) && !task.released && !isTerminal(task.status.state);
}

/** The live nodes whose tables a running task still waits for: why it does not serve yet. */
export function laggards(snapshot: Snapshot, task: Task): Node[] {
	return [...snapshot.nodes.values()].filter(
		({ id, status, appliedRevision }) =>
			status.state === "ready" &&
			appliedRevision < task.tablesRevision &&
			task.attachments.some(({ network }) => snapshot.leaseOf(network, gatewayHolder(id))),
	);
}

/** Whether all live nodes that have one of the task's networks have its tables. */
function acknowledgements(snapshot: Snapshot): (task: Task) => boolean {
	const applied = new Map<NetworkId, number>();
	const appliedOn = (network: NetworkId) => {
		const known = applied.get(network);
		if (known !== undefined) return known;
		let least = Number.POSITIVE_INFINITY;
		for (const { id, status, appliedRevision } of snapshot.nodes.values()) {
			if (status.state !== "ready" || appliedRevision >= least) continue;
			if (snapshot.leaseOf(network, gatewayHolder(id))) least = appliedRevision;
		}
		applied.set(network, least);
		return least;
	};
	return (task) =>
		task.attachments.every(({ network }) => appliedOn(network) >= task.tablesRevision);
}
