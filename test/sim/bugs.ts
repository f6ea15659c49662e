// Bugs, planted one at a time: each takes away something that the whole stands on. A simulator that does not find
// them would not find ours.

import { type Planner, plan, planAfter } from "../../control-plane/manager/plan.ts";
import type { Change, Plan } from "../../model/change.ts";
import type { TaskId } from "../../model/id.ts";
import type { Service, ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { slotKey, type Task } from "../../model/task.ts";
import { copyOf } from "./store.ts";
import type { Bugs } from "./world.ts";

export const bugs: readonly { readonly name: string; readonly bugs: Bugs }[] = [
	{ name: "the planner does not wait for acknowledgements", bugs: { planner: seeing(allApplied) } },
	{ name: "the planner gives every task of a slot one generation", bugs: { planner: unfenced() } },
	{ name: "the planner counts its own outage against the nodes", bugs: { planner: alwaysHeard() } },
	{ name: "the planner overlooks lost nodes", bugs: { planner: seeing(allReady) } },
	{ name: "a decision lands on whatever is there", bugs: { landsAnything: true } },
	{ name: "reports overwrite each other as they come", bugs: { mergesByArrival: true } },
	{ name: "an old description overwrites a newer", bugs: { describesByArrival: true } },
	{ name: "an agent begins without its ledger", bugs: { forgetsLedger: true } },
	{ name: "an agent takes an older assignment", bugs: { takesAnything: true } },
	{ name: "an agent starts jobs again after a reboot", bugs: { repeatsJobs: true } },
	{ name: "a job's slot is judged by its newest attempt", bugs: { planner: seeing(newestOnly) } },
	{ name: "the reaper forgets attempts that completed", bugs: { planner: forgetful() } },
	{ name: "a roll-back goes to the wrong version", bugs: { planner: writing(wrongVersion) } },
	{ name: "a roll-back keeps the new contents", bugs: { planner: writing(newContents) } },
	{ name: "an update takes all slots at once", bugs: { planner: hasty() } },
	{ name: "an agent acknowledges what its kernel has not got", bugs: { acknowledgesEarly: true } },
];

function seeing(see: (snapshot: Snapshot) => Snapshot): Planner {
	return {
		plan: (snapshot, moment, scope) => plan(see(snapshot), moment, scope),
		planAfter: (snapshot, changes, moment, scope) =>
			planAfter(see(snapshot), changes, moment, scope),
	};
}

function allApplied(snapshot: Snapshot): Snapshot {
	const seen = copyOf(snapshot);
	for (const node of [...seen.nodes.values()]) {
		seen.setNode({ ...node, appliedRevision: Number.MAX_SAFE_INTEGER });
	}
	return seen;
}

function allReady(snapshot: Snapshot): Snapshot {
	const seen = copyOf(snapshot);
	for (const node of [...seen.nodes.values()]) {
		seen.setNode({ ...node, leaseUntilMs: Number.MAX_SAFE_INTEGER });
	}
	return seen;
}

function unfenced(): Planner {
	const flat = ({ changes, wakeAtMs }: Plan): Plan => ({
		wakeAtMs,
		changes: changes.map(
			(change): Change =>
				change.kind === "put-task"
					? { kind: "put-task", task: { ...change.task, generation: 1 } }
					: change,
		),
	});
	return {
		plan: (...asked) => flat(plan(...asked)),
		planAfter: (...asked) => flat(planAfter(...asked)),
	};
}

function newestOnly(snapshot: Snapshot): Snapshot {
	const seen = copyOf(snapshot);
	const jobs = [...seen.tasks.values()].filter(({ iteration }) => iteration !== undefined);
	for (const attempts of Map.groupBy(jobs, slotKey).values()) {
		const newest = Math.max(...attempts.map(({ generation }) => generation));
		for (const task of attempts) {
			if (task.generation === newest || task.status.state !== "complete") continue;
			seen.setTask({ ...task, status: { ...task.status, state: "failed" } });
		}
	}
	return seen;
}

function forgetful(): Planner {
	const forget = (snapshot: Snapshot, { changes, wakeAtMs }: Plan): Plan => {
		const complete = [...snapshot.tasks.values()].filter(
			({ iteration, status }) => iteration !== undefined && status.state === "complete",
		);
		const forgotten = new Set(complete.map(({ id }) => id));
		return {
			wakeAtMs,
			changes: [
				...changes.filter(({ kind, ...change }) => !isAbout(change, forgotten)),
				...complete.map(({ id }) => ({ kind: "remove-task", id }) as const),
			],
		};
	};
	return {
		plan: (snapshot, ...asked) => forget(snapshot, plan(snapshot, ...asked)),
		planAfter: (snapshot, ...asked) => forget(snapshot, planAfter(snapshot, ...asked)),
	};
}

function isAbout(change: object, tasks: ReadonlySet<TaskId>): boolean {
	if ("task" in change) return tasks.has((change.task as Task).id);
	return "id" in change && tasks.has(change.id as TaskId);
}

/** What the plan makes of a service on its way back. */
function writing(write: (before: Service, back: Service) => Service): Planner {
	const written = (snapshot: Snapshot, { changes, wakeAtMs }: Plan): Plan => ({
		wakeAtMs,
		changes: changes.map((change) => {
			if (change.kind !== "put-service") return change;
			const before = snapshot.services.get(change.service.id);
			const isBack = change.service.updateStatus?.state === "rollback_started";
			if (!before || !isBack || before.updateStatus?.state !== "updating") return change;
			return { kind: "put-service", service: write(before, change.service) };
		}),
	});
	return {
		plan: (snapshot, ...asked) => written(snapshot, plan(snapshot, ...asked)),
		planAfter: (snapshot, ...asked) => written(snapshot, planAfter(snapshot, ...asked)),
	};
}

function wrongVersion({ templateVersion }: Service, back: Service): Service {
	return { ...back, templateVersion };
}

function newContents({ spec: { template } }: Service, back: Service): Service {
	const { files = [] } = template.container;
	const container = { ...back.spec.template.container, files };
	return { ...back, spec: { ...back.spec, template: { ...back.spec.template, container } } };
}

/** Plans as if nobody had said how many at once, and writes what they said. */
function hasty(): Planner {
	const asked = new WeakMap<ServiceSpec, ServiceSpec>();
	const hurry = seeing((snapshot) => {
		const seen = copyOf(snapshot);
		for (const service of [...seen.services.values()]) {
			const spec = { ...service.spec, update: { ...service.spec.update, parallelism: 0 } };
			asked.set(spec, service.spec);
			seen.apply({ kind: "put-service", service: { ...service, spec } });
		}
		return seen;
	});
	const told = ({ changes, wakeAtMs }: Plan): Plan => ({
		wakeAtMs,
		changes: changes.map((change) => {
			if (change.kind !== "put-service") return change;
			const { spec, previous } = change.service;
			const before = previous && { ...previous, spec: asked.get(previous.spec) ?? previous.spec };
			const service = { ...change.service, spec: asked.get(spec) ?? spec, previous: before };
			return { kind: "put-service", service };
		}),
	});
	return {
		plan: (...looked) => told(hurry.plan(...looked)),
		planAfter: (...looked) => told(hurry.planAfter(...looked)),
	};
}

function alwaysHeard(): Planner {
	return {
		plan: (snapshot, moment, scope) => plan(snapshot, { ...moment, listeningSinceMs: 0 }, scope),
		planAfter: (snapshot, changes, moment, scope) =>
			planAfter(snapshot, changes, { ...moment, listeningSinceMs: 0 }, scope),
	};
}
