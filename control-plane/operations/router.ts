// For those who run a control plane: is it alive, can it work, what does it do. And what every request leaves behind: a
// line in the log, and a count.

import { type Context, Hono, type MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { Refusal } from "../../model/errors.ts";
import { tokenOf } from "../accounts/auth.ts";
import { sha256 } from "../accounts/tokens.ts";
import type { HostedClusters } from "../clusters.ts";
import { keysStatus } from "../keys.ts";
import type { ClusterHost } from "../reconcile.ts";
import type { AppEnv } from "../world.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Ready } from "./readiness.ts";

export interface Operations {
	readonly log: Log;
	readonly metrics: Metrics;
	readonly ready: Ready;
	/** Whoever has one of these may read the metrics. On the socket nobody needs any. */
	readonly metricsTokens: readonly string[];
	/** Brings up to date what is looked at when it is asked for, not counted as it happens. */
	measure(metrics: Metrics): Promise<void>;
}

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
/** Held until there is news, so not to be told from an answer that was slow. */
const heldPath = "/agent/assignment";

/** Goes before everything else. */
export function watched(): MiddlewareHandler<AppEnv> {
	return async (c, next) => {
		const { operations, nowMs } = c.env.world;
		const { log, metrics } = operations;
		const begunMs = nowMs();
		const id = idOf(c.req.header("X-Request-Id"));
		c.set("noted", {});
		const isHeld = c.req.path === heldPath && !c.env.world.passOn;
		if (isHeld) metrics.add("heldPolls");
		try {
			await next();
		} finally {
			if (isHeld) metrics.add("heldPolls", {}, -1);
		}
		const { isPassedOn, ...noted } = c.get("noted");
		if (isPassedOn) return;
		const status = isGone(c) ? goneStatus : c.res.status;
		const method = methods.has(c.req.method) ? c.req.method : "OTHER";
		const route = routeOf(c);
		const durationMs = nowMs() - begunMs;
		metrics.add("requests", { method, route, status: `${status}` });
		metrics.observe("requestTime", { route }, durationMs / 1000);
		const request = { id, method, route, status, durationMs, ...noted };
		if (status < 500) return log({ level: "info", message: "request", request });
		const isFault = c.error !== undefined && !(c.error instanceof Refusal);
		const level = isFault ? "error" : "warn";
		const message = c.error?.message ?? "an answer that says we cannot";
		log({ level, message, request, ...(c.error && { cause: c.error }) });
		c.res = withId(c.res, id);
	};
}

export function operationsRouter(version: string): Hono<AppEnv> {
	return new Hono<AppEnv>()
		.get("/api/health", (c) => c.json({ status: "ok", version }))
		.get("/api/ready", async (c) => {
			const { ready, checks } = await c.env.world.operations.ready();
			return c.json({ status: ready ? "ok" : "not ready", checks }, ready ? 200 : 503);
		})
		.get("/metrics", async (c) => {
			if (!(await mayMeasure(c))) {
				const message =
					"the metrics want a token of SKEIN_METRICS_TOKEN, as `Authorization: Bearer TOKEN`";
				return c.json({ message }, 401, { "WWW-Authenticate": "Bearer" });
			}
			const { metrics, measure } = c.env.world.operations;
			await measure(metrics);
			return c.text(metrics.text(), 200, {
				"Content-Type": "text/plain; version=0.0.4; charset=utf-8",
			});
		});
}

/** As they are now; clusters are many and their names their tenants' own, so they are counted together. */
export function measureClusters(
	metrics: Metrics,
	hosts: readonly Pick<ClusterHost, "held">[],
): void {
	for (const family of ["nodes", "tasks"] as const) metrics.clear(family);
	metrics.set("clusters", {}, hosts.length);
	for (const host of hosts) {
		const { nodes, tasks } = host.held();
		for (const { status } of nodes.values()) metrics.add("nodes", { state: status.state });
		for (const { status } of tasks.values()) metrics.add("tasks", { state: status.state });
	}
}

/** How far a rotation of the master key is (docs/design/keys.md). While the directory does not answer, the rest is shown. */
export async function measureKeyrings(
	metrics: Metrics,
	keyrings: HostedClusters["keyrings"],
): Promise<void> {
	const status = await keysStatus(keyrings).catch(() => undefined);
	metrics.clear("keyrings");
	if (!status) return;
	const { current, given, wrapped, unwrapped } = status;
	const stateOf = (key: string) => {
		if (key === current) return "current";
		return given.includes(key) ? "old" : "missing";
	};
	const set = (key: string, state: string, clusters: number) =>
		metrics.set("keyrings", { key, state }, clusters);
	// At 0 a key can be dropped, which is to be seen.
	for (const key of given) set(key, stateOf(key), 0);
	for (const { master, clusters } of wrapped) set(master, stateOf(master), clusters);
	if (unwrapped > 0) set("none", "none", unwrapped);
}

/** As other servers say it: nobody was there to be answered. */
const goneStatus = 499;

/** What broke, broke because the caller left. */
function isGone({ req, res, error }: Context<AppEnv>): boolean {
	if (res.status < 500) return false;
	return req.raw.signal.aborted || (error !== undefined && /\babort(ed)?\b/i.test(error.message));
}

/** By hashes, so that the time it takes tells nothing of a token. */
async function mayMeasure(c: Context<AppEnv>): Promise<boolean> {
	if (c.env.via === "socket") return true;
	const token = tokenOf(c.req.header("Authorization") ?? "");
	if (token === undefined) return false;
	const given = await sha256(token);
	const known = await Promise.all(c.env.world.operations.metricsTokens.map(sha256));
	return known.includes(given);
}

/** Of what answered, which went deepest; paths that nobody took, and there are endless ones, are one. */
function routeOf(c: Context<AppEnv>): string {
	const route = routePath(c, c.req.routeIndex).replace(/^\/:version\{[^}]*\}(?=\/)/, "");
	return /^\/?\*?$/.test(route) ? "none" : route;
}

const idOf = (theirs: string | undefined) =>
	theirs !== undefined && /^[\w.:-]{1,64}$/.test(theirs) ? theirs : crypto.randomUUID();

/** By which an answer that went wrong is found in the log. */
function withId(response: Response, id: string): Response {
	const headers = new Headers(response.headers);
	headers.set("X-Request-Id", id);
	return new Response(response.body, { status: response.status, headers });
}
