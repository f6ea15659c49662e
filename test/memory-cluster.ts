// A cluster in memory: the real planner over `Facts`, without a database and without agents. For tests of doors.
//
// `FakeAgents` are machines that do at once what they are told, except for images with telling names.

import {
	currentJoinToken,
	importJoinKey,
	type JoinKey,
	joinToken,
	nextTokens,
	sha256,
} from "../control-plane/accounts/tokens.ts";
import type {
	ClusterDoor,
	ClusterEvent,
	Clusters,
	Decision,
	NewCluster,
	Reported,
} from "../control-plane/cluster.ts";
import { newsOf } from "../control-plane/manager/news.ts";
import { plan, planAfter } from "../control-plane/manager/plan.ts";
import { afterReport } from "../control-plane/store/snapshot.ts";
import type { Change, Moment, Plan } from "../model/change.ts";
import type { Cluster } from "../model/cluster.ts";
import { conflict } from "../model/errors.ts";
import {
	type ClusterId,
	idFromBytes,
	type MaterialId,
	type NetworkId,
	type NodeId,
} from "../model/id.ts";
import { must } from "../model/invariant.ts";
import { contentKey } from "../model/material.ts";
import type { Node, NodeDescription, Role } from "../model/node.ts";
import { Facts, type Snapshot } from "../model/snapshot.ts";
import type { Task, TaskStatus } from "../model/task.ts";
import { isTerminal } from "../model/taskstate.ts";
import { machine, nextStatus } from "./machine.ts";

export const newId = () => idFromBytes<ClusterId>(crypto.getRandomValues(new Uint8Array(25)));

