// What is to be done, from what is known: all parts of the manager, round after round, until they agree.
//
// Reads no clock and rolls no dice (both come in a `Moment`) and touches nothing: the plan is data. A plan for a scope
// costs what the scope holds and what is unsettled, and equals the plan for all where only the scope has changed.

import type { Change, Moment, Plan, Scope } from "../../model/change.ts";
import type { NodeId, ServiceId } from "../../model/id.ts";
import { quarantineMs } from "../../model/network.ts";
import { isToBeEmptied } from "../../model/node.ts";
import { isGlobal, type Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun } from "../../model/task.ts";
import { isBefore, isTerminal } from "../../model/taskstate.ts";
import { updateAgents } from "./agents.ts";
import {
	allocateNetworks,
	allocateNode,
	allocateService,
	allocateTasks,
	endQuarantine,
	servicesWithoutVip,
} from "./allocator/allocate.ts";
import type { Cursor } from "./allocator/ipam.ts";
import { forgetContents } from "./contents.ts";
import { Draft } from "./draft.ts";
import { nextVerdictMs, watchNodes, writeOff } from "./liveness.ts";
import { nextCalmMs } from "./orchestrator/rebalance.ts";
import { windDown } from "./orchestrator/removal.ts";
import { reconcileService } from "./orchestrator/service.ts";
import { nextUpdateMs } from "./orchestrator/update.ts";
import { placeTasks } from "./place-tasks.ts";
import { reap } from "./reaper.ts";
import { decideServing } from "./serving.ts";

export interface Planner {
	plan(snapshot: Snapshot, moment: Moment, scope: Scope): Plan;
	/** What the planner adds to changes that are about to be made. */
	planAfter(snapshot: Snapshot, changes: readonly Change[], moment: Moment, scope: Scope): Plan;
}

export function plan(snapshot: Snapshot, moment: Moment, scope: Scope = "all"): Plan {
	return planDraft(new Draft(snapshot), moment, scope);
}

/** What follows from changes that are about to be made; lands together with them, after them. */
export function planAfter(
	snapshot: Snapshot,
	changes: readonly Change[],
	moment: Moment,
	scope: Scope,
): Plan {
	const asked = new Draft(snapshot);
	for (const change of changes) asked.put(change);
	const touched = asked.takeTouched();
	const wider: Scope =
		scope === "all"
			? scope
			: {
					services: scope.services.union(touched.services),
					nodes: scope.nodes.union(touched.nodes),
				};
	return planDraft(new Draft(asked), moment, wider);
}

/** Two or three rounds are usual. Should parts ever disagree for ever, others must not wait for them. */
const maxRounds = 12;
const againMs = 1_000;

function planDraft(draft: Draft, moment: Moment, scope: Scope): Plan {
	let round: Round = roundOf(draft, scope);
	// Who is there follows from reports and the time alone: no other part has a say in it.
	for (let count = 0; count < maxRounds && watchNodes(draft, moment); count++);
	const agentsMs = updateAgents(draft, moment, scope);
	for (let count = 0; count < maxRounds; count++) {
		const before = draft.edits;
		planRound(draft, moment, round);
		if (draft.edits === before) {
			forgetContents(draft);
			return {
				changes: draft.changes(),
				wakeAtMs: earlier(wakeAtMs(draft, moment, scope), agentsMs),
			};
		}
		const { services, nodes } = draft.takeTouched();
		round = { services, nodes };
	}
	return { changes: draft.changes(), wakeAtMs: moment.nowMs + againMs };
}

function earlier(one: number | null, other: number | null): number | null {
	return one === null || other === null ? (one ?? other) : Math.min(one, other);
}

interface Round {
	readonly services: Iterable<ServiceId>;
	readonly nodes: ReadonlySet<NodeId>;
}

function roundOf(draft: Draft, scope: Scope): Round {
	if (scope !== "all") return scope;
	return { services: [...draft.services.keys()], nodes: new Set(draft.nodes.keys()) };
}

