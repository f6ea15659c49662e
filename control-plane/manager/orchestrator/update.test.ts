// Rolling updates, watched turn by turn.

import { describe, expect, test } from "bun:test";
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

function running(words: Partial<UpdatePolicy>, replicas = 4): Little {
	const little = new Little(3);
	little.network("net");
	little.settle();
	little.create("web", {
		replicas,
		networks: ["net"],
		spec: { update: { ...policy, ...words }, rollback: policy },
	});
	little.settle(60_000);
	expect(little.running("web").filter(({ serving }) => serving)).toHaveLength(replicas);
	return little;
}

/** Every turn until the update is over: the fewest that served, the most slots under way, the states on the way. */
function watch(little: Little, forMs = 120_000) {
	const { templateVersion } = little.service("web");
	const seen = { fewest: Number.POSITIVE_INFINITY, most: 0, states: [] as string[] };
	const started: number[] = [];
	const endMs = little.nowMs + forMs;
	const look = () => {
		const { updateStatus } = little.service("web");
		const state = updateStatus?.state ?? "none";
		if (seen.states.at(-1) !== state) seen.states.push(state);
		const tasks = little.tasks("web");
		seen.fewest = Math.min(seen.fewest, tasks.filter(({ serving }) => serving).length);
		const underway = tasks.filter(
			(task) =>
				task.templateVersion === templateVersion && !task.serving && task.released === false,
		);
		seen.most = Math.max(seen.most, underway.length);
		started.push(tasks.filter((task) => task.templateVersion === templateVersion).length);
		expect(check(little.facts)).toEqual([]);
	};
	look();
	while (little.nowMs < endMs) {
		if (little.turn()) look();
		else little.nowMs = Math.min(little.wakeAtMs ?? endMs, little.nowMs + 4_000, endMs);
	}
	return seen;
}

