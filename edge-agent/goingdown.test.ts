import { expect, test } from "bun:test";
import type { Assignment } from "../model/assignment.ts";
import { emptied } from "./goingdown.ts";

const held = (tasks: number, ...down: boolean[]) =>
	({
		tasks: Array.from({ length: tasks }),
		peers: down.map((each) => ({ down: each })),
	}) as unknown as Assignment;

async function waitedMs(assignments: readonly (Assignment | undefined)[]): Promise<number> {
	let waited = 0;
	let at = 0;
	await emptied(
		() => assignments[Math.min(at++, assignments.length - 1)],
		async (ms) => {
			waited += ms;
		},
	);
	return waited;
}

test.each([
	["until its tasks are elsewhere", [held(2, false), held(1, false), held(0, false)], 400],
	["not at all when nothing runs here", [held(0, false)], 0],
	["not at all when there is no other machine", [held(2)], 0],
	["not at all when the others are down", [held(2, true, true)], 0],
	["not at all before it has ever heard of anything", [undefined], 0],
	["no longer than a while", [held(1, false)], 40_000],
] as const)("a machine that goes down waits %s", async (_what, assignments, ms) => {
	expect(await waitedMs(assignments)).toBe(ms);
});
