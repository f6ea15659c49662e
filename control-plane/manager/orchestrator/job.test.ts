// Jobs, turn by turn: what is run, how often, and that it is never run again.

import { describe, expect, test } from "bun:test";
import type { RestartPolicy } from "../../../model/service.ts";
import type { Task } from "../../../model/task.ts";
import { isTerminal } from "../../../model/taskstate.ts";
import { constrained, Little, nodeId, type Words } from "../../../test/build.ts";
import { assign } from "../assign.ts";
import { check } from "../checks.ts";

const restart: RestartPolicy = {
	condition: "on-failure",
	delayMs: 2000,
	maxAttempts: 0,
	windowMs: 0,
};

function job(words: Words & { readonly restart?: Partial<RestartPolicy> }, nodes = 3): Little {
	const little = new Little(nodes);
	little.settle();
	little.nowMs += 1_000;
	little.create("job", {
		mode: "replicated-job",
		...words,
		template: { restart: { ...restart, ...words.restart }, ...words.template },
	});
	return little;
}

const states = (little: Little) =>
	little.tasks("job").map(({ slot, iteration, status }) => `${slot}.${iteration} ${status.state}`);
const run = (little: Little) => little.service("job").job;
const ended = (little: Little, state: "complete" | "failed") => {
	for (const task of little.running("job")) little.report(task, { state });
};

describe("a replicated job", () => {
	test("runs as many as asked for, so many at once, each to its end and not again", () => {
		const little = job({ replicas: 5, concurrent: 2 });
		let [most, turns] = [0, 0];
		little.fate = () => undefined;
		while (run(little)?.state === "running" && turns++ < 50) {
			little.settle();
			most = Math.max(most, little.running("job").length);
			ended(little, "complete");
			expect(check(little.facts)).toEqual([]);
		}
		expect(most).toBe(2);
		expect(run(little)).toMatchObject({ state: "complete", iteration: 0 });
		const done = ["1.0 complete", "2.0 complete", "3.0 complete", "4.0 complete", "5.0 complete"];
		expect(states(little)).toEqual(done);
		little.settle(600_000);
		expect(states(little)).toEqual(done);
	});

	test("leaves its containers where they ended, for their logs, until it is removed", () => {
		const little = job({ replicas: 2 }, 1);
		const told = () => assign(little.facts, nodeId(1));
		little.fate = () => "complete";
		little.settle(10_000);
		const ids = little.tasks("job").map(({ id }) => id);
		expect(told()).toMatchObject({ tasks: [], ended: ids });
		little.remove("job");
		little.settle(10_000);
		expect(told().ended).toBeUndefined();
	});

	test("wants nothing where nothing is to be completed", () => {
		const little = job({ replicas: 0, concurrent: 1 });
		little.settle();
		expect(run(little)?.state).toBe("complete");
	});

	test.each<readonly [string, Partial<RestartPolicy>, readonly string[], string]>([
		["gives up at once", { condition: "none" }, ["1.0 failed"], "failed"],
		[
			"tries as often as it may",
			{ maxAttempts: 2 },
			["1.0 failed", "1.0 failed", "1.0 failed"],
			"failed",
		],
	])("that fails %s", (_name, words, want, state) => {
		const little = job({ restart: words });
		little.fate = () => "failed";
		little.settle(600_000);
		expect(states(little)).toEqual([...want]);
		expect(run(little)?.state).toBe(state as never);
		expect(run(little)?.message).toMatch(
			/^0 of 1 completed, the others failed for good: task t\d+: failed$/,
		);
	});

	test("that fails is tried again at a slower pace each time, until it succeeds", () => {
		const little = job({});
		little.fate = ({ generation }) => (generation < 5 ? "failed" : "complete");
		little.settle(600_000);
		expect(run(little)?.state).toBe("complete");
		const [, ...again] = little.tasks("job");
		expect(again.map(({ startAfterMs, createdMs }) => startAfterMs - createdMs)).toEqual([
			2_000, 4_000, 8_000, 16_000,
		]);
	});

	test("one that is given up does not keep the others from their turn", () => {
		const little = job({ replicas: 3, concurrent: 1, restart: { condition: "none" } });
		little.fate = ({ slot }) => (slot === 1 ? "failed" : "complete");
		little.settle(60_000);
		expect(states(little)).toEqual(["1.0 failed", "2.0 complete", "3.0 complete"]);
		expect(run(little)?.message).toStartWith("2 of 3 completed, the others failed for good: task");
	});

	test.each<readonly [string, (little: Little, task: Task) => void]>([
		["silent", (little, task) => little.silent.add(task.node ?? nodeId(1))],
		[
			"drained",
			(little, task) =>
				little.availability(little.facts.nodes.get(task.node ?? nodeId(1))?.index ?? 0, "drain"),
		],
	])(
		"an attempt whose node is %s is made again elsewhere, one that completed is not",
		(_name, befall) => {
			const little = job({ replicas: 2 });
			little.settle();
			const [first, second] = little.running("job");
			if (!first || !second) throw new Error("two run");
			expect(first.node).not.toBe(second.node);
			little.report(first, { state: "complete" });
			little.settle();
			befall(little, first);
			befall(little, second);
			little.settle(60_000);
			const again = little.running("job");
			expect(again.map(({ slot }) => slot)).toEqual([second.slot]);
			expect(again[0]?.node).not.toBe(second.node);
			ended(little, "complete");
			little.silent.clear();
			for (const node of little.facts.nodes.values()) little.availability(node.index, "active");
			little.settle(600_000);
			expect(run(little)?.state).toBe("complete");
			expect(little.tasks("job").filter(({ status }) => !isTerminal(status.state))).toEqual([]);
		},
	);

	test("what completed although it was told to stop has no successor, with no history kept at all", () => {
		const little = job({ replicas: 2 });
		little.facts.cluster = { ...little.facts.cluster, taskHistory: 0 };
		little.settle();
		const [task, other] = little.running("job");
		if (!task || !other) throw new Error("two run");
		little.availability(little.facts.nodes.get(task.node ?? nodeId(1))?.index ?? 0, "drain");
		little.plan();
		expect(little.tasks("job")).toHaveLength(3);
		little.report(task, { state: "complete" });
		little.settle(600_000);
		expect(little.running("job").map(({ id }) => id)).toEqual([other.id]);
		little.report(other, { state: "complete" });
		little.settle(600_000);
		expect(run(little)?.state).toBe("complete");
		expect(little.tasks("job").map(({ id }) => id)).toContain(task.id);
		for (const node of little.facts.nodes.values()) little.availability(node.index, "active");
		little.settle(600_000);
		expect(little.running("job")).toEqual([]);
	});

	test("what completed while it was scaled away is done when its slot is wanted again in the same run", () => {
		const little = job({ replicas: 2, spec: { labels: { "skein.schedule": "@yearly" } } });
		const scale = (totalCompletions: number) =>
			little.update("job", (spec) => ({
				...spec,
				mode: { kind: "replicated-job", totalCompletions, maxConcurrent: 2 },
			}));
		little.update("job", (spec) => ({ ...spec, template: { ...spec.template, forceUpdate: 1 } }));
		little.settle();
		const [first, second] = little.running("job");
		if (!first || !second) throw new Error("two run");
		scale(1);
		little.report(second, { state: "complete" });
		little.settle();
		scale(2);
		little.settle(10_000);
		expect(run(little)).toMatchObject({ iteration: 0, state: "running" });
		expect(little.running("job").map(({ id }) => id)).toEqual([first.id]);
		little.remove("job");
		little.settle(10_000);
		expect(little.tasks("job")).toEqual([]);
	});

	test("is run again, from the first slot to the last, by a new spec and by nothing less", () => {
		const little = job({ replicas: 2 });
		little.fate = () => "complete";
		little.settle(10_000);
		little.update("job", (spec) => ({ ...spec }));
		little.settle(10_000);
		expect(run(little)).toMatchObject({ iteration: 0, state: "complete" });
		little.image("job", "new");
		expect(run(little)).toMatchObject({ iteration: 1, state: "running" });
		little.settle(10_000);
		expect(run(little)).toMatchObject({ iteration: 1, state: "complete" });
		expect(states(little)).toEqual([
			"1.0 complete",
			"1.1 complete",
			"2.0 complete",
			"2.1 complete",
		]);
	});

	test("that is overtaken by the next run stops first", () => {
		const little = job({ replicas: 1 });
		little.settle();
		little.image("job", "new");
		little.settle(10_000);
		expect(little.running("job").map(({ iteration }) => iteration)).toEqual([1]);
		expect(little.tasks("job")).toHaveLength(1);
	});
});

