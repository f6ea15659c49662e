// Asks the machine's own name servers what we do not know ourselves, and passes their bytes on unchanged.
//
// The servers are those of the machine's resolv.conf, asked from the machine: a stub on 127.0.0.53 works as well as
// any other. Nothing is remembered but which server answered last.

import { createSocket, type Socket } from "node:dgram";
import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";

export type Transport = "udp" | "tcp";

export interface UpstreamOptions {
	readonly resolvConf: string;
	/** Addresses that would lead back to us. */
	readonly isOwn: (address: string) => boolean;
	/** For one try. Stubs give a question up after five seconds, Docker's after four: three tries must fit. */
	readonly timeoutMs?: number;
	readonly port?: number;
}

const mostTries = 3;
/** With so many questions under way the servers are gone, and memory is worth more than the next one. */
const mostPending = 4096;

export class Upstream {
	readonly #options: Required<UpstreamOptions>;
	/** By server and id: what came back is for whom. */
	readonly #pending = new Map<string, (reply: Uint8Array) => void>();
	#socket: Socket | undefined;
	#servers: readonly string[] = [];
	#changedMs = -1;
	/** Where the last answer came from: a server that is gone costs one question its timeout, not all of them. */
	#best = "";

	constructor(options: UpstreamOptions) {
		this.#options = { timeoutMs: 1200, port: 53, ...options };
	}

	/** The reply's bytes, with the query's own id. Rejects when no server answered. */
	async ask(query: Uint8Array, transport: Transport): Promise<Uint8Array> {
		const servers = this.#readServers();
		if (servers.length === 0) throw new Error(`no name server in ${this.#options.resolvConf}`);
		const inOrder = servers.toSorted((a, b) => Number(b === this.#best) - Number(a === this.#best));
		let failure: unknown;
		let refusal: Uint8Array | undefined;
		for (let turn = 0; turn < mostTries; turn++) {
			const server = inOrder[turn % inOrder.length] ?? "";
			if (refusal && turn >= inOrder.length) break;
			try {
				const reply = await (transport === "udp"
					? this.#askByUdp(server, query)
					: this.#askByTcp(server, query));
				if (!refuses(reply)) {
					this.#best = server;
					return reply;
				}
				refusal = reply;
			} catch (error) {
				failure = error;
			}
		}
		if (refusal) return refusal;
		throw new Error(`no answer from ${inOrder.join(", ")}`, { cause: failure });
	}

	close(): void {
		this.#socket?.close();
		this.#socket = undefined;
	}

	#askByUdp(server: string, query: Uint8Array): Promise<Uint8Array> {
		if (this.#pending.size >= mostPending) throw new Error("too many questions under way");
		const { timeoutMs, port } = this.#options;
		// An id of our own, by the system's dice: the asker's may be guessed, and two askers may have the same.
		const [id] = crypto.getRandomValues(new Uint16Array(1)) as unknown as [number];
		const key = `${server} ${id}`;
		if (this.#pending.has(key)) throw new Error("an id came twice");
		const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
		const timer = setTimeout(() => {
			this.#pending.delete(key);
			reject(new Error(`${server} did not answer in ${timeoutMs} ms`));
		}, timeoutMs);
		this.#pending.set(key, (reply) => {
			clearTimeout(timer);
			this.#pending.delete(key);
			resolve(withId(reply, query));
		});
		const bytes = Uint8Array.from(query);
		new DataView(bytes.buffer).setUint16(0, id);
		// A failure to send is a failure to answer: the timer tells of it.
		this.#openSocket().send(bytes, port, server, () => {});
		return promise;
	}

	#openSocket(): Socket {
		if (this.#socket) return this.#socket;
		const socket = createSocket("udp4");
		socket.on("message", (reply, { address }) => {
			if (reply.length < 12) return;
			this.#pending.get(`${address} ${reply.readUInt16BE(0)}`)?.(reply);
		});
		socket.on("error", () => {
			// The next question gets a new one.
			if (this.#socket === socket) this.#socket = undefined;
			socket.close();
		});
		socket.unref();
		this.#socket = socket;
		return socket;
	}

	#askByTcp(server: string, query: Uint8Array): Promise<Uint8Array> {
		const { timeoutMs, port } = this.#options;
		const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
		const frames = new Frames();
		const socket = connect({ host: server, port }, () => socket.write(framed(query)));
		const timer = setTimeout(() => {
			socket.destroy(new Error(`${server} did not answer in ${timeoutMs} ms`));
		}, timeoutMs);
		socket.on("data", (chunk) => {
			const [reply] = frames.push(Buffer.from(chunk));
			if (!reply) return;
			resolve(reply);
			socket.end();
		});
		socket.on("error", reject);
		socket.on("close", () => {
			clearTimeout(timer);
			reject(new Error(`${server} hung up`));
		});
		return promise;
	}

	/** Whoever manages the machine may rewrite the file at any time; to ask for its date costs next to nothing. */
	#readServers(): readonly string[] {
		try {
			const { mtimeMs } = statSync(this.#options.resolvConf);
			if (mtimeMs !== this.#changedMs) {
				this.#servers = parseResolvConf(readFileSync(this.#options.resolvConf, "utf8"));
				this.#changedMs = mtimeMs;
			}
		} catch {
			// While it is being replaced the servers known are as good as any.
		}
		return this.#servers.filter((server) => !this.#options.isOwn(server));
	}
}

/** IPv4 only: an overlay's packets are, and a machine that has IPv6 servers alone has a stub as well. */
export function parseResolvConf(text: string): string[] {
	return text.split("\n").flatMap((line) => {
		const server = /^\s*nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$/.exec(line)?.[1];
		return server ?? [];
	});
}

/** Messages in a TCP stream: each has its length, two bytes, before it. */
export class Frames {
	#rest = new Uint8Array(0);

	push(chunk: Uint8Array): Uint8Array[] {
		const bytes = new Uint8Array(this.#rest.length + chunk.length);
		bytes.set(this.#rest);
		bytes.set(chunk, this.#rest.length);
		const whole: Uint8Array[] = [];
		let at = 0;
		while (bytes.length - at >= 2) {
			const length = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
			if (bytes.length - at - 2 < length) break;
			whole.push(bytes.slice(at + 2, at + 2 + length));
			at += 2 + length;
		}
		this.#rest = bytes.slice(at);
		return whole;
	}
}

export function framed(message: Uint8Array): Uint8Array {
	const bytes = new Uint8Array(message.length + 2);
	new DataView(bytes.buffer).setUint16(0, message.length);
	bytes.set(message, 2);
	return bytes;
}

/** SERVFAIL, NOTIMP, REFUSED: not an answer, but a server that has none; another may. */
function refuses(reply: Uint8Array): boolean {
	return [2, 4, 5].includes((reply[3] ?? 0) & 15);
}

function withId(reply: Uint8Array, query: Uint8Array): Uint8Array {
	const bytes = Uint8Array.from(reply);
	bytes.set(query.subarray(0, 2));
	return bytes;
}
