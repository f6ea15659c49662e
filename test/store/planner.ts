// A planner for tests of what is around it: counts what it is asked, and asks for what it is told to.

import type { ClusterDoor } from "../../control-plane/cluster.ts";
import { after, randomId } from "../../control-plane/clusters.ts";
import type { Planner } from "../../control-plane/manager/plan.ts";
import type { HostWorld } from "../../control-plane/reconcile.ts";
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
		after,
		random: Math.random,
		newId: randomId,
		listeningSinceMs: () => 0,
		background: (work) => void work.catch(() => undefined),
		log: (message) => console.error(message),
		...overrides,
	};
}

/** For hosts whose cluster has neither secrets nor configs. */
export const nothingSealed: Pick<ClusterDoor, "contents" | "credentials" | "inbox"> = {
	inbox: {
		add: async () => true,
		list: async () => [],
		unhandled: async () => [],
		settle: async () => undefined,
		log: async () => undefined,
		keepLog: async () => undefined,
	},
	contents: {
		newId: () => {
			throw new Error("no secret is made here");
		},
		seal: () => Promise.reject(new Error("nothing is sealed here")),
		read: async () => new Map(),
	},
	credentials: {
		seal: () => Promise.reject(new Error("nothing is sealed here")),
		open: () => Promise.reject(new Error("nothing is sealed here")),
	},
};
