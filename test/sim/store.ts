// The database, in memory, with the rules of the real one: a decision lands only as the next revision of what it was
// planned from, a report lands always and merges by rank, every write has a number, and every row the number of the
// one that wrote it. A process reads what is newer than it knows, at its own pace.
//
// How reports merge and how a process catches up is the store's own code; what is played here is SQL.

import type { ClusterStore } from "../../control-plane/store/cluster.ts";
import { StaleSnapshot, type Wake } from "../../control-plane/store/commit.ts";
import { type Kind, type RowOf, splitBuild, splitTask } from "../../control-plane/store/rows.ts";
import {
	applyReports,
	catchUp,
	type Held,
	holdNews,
	type MergedReports,
	type News,
} from "../../control-plane/store/snapshot.ts";
import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import type { NodeId } from "../../model/id.ts";
import { splitNode } from "../../model/node.ts";
import { Facts, type Snapshot } from "../../model/snapshot.ts";
import type { Process } from "./process.ts";
import type { Dice } from "./random.ts";

export interface Store {
	/** What is there now. Only the store writes it. */
	readonly facts: Facts;
	/** As one process sees it: each call takes its time, and some fail, before or after they did what was asked. */
	openFor(process: Process, dice: Dice): ClusterStore;
	/** Writes at once: what is there before anything begins. */
	begin(changes: readonly Change[]): void;
}

export interface StoreWorld {
	readonly cluster: Cluster;
	faulty(): boolean;
	happened(what: string): void;
	/** After each decision; `before` is what it was taken from, as its process knew it. */
	landed(decision: { readonly before: Snapshot; readonly changes: readonly Change[] }): void;
	/** After each report. */
	reported(): void;
	/** A bug to be found: reports overwrite, in the order in which they come. */
	readonly mergesByArrival: boolean;
	/** A bug to be found: what a node says of itself stands as it comes, however old. */
	readonly describesByArrival: boolean;
	/** A bug to be found: a decision lands whatever it was planned from. */
	readonly landsAnything: boolean;
}

