// One request of the docker CLI, passed on to the cluster's endpoint with the credential that the CLI does not have:
// as it is, or, where the connection goes on in raw bytes, through the endpoint's tunnel.

import type { Serve } from "../control-plane/connection/listen.ts";
import { type Line, lineOver, type WebSocketLike } from "../control-plane/connection/websocket.ts";
import { proxyFor } from "../model/proxy.ts";
import { unreachable } from "./endpoint.ts";

export interface Target {
	/** Of the cluster's Docker API: `https://skein.example.com/c/acme`. */
	readonly endpoint: string;
	readonly token: string;
	/** What to sign in at again. */
	readonly login: string;
}

const keepAliveMs = 30_000;

/** What belongs to the connection that the CLI has with us. */
const ofConnection =
	/^(host|connection|upgrade|keep-alive|transfer-encoding|content-length|te|trailer)$/i;

export function forward(target: () => Target): Serve {
	return async (request, stdin) => {
		const at = target();
		try {
			const reply = stdin ? await tunnel(at, request, stdin) : await pass(at, request);
			return reply.status === 401 ? signInAgain(at) : reply;
		} catch (error) {
			if (request.signal.aborted) throw error;
			return refuse(502, unreachable(at.endpoint, error));
		}
	};
}

async function pass(at: Target, request: Request): Promise<Response> {
	const { method, signal } = request;
	const hasBody =
		request.headers.has("Transfer-Encoding") || Number(request.headers.get("Content-Length")) > 0;
	const reply = await fetch(`${at.endpoint}${pathOf(request)}`, {
		method,
		headers: { ...passedOn(request.headers), Authorization: `Bearer ${at.token}` },
		signal,
		redirect: "manual",
		...(hasBody && { body: request.body }),
		// As it came, whenever it comes.
		decompress: false,
		timeout: false,
	} as RequestInit);
	return new Response(reply.body, { status: reply.status, headers: passedOn(reply.headers) });
}

function pathOf(request: Request): string {
	const { pathname, search } = new URL(request.url);
	return `${pathname}${search}`;
}

function passedOn(headers: Headers): Record<string, string> {
	return Object.fromEntries([...headers].filter(([name]) => !ofConnection.test(name)));
}

async function tunnel(
	at: Target,
	request: Request,
	stdin: ReadableStream<Uint8Array>,
): Promise<Response> {
	const query = new URLSearchParams({ method: request.method, path: pathOf(request) });
	const url = `${at.endpoint}/api/tunnel?${query}`;
	const line = await dial(url, at.token);
	if (!line) return refusalOf(url, at);
	request.signal.addEventListener("abort", () => line.close(1000, "the client went away"));
	if (request.signal.aborted) line.close(1000);
	const here = setInterval(() => line.keepAlive(), keepAliveMs);
	line.over.addEventListener("abort", () => clearInterval(here));
	line.say(JSON.stringify({ headers: passedOn(request.headers), body: await request.text() }));
	const { status, headers } = JSON.parse(await line.first) as {
		status: number;
		headers: Record<string, string>;
	};
	line.send(stdin).catch(() => line.close(1000, "the client went away"));
	const isRaw = status === 101;
	return new Response(line.bytes, {
		status: isRaw ? 200 : status,
		headers: { ...passedOn(new Headers(headers)), ...(isRaw && { Upgrade: "tcp" }) },
	});
}

/** Undefined when the other side does not open a WebSocket. */
async function dial(url: string, token: string): Promise<Line | undefined> {
	const proxy = proxyFor(new URL(url), process.env);
	const socket = new WebSocket(url.replace(/^http/, "ws"), {
		headers: { Authorization: `Bearer ${token}` },
		...(proxy !== undefined && { proxy }),
	});
	socket.binaryType = "arraybuffer";
	const line = lineOver(socket as WebSocketLike);
	const isOpen = await new Promise<boolean>((resolve) => {
		socket.addEventListener("open", () => resolve(true));
		line.over.addEventListener("abort", () => resolve(false));
	});
	return isOpen ? line : undefined;
}

/** A WebSocket's refusal has no words; asked plainly, the endpoint has. */
async function refusalOf(url: string, at: Target): Promise<Response> {
	const reply = await fetch(url, {
		headers: { Authorization: `Bearer ${at.token}` },
		redirect: "manual",
	});
	if (reply.status !== 400) {
		return new Response(reply.body, { status: reply.status, headers: passedOn(reply.headers) });
	}
	const message =
		`${new URL(url).origin} answers, but a WebSocket to it does not open, which exec and attach need: ` +
		"let the proxy between here and there pass WebSockets";
	return refuse(502, message);
}

/** Exactly this type: with a charset behind it, the docker CLI shows the raw JSON. */
function refuse(status: number, message: string): Response {
	const headers = { "Content-Type": "application/json" };
	return new Response(JSON.stringify({ message }), { status, headers });
}

function signInAgain(at: Target): Response {
	const message = `${at.login} does not take your token any more (it has expired or was revoked): docker skein login ${at.login}`;
	return refuse(401, message);
}
