// One step of one task toward its desired state: the whole life of a task, on a page.
//
// Says what to report and what to do next from what is seen of the container and what we remember. Does nothing
// itself (controller.ts does), knows no clock, and never moves a task back: what has ended stays ended, even if its
// container is started again behind our back.

import type { TaskAssignment } from "../../model/assignment.ts";
import type { PortSpec } from "../../model/service.ts";
import type { Health, TaskStatus } from "../../model/task.ts";
import { isBefore, isTerminal, type TaskState } from "../../model/taskstate.ts";

/** What the engine says of the task's container. */
export type Seen =
	| { readonly kind: "none" }
	| {
			readonly kind: "created" | "running" | "ended";
			readonly containerId: string;
			readonly pid: number;
			readonly exitCode: number;
			/** Docker's own words, where a start failed. */
			readonly error: string;
			readonly oomKilled: boolean;
			readonly health: Health;
			/** What the last health check printed. */
			readonly healthOutput?: string;
			readonly ports: readonly PortSpec[];
	  };

/** What the agent remembers of the task. */
export interface Memory {
	/** What we last said of it. */
	readonly status: Said;
	/** The last thing we did for it went wrong. `waiting` is worth another try, the others are the end. */
	readonly trouble: {
		readonly kind: "waiting" | "rejected" | "failed";
		readonly error: string;
	} | null;
	/** The container ended with its machine or its engine, not by itself. */
	readonly interrupted: boolean;
}

/** A status without its clock: `sinceMs` and `observed` are given when it is said. */
export type Said = Omit<TaskStatus, "sinceMs" | "observed">;

export interface Step {
	readonly status: Said;
	readonly action: "none" | "prepare" | "start" | "stop";
}

type Wanted = Pick<TaskAssignment, "desired" | "template" | "job">;
type Container = Exclude<Seen, { kind: "none" }>;

export const unseen: Memory = {
	status: {
		state: "accepted",
		message: "accepted",
		error: "",
		health: "none",
		containerId: "",
		pid: 0,
		exitCode: null,
		ports: [],
	},
	trouble: null,
	interrupted: false,
};

export function step(task: Wanted, seen: Seen, memory: Memory): Step {
	const { status, trouble } = memory;
	if (isTerminal(status.state)) {
		return { status, action: seen.kind === "running" ? "stop" : "none" };
	}
	if (task.desired === "shutdown") return windDown(seen, memory);
	if (trouble && trouble.kind !== "waiting") {
		return ended(status, seen, trouble.kind, trouble.error);
	}
	switch (seen.kind) {
		case "none":
			return withoutContainer(memory);
		case "created":
			return withNewContainer(task, seen, memory);
		case "running":
			return withRunningContainer(seen, memory);
		case "ended":
			return withEndedContainer(task, seen, memory);
	}
}

function windDown(seen: Seen, { status, trouble }: Memory): Step {
	if (seen.kind === "running") {
		const error = trouble?.error ?? "";
		return { status: { ...status, message: "shutting down", error }, action: "stop" };
	}
	const exitCode = seen.kind === "ended" ? seen.exitCode : status.exitCode;
	return {
		status: { ...idle(status), state: "shutdown", message: "shutdown", error: "", exitCode },
		action: "none",
	};
}

function withoutContainer({ status, trouble }: Memory): Step {
	// One task is one attempt: a container that was started is not made a second time.
	if (isBefore("ready", status.state)) {
		return ended(
			status,
			{ kind: "none" },
			"failed",
			`No such container: ${status.containerId || "it was removed"}`,
		);
	}
	return {
		status: reach({ ...status, error: trouble?.error ?? "" }, "preparing", "preparing"),
		action: "prepare",
	};
}

function withNewContainer(task: Wanted, seen: Container, { status, trouble }: Memory): Step {
	const prepared = { ...status, containerId: seen.containerId, error: trouble?.error ?? "" };
	if (task.desired === "ready") {
		return { status: reach(prepared, "ready", "prepared"), action: "none" };
	}
	return { status: reach(prepared, "starting", "starting"), action: "start" };
}

function withRunningContainer(seen: Container, { status }: Memory): Step {
	const { containerId, pid, health, ports } = seen;
	const alive = { ...status, containerId, pid, health, ports, error: "" };
	if (health === "unhealthy") {
		const [said = ""] = (seen.healthOutput ?? "").trim().split("\n");
		const error = `dockerexec: unhealthy container${said && `: ${said}`}`;
		return ended(alive, seen, "failed", error);
	}
	// As Docker does: a task with a health check runs once it was healthy, not before.
	if (health === "starting") {
		return {
			status: reach(alive, "starting", "waiting for the first health check"),
			action: "none",
		};
	}
	return { status: reach(alive, "running", "started"), action: "none" };
}

function withEndedContainer(task: Wanted, seen: Container, memory: Memory): Step {
	const status = { ...memory.status, containerId: seen.containerId };
	// A job's attempt may have done its work, or half of it: another one is the manager's to order.
	if (memory.interrupted && task.template.restart.condition !== "none" && !task.job) {
		// Not serving until it runs again, which `health` tells without a step back in state.
		const message = "starting again: the machine or its engine was restarted";
		const error = memory.trouble?.error ?? "";
		return { status: { ...status, pid: 0, health: "starting", message, error }, action: "start" };
	}
	const { exitCode } = seen;
	if (exitCode === 0 && !seen.error) {
		const complete = { ...idle(status), state: "complete", message: "finished" } as const;
		return { status: { ...complete, error: "", exitCode }, action: "none" };
	}
	const cut = memory.interrupted ? "the machine or its engine was restarted" : "";
	const cause = seen.oomKilled ? `out of memory${limitOf(task)}` : seen.error || cut;
	const error = `task: non-zero exit (${exitCode})${cause ? `: ${cause}` : ""}`;
	return ended({ ...status, exitCode }, seen, "failed", error);
}

function limitOf(task: Wanted): string {
	const bytes = task.template.limits.memoryBytes;
	return bytes > 0 ? ` (limit ${Math.round(bytes / 2 ** 20)} MiB)` : "";
}

/** Forward to `state`; a task that is further already stays there, and keeps its words. */
function reach(status: Said, state: TaskState, message: string): Said {
	return isBefore(state, status.state) ? status : { ...status, state, message };
}

function ended(status: Said, seen: Seen, state: "failed" | "rejected", error: string): Step {
	return {
		status: { ...idle(status), state, message: state, error },
		action: seen.kind === "running" ? "stop" : "none",
	};
}

function idle(status: Said): Said {
	return {
		...status,
		pid: 0,
		ports: [],
		health: status.health === "unhealthy" ? "unhealthy" : "none",
	};
}
