import { expect, test } from "bun:test";
import { diceOf } from "../test/sim/random.ts";
import { retryInMs } from "./retry.ts";

const agents = 10_000;

/** How long after the end of an outage each of many agents is there again. */
function backAfterMs(outageMs: number): number[] {
	const { next } = diceOf(1, "agents");
	return Array.from({ length: agents }, () => {
		let atMs = 0;
		for (let failures = 1; atMs < outageMs; failures++) atMs += retryInMs(failures, next());
		return atMs - outageMs;
	}).sort((a, b) => a - b);
}

test.each([
	["an instant", 1],
	["a second", 1_000],
	["five seconds", 5_000],
	["half a minute", 30_000],
])("after %s without it all are back within five seconds, and spread out", (_name, outageMs) => {
	const back = backAfterMs(outageMs);
	expect(back[agents / 2]).toBeLessThan(1_500);
	expect(back.at(-1)).toBeLessThan(5_000);
	const tenths = Map.groupBy(back, (afterMs) => Math.floor(afterMs / 100));
	const most = Math.max(...[...tenths.values()].map(({ length }) => length));
	expect(most).toBeLessThan(agents / 7);
});
