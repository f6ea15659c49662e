import { expect, test } from "bun:test";
import { lineOver, type WebSocketLike, windowBytes } from "./websocket.ts";

type Listener = (event: never) => void;

/** One end of a WebSocket that exists in memory alone: messages arrive in order, a moment later. */
class Ending implements WebSocketLike {
	other: Ending | undefined;
	readonly sent: (string | Uint8Array)[] = [];
	readonly #listeners = new Map<string, Listener[]>();

	addEventListener(type: string, listener: Listener): void {
		this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
	}

	send(data: string | Uint8Array): void {
		this.sent.push(data);
		this.#arrive("message", { data: typeof data === "string" ? data : data.slice().buffer });
	}

	close(code = 1000, reason = ""): void {
		this.#arrive("close", { code, reason });
	}

	#arrive(type: string, event: object): void {
		queueMicrotask(() => this.other?.hear(type, event));
	}

	hear(type: string, event: object): void {
		for (const listener of this.#listeners.get(type) ?? []) listener(event as never);
	}
}

function pair() {
	const near = new Ending();
	const far = new Ending();
	near.other = far;
	far.other = near;
	return { near, far };
}

/** Both ends, past their first messages. */
async function lines() {
	const ends = pair();
	const near = lineOver(ends.near);
	const far = lineOver(ends.far);
	near.say("hello");
	far.say("welcome");
	expect(await far.first).toBe("hello");
	expect(await near.first).toBe("welcome");
	return { ends, near, far };
}

const bytes = (count: number) => new Uint8Array(count).map((_, at) => at % 251);
const streamOf = (content: Uint8Array<ArrayBuffer>) => new Blob([content]).stream();
const read = async (stream: ReadableStream<Uint8Array>) =>
	new Uint8Array(await new Response(stream).arrayBuffer());
const carried = (end: Ending) =>
	end.sent.reduce((sum, each) => sum + (typeof each === "string" ? 0 : each.length), 0);

test("bytes arrive as they were sent, both ways at once, many windows of them", async () => {
	const { near, far } = await lines();
	const [up, down] = [bytes(5_000_011), bytes(3_000_017)];
	const [heardFar, heardNear] = await Promise.all([
		read(far.bytes),
		read(near.bytes),
		near.send(streamOf(up)),
		far.send(streamOf(down)),
	]);
	expect(Bun.hash(heardFar)).toBe(Bun.hash(up));
	expect(Bun.hash(heardNear)).toBe(Bun.hash(down));
});

test("one direction ends, the other goes on", async () => {
	const { near, far } = await lines();
	await near.send(streamOf(bytes(3)));
	expect(await read(far.bytes)).toEqual(bytes(3));
	await far.send(streamOf(bytes(5)));
	expect(await read(near.bytes)).toEqual(bytes(5));
});

test("nobody sends further ahead than a window", async () => {
	const { ends, near, far } = await lines();
	const sending = near.send(streamOf(bytes(4 * windowBytes)));
	await Bun.sleep(20);
	expect(carried(ends.near)).toBe(windowBytes);
	const reader = far.bytes.getReader();
	let taken = 0;
	for (;;) {
		const { done, value } = await reader.read();
		if (done) break;
		taken += value.length;
		await Bun.sleep(0);
		expect(carried(ends.near) - taken).toBeLessThanOrEqual(windowBytes);
	}
	expect(taken).toBe(4 * windowBytes);
	await sending;
});

test("what a reader does not want any more falls away, and its sender is not held up", async () => {
	const { near, far } = await lines();
	await far.bytes.cancel();
	await near.send(streamOf(bytes(4 * windowBytes)));
	await far.send(streamOf(bytes(2)));
	expect(await read(near.bytes)).toEqual(bytes(2));
});

test("a connection that breaks is not taken for an end", async () => {
	const { near, far } = await lines();
	const heard = read(far.bytes);
	// Keeps on until it notices.
	const endless = new ReadableStream<Uint8Array>({ pull: (to) => to.enqueue(bytes(1000)) });
	const sending = near.send(endless);
	far.close(1011, "the node is gone");
	await expect(heard).rejects.toThrow("the node is gone");
	await sending;
	expect(near.over.aborted).toBe(true);
	expect(near.over.reason.message).toBe("the node is gone");
});

test("a peer without a first message, or with a wrong one, is let go", async () => {
	const early = pair();
	const waiting = lineOver(early.near);
	early.far.close();
	await expect(waiting.first).rejects.toThrow("the connection ended (1000)");
	const wrong = pair();
	const strict = lineOver(wrong.near);
	wrong.far.send(bytes(2));
	await expect(strict.first).rejects.toThrow("the first message has to be text");
});

test("a peer that sends more than it may, or words that are none, is let go", async () => {
	const { ends, near } = await lines();
	for (let sent = 0; sent <= windowBytes; sent += 60_000) ends.far.send(bytes(60_000));
	await Bun.sleep(0);
	expect(near.over.reason.message).toBe("more was sent than may be on its way");
	const { ends: others, near: other } = await lines();
	others.far.send('{"read":-1}');
	await Bun.sleep(0);
	expect(other.over.reason.message).toContain('{"read":N}');
});

test("a silent peer is taken for gone, one that says it is there is not", async () => {
	const patience = { firstMs: 200, silenceMs: 200 };
	const silent = lineOver(pair().near, patience);
	const { near, far } = pair();
	const heard = lineOver(near, patience);
	const alive = lineOver(far);
	alive.say("hello");
	const here = setInterval(() => alive.keepAlive(), 20);
	await new Promise((resolve) => silent.over.addEventListener("abort", resolve));
	await Bun.sleep(200);
	expect(heard.over.aborted).toBe(false);
	clearInterval(here);
	await new Promise((resolve) => heard.over.addEventListener("abort", resolve));
	expect(heard.over.reason.message).toBe("nothing was heard for 0.2 s");
});
