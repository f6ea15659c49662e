// A task: one attempt to run one slot on one node. What the manager decides and what the agent saw are kept apart.

import type { NetworkId, NodeId, ServiceId, TaskId } from "./id.ts";
import type { GenericResources } from "./node.ts";
import type { Evidence } from "./rollout.ts";
import type { PortSpec } from "./service.ts";
import { isBefore, isTerminal, type TaskState } from "./taskstate.ts";

export type Health = "none" | "starting" | "healthy" | "unhealthy";

/** How far the task got, in its owner's words. */
export interface TaskStatus {
	readonly state: TaskState;
	readonly message: string;
	/** Empty when nothing is wrong. */
	readonly error: string;
	readonly sinceMs: number;
	/** Orders two reports of one state: the agent's own ever rising count, 0 while the manager is the owner. */
	readonly observed: number;
	readonly health: Health;
	readonly containerId: string;
	readonly pid: number;
	readonly exitCode: number | null;
	/** Ports in host mode, as the engine bound them. */
	readonly ports: readonly PortSpec[];
	/** Of a task that failed after its container was made. */
	readonly evidence?: Evidence | undefined;
}

/** A lease of the task's slot in one network, in the task's hands. */
export interface Attachment {
	readonly network: NetworkId;
	readonly address: string;
}

export interface Task {
	readonly id: TaskId;
	readonly service: ServiceId;
	/** From 1; 0 in global services, whose slot is the node. */
	readonly slot: number;
	readonly node: NodeId | null;
	readonly templateVersion: number;
	/** The run that it belongs to; of a job's tasks only. */
	readonly iteration?: number;
	/** Rises with every task of the slot. Peers lead its address to the newest only, which fences out zombies. */
	readonly generation: number;
	readonly desired: TaskState;
	readonly attachments: readonly Attachment[];
	/** Its share of its node's, chosen together with the node; absent for none. */
	readonly genericResources?: GenericResources;
	/** The task is a backend of its service. A decision, taken when it is healthy and acknowledged (see `servingRevision`). */
	readonly serving: boolean;
	/** The revision of the last change of `serving`, or of the assignment to the node where that is later. */
	readonly tablesRevision: number;
	/** The stop may reach the node: every live node has applied the tables without it. */
	readonly released: boolean;
	readonly createdMs: number;
	/** A restart waits until then (desired `ready`); 0 for none. */
	readonly startAfterMs: number;
	readonly status: TaskStatus;
}

export const unstarted: TaskStatus = {
	state: "new",
	message: "created",
	error: "",
	sinceMs: 0,
	observed: 0,
	health: "none",
	containerId: "",
	pid: 0,
	exitCode: null,
	ports: [],
};

/** Nothing is due for it: it runs, serves and is meant to, or it ended and is kept as history. */
export function isSettled({ desired, serving, status }: Task): boolean {
	if (isTerminal(status.state)) return desired === "shutdown" && !serving;
	return desired === "running" && status.state === "running" && serving && isHealthy(status);
}

export function isHealthy({ health }: Pick<TaskStatus, "health">): boolean {
	return health === "none" || health === "healthy";
}

/** It is meant to run, now or when its time has come. */
export function isMeantToRun({ desired }: Pick<Task, "desired">): boolean {
	return !isBefore("running", desired);
}

/** The place a task fills: its number, or its node in a global service. Names the slot's leases. */
export function slotKey(task: Pick<Task, "service" | "slot" | "node">): string {
	return `${task.service}:${task.slot > 0 ? task.slot : task.node}`;
}

/** Docker's name of a task's container: `web.1.<id>`, with the node's id for the slot in global services. */
export function taskName(serviceName: string, task: Pick<Task, "id" | "slot" | "node">): string {
	return `${serviceName}.${task.slot > 0 ? task.slot : task.node}.${task.id}`;
}
