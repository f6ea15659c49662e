// Who asks, and whether they may: the one way in, before any door. Says no by itself, and lets the rest through with the
// caller and where they come from; which right a route takes is accounts/rights.ts.

import type { Context } from "hono";
import { matchedRoutes } from "hono/route";
import { notFound } from "../model/errors.ts";
import type { ClusterId } from "../model/id.ts";
import type { Actor } from "./accounts/actor.ts";
import { auditRow, type From } from "./accounts/audit.ts";
import { authenticate, tokenOf, unauthorized } from "./accounts/auth.ts";
import { type Admission, admissionOf, refusalOf, routeName } from "./accounts/rights.ts";
import type { Throttled } from "./accounts/throttle.ts";
import { namedByHost, namedIn } from "./choice.ts";
import type { AuditRow } from "./store/audit.ts";
import type { AppEnv, World } from "./world.ts";

/** Lets a request through to its route, or says what it takes. */
export async function admit(
	c: Context<AppEnv>,
	next: () => Promise<void>,
): Promise<Response | undefined> {
	const admission = admissionOf(matchedRoutes(c));
	if (admission === undefined) {
		throw new Error(`rights.ts does not say what ${c.req.method} ${c.req.path} takes`);
	}
	const { address, via } = c.env;
	const early = await tooOften(c, kindOf(c, admission), via === "socket" ? undefined : address);
	if (early) return early;
	if (admission !== "own" && admission !== "open") {
		// An operator's own organization has the right, whichever one the path is about.
		const about = admission === "operate" ? undefined : organizationIn(c.req.path);
		const actor = await whoAsks(c, about);
		if (!actor) {
			const isGiven = tokenOf(c.req.header("Authorization") ?? "") !== undefined;
			return unauthorized(isGiven, byPath(c));
		}
		const late = await tooOften(c, "actor", actor.kind === "socket" ? undefined : actor.id);
		if (late) return late;
		if (actor.organization !== (about ?? actor.organization)) {
			throw notFound("no such organization, or you are not a member of it");
		}
		const refusal = refusalOf(actor, admission);
		if (refusal) {
			await c.env.world.access.audit.write(deedOf(c, actor, 403));
			throw refusal;
		}
	}
	await next();
	return undefined;
}

function kindOf(c: Context<AppEnv>, admission: Admission): Throttled {
	if (admission === "own" && c.req.path.startsWith("/agent/")) return "agent";
	return admission === "open" && c.req.path.startsWith("/api/auth/") ? "sign-in" : "address";
}

/** At the socket, and where the address is not known, nobody is counted. */
export async function tooOften(
	c: Context<AppEnv>,
	what: Throttled,
	key: string | undefined,
): Promise<Response | undefined> {
	const { throttle } = c.env.world;
	const seconds = key === undefined || !throttle ? 0 : await throttle(what, key);
	if (seconds === 0) return undefined;
	const message = `too many requests: try again in ${seconds} s`;
	return Response.json(
		{ message },
		{
			status: 429,
			headers: { "Content-Type": "application/json", "Retry-After": String(seconds) },
		},
	);
}

export async function whoAsks(c: Context<AppEnv>, about?: string): Promise<Actor | undefined> {
	const { world, via, admitted } = c.env;
	const nowMs = world.nowMs();
	const organization = about ?? c.req.header("X-Skein-Organization");
	const { certificate } = c.env;
	const asking = {
		request: c.req.raw,
		via,
		nowMs,
		async organizationOfCluster() {
			const named = namedBy(c);
			return named === undefined ? undefined : world.directory.organizationOf(named);
		},
		...(organization && { organization }),
		...(certificate && { certificate }),
	};
	const isKnown = admitted?.kind === "actor";
	const actor = isKnown ? admitted.actor : await authenticate(asking, world.access);
	c.set("actor", actor);
	if (actor) Object.assign(c.get("noted"), { actor: `${actor.kind} ${actor.id}` });
	return actor;
}

/** Paths that are about an organization say for which of theirs the caller acts. Ids have nothing to decode. */
function organizationIn(path: string): string | undefined {
	return /^\/api\/organizations\/([^/]+)/.exec(path)?.[1];
}

export function deedOf(
	c: Context<AppEnv>,
	actor: Actor,
	status: number | null,
	cluster?: ClusterId,
): AuditRow {
	const { nowMs, newId } = c.env.world;
	const route = matchedRoutes(c).find(({ method }) => method !== "ALL");
	const deed = {
		actor,
		from: fromOf(c),
		action: route ? routeName(route) : c.req.method,
		target: c.req.path,
		...(cluster && { cluster }),
		status,
	};
	return auditRow(deed, nowMs(), newId);
}

export function fromOf(c: Context<AppEnv>): From {
	const address = c.env.via === "socket" ? "socket" : (c.env.address ?? "");
	return { address, agent: c.req.header("User-Agent") ?? "" };
}

export function namedBy(c: Context<AppEnv>): string | undefined {
	return namedIn(c.req.raw, dockerHostOf(c.env.world));
}

function dockerHostOf({ publicUrl, dockerHost }: World): string | undefined {
	return dockerHost ?? (publicUrl && `docker.${new URL(publicUrl).hostname}`);
}

/** Where a cookie would have counted that a browser has for us, and not for a cluster's host. */
function byPath(c: Context<AppEnv>): string | undefined {
	const { world } = c.env;
	const name = namedByHost(c.req.raw, dockerHostOf(world));
	return name && world.publicUrl && `${world.publicUrl}/c/${name}`;
}
