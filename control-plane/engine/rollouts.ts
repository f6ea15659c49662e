// Rollouts, in an answer of our own beside Docker's: `GET /api/services/{id}/rollouts`, newest first.

import { Hono } from "hono";
import type { DoorEnv } from "../cluster.ts";
import { showRollout } from "./convert/rollout.ts";
import { clusterOf } from "./door.ts";
import { findService } from "./lookup.ts";

export function rolloutRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>().get("/services/:id/rollouts", async (c) => {
		const snapshot = await clusterOf(c).snapshot();
		const service = findService(snapshot, c.req.param("id"));
		return c.json((service.rollouts ?? []).map((each) => showRollout(each, service, snapshot)));
	});
}
