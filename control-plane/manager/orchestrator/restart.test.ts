import { describe, expect, test } from "bun:test";
import type { RestartPolicy } from "../../../model/service.ts";
import type { Task } from "../../../model/task.ts";
import type { TaskState } from "../../../model/taskstate.ts";
import { Little } from "../../../test/build.ts";
import { task } from "../scheduler/schedule.test-data.ts";
import { isToRestart, restartOf } from "./restart.ts";

const any: RestartPolicy = { condition: "any", delayMs: 5000, maxAttempts: 0, windowMs: 0 };

/** The slot's tasks, newest first: each with the state it ended in and when. */
const slot = (...ends: (readonly [TaskState, number])[]): Task[] =>
	ends.map(([state, sinceMs], index) =>
		task("web", `t${index}`, {
			generation: ends.length - index,
			status: { state, sinceMs },
		}),
	);

describe("whether there is to be another task", () => {
	test.each<readonly [string, Partial<RestartPolicy>, Task[], boolean]>([
		["nothing ended, nothing to restart from", {}, [], true],
		["any: after success too", {}, slot(["complete", 9]), true],
		["on-failure: not after success", { condition: "on-failure" }, slot(["complete", 9]), false],
		["on-failure: after failure", { condition: "on-failure" }, slot(["failed", 9]), true],
		["on-failure: after a refusal", { condition: "on-failure" }, slot(["rejected", 9]), true],
		["on-failure: when its node is lost", { condition: "on-failure" }, slot(["orphaned", 9]), true],
		["none: not after failure", { condition: "none" }, slot(["failed", 9]), false],
		["none: not when its node is lost", { condition: "none" }, slot(["orphaned", 9]), false],
		["one attempt, none made", { maxAttempts: 1 }, slot(["failed", 9]), true],
		["one attempt, made", { maxAttempts: 1 }, slot(["failed", 9], ["failed", 5]), false],
		[
			"what was moved was no attempt",
			{ maxAttempts: 1 },
			slot(["failed", 9], ["shutdown", 7], ["orphaned", 5]),
			true,
		],
		[
			"attempts before the window are forgotten",
			{ maxAttempts: 1, windowMs: 3 },
			slot(["failed", 9], ["failed", 5]),
			true,
		],
		[
			"attempts within the window count",
			{ maxAttempts: 1, windowMs: 4 },
			slot(["failed", 9], ["failed", 5]),
			false,
		],
		[
			"attempts of another template do not count",
			{ maxAttempts: 1 },
			[...slot(["failed", 9]), { ...(slot(["failed", 5])[0] as Task), templateVersion: 0 }],
			true,
		],
	])("%s", (_name, policy, tasks, want) => {
		expect(isToRestart({ ...any, ...policy }, tasks)).toBe(want);
	});
});

describe("when", () => {
	const at = (state: TaskState, createdMs: number, startAfterMs = 0) =>
		task("web", "t", { createdMs, startAfterMs, status: { state } });
	test.each<readonly [string, Partial<RestartPolicy>, Task[], number]>([
		["after the policy's delay at first", {}, [at("failed", 100_000)], 5_000],
		["without one, at once", { delayMs: 0 }, [at("failed", 100_000)], 0],
		["twice as long when it fails again", {}, [at("failed", 95_000, 100_000)], 10_000],
		["and again", {}, [at("failed", 90_000, 100_000)], 20_000],
		["up to a minute", {}, [at("failed", 60_000, 100_000)], 60_000],
		["as at first once it ran for a while", {}, [at("failed", 65_000, 70_000)], 5_000],
		[
			"even where the policy has no delay",
			{ delayMs: 0 },
			[at("failed", 100_000), at("failed", 99_000)],
			1_000,
		],
		[
			"a long delay of the policy's stays",
			{ delayMs: 90_000 },
			[at("failed", 10_000, 100_000)],
			90_000,
		],
		["at once when its node is lost", {}, [at("orphaned", 100_000)], 0],
	])("%s", (_name, policy, tasks, want) => {
		const nowMs = 101_000;
		const { afterMs } = restartOf({ ...any, ...policy }, tasks, nowMs);
		expect(afterMs === 0 ? 0 : afterMs - nowMs).toBe(want);
	});
});

test("a program that cannot start is tried ever more rarely, at one address", () => {
	const little = new Little(2);
	little.network("net");
	little.settle();
	little.fate = () => "failed";
	little.create("web", { networks: ["net"] });
	const delays = new Set<number>();
	const addresses = new Set<string>();
	const endMs = little.nowMs + 300_000;
	while (little.nowMs < endMs) {
		const isIdle = !little.turn();
		for (const { createdMs, startAfterMs, attachments } of little.tasks("web")) {
			delays.add(Math.max(0, startAfterMs - createdMs) / 1000);
			for (const { address } of attachments) addresses.add(address);
		}
		if (!isIdle) continue;
		// Machines report themselves three times before they count as silent.
		little.nowMs = Math.min(little.wakeAtMs ?? endMs, little.nowMs + 5_000);
	}
	expect([...delays]).toEqual([0, 5, 10, 20, 40, 60]);
	expect([...addresses]).toEqual(["10.0.0.3"]);
	expect(little.tasks("web").length).toBeLessThanOrEqual(6);
});

test("a one-shot that has run is not run again, whatever happens around it", () => {
	const little = new Little(2);
	little.fate = ({ service }) => (service === "s-init" ? "complete" : undefined);
	little.create("init", {
		replicas: 2,
		template: { restart: { ...any, condition: "none" } },
	});
	little.settle(60_000);
	little.availability(1, "drain");
	little.settle(60_000);
	little.availability(1, "active");
	little.settle(60_000);
	expect(little.tasks("init").map(({ slot: number, status }) => [number, status.state])).toEqual([
		[1, "complete"],
		[2, "complete"],
	]);
});
