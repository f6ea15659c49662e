// The control plane at the edge: lets callers in, and passes what is asked of a cluster on to that cluster's object.
//
// What concerns no cluster (the install script, a refusal, making one) is answered here. There are no timers: objects
// have their alarm clocks, and the cron wakes those whose clock was lost.

import { unavailable } from "../model/errors.ts";
import type { ClusterId } from "../model/id.ts";
import { owner } from "./accounts/actor.ts";
import { putOwnerToken } from "./accounts/auth.ts";
import { lookEveryMs } from "./deployments/lookout.ts";
import { noRelay } from "./dispatcher/relay.ts";
import { withAdmitted } from "./edge/admitted.ts";
import type { ClusterObject } from "./edge/object.ts";
import { peerOf } from "./edge/peer.ts";
import { edgeThrottle, type Limiters } from "./edge/throttle.ts";
import { upgrade } from "./edge/upgrade.ts";
import { type Edge, openEdge, report, routes, type Settings } from "./edge/world.ts";
import { followKeys } from "./keys.ts";
import { overdueClusters } from "./store/cluster.ts";
import { clustersWithApplications } from "./store/deliveries.ts";
import { migrate } from "./store/migrate.ts";

// biome-ignore lint/performance/noBarrelFile: the runtime finds an object's class among the entry's exports
export { ClusterObject } from "./edge/object.ts";

export interface Env extends Settings, Limiters {
	readonly CLUSTER: DurableObjectNamespace<ClusterObject>;
}

/** Alarms are seldom late by more. */
const overdueMs = 30_000;

export default {
	async fetch(request, env, context) {
		const { world } = await open(env, context);
		return routes.fetch(request, {
			world,
			via: "tcp",
			upgrade,
			...peerOf(request, Date.now()),
		});
	},

	async scheduled(event, env, context) {
		const { shards, world } = await open(env, context);
		const wake = async (id: ClusterId) => object(env, id).wake().catch(report);
		const minute = new Date(event.scheduledTime).getUTCMinutes();
		const isTimeToLook = minute % (lookEveryMs / 60_000) === 0;
		const onShard = async (name: string) => {
			const database = await shards.open(name);
			const overdue = await overdueClusters(database, Date.now() - overdueMs);
			const deploying = isTimeToLook ? await clustersWithApplications(database) : [];
			await Promise.all([...new Set([...overdue, ...deploying])].map(wake));
		};
		await Promise.all(shards.all.map((name) => onShard(name).catch(report)));
		await world.hosted.mend();
		await followKeys(world.hosted, report, minute === 0);
		await world.access.audit.prune(Date.now());
	},
} satisfies ExportedHandler<Env>;

async function open(env: Env, context: ExecutionContext): Promise<Edge> {
	const edge = await openEdge(env, {
		relay: noRelay("this request does not belong to a cluster's object"),
		// Whoever made a cluster here is done with it: its object has the alarm clock.
		alarm: () => undefined,
		background: (work) => context.waitUntil(work),
		passOn: (cluster, request, admitted) => passOn(env, cluster, withAdmitted(request, admitted)),
		throttle: edgeThrottle(env),
	});
	if (!prepared.has(env.SKEIN_DATABASE_URL)) {
		const preparing = prepare(env, edge);
		// Also when whoever asked first does not wait for the answer.
		context.waitUntil(preparing.catch(() => undefined));
		await preparing;
	}
	return edge;
}

function object(env: Env, id: ClusterId) {
	return env.CLUSTER.get(env.CLUSTER.idFromName(id));
}

/** An object that was moved or replaced meanwhile answers the second time; where a body was sent, the caller asks again. */
async function passOn(env: Env, cluster: ClusterId, request: Request): Promise<Response> {
	const again = request.body === null ? request.clone() : undefined;
	try {
		return await object(env, cluster).fetch(request);
	} catch (error) {
		const { retryable, overloaded } = error as { retryable?: boolean; overloaded?: boolean };
		if (again && retryable && !overloaded && !request.signal.aborted) {
			return object(env, cluster).fetch(again);
		}
		// Whoever asked has gone: nobody is told anything, and nothing is wrong.
		if (!request.signal.aborted) report(error);
		throw unavailable("the cluster's place at the edge was changed or is overloaded: try again", {
			cause: error,
		});
	}
}

const prepared = new Set<string>();

/**
 * Once in an isolate's life: tables, the owner's token, and a cluster where there never was one. While another isolate makes
 * that, this request is told to come again (choice.ts), and the next one looks anew: the other may die over it.
 */
async function prepare(env: Env, { database, world }: Edge): Promise<void> {
	await migrate(database);
	const { access, hosted } = world;
	await putOwnerToken(access, env.SKEIN_TOKEN, Date.now());
	if (await hosted.makeFirst(owner)) prepared.add(env.SKEIN_DATABASE_URL);
}
