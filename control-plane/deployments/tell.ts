// Forges are told how deployments go: what `saying.ts` says is said, and what became of that is written down.
//
// Nothing waits for it. May be called at any time, by several at once, and die anywhere: what was said and not written
// is said once more, which changes nothing there.

import type { Application } from "../../model/application.ts";
import {
	type Deployment,
	isUntold,
	sayable,
	type Told,
	tellAtMs,
	untold,
} from "../../model/deployment.ts";
import { messageOf, Refusal } from "../../model/errors.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { ClusterDoor } from "../cluster.ts";
import { type Said, say } from "../forges/say.ts";
import { whereOf } from "../forges/where.ts";
import { type Reach, sendWithin } from "../webhooks/reach.ts";
import { environmentOf } from "./previews.ts";
import { sayingOf } from "./saying.ts";
import { readSecrets } from "./secrets.ts";

export interface Telling {
	readonly reach: Reach;
	/** Where people reach the control plane, as far as that is known. */
	readonly publicUrl: string | undefined;
	nowMs(): number;
}

/** What is told by a clock is what whoever decided it has not told. */
export type Why = "decided" | "clock";

/** The first after so long, each later one after twice as long, and no more than that many: half a day in all. */
const firstWaitMs = 5_000;
const longestWaitMs = 3_600_000;
const mostTries = 20;

const going = new WeakMap<ClusterDoor, { why: Why; readonly work: Promise<void> }>();

/** One at a time for each cluster: what comes meanwhile is seen by whoever is at it, or by the next call. */
export function tellForges(door: ClusterDoor, telling: Telling, why: Why): Promise<void> {
	const known = going.get(door);
	if (known) {
		if (why === "decided") known.why = why;
		return known.work;
	}
	const work = Promise.resolve()
		.then(() => tellAll(door, telling))
		.finally(() => going.delete(door));
	going.set(door, { why, work });
	return work;
}

async function tellAll(door: ClusterDoor, telling: Telling): Promise<void> {
	for (;;) {
		const snapshot = await door.snapshot();
		const why = going.get(door)?.why ?? "clock";
		const due = [...snapshot.unsettled.untold.values()].filter((each) => isDue(each, telling, why));
		if (due.length === 0) {
			going.delete(door);
			return;
		}
		const byApplication = Map.groupBy(due, ({ application }) => application);
		// A forge that is away holds up nobody else's.
		await Promise.all(
			[...byApplication].map(([id, all]) =>
				tellOf(door, telling, snapshot.applications.get(id), all),
			),
		);
	}
}

const isDue = (deployment: Deployment, { nowMs }: Telling, why: Why): boolean =>
	(why === "decided" && deployment.told?.tries === 0) || tellAtMs(deployment) <= nowMs();

async function tellOf(
	door: ClusterDoor,
	telling: Telling,
	application: Application | undefined,
	due: readonly Deployment[],
): Promise<void> {
	for (const { id } of due.toSorted((a, b) => a.number - b.number)) {
		// The one before it may have taken a while.
		const snapshot = await door.snapshot();
		const deployment = snapshot.deployments.get(id);
		if (!deployment?.told || !isUntold(deployment)) continue;
		const said = await told(door, telling, snapshot, application, deployment);
		await write(door, deployment, said);
	}
}

/** Null where there is nobody to tell any more. */
async function told(
	door: ClusterDoor,
	{ reach, publicUrl }: Telling,
	snapshot: Snapshot,
	application: Application | undefined,
	deployment: Deployment,
): Promise<Said | null> {
	const environment = application && environmentOf(application, deployment);
	if (!application || !environment) return null;
	const path = `/c/${door.id}/api/applications/${application.spec.name}/deployments/${deployment.number}/log`;
	const log = publicUrl ? `${publicUrl}${path}` : "";
	const id = deployment.told?.id ?? "";
	try {
		const { forge: token } = await readSecrets(door.contents, application);
		if (!token) return null;
		const where = whereOf(application.spec, reach);
		const saying = sayingOf(snapshot, application, environment, deployment, log);
		return await say(where, token, saying, id, sendWithin(reach));
	} catch (error) {
		// The words of `whereOf`; all else passes.
		const kind = error instanceof Refusal ? "refused" : "later";
		return { kind, id, error: messageOf(error), waitMs: 0 };
	}
}

function write(door: ClusterDoor, asItWas: Deployment, said: Said | null): Promise<unknown> {
	return door.commit((snapshot, { nowMs }) => {
		const known = snapshot.deployments.get(asItWas.id);
		if (!known?.told) return { changes: [], result: undefined };
		const { told: _told, ...untoldOf } = known;
		const next = said && toldNow(known, known.told, asItWas, said, nowMs);
		const deployment = next ? { ...known, told: next } : untoldOf;
		return { changes: [{ kind: "put-deployment", deployment }], result: undefined };
	});
}

function toldNow(
	known: Deployment,
	told: Told,
	asItWas: Deployment,
	{ id, ...said }: Said,
	nowMs: number,
): Told {
	const what = sayable(asItWas);
	if (said.kind === "taken") return { ...untold, id, said: what };
	const { error } = said;
	if (said.kind === "refused") return { ...untold, id, said: what, error };
	// It went on meanwhile: that is said without delay, and tried anew.
	if (sayable(known) !== what) return { ...told, id, error };
	const tries = told.tries + 1;
	if (tries >= mostTries) {
		return { ...untold, id, said: what, error: `${error} (given up after ${tries} attempts)` };
	}
	const waitMs = Math.max(said.waitMs, firstWaitMs * 2 ** (tries - 1));
	return { ...told, id, error, tries, nextMs: nowMs + Math.min(waitMs, longestWaitMs) };
}

/** A token or an address is new: what was refused before may be taken now. Of each environment the newest. */
export function tellAnew(snapshot: Snapshot, application: Application): readonly Deployment[] {
	const newest = new Map<string, Deployment>();
	for (const each of snapshot.deployments.values()) {
		if (each.application !== application.id) continue;
		if (each.number > (newest.get(each.environment)?.number ?? 0)) {
			newest.set(each.environment, each);
		}
	}
	return [...newest.values()]
		.filter(({ told }) => told !== undefined && told.error !== "")
		.map((each) => ({ ...each, told: { ...untold, id: each.told?.id ?? "" } }));
}

/** What an application's forge was told last, for whoever looks at it; null where none is told. */
export function lastTold(snapshot: Snapshot, { id }: Pick<Application, "id">): Deployment | null {
	let last: Deployment | null = null;
	for (const each of snapshot.deployments.values()) {
		const isTold = each.told !== undefined && (each.told.said !== null || each.told.error !== "");
		if (each.application === id && isTold && each.number > (last?.number ?? 0)) last = each;
	}
	return last;
}
