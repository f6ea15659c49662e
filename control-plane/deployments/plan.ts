// The planner, with deployments: what a plan comes to may let one go a step further, and that is planned for in turn.

import type { Change, Moment, Plan, Scope } from "../../model/change.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { Draft } from "../manager/draft.ts";
import { type Planner, plan, planAfter } from "../manager/plan.ts";
import { advance } from "./advance.ts";
import { areGoing, previewsUntilMs } from "./previews.ts";

/** A deployment takes three or four steps at once at most. */
const mostTurns = 8;
const againMs = 1_000;

export const planner: Planner = {
	plan: (snapshot, moment, scope) =>
		withDeployments(snapshot, moment, scope, [], plan(snapshot, moment, scope)),
	planAfter: (snapshot, changes, moment, scope) =>
		withDeployments(snapshot, moment, scope, changes, planAfter(snapshot, changes, moment, scope)),
};

function withDeployments(
	snapshot: Snapshot,
	moment: Moment,
	scope: Scope,
	given: readonly Change[],
	first: Plan,
): Plan {
	const untilMs = previewsUntilMs(snapshot);
	const isDue = untilMs !== null && untilMs <= moment.nowMs;
	if (!isDue && !areGoing(snapshot) && isIdle(snapshot, given)) {
		return untilMs === null ? first : { ...first, wakeAtMs: earlier(first.wakeAtMs, untilMs) };
	}
	let asked = given;
	let planned = first;
	for (let turn = 0; turn < mostTurns; turn++) {
		const draft = new Draft(snapshot);
		for (const change of [...asked, ...planned.changes]) draft.put(change);
		const { changes, wakeAtMs } = advance(draft, moment);
		if (changes.length === 0) {
			return {
				changes: [...asked.slice(given.length), ...planned.changes],
				wakeAtMs: earlier(planned.wakeAtMs, wakeAtMs),
			};
		}
		asked = [...asked, ...planned.changes, ...changes];
		planned = planAfter(snapshot, asked, moment, scope);
	}
	return {
		changes: [...asked.slice(given.length), ...planned.changes],
		wakeAtMs: earlier(planned.wakeAtMs, moment.nowMs + againMs),
	};
}

const begins: ReadonlySet<Change["kind"]> = new Set([
	"put-deployment",
	"put-build",
	"put-application",
]);

/** Nothing is deployed, nor about to be. */
function isIdle({ unsettled }: Snapshot, given: readonly Change[]): boolean {
	const { deployments, builds, untold } = unsettled;
	if (deployments.size > 0 || builds.size > 0 || untold.size > 0) return false;
	return !given.some(({ kind }) => begins.has(kind));
}

function earlier(one: number | null, other: number | null): number | null {
	return one === null || other === null ? (one ?? other) : Math.min(one, other);
}
