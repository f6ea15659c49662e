// A planner for tests of what is around it: counts what it is asked, and asks for what it is told to.

import { randomId } from "../../control-plane/clusters.ts";
import type { HostWorld, Planner } from "../../control-plane/reconcile.ts";
import type { Change, Moment, Plan, Scope } from "../../model/change.ts";
import type { Snapshot } from "../../model/snapshot.ts";

export interface TestPlanner extends Planner {
	readonly planned: Scope[];
	plans: (snapshot: Snapshot, moment: Moment, scope: Scope) => Plan;
}

export function testPlanner(): TestPlanner {
	const nothing: Plan = { changes: [], wakeAtMs: null };
	const planner: TestPlanner = {
		planned: [],
		plans: () => nothing,
		plan(snapshot, moment, scope) {
			planner.planned.push(scope);
			return planner.plans(snapshot, moment, scope);
		},
		planAfter: (_snapshot: Snapshot, _changes: readonly Change[]) => nothing,
	};
	return planner;
}

export function testWorld(planner: Planner, overrides: Partial<HostWorld> = {}): HostWorld {
	return {
		planner,
		name: randomId(),
		nowMs: () => Date.now(),
		newId: randomId,
		listeningSinceMs: () => 0,
		background: (work) => void work.catch(() => undefined),
		timers: true,
		log: (message) => console.error(message),
		...overrides,
	};
}
