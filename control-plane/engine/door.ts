// What every route of the Engine API is given, and the few things that each of them does first.

import type { Context } from "hono";
import { invalid } from "../../model/errors.ts";
import type { ClusterDoor, DoorEnv } from "../cluster.ts";
import { notSwarm } from "./errors.ts";

export interface EngineDeps {
	/** Ours, as `docker version` shows it. */
	readonly version: string;
	/** Registries spoken to over plain http, as `host` or `host:port`; loopback ones are anyhow. */
	readonly insecureRegistries: readonly string[];
	/** How registries are asked, if not with the runtime's own `fetch`. */
	readonly fetch?: (request: Request) => Promise<Response>;
	/** Our own mistakes: told here, and to the caller as a 500. */
	onFault(error: unknown): void;
}

export type EngineContext = Context<DoorEnv>;

export function clusterOf(c: EngineContext): ClusterDoor {
	const cluster = c.get("cluster");
	if (!cluster) throw notSwarm();
	return cluster;
}

/** The `version` that an update must name: the one it was made from. */
export function versionOf(c: EngineContext, kind: string): number {
	const text = c.req.query("version") ?? "";
	if (/^\d+$/.test(text)) return Number(text);
	throw invalid(
		`invalid ${kind} version '${text}': strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
	);
}

export function created(c: EngineContext, body: unknown): Response {
	return c.json(body, 201);
}

export function done(c: EngineContext): Response {
	return c.body(null, 200);
}
