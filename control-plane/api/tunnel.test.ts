// The tunnel's route behind a real listener, by real WebSockets. What it leads to in the whole program is shown in
// test/app and test/e2e.

import { afterAll, expect, test } from "bun:test";
import { Hono } from "hono";
import { messageOf, Refusal } from "../../model/errors.ts";
import { listen } from "../connection/listen.ts";
import { lineOver, type WebSocketLike } from "../connection/websocket.ts";
import type { AppEnv } from "../world.ts";
import { tunnelRouter } from "./tunnel.ts";

const left = Promise.withResolvers<void>();
const routes: Hono<AppEnv> = new Hono<AppEnv>();
routes
	.onError((error) =>
		Response.json({ message: error.message }, { status: error instanceof Refusal ? 400 : 500 }),
	)
	.use(async (c, next) => {
		if (c.req.header("Authorization") === "Bearer right") await next();
		else c.res = c.json({ message: "who are you?" }, 401);
	})
	.route(
		"/c/acme",
		tunnelRouter((request, bindings) => routes.fetch(request, bindings)),
	)
	.post("/c/acme/echo", async (c) => {
		const said = `${c.req.header("Authorization")} ${c.req.header("Content-Type")} ${await c.req.text()}`;
		return new Response(c.env.stdin ?? null, { headers: { Upgrade: "tcp", "X-Said": said } });
	})
	.post("/c/acme/wait", (c) => {
		c.req.raw.signal.addEventListener("abort", () => left.resolve());
		return new Response(new ReadableStream(), { headers: { Upgrade: "tcp" } });
	})
	.post("/c/acme/break", () => {
		const body = new ReadableStream({
			pull: () => Promise.reject(new Error("the line to the node broke")),
		});
		return new Response(body, { headers: { Upgrade: "tcp" } });
	})
	.post("/c/acme/refuse", (c) => c.json({ message: "no" }, 409));

const listener = await listen({ host: "127.0.0.1", port: 0 }, (request, _stdin, upgrade) =>
	routes.fetch(request, { ...(upgrade && { upgrade }) } as AppEnv["Bindings"]),
);
afterAll(() => listener.stop());

const at = (path: string) => `//127.0.0.1:${listener.port}/c/acme/api/tunnel?path=${path}`;
const credential = { Authorization: "Bearer right" };

async function open(path: string, first: object) {
	const socket = new WebSocket(`ws:${at(path)}`, { headers: credential });
	socket.binaryType = "arraybuffer";
	const line = lineOver(socket as WebSocketLike);
	await new Promise((resolve) => socket.addEventListener("open", resolve));
	line.say(JSON.stringify(first));
	return { line, head: JSON.parse(await line.first) };
}

test("a request goes on in raw bytes, with its body, its headers and the caller's credential", async () => {
	const { line, head } = await open("/echo", {
		headers: { "content-type": "application/json", authorization: "Bearer other" },
		body: "{}",
	});
	expect(head.status).toBe(101);
	expect(head.headers["x-said"]).toBe("Bearer right application/json {}");
	const sent = new Uint8Array(5_000_011).map((_, index) => index % 251);
	const [, heard] = await Promise.all([
		line.send(new Blob([sent]).stream()),
		new Response(line.bytes).arrayBuffer(),
	]);
	expect(Bun.hash(heard)).toBe(Bun.hash(sent));
});

test("a refusal is a plain answer, and the end", async () => {
	const { line, head } = await open("/refuse", {});
	expect(head.status).toBe(409);
	expect(await new Response(line.bytes).json()).toEqual({ message: "no" });
});

test("a caller that goes away is noticed", async () => {
	const { line } = await open("/wait", {});
	line.close(1000);
	await left.promise;
});

test("an answer that breaks off says why", async () => {
	const { line } = await open("/break", {});
	const heard = await new Response(line.bytes).text().catch(messageOf);
	expect(heard).toBe("the line to the node broke");
});

test("a first message that is none ends it", async () => {
	const socket = new WebSocket(`ws:${at("/echo")}`, { headers: credential });
	const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve));
	socket.addEventListener("open", () => socket.send("GET / HTTP/1.1"));
	const { code, reason } = await closed;
	expect([code, reason]).toEqual([1002, expect.stringContaining("first message")]);
});

test.each([
	["without a credential", "/echo", {}, 401],
	["as a plain request", "/echo", credential, 400],
	["by another site's page", "/echo", { ...credential, Origin: "https://evil.example.com" }, 400],
	["to no path", "", credential, 400],
	["to itself", "/api/tunnel?path=/echo", credential, 400],
	["out of its cluster", "/../globex/echo", credential, 400],
	["to itself by a detour", "/x/%2e%2e/api/tunnel", credential, 400],
	["with another method", "/echo&method=DELETE", credential, 400],
] as const)("it is refused before it is opened: %s", async (why, path, headers, status) => {
	const asking =
		why === "as a plain request" ? {} : { Connection: "Upgrade", Upgrade: "websocket" };
	const key = { "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==" };
	// By hand: fetch keeps those headers to itself.
	const lines = Object.entries({ Host: "127.0.0.1", ...asking, ...key, ...headers });
	const said = Promise.withResolvers<string>();
	let text = "";
	const socket = await Bun.connect({
		hostname: "127.0.0.1",
		port: listener.port,
		socket: {
			data(_socket, data) {
				text += data.toString();
				if (text.includes("message")) said.resolve(text);
			},
			close: () => said.resolve(text),
		},
	});
	const fields = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
	socket.write(`GET /c/acme/api/tunnel?path=${path} HTTP/1.1\r\n${fields}\r\n`);
	expect(await said.promise).toStartWith(`HTTP/1.1 ${status} `);
	socket.end();
});
