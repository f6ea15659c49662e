// The promises, watched while everything goes wrong. A broken one throws, and the seed is printed.
//
// I1  an address leads, on every node, to one container: that of the newest task its slot had by then
// I2  a slot keeps its address for as long as it is there
// I3  a backend in any node's tables was decided to serve; it was healthy and acknowledged when that was decided,
//     and no node still leads to it when it is told to stop
// I4  a rollout takes away no more at once than it may (watch-rollouts.ts)
// I5  once faults stop, everything is as asked, within a bound (world.ts)
// I6  what the agent has accepted is all that moves it: no container stops that it says shall run
// I8  what has not converged has a reason
// I9  a roll-back ends at what was before (watch-rollouts.ts)
// I10 a finished job never runs again (watch-jobs.ts)
// and: a decision lands as the next revision of the one it was taken from, checks.ts holds after each, and a task
// never moves back.

import { type Complaint, check } from "../../control-plane/manager/checks.ts";
import type { Assignment } from "../../model/assignment.ts";
import type { Change } from "../../model/change.ts";
import type { NetworkId, NodeId, TaskId } from "../../model/id.ts";
import { gatewayHolder, type Lease, slotHolder } from "../../model/network.ts";
import type { Node } from "../../model/node.ts";
import { isJob, type Service } from "../../model/service.ts";
import type { Facts, Snapshot } from "../../model/snapshot.ts";
import { isHealthy, isMeantToRun, slotKey, type Task } from "../../model/task.ts";
import { isBefore, isTerminal, rankOf, type TaskState } from "../../model/taskstate.ts";
import { broken } from "./broken.ts";
import { isHopeless } from "./images.ts";
import { suits } from "./suits.ts";
import { jobWatcher } from "./watch-jobs.ts";
import { rolloutWatcher } from "./watch-rollouts.ts";

export interface Watcher {
	/** A decision is there; `before` is what it was taken from. */
	landed(decision: { readonly before: Snapshot; readonly changes: readonly Change[] }): void;
	/** A report is there. */
	reported(): void;
	/** The node's kernel has these tables now. */
	applied(node: NodeId, tables: Assignment): void;
	/** A container runs from now on. */
	started(node: NodeId, task: TaskId, image: string): void;
	/** A container that runs is asked to stop; `keeps` when its agent was told to run it. */
	stopping(
		node: NodeId,
		task: TaskId,
		keeps: boolean,
		tables: ReadonlyMap<NodeId, Assignment>,
	): void;
	/** A word of the node was taken; or could have been, from now on. */
	heard(node: NodeId): void;
}

