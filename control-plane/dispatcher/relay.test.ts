import { expect, test } from "bun:test";
import type { NodeId, TaskId } from "../../model/id.ts";
import { ProcessRelay } from "./relay.ts";

const node = "n1" as NodeId;
const stats = { kind: "stats", stream: true, oneShot: false } as const;
const request = { task: "t1" as TaskId, containerId: "c1", asked: stats };
const staying = () => ({ signal: new AbortController().signal });
const bodyOf = (...parts: string[]) => new Blob(parts).stream();
const head = '{"status":200,"type":"text/plain"}\n';

/** As a network may cut it. */
function inPieces(text: string, size: number): ReadableStream<Uint8Array> {
	return new ReadableStream({
		start(to) {
			for (let at = 0; at < text.length; at += size) {
				to.enqueue(new TextEncoder().encode(text.slice(at, at + size)));
			}
			to.close();
		},
	});
}

test.each([1, 2, 7, 1000])(
	"the asker gets what the agent sends, in pieces of %p bytes",
	async (size) => {
		const relay = new ProcessRelay();
		const bell = relay.wait(node, new AbortController().signal);
		const asking = relay.ask(node, request, staying());
		await bell;
		const [told] = relay.take(node);
		expect(told).toMatchObject({ containerId: "c1", sends: false, asked: stats });
		expect(relay.take(node)).toEqual([]);
		const text = `\n${head}one\ntwo\n`;
		const sent = relay.answer(node, told?.id ?? "", inPieces(text, size));
		const answer = await asking;
		expect(answer).toMatchObject({ status: 200, type: "text/plain" });
		expect(await new Response(answer.body).text()).toBe("one\ntwo\n");
		expect(await sent).toBe(true);
		await answer.over;
	},
);

test("what the asker sends is fetched by its node, once", async () => {
	const relay = new ProcessRelay();
	const stdin = bodyOf("typed");
	const asking = relay.ask(node, request, { ...staying(), stdin });
	const id = relay.take(node)[0]?.id ?? "";
	expect(relay.input("n2" as NodeId, id)).toBeUndefined();
	const input = relay.input(node, id);
	expect(await new Response(input).text()).toBe("typed");
	expect(relay.input(node, id)).toBeUndefined();
	void relay.answer(node, id, bodyOf(head));
	await asking;
});

test("an answer that has ended ends what the asker still sends", async () => {
	const relay = new ProcessRelay();
	const endless = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => undefined) });
	const asking = relay.ask(node, request, { ...staying(), stdin: endless });
	const id = relay.take(node)[0]?.id ?? "";
	const input = new Response(relay.input(node, id)).text();
	void relay.answer(node, id, bodyOf(head, "done"));
	expect(await new Response((await asking).body).text()).toBe("done");
	expect(await input).toBe("");
});

test("a node can not answer for another", async () => {
	const relay = new ProcessRelay();
	const going = new AbortController();
	const asking = relay.ask(node, request, going);
	const id = relay.take(node)[0]?.id ?? "";
	expect(await relay.answer("n2" as NodeId, id, bodyOf(head))).toBe(false);
	going.abort(new Error("the reader went away"));
	expect(asking).rejects.toThrow("went away");
});

test("an answer without a head is none", async () => {
	const relay = new ProcessRelay();
	const asking = relay.ask(node, request, staying());
	asking.catch(() => undefined);
	expect(await relay.answer(node, relay.take(node)[0]?.id ?? "", bodyOf("\n"))).toBe(true);
	expect(asking).rejects.toThrow("before it began");
});

test("a reader that goes away ends the agent's upload", async () => {
	const relay = new ProcessRelay();
	const going = new AbortController();
	const asking = relay.ask(node, request, going);
	let isFirst = true;
	const endless = new ReadableStream<Uint8Array>({
		pull: async (to) => {
			await Bun.sleep(5);
			to.enqueue(isFirst ? new TextEncoder().encode(head) : new Uint8Array(8));
			isFirst = false;
		},
	});
	const sent = relay.answer(node, relay.take(node)[0]?.id ?? "", endless);
	const reader = (await asking).body.getReader();
	await reader.read();
	going.abort();
	expect(await sent).toBe(true);
});

test("a silent answer ends with the asker's reason", async () => {
	const relay = new ProcessRelay();
	const going = new AbortController();
	const asking = relay.ask(node, request, going);
	const silent = new ReadableStream<Uint8Array>({
		start: (to) => to.enqueue(new TextEncoder().encode(head)),
		pull: () => new Promise(() => undefined),
	});
	const sent = relay.answer(node, relay.take(node)[0]?.id ?? "", silent);
	const reading = new Response((await asking).body).text();
	reading.catch(() => undefined);
	going.abort(new Error("the node went down"));
	expect(reading).rejects.toThrow("the node went down");
	expect(await sent).toBe(true);
});

test("an agent that is cut off did not end its answer", async () => {
	const relay = new ProcessRelay();
	const asking = relay.ask(node, request, staying());
	let isFirst = true;
	const cut = new ReadableStream<Uint8Array>({
		pull(to) {
			if (isFirst) to.enqueue(new TextEncoder().encode(`${head}half a li`));
			else to.error(new Error("aborted"));
			isFirst = false;
		},
	});
	const sent = relay.answer(node, relay.take(node)[0]?.id ?? "", cut);
	const reading = new Response((await asking).body).text();
	expect(reading).rejects.toThrow("the line to the node broke");
	expect(await sent).toBe(true);
});
