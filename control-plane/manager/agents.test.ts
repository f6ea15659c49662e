import { describe, expect, test } from "bun:test";
import { must } from "../../model/invariant.ts";
import type { Node } from "../../model/node.ts";
import { Little } from "../../test/build.ts";
import { patienceMs, ringAfter } from "./agents.ts";
import { assign } from "./assign.ts";
import { plan } from "./plan.ts";

const soakMs = 60_000;
const first = { version: "0.1.0", sha256: "a".repeat(64) };
const next = { version: "0.2.0", sha256: "b".repeat(64) };

/** Nodes with the first program, and a control plane that serves the next. */
class Rollout {
	readonly little: Little;
	agent: { version: string; sha256: string; sinceMs: number; soakMs: number } = {
		...next,
		sinceMs: 1,
		soakMs,
	};
	wakeAtMs: number | null = null;

	constructor(nodes: number) {
		this.little = new Little();
		for (let index = 1; index <= nodes; index++) {
			this.little.join(index, { agentProgram: { sha256: first.sha256 } });
		}
		this.little.settle();
	}

	plan(touched?: number[]) {
		const { little } = this;
		const ids = touched?.map((index) => this.node(index).id);
		const scope = ids ? { services: new Set<never>(), nodes: new Set(ids) } : "all";
		const planned = plan(little.facts, { ...little.moment(), agent: this.agent }, scope);
		for (const change of planned.changes) little.facts.apply(change);
		this.wakeAtMs = planned.wakeAtMs;
		return planned.changes;
	}

	node(index: number): Node {
		return this.little.node(index);
	}

	/** Nodes whose assignment names a program that they do not run. */
	told(): number[] {
		const { facts } = this.little;
		return [...facts.nodes.values()]
			.filter((node) => {
				const { agent } = assign(facts, node.id);
				return agent && agent.sha256 !== node.description.agentProgram?.sha256;
			})
			.map(({ index }) => index);
	}

	change(index: number, change: (node: Node) => Partial<Node>) {
		const node = this.node(index);
		this.little.facts.setNode({ ...node, ...change(node) });
	}

	reports(index: number, agentProgram: Node["description"]["agentProgram"]) {
		this.change(index, ({ description }) => ({ description: { ...description, agentProgram } }));
	}

	pass(ms: number) {
		this.little.nowMs += ms;
		for (const { index } of this.little.facts.nodes.values()) {
			this.change(index, ({ status, leaseUntilMs }) =>
				status.state === "down"
					? {}
					: { leaseUntilMs: Math.max(leaseUntilMs, this.little.nowMs + 15_000) },
			);
		}
	}

	/** Told ones go there, and do well for the time that it takes. */
	ring() {
		const told = this.told();
		for (const index of told) this.reports(index, { sha256: next.sha256 });
		this.plan();
		this.pass(soakMs);
		this.plan();
		return told.length;
	}
}

test.each([
	[0, 30, 1],
	[1, 30, 3],
	[3, 30, 30],
	[1, 5, 5],
	[0, 1, 1],
	[2, 1000, 100],
])("after %d of %d nodes have proved it, %d are told", (proved, of, told) => {
	expect(ringAfter(proved, of)).toBe(told);
});

