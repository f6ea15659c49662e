// `/api/clusters`: the caller's clusters, listed, made, erased; and anybody's moved, by whoever runs the control plane. What
// is in one is behind its own door.

import { type Context, Hono } from "hono";
import { z } from "zod";
import { forbidden, notFound } from "../../model/errors.ts";
import { besideLimits } from "../../model/limits.ts";
import { actorOf, bodyOf } from "../accounts/door.ts";
import type { ClusterSummary } from "../cluster.ts";
import { usageOf } from "../manager/quota.ts";
import type { Placement } from "../store/directory.ts";
import type { AppEnv } from "../world.ts";

export const toShard = z.strictObject({ shard: z.string() });
export const newCluster = z.strictObject({ name: z.string() });

export function clustersApi(): Hono<AppEnv> {
	return new Hono<AppEnv>()
		.get("/", (c) => {
			const show = shownAt(c.get("publicUrl"), c.env.world.dockerHost);
			return c.json(c.get("inReach").there.map(show));
		})
		.post("/", async (c) => {
			const { clusters, organization } = actorOf(c);
			if (clusters !== "all") {
				throw forbidden(
					"this token reaches certain clusters and no others: make one with a token of them all",
				);
			}
			const { name } = await bodyOf(c, newCluster);
			const { id } = await c.get("clusters").create({ name });
			const show = shownAt(c.get("publicUrl"), c.env.world.dockerHost);
			return c.json(show({ id, name, organization }), 201);
		})
		.delete("/:name", async (c) => {
			const cluster = c.get("cluster");
			if (!cluster) throw notFound(`no such cluster: ${c.req.param("name")}`);
			await c.get("clusters").erase(cluster.id);
			return c.body(null, 204);
		})
		.get("/:name/usage", async (c) => {
			const snapshot = await c.get("cluster")?.snapshot();
			if (!snapshot) throw notFound(`no such cluster: ${c.req.param("name")}`);
			const limits = await c.env.world.hosted.limits.of(actorOf(c).organization);
			return c.json(besideLimits(usageOf(snapshot), limits));
		})
		.get("/:name/shard", async (c) => {
			const { cluster: id, name, organization, shard, state } = await placed(c);
			return c.json({ id, name, organization, shard, state });
		})
		.post("/:name/shard", async (c) => {
			const { shard } = await bodyOf(c, toShard);
			const { cluster: id, name, organization } = await placed(c);
			await c.env.world.hosted.move(id, shard);
			return c.json({ id, name, organization, shard });
		});
}

/** Whosever it is: its operator knows it by its name, or by its id. */
async function placed(c: Context<AppEnv, "/:name/shard">): Promise<Placement> {
	if (actorOf(c).clusters !== "all") {
		throw forbidden("this token reaches certain clusters and no others: use one of them all");
	}
	const asked = c.req.param("name");
	const all = await c.env.world.directory.placements();
	const found =
		all.find(({ name }) => name === asked) ?? all.find(({ cluster }) => cluster === asked);
	if (!found) throw notFound(`no such cluster: ${asked}`);
	return found;
}

/** The endpoint is what a client is given: a host of its own where wildcard names lead here, a path otherwise. */
function shownAt(publicUrl: string, dockerHost: string | undefined) {
	const endpointOf = (name: string) => {
		if (dockerHost === undefined) return `${publicUrl}/c/${name}`;
		const url = new URL(publicUrl);
		url.hostname = `${name}.${dockerHost}`;
		return url.origin;
	};
	return ({ id, name, organization }: ClusterSummary) => ({
		id,
		name,
		organization,
		endpoint: endpointOf(name),
	});
}
