import { describe, expect, test } from "bun:test";
import { Little, nodeId } from "../../../test/build.ts";
import { check } from "../checks.ts";

/** `n1 n2 n2`: where the service's tasks are, slot by slot. */
const where = (little: Little) =>
	little
		.running("web")
		.map(({ node }) => node?.replace("node-", "n"))
		.join(" ");
const addresses = (little: Little) =>
	little.running("web").flatMap(({ attachments }) => attachments.map(({ address }) => address));

const minuteMs = 60_000;

/** Four tasks on two of three nodes, the third of which was away. */
function lopsided(order?: "start-first" | "stop-first", labels?: Record<number, string>): Little {
	const little = new Little(3);
	little.network("net");
	for (const [index, zone] of Object.entries(labels ?? {})) {
		const node = little.node(Number(index));
		little.commit([
			{ kind: "put-node", node: { ...node, spec: { ...node.spec, labels: { zone } } } },
		]);
	}
	little.silent.add(nodeId(3));
	little.settle(minuteMs);
	little.create("web", { replicas: 4, networks: ["net"] });
	little.update("web", (spec) => ({
		...spec,
		...(order && { rebalance: order }),
		template: {
			...spec.template,
			placement: { ...spec.template.placement, spreads: labels ? ["node.labels.zone"] : [] },
		},
	}));
	little.settle(minuteMs);
	little.silent.clear();
	return little;
}

describe("a node that comes back", () => {
	test("gets nothing of a service that does not ask for it", () => {
		const little = lopsided();
		little.settle(3 * minuteMs);
		expect(where(little)).toBe("n1 n2 n1 n2");
	});

	test.each(["start-first", "stop-first"] as const)("gets its share, %s", (order) => {
		const little = lopsided(order);
		little.settle(3 * minuteMs);
		expect(little.running("web").filter(({ node }) => node === nodeId(3))).toHaveLength(1);
		expect(little.running("web")).toHaveLength(4);
		expect(check(little.facts)).toEqual([]);
	});

	test("gets nothing until it has stayed for a minute", () => {
		const little = lopsided("stop-first");
		little.settle(minuteMs - 20_000);
		expect(where(little)).toBe("n1 n2 n1 n2");
		little.settle(minuteMs);
		expect(where(little)).toContain("n3");
	});

	test("takes a task at its address, stop-first", () => {
		const little = lopsided("stop-first");
		const before = addresses(little);
		little.settle(3 * minuteMs);
		expect(where(little)).toContain("n3");
		expect(addresses(little)).toEqual(before);
	});

	test("never costs a serving task, start-first", () => {
		const little = lopsided("start-first");
		for (let second = 0; second < 180; second++) {
			little.settle(1_000);
			const serving = little.tasks("web").filter(({ serving }) => serving);
			expect(serving.length).toBeGreaterThanOrEqual(4);
		}
		expect(where(little)).toContain("n3");
	});

	test("gets no second try where a task fails on it", () => {
		const little = lopsided("start-first");
		little.fate = ({ node }) => (node === nodeId(3) ? "failed" : undefined);
		little.settle(10 * minuteMs);
		expect(where(little)).toBe("n1 n2 n1 n2");
		expect(little.tasks("web").filter(({ node }) => node === nodeId(3))).toHaveLength(1);
	});

	test("gets as many as its branch of the spread preference lacks", () => {
		const little = lopsided("stop-first", { 1: "east", 2: "east", 3: "west" });
		little.settle(5 * minuteMs);
		expect(little.running("web").filter(({ node }) => node === nodeId(3))).toHaveLength(2);
	});
});