describe("a new agent", () => {
	test("goes to one node, then to a tenth, then to the rest, each after the former did well for a while", () => {
		const rollout = new Rollout(30);
		rollout.plan();
		expect([rollout.ring(), rollout.ring(), rollout.ring(), rollout.ring()]).toEqual([1, 2, 27, 0]);
		expect(rollout.little.facts.cluster.agent).toEqual({ ...next, sinceMs: 1, settled: true });
		expect(rollout.plan()).toEqual([]);
	});

	test("a planner's new life begins no soak anew", () => {
		const rollout = new Rollout(3);
		rollout.plan();
		const [one = 0] = rollout.told();
		rollout.reports(one, { sha256: next.sha256 });
		rollout.plan();
		for (let lives = 1; lives <= 4; lives++) {
			rollout.pass(soakMs / 4);
			rollout.agent = { ...rollout.agent, sinceMs: rollout.little.nowMs };
			expect(rollout.told()).toEqual([]);
			rollout.plan();
		}
		expect(rollout.told()).toHaveLength(2);
		expect(rollout.little.facts.cluster.agent?.sinceMs).toBe(1);
	});

	test("nobody is told before the soak is over, and the plan says when that is", () => {
		const rollout = new Rollout(3);
		rollout.plan();
		const [one = 0] = rollout.told();
		rollout.reports(one, { sha256: next.sha256 });
		rollout.plan([one]);
		const endMs = rollout.little.nowMs + soakMs;
		rollout.pass(soakMs - 1);
		rollout.plan([one]);
		expect(rollout.told()).toEqual([]);
		expect(rollout.wakeAtMs).toBe(endMs);
		rollout.pass(1);
		rollout.plan([one]);
		expect(rollout.told()).toHaveLength(2);
	});

	test.each<readonly [string, (rollout: Rollout, told: number) => void, string]>([
		[
			"falls back",
			(rollout, told) =>
				rollout.reports(told, {
					sha256: first.sha256,
					failed: { sha256: next.sha256, reason: "it ended at once" },
				}),
			"n1: it ended at once",
		],
		[
			"goes down",
			(rollout, told) => {
				rollout.change(told, () => ({
					status: { state: "down", message: "not heard for 15 s", sinceMs: rollout.little.nowMs },
					leaseUntilMs: 0,
				}));
			},
			"n1: down since it was told to go there (not heard for 15 s)",
		],
		[
			"goes down in the soak",
			(rollout, told) => {
				rollout.reports(told, { sha256: next.sha256 });
				rollout.plan();
				rollout.pass(1_000);
				rollout.change(told, ({ description }) => ({
					description: { ...description, problems: ["no tables"] },
				}));
				rollout.plan();
				rollout.pass(soakMs * 2);
			},
			"n1: down since it was told to go there (no tables)",
		],
		[
			"never goes",
			(rollout) => rollout.pass(patienceMs),
			"n1: told 5 minutes ago to go there, and did not",
		],
	])("stops for a node that %s, and says so", (_what, happens, stopped) => {
		const rollout = new Rollout(5);
		rollout.plan();
		const [told = 0] = rollout.told();
		happens(rollout, told);
		rollout.plan();
		expect(rollout.little.facts.cluster.agent).toMatchObject({ stopped, settled: false });
		expect(rollout.told().filter((index) => index !== told)).toEqual([]);
		expect(rollout.plan()).toEqual([]);
	});

	test("goes on once the node is well again", () => {
		const rollout = new Rollout(5);
		rollout.plan();
		rollout.pass(patienceMs);
		rollout.plan();
		expect(rollout.little.facts.cluster.agent?.stopped).toBeDefined();
		expect(rollout.ring()).toBe(1);
		expect(rollout.told()).toHaveLength(4);
		expect(rollout.little.facts.cluster.agent?.stopped).toBeUndefined();
	});

	test("a newer one begins anew, from one node", () => {
		const rollout = new Rollout(5);
		rollout.plan();
		rollout.pass(patienceMs);
		rollout.plan();
		rollout.agent = { version: "0.3.0", sha256: "c".repeat(64), sinceMs: 2, soakMs };
		rollout.plan();
		expect(rollout.little.facts.cluster.agent).toMatchObject({ version: "0.3.0", settled: false });
		expect(rollout.told()).toHaveLength(1);
	});

	test("a control plane of another release that was started before leaves it alone", () => {
		const rollout = new Rollout(5);
		rollout.agent = { ...rollout.agent, sinceMs: 100 };
		rollout.plan();
		rollout.agent = { ...first, sinceMs: 99, soakMs };
		expect(rollout.plan()).toEqual([]);
		rollout.agent = { ...first, sinceMs: 101, soakMs };
		rollout.plan();
		expect(rollout.little.facts.cluster.agent).toMatchObject(first);
	});

	test.each<readonly [string, Record<string, string>, string, number]>([
		["no", {}, "no", 0],
		["another version", {}, "0.1.9", 0],
		["this version", {}, "0.2.0", 1],
		["no, and the node yes", { "skein.agent.update": "yes" }, "no", 1],
	])("the cluster's label says %s", (_what, node, cluster, count) => {
		const rollout = new Rollout(1);
		const { facts } = rollout.little;
		const document = { Name: "default", Labels: { "skein.agent.update": cluster } };
		facts.apply({ kind: "put-cluster", cluster: { ...facts.cluster, document } });
		rollout.change(1, ({ spec }) => ({ spec: { ...spec, labels: node } }));
		rollout.plan();
		expect(rollout.told()).toHaveLength(count);
	});

	test("a node that cannot, or is down, or has it by the install line, is not told; one that comes back is", () => {
		const rollout = new Rollout(3);
		rollout.reports(1, undefined);
		rollout.reports(2, { sha256: next.sha256 });
		rollout.change(3, () => ({
			status: { state: "down", message: "away", sinceMs: rollout.little.nowMs },
			leaseUntilMs: 0,
		}));
		rollout.plan();
		expect(rollout.told()).toEqual([]);
		expect(rollout.little.facts.cluster.agent?.settled).toBe(true);
		rollout.pass(60_000);
		rollout.change(3, () => ({ leaseUntilMs: rollout.little.nowMs + 15_000 }));
		rollout.plan([3]);
		expect(rollout.told()).toEqual([3]);
	});

	test("a plan for a node that has nothing to do with it looks at no other", () => {
		const rollout = new Rollout(3);
		for (const index of [1, 2, 3]) rollout.reports(index, { sha256: next.sha256 });
		rollout.plan();
		must(rollout.little.facts.cluster.agent?.settled || undefined, "all of them have it");
		rollout.reports(2, { sha256: first.sha256 });
		expect(rollout.plan([1])).toEqual([]);
		rollout.plan([2]);
		expect(rollout.told()).toEqual([2]);
	});
});