function planRound(draft: Draft, moment: Moment, round: Round): void {
	const relieved = servicesWithoutVip(draft, endQuarantine(draft, moment));
	const hasNewNetwork = allocateNetworks(draft);
	const nodes = new Set([...round.nodes, ...draft.peekTouched().nodes, ...vanishedNodes(draft)]);
	for (const [service, where] of dueServices(draft, moment, round, nodes, relieved)) {
		if (service.removing) windDown(draft, service);
		else reconcileService(draft, moment, service, where);
		const now = draft.services.get(service.id);
		if (now && !now.removing) allocateService(draft, moment, now);
	}
	const lost = [...nodes].filter((id) => draft.nodes.get(id)?.status.state !== "ready");
	for (const id of lost) writeOff(draft, moment, id);
	allocateTasks(draft, moment);
	placeTasks(draft, moment);
	const slices: Cursor = new Map();
	const everyNode = hasNewNetwork ? [...draft.nodes.keys()] : [];
	for (const id of new Set([...nodes, ...draft.peekTouched().nodes, ...everyNode])) {
		allocateNode(draft, moment, id, slices);
	}
	decideServing(draft);
	for (const id of new Set([...round.services, ...draft.peekTouched().services])) {
		const service = draft.services.get(id);
		if (service) reap(draft, moment, service);
	}
}

/** Nodes that are there no more, with tasks that nobody has written off: among all nodes they are not. */
function vanishedNodes(draft: Draft): NodeId[] {
	return [...draft.unsettled.tasks.values()].flatMap(({ node, status }) =>
		node !== null && !draft.nodes.has(node) && !isTerminal(status.state) ? [node] : [],
	);
}

/** Services to be looked at, and for global ones the nodes on which they may lack a task. */
function dueServices(
	draft: Draft,
	{ nowMs }: Moment,
	round: Round,
	nodes: ReadonlySet<NodeId>,
	relieved: readonly ServiceId[],
): Map<Service, ReadonlySet<NodeId> | "all"> {
	const due = new Set([...round.services, ...relieved]);
	for (const id of draft.unsettled.services.keys()) due.add(id);
	for (const { id, job } of draft.unsettled.schedules.values()) {
		if ((job?.nextMs ?? nowMs) <= nowMs) due.add(id);
	}
	for (const task of draft.unsettled.tasks.values()) {
		// One held back may have to wait no longer, one that ended needs a successor, and one without a node may wait
		// for what its service has not got.
		const hasEnded = isTerminal(task.status.state) && isMeantToRun(task);
		const isWaiting = isBefore(task.status.state, "assigned");
		if (task.desired === "ready" || hasEnded || isWaiting) due.add(task.service);
	}
	for (const id of nodes) {
		for (const task of draft.tasksOfNode(id).values()) {
			if (isMeantToRun(task) && isAffected(draft, id, task.service)) due.add(task.service);
		}
	}
	const found = new Map<Service, ReadonlySet<NodeId> | "all">();
	for (const id of [...due].sort()) {
		const service = draft.services.get(id);
		if (service) found.set(service, "all");
	}
	if (nodes.size === 0) return found;
	for (const service of draft.services.values()) {
		const { mode, rebalance } = service.spec;
		const mindsNodes = isGlobal(mode) || rebalance !== undefined;
		if (mindsNodes && !found.has(service)) found.set(service, nodes);
	}
	return found;
}

/** A node that takes tasks as before moves none of them. Constraints are looked at by the service's own turn. */
function isAffected(draft: Draft, id: NodeId, service: ServiceId): boolean {
	const node = draft.nodes.get(id);
	if (node?.status.state !== "ready" || isToBeEmptied(node)) return true;
	const template = draft.services.get(service)?.spec.template;
	return (template?.placement.constraints.length ?? 0) > 0;
}

/** When time alone would change the plan. Nodes outside the scope have said so before. */
function wakeAtMs(draft: Draft, moment: Moment, scope: Scope): number | null {
	const { nowMs } = moment;
	const nodes = scope === "all" ? [...draft.nodes.keys()] : scope.nodes;
	const times = [nextVerdictMs(draft, moment, nodes), nextCalmMs(draft, moment, nodes)];
	for (const task of draft.unsettled.tasks.values()) {
		if (task.desired === "ready" && task.startAfterMs > nowMs) times.push(task.startAfterMs);
	}
	for (const { releasedMs } of draft.unsettled.leases.values()) {
		times.push(releasedMs + quarantineMs);
	}
	for (const { job } of draft.unsettled.schedules.values()) times.push(job?.nextMs ?? null);
	for (const service of draft.unsettled.services.values()) {
		times.push(nextUpdateMs(draft, service, nowMs));
	}
	const [first, ...rest] = times.filter((time) => time !== null);
	return first === undefined ? null : rest.reduce((least, time) => Math.min(least, time), first);
}
