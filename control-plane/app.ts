// The whole program behind one `fetch`: mounts the doors on the cluster that is asked, maps errors. Nothing else: who
// is let in is admission.ts.
//
// Runs on Bun and on workerd. The entry builds the world (main.ts, worker.ts) and hands it over with every request,
// because at the edge nothing that waits may outlive one.

import { type Context, Hono } from "hono";
import { matchedRoutes } from "hono/route";
import { notFound, Refusal, retryHeader, unavailable } from "../model/errors.ts";
import type { ClusterId } from "../model/id.ts";
import type { Actor } from "./accounts/actor.ts";
import { begin } from "./accounts/audit.ts";
import { isChange, may } from "./accounts/rights.ts";
import { accountsRouter } from "./accounts/router.ts";
import { admit, deedOf, fromOf, namedBy, tooOften, whoAsks } from "./admission.ts";
import { clustersApi } from "./api/clusters.ts";
import { keysRouter } from "./api/keys.ts";
import { tunnelRouter } from "./api/tunnel.ts";
import { backupRouter } from "./backup/router.ts";
import { choose, isOfNone, namedByPath, routedPath } from "./choice.ts";
import type { ClusterSummary, FoundClusters } from "./cluster.ts";
import { applicationsRouter } from "./deployments/router.ts";
import { agentsRouter, clusterOfAgent } from "./dispatcher/router.ts";
import type { EngineDeps } from "./engine/door.ts";
import { engine } from "./engine/router.ts";
import { installRouter } from "./install.ts";
import { openApiRouter } from "./openapi/router.ts";
import { operationsRouter, watched } from "./operations/router.ts";
import { isThere } from "./store/directory.ts";
import { webhooksRouter } from "./webhooks/router.ts";
import type { AppEnv, World } from "./world.ts";

