import { describe, expect, test } from "bun:test";
import { Little, nodeId } from "../../test/build.ts";
import { hear, longLeaseMs } from "./hearing.ts";

/** Seconds, all of them; the node's timeout is 15. */
interface Case {
	/** Since the last sign of life on an open line; null for no line. */
	readonly heard: number | null;
	/** What is left of its lease. */
	readonly lease: number;
	/** How many of its two peers cannot reach it. */
	readonly accusers?: number;
	/** The lease whose line is known to be lost; its own unless told. */
	readonly missed?: number;
}

function heardOf({ heard, lease, accusers = 0, missed = lease }: Case) {
	const little = new Little(3);
	little.settle();
	const nowMs = little.nowMs + 2_000_000;
	const { facts } = little;
	for (const index of [1, 2, 3]) {
		facts.setNode({
			...little.node(index),
			leaseUntilMs: nowMs + longLeaseMs,
			unreachable: index > 3 - accusers ? [nodeId(1)] : [],
		});
	}
	facts.setNode({ ...little.node(1), leaseUntilMs: nowMs + lease * 1000 });
	facts.cluster = { ...facts.cluster, nodeTimeoutMs: 15_000 };
	const lines = new Map([2, 3].map((index) => [nodeId(index), nowMs - 1000]));
	if (heard !== null) lines.set(nodeId(1), nowMs - heard * 1000);
	const lost = new Map([[nodeId(1), nowMs + missed * 1000]]);
	const { ends, renews, isDisputed, absent } = hear(facts, lines, nowMs, lost);
	expect(absent.has(nodeId(1))).toBe(heard === null && lease > 15);
	const end = ends.get(nodeId(1));
	expect([...ends.keys(), ...renews].every((id) => id === nodeId(1))).toBeTrue();
	return {
		end: end === undefined ? null : (end - nowMs) / 1000,
		isRenewed: renews.length > 0,
		isDisputed,
	};
}

const long = longLeaseMs / 1000;
const nothing = { end: null, isRenewed: false, isDisputed: false };

describe("a node", () => {
	test.each<readonly [string, Case, ReturnType<typeof heardOf>]>([
		["that pings costs nothing", { heard: 10, lease: long - 100 }, nothing],
		[
			"has its lease renewed at half",
			{ heard: 1, lease: long / 3 },
			{ ...nothing, isRenewed: true },
		],
		["gets one with its line", { heard: 0, lease: 10 }, { ...nothing, isRenewed: true }],
		["without a line has the usual time", { heard: null, lease: long }, { ...nothing, end: 15 }],
		["that holds polls is none of ours", { heard: null, lease: 12 }, nothing],
		[
			"that has begun another line elsewhere keeps the lease of that one",
			{ heard: null, lease: long, missed: long - 10 },
			nothing,
		],
		["that is silent on its line is over", { heard: 16, lease: long }, { ...nothing, end: -1 }],
		["is not renewed while it is silent", { heard: 16, lease: 1 }, nothing],
		["that one peer calls silent is not disputed", { heard: 4, lease: long, accusers: 1 }, nothing],
		[
			"that both call silent is looked at again while it pings",
			{ heard: 11, lease: long, accusers: 2 },
			{ ...nothing, isDisputed: true },
		],
		[
			"that both call silent has less time",
			{ heard: 13, lease: long, accusers: 2 },
			{ end: 2, isRenewed: false, isDisputed: true },
		],
	])("%s", (_name, given, want) => {
		expect(heardOf(given)).toEqual(want);
	});
});