describe("an update", () => {
	test.each<readonly [string, Partial<UpdatePolicy>, number, number]>([
		["goes slot by slot", {}, 3, 1],
		["goes two by two", { parallelism: 2 }, 2, 2],
		["goes all at once", { parallelism: 0 }, 0, 4],
		["starts the new before it stops the old", { order: "start-first" }, 4, 1],
	])("%s", (_name, words, fewest, most) => {
		const little = running(words);
		const before = little.tasks("web").map(({ attachments }) => attachments[0]?.address);
		little.image("web", "new");
		const seen = watch(little);
		expect(seen).toEqual({ fewest, most, states: ["updating", "completed"] });
		const after = little.running("web");
		expect(after.map(({ templateVersion }) => templateVersion)).toEqual([2, 2, 2, 2]);
		if (words.order === "start-first") return;
		expect(after.map(({ attachments }) => attachments[0]?.address)).toEqual(before);
	});

	test("leaves a delay between slots, and watches the last ones before it says it is done", () => {
		const little = running({ delayMs: 20_000 });
		const startedMs = little.nowMs;
		little.image("web", "new");
		little.settle(59_000);
		expect(little.service("web").updateStatus?.state).toBe("updating");
		expect(little.running("web").every(({ templateVersion }) => templateVersion === 2)).toBe(false);
		little.settle(60_000);
		const { updateStatus } = little.service("web");
		expect(updateStatus?.state).toBe("completed");
		expect((updateStatus?.completedMs ?? 0) - startedMs).toBeGreaterThanOrEqual(65_000);
	});

	test("stops at the first that fails, and leaves the others alone", () => {
		const little = running({});
		little.fate = ({ templateVersion }) => (templateVersion === 2 ? "failed" : undefined);
		little.image("web", "broken");
		const seen = watch(little, 60_000);
		expect(seen.states).toEqual(["updating", "paused"]);
		expect(little.service("web").updateStatus?.message).toStartWith(
			"update paused due to failure or early termination of task ",
		);
		expect(little.running("web").map(({ templateVersion }) => templateVersion)).toEqual([1, 1, 1]);
		little.fate = () => undefined;
		little.image("web", "mended");
		expect(watch(little).states).toEqual(["updating", "completed"]);
		expect(little.running("web")).toHaveLength(4);
	});

	test("goes back when told to, and touches only what had changed", () => {
		const little = running({ failureAction: "rollback" });
		const kept = little.running("web").map(({ id }) => id);
		little.fate = ({ templateVersion }) => (templateVersion === 2 ? "failed" : undefined);
		little.image("web", "broken");
		const seen = watch(little);
		expect(seen.states).toEqual(["updating", "rollback_started", "rollback_completed"]);
		const after = little.running("web");
		expect(after).toHaveLength(4);
		expect(after.filter(({ id }) => kept.includes(id))).toHaveLength(3);
		expect(little.service("web").spec.template.container.image).toBe("nginx");
	});

	test("is none when only the count changes", () => {
		const little = running({});
		little.scale("web", 6);
		expect(watch(little, 30_000).states).toEqual(["none"]);
		expect(little.running("web")).toHaveLength(6);
	});

	test("begun anew by a change of the count takes no second slot beside the one that it has down", () => {
		const little = running({});
		little.image("web", "new");
		little.turn();
		expect(little.running("web")).toHaveLength(3);
		little.nowMs += 1_000;
		little.scale("web", 5);
		const seen = watch(little);
		expect(seen.fewest).toBeGreaterThanOrEqual(3);
		expect(seen.states).toEqual(["updating", "completed"]);
		expect(little.running("web")).toHaveLength(5);
	});

	test("begins with the slot that is down, wherever it stands", () => {
		const little = running({ failureAction: "rollback" });
		const isThirdOf = (slot: number, version: number) => slot === 3 && version === 2;
		little.fate = ({ slot, templateVersion }) =>
			isThirdOf(slot, templateVersion) ? "failed" : undefined;
		little.image("web", "fails in the third");
		const seen = watch(little);
		expect(seen.states).toEqual(["updating", "rollback_started", "rollback_completed"]);
		expect(seen.fewest).toBe(3);
	});

	test.each<readonly [string, Partial<UpdatePolicy>, number]>([
		["within the ratio", { maxFailureRatio: 0.5 }, 2],
		["whatever fails", { failureAction: "continue" }, 4],
	])("counts slots that fail as done, %s, and is completed", (_name, words, failing) => {
		const little = running({ ...words, delayMs: 1_000 });
		const isFailing = ({ slot, templateVersion }: Task) => slot <= failing && templateVersion === 2;
		little.fate = (task) => (isFailing(task) ? "failed" : undefined);
		little.image("web", "fails in some");
		const seen = watch(little, 60_000);
		expect(seen.states).toEqual(["updating", "completed"]);
		const [rollout] = little.service("web").rollouts ?? [];
		expect(rollout).toMatchObject({
			outcome: "succeeded",
			progress: { updated: 4 - failing, total: 4 },
			reason: `${failing} of 4 slots are not up, which the update's policy allows`,
		});
		expect(rollout?.failure?.slot).toBe(1);
		// What failed is tried again as any task is.
		little.fate = () => undefined;
		little.settle(120_000);
		expect(little.running("web")).toHaveLength(4);
		expect(little.service("web").updateStatus?.state).toBe("completed");
	});

	test("one slot more than the ratio is a failure", () => {
		const little = running({ maxFailureRatio: 0.5 });
		const isFailing = ({ slot, templateVersion }: Task) => slot <= 3 && templateVersion === 2;
		little.fate = (task) => (isFailing(task) ? "failed" : undefined);
		little.image("web", "fails in three");
		expect(watch(little, 60_000).states).toEqual(["updating", "paused"]);
		expect(little.running("web").map(({ slot }) => slot)).toEqual([4]);
	});

	test("that starts the new first leaves the old one where the new fails, until one is up", () => {
		const little = running({ order: "start-first", maxFailureRatio: 0.5 });
		const isFailing = ({ slot, templateVersion }: Task) => slot === 2 && templateVersion === 2;
		little.fate = (task) => (isFailing(task) ? "failed" : undefined);
		little.image("web", "fails in the second");
		const seen = watch(little, 200_000);
		expect(seen).toMatchObject({ fewest: 4, states: ["updating", "completed"] });
		const versions = () => little.running("web").map(({ templateVersion }) => templateVersion);
		expect(versions()).toEqual([2, 1, 2, 2]);
		little.fate = () => undefined;
		expect(watch(little, 120_000)).toMatchObject({ fewest: 4, states: ["completed"] });
		expect(versions()).toEqual([2, 2, 2, 2]);
		expect(little.service("web").rollouts).toHaveLength(1);
	});

	test("is overtaken by the next", () => {
		const little = running({ order: "start-first" });
		little.image("web", "one");
		little.turn();
		little.turn();
		little.image("web", "two");
		little.turn();
		little.image("web", "three");
		const seen = watch(little, 240_000);
		expect(seen.fewest).toBe(4);
		expect(seen.states).toEqual(["updating", "completed"]);
		expect(little.running("web").map(({ templateVersion }) => templateVersion)).toEqual([
			4, 4, 4, 4,
		]);
	});
});
