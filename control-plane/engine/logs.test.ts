import { expect, test } from "bun:test";
import { parsedFrames } from "./logs.ts";

const bytes = (fd: number, text: string) => {
	const payload = new TextEncoder().encode(text);
	return [fd, 0, 0, 0, 0, 0, 0, payload.length, ...payload];
};

async function* each<Value>(values: readonly Value[]) {
	yield* values;
}

async function parse(sizes: number[], all: number[]) {
	const chunks: Uint8Array[] = [];
	let at = 0;
	for (const size of sizes) {
		chunks.push(new Uint8Array(all.slice(at, at + size)));
		at += size;
	}
	chunks.push(new Uint8Array(all.slice(at)));
	const lines: string[] = [];
	for await (const { fd, payload } of parsedFrames(each(chunks))) lines.push(`${fd} ${payload}`);
	return lines;
}

test.each([[[]], [[1]], [[7]], [[8]], [[9, 1, 1]], [[3, 3, 3, 3, 3, 3]]])(
	"frames come whole, wherever the network cut them: %p",
	async (sizes) => {
		const all = [...bytes(1, "one\n"), ...bytes(2, "zwei ü\n"), ...bytes(1, "no end")];
		expect(await parse(sizes, all)).toEqual(["1 one\n", "2 zwei ü\n", "1 no end\n"]);
	},
);
