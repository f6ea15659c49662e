// Buckets: how many at once, how soon again, and nobody on somebody else's account.

import { expect, test } from "bun:test";
import { throttleInMemory } from "./throttle.ts";

const limits = {
	address: { perSecond: 10, burst: 3 },
	"sign-in": { perSecond: 1 / 6, burst: 1 },
	actor: { perSecond: 1, burst: 1 },
	agent: { perSecond: 1, burst: 1 },
	mail: { perSecond: 1, burst: 1 },
};

test("so many at once, then as many as the time has brought", () => {
	let nowMs = 0;
	const throttle = throttleInMemory(() => nowMs, limits);
	const ask = () => throttle("address", "192.0.2.1");
	expect([ask(), ask(), ask(), ask()]).toEqual([0, 0, 0, 1]);
	nowMs += 100;
	expect([ask(), ask()]).toEqual([0, 1]);
	nowMs += 3_600_000;
	expect([ask(), ask(), ask(), ask()]).toEqual([0, 0, 0, 1]);
});

test("whoever is refused learns when to come again, and is let in then", () => {
	let nowMs = 0;
	const throttle = throttleInMemory(() => nowMs, limits);
	expect(throttle("sign-in", "a")).toBe(0);
	expect(throttle("sign-in", "a")).toBe(6);
	nowMs += 5_000;
	expect(throttle("sign-in", "a")).toBe(1);
	nowMs += 1_000;
	expect(throttle("sign-in", "a")).toBe(0);
});

test("each has a bucket of its own, and each kind", () => {
	const throttle = throttleInMemory(() => 0, limits);
	expect(throttle("actor", "a")).toBe(0);
	expect(throttle("actor", "b")).toBe(0);
	expect(throttle("sign-in", "a")).toBe(0);
	expect(throttle("actor", "a")).toBe(1);
});

test("a clock that goes back takes nothing away", () => {
	let nowMs = 10_000;
	const throttle = throttleInMemory(() => nowMs, limits);
	expect(throttle("address", "a")).toBe(0);
	nowMs = 0;
	expect(throttle("address", "a")).toBe(0);
});