export function watcher(
	store: { readonly facts: Facts },
	nowMs: () => number,
	happened: (what: string) => void,
): Watcher {
	const jobs = jobWatcher(happened);
	const rollouts = rolloutWatcher(store, happened);
	/** Who was to run at an address from which revision on; oldest first. */
	const assigned = new Map<string, { readonly revision: number; readonly task: Task }[]>();
	const known = new Set<TaskId>();
	/** Addresses that serve, by the revision that decided so. Kept whole: runs are short. */
	const serving = new Map<number, ReadonlySet<string>>();
	const states = new Map<TaskId, TaskState>();
	const heardMs = new Map<NodeId, readonly number[]>();
	const givenUp = new Map<string, Pick<Lease, "holder" | "releasedMs">>();
	/**
	 * The nodes, each with a network, that lived and had it when the task's stop was let through. One that was down,
	 * or had nothing left there, is not waited for when it is back.
	 */
	const waitedFor = new Map<TaskId, ReadonlySet<string>>();
	const appliedOn = new Map<NodeId, number>();

	const isAlive = (id: TaskId) => {
		const task = store.facts.tasks.get(id);
		return task !== undefined && !isTerminal(task.status.state);
	};

	function remember(facts: Snapshot) {
		const backends = new Set<string>();
		for (const task of facts.tasks.values()) {
			const { state } = task.status;
			const mayRun = task.desired !== "ready" && !isBefore(state, "assigned") && !isTerminal(state);
			if (task.node && mayRun && !known.has(task.id)) {
				known.add(task.id);
				for (const { network, address } of task.attachments) {
					const key = `${network}/${address}`;
					assigned.set(key, [...(assigned.get(key) ?? []), { revision: facts.revision, task }]);
				}
			}
			if (task.serving) {
				for (const { network, address } of task.attachments) backends.add(`${network}/${address}`);
			}
		}
		serving.set(facts.revision, backends);
	}

	/** An address that somebody gave up is nobody else's for a minute: others may remember it that long. */
	function restsFirst({ network, address, holder, releasedMs }: Lease) {
		const key = `${network}/${address}`;
		const known = givenUp.get(key);
		if (releasedMs > 0) givenUp.set(key, { holder, releasedMs });
		else if (known && slotOf(known.holder) !== slotOf(holder)) {
			const restMs = nowMs() - known.releasedMs;
			if (restMs < 59_000)
				broken("I2", `${address} of ${known.holder} is ${holder}'s after ${restMs} ms`);
		}
	}

	/** Forgotten without a rest: as good as given up just now. */
	function restsToo(before: Snapshot, { network, address }: Pick<Lease, "network" | "address">) {
		const lease = before.leasesOfNetwork(network).get(address);
		if (lease?.releasedMs !== 0 || !store.facts.networks.has(network)) return;
		givenUp.set(`${network}/${address}`, { holder: lease.holder, releasedMs: nowMs() });
	}

	/** Only silence counts that somebody could have heard: the control plane's own absence is not the node's. */
	function countsAgainst(before: Snapshot, { id, status }: Node) {
		if (status.state !== "down" || before.nodes.get(id)?.status.state !== "ready") return;
		// What it says of itself, or what its engine did to it, takes no silence.
		if (!status.message.startsWith("not heard")) return;
		// What was written while the plan was read and on its way, it could not know.
		const knownMs = status.sinceMs - 60;
		const silentMs = status.sinceMs - (heardMs.get(id)?.findLast((ms) => ms < knownMs) ?? 0);
		// What one process heard, the others may not know for a second.
		const { nodeTimeoutMs } = before.cluster;
		const leastMs = (status.message.includes("peers") ? 7_000 : nodeTimeoutMs) - 1_100;
		if (silentMs < leastMs) {
			broken("I6", `${id} is down (${status.message}) after ${silentMs} ms`);
		}
	}

	function neverBack(facts: Snapshot) {
		for (const task of facts.tasks.values()) {
			const known = states.get(task.id);
			if (known && rankOf[task.status.state] < rankOf[known]) {
				broken("a task never moves back", `${task.id} from ${known} to ${task.status.state}`);
			}
			states.set(task.id, task.status.state);
		}
	}

	return {
		heard: (node) => heardMs.set(node, [...(heardMs.get(node) ?? []).slice(-20), nowMs()]),
		reported() {
			neverBack(store.facts);
			jobs.note(store.facts);
		},
		started(_node, task, image) {
			jobs.started(task);
			rollouts.started(task, image);
		},
		landed({ before, changes }) {
			const { facts } = store;
			if (facts.revision !== before.revision + 1) {
				broken("revisions", `${facts.revision} was decided from ${before.revision}`);
			}
			const complaints: readonly Complaint[] = check(facts);
			if (complaints.length > 0) broken("checks", JSON.stringify(complaints));
			for (const change of changes) {
				if (change.kind !== "put-task" || !change.task.serving) continue;
				const known = before.tasks.get(change.task.id);
				if (!known?.serving) mayServe(before, facts, change.task);
			}
			for (const change of changes) {
				if (change.kind !== "put-task" || !change.task.released) continue;
				const { id } = change.task;
				const known = before.tasks.get(id);
				if (!known || known.released) continue;
				// One that had stopped serving of itself, or was about to, is let go at once.
				const serves = known.serving && known.status.state === "running" && isHealthy(known.status);
				if (isMeantToRun(known) && !serves) continue;
				const live = [...facts.nodes.values()].filter(({ status }) => status.state === "ready");
				const concerned = known.attachments.flatMap(({ network }) =>
					live
						.filter(({ id: on }) => keepsNetwork(before, facts, on, network))
						.map((node) => `${node.id} ${network}`),
				);
				waitedFor.set(id, new Set(concerned));
			}
			remember(facts);
			neverBack(facts);
			jobs.note(facts);
			rollouts.landed({ before, changes });
			for (const change of changes) {
				if (change.kind === "put-lease") restsFirst(change.lease);
				if (change.kind === "remove-lease") restsToo(before, change);
				if (change.kind === "put-node") countsAgainst(before, change.node);
				if (change.kind === "put-task") keepsAddress(before, facts, change.task);
			}
		},
		applied(node, tables) {
			const known = appliedOn.get(node) ?? 0;
			if (tables.revision < known) {
				broken("I1", `${node} goes back from revision ${known} to ${tables.revision}`);
			}
			appliedOn.set(node, tables.revision);
			for (const network of tables.networks) {
				const led = new Set<string>();
				for (const member of network.members) {
					if (led.has(member.address))
						broken("I1", `${node} leads ${member.address} to two places`);
					led.add(member.address);
					const newest = assigned
						.get(`${network.id}/${member.address}`)
						?.findLast(
							({ revision, task }) => revision <= tables.revision && isAlive(task.id),
						)?.task;
					if (!member.task || !newest || newest.id === member.task) continue;
					// One that is held ready for the same place is newer still.
					if (member.generation > newest.generation) continue;
					broken(
						"I1",
						`${node} leads ${member.address} to ${member.task} at revision ${tables.revision}, where ${newest.id} was known`,
					);
				}
				const decided = serving.get(tables.revision);
				for (const endpoint of network.endpoints) {
					for (const backend of endpoint.backends) {
						if (decided && !decided.has(`${network.id}/${backend}`)) {
							broken("I3", `${node} has backend ${backend} of ${endpoint.name}, never decided`);
						}
					}
				}
			}
		},
		stopping(node, id, keeps, allTables) {
			if (keeps) broken("I6", `${node} stops ${id}, which it was told to run`);
			const task = store.facts.tasks.get(id);
			// One that was written off with its node is no longer waited for.
			if (!task || isTerminal(task.status.state)) return;
			for (const [other, tables] of allTables) {
				if (store.facts.nodes.get(other)?.status.state !== "ready") continue;
				for (const { network, address } of task.attachments) {
					if (!waitedFor.get(id)?.has(`${other} ${network}`)) continue;
					if (!hasNetwork(store.facts, other, network)) continue;
					const there = tables.networks.find((each) => each.id === network);
					const member = there?.members.find((each) => each.address === address);
					if (member?.task !== id) continue;
					if (there?.endpoints.some(({ backends }) => backends.includes(address))) {
						broken("I3", `${node} stops ${id} while ${other} still leads to it at ${address}`);
					}
				}
			}
		},
	};
}

