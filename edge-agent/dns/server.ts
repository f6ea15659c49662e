// The node's name server: UDP and TCP on the addresses that containers are given, answers from the zone, the rest
// from upstream.
//
// Nothing that comes in may end it: sockets have an ear for errors, bytes are parsed or refused, and an address that
// cannot be bound is a problem to report and to try again, never a throw. Two servers may have the same address at once
// (SO_REUSEPORT), so a new agent listens before the old one is gone.

import { createSocket, type Socket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { messageOf } from "../../model/errors.ts";
import { answer } from "./answer.ts";
import { Frames, framed, type Transport, Upstream, type UpstreamOptions } from "./upstream.ts";
import { parseQuery, type Question, writeError, writeReply } from "./wire.ts";
import type { Zone } from "./zone.ts";

export interface ServerOptions {
	readonly port?: number;
	readonly upstream?: Partial<UpstreamOptions>;
}

/** A frame of TCP holds no more. */
const largestFrame = 65_535;
/** Stubs close at once; who stays longer than this holds a socket for nothing. */
const idleMs = 10_000;

interface Listener {
	readonly udp: Socket;
	readonly tcp: Server;
}

export class DnsServer {
	readonly #port: number;
	readonly #upstream: Upstream;
	readonly #listeners = new Map<string, Listener>();
	/** Questions that are with upstream right now, by name and type: what a loop is known by. */
	readonly #asking = new Map<string, number>();
	#zone: Zone = { networks: [], scopeOf: new Map(), own: new Set() };

	constructor({ port = 53, upstream = {} }: ServerOptions = {}) {
		this.#port = port;
		this.#upstream = new Upstream({
			resolvConf: "/etc/resolv.conf",
			isOwn: (address) =>
				this.#listeners.has(address) ||
				this.#zone.own.has(address) ||
				// The other nodes': two that asked each other would never end.
				this.#zone.scopeOf.has(address),
			...upstream,
		});
	}

	/** What is answered from now on. */
	serve(zone: Zone): void {
		this.#zone = zone;
	}

	/**
	 * Listens on these addresses and no others; call again whenever they may have come or gone. Gives a problem for each
	 * that could not be had, in words for the user.
	 */
	async ensureListening(addresses: readonly string[]): Promise<string[]> {
		for (const [address, listener] of this.#listeners) {
			if (addresses.includes(address)) continue;
			this.#listeners.delete(address);
			close(listener);
		}
		const problems: string[] = [];
		for (const address of addresses) {
			if (this.#listeners.has(address)) continue;
			try {
				this.#listeners.set(address, await this.#listen(address));
			} catch (error) {
				problems.push(problemOf(address, this.#port, error));
			}
		}
		return problems;
	}

	close(): void {
		for (const listener of this.#listeners.values()) close(listener);
		this.#listeners.clear();
		this.#upstream.close();
	}

	async #listen(address: string): Promise<Listener> {
		const udp = await this.#listenUdp(address);
		try {
			return { udp, tcp: await this.#listenTcp(address) };
		} catch (error) {
			udp.close();
			throw error;
		}
	}

	async #listenUdp(address: string): Promise<Socket> {
		const socket = createSocket({ type: "udp4", reusePort: true });
		await started(socket, (done) => socket.bind(this.#port, address, done));
		// An ICMP error of an asker who hung up arrives here; unheard, it would end the agent.
		socket.on("error", () => {});
		socket.on("message", (bytes, asker) => {
			this.#answer(bytes, asker.address, "udp", (reply) => {
				socket.send(reply, asker.port, asker.address, () => {});
			});
		});
		return socket;
	}

	async #listenTcp(address: string): Promise<Server> {
		const server = createServer((socket) => {
			const frames = new Frames();
			const source = socket.remoteAddress ?? "";
			socket.setTimeout(idleMs, () => socket.destroy());
			socket.on("error", () => socket.destroy());
			socket.on("data", (chunk) => {
				for (const query of frames.push(Buffer.from(chunk))) {
					this.#answer(query, source, "tcp", (reply) => socket.write(framed(reply)));
				}
			});
		});
		await started(server, (done) => {
			server.listen({ host: address, port: this.#port, reusePort: true }, done);
		});
		server.on("error", () => {});
		return server;
	}

	#answer(
		bytes: Uint8Array,
		source: string,
		transport: Transport,
		reply: (message: Uint8Array) => unknown,
	): void {
		const question = parseQuery(bytes);
		if (question === undefined) return;
		if (typeof question === "string") {
			reply(writeError(bytes, question));
			return;
		}
		const limit = transport === "udp" ? question.limit : largestFrame;
		const found = answer(question, this.#zone, source, Math.random);
		if (found === "forward") {
			// It always settles, and never rejects.
			void this.#forward(bytes, question, source, transport).then(reply);
			return;
		}
		reply(writeReply(question, found.code, found.records, limit));
	}

	async #forward(
		bytes: Uint8Array,
		question: Question,
		source: string,
		transport: Transport,
	): Promise<Uint8Array> {
		const failed = () => writeReply(question, "SERVFAIL", [], question.limit);
		const key = `${question.type} ${question.name.toLowerCase()}`;
		const count = this.#asking.get(key) ?? 0;
		// The machine's own resolver asks us what we just asked it: it has been told to forward here.
		if (count > 0 && (source.startsWith("127.") || this.#zone.own.has(source))) return failed();
		this.#asking.set(key, count + 1);
		try {
			return await this.#upstream.ask(bytes, transport);
		} catch {
			return failed();
		} finally {
			const left = (this.#asking.get(key) ?? 1) - 1;
			if (left > 0) this.#asking.set(key, left);
			else this.#asking.delete(key);
		}
	}
}

function close({ udp, tcp }: Listener): void {
	udp.close();
	tcp.close();
}

/** Resolves when it listens, rejects when it cannot. */
async function started(socket: Socket | Server, listen: (done: () => void) => void): Promise<void> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	socket.once("error", reject);
	listen(resolve);
	await promise;
	socket.off("error", reject);
}

function problemOf(address: string, port: number, error: unknown): string {
	const text = messageOf(error);
	const remedy = text.includes("EADDRINUSE")
		? `find the program that has it with "ss -lntup sport = :${port}" and keep it off ${address}`
		: "the agent tries again by itself";
	return `no name server on ${address}, port ${port}, so containers that ask there find no service by name (${text}): ${remedy}`;
}
