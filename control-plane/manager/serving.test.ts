// The ack barrier, one node at a time.

import { describe, expect, test } from "bun:test";
import { Little, nodeId } from "../../test/build.ts";
import { assign } from "./assign.ts";
import { laggards } from "./serving.ts";

/** One task of `web` on each of two nodes, a third node beside; with `ports`, all three have its network. */
function cluster(words: { readonly attachable?: boolean; readonly ports?: boolean } = {}): Little {
	const little = new Little(3);
	little.network("net", { attachable: words.attachable ?? false });
	little.settle();
	little.create("web", {
		replicas: 2,
		networks: ["net"],
		ports: words.ports ? [{ published: 8091 }] : [],
	});
	return little;
}

const serving = (little: Little) => little.tasks("web").filter((task) => task.serving).length;

/** Turns without time passing. */
function turns(little: Little, count = 12): void {
	for (let turn = 0; turn < count; turn++) little.turn();
}

describe("a task that runs", () => {
	test.each([
		["serves at once where it is alone", { replicas: 1 }, [2, 3], 1],
		["waits for nobody without the network", {}, [3], 2],
		["waits for every node where the network is attachable", { attachable: true }, [3], 0],
		["waits for every node where its ports are published", { ports: true }, [3], 0],
	] as const)("%s", (_name, words, lagging, want) => {
		const little = cluster({ attachable: "attachable" in words, ports: "ports" in words });
		for (const index of lagging) little.lagging.add(nodeId(index));
		if ("replicas" in words) little.scale("web", 1);
		turns(little);
		expect(serving(little)).toBe(want);
	});

	test("says whom it waits for, and serves once that one has caught up", () => {
		const little = cluster();
		little.lagging.add(nodeId(2));
		turns(little);
		const [task] = little.tasks("web");
		expect(serving(little)).toBe(0);
		expect(task && laggards(little.facts, task).map(({ id }) => id)).toEqual([nodeId(2)]);
		little.lagging.clear();
		turns(little);
		expect(serving(little)).toBe(2);
	});

	test("waits for a node that lags until that one counts as down", () => {
		const little = cluster({ ports: true });
		little.silent.add(nodeId(3));
		turns(little);
		expect(serving(little)).toBe(0);
		little.settle(20_000);
		expect(little.node(3).status.state).toBe("down");
		expect(serving(little)).toBe(2);
	});

	test.each([
		["starting", 1],
		["unhealthy", 1],
		["healthy", 2],
		["none", 2],
	] as const)("whose health is %s", (health, want) => {
		const little = cluster();
		turns(little);
		const [task] = little.tasks("web");
		if (task) little.report(task, { health });
		turns(little);
		expect(serving(little)).toBe(want);
	});

	test("leaves the tables in the plan that hears of its end", () => {
		const little = cluster();
		turns(little);
		const [task] = little.tasks("web");
		if (task) little.report(task, { state: "failed", error: "task: non-zero exit (1)" });
		little.plan();
		expect(serving(little)).toBe(1);
	});
});

test("a stop reaches the node only when every table is without the task", () => {
	const little = cluster({ ports: true });
	turns(little);
	little.lagging.add(nodeId(3));
	little.scale("web", 1);
	const told = () => {
		const [, second] = little.tasks("web");
		return assign(little.facts, second?.node ?? nodeId(1)).tasks.find(({ id }) => id === second?.id)
			?.desired;
	};
	for (let turn = 0; turn < 5; turn++) {
		little.turn();
		expect(serving(little)).toBe(1);
		expect(told()).toBe("running");
	}
	little.lagging.clear();
	turns(little);
	expect(little.tasks("web")).toHaveLength(1);
});

test("a task with no network is released at once", () => {
	const little = new Little(1);
	little.create("web");
	little.settle();
	expect(little.tasks("web")[0]?.serving).toBe(true);
	little.lagging.add(nodeId(1));
	little.scale("web", 0);
	expect(little.tasks("web")[0]).toMatchObject({ serving: false, released: true });
});
