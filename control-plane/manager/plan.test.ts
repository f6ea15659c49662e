// The whole planner, on clusters of a few nodes that do as they are told.

import { describe, expect, test } from "bun:test";
import { constrained, Little, nodeId } from "../../test/build.ts";
import { check } from "./checks.ts";
import { showChanges, showSnapshot } from "./show.ts";

/** `web.1#1 on n1 …` of the tasks that are meant to run. */
const lines = (little: Little) =>
	showSnapshot(little.facts)
		.filter((line) => line.startsWith("  "))
		.map((line) => line.trim());

describe("a replicated service", () => {
	test("gets tasks, addresses and nodes in the plan that creates it", () => {
		const little = new Little(2);
		little.network("mynet1");
		little.settle();
		little.create("web", { replicas: 2, networks: ["mynet1"] });
		expect(showSnapshot(little.facts)).toEqual([
			"node n1 ready active",
			"node n2 ready active",
			"network ingress 4096 10.255.0.0/16",
			"network mynet1 4097 10.0.0.0/24",
			"service web",
			"  web.1#1 on n1 assigned/running 10.0.0.3",
			"  web.2#1 on n2 assigned/running 10.0.0.4",
		]);
		little.settle();
		expect(showSnapshot(little.facts).slice(-2)).toEqual([
			"  web.1#1 on n1 running/running serving 10.0.0.3",
			"  web.2#1 on n2 running/running serving 10.0.0.4",
		]);
		expect(check(little.facts)).toEqual([]);
	});

	test("scales down from the highest slot, and is forgotten once it is removed", () => {
		const little = new Little(2);
		little.network("mynet1");
		little.create("web", { replicas: 3, networks: ["mynet1"], ports: [{ published: 8091 }] });
		little.settle();
		little.scale("web", 1);
		little.settle();
		expect(little.running("web").map(({ slot }) => slot)).toEqual([1]);
		expect(little.tasks("web")).toHaveLength(1);
		little.remove("web");
		little.settle(120_000);
		expect(little.facts.services.size).toBe(0);
		expect(little.facts.tasks.size).toBe(0);
		const gateways = [...little.facts.networks.keys()].flatMap((id) => [
			...little.facts.leasesOfNetwork(id).values(),
		]);
		expect(gateways.map(({ holder }) => holder.split(":")[0])).toEqual(["gateway", "gateway"]);
		expect(check(little.facts)).toEqual([]);
	});
});

describe("a node that is drained", () => {
	test("gives up its tasks, each to the same address elsewhere, and takes none until it is active", () => {
		const little = new Little(3);
		little.network("net");
		little.settle();
		little.create("hello", { replicas: 10, networks: ["net"] });
		little.settle();
		const addresses = little.running("hello").map(({ attachments }) => attachments);
		little.availability(2, "drain");
		little.settle();
		expect(little.running("hello").map(({ attachments }) => attachments)).toEqual(addresses);
		expect(little.running("hello").filter(({ node }) => node === nodeId(2))).toEqual([]);
		const ids = little.running("hello").map(({ id }) => id);
		little.availability(2, "active");
		little.settle();
		expect(little.running("hello").map(({ id }) => id)).toEqual(ids);
		little.scale("hello", 12);
		little.settle();
		expect(little.running("hello").filter(({ node }) => node === nodeId(2))).toHaveLength(2);
	});

	test("is told to stop a task before its successor starts at the address", () => {
		const little = new Little(2);
		little.network("net");
		little.settle();
		little.create("web", { networks: ["net"] });
		little.settle();
		little.availability(1, "drain");
		const seen = [lines(little)];
		while (little.turn()) seen.push(lines(little));
		const states = seen.map((each) => each.map((line) => line.replace(/ on n\d| 10\S+/g, "")));
		expect(states).toEqual([
			["web.1#1 running/shutdown", "web.1#2 assigned/ready"],
			["web.1#1 running/shutdown released", "web.1#2 accepted/ready"],
			["web.1#1 shutdown/shutdown released", "web.1#2 preparing/running"],
			["web.1#1 shutdown/shutdown released", "web.1#2 ready/running"],
			["web.1#1 shutdown/shutdown released", "web.1#2 running/running serving"],
			["web.1#1 shutdown/shutdown released", "web.1#2 running/running serving"],
		]);
	});
});

test("a node that pauses keeps what it has and takes no more", () => {
	const little = new Little(2);
	little.create("web", { replicas: 2 });
	little.create("agent", { mode: "global" });
	little.settle();
	little.availability(2, "pause");
	little.settle();
	expect(little.running("web")).toHaveLength(2);
	expect(little.running("agent")).toHaveLength(2);
	little.scale("web", 4);
	little.settle();
	expect(little.running("web").filter(({ node }) => node === nodeId(1))).toHaveLength(3);
});

