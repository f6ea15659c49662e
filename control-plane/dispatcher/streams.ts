// Streams of bytes from a node to somebody who reads them, for `docker service logs`.
//
// The reader asks here; the node's held poll brings it the request; the agent opens `POST /agent/stream/<id>` and its
// body is handed to the reader as it comes. Lives in one process: nothing of it is stored, and a stream that breaks is
// asked for again by its reader. What the bytes mean is the reader's (engine/logs.ts).

import type { StreamRequest } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";

/** An agent that does not come for its request within this time counts as out of reach. */
const pickUpMs = 10_000;

interface Waiting {
	readonly node: NodeId;
	readonly request: StreamRequest;
	told: boolean;
	readonly open: (body: ReadableStream<Uint8Array>) => Promise<void>;
}

export class Streams {
	readonly #waiting = new Map<string, Waiting>();
	readonly #bells = new Map<NodeId, Set<() => void>>();

	/** The node's bytes; rejects with a sentence when the node does not answer. `signal` is the reader going away. */
	read(
		node: NodeId,
		asked: Omit<StreamRequest, "id">,
		signal: AbortSignal,
	): Promise<ReadableStream<Uint8Array>> {
		const id = crypto.randomUUID();
		return new Promise((resolve, reject) => {
			const timer = setTimeout(() => {
				this.#waiting.delete(id);
				reject(new Error(`the node did not answer within ${pickUpMs / 1000} s`));
			}, pickUpMs);
			signal.addEventListener("abort", () => {
				clearTimeout(timer);
				this.#waiting.delete(id);
				reject(new Error("the reader went away"));
			});
			const open = (body: ReadableStream<Uint8Array>) => {
				clearTimeout(timer);
				this.#waiting.delete(id);
				const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
				resolve(readable);
				return body.pipeTo(writable, { signal }).catch(() => undefined);
			};
			this.#waiting.set(id, { node, request: { ...asked, id }, told: false, open });
			for (const ring of this.#bells.get(node) ?? []) ring();
		});
	}

	/** What the node is to be told with its next reply; each request is given once. */
	take(node: NodeId): StreamRequest[] {
		const fresh = [...this.#waiting.values()].filter((each) => each.node === node && !each.told);
		for (const each of fresh) each.told = true;
		return fresh.map((each) => each.request);
	}

	/** Until somebody wants something of the node, or the signal. Never rejects. */
	wait(node: NodeId, signal: AbortSignal): Promise<void> {
		return new Promise((resolve) => {
			const bells = this.#bells.get(node) ?? new Set();
			this.#bells.set(node, bells);
			const done = () => {
				bells.delete(done);
				if (bells.size === 0) this.#bells.delete(node);
				resolve();
			};
			bells.add(done);
			signal.addEventListener("abort", done);
			if (signal.aborted) done();
		});
	}

	/** The agent's body, handed on until either side ends it. False when nobody waits for that id at that node. */
	async accept(node: NodeId, id: string, body: ReadableStream<Uint8Array>): Promise<boolean> {
		const waiting = this.#waiting.get(id);
		if (waiting?.node !== node) return false;
		await waiting.open(body);
		return true;
	}
}
