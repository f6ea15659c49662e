// The whole program behind one `fetch`: mounts the doors, lets callers in, maps errors. Nothing else.
//
// Runs on Bun and on workerd. The entry builds the world (main.ts, worker.ts) and hands it over with every request,
// because at the edge nothing that waits may outlive one.

import { Hono } from "hono";
import { Refusal } from "../model/errors.ts";
import { authenticate, tokenOf, unauthorized } from "./accounts/auth.ts";
import { agentsRouter } from "./dispatcher/router.ts";
import type { EngineDeps } from "./engine/door.ts";
import { engine } from "./engine/router.ts";
import { installRouter } from "./install.ts";
import type { AppEnv, World } from "./world.ts";

export function app(deps: EngineDeps): Hono<AppEnv> {
	const routes = new Hono<AppEnv>();

	routes.onError((error) => {
		if (error instanceof Refusal) return refuse(error);
		deps.onFault(error);
		return Response.json(
			{ message: "internal error: the request was not carried out; see the control plane's log" },
			{ status: 500 },
		);
	});

	routes.use(async (c, next) => {
		c.set("via", c.env.via);
		c.set("publicUrl", publicUrl(c.env.world, c.env.via, c.req.raw));
		await next();
	});

	routes.use("/agent/*", async (c, next) => {
		const { accounts, hosted, streams, identities, nowMs, newId } = c.env.world;
		const door = (id: Parameters<typeof hosted.host>[0]) => hosted.host(id);
		c.set("agents", { accounts, streams, identities, door, nowMs, newId });
		await next();
	});
	routes.route("/agent", agentsRouter());
	routes.all("/agent/*", (c) => c.json({ message: "no such route" }, 404));

	routes.route("/", installRouter());

	routes.use(async (c, next) => {
		const { world, via } = c.env;
		const caller = await authenticate(c.req.raw, via, world.accounts);
		if (!caller && !/^(\/v[0-9.]+)?\/_ping$/.test(c.req.path)) {
			return unauthorized(tokenOf(c.req.header("Authorization") ?? "") !== undefined);
		}
		const { streams } = world;
		c.set("readTask", (node, asked, signal) => streams.read(node, asked, signal));
		if (caller) c.set("clusters", world.hosted.of(caller.account));
		c.set("cluster", caller?.cluster ? await world.hosted.host(caller.cluster) : undefined);
		await next();
		return undefined;
	});
	routes.route("/", engine(deps));

	return routes;
}

function publicUrl(world: World, via: "socket" | "tcp", request: Request): string {
	if (world.publicUrl) return world.publicUrl;
	if (via === "socket") return world.listenUrl;
	const { protocol, host } = new URL(request.url);
	const forwarded = request.headers.get("X-Forwarded-Proto");
	return `${forwarded === "https" ? "https:" : protocol}//${host}`;
}

function refuse(refusal: Refusal): Response {
	const status = {
		invalid: 400,
		forbidden: 403,
		"not-found": 404,
		conflict: 409,
		unavailable: 503,
	}[refusal.kind];
	return Response.json(
		{ message: refusal.message },
		{ status, headers: { "Content-Type": "application/json" } },
	);
}
