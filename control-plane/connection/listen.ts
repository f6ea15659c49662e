// Where callers come in: HTTP for one `fetch`, and connections that go on in raw bytes (`docker exec`, `docker attach`).
//
// Bun.serve cannot hand over a connection that asks for an upgrade; node:http can, under Bun too. An answer that names
// `Upgrade` is such a connection's: it is said as 101, and then its body goes out as it comes, while `stdin` is what the
// caller sends meanwhile. A connection that asks for a WebSocket is given to `serve` to take over or to refuse.

import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo, ListenOptions, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { WebSocketServer } from "ws";
import type { Upgrade, WebSocketLike } from "./websocket.ts";

export type Serve = (
	request: Request,
	/** Of a connection that asks to go on in raw bytes. */
	stdin?: ReadableStream<Uint8Array>,
	/** Of one that asks for a WebSocket. */
	upgrade?: Upgrade,
	/** Over TCP. */
	peer?: Peer,
) => Response | Promise<Response>;

/** Who is at the other end. */
export interface Peer {
	readonly address?: string;
	/** The fingerprint of their certificate. */
	readonly certificate?: string;
}

/** More than any message of ours has. */
const largestMessage = 1024 * 1024;

export interface Listener {
	/** 0 for a unix socket. */
	readonly port: number;
	/** Ends every connection. */
	stop(): Promise<void>;
}

export async function listen(
	at: Pick<ListenOptions, "host" | "port" | "path">,
	serve: Serve,
	peerOf: (socket: Socket) => Peer = ({ remoteAddress }) =>
		remoteAddress === undefined ? {} : { address: remoteAddress },
): Promise<Listener> {
	const server = createServer(
		{ requestTimeout: 0 },
		getRequestListener(
			(request, { incoming }) => serve(request, undefined, undefined, peerOf(incoming.socket)),
			{ overrideGlobalObjects: false },
		),
	);
	// Logs and events may say nothing for hours.
	server.timeout = 0;
	const upgraded = new Set<Duplex>();
	server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
		upgraded.add(socket);
		socket.on("close", () => upgraded.delete(socket));
		const goOn = isWebSocket(request) ? inMessages : inBytes;
		const peer = peerOf(request.socket);
		const served: Serve = (asked, stdin, upgrade) => serve(asked, stdin, upgrade, peer);
		goOn(request, socket, head, served).catch(() => socket.destroy());
	});
	await begun(server, at);
	const address = server.address() as AddressInfo | string | null;
	return {
		port: typeof address === "object" ? (address?.port ?? 0) : 0,
		async stop() {
			for (const socket of upgraded) socket.destroy();
			const closed = new Promise<void>((resolve) => server.close(() => resolve()));
			server.closeAllConnections();
			await closed;
		},
	};
}

function begun(server: Server, at: ListenOptions): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once("error", reject);
		server.listen(at, () => {
			server.off("error", reject);
			resolve();
		});
	});
}

const isWebSocket = ({ headers }: IncomingMessage) =>
	headers.upgrade?.toLowerCase() === "websocket";

async function inBytes(incoming: IncomingMessage, socket: Duplex, head: Buffer, serve: Serve) {
	const { method = "GET", headers } = incoming;
	const hasBody = method !== "GET" && method !== "HEAD" && Number(headers["content-length"]) > 0;
	const request = requestOf(incoming, socket, hasBody ? await textOf(incoming) : undefined);
	const response = await serve(request, bytesOf(socket, head));
	const isRaw = response.ok && response.headers.has("Upgrade");
	socket.write(headOf(response, isRaw));
	if (response.body) await writeAll(socket, response.body);
	socket.end();
}

/** Until `serve` takes the connection over, it can still be refused as any request. */
async function inMessages(incoming: IncomingMessage, socket: Duplex, head: Buffer, serve: Serve) {
	let isTaken = false;
	const upgrade: Upgrade = () =>
		new Promise((resolve) => {
			isTaken = true;
			webSockets.handleUpgrade(incoming, socket, head, (opened) => {
				opened.binaryType = "arraybuffer";
				resolve({ socket: opened as WebSocketLike, response: new Response() });
			});
		});
	const response = await serve(requestOf(incoming, socket), undefined, upgrade);
	if (isTaken) return;
	socket.write(headOf(response, false));
	if (response.body) await writeAll(socket, response.body);
	socket.end();
}

/** Compression would hold back what somebody types. */
const webSockets = new WebSocketServer({
	noServer: true,
	perMessageDeflate: false,
	maxPayload: largestMessage,
});

function requestOf(incoming: IncomingMessage, socket: Duplex, body?: string): Request {
	const left = new AbortController();
	socket.on("close", () => left.abort());
	socket.on("error", () => left.abort());
	const { method = "GET", url = "/", headers } = incoming;
	// Clients of a unix socket name the socket's path as the host: `/run/skein.sock`.
	const host = /^[\w.:[\]-]+$/.exec(headers.host ?? "")?.[0] ?? "localhost";
	return new Request(`http://${host}${url}`, {
		method,
		headers: Object.entries(headers).flatMap(([name, value]): [string, string][] =>
			value === undefined ? [] : [[name, String(value)]],
		),
		signal: left.signal,
		...(body !== undefined && { body }),
	});
}

/** Specs of an exec: few words. What upgrades never has more. */
async function textOf(incoming: IncomingMessage): Promise<string> {
	const chunks: Buffer[] = [];
	for await (const chunk of incoming) chunks.push(chunk as Buffer);
	return Buffer.concat(chunks).toString("utf8");
}

/** A refusal is the end of its connection, which spares it a length. */
function headOf(response: Response, isRaw: boolean): string {
	const fields = [...response.headers].filter(([name]) => name !== "upgrade");
	return [
		isRaw ? "HTTP/1.1 101 UPGRADED" : `HTTP/1.1 ${response.status} ${response.statusText || "-"}`,
		...fields.map(([name, value]) => `${name}: ${value}`),
		...(isRaw ? ["Connection: Upgrade", "Upgrade: tcp"] : ["Connection: close"]),
		"\r\n",
	].join("\r\n");
}

/** What the caller sends, no faster than it is read. When nobody reads any more, the rest falls away. */
function bytesOf(socket: Duplex, first: Buffer): ReadableStream<Uint8Array> {
	let isOver = false;
	return new ReadableStream<Uint8Array>(
		{
			start(to) {
				const end = () => {
					if (!isOver) to.close();
					isOver = true;
				};
				if (first.length > 0) to.enqueue(new Uint8Array(first));
				socket.on("data", (bytes: Buffer) => {
					if (isOver) return;
					to.enqueue(new Uint8Array(bytes));
					socket.pause();
				});
				socket.on("end", end);
				socket.on("close", end);
			},
			pull() {
				socket.resume();
			},
			cancel() {
				isOver = true;
				socket.resume();
			},
		},
		{ highWaterMark: 0 },
	);
}

async function writeAll(socket: Duplex, body: ReadableStream<Uint8Array>): Promise<void> {
	const reader = body.getReader();
	const gone = () => void reader.cancel().catch(() => undefined);
	socket.on("close", gone);
	if (socket.destroyed) gone();
	for (;;) {
		const { done, value } = await reader.read();
		if (done || socket.destroyed) return;
		if (socket.write(value)) continue;
		await new Promise<void>((resolve) => {
			const go = () => {
				socket.off("drain", go);
				socket.off("close", go);
				resolve();
			};
			socket.on("drain", go);
			socket.on("close", go);
		});
	}
}