export function store(world: StoreWorld): Store {
	const truth: Held = {
		facts: new Facts(world.cluster),
		seq: 1,
		assignedSeq: 0,
		touched: { services: new Map(), nodes: new Map(), all: null },
		wakeAtMs: null,
		listeningSinceMs: 0,
		plannerUntilMs: 0,
	};
	const { facts } = truth;
	/** By kind and key, the write that a row is of; and for rows that went. */
	const seqs = new Map<string, number>();
	const gone = new Map<string, number>();
	let planned = 0;
	let planner = "";
	let aliveMs = 0;

	const wrote = (kind: Kind, key: string) => {
		// Rows are read in the order in which they were written.
		seqs.delete(`${kind} ${key}`);
		seqs.set(`${kind} ${key}`, truth.seq);
		if (kind === "lease" || kind === "template") gone.delete(`${kind} ${key}`);
	};
	const removed = (kind: Kind, key: string) => {
		seqs.delete(`${kind} ${key}`);
		gone.set(`${kind} ${key}`, truth.seq);
	};
	const setWake = ({ atMs, whole }: Wake) => {
		const known = truth.wakeAtMs;
		if (whole) truth.wakeAtMs = atMs;
		else if (atMs !== null) truth.wakeAtMs = known === null ? atMs : Math.min(known, atMs);
	};

	function write(change: Change): void {
		const known = change.kind === "task-status" ? facts.tasks.get(change.id) : undefined;
		// A report may come for what is gone, and is nothing then.
		if (change.kind === "task-status" && !known) return;
		if (change.kind === "remove-network") {
			for (const address of facts.leasesOfNetwork(change.id).keys())
				seqs.delete(`lease ${change.id} ${address}`);
		}
		if (change.kind === "remove-service") {
			for (const { version } of facts.templatesOfService(change.id))
				seqs.delete(`template ${change.id} ${version}`);
		}
		facts.apply(change);
		switch (change.kind) {
			case "put-cluster":
				return;
			case "put-node":
				wrote("node", change.node.id);
				return;
			case "remove-node":
				removed("node", change.id);
				return;
			case "put-network":
				wrote("network", change.network.id);
				return;
			case "remove-network":
				removed("network", change.id);
				return;
			case "put-service":
				wrote("service", change.service.id);
				return;
			case "remove-service":
				removed("service", change.id);
				return;
			case "put-template":
				wrote("template", `${change.template.service} ${change.template.version}`);
				return;
			case "remove-template":
				removed("template", `${change.service} ${change.version}`);
				return;
			case "put-lease":
				wrote("lease", `${change.lease.network} ${change.lease.address}`);
				return;
			case "remove-lease":
				removed("lease", `${change.network} ${change.address}`);
				return;
			case "put-task":
				wrote("task", change.task.id);
				return;
			case "task-status":
				if (facts.tasks.get(change.id) !== known) wrote("task", change.id);
				return;
			case "remove-task":
				removed("task", change.id);
				return;
			case "put-material":
				wrote("material", change.material.id);
				return;
			case "remove-material":
				removed("material", change.id);
				return;
			case "put-content":
				return;
			case "put-application":
				wrote("application", change.application.id);
				return;
			case "remove-application":
				removed("application", change.id);
				return;
			case "put-deployment":
				wrote("deployment", change.deployment.id);
				return;
			case "remove-deployment":
				removed("deployment", change.id);
				return;
			case "put-build":
			case "build-status":
				wrote("build", change.kind === "put-build" ? change.build.id : change.id);
				return;
			case "remove-build":
				removed("build", change.id);
				return;
		}
	}

	function report(merged: MergedReports, nowMs: number, gapMs: number): number {
		if (nowMs - aliveMs > gapMs) truth.listeningSinceMs = nowMs;
		aliveMs = nowMs;
		const before = new Map([...merged.statuses.keys()].map((id) => [id, facts.tasks.get(id)]));
		if (world.describesByArrival) for (const id of merged.nodes.keys()) forgetPlace(id);
		applyReports(truth, truth.seq + 1, merged);
		for (const id of merged.nodes.keys()) if (facts.nodes.has(id)) wrote("node", id);
		for (const [id, status] of merged.statuses) {
			const task = facts.tasks.get(id);
			if (task && world.mergesByArrival) facts.setTask({ ...task, status });
			if (facts.tasks.get(id) !== before.get(id)) wrote("task", id);
		}
		world.reported();
		return truth.seq;
	}

	function forgetPlace(id: NodeId): void {
		const node = facts.nodes.get(id);
		if (node) facts.setNode({ ...node, said: { start: 0, count: 0 } });
	}

	function newsSince(since: number): News {
		const page: { [K in Kind]: RowOf[K][] } & { gone: (readonly [Kind, string])[] } = {
			node: [],
			network: [],
			lease: [],
			service: [],
			template: [],
			task: [],
			material: [],
			application: [],
			deployment: [],
			build: [],
			gone: [],
		};
		for (const [row, seq] of seqs) {
			if (seq <= since) continue;
			const [kind = "", first = "", second = ""] = row.split(" ");
			addRow(page, kind as Kind, first, second);
		}
		for (const [row, seq] of gone) {
			const at = row.indexOf(" ");
			if (seq > since) page.gone.push([row.slice(0, at) as Kind, row.slice(at + 1)]);
		}
		const { seq, wakeAtMs, listeningSinceMs, plannerUntilMs } = truth;
		return {
			since,
			head: {
				revision: facts.revision,
				seq,
				cluster: facts.cluster,
				planned,
				wakeAtMs,
				listeningSinceMs,
				plannerUntilMs,
			},
			pages: [page],
		};
	}

	function addRow(
		page: { [K in Kind]: RowOf[K][] },
		kind: Kind,
		first: string,
		second: string,
	): void {
		const known = <Value>(value: Value | undefined): Value => {
			if (value === undefined) throw new Error(`the store lost ${kind} ${first} ${second}`);
			return value;
		};
		switch (kind) {
			case "node": {
				const [decided, on] = splitNode(known(facts.nodes.get(first as never)));
				page.node.push([
					decided,
					on.description,
					on.attached,
					on.appliedRevision,
					on.appliedHash,
					on.leaseUntilMs,
					on.unreachable,
					on.said.start,
					on.said.count,
					on.images,
				]);
				return;
			}
			case "network":
				page.network.push([known(facts.networks.get(first as never))]);
				return;
			case "lease":
				page.lease.push([known(facts.leasesOfNetwork(first as never).get(second))]);
				return;
			case "service":
				page.service.push([known(facts.services.get(first as never))]);
				return;
			case "template":
				page.template.push([known(facts.template(first as never, Number(second)))]);
				return;
			case "task":
				page.task.push(splitTask(known(facts.tasks.get(first as never))));
				return;
			case "material":
				page.material.push([known(facts.materials.get(first as never))]);
				return;
			case "application":
				page.application.push([known(facts.applications.get(first as never))]);
				return;
			case "deployment":
				page.deployment.push([known(facts.deployments.get(first as never))]);
				return;
			case "build":
				page.build.push(splitBuild(known(facts.builds.get(first as never))));
				return;
		}
	}

	return {
		facts,
		begin(changes) {
			truth.seq++;
			facts.revision++;
			for (const change of changes) write(change);
		},
		openFor(process, dice) {
			let held: Held | undefined;
			const ask = <Answer>(work: () => Answer): Promise<Answer> => {
				const fault = world.faulty() ? dice.next() : 1;
				const fails = (): never => {
					throw new Error("the database does not answer");
				};
				const [thereMs, backMs] = [dice.between(1, 12), dice.between(1, 12)];
				if (fault > 0.006) return process.ask(thereMs, work, backMs);
				world.happened("a call to the database fails");
				return process.ask(
					thereMs,
					() => {
						if (fault > 0.003) work();
						return fails();
					},
					backMs,
				);
			};
			return {
				id: facts.cluster.id,
				exclusive: false,
				async load() {
					held = holdNews(await ask(() => newsSince(0)));
					return held;
				},
				async refresh(asked) {
					const since = asked.seq;
					catchUp(asked, await ask(() => newsSince(since)));
				},
				seq: () => ask(() => truth.seq),
				commit(wanted) {
					const before = copyOf(held?.facts ?? facts);
					return ask(() => {
						if (wanted.base !== facts.revision && !world.landsAnything) {
							world.happened("a decision comes second");
							throw new StaleSnapshot("the cluster has moved on since it was looked at");
						}
						const asked = wanted.planned;
						planned = asked === truth.seq ? truth.seq + 1 : Math.max(planned, asked ?? 0);
						truth.seq++;
						setWake(wanted.wake);
						facts.revision++;
						for (const change of wanted.changes) write(change);
						world.landed({ before, changes: wanted.changes });
						return { revision: facts.revision, seq: truth.seq };
					});
				},
				report: (merged, nowMs, gapMs) => ask(() => report(merged, nowMs, gapMs)),
				// The simulated control plane holds polls.
				endLeases: () => Promise.reject(new Error("there are no bells here")),
				events: async () => [],
				contents: async () => [],
				takePlanning: (name, nowMs, untilMs) =>
					ask(() => {
						if (planner !== name && truth.plannerUntilMs >= nowMs) return false;
						[planner, truth.plannerUntilMs] = [name, untilMs];
						return true;
					}),
				endPlanning: (name, seq, wake) =>
					ask(() => {
						if (planner !== name) return true;
						if (seq !== null && seq !== truth.seq) return false;
						truth.plannerUntilMs = 0;
						planned = Math.max(planned, seq ?? 0);
						setWake(wake);
						return true;
					}),
				prune: async () => {},
			};
		},
	};
}

export function copyOf(facts: Snapshot): Facts {
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
	for (const material of facts.materials.values()) copy.apply({ kind: "put-material", material });
	for (const task of facts.tasks.values()) copy.setTask(task);
	return copy;
}
