import { expect, test } from "bun:test";
import { run } from "./world.ts";

/** Small clusters, a minute of trouble each: what a thousand of them do not find, `npm run sim` may. */
const seeds = 1000;

test(`${seeds} seeds hold every promise`, () => {
	let tasks = 0;
	for (let seed = 1; seed <= seeds; seed++) tasks += run(seed).tasks;
	// A simulator in which nothing happens keeps every promise too.
	expect(tasks).toBeGreaterThan(seeds);
}, 300_000);

test("one seed, one story", () => {
	expect(run(7).story).toEqual(run(7).story);
});