/**
 * What a task has been given it keeps, and a successor gets the address that the slot has. The one update order that
 * starts first has two tasks side by side: then there is a second address, and the slot moves there once the first
 * one's task is gone.
 */
function keepsAddress(before: Snapshot, after: Snapshot, task: Task): void {
	const known = before.tasks.get(task.id);
	if (known && known.attachments.length > 0) {
		if (Bun.deepEquals(known.attachments, task.attachments)) return;
		broken("I2", `${task.id} had ${show(known)}, now ${show(task)}`);
	}
	// A slot that was scaled away and is wanted again is a new one.
	const others = slotMates(before, task);
	if (others.every(({ desired }) => desired === "remove")) return;
	for (const { network, address } of task.attachments) {
		const [was, is] = [before, after].map(
			(snapshot) => snapshot.leaseOf(network, slotHolder(task))?.address,
		);
		if (is === undefined) broken("I2", `${slotKey(task)} has no address of its own`);
		// Its end may have been reported while the plan was on its way.
		if (address !== is && !livesAt([...slotMates(after, task), ...others], is)) {
			broken("I2", `${slotKey(task)} has ${is}, and ${task.id} lives alone at ${address}`);
		}
		if (was !== undefined && was !== is && !livesAt(others, is)) {
			broken("I2", `${slotKey(task)} had ${was}, now ${is}`);
		}
	}
}