export function app(deps: Omit<EngineDeps, "onFault">): Hono<AppEnv> {
	const routes = new Hono<AppEnv>({ getPath: routedPath });

	routes.onError((error) => {
		if (error instanceof Refusal) return refuse(error);
		return Response.json(
			{ message: "internal error: the request was not carried out; see the control plane's log" },
			{ status: 500 },
		);
	});

	routes.use(watched());
	routes.use(async (c, next) => {
		c.set("via", c.env.via);
		c.set("publicUrl", publicUrl(c.env.world, c.env.via, c.req.raw));
		await next();
	});
	// The one place where anybody is let in.
	routes.use(admit);
	routes.use(async (c, next) => {
		if (namedByPath(c.req.raw) !== undefined && isOfNone(c.req.path)) {
			throw notFound(`${c.req.path} is in no cluster's path`);
		}
		await next();
	});

	routes.route("/", operationsRouter(deps.version));
	routes.route(
		"/",
		openApiRouter(() => routes.routes, deps.version),
	);

	routes.use("/agent/*", async (c, next) => {
		const { directory, hosted, relay, bells, identities, passOn, nowMs, newId } = c.env.world;
		const door = (id: Parameters<typeof hosted.host>[0]) => hosted.host(id);
		const note = (node: string, cluster: string) =>
			Object.assign(c.get("noted"), { actor: `node ${node}`, cluster });
		const { admitted } = c.env;
		const agents = {
			directory,
			relay,
			identities,
			door,
			note,
			nowMs,
			newId,
			...(bells && { bells }),
			...(admitted?.kind === "agent" && { admitted: admitted.identity }),
		};
		const found = passOn && (await clusterOfAgent(agents, c.req.raw));
		if (found) {
			c.get("noted").isPassedOn = true;
			const { cluster, identity } = found;
			return passOn(cluster, c.req.raw, identity && { kind: "agent", identity });
		}
		c.set("agents", agents);
		return next();
	});
	routes.route("/agent", agentsRouter());
	routes.all("/agent/*", (c) => c.json({ message: "no such route" }, 404));

	routes.route("/", installRouter());

	routes.use("/webhooks/:cluster/:application", async (c, next) => {
		const { directory, hosted, passOn } = c.env.world;
		const id = c.req.param("cluster") as ClusterId;
		const placement = await directory.placementOf(id);
		if (!placement || !isThere(placement)) return next();
		c.get("noted").cluster = id;
		if (passOn) {
			c.get("noted").isPassedOn = true;
			return passOn(id, c.req.raw);
		}
		c.set("cluster", await hosted.host(id));
		return next();
	});
	routes.route("/", webhooksRouter());

	routes.use("/api/*", async (c, next) => {
		const { access, hosted, nowMs, newId } = c.env.world;
		c.set("accounts", {
			access,
			from: fromOf(c),
			publicUrl: c.get("publicUrl"),
			clustersOf: (organization) => hosted.of(organization).list(),
			limits: hosted.limits,
			eraseClusters: (organization) => eraseClusters(c, organization),
			tooOften: (what, key) => tooOften(c, what, c.env.via === "socket" ? undefined : key),
			nowMs,
			newId,
		});
		await next();
	});
	routes.route("/", accountsRouter());

	routes.use(async (c, next) => {
		const { world, admitted } = c.env;
		// Whoever may do without a right is recognised all the same, where they can be.
		const actor = c.get("actor") ?? (await whoAsks(c));
		c.set("inReach", { there: [], beingMade: [] });
		if (actor) {
			const clusters = world.hosted.of(actor.organization);
			c.set("clusters", clusters);
			const isKnown = admitted?.kind === "actor";
			c.set(
				"inReach",
				isKnown
					? { there: [admitted.cluster], beingMade: [] }
					: inReachOf(actor, await clusters.found()),
			);
		}
		const entry = chosen(c);
		if (actor && entry && world.passOn) {
			c.get("noted").isPassedOn = true;
			return world.passOn(entry.id, c.req.raw, { kind: "actor", actor, cluster: entry });
		}
		if (entry) c.get("noted").cluster = entry.id;
		const door = entry && (await world.hosted.host(entry.id));
		const { metrics } = world.operations;
		c.set("askNode", async (node, asked, going) => {
			// Nodes are known to the relay by their ids alone; a door reaches those of its own cluster.
			if (!(await door?.snapshot())?.nodes.has(node)) throw notFound(`no such node: ${node}`);
			metrics.add("waitingRelays");
			return world.relay
				.ask(node, asked, going)
				.finally(() => metrics.add("waitingRelays", {}, -1));
		});
		c.set("stdin", c.env.stdin);
		c.set("mayAdmit", actor !== undefined && may(actor, "nodes"));
		c.set("cluster", door);
		const ended =
			actor && isChange(matchedRoutes(c))
				? await begin(world.access.audit, deedOf(c, actor, null, entry?.id))
				: undefined;
		await next();
		// The change is made, or not: that the log could not be told how it ended changes nothing about it.
		await ended?.(c.res).catch((cause: unknown) =>
			world.operations.log({
				level: "error",
				message: "the audit log has no end of a change",
				cause,
			}),
		);
		return undefined;
	});
	routes.route(
		"/",
		tunnelRouter((request, bindings) => routes.fetch(request, bindings)),
	);
	routes.route("/", applicationsRouter());
	routes.route("/api/clusters", clustersApi());
	routes.route("/", keysRouter());
	routes.route("/", backupRouter(deps.version));
	// A fault is in the log with its request already.
	routes.route("/", engine({ ...deps, onFault: () => undefined }));

	return routes;
}

/** Where a cluster has a place of its own, it is erased there, as if the caller had asked for each. */
async function eraseClusters(c: Context<AppEnv>, organization: string): Promise<void> {
	const { hosted, passOn } = c.env.world;
	const clusters = hosted.of(organization);
	for (const { id, name } of await clusters.list()) {
		if (!passOn) {
			await clusters.erase(id);
			continue;
		}
		const headers = new Headers({ "X-Skein-Organization": organization });
		for (const each of ["Authorization", "Cookie"]) {
			const value = c.req.header(each);
			if (value !== undefined) headers.set(each, value);
		}
		const url = new URL(`/api/clusters/${name}`, c.req.url).href;
		const reply = await passOn(id, new Request(url, { method: "DELETE", headers }));
		if (!reply.ok) throw unavailable(`the cluster ${name} was not erased: ${await reply.text()}`);
	}
}

function inReachOf({ clusters }: Actor, found: FoundClusters): FoundClusters {
	if (clusters === "all") return found;
	const isInReach = ({ id }: ClusterSummary) => clusters.includes(id);
	return {
		there: found.there.filter(isInReach),
		beingMade: found.beingMade.filter(isInReach),
	};
}

function chosen(c: Context<AppEnv>): ClusterSummary | undefined {
	const named = namedBy(c);
	if (named === undefined && isOfNone(c.req.path)) return undefined;
	try {
		return choose(named, c.get("inReach"));
	} catch (error) {
		// Clients ask these before anybody chooses.
		if (/^(\/v[0-9.]+)?\/(_ping|version)$/.test(c.req.path)) return undefined;
		throw error;
	}
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
		{ status, headers: { "Content-Type": "application/json", ...retryHeader(refusal) } },
	);
}