describe("a global service", () => {
	test("has a task on every node, and follows them as they come and go", () => {
		const little = new Little(2);
		little.network("net");
		little.settle();
		little.create("agent", { mode: "global", networks: ["net"] });
		little.settle();
		const nodes = () => little.running("agent").map(({ node }) => node);
		expect(nodes()).toEqual([nodeId(1), nodeId(2)]);
		little.join(3);
		little.settle();
		expect(nodes()).toEqual([nodeId(1), nodeId(2), nodeId(3)]);
		const [, second] = little.running("agent");
		little.availability(2, "drain");
		little.settle();
		expect(nodes()).toEqual([nodeId(1), nodeId(3)]);
		little.availability(2, "active");
		little.settle();
		const back = little.running("agent").find(({ node }) => node === nodeId(2));
		expect(back?.attachments).toEqual(second?.attachments ?? []);
		expect(back?.generation).toBe(2);
		little.commit([{ kind: "remove-node", id: nodeId(3) }]);
		little.settle();
		expect(nodes()).toEqual([nodeId(1), nodeId(2)]);
		expect(check(little.facts)).toEqual([]);
	});

	test("follows its constraints", () => {
		const little = new Little(2);
		little.create("agent", { mode: "global", template: constrained("node.labels.gpu==yes") });
		little.settle();
		expect(little.tasks("agent")).toEqual([]);
		const label = (labels: Record<string, string>) => {
			const node = little.node(2);
			little.commit([{ kind: "put-node", node: { ...node, spec: { ...node.spec, labels } } }], {
				services: new Set(),
				nodes: new Set([node.id]),
			});
			little.settle();
		};
		label({ gpu: "yes" });
		expect(little.running("agent").map(({ node }) => node)).toEqual([nodeId(2)]);
		label({});
		expect(little.running("agent")).toEqual([]);
	});

	test("says why it does not run on a node that lacks room", () => {
		const little = new Little(2);
		const reservations = { nanoCpus: 3e9, memoryBytes: 0, pids: 0 };
		little.create("big", { replicas: 1, template: { reservations } });
		little.create("agent", { mode: "global", template: { reservations } });
		little.settle();
		expect(lines(little)).toEqual([
			"agent.n1#1 on n1 pending/running (no suitable node (insufficient resources on 1 node); smallest change: docker service update --reserve-cpu 1 agent)",
			"agent.n2#1 on n2 running/running serving",
			"big.1#1 on n1 running/running serving",
		]);
	});
});

test("a task moves when its node no longer meets the constraints", () => {
	const little = new Little(2);
	little.create("web", { template: constrained("node.hostname==n1") });
	little.settle();
	const node = little.node(1);
	const description = { ...node.description, hostname: "renamed" };
	little.facts.setNode({ ...node, description });
	little.settle();
	expect(lines(little).at(-1)).toBe(
		"web.1#2 nowhere pending/running (no suitable node (scheduling constraints not satisfied on 2 nodes); " +
			'smallest change: docker service update --constraint-rm "node.hostname==n1" web)',
	);
});

test("history is kept as long as the cluster says, and no longer", () => {
	const little = new Little(2);
	little.create("web", {
		template: { restart: { condition: "any", delayMs: 0, maxAttempts: 0, windowMs: 0 } },
	});
	little.settle();
	for (let round = 0; round < 9; round++) {
		for (const task of little.running("web")) little.report(task, { state: "failed" });
		little.settle(120_000);
	}
	expect(little.tasks("web").map(({ generation }) => generation)).toEqual([5, 6, 7, 8, 9, 10]);
});

test("templates are kept while a task was made of them", () => {
	const little = new Little(1);
	little.commit([{ kind: "put-cluster", cluster: { ...little.facts.cluster, taskHistory: 1 } }]);
	little.create("web");
	little.settle();
	for (const image of ["two", "three"]) {
		little.image("web", image);
		little.settle(60_000);
	}
	const versions = little.facts.templatesOfService(little.service("web").id);
	expect(versions.map(({ version }) => version).sort()).toEqual([2, 3]);
});

test("changes read as one line each", () => {
	const little = new Little(1);
	little.network("net");
	little.settle();
	little.create("web", { networks: ["net"] });
	little.settle();
	for (const task of little.running("web")) {
		little.report(task, { state: "failed", error: "task: non-zero exit (1)" });
	}
	const before = little.facts;
	expect(showChanges(before, little.plan().changes)).toEqual([
		"put task web.1#1 on n1 failed/shutdown 10.0.0.3 (task: non-zero exit (1))",
		"put task web.1#2 on n1 assigned/ready 10.0.0.3",
	]);
});
