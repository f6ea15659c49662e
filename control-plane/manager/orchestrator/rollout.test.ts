// What is known of rollouts when they are over, and what holds while they go on.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { deadlineLabel } from "../../../model/labels.ts";
import { keptRollouts, type Rollout } from "../../../model/rollout.ts";
import type { UpdatePolicy } from "../../../model/service.ts";
import type { Task } from "../../../model/task.ts";
import { Little } from "../../../test/build.ts";
import { check } from "../checks.ts";

const policy: UpdatePolicy = {
	parallelism: 1,
	delayMs: 0,
	failureAction: "pause",
	monitorMs: 5_000,
	maxFailureRatio: 0,
	order: "stop-first",
};

function running(
	words: Partial<UpdatePolicy> = {},
	labels: Readonly<Record<string, string>> = {},
	replicas = 3,
): Little {
	const little = new Little(3);
	little.network("net");
	little.settle();
	little.create("web", {
		replicas,
		networks: ["net"],
		spec: { labels, update: { ...policy, ...words }, rollback: policy },
	});
	little.settle(60_000);
	return little;
}

const rollouts = (little: Little): readonly Rollout[] => little.service("web").rollouts ?? [];
/** `update nginx → new: succeeded`, newest first. */
const said = (little: Little) =>
	rollouts(little).map(
		({ kind, from, to, outcome }) => `${kind} ${from?.image} → ${to.image}: ${outcome}`,
	);
const failsAt = (version: number) => (little: Little) => {
	little.fate = ({ templateVersion }) => (templateVersion === version ? "failed" : undefined);
};

describe("a rollout", () => {
	test("is none when a service is made or scaled", () => {
		const little = running();
		little.scale("web", 5);
		little.settle(60_000);
		expect(said(little)).toEqual([]);
	});

	test("says how far it got, and that it succeeded", () => {
		const little = running();
		const startedMs = little.nowMs;
		little.image("web", "new");
		expect(rollouts(little)[0]).toMatchObject({
			number: 1,
			kind: "update",
			from: { templateVersion: 1, image: "nginx" },
			to: { templateVersion: 2, image: "new" },
			startedMs,
			endedMs: null,
			outcome: null,
			progress: { updated: 0, total: 3 },
		});
		const seen = new Set<number>();
		for (let count = 0; count < 60; count++) {
			little.turn();
			seen.add(rollouts(little)[0]?.progress.updated ?? 0);
		}
		little.settle(60_000);
		expect([...seen]).toEqual([0, 1, 2, 3]);
		expect(said(little)).toEqual(["update nginx → new: succeeded"]);
		expect(rollouts(little)[0]).toMatchObject({ failure: null, reason: "" });
		expect(rollouts(little)[0]?.endedMs).toBeGreaterThanOrEqual(startedMs + 5_000);
	});

	test("that failed keeps what the first failing task's node saw", () => {
		const little = running();
		failsAt(2)(little);
		little.image("web", "broken");
		for (let count = 0; count < 8; count++) little.turn();
		const failed = little.tasks("web").find(({ status }) => status.state === "failed");
		expect(failed).toBeDefined();
		if (!failed) return;
		// The node says more of it a moment later.
		const evidence = { oomKilled: true, health: "", lines: ["starting", "boom", ""] };
		little.report(failed, { error: "task: non-zero exit (137)", exitCode: 137, evidence });
		little.settle(60_000);
		expect(said(little)).toEqual(["update nginx → broken: failed"]);
		expect(rollouts(little)[0]?.failure).toEqual({
			task: failed.id,
			slot: failed.slot,
			node: failed.node,
			error: "task: non-zero exit (137)",
			exitCode: 137,
			evidence,
		});
	});

	test("that was rolled back is followed by the way back, to the very same version", () => {
		const little = running({ failureAction: "rollback" });
		failsAt(2)(little);
		little.image("web", "broken@sha256:2");
		little.settle(120_000);
		expect(said(little)).toEqual([
			"automatic rollback broken@sha256:2 → nginx: succeeded",
			"update nginx → broken@sha256:2: rolled back",
		]);
		expect(rollouts(little)[0]?.to.templateVersion).toBe(1);
		expect(little.service("web").spec.template.container.image).toBe("nginx");
		const failed = rollouts(little)[1];
		expect(failed?.reason).toMatch(
			/^update rolled back due to failure or early termination of task t\d+ \(web\.1 on n\d\)/,
		);
		expect(failed?.failure?.task).toMatch(/^t\d+$/);
	});

	test("is superseded by the next update", () => {
		const little = running();
		little.image("web", "one");
		little.turn();
		little.image("web", "two");
		little.settle(120_000);
		expect(said(little)).toEqual(["update one → two: succeeded", "update nginx → one: superseded"]);
	});

	test("goes on while the service is scaled", () => {
		const little = running();
		little.image("web", "one");
		little.turn();
		little.scale("web", 5);
		little.settle(120_000);
		expect(said(little)).toEqual(["update nginx → one: succeeded"]);
		expect(rollouts(little)[0]?.progress).toEqual({ updated: 5, total: 5 });
	});

	test.each<readonly [string, Partial<UpdatePolicy>, string, readonly string[]]>([
		["pauses", {}, "paused", ["update nginx → stuck: timed out"]],
		[
			"goes back, where that was asked for",
			{ failureAction: "rollback" },
			"rollback_completed",
			["automatic rollback stuck → nginx: succeeded", "update nginx → stuck: timed out"],
		],
	])("past its deadline %s", (_name, words, state, outcomes) => {
		const little = running(words, { [deadlineLabel]: "30s" });
		little.fate = ({ templateVersion }) => (templateVersion === 2 ? "starting" : undefined);
		little.image("web", "stuck");
		const startedMs = little.nowMs;
		little.settle(29_000);
		expect(said(little)).toEqual(["update nginx → stuck: null"]);
		little.settle(120_000);
		expect(said(little)).toEqual([...outcomes]);
		expect(little.service("web").updateStatus?.state).toBe(state as never);
		const late = rollouts(little).find(({ outcome }) => outcome === "timed out");
		expect(late?.endedMs).toBe(startedMs + 30_000);
		expect(late?.reason).toContain(
			"because no task was updated within 30 s (label skein.rollout.deadline): web.1 is starting",
		);
	});

	test("that gets on has its deadline again with each slot", () => {
		const little = running({ delayMs: 20_000 }, { [deadlineLabel]: "10s" });
		little.image("web", "slow");
		little.settle(120_000);
		expect(said(little)).toEqual(["update nginx → slow: succeeded"]);
	});

	test("is forgotten after a while", () => {
		const little = running();
		for (let count = 0; count < keptRollouts + 3; count++) {
			little.image("web", `v${count}`);
			little.settle(60_000);
		}
		expect(rollouts(little)).toHaveLength(keptRollouts + 1);
		expect(rollouts(little)[0]?.number).toBe(keptRollouts + 3);
	});
});

