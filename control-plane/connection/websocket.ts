// Bytes both ways over a WebSocket, no faster than they are read, each direction ending by itself. Both ends use this:
// the control plane's `tunnel.ts` and the CLI's local socket.
//
// Each side's first message is text, for the two to agree on. Then a binary message is bytes, an empty one the end of
// that direction, and a text `{"read":N}` says that N more bytes were taken: a side sends at most a window ahead of
// that. WebSockets know nothing of the kind: workerd's has no way to hold a sender back, and no `bufferedAmount`.

/** Most that may be on its way in one direction: what an end holds for a peer that is slow to read. */
export const windowBytes = 256 * 1024;
/** Small enough for every proxy and runtime, large enough to cost nothing. */
const largestMessage = 64 * 1024;
/** Taken bytes are told of in such lots. */
const lotBytes = windowBytes / 4;

/** What is expected of a peer before it is taken for gone. */
export interface Patience {
	/** Until its first message. */
	readonly firstMs: number;
	/** Between any two, `keepAlive` among them. */
	readonly silenceMs: number;
}

/** What the web's WebSocket, workerd's and `ws` have in common; open, and its `binaryType` is `arraybuffer`. */
export interface WebSocketLike {
	send(data: string | Uint8Array): void;
	close(code?: number, reason?: string): void;
	addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
	addEventListener(
		type: "close",
		listener: (event: { readonly code: number; readonly reason: string }) => void,
	): void;
	addEventListener(type: "error", listener: () => void): void;
}

/** Takes the connection over, and gives what is to be returned to whoever manages it. */
export type Upgrade = () => Promise<{
	readonly socket: WebSocketLike;
	readonly response: Response;
}>;

export interface Line {
	/** The other side's first message. Rejects when there is none. */
	readonly first: Promise<string>;
	/** What it sends after that; breaks when the connection ends before it has said that this is all. */
	readonly bytes: ReadableStream<Uint8Array>;
	/** Aborted when the connection is over. */
	readonly over: AbortSignal;
	/** Before any bytes, once. */
	say(first: string): void;
	/** Sends all of it, and that it is all. Resolves too when the connection is over; rejects as the source does. */
	send(source: ReadableStream<Uint8Array>): Promise<void>;
	/** Tells the other side that somebody is here. */
	keepAlive(): void;
	close(code: number, reason?: string): void;
}

/** To be called before the socket can have heard anything. Without `patience` the peer may take its time. */
export function lineOver(socket: WebSocketLike, patience?: Patience): Line {
	return new WindowedLine(socket, patience);
}

class WindowedLine implements Line {
	readonly #socket: WebSocketLike;
	readonly #first = Promise.withResolvers<string>();
	readonly #ended = new AbortController();
	readonly #taken: Inbox;
	/** How much more we may send. */
	#credit = windowBytes;
	#more: () => void = () => undefined;
	#hasFirst = false;
	#heardMs = Date.now();
	#timer: ReturnType<typeof setTimeout> | null = null;

