import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { NodeId } from "../../model/id.ts";
import { intervalFor, nobody, observe, silentOf, type Watch } from "./watch.ts";

const a = "a" as NodeId;
const b = "b" as NodeId;

/** Ticks every 300 ms from `fromMs`; each peer answers 20 ms later where `answers` says so. */
function run(
	state: Watch,
	fromMs: number,
	ticks: number,
	answers: (tick: number) => readonly NodeId[],
): { state: Watch; nowMs: number; silentAt: (readonly NodeId[])[] } {
	const silentAt: NodeId[][] = [];
	let nowMs = fromMs;
	for (let tick = 0; tick < ticks; tick++, nowMs += 300) {
		state = observe(state, { kind: "tick", peers: [a, b] }, nowMs);
		for (const peer of answers(tick)) state = observe(state, { kind: "heard", peer }, nowMs + 20);
		silentAt.push([...silentOf(state)]);
	}
	return { state, nowMs, silentAt };
}

describe("peers that answer", () => {
	test("nobody is silent", () => {
		expect(run(nobody, 1000, 20, () => [a, b]).silentAt.flat()).toEqual([]);
	});

	test.each([
		["one answer lost", [5]],
		["two in a row lost", [5, 6]],
		["every other lost", [1, 3, 5, 7, 9, 11]],
	])("%s is no news", (_, lost) => {
		const { silentAt } = run(nobody, 1000, 20, (tick) => (lost.includes(tick) ? [b] : [a, b]));
		expect(silentAt.flat()).toEqual([]);
	});
});

describe("a peer that dies", () => {
	const before = run(nobody, 1000, 10, () => [a, b]);

	test("is silent 1.2 s after its last answer, and alone", () => {
		const { silentAt } = run(before.state, before.nowMs, 10, () => [b]);
		// The last answer came 280 ms before the first of these.
		expect(silentAt.findIndex((silent) => silent.length > 0)).toBe(4);
		expect(silentAt.at(-1)).toEqual([a]);
	});

	test("is back with the third answer in a row, not before", () => {
		const gone = run(before.state, before.nowMs, 10, () => [b]);
		const back = run(gone.state, gone.nowMs, 5, () => [a, b]);
		expect(back.silentAt.map((silent) => silent.length)).toEqual([1, 1, 0, 0, 0]);
	});

	test("that flaps stays out", () => {
		const gone = run(before.state, before.nowMs, 10, () => [b]);
		const { silentAt } = run(gone.state, gone.nowMs, 40, (tick) => (tick % 4 < 2 ? [a, b] : [b]));
		expect(silentAt.every((silent) => silent.includes(a))).toBe(true);
	});
});

test("a stranger has time to shake hands, then is silent, and one answer is enough", () => {
	const { silentAt, state, nowMs } = run(nobody, 1000, 25, () => [b]);
	expect(silentAt.findIndex((silent) => silent.includes(a))).toBe(20);
	expect([...silentOf(observe(state, { kind: "heard", peer: a }, nowMs))]).toEqual([]);
});

test("time that we stood still counts against nobody", () => {
	const before = run(nobody, 1000, 10, () => [a, b]);
	const { silentAt } = run(before.state, before.nowMs + 60_000, 10, () => [a, b]);
	expect(silentAt.flat()).toEqual([]);
	// And does not save the dead.
	const dead = run(before.state, before.nowMs + 60_000, 10, () => [b]);
	expect(dead.silentAt.at(-1)).toEqual([a]);
});

test("a peer that left the cluster is forgotten", () => {
	const { state } = run(nobody, 1000, 30, () => [b]);
	expect(silentOf(state)).toEqual(new Set([a]));
	expect(silentOf(observe(state, { kind: "tick", peers: [b] }, 20_000))).toEqual(new Set());
});

test("whatever was heard before, a peer that answers three ticks running is not silent, one that is mute is", () => {
	const history = fc.array(fc.subarray([a, b]), { maxLength: 60 });
	fc.assert(
		fc.property(history, (answers) => {
			const past = run(nobody, 1000, answers.length, (tick) => answers[tick] ?? []);
			const then = run(past.state, past.nowMs, 25, () => [a]);
			expect([...silentOf(then.state)]).toEqual([b]);
			expect(then.silentAt.slice(3).flat()).not.toContain(a);
		}),
		{ numRuns: 300 },
	);
});

test.each([
	[1, 300],
	[100, 300],
	[1000, 3000],
])("with %d peers each is asked every %d ms", (peers, everyMs) => {
	expect(intervalFor(peers)).toBe(everyMs);
});
