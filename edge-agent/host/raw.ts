// The engine's answers as they come, for whoever passes them on: any status, and connections that go on in raw bytes.
//
// Bun's fetch cannot take over a connection that the engine upgrades (exec, attach), so for those we speak HTTP's few
// words over the socket ourselves.

import { connect, type Socket } from "node:net";

export interface RawEngine {
	/** `path` without version. Whatever the status. */
	exchange(
		method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE",
		path: string,
		signal: AbortSignal,
		body?: Json | ReadableStream<Uint8Array>,
	): Promise<Response>;
	/** A POST that asks to go on in raw bytes, both ways. */
	upgrade(path: string, signal: AbortSignal, body?: Json): Promise<Upgraded>;
}

export type Json = { readonly json: unknown };

export interface Upgraded {
	/** 101, or the engine's refusal, whose words are the body. */
	readonly status: number;
	readonly type: string;
	readonly body: ReadableStream<Uint8Array>;
	/** Sends it all, then says that no more comes. Never rejects. */
	send(input: ReadableStream<Uint8Array>): Promise<void>;
}

/** `apiVersion` throws while the engine is away. */
export function openRaw(socketPath: string, apiVersion: () => string): RawEngine {
	return {
		exchange(method, path, signal, body) {
			// Not by its field: Bun's streams have a `json` of their own.
			const isJson = body !== undefined && !(body instanceof ReadableStream);
			const sent = isJson ? JSON.stringify(body.json) : body;
			return fetch(`http://docker/v${apiVersion()}${path}`, {
				unix: socketPath,
				method,
				signal,
				// As in docker.ts: the signal is our only bound.
				timeout: false,
				...(isJson && { headers: { "content-type": "application/json" } }),
				...(sent !== undefined && { body: sent }),
			} as RequestInit);
		},
		async upgrade(path, signal, body) {
			const socket = await connected(socketPath, signal);
			const text = body ? JSON.stringify(body.json) : "";
			socket.write(
				[
					`POST /v${apiVersion()}${path} HTTP/1.1`,
					"Host: docker",
					"Connection: Upgrade",
					"Upgrade: tcp",
					"Content-Type: application/json",
					`Content-Length: ${Buffer.byteLength(text)}`,
					"",
					text,
				].join("\r\n"),
			);
			const { head, rest } = await headOf(socket);
			const { status, type, length } = parseHead(head);
			const bytes = bytesOf(socket, rest);
			return {
				status,
				type,
				body: status === 101 ? bytes : firstOf(bytes, length),
				send: (input) => sendAll(socket, input),
			};
		},
	};
}

function connected(socketPath: string, signal: AbortSignal): Promise<Socket> {
	return new Promise((resolve, reject) => {
		signal.throwIfAborted();
		// When the engine has said all, what we send may still be under way, and the other way round.
		const socket = connect({ path: socketPath, allowHalfOpen: true });
		const end = () => socket.destroy();
		signal.addEventListener("abort", end);
		socket.on("connect", () => resolve(socket));
		socket.on("error", reject);
		socket.on("close", () => {
			signal.removeEventListener("abort", end);
			reject(new Error("Docker closed the connection"));
		});
	});
}

/** The answer up to its empty line, and what was read beyond. */
function headOf(socket: Socket): Promise<{ head: string; rest: Buffer }> {
	return new Promise((resolve, reject) => {
		let held = Buffer.alloc(0);
		const data = (bytes: Buffer) => {
			held = Buffer.concat([held, bytes]);
			const at = held.indexOf("\r\n\r\n");
			if (at < 0) return;
			socket.pause();
			socket.off("data", data);
			socket.off("close", closed);
			resolve({ head: held.toString("latin1", 0, at), rest: held.subarray(at + 4) });
		};
		const closed = () => reject(new Error("Docker closed the connection"));
		socket.on("data", data);
		socket.on("close", closed);
		socket.on("end", closed);
	});
}

function parseHead(head: string) {
	const [first = "", ...lines] = head.split("\r\n");
	const field = (name: string) =>
		lines
			.find((line) => line.toLowerCase().startsWith(`${name}:`))
			?.slice(name.length + 1)
			.trim();
	return {
		status: Number(first.split(" ")[1] ?? 0),
		type: field("content-type") ?? "",
		length: Number(field("content-length") ?? 0),
	};
}

/** What the socket says from here on, no faster than it is read. */
function bytesOf(socket: Socket, first: Buffer): ReadableStream<Uint8Array> {
	let isOver = false;
	return new ReadableStream<Uint8Array>(
		{
			start(to) {
				const end = () => {
					if (isOver) return;
					isOver = true;
					to.close();
				};
				if (first.length > 0) to.enqueue(new Uint8Array(first));
				socket.on("data", (bytes: Buffer) => {
					if (isOver) return;
					to.enqueue(new Uint8Array(bytes));
					socket.pause();
				});
				socket.on("end", () => {
					end();
					// Whoever has said all and heard all need not stay.
					socket.end();
				});
				socket.on("close", end);
			},
			pull() {
				socket.resume();
			},
			cancel() {
				isOver = true;
				socket.destroy();
			},
		},
		{ highWaterMark: 0 },
	);
}

async function sendAll(socket: Socket, input: ReadableStream<Uint8Array>): Promise<void> {
	const reader = input.getReader();
	const gone = () => void reader.cancel().catch(() => undefined);
	socket.on("close", gone);
	if (socket.destroyed) gone();
	try {
		for (;;) {
			const { done, value } = await reader.read();
			if (done || socket.destroyed) break;
			if (!socket.write(value)) await drained(socket);
		}
		socket.end();
	} catch {
		// The asker went away: so does what it asked for.
		socket.destroy();
	}
}

function drained(socket: Socket): Promise<void> {
	return new Promise((resolve) => {
		const done = () => {
			socket.off("drain", done);
			socket.off("close", done);
			resolve();
		};
		socket.on("drain", done);
		socket.on("close", done);
	});
}

/** A refusal's words: as many bytes as it said, since the connection may stay open after them. */
function firstOf(bytes: ReadableStream<Uint8Array>, length: number): ReadableStream<Uint8Array> {
	let left = length;
	const reader = bytes.getReader();
	return new ReadableStream<Uint8Array>({
		async pull(to) {
			const { done, value } = left > 0 ? await reader.read() : { done: true, value: undefined };
			if (!value || done) {
				to.close();
				await reader.cancel();
				return;
			}
			to.enqueue(value.subarray(0, left));
			left -= value.length;
		},
	});
}
