// The best of the nodes that will do: where the service fails least, then where it has the fewest tasks, then where
// anybody has. With spread preferences, the branches of each label are filled evenly first.

import type { NodeId, ServiceId } from "../../../model/id.ts";
import { isActive, isLessBusy } from "../../../model/load.ts";
import type { Node } from "../../../model/node.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { labelOf } from "./constraint.ts";
import { type Heap, heapOf } from "./heap.ts";
import type { NodeInfo, Roster } from "./nodeinfo.ts";

/** A node in the eyes of one service. */
export interface Candidate {
	readonly info: NodeInfo;
	/** Its tasks there that are meant to run. */
	ofService: number;
	readonly failures: number;
}

export interface Picker {
	/** The best candidate that `admits` lets through; none is asked about again once refused. */
	pick(): Candidate | undefined;
	/** The one last picked, with its counts raised: it may be picked again. */
	putBack(candidate: Candidate): void;
}

/** What the service has and had on the nodes, for the nodes where that is anything. */
export interface Standings {
	readonly ofService: ReadonlyMap<NodeId, number>;
	readonly failures: ReadonlyMap<NodeId, number>;
}

/** Docker's numbers: five failures of one version within five minutes, and a node is the last choice for it. */
const tooManyFailures = 5;
const failureWindowMs = 5 * 60_000;

/**
 * There is no clock here: recent is what lies close to the last thing that happened to the service, and the tasks
 * that wait were made just now. It only orders nodes, so no harm is done where that is off.
 */
export function standingsOf(
	snapshot: Snapshot,
	service: ServiceId,
	templateVersion: number,
): Standings {
	const ofService = new Map<NodeId, number>();
	const failures = new Map<NodeId, number>();
	const tasks = snapshot.tasksOfService(service);
	let newestMs = 0;
	for (const { createdMs, status } of tasks.values()) {
		newestMs = Math.max(newestMs, createdMs, status.sinceMs);
	}
	for (const task of tasks.values()) {
		const { node, status } = task;
		if (!node) continue;
		if (isActive(task)) ofService.set(node, (ofService.get(node) ?? 0) + 1);
		const failed = status.state === "failed" || status.state === "rejected";
		const recent = newestMs - status.sinceMs < failureWindowMs;
		if (failed && recent && task.templateVersion === templateVersion) {
			failures.set(node, (failures.get(node) ?? 0) + 1);
		}
	}
	for (const [node, count] of failures) if (count < tooManyFailures) failures.delete(node);
	return { ofService, failures };
}

export function pickerOf(
	roster: Roster,
	spreads: readonly string[],
	standings: Standings,
	admits: (candidate: Candidate) => boolean,
): Picker {
	const labels = spreadLabels(spreads);
	return labels.length > 0
		? branchPicker(roster, labels, standings, admits)
		: plainPicker(roster, standings, admits);
}

/** Of the preferences those that can be followed. */
export function spreadLabels(spreads: readonly string[]): string[] {
	return spreads.filter((spread) => /^(node|engine)\.labels\../i.test(spread));
}

/** In which branch of the label the node lies. Nodes without the label share one. */
export const branchOf = (node: Node, label: string): string => labelOf(node, label) ?? "";

export function isBetter(a: Candidate, b: Candidate): boolean {
	if (a.failures !== b.failures) return a.failures < b.failures;
	if (a.ofService !== b.ofService) return a.ofService < b.ofService;
	return isLessBusy(a.info, b.info);
}

/**
 * Most services have tasks on few of the nodes. The others, all alike to the service, are walked in the roster's
 * own order, so that placing one task looks at one node, not at all of them.
 */
function plainPicker(
	roster: Roster,
	standings: Standings,
	admits: (candidate: Candidate) => boolean,
): Picker {
	const known = new Set<NodeId>();
	const rest: Candidate[] = [];
	for (const id of [...standings.ofService.keys(), ...standings.failures.keys()]) {
		const info = roster.get(id);
		if (!info || known.has(id)) continue;
		known.add(id);
		rest.push(candidateOf(info, standings));
	}
	const heap = heapOf(rest, isBetter);
	const walk = roster.walk();
	let walked = false;
	const pickUntouched = () => {
		while (!walked) {
			const { value: info, done } = walk.next();
			if (done) walked = true;
			else if (!known.has(info.node.id)) {
				known.add(info.node.id);
				const candidate = candidateOf(info, standings);
				if (admits(candidate)) return candidate;
			}
		}
		return undefined;
	};
	return {
		pick() {
			const untouched = pickUntouched();
			if (untouched) return untouched;
			for (let one = heap.pop(); one; one = heap.pop()) if (admits(one)) return one;
			return undefined;
		},
		putBack: (candidate) => heap.push(candidate),
	};
}

interface Branch {
	/** The service's tasks on all its nodes, those that will not do included: they are there, after all. */
	tasks: number;
	/** By the label's value; empty in a leaf. */
	readonly branches: Map<string, Branch>;
	readonly candidates: Candidate[];
	heap: Heap<Candidate> | undefined;
}

function branchPicker(
	roster: Roster,
	labels: readonly string[],
	standings: Standings,
	admits: (candidate: Candidate) => boolean,
): Picker {
	const root = branch();
	const walk = roster.walk();
	for (let next = walk.next(); !next.done; next = walk.next()) {
		const info = next.value;
		const candidate = candidateOf(info, standings);
		const path = pathTo(root, info.node, labels);
		for (const part of path) part.tasks += candidate.ofService;
		path.at(-1)?.candidates.push(candidate);
	}
	const best = (from: Branch): Candidate | undefined => {
		if (from.branches.size === 0) return bestOfLeaf(from, admits);
		let [found, tasks]: [Candidate | undefined, number] = [undefined, 0];
		for (const part of from.branches.values()) {
			if (found && part.tasks > tasks) continue;
			const one = best(part);
			if (!one) continue;
			if (!found || part.tasks < tasks || isBetter(one, found)) [found, tasks] = [one, part.tasks];
		}
		return found;
	};
	return {
		pick() {
			const found = best(root);
			if (found) pathTo(root, found.info.node, labels).at(-1)?.heap?.pop();
			return found;
		},
		putBack(candidate) {
			const path = pathTo(root, candidate.info.node, labels);
			for (const part of path) part.tasks++;
			path.at(-1)?.heap?.push(candidate);
		},
	};
}

function bestOfLeaf(
	leaf: Branch,
	admits: (candidate: Candidate) => boolean,
): Candidate | undefined {
	leaf.heap ??= heapOf(leaf.candidates, isBetter);
	for (let one = leaf.heap.peek(); one; one = leaf.heap.peek()) {
		if (admits(one)) return one;
		leaf.heap.pop();
	}
	return undefined;
}

/** The node's branch on each level, the root first. */
function pathTo(root: Branch, node: Node, labels: readonly string[]): Branch[] {
	const path = [root];
	let at = root;
	for (const label of labels) {
		const value = branchOf(node, label);
		const next = at.branches.get(value) ?? branch();
		at.branches.set(value, next);
		path.push(next);
		at = next;
	}
	return path;
}

function branch(): Branch {
	return { tasks: 0, branches: new Map(), candidates: [], heap: undefined };
}

function candidateOf(info: NodeInfo, { ofService, failures }: Standings): Candidate {
	const { id } = info.node;
	return { info, ofService: ofService.get(id) ?? 0, failures: failures.get(id) ?? 0 };
}
