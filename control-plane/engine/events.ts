// `docker events`: what happened, as it happens, one JSON object after the other.
//
// A bare newline now and then keeps proxies from closing an idle stream; Docker's clients skip it.

import { Hono } from "hono";
import type { ClusterDoor, ClusterEvent, DoorEnv } from "../cluster.ts";
import { msOfUnix } from "./convert/time.ts";
import { clusterOf } from "./door.ts";
import { anyOf, type Filters, parseFilters } from "./filters.ts";

const heartbeatMs = 10_000;

export function eventRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>().get("/events", (c) => {
		const cluster = clusterOf(c);
		const filters = parseFilters(c.req.query("filters"), [
			"type",
			"event",
			"scope",
			"label",
			"service",
			"node",
			"network",
			"secret",
			"config",
			"container",
			"daemon",
			"image",
			"plugin",
			"volume",
		]);
		const nowMs = Date.now();
		const window = {
			sinceMs: msOfUnix(c.req.query("since")) ?? nowMs,
			untilMs: msOfUnix(c.req.query("until")) ?? Number.POSITIVE_INFINITY,
		};
		const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
		const writing = pour(cluster, window, filters, writable, c.req.raw.signal);
		// Whoever reads has gone: that is how most of these streams end.
		writing.catch(() => undefined);
		return new Response(readable, {
			headers: { "Content-Type": "application/json", "Cache-Control": "no-transform" },
		});
	});
}

async function pour(
	cluster: ClusterDoor,
	window: { readonly sinceMs: number; readonly untilMs: number },
	filters: Filters,
	writable: WritableStream<Uint8Array>,
	signal: AbortSignal,
): Promise<void> {
	const writer = writable.getWriter();
	const encoder = new TextEncoder();
	const gone = new AbortController();
	const stop = () => gone.abort();
	signal.addEventListener("abort", stop);
	writer.closed.then(stop, stop);
	/** Those of the last millisecond seen: it may not have been over when we asked. */
	let seen = new Set<string>();
	let fromMs = window.sinceMs;
	try {
		for (;;) {
			const seq = cluster.seq();
			const nowMs = Date.now();
			const found = await cluster.events(fromMs, Math.min(window.untilMs, nowMs));
			const fresh = found.filter((event) => !seen.has(keyOf(event)));
			const lines = fresh.filter((event) => matches(event, filters)).map(show);
			// The first turn's newline sends the headers on their way.
			await writer.write(encoder.encode(lines.join("") || "\n"));
			const lastMs = found.at(-1)?.timeMs ?? fromMs;
			seen = new Set(found.filter((event) => event.timeMs === lastMs).map(keyOf));
			fromMs = lastMs;
			if (nowMs >= window.untilMs || gone.signal.aborted) break;
			await cluster.wait(seq, Math.min(heartbeatMs, window.untilMs - nowMs), gone.signal);
		}
		await writer.close();
	} finally {
		signal.removeEventListener("abort", stop);
	}
}

const keyOf = (event: ClusterEvent) => JSON.stringify(event);

function matches(event: ClusterEvent, filters: Filters): boolean {
	const { type, action, id, attributes } = event;
	const kinds = ["service", "node", "network", "secret", "config"] as const;
	const named = kinds.filter((kind) => filters.has(kind));
	return (
		anyOf(filters, "type", (asked) => asked === type) &&
		anyOf(filters, "event", (asked) => asked === action) &&
		anyOf(filters, "scope", (asked) => asked === "swarm") &&
		(named.length === 0 ||
			named.some(
				(kind) =>
					kind === type &&
					anyOf(filters, kind, (asked) => id.startsWith(asked) || attributes["name"] === asked),
			))
	);
}

function show({ type, action, id, attributes, timeMs }: ClusterEvent): string {
	const seconds = Math.floor(timeMs / 1000);
	const nanos = `${seconds}${String(Math.floor(timeMs % 1000)).padStart(3, "0")}000000`;
	const event = { Type: type, Action: action, Actor: { ID: id, Attributes: attributes } };
	// Nanoseconds since 1970 are more than a double holds, so the number is written as text.
	return `${JSON.stringify({ ...event, scope: "swarm", time: seconds }).slice(0, -1)},"timeNano":${nanos}}\n`;
}
