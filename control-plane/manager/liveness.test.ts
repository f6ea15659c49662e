import { describe, expect, test } from "bun:test";
import { Little, nodeId } from "../../test/build.ts";
import { Draft } from "./draft.ts";
import { nextVerdictMs, watchNodes } from "./liveness.ts";

interface Case {
	readonly state: "unknown" | "ready" | "down";
	/** When it was heard last, seconds ago; the timeout is 15. */
	readonly heard: number;
	/** Since when its status is as it is, seconds ago. */
	readonly since?: number;
	readonly listening?: number;
	readonly problems?: readonly string[];
	/** When its agent was told to go to another program, seconds ago. */
	readonly told?: number;
	/** How many of its two peers cannot reach it. */
	readonly accusers?: number;
}

function judged({
	state,
	heard,
	since = 100,
	listening = 1000,
	problems = [],
	accusers = 0,
	told,
}: Case) {
	const little = new Little(3);
	little.settle();
	const nowMs = little.nowMs + 2_000_000;
	const { facts } = little;
	for (const index of [1, 2, 3]) {
		const node = little.node(index);
		facts.setNode({
			...node,
			leaseUntilMs: nowMs + 15_000,
			unreachable: index > 3 - accusers ? [nodeId(1)] : [],
		});
	}
	const node = little.node(1);
	facts.setNode({
		...node,
		description: { ...node.description, problems },
		leaseUntilMs: nowMs + 15_000 - heard * 1000,
		...(told !== undefined && {
			agentUpdate: { version: "2", sha256: "", state: "told", sinceMs: nowMs - told * 1000 },
		}),
		status: { state, message: state === "down" ? "before" : "", sinceMs: nowMs - since * 1000 },
	});
	const moment = { nowMs, listeningSinceMs: nowMs - listening * 1000, newId: () => "" };
	const draft = new Draft(facts);
	watchNodes(draft, moment);
	const { status } = draft.nodes.get(nodeId(1)) ?? node;
	const nextMs = nextVerdictMs(draft, moment, [nodeId(1)]);
	return { status, next: nextMs === null ? null : (nextMs - nowMs) / 1000 };
}

describe("a node", () => {
	test.each<readonly [string, Case, "unknown" | "ready" | "down", number | null]>([
		["is ready when first heard", { state: "unknown", heard: 0 }, "ready", 15],
		["stays unknown until then", { state: "unknown", heard: 60 }, "unknown", null],
		["stays ready while it is heard", { state: "ready", heard: 14 }, "ready", 1],
		["is down when it was silent too long", { state: "ready", heard: 15 }, "down", null],
		[
			"is not blamed for what we could not hear",
			{ state: "ready", heard: 500, listening: 5 },
			"ready",
			10,
		],
		["stays down in silence", { state: "down", heard: 500 }, "down", null],
		["is ready when it is heard again", { state: "down", heard: 1 }, "ready", 14],
		[
			"stays down by what it said before it went",
			{ state: "down", heard: 6, since: 2 },
			"down",
			null,
		],
		[
			"is down sooner when its peers cannot reach it",
			{ state: "ready", heard: 7, accusers: 2 },
			"down",
			null,
		],
		["may be silent while its agent changes", { state: "ready", heard: 20, told: 25 }, "ready", 35],
		["also to its peers", { state: "ready", heard: 20, told: 25, accusers: 2 }, "ready", 35],
		["though not for ever", { state: "ready", heard: 20, told: 60 }, "down", null],
		["but not while it is heard", { state: "ready", heard: 6, accusers: 2 }, "ready", 1],
		["nor by the word of half of them", { state: "ready", heard: 8, accusers: 1 }, "ready", 7],
		[
			"is not ready with a problem",
			{ state: "ready", heard: 0, problems: ["no vxlan module: modprobe vxlan"] },
			"down",
			null,
		],
		[
			"nor at first",
			{ state: "unknown", heard: 0, problems: ["no vxlan module: modprobe vxlan"] },
			"down",
			null,
		],
	])("%s", (_name, node, want, next) => {
		const seen = judged(node);
		expect(seen.status.state).toBe(want);
		expect(seen.next).toBe(next);
		if (want === "down") expect(seen.status.message).not.toBe("");
	});

	test("that has a problem says which", () => {
		const { status } = judged({ state: "ready", heard: 0, problems: ["no vxlan module"] });
		expect(status).toMatchObject({ state: "down", message: "no vxlan module" });
	});
});

describe("when a node is lost", () => {
	test("its slots run elsewhere at the same addresses, and its old tasks are written off", () => {
		const little = new Little(3);
		little.network("net");
		little.settle();
		little.create("web", { replicas: 6, networks: ["net"] });
		little.settle();
		const addresses = little.running("web").map(({ attachments }) => attachments);
		little.silent.add(nodeId(2));
		little.settle(30_000);
		expect(little.running("web").map(({ attachments }) => attachments)).toEqual(addresses);
		expect(little.running("web").some(({ node }) => node === nodeId(2))).toBe(false);
		const lost = little.tasks("web").filter(({ node }) => node === nodeId(2));
		expect(lost.map(({ status }) => status.state)).toEqual(["orphaned", "orphaned"]);
		expect(lost[0]?.status.message).toBe("node n2 is down: not heard for 15 s");
		const before = little.running("web").map(({ id }) => id);
		little.silent.clear();
		little.settle(30_000);
		expect(little.node(2).status.state).toBe("ready");
		expect(little.running("web").map(({ id }) => id)).toEqual(before);
	});

	test("a removed node's tasks run elsewhere too", () => {
		const little = new Little(2);
		little.create("web", { replicas: 2 });
		little.settle();
		little.commit([{ kind: "remove-node", id: nodeId(2) }], {
			services: new Set(),
			nodes: new Set([nodeId(2)]),
		});
		little.settle();
		expect(little.running("web").map(({ node }) => node)).toEqual([nodeId(1), nodeId(1)]);
	});

	test("everybody's is nobody's: without another node the tasks wait and say so", () => {
		const little = new Little(1);
		little.create("web");
		little.settle();
		little.silent.add(nodeId(1));
		little.settle(30_000);
		expect(little.tasks("web").at(-1)?.status).toMatchObject({
			state: "pending",
			error:
				"no suitable node (1 node not available for new tasks); smallest change: bring back n1 (not heard for 15 s)",
		});
		little.silent.clear();
		little.settle(30_000);
		expect(little.running("web")).toHaveLength(1);
	});
});
