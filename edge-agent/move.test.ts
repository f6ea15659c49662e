import { expect, test } from "bun:test";
import type { Assignment } from "../model/assignment.ts";
import { movedTo } from "./move.ts";

function worldOf(answers: readonly (boolean | string)[], to: string | null = "https://new") {
	const left = [...answers];
	const asked: string[] = [];
	const lines: string[] = [];
	const off = new AbortController();
	const going = movedTo(
		{
			url: "https://old",
			assignment: () => ({ ...(to && { movedTo: to }) }) as Assignment,
			async isKnownAt(url) {
				asked.push(url);
				const answer = left.shift() ?? false;
				if (typeof answer === "string") throw new Error(answer);
				return answer;
			},
			async sleep() {
				if (left.length === 0) off.abort();
			},
			log: (line) => lines.push(line),
		},
		off.signal,
	);
	return { going, asked, lines };
}

test("goes where it is known, however long that takes, and says what holds it up once", async () => {
	const { going, asked, lines } = worldOf(["no answer", "no answer", false, true]);
	expect(await going).toBe("https://new");
	expect(asked.length).toBe(4);
	expect(lines).toEqual([
		"the cluster has moved to https://new, but no answer: this node stays at https://old for now",
		"the cluster has moved to https://new, but this node is not known there: this node stays at https://old for now",
		"the cluster has moved to https://new: this node goes there",
	]);
});

test.each([[null], ["https://old"]])("stays where it is when told %s", async (to) => {
	const { going, asked } = worldOf([], to);
	expect(await going).toBeUndefined();
	expect(asked).toEqual([]);
});
