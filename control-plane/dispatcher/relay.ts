// Requests to a node's engine, on behalf of somebody who waits for the answer: `docker exec`, `docker logs`.
//
// Who asks, asks here; the node's held poll brings it the request; the agent opens `POST /agent/stream/<id>` and its
// body is handed on as it comes, `GET /agent/stream/<id>` for what the asker sends. Lives in one process: nothing of it
// is stored, and what breaks is asked for again by who wanted it. What may be asked is model/relay.ts, what the bytes
// mean is the asker's (engine/).

import type { NodeId } from "../../model/id.ts";
import type { AnswerHead, NodeQuestion, NodeRequest } from "../../model/relay.ts";
import type { Going, NodeAnswer } from "../cluster.ts";

/** An agent that does not come for its request within this time counts as out of reach. */
const pickUpMs = 10_000;
/** A head is a line of a few words. */
const longestHead = 64 * 1024;

export interface Relay {
	/** The engine's answer; rejects with a sentence when the node does not come for the request. */
	ask(node: NodeId, request: NodeQuestion, going: Going): Promise<NodeAnswer>;
	/** What the node is to be told with its next reply; each request is given once. */
	take(node: NodeId): NodeRequest[];
	/** Until somebody wants something of the node, or the signal. Never rejects. */
	wait(node: NodeId, signal: AbortSignal): Promise<void>;
	/** The agent's body, handed on until either side ends it. False when nobody waits for that id at that node. */
	answer(node: NodeId, id: string, body: ReadableStream<Uint8Array>): Promise<boolean>;
	/** What the asker sends, once. */
	input(node: NodeId, id: string): ReadableStream<Uint8Array> | undefined;
}

interface Waiting {
	readonly node: NodeId;
	readonly request: NodeRequest;
	told: boolean;
	readonly open: (body: ReadableStream<Uint8Array>) => Promise<void>;
}

interface Input {
	readonly node: NodeId;
	readonly stream: ReadableStream<Uint8Array>;
}

export class ProcessRelay implements Relay {
	readonly #asked: (node: NodeId) => void;
	readonly #waiting = new Map<string, Waiting>();
	readonly #inputs = new Map<string, Input>();
	readonly #bells = new Map<NodeId, Set<() => void>>();

	/** `asked` is called for each request, besides those who wait. */
	constructor(asked: (node: NodeId) => void = () => undefined) {
		this.#asked = asked;
	}