const policies = fc.record({
	parallelism: fc.integer({ min: 1, max: 3 }),
	delayMs: fc.constantFrom(0, 3_000),
	failureAction: fc.constantFrom("pause" as const, "continue" as const, "rollback" as const),
	monitorMs: fc.constantFrom(1, 5_000),
	maxFailureRatio: fc.constantFrom(0, 0.5),
	order: fc.constantFrom("stop-first" as const, "start-first" as const),
});

test("every rollout comes to its end, whatever fails of it, and says so", () => {
	fc.assert(
		fc.property(
			policies,
			fc.integer({ min: 1, max: 5 }),
			fc.array(fc.integer({ min: 1, max: 5 })),
			(update, replicas, failing) => {
				const little = running(update, {}, replicas);
				little.fate = ({ slot, templateVersion }) =>
					templateVersion === 2 && failing.includes(slot) ? "failed" : undefined;
				little.image("web", "new");
				little.settle(300_000);
				const broken = new Set(failing.filter((slot) => slot <= replicas)).size;
				const isBorne =
					update.failureAction === "continue" || broken <= update.maxFailureRatio * replicas;
				const halted = update.failureAction === "pause" ? "paused" : "rollback_completed";
				const state = little.service("web").updateStatus?.state;
				expect(state).toBe(isBorne ? "completed" : halted);
				expect(rollouts(little).at(-1)?.failure === null).toBe(broken === 0);
			},
		),
		{ numRuns: 100 },
	);
});

/** With a broken image among the new ones, of which none may take more down than the old one's policy allows. */
test("serving capacity never falls below the replicas less those that may be down at once", () => {
	fc.assert(
		fc.property(
			policies,
			fc.integer({ min: 1, max: 6 }),
			fc.array(fc.constantFrom("new", "newer", "broken"), { maxLength: 4 }),
			(update, replicas, images) => {
				const little = running({ ...update, maxFailureRatio: 0 }, {}, replicas);
				const imageOf = (task: Task) =>
					little.facts.template(task.service, task.templateVersion)?.template.container.image;
				little.fate = (task) => (imageOf(task) === "broken" ? "failed" : undefined);
				const down = update.order === "start-first" ? 0 : update.parallelism;
				for (const image of images) {
					if (update.failureAction === "continue" && image === "broken") continue;
					little.image("web", image);
					for (let count = 0; isUnderWay(little) && count < 1_000; count++) {
						if (!little.turn()) {
							little.nowMs = Math.max(little.wakeAtMs ?? 0, little.nowMs + 1_000);
						}
						expect(check(little.facts)).toEqual([]);
						const serving = little.tasks("web").filter((task) => task.serving).length;
						expect(serving).toBeGreaterThanOrEqual(replicas - down);
					}
					expect(isUnderWay(little)).toBe(false);
					if (little.service("web").updateStatus?.state === "paused") return;
				}
			},
		),
		{
			numRuns: 100,
			// Found: the way back led to an older version that said the same, and replaced what ran.
			examples: [
				[
					{ ...policy, failureAction: "rollback", monitorMs: 1, order: "start-first" },
					1,
					["new", "newer", "new", "broken"],
				],
			],
		},
	);
});

function isUnderWay(little: Little): boolean {
	const state = little.service("web").updateStatus?.state;
	return state === "updating" || state === "rollback_started";
}

test("a rollback restores the exact image, by its digest", () => {
	fc.assert(
		fc.property(policies, fc.integer({ min: 1, max: 4 }), (update, replicas) => {
			const little = running(
				{ ...update, failureAction: "rollback", maxFailureRatio: 0 },
				{},
				replicas,
			);
			const digest = `sha256:${"1".repeat(64)}`;
			little.image("web", `app:latest@${digest}`);
			little.settle(240_000);
			const kept = little.running("web").map(({ templateVersion }) => templateVersion);
			failsAt(3)(little);
			little.image("web", `app:latest@sha256:${"2".repeat(64)}`);
			little.settle(240_000);
			const service = little.service("web");
			expect(service.updateStatus?.state).toBe("rollback_completed");
			expect(service.spec.template.container.image).toBe(`app:latest@${digest}`);
			expect(little.running("web").map(({ templateVersion }) => templateVersion)).toEqual(kept);
		}),
		{ numRuns: 50 },
	);
});