export class MemoryCluster implements ClusterDoor {
	readonly facts: Facts;
	#seq = 1;
	readonly #waiters = new Set<() => void>();
	readonly #events: ClusterEvent[] = [];
	readonly #contents = new Map<string, Uint8Array>();
	/** Kept as they are: that they are sealed where it counts is the store's tests' to show. */
	readonly contents: ClusterDoor["contents"] = {
		newId: () => newId() as string as MaterialId,
		seal: async (name, plain) => {
			this.#contents.set(contentKey(name), plain);
			return { ...name, sealed: "sealed" };
		},
		read: async (names) => {
			const keys = names.map(contentKey).filter((key) => this.#contents.has(key));
			return new Map(keys.map((key) => [key, this.#contents.get(key) ?? new Uint8Array()]));
		},
	};
	readonly inbox: ClusterDoor["inbox"] = {
		add: async () => true,
		list: async () => [],
		unhandled: async () => [],
		settle: async () => undefined,
		log: async () => undefined,
		keepLog: async () => undefined,
	};
	readonly credentials: ClusterDoor["credentials"] = {
		seal: async (plain) => `sealed ${plain}`,
		open: async (sealed) => sealed.slice("sealed ".length),
	};
	/** Long enough ago that silence counts against a node. */
	readonly #listeningSinceMs = Date.now() - 3_600_000;
	#timer: ReturnType<typeof setTimeout> | undefined;

	constructor(cluster: Cluster) {
		this.facts = new Facts(cluster);
		this.#land([
			{
				kind: "put-network",
				network: {
					id: newId() as string as NetworkId,
					name: "ingress",
					vni: 0,
					subnet: "",
					internal: false,
					attachable: false,
					ingress: true,
					labels: {},
					options: {},
					document: {},
					createdMs: cluster.createdMs,
				},
			},
		]);
	}

	get id(): ClusterId {
		return this.facts.cluster.id;
	}

	snapshot(): Promise<Snapshot> {
		return Promise.resolve(this.facts);
	}

	async commit<Result>(
		decide: (snapshot: Snapshot, moment: Moment) => Decision<Result>,
	): Promise<{ readonly result: Result; readonly revision: number }> {
		const decision = decide(this.facts, this.#moment());
		this.#tell(decision.events ?? []);
		this.#land(decision.changes);
		this.#written();
		return { result: decision.result, revision: this.facts.revision };
	}

	async report(reported: Reported): Promise<void> {
		const node = this.facts.nodes.get(reported.node);
		if (!node) return;
		this.facts.setNode({
			...afterReport(node, reported),
			// Switching a machine off takes its lease back.
			leaseUntilMs: reported.leaseUntilMs ?? node.leaseUntilMs,
		});
		for (const { id, status } of reported.tasks ?? []) {
			if (this.facts.tasks.has(id)) this.facts.apply({ kind: "task-status", id, status });
		}
		this.replan();
		this.#written();
	}

	/** What time alone, or a report, made necessary. */
	replan(): void {
		const { changes, wakeAtMs } = plan(this.facts, this.#moment(), "all");
		this.#tell(newsOf(this.facts, [], changes));
		this.#apply(changes, wakeAtMs);
	}

	wait(seq: number, timeoutMs: number, signal?: AbortSignal): Promise<void> {
		if (this.#seq > seq || signal?.aborted) return Promise.resolve();
		return new Promise((resolve) => {
			const done = () => {
				clearTimeout(timer);
				this.#waiters.delete(done);
				signal?.removeEventListener("abort", done);
				resolve();
			};
			const timer = setTimeout(done, timeoutMs);
			this.#waiters.add(done);
			signal?.addEventListener("abort", done);
		});
	}

	seq(): number {
		return this.#seq;
	}

	events(sinceMs: number, untilMs: number): Promise<readonly ClusterEvent[]> {
		return Promise.resolve(
			this.#events.filter(({ timeMs }) => timeMs >= sinceMs && timeMs <= untilMs),
		);
	}

	close(): void {
		clearTimeout(this.#timer);
	}

	#land(changes: readonly Change[]): void {
		const planned: Plan = planAfter(this.facts, changes, this.#moment(), "all");
		this.#tell(newsOf(this.facts, changes, planned.changes));
		this.#apply([...changes, ...planned.changes], planned.wakeAtMs);
	}

	#tell(events: readonly Omit<ClusterEvent, "timeMs">[]): void {
		const timeMs = Date.now();
		this.#events.push(...events.map((event) => ({ ...event, timeMs })));
	}

	#apply(changes: readonly Change[], wakeAtMs: number | null): void {
		if (changes.length > 0) {
			for (const change of changes) this.facts.apply(change);
			this.facts.revision++;
		}
		clearTimeout(this.#timer);
		if (wakeAtMs === null) return;
		this.#timer = setTimeout(
			() => {
				this.replan();
				this.#written();
			},
			Math.max(wakeAtMs - Date.now(), 1),
		);
	}

	#written(): void {
		this.#seq++;
		for (const wake of [...this.#waiters]) wake();
	}

	#moment(): Moment {
		return { nowMs: Date.now(), listeningSinceMs: this.#listeningSinceMs, newId };
	}
}

/** At most one cluster, as an account has. */
export class MemoryClusters implements Clusters {
	current: MemoryCluster | undefined;
	readonly #key = importJoinKey("a key for tests, of any length");

	async list() {
		return this.current ? [{ id: this.current.id, name: "default", organization: "owner" }] : [];
	}

	async found() {
		return { there: await this.list(), beingMade: [] };
	}

	async create(asked: NewCluster): Promise<MemoryCluster> {
		if (this.current) throw conflict("there is a cluster already");
		this.current = new MemoryCluster(await newCluster(await this.#key, asked));
		return this.current;
	}

	async erase(): Promise<void> {
		this.current?.close();
		this.current = undefined;
	}

	async joinTokens(cluster: Cluster) {
		const key = await this.#key;
		return {
			worker: await currentJoinToken(key, cluster, "worker"),
			manager: await currentJoinToken(key, cluster, "manager"),
		};
	}

	async rotateTokens(cluster: Cluster, roles: Parameters<Clusters["rotateTokens"]>[1]) {
		return nextTokens(await this.#key, cluster.id, cluster.tokens, roles);
	}
}

async function newCluster(key: JoinKey, asked: NewCluster): Promise<Cluster> {
	const id = newId();
	const first = async (role: "worker" | "manager") => ({
		epoch: 1,
		sha256: await sha256(await joinToken(key, id, role, 1)),
	});
	const nowMs = Date.now();
	return {
		id,
		document: asked.document ?? {},
		specVersion: 1,
		addressPools: asked.addressPools ?? ["10.0.0.0/8"],
		subnetPrefix: asked.subnetPrefix ?? 24,
		meshRange: "100.64.0.0/16",
		taskHistory: asked.taskHistory ?? 5,
		nodeTimeoutMs: 15_000,
		tokens: { worker: await first("worker"), manager: await first("manager") },
		createdMs: nowMs,
		updatedMs: nowMs,
	};
}

/** Machines that join, hear of every change, and report at once that it is done. */
export class FakeAgents {
	readonly #cluster: MemoryCluster;
	readonly #stop = new AbortController();
	readonly #silent = new Set<NodeId>();
	#observed = 1;

	constructor(cluster: MemoryCluster) {
		this.#cluster = cluster;
	}

	async join(
		hostname: string,
		more: Partial<NodeDescription> = {},
		role: Role = "worker",
	): Promise<Node> {
		const { result } = await this.#cluster.commit((snapshot, { nowMs, newId: id }) => {
			const index = snapshot.nodes.size + 1;
			const node: Node = {
				id: id() as NodeId,
				index,
				meshAddress: `100.64.0.${index}`,
				spec: { name: "", role, availability: "active", labels: {} },
				specVersion: 1,
				status: { state: "ready", message: "", sinceMs: nowMs },
				createdMs: nowMs,
				updatedMs: nowMs,
				description: { ...machine(hostname, index), ...more },
				said: { start: 0, count: 0 },
				attached: [],
				appliedRevision: 0,
				appliedHash: "",
				leaseUntilMs: nowMs + 3_600_000,
				unreachable: [],
				images: [],
			};
			return { changes: [{ kind: "put-node", node }], result: node };
		});
		return result;
	}

	/** Does nothing more, and says nothing: its lease is over at once. */
	async powerOff(node: NodeId): Promise<void> {
		this.#silent.add(node);
		await this.#cluster.report({ node, leaseUntilMs: Date.now() - 1 });
	}

	/** Until `close`. */
	async run(): Promise<void> {
		while (!this.#stop.signal.aborted) {
			const seq = this.#cluster.seq();
			await this.turn();
			await this.#cluster.wait(seq, 1_000, this.#stop.signal);
		}
	}

	/** Every node says that it has the newest tables, and takes each of its tasks one state further. */
	async turn(): Promise<void> {
		const { facts } = this.#cluster;
		for (const node of [...facts.nodes.values()]) {
			if (this.#silent.has(node.id)) continue;
			const revision = facts.revision;
			const tasks = [...facts.tasksOfNode(node.id).values()].flatMap((task) => {
				const status = this.#next(task, facts);
				return status ? [{ id: task.id, status }] : [];
			});
			if (tasks.length === 0 && node.appliedRevision >= revision) continue;
			await this.#cluster.report({ node: node.id, applied: { revision, hash: "" }, tasks });
		}
	}

	#next(task: Task, facts: Snapshot): TaskStatus | undefined {
		const { template } = must(
			facts.template(task.service, task.templateVersion),
			"a task's template is kept",
		);
		const isStopped = isTerminal(task.desired);
		if (isStopped && !task.released) return undefined;
		const desired = task.desired === "ready" ? "ready" : "running";
		const wanted = { id: task.id, desired: isStopped ? "shutdown" : desired, template } as const;
		return nextStatus(wanted, task.status, this.#observed++);
	}

	close(): void {
		this.#stop.abort();
	}
}
