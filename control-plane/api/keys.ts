// Keys, in routes of our own: `GET /api/keys` says under which master keys clusters' keys are wrapped, `POST
// /api/clusters/NAME/keys/rotate` and `…/replace` make new ones. What they mean: docs/design/keys.md.

import { Hono } from "hono";
import { notFound } from "../../model/errors.ts";
import type { ClusterDoor } from "../cluster.ts";
import { keysStatus } from "../keys.ts";
import type { AppEnv } from "../world.ts";

export function keysRouter(): Hono<AppEnv> {
	return new Hono<AppEnv>()
		.get("/api/keys", async (c) => {
			const { current, given, wrapped, unwrapped } = await keysStatus(c.env.world.hosted.keyrings);
			const left = wrapped
				.filter(({ master }) => master !== current)
				.reduce((sum, { clusters }) => sum + clusters, unwrapped);
			return c.json({ current, given, wrapped, left });
		})
		.post("/api/clusters/:name/keys/rotate", async (c) => {
			const { id } = chosen(c.get("cluster"));
			const { version } = await c.env.world.hosted.keys(id).rotate();
			return c.json({ version });
		})
		.post("/api/clusters/:name/keys/replace", async (c) => {
			const { id } = chosen(c.get("cluster"));
			const { version } = await c.env.world.hosted.keys(id).replace();
			return c.json({ version });
		});
}

/** The one that the path names, which choice.ts found. */
function chosen(cluster: ClusterDoor | undefined): ClusterDoor {
	if (cluster) return cluster;
	throw notFound("no such cluster: `GET /api/clusters` lists those in your reach");
}