	constructor(socket: WebSocketLike, patience?: Patience) {
		this.#socket = socket;
		this.#taken = new Inbox((count) => this.#tell({ read: count }));
		this.#first.promise.catch(() => undefined);
		socket.addEventListener("message", ({ data }) => this.#hear(data));
		socket.addEventListener("close", ({ code, reason }) =>
			this.#end(reason || `the connection ended (${code})`),
		);
		socket.addEventListener("error", () => this.#end("the connection broke"));
		if (patience) this.#watch(patience);
	}

	get first(): Promise<string> {
		return this.#first.promise;
	}

	get bytes(): ReadableStream<Uint8Array> {
		return this.#taken.stream;
	}

	get over(): AbortSignal {
		return this.#ended.signal;
	}

	say(first: string): void {
		if (!this.over.aborted) this.#socket.send(first);
	}

	async send(source: ReadableStream<Uint8Array>): Promise<void> {
		const reader = source.getReader();
		const stop = () => {
			void reader.cancel().catch(() => undefined);
			this.#more();
		};
		this.over.addEventListener("abort", stop);
		if (this.over.aborted) stop();
		for (;;) {
			const { done, value } = await reader.read();
			if (this.over.aborted) return;
			if (done) break;
			for (let at = 0; at < value.length; ) {
				while (this.#credit === 0 && !this.over.aborted) {
					await new Promise<void>((resolve) => {
						this.#more = resolve;
					});
				}
				if (this.over.aborted) return;
				const part = value.subarray(at, at + Math.min(this.#credit, largestMessage));
				this.#socket.send(part);
				this.#credit -= part.length;
				at += part.length;
			}
		}
		this.#socket.send(new Uint8Array(0));
	}

	keepAlive(): void {
		this.#tell({ read: 0 });
	}

	close(code: number, reason = ""): void {
		if (this.over.aborted) return;
		this.#socket.close(code, clipped(reason));
		this.#end(reason);
	}

	/** One timer, however many messages come. */
	#watch(patience: Patience): void {
		const mayBeMs = this.#hasFirst ? patience.silenceMs : patience.firstMs;
		const leftMs = this.#heardMs + mayBeMs - Date.now();
		if (leftMs > 0) this.#timer = setTimeout(() => this.#watch(patience), leftMs);
		else this.close(1001, `nothing was heard for ${mayBeMs / 1000} s`);
	}

	#tell(message: { readonly read: number }): void {
		if (!this.over.aborted) this.#socket.send(JSON.stringify(message));
	}

	#hear(data: unknown): void {
		this.#heardMs = Date.now();
		const isFirst = !this.#hasFirst;
		if (isFirst && typeof data === "string") {
			this.#hasFirst = true;
			this.#first.resolve(data);
		} else if (isFirst) this.close(1002, "the first message has to be text");
		else if (typeof data === "string") this.#grant(readOf(data));
		else this.#receive(new Uint8Array(data as ArrayBuffer));
	}

	#grant(read: number | undefined): void {
		if (read === undefined) {
			this.close(1002, 'a text message has to be {"read":N}');
			return;
		}
		// Whoever claims to have read more than there was gains nothing but its own memory.
		this.#credit = Math.min(this.#credit + read, windowBytes);
		this.#more();
	}

	#receive(bytes: Uint8Array): void {
		if (bytes.length === 0) this.#taken.end();
		else if (!this.#taken.put(bytes)) this.close(1008, "more was sent than may be on its way");
	}

	#end(why: string): void {
		if (this.over.aborted) return;
		if (this.#timer !== null) clearTimeout(this.#timer);
		const error = new Error(why);
		this.#ended.abort(error);
		this.#first.reject(error);
		this.#taken.break(error);
		this.#more();
	}
}

function readOf(text: string): number | undefined {
	try {
		const { read } = JSON.parse(text) as { readonly read?: unknown };
		return typeof read === "number" && Number.isInteger(read) && read >= 0 ? read : undefined;
	} catch {
		return undefined;
	}
}

/** A reason of a close is 123 bytes at most. */
function clipped(reason: string): string {
	const bytes = new TextEncoder().encode(reason);
	return new TextDecoder().decode(bytes.subarray(0, 120)).replace(/\uFFFD$/, "");
}

/** What came and was not read yet: a window at most. */
class Inbox {
	readonly stream: ReadableStream<Uint8Array>;
	readonly #waiting: Uint8Array[] = [];
	readonly #taken: (count: number) => void;
	#held = 0;
	#untold = 0;
	#isEnded = false;
	#error: Error | undefined;
	/** Nobody reads any more: what comes falls away. */
	#isDeaf = false;
	#news: () => void = () => undefined;

	constructor(taken: (count: number) => void) {
		this.#taken = taken;
		this.stream = new ReadableStream<Uint8Array>(
			{
				pull: async (to) => {
					while (this.#waiting.length === 0 && !this.#isEnded && !this.#error) {
						await new Promise<void>((resolve) => {
							this.#news = resolve;
						});
					}
					const next = this.#waiting.shift();
					if (next) {
						to.enqueue(next);
						this.#took(next.length);
					} else if (this.#isEnded) to.close();
					else to.error(this.#error);
				},
				cancel: () => {
					this.#isDeaf = true;
					for (const each of this.#waiting.splice(0)) this.#took(each.length);
				},
			},
			{ highWaterMark: 0 },
		);
	}

	/** False when that is more than a window. */
	put(bytes: Uint8Array): boolean {
		if (this.#isEnded || this.#held + this.#untold + bytes.length > windowBytes) return false;
		this.#held += bytes.length;
		if (this.#isDeaf) this.#took(bytes.length);
		else this.#waiting.push(bytes);
		this.#news();
		return true;
	}

	end(): void {
		this.#isEnded = true;
		this.#news();
	}

	break(error: Error): void {
		this.#error ??= error;
		this.#news();
	}

	#took(count: number): void {
		this.#held -= count;
		this.#untold += count;
		if (this.#untold < lotBytes) return;
		this.#taken(this.#untold);
		this.#untold = 0;
	}
}