function slotMates(snapshot: Snapshot, task: Task): Task[] {
	return [...snapshot.tasksOfService(task.service).values()].filter(
		(other) => other.id !== task.id && slotKey(other) === slotKey(task),
	);
}

function livesAt(tasks: readonly Task[], address: string): boolean {
	return tasks.some(
		({ status, attachments }) =>
			!isTerminal(status.state) && attachments.some((each) => each.address === address),
	);
}

/** Without the mark of a slot's second address. */
const slotOf = (holder: string) => holder.replace(/:second$/, "");

const show = ({ attachments }: Task) => attachments.map(({ address }) => address).join(", ");

/** What the plan knew when it let the task serve. */
function mayServe(before: Snapshot, after: Snapshot, task: Task): void {
	const known = before.tasks.get(task.id);
	if (!known) broken("I3", `${task.id} serves from its first moment`);
	const { state, health } = known.status;
	if (state !== "running" || health === "starting" || health === "unhealthy") {
		broken("I3", `${task.id} serves while ${state} and ${health}`);
	}
	for (const node of before.nodes.values()) {
		if (after.nodes.get(node.id)?.status.state !== "ready") continue;
		const concerned = task.attachments.some(({ network }) =>
			keepsNetwork(before, after, node.id, network),
		);
		if (concerned && node.appliedRevision < known.tablesRevision) {
			broken(
				"I3",
				`${task.id} serves although ${node.id} has revision ${node.appliedRevision}, not ${known.tablesRevision}`,
			);
		}
	}
}

/**
 * Something on the node is in the network before the plan and after it. A node that gets the network with the plan gets
 * it with all that is in it.
 */
function keepsNetwork(
	before: Snapshot,
	after: Snapshot,
	node: NodeId,
	network: NetworkId,
): boolean {
	if (!hasNetwork(before, node, network) || !hasNetwork(after, node, network)) return false;
	const { ingress, attachable } = after.networks.get(network) ?? {};
	if (ingress || attachable) return true;
	return [...before.tasksOfNode(node).values()].some(
		({ id, status, attachments }) =>
			!isTerminal(status.state) &&
			!isTerminal(after.tasks.get(id)?.status.state ?? "orphaned") &&
			attachments.some((each) => each.network === network),
	);
}

function hasNetwork(snapshot: Snapshot, node: NodeId, network: NetworkId): boolean {
	return snapshot.leaseOf(network, gatewayHolder(node)) !== undefined;
}

