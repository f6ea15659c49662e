// The store, in memory, with the rules of the real one: a decision lands only as the next revision of what it was
// planned from, a report lands always and merges by rank, and every write has a number.
//
// How a report merges, and what it touches that a planner must look at again, is the store's own code.

import type { Reported } from "../../control-plane/cluster.ts";
import { mergeReports } from "../../control-plane/store/commit.ts";
import { applyReports, type Held, type Touched } from "../../control-plane/store/snapshot.ts";
import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import { Facts, type Snapshot } from "../../model/snapshot.ts";

export interface Store {
	/** What is there now. Only the store writes it. */
	readonly facts: Facts;
	seq(): number;
	/** The seq of the last write that assignments may differ by. */
	assignedSeq(): number;
	/** As it is now, for good: later writes do not show in it. */
	read(): Snapshot;
	/** False, and nothing written, when somebody else made the next revision first. */
	commit(planned: number, changes: readonly Change[]): boolean;
	report(reported: Reported): void;
	/** Adds what reports touched after `seq`. What was decided was planned for when it was decided. */
	addTouched(seq: number, touched: Touched): void;
	/** Called after each write. */
	watch(watcher: () => void): void;
}

export function store(cluster: Cluster): Store {
	const held: Held = {
		facts: new Facts(cluster),
		seq: 0,
		assignedSeq: 0,
		touched: { services: new Map(), nodes: new Map(), all: null },
		wakeAtMs: null,
		listeningSinceMs: 0,
		plannerUntilMs: 0,
	};
	const { facts, touched } = held;
	let copy = { seq: -1, facts };
	const watchers: (() => void)[] = [];
	const wrote = () => {
		for (const watcher of watchers) watcher();
	};
	return {
		facts,
		seq: () => held.seq,
		assignedSeq: () => held.assignedSeq,
		read() {
			if (copy.seq !== held.seq) copy = { seq: held.seq, facts: copyOf(facts) };
			return copy.facts;
		},
		watch: (watcher) => watchers.push(watcher),
		commit(planned, changes) {
			if (planned !== facts.revision) return false;
			for (const change of changes) facts.apply(change);
			facts.revision++;
			held.seq++;
			held.assignedSeq = held.seq;
			wrote();
			return true;
		},
		report(reported) {
			applyReports(held, held.seq + 1, mergeReports([reported]));
			wrote();
		},
		addTouched(seq, into) {
			for (const [id, at] of touched.services) if (at > seq) into.services.set(id, at);
			for (const [id, at] of touched.nodes) if (at > seq) into.nodes.set(id, at);
		},
	};
}

function copyOf(facts: Facts): Facts {
	const copy = new Facts(facts.cluster);
	copy.revision = facts.revision;
	for (const node of facts.nodes.values()) copy.setNode(node);
	for (const network of facts.networks.values()) {
		copy.apply({ kind: "put-network", network });
		for (const lease of facts.leasesOfNetwork(network.id).values()) copy.setLease(lease);
	}
	for (const service of facts.services.values()) {
		copy.apply({ kind: "put-service", service });
		for (const template of facts.templatesOfService(service.id)) {
			copy.apply({ kind: "put-template", template });
		}
	}
	for (const task of facts.tasks.values()) copy.setTask(task);
	return copy;
}
