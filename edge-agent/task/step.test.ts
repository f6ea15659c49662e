import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { TaskAssignment } from "../../model/assignment.ts";
import { isBefore, isTerminal, type TaskState, taskStates } from "../../model/taskstate.ts";
import { type Memory, type Seen, step, unseen } from "./step.ts";
import { templateOf } from "./template.test-data.ts";

const task = (
	desired: TaskAssignment["desired"],
	changes: Parameters<typeof templateOf>[0] = {},
): Pick<TaskAssignment, "desired" | "template"> => ({ desired, template: templateOf(changes) });

const ofJob = { ...task("running"), job: true as const };

const memory = (state: TaskState, changes: Partial<Memory> = {}): Memory => ({
	...unseen,
	...changes,
	status: { ...unseen.status, state, containerId: "c1" },
});

const seen = (
	kind: "created" | "running" | "ended",
	changes: Partial<Exclude<Seen, { kind: "none" }>> = {},
): Seen => ({
	kind,
	containerId: "c1",
	pid: kind === "running" ? 42 : 0,
	exitCode: 0,
	error: "",
	oomKilled: false,
	health: "none",
	ports: [],
	...changes,
});
const none: Seen = { kind: "none" };
const trouble = (kind: "waiting" | "rejected" | "failed") => ({
	trouble: { kind, error: "words" },
});

describe("one step", () => {
	test.each([
		// desired, seen, remembered → said, done
		["is prepared when it is new", task("running"), none, unseen, "preparing", "prepare"],
		["is prepared ahead of its turn", task("ready"), none, unseen, "preparing", "prepare"],
		["is held ready", task("ready"), seen("created"), memory("preparing"), "ready", "none"],
		["stays ready", task("ready"), seen("created"), memory("ready"), "ready", "none"],
		["is started", task("running"), seen("created"), memory("ready"), "starting", "start"],
		["runs", task("running"), seen("running"), memory("starting"), "running", "none"],
		[
			"waits for its first health check",
			task("running"),
			seen("running", { health: "starting" }),
			memory("starting"),
			"starting",
			"none",
		],
		[
			"runs once it is healthy",
			task("running"),
			seen("running", { health: "healthy" }),
			memory("starting"),
			"running",
			"none",
		],
		[
			"fails and is stopped when it is unhealthy",
			task("running"),
			seen("running", { health: "unhealthy" }),
			memory("running"),
			"failed",
			"stop",
		],
		["completes", task("running"), seen("ended"), memory("running"), "complete", "none"],
		["fails", task("running"), seen("ended", { exitCode: 3 }), memory("running"), "failed", "none"],
		[
			"fails when its container vanished",
			task("running"),
			none,
			memory("running"),
			"failed",
			"none",
		],
		[
			"is prepared anew if it never ran",
			task("running"),
			none,
			memory("ready"),
			"ready",
			"prepare",
		],
		[
			"is rejected",
			task("running"),
			none,
			memory("preparing", trouble("rejected")),
			"rejected",
			"none",
		],
		[
			"fails to start",
			task("running"),
			seen("created"),
			memory("starting", trouble("failed")),
			"failed",
			"none",
		],
		[
			"tries again",
			task("running"),
			none,
			memory("preparing", trouble("waiting")),
			"preparing",
			"prepare",
		],
		["is stopped", task("shutdown"), seen("running"), memory("running"), "running", "stop"],
		[
			"was stopped",
			task("shutdown"),
			seen("ended", { exitCode: 143 }),
			memory("running"),
			"shutdown",
			"none",
		],
		["never begins", task("shutdown"), none, unseen, "shutdown", "none"],
		[
			"is stopped before it began",
			task("shutdown"),
			seen("created"),
			memory("ready"),
			"shutdown",
			"none",
		],
		[
			"stays failed when it is told to stop",
			task("shutdown"),
			none,
			memory("failed"),
			"failed",
			"none",
		],
		[
			"is stopped when somebody starts it again",
			task("running"),
			seen("running"),
			memory("complete"),
			"complete",
			"stop",
		],
		[
			"is started again after the machine was",
			task("running"),
			seen("ended", { exitCode: 255 }),
			memory("running", { interrupted: true }),
			"running",
			"start",
		],
		[
			"fails with the machine if it must not be restarted",
			task("running", { restart: { condition: "none", delayMs: 0, maxAttempts: 0, windowMs: 0 } }),
			seen("ended", { exitCode: 255 }),
			memory("running", { interrupted: true }),
			"failed",
			"none",
		],
		[
			"fails with the machine if it is a job's, to be tried anew or not",
			ofJob,
			seen("ended", { exitCode: 255 }),
			memory("running", { interrupted: true }),
			"failed",
			"none",
		],
		[
			"has completed, if it is a job's that ended well before the machine did",
			ofJob,
			seen("ended"),
			memory("running", { interrupted: true }),
			"complete",
			"none",
		],
		[
			"is not started again to be stopped",
			task("shutdown"),
			seen("ended", { exitCode: 255 }),
			memory("running", { interrupted: true }),
			"shutdown",
			"none",
		],
	] as const)("%s", (_name, wanted, saw, remembered, state, action) => {
		const result = step(wanted, saw, remembered);
		expect([result.status.state, result.action]).toEqual([state, action]);
	});
});

