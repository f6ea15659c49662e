// How busy each node is: the count of tasks that are meant to run on it, kept in order as tasks come and go, so that
// the least busy node is known without looking at all of them.

import type { NodeId } from "./id.ts";
import type { Node } from "./node.ts";
import { isMeantToRun, type Task } from "./task.ts";
import { isBefore, isTerminal } from "./taskstate.ts";

export interface Load {
	readonly id: NodeId;
	/** The node's index: breaks ties, so that one snapshot has one order. */
	readonly index: number;
	readonly active: number;
}

/** What a snapshot says of loads: those of what it is laid over, and where it differs. */
export interface Loads {
	/** The least busy first. */
	readonly sorted: readonly Load[];
	/** Stand for what `sorted` says of the same nodes; undefined for a node that is gone. */
	readonly changed: ReadonlyMap<NodeId, Load | undefined>;
	activeOn(id: NodeId): number;
	/** Undefined for a node that is not there. */
	indexOf(id: NodeId): number | undefined;
}

/** What a task counts for on which node: one, or nothing. */
export function loadedNode(task: Task | undefined): NodeId | null {
	return task && isActive(task) ? task.node : null;
}

/** It has its place and is meant to run there: one told to stop no longer counts, what it reserved still does. */
export function isActive(task: Task): boolean {
	return isMeantToRun(task) && isInPlace(task);
}

/** A node was found for it and it has not ended: what it reserves is taken. */
export function isInPlace({ status }: Task): boolean {
	return !isBefore(status.state, "assigned") && !isTerminal(status.state);
}

export function isLessBusy(a: Omit<Load, "id">, b: Omit<Load, "id">): boolean {
	return a.active === b.active ? a.index < b.index : a.active < b.active;
}

/** Where the load stands among the sorted, or would have to. */
export function rankAmong(sorted: readonly Omit<Load, "id">[], load: Omit<Load, "id">): number {
	let [low, high] = [0, sorted.length];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (isLessBusy(sorted[middle] as Load, load)) low = middle + 1;
		else high = middle;
	}
	return low;
}

/** The loads of all nodes of a cluster, by a task at a time. Tasks may become known before their nodes. */
export class LoadIndex implements Loads {
	readonly sorted: Load[] = [];
	readonly changed: ReadonlyMap<NodeId, Load> = new Map();
	readonly #active = new Map<NodeId, number>();
	readonly #index = new Map<NodeId, number>();

	putNode({ id, index }: Node): void {
		if (this.#index.get(id) === index) return;
		this.removeNode(id);
		this.#index.set(id, index);
		this.#insert(id);
	}

	removeNode(id: NodeId): void {
		this.#drop(id);
		this.#index.delete(id);
	}

	/** The task was the one and is the other. Most news of a task changes no load. */
	change(before: Task | undefined, after: Task | undefined): void {
		const [from, to] = [loadedNode(before), loadedNode(after)];
		if (from === to) return;
		if (from) this.#count(from, -1);
		if (to) this.#count(to, 1);
	}

	#count(id: NodeId, difference: number): void {
		this.#drop(id);
		this.#active.set(id, this.activeOn(id) + difference);
		this.#insert(id);
	}

	activeOn(id: NodeId): number {
		return this.#active.get(id) ?? 0;
	}

	indexOf(id: NodeId): number | undefined {
		return this.#index.get(id);
	}

	#insert(id: NodeId): void {
		const index = this.#index.get(id);
		if (index === undefined) return;
		const load = { id, index, active: this.activeOn(id) };
		this.sorted.splice(rankAmong(this.sorted, load), 0, load);
	}

	#drop(id: NodeId): void {
		const index = this.#index.get(id);
		if (index === undefined) return;
		this.sorted.splice(rankAmong(this.sorted, { index, active: this.activeOn(id) }), 1);
	}
}

/** The same, laid over other loads that stay as they are. Costs what changes. */
export class LoadOverlay implements Loads {
	readonly sorted: readonly Load[];
	readonly changed: Map<NodeId, Load | undefined>;
	readonly #base: Loads;
	readonly #active = new Map<NodeId, number>();

	constructor(base: Loads) {
		this.#base = base;
		this.sorted = base.sorted;
		this.changed = new Map(base.changed);
	}

	putNode({ id, index }: Node): void {
		this.changed.set(id, { id, index, active: this.activeOn(id) });
	}

	removeNode(id: NodeId): void {
		this.changed.set(id, undefined);
	}

	change(before: Task | undefined, after: Task | undefined): void {
		const [from, to] = [loadedNode(before), loadedNode(after)];
		if (from === to) return;
		if (from) this.#count(from, -1);
		if (to) this.#count(to, 1);
	}

	activeOn(id: NodeId): number {
		return this.#active.get(id) ?? this.#base.activeOn(id);
	}

	indexOf(id: NodeId): number | undefined {
		return this.changed.has(id) ? this.changed.get(id)?.index : this.#base.indexOf(id);
	}

	#count(id: NodeId, difference: number): void {
		const active = this.activeOn(id) + difference;
		this.#active.set(id, active);
		const index = this.indexOf(id);
		if (index !== undefined) this.changed.set(id, { id, index, active });
	}
}
