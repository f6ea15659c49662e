// The cluster itself: make, inspect, change, rotate tokens, erase.
//
// Making and erasing is the local user's, by the socket; over TCP both are refused. Machines do not join here but with
// the install line, which takes the tokens that are shown here.

import { Hono } from "hono";
import type { Cluster } from "../../model/cluster.ts";
import { forbidden, Refusal } from "../../model/errors.ts";
import type { Role } from "../../model/node.ts";
import type { DoorEnv } from "../cluster.ts";
import { readBody } from "./body.ts";
import { managerId } from "./convert/node.ts";
import { fromEngine, initSchema, poolsOf, swarmSchema, toEngine } from "./convert/swarm.ts";
import { clusterOf, done, type EngineContext, versionOf } from "./door.ts";
import { badArgument, inSwarm, installLine, lastManager, outOfSequence } from "./errors.ts";
import { isTrue } from "./filters.ts";

export function swarmRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.get("/swarm", async (c) => {
			const { cluster } = await clusterOf(c).snapshot();
			const tokens = await joinTokens(c, cluster);
			return c.json({
				...toEngine(cluster),
				JoinTokens: { Worker: tokens.worker, Manager: tokens.manager },
			});
		})
		.post("/swarm/init", async (c) => {
			if (c.get("cluster")) throw inSwarm(c.get("publicUrl"));
			if (c.get("via") !== "socket") {
				throw forbidden(
					"a cluster is made on the control plane's own machine: use its unix socket there",
				);
			}
			const { value: asked } = await readBody(c.req.raw, initSchema, "InitRequest");
			if (asked.AutoLockManagers) {
				throw badArgument(
					"autolock is not supported: there is no manager on your machines to lock; leave out --autolock",
				);
			}
			const pools = poolsOf(asked.DefaultAddrPool ?? []);
			const size = asked.SubnetSize ?? 0;
			if (size !== 0 && (size < 16 || size > 29)) {
				throw badArgument(
					`invalid subnet size ${size}: --default-addr-pool-mask-length takes 16 to 29`,
				);
			}
			const made = await creating(c, {
				...fromEngine(asked.Spec ?? {}),
				...(pools.length > 0 && { addressPools: pools }),
				...(size > 0 && { subnetPrefix: size }),
			});
			return c.json(managerId(made));
		})
		.post("/swarm/join", (c) => {
			if (c.get("cluster")) throw inSwarm(c.get("publicUrl"));
			throw forbidden(
				`machines join with one line, typed on the machine itself: ${installLine(c.get("publicUrl"))}`,
			);
		})
		.post("/swarm/leave", async (c) => {
			const cluster = clusterOf(c);
			if (!isTrue(c.req.query("force"))) throw lastManager();
			if (c.get("via") !== "socket") {
				throw forbidden(
					"a cluster is erased on the control plane's own machine: use its unix socket there",
				);
			}
			await c.get("clusters").erase(cluster.id);
			return done(c);
		})
		.get("/swarm/unlockkey", (c) => {
			clusterOf(c);
			return c.json({ UnlockKey: "" });
		})
		.post("/swarm/unlock", (c) => {
			clusterOf(c);
			throw new Refusal("conflict", "swarm is not locked");
		})
		.post("/swarm/update", async (c) => {
			const door = clusterOf(c);
			const version = versionOf(c, "swarm");
			const { value } = await readBody(c.req.raw, swarmSchema, "Spec");
			const { document, taskHistory } = fromEngine(value);
			if (isTrue(c.req.query("rotateManagerUnlockKey"))) {
				throw badArgument("autolock is not supported, so there is no unlock key to rotate");
			}
			const { cluster } = await door.snapshot();
			if (version !== cluster.specVersion) throw outOfSequence();
			// Made before the commit, since hashing can not be waited for inside it; the version guards against another's.
			const tokens = await c.get("clusters").rotateTokens(cluster, rolesToRotate(c));
			await door.commit((snapshot, moment) => {
				if (version !== snapshot.cluster.specVersion) throw outOfSequence();
				const updated: Cluster = {
					...snapshot.cluster,
					document,
					taskHistory,
					tokens,
					specVersion: version + 1,
					updatedMs: moment.nowMs,
				};
				return { changes: [{ kind: "put-cluster", cluster: updated }], result: undefined };
			});
			return done(c);
		});
}

/**
 * A control plane that has lost its key can not show them. That must not stand in the way of making new ones, which the
 * CLI begins with this same request.
 */
async function joinTokens(c: EngineContext, cluster: Cluster): Promise<Record<Role, string>> {
	if (!c.get("mayAdmit")) {
		const hidden = "HIDDEN (an admin of the organization can show it)";
		return { worker: hidden, manager: hidden };
	}
	try {
		return await c.get("clusters").joinTokens(cluster);
	} catch (error) {
		if (!(error instanceof Refusal) || error.kind !== "unavailable") throw error;
		const instead = (role: Role) => `UNKNOWN (run "docker swarm join-token --rotate ${role}")`;
		return { worker: instead("worker"), manager: instead("manager") };
	}
}

/** Somebody else may have made it in the meantime: that is Docker's own refusal too. */
async function creating(
	c: EngineContext,
	asked: Parameters<DoorEnv["Variables"]["clusters"]["create"]>[0],
) {
	try {
		return await c.get("clusters").create(asked);
	} catch (error) {
		if (error instanceof Refusal && error.kind === "conflict") throw inSwarm(c.get("publicUrl"));
		throw error;
	}
}

function rolesToRotate(c: EngineContext): Role[] {
	return [
		...(isTrue(c.req.query("rotateWorkerToken")) ? (["worker"] as const) : []),
		...(isTrue(c.req.query("rotateManagerToken")) ? (["manager"] as const) : []),
	];
}
