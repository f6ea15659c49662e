// `GET /api/tunnel?method=POST&path=/exec/ID/start`: a request that goes on in raw bytes (`docker exec`, `docker
// attach`), for callers whom only WebSockets reach. What the CLI's local socket speaks.
//
// The caller's first message is the rest of the request, `{"headers":{…},"body":"…"}`; ours the head of the answer,
// `{"status":101,"headers":{…}}`. Then bytes both ways, as websocket.ts has it. The request is one like any other: it
// comes in by the same door, with the credential that the WebSocket was opened with.

import { Hono } from "hono";
import { z } from "zod";
import { forbidden, invalid, messageOf } from "../../model/errors.ts";
import { type Line, lineOver } from "../connection/websocket.ts";
import type { AppEnv } from "../world.ts";

/** A caller tells every 30 s that it is there; one that lost its power tells nobody that it went. */
const patience = { firstMs: 10_000, silenceMs: 100_000 };

/** Specs of an exec: few words. */
const longestFirst = 64 * 1024;

const firstSchema = z.object({
	headers: z.record(z.string(), z.string()).default({}),
	body: z.string().default(""),
});

/** What belongs to the WebSocket, or to the connection that the caller had before it. */
const ofConnection =
	/^(host|origin|connection|upgrade|transfer-encoding|content-length|sec-websocket-.*)$/i;

export type Inner = (
	request: Request,
	bindings: AppEnv["Bindings"],
) => Response | Promise<Response>;

export function tunnelRouter(inner: Inner): Hono<AppEnv> {
	return new Hono<AppEnv>().get("/api/tunnel", async (c) => {
		const { upgrade } = c.env;
		if (c.req.header("Upgrade")?.toLowerCase() !== "websocket" || !upgrade) {
			throw invalid(
				"/api/tunnel: open it as a WebSocket (Upgrade: websocket), as docker skein does",
			);
		}
		refuseForeignPage(c.req.raw);
		const { method, url } = targetOf(c.req.raw, c.req.query("method"), c.req.query("path"));
		const { socket, response } = await upgrade();
		const line = lineOver(socket, patience);
		const { upgrade: _, ...bindings } = c.env;
		const ask = (request: Request, stdin: ReadableStream<Uint8Array>) =>
			inner(request, { ...bindings, stdin });
		void carry(line, c.req.raw, method, url, ask).catch(() => line.close(1011, "internal error"));
		return response;
	});
}

/** A page of another site may open WebSockets to us, and the browser adds our cookies. */
function refuseForeignPage(request: Request): void {
	const origin = request.headers.get("Origin");
	if (origin !== null && parsedUrl(origin)?.host !== new URL(request.url).host) {
		throw forbidden(`/api/tunnel: a page of ${origin} may not open it`);
	}
}

/** Beside the tunnel's own address: `/c/acme/api/tunnel` leads to `/c/acme/exec/…`. */
function targetOf(request: Request, method = "POST", path = ""): { method: string; url: URL } {
	if (!/^(GET|POST)$/.test(method)) throw invalid("/api/tunnel: method has to be GET or POST");
	const at = new URL(request.url);
	const prefix = at.pathname.slice(0, at.pathname.lastIndexOf("/api/tunnel"));
	const url = path.startsWith("/") ? parsedUrl(`${at.origin}${prefix}${path}`) : undefined;
	// As it reads once `..` is resolved.
	const isDockers =
		url?.pathname.startsWith(`${prefix}/`) &&
		!/^\/(api|agent|c)\//.test(url.pathname.slice(prefix.length));
	if (!url || !isDockers) {
		throw invalid("/api/tunnel: path has to be one of Docker's, such as /exec/ID/start");
	}
	return { method, url };
}

function parsedUrl(text: string): URL | undefined {
	try {
		return new URL(text);
	} catch {
		return undefined;
	}
}

async function carry(
	line: Line,
	outer: Request,
	method: string,
	url: URL,
	ask: (request: Request, stdin: ReadableStream<Uint8Array>) => Response | Promise<Response>,
): Promise<void> {
	const first = await line.first.catch(() => undefined);
	if (first === undefined) return;
	const said = first.length <= longestFirst ? parsed(first) : undefined;
	if (!said) {
		line.close(1002, 'the first message has to be {"headers":{…},"body":"…"}');
		return;
	}
	// Who the caller is, and from where, stays what it was let in with.
	const headers = new Headers(Object.entries(said.headers));
	for (const [name, value] of outer.headers) headers.set(name, value);
	for (const name of [...headers.keys()]) if (ofConnection.test(name)) headers.delete(name);
	const request = new Request(url.href, {
		method,
		headers,
		signal: line.over,
		...(method === "POST" && said.body !== "" && { body: said.body }),
	});
	const response = await ask(request, line.bytes);
	const isRaw = response.ok && response.headers.has("Upgrade");
	const status = isRaw ? 101 : response.status;
	line.say(JSON.stringify({ status, headers: Object.fromEntries(response.headers) }));
	try {
		await line.send(response.body ?? new Blob([]).stream());
		line.close(1000);
	} catch (error) {
		line.close(1011, messageOf(error));
	}
}

function parsed(text: string): z.infer<typeof firstSchema> | undefined {
	try {
		return firstSchema.safeParse(JSON.parse(text)).data;
	} catch {
		return undefined;
	}
}