	ask(node: NodeId, asked: NodeQuestion, { signal, stdin }: Going): Promise<NodeAnswer> {
		const id = crypto.randomUUID();
		const over = Promise.withResolvers<void>();
		const going = new AbortController();
		const either = AbortSignal.any([signal, going.signal]);
		if (stdin) this.#inputs.set(id, { node, stream: endingWith(stdin, either) });
		void over.promise.then(() => {
			this.#inputs.delete(id);
			// What the asker still has to say, nobody hears.
			going.abort();
		});
		return new Promise((resolve, reject) => {
			const giveUp = (why: unknown) => {
				clearTimeout(timer);
				signal.removeEventListener("abort", left);
				this.#waiting.delete(id);
				over.resolve();
				reject(why);
			};
			const left = () => giveUp(signal.reason ?? new Error("the reader went away"));
			const timer = setTimeout(
				() => giveUp(new Error(`the node did not answer within ${pickUpMs / 1000} s`)),
				pickUpMs,
			);
			const open = async (body: ReadableStream<Uint8Array>) => {
				clearTimeout(timer);
				this.#waiting.delete(id);
				try {
					const { head, rest } = await headOf(body, either);
					signal.removeEventListener("abort", left);
					const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
					resolve({ ...head, body: readable, over: over.promise });
					await rest.pipeTo(writable, { signal: either });
				} catch (error) {
					giveUp(error);
				}
				over.resolve();
			};
			signal.addEventListener("abort", left);
			if (signal.aborted) return left();
			const request = { ...asked, id, sends: stdin !== undefined };
			this.#waiting.set(id, { node, request, told: false, open });
			for (const ring of this.#bells.get(node) ?? []) ring();
			this.#asked(node);
		});
	}

	take(node: NodeId): NodeRequest[] {
		const fresh = [...this.#waiting.values()].filter((each) => each.node === node && !each.told);
		for (const each of fresh) each.told = true;
		return fresh.map((each) => each.request);
	}

	wait(node: NodeId, signal: AbortSignal): Promise<void> {
		return new Promise((resolve) => {
			const bells = this.#bells.get(node) ?? new Set();
			this.#bells.set(node, bells);
			const done = () => {
				bells.delete(done);
				if (bells.size === 0) this.#bells.delete(node);
				signal.removeEventListener("abort", done);
				resolve();
			};
			bells.add(done);
			signal.addEventListener("abort", done);
			if (signal.aborted) done();
		});
	}

	async answer(node: NodeId, id: string, body: ReadableStream<Uint8Array>): Promise<boolean> {
		const waiting = this.#waiting.get(id);
		if (waiting?.node !== node) return false;
		await waiting.open(body);
		return true;
	}

	input(node: NodeId, id: string): ReadableStream<Uint8Array> | undefined {
		const input = this.#inputs.get(id);
		if (input?.node !== node) return undefined;
		this.#inputs.delete(id);
		return input.stream;
	}
}

/** Where the two ends do not meet in one process: says so at once. */
export function noRelay(why: string): Relay {
	return {
		ask: () => Promise.reject(new Error(why)),
		take: () => [],
		wait: (_node, signal) =>
			new Promise((resolve) => {
				signal.addEventListener("abort", () => resolve());
				if (signal.aborted) resolve();
			}),
		answer: async () => false,
		input: () => undefined,
	};
}

/** The first line, and the body after it. */
async function headOf(
	body: ReadableStream<Uint8Array>,
	signal: AbortSignal,
): Promise<{ head: AnswerHead; rest: ReadableStream<Uint8Array> }> {
	const reader = body.getReader();
	const cancel = () => void reader.cancel().catch(() => undefined);
	signal.addEventListener("abort", cancel);
	let held = new Uint8Array(0);
	for (;;) {
		const { done, value } = await reader.read().catch(broken);
		if (done) throw signal.reason ?? new Error("the node ended its answer before it began");
		held = joined(held, value);
		// A line with nothing in it says that the agent is at it.
		while (held[0] === newline) held = held.subarray(1);
		const at = held.indexOf(newline);
		if (at < 0 && held.length > longestHead) throw new Error("the node's answer has no head");
		if (at < 0) continue;
		signal.removeEventListener("abort", cancel);
		const head = JSON.parse(new TextDecoder().decode(held.subarray(0, at))) as AnswerHead;
		return { head, rest: after(held.subarray(at + 1), reader) };
	}
}

const newline = 10;

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
	const both = new Uint8Array(a.length + b.length);
	both.set(a);
	both.set(b, a.length);
	return both;
}

interface Reader {
	read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
	cancel(reason?: unknown): Promise<void>;
}

/** What was read too much, and then what follows. */
function after(first: Uint8Array, reader: Reader): ReadableStream<Uint8Array> {
	return new ReadableStream<Uint8Array>(
		{
			start(to) {
				if (first.length > 0) to.enqueue(first);
			},
			async pull(to) {
				const { done, value } = await reader.read().catch(broken);
				if (value) to.enqueue(value);
				if (done) to.close();
			},
			cancel: (reason) => reader.cancel(reason),
		},
		{ highWaterMark: 0 },
	);
}

/** Whoever reads should not take a machine that lost its power for one that had nothing more to say. */
function broken(cause: unknown): never {
	throw new Error("the line to the node broke", { cause });
}

/** The same bytes, until the signal: then they end, however many there would be. */
function endingWith(
	source: ReadableStream<Uint8Array>,
	signal: AbortSignal,
): ReadableStream<Uint8Array> {
	const reader = source.getReader();
	const cancel = () => void reader.cancel().catch(() => undefined);
	signal.addEventListener("abort", cancel);
	if (signal.aborted) cancel();
	return new ReadableStream<Uint8Array>(
		{
			async pull(to) {
				const { done, value } = await reader.read();
				if (done) to.close();
				else to.enqueue(value);
			},
			cancel: (reason) => reader.cancel(reason),
		},
		{ highWaterMark: 0 },
	);
}
