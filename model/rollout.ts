// A rollout: one change of what a service's tasks run, from the first task to its outcome. What it was, how far it got,
// and why it failed stay with the service after the tasks are forgotten.
//
// Written by manager/orchestrator/rollout.ts alone, from what the tasks and the update's status say.

import type { NodeId, TaskId } from "./id.ts";

/** `rolled back`: another rollout, the way back, followed at once. `superseded`: another one overtook it. */
export type Outcome = "succeeded" | "failed" | "rolled back" | "superseded" | "timed out";

export interface Rollout {
	/** Counts the service's rollouts, from 1. */
	readonly number: number;
	/** `automatic rollback`: begun because an update failed, by the service's own failure action. */
	readonly kind: "update" | "rollback" | "automatic rollback";
	readonly from: RolledVersion | null;
	readonly to: RolledVersion;
	readonly startedMs: number;
	/** Null while it is under way. */
	readonly endedMs: number | null;
	/** Null while it is under way. */
	readonly outcome: Outcome | null;
	/** Why it ended as it did, in a sentence; empty where nothing is to be said. */
	readonly reason: string;
	/** Slots that are meant to run, and how many of them run and serve the new version. */
	readonly progress: { readonly updated: number; readonly total: number };
	/** When another slot was last done. */
	readonly progressedMs: number;
	/** The first of its tasks that failed. */
	readonly failure: RolloutFailure | null;
}

export interface RolledVersion {
	readonly templateVersion: number;
	/** With its digest, where the registry gave one. */
	readonly image: string;
}

export interface RolloutFailure {
	readonly task: TaskId;
	readonly slot: number;
	readonly node: NodeId | null;
	readonly error: string;
	readonly exitCode: number | null;
	readonly evidence: Evidence | null;
}

/** What a node saw of a task's failure, gathered before the container could be removed. */
export interface Evidence {
	readonly oomKilled: boolean;
	/** What its last health check printed. */
	readonly health: string;
	/** The last lines it wrote, oldest first. */
	readonly lines: readonly string[];
}

/** Bounds of the evidence: it travels in a report and stays in the database. */
export const evidenceBounds = { lines: 20, lineLength: 400, healthLength: 1_000 } as const;

/** The current one and so many before it are kept. */
export const keptRollouts = 10;