describe("the words", () => {
	test.each([
		["an exit code", seen("ended", { exitCode: 3 }), {}, "task: non-zero exit (3)"],
		[
			"a lack of memory, with the limit",
			seen("ended", { exitCode: 137, oomKilled: true }),
			{ limits: { nanoCpus: 0, memoryBytes: 64 * 2 ** 20, pids: 0 } },
			"task: non-zero exit (137): out of memory (limit 64 MiB)",
		],
		[
			"Docker's own",
			seen("ended", { exitCode: 127, error: "no such file" }),
			{},
			"task: non-zero exit (127): no such file",
		],
		["ill health", seen("running", { health: "unhealthy" }), {}, "dockerexec: unhealthy container"],
	] as const)("%s", (_name, saw, changes, error) => {
		expect(step(task("running", changes), saw, memory("running")).status.error).toBe(error);
	});

	test("of a job that was cut off", () => {
		const interrupted = memory("running", { interrupted: true });
		const { status } = step(ofJob, seen("ended", { exitCode: 255 }), interrupted);
		expect(status.error).toBe("task: non-zero exit (255): the machine or its engine was restarted");
	});

	test("of a stop that went well are none", () => {
		const { status } = step(task("shutdown"), seen("ended", { exitCode: 143 }), memory("running"));
		expect([status.error, status.exitCode, status.pid]).toEqual(["", 143, 0]);
	});

	test("of an interruption: it runs, and serves nobody", () => {
		const interrupted = memory("running", { interrupted: true });
		const { status } = step(task("running"), seen("ended"), interrupted);
		expect([status.state, status.health, status.pid]).toEqual(["running", "starting", 0]);
	});
});

describe("laws", () => {
	const anySeen = fc.oneof(
		fc.constant(none),
		fc
			.record({
				kind: fc.constantFrom("created" as const, "running" as const, "ended" as const),
				exitCode: fc.integer({ min: 0, max: 255 }),
				health: fc.constantFrom(
					"none" as const,
					"starting" as const,
					"healthy" as const,
					"unhealthy" as const,
				),
				oomKilled: fc.boolean(),
			})
			.map(({ kind, ...changes }) => seen(kind, changes)),
	);
	const agentStates = taskStates.filter(
		(state) => !["new", "pending", "assigned", "remove", "orphaned"].includes(state),
	);
	const anyMemory = fc
		.record({
			state: fc.constantFrom(...agentStates),
			trouble: fc.constantFrom(
				null,
				...(["waiting", "rejected", "failed"] as const).map((kind) => trouble(kind).trouble),
			),
			interrupted: fc.boolean(),
		})
		.map(({ state, ...changes }) => memory(state, changes));
	const anyTask = fc.constantFrom(task("ready"), task("running"), task("shutdown"));

	test("a task never moves back, and what has ended stays as it ended", () => {
		fc.assert(
			fc.property(anyTask, anySeen, anyMemory, (wanted, saw, remembered) => {
				const { status } = step(wanted, saw, remembered);
				expect(isBefore(status.state, remembered.status.state)).toBe(false);
				if (isTerminal(remembered.status.state)) expect(status).toEqual(remembered.status);
			}),
		);
	});

	test("nothing is started that must stop, and nothing runs on that has ended", () => {
		fc.assert(
			fc.property(anyTask, anySeen, anyMemory, (wanted, saw, remembered) => {
				const { status, action } = step(wanted, saw, remembered);
				if (wanted.desired === "shutdown") expect(["none", "stop"]).toContain(action);
				if (isTerminal(status.state) && saw.kind === "running") expect(action).toBe("stop");
				if (wanted.desired === "ready" && saw.kind === "created") expect(action).not.toBe("start");
			}),
		);
	});

	test("a step repeated on what it said asks for the same again", () => {
		fc.assert(
			fc.property(anyTask, anySeen, anyMemory, (wanted, saw, remembered) => {
				const once = step(wanted, saw, remembered);
				const twice = step(wanted, saw, { ...remembered, status: once.status });
				expect(twice.status).toEqual(once.status);
			}),
		);
	});
});