/** I8, and what "converged" means. Empty when everything is as the user asked; each text names one thing that is not. */
export function unconverged(facts: Snapshot, dead: ReadonlySet<NodeId>): string[] {
	const found: string[] = [];
	for (const service of facts.services.values()) {
		const tasks = [...facts.tasksOfService(service.id).values()];
		if (service.removing) {
			found.push(`${service.spec.name} is not gone`);
			continue;
		}
		const { state } = service.updateStatus ?? {};
		const isHalted = state === "paused" || state === "rollback_paused";
		// An update whose tasks find no place waits for one, as Docker's does.
		const waits = tasks.some(
			({ status, templateVersion }) =>
				status.state === "pending" &&
				status.error !== "" &&
				templateVersion === service.templateVersion,
		);
		if ((state === "updating" || state === "rollback_started") && !waits) {
			found.push(
				`${service.spec.name} is ${state}: ${JSON.stringify(service.spec.update)} ${tasks.map(showTask).join("; ")}`,
			);
		}
		const alive = tasks.filter(({ status }) => !isTerminal(status.state));
		for (const task of alive) {
			const availability = task.node && facts.nodes.get(task.node)?.spec.availability;
			if (availability === "drain" && task.desired === "running") {
				found.push(`${service.spec.name}.${task.slot} stays on ${task.node}, which is drained`);
			}
			if (task.serving && task.desired === "running" && !service.job) continue;
			// Nobody can do more for it, and the service says so.
			const isOfHalted = task.templateVersion === service.templateVersion && isHalted;
			if (isOfHalted && isHopeless(service.spec)) continue;
			// It waits, and says what for: nothing in this cluster will have it.
			if (task.status.state === "pending" && task.status.error !== "") continue;
			found.push(
				`${service.spec.name}.${task.slot} ${task.id} wants ${task.desired}, is ${task.status.state} ${task.status.error}`,
			);
		}
		if (service.job?.state === "running" && alive.length === 0 && hasWork(facts, service)) {
			found.push(`${service.spec.name} has work, and nobody does it`);
		}
		const slots = new Set(alive.map(slotKey)).size;
		const wanted = wantedSlots(facts, service);
		if (wanted !== undefined && slots !== wanted) {
			found.push(
				`${service.spec.name} fills ${slots} slots of ${wanted}: ${alive.map(showTask).join("; ")}`,
			);
		}
	}
	for (const node of facts.nodes.values()) {
		const wanted = dead.has(node.id) ? "down" : "ready";
		if (node.status.state === wanted) continue;
		const { id, status, unreachable } = node;
		found.push(`${id} is ${status.state} ${status.message}, and misses ${unreachable}`);
	}
	return found;
}

/** A global job is over when its nodes have done it, whichever come; with none of them there it waits. */
function hasWork(facts: Snapshot, service: Service): boolean {
	if (service.spec.mode.kind !== "global-job") return true;
	return [...facts.nodes.values()].some(
		(node) =>
			node.status.state === "ready" &&
			node.spec.availability === "active" &&
			node.createdMs <= (service.job?.startedMs ?? 0) &&
			suits(service, node),
	);
}

function showTask({ id, slot, templateVersion, desired, status, serving, node }: Task): string {
	const words = `${id.slice(0, 5)} slot ${slot} version ${templateVersion} on ${node}`;
	return `${words} wants ${desired}, is ${status.state}${serving ? " and serves" : ""} ${status.error}`;
}

/** Undefined where tasks may end for good. */
function wantedSlots(facts: Snapshot, service: Service): number | undefined {
	const { spec } = service;
	if (isJob(spec.mode)) return undefined;
	const { condition, maxAttempts } = spec.template.restart;
	if (condition !== "any" || maxAttempts > 0) return undefined;
	if (spec.mode.kind === "replicated") return spec.mode.replicas;
	const mayRun = (node: Node) =>
		node.status.state === "ready" && node.spec.availability !== "drain" && suits(service, node);
	return [...facts.nodes.values()].filter(mayRun).length;
}

/** I8: whoever waits must be told why. */
export function unexplained(facts: Snapshot): string[] {
	const found: string[] = [];
	for (const task of facts.tasks.values()) {
		if (task.status.state === "pending" && task.status.error === "" && task.status.message === "") {
			found.push(`${task.id} is pending without a word`);
		}
	}
	for (const node of facts.nodes.values()) {
		if (node.status.state === "down" && node.status.message === "") {
			found.push(`${node.id} is down without a word`);
		}
	}
	return found;
}