describe("a global job", () => {
	const global: Words = { mode: "global-job" };

	test("runs once on every node that will do, and not on those that join later", () => {
		const little = job(global);
		little.fate = () => "complete";
		little.settle(10_000);
		expect(run(little)?.state).toBe("complete");
		little.nowMs += 1_000;
		little.join(4);
		little.settle(60_000);
		const nodes = little.tasks("job").map(({ node }) => node as string);
		expect(nodes.sort()).toEqual(["node-1", "node-2", "node-3"]);
	});

	test("leaves out what is drained or constrained away, and makes up for it when the node is back", () => {
		const little = new Little(3);
		little.settle();
		little.nowMs += 1_000;
		little.availability(2, "drain");
		little.create("job", { ...global, template: { restart, ...constrained("node.id!=node-3") } });
		little.fate = () => "complete";
		little.settle(10_000);
		expect(little.tasks("job").map(({ node }) => node as string)).toEqual(["node-1"]);
		expect(run(little)?.state).toBe("complete");
		little.availability(2, "active");
		little.settle(10_000);
		expect(
			little
				.tasks("job")
				.map(({ node }) => node as string)
				.sort(),
		).toEqual(["node-1", "node-2"]);
		little.availability(1, "drain");
		little.availability(1, "active");
		little.settle(600_000);
		expect(little.tasks("job")).toHaveLength(2);
	});

	test("stays done when its nodes are gone", () => {
		const little = job(global, 2);
		little.fate = () => "complete";
		little.settle(10_000);
		for (const index of [1, 2]) {
			little.availability(index, "drain");
			little.commit([{ kind: "remove-node", id: nodeId(index) }]);
		}
		little.settle(60_000);
		expect(little.tasks("job")).toEqual([]);
		expect(run(little)?.state).toBe("complete");
	});

	test("is not done while no node will do", () => {
		const little = job({ ...global, template: { restart, ...constrained("node.id==node-9") } });
		little.settle(10_000);
		expect(run(little)?.state).toBe("running");
	});
});
