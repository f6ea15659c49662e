// A small cluster to try the planner on, step by step: its facts, a clock, ids in order, and machines that do as told.
//
// Nothing here runs by itself. `settle()` lets everybody do what is due, and time jump to the next event, until nothing
// more happens.

import { assign } from "../control-plane/manager/assign.ts";
import { firstRun, runAfterUpdate } from "../control-plane/manager/orchestrator/run.ts";
import { type Planner, plan, planAfter } from "../control-plane/manager/plan.ts";
import { cluster, service } from "../control-plane/manager/scheduler/schedule.test-data.ts";
import type { Change, Moment, Plan, Scope } from "../model/change.ts";
import type { NetworkId, NodeId, ServiceId } from "../model/id.ts";
import { must } from "../model/invariant.ts";
import type { Network } from "../model/network.ts";
import type { Node } from "../model/node.ts";
import type { Mode, PortSpec, Service, ServiceSpec, TaskTemplate } from "../model/service.ts";
import { Facts } from "../model/snapshot.ts";
import type { Task, TaskStatus } from "../model/task.ts";
import { isTerminal, type TaskState } from "../model/taskstate.ts";

export interface Words {
	readonly replicas?: number;
	/** Of jobs, `replicas` is how many completions, and `concurrent` how many at once (all). */
	readonly mode?: "replicated" | "global" | "replicated-job" | "global-job";
	readonly concurrent?: number;
	readonly networks?: readonly string[];
	readonly ports?: readonly Partial<PortSpec>[];
	readonly template?: Partial<TaskTemplate>;
	readonly spec?: Partial<ServiceSpec>;
}

export class Little {
	readonly facts: Facts;
	nowMs = 1_000_000;
	/** Nodes that neither report nor hear. */
	readonly silent = new Set<NodeId>();
	/** Nodes that report but do not acknowledge. */
	readonly lagging = new Set<NodeId>();
	/** How a task ends by itself as soon as it is told to run; undefined for those that go on running. */
	fate: (task: Task) => TaskState | undefined = () => undefined;
	readonly #startedMs = this.nowMs;
	#ids = 0;
	wakeAtMs: number | null = null;

	readonly #planner: Planner;

	constructor(nodes = 0, planner: Planner = { plan, planAfter }) {
		this.#planner = planner;
		this.facts = new Facts({ ...cluster(), createdMs: this.nowMs });
		this.network("ingress", { ingress: true });
		for (let index = 1; index <= nodes; index++) this.join(index);
	}

	moment(): Moment {
		return {
			nowMs: this.nowMs,
			listeningSinceMs: this.#startedMs,
			newId: () => `t${String(++this.#ids).padStart(4, "0")}`,
		};
	}

	/** A user's changes, landed with what the planner makes of them. */
	commit(changes: readonly Change[], scope: Scope = "all"): Plan {
		const planned = this.#planner.planAfter(this.facts, changes, this.moment(), scope);
		this.#land([...changes, ...planned.changes], planned);
		return planned;
	}

	/** Plans and lands. */
	plan(scope: Scope = "all"): Plan {
		const planned = this.#planner.plan(this.facts, this.moment(), scope);
		this.#land(planned.changes, planned);
		return planned;
	}

	#land(changes: readonly Change[], { wakeAtMs }: Plan): void {
		for (const change of changes) this.facts.apply(change);
		if (changes.length > 0) this.facts.revision++;
		this.wakeAtMs = wakeAtMs;
	}

	join(index: number, words: Partial<Node["description"]> = {}): NodeId {
		const id = nodeId(index);
		this.commit([{ kind: "put-node", node: newNode(index, this.nowMs, words) }]);
		return id;
	}

	network(name: string, words: Partial<Network> = {}): NetworkId {
		const id = `net-${name}` as NetworkId;
		this.commit([
			{
				kind: "put-network",
				network: {
					id,
					name,
					vni: 0,
					subnet: "",
					internal: false,
					attachable: false,
					ingress: false,
					labels: {},
					options: {},
					document: {},
					createdMs: this.nowMs,
					...words,
				},
			},
		]);
		return id;
	}

	create(name: string, words: Words = {}): Service {
		const made = newService(name, words, this.nowMs);
		this.commit([
			{ kind: "put-service", service: made },
			{ kind: "put-template", template: templateOf(made) },
		]);
		return this.service(name);
	}

	/** A new spec, stored as the Engine API's door stores it. */
	update(name: string, change: (spec: ServiceSpec) => ServiceSpec): Service {
		const known = this.service(name);
		const spec = change(known.spec);
		const isNew = JSON.stringify(spec.template) !== JSON.stringify(known.spec.template);
		const next: Service = {
			...known,
			spec,
			specVersion: known.specVersion + 1,
			templateVersion: known.templateVersion + (isNew ? 1 : 0),
			previous: { spec: known.spec, document: known.document },
			updateStatus: null,
			...jobAfter(known, spec, this.nowMs),
			updatedMs: this.nowMs,
		};
		this.commit([
			{ kind: "put-service", service: next },
			{ kind: "put-template", template: templateOf(next) },
		]);
		return this.service(name);
	}

	scale(name: string, replicas: number): void {
		this.update(name, (spec) => ({ ...spec, mode: { kind: "replicated", replicas } }));
	}

	image(name: string, image: string): void {
		this.update(name, (spec) => ({
			...spec,
			template: { ...spec.template, container: { ...spec.template.container, image } },
		}));
	}

	remove(name: string): void {
		this.commit([{ kind: "put-service", service: { ...this.service(name), removing: true } }]);
	}

	availability(index: number, availability: Node["spec"]["availability"]): void {
		const node = this.node(index);
		this.commit([{ kind: "put-node", node: { ...node, spec: { ...node.spec, availability } } }]);
	}

	service(name: string): Service {
		return must(this.#named(name), `service ${name}`);
	}

	#named(name: string): Service | undefined {
		return [...this.facts.services.values()].find(({ spec }) => spec.name === name);
	}

	node(index: number): Node {
		return must(this.facts.nodes.get(nodeId(index)), `node ${index}`);
	}

	/** By slot, then age. */
	tasks(name: string): Task[] {
		return [...this.facts.tasksOfService(this.#named(name)?.id ?? serviceId(name)).values()].sort(
			(a, b) => a.slot - b.slot || a.generation - b.generation,
		);
	}

	/** Those that run and are meant to. */
	running(name: string): Task[] {
		return this.tasks(name).filter(
			({ desired, status }) => desired === "running" && status.state === "running",
		);
	}

	report(task: Pick<Task, "id">, status: Partial<TaskStatus>): void {
		const known = must(this.facts.tasks.get(task.id), `task ${task.id}`);
		this.facts.apply({
			kind: "task-status",
			id: task.id,
			status: {
				...known.status,
				error: "",
				sinceMs: this.nowMs,
				observed: known.status.observed + 1,
				...status,
			},
		});
	}

	/** All machines poll once: they acknowledge, and each task moves one step. True where anything came of it. */
	poll(): boolean {
		let news = false;
		for (const node of [...this.facts.nodes.values()]) {
			if (this.silent.has(node.id)) continue;
			const appliedRevision = this.lagging.has(node.id)
				? node.appliedRevision
				: this.facts.revision;
			const leaseUntilMs = this.nowMs + this.facts.cluster.nodeTimeoutMs;
			news ||= appliedRevision !== node.appliedRevision;
			this.facts.setNode({ ...node, appliedRevision, leaseUntilMs });
			for (const { id, desired } of assign(this.facts, node.id).tasks) {
				const task = must(this.facts.tasks.get(id), `task ${id}`);
				const next = nextState(task, desired, this.fate(task));
				if (next === task.status.state) continue;
				this.report(task, { state: next, message: next });
				news = true;
			}
		}
		return news;
	}

	/** What one round of everybody changes; nobody waits for time. */
	turn(): boolean {
		const heard = this.poll();
		return this.plan().changes.length > 0 || heard;
	}

	/** Until nothing more happens, or `untilMs` more have passed. */
	settle(forMs = 0): void {
		const endMs = this.nowMs + forMs;
		for (let count = 0; count < 10_000; count++) {
			if (this.turn()) continue;
			const wakeAtMs = this.wakeAtMs ?? Number.POSITIVE_INFINITY;
			// Machines are heard often enough; only the silent ones' time runs out.
			const nextMs = Math.min(wakeAtMs, endMs, this.nowMs + this.facts.cluster.nodeTimeoutMs / 3);
			if (this.nowMs >= endMs) return;
			this.nowMs = Math.max(nextMs, this.nowMs + 1);
		}
		throw new Error("does not come to rest");
	}
}

function nextState(
	{ status }: Task,
	desired: "ready" | "running" | "shutdown",
	fate: TaskState | undefined,
): TaskState {
	if (isTerminal(status.state)) return status.state;
	if (desired === "shutdown") return "shutdown";
	switch (status.state) {
		case "assigned":
			return "accepted";
		case "accepted":
			return "preparing";
		case "preparing":
			return "ready";
		case "ready":
			return desired === "running" ? (fate ?? "running") : "ready";
		default:
			return fate ?? "running";
	}
}

export const nodeId = (index: number) => `node-${index}` as NodeId;
export const serviceId = (name: string) => `s-${name}` as ServiceId;
export const networkId = (name: string) => `net-${name}` as NetworkId;

/** A template whose tasks run only where the constraint holds. */
export function constrained(constraint: string): Partial<TaskTemplate> {
	return {
		placement: { constraints: [constraint], spreads: [], maxReplicasPerNode: 0, platforms: [] },
	};
}

export function newService(name: string, words: Words, nowMs: number): Service {
	const made = service({
		name,
		template: {
			networks: (words.networks ?? []).map((each) => ({ network: networkId(each), aliases: [] })),
			...words.template,
		},
	});
	const ports = (words.ports ?? []).map((port) => ({
		name: "",
		protocol: "tcp" as const,
		target: 80,
		published: 0,
		mode: "ingress" as const,
		...port,
	}));
	const spec = { ...made.spec, mode: modeOf(words), ports, ...words.spec };
	const job = firstRun(spec, nowMs);
	return {
		...made,
		id: serviceId(name),
		spec,
		...(job && { job }),
		ports,
		createdMs: nowMs,
		updatedMs: nowMs,
	};
}

function modeOf({ mode = "replicated", replicas = 1, concurrent = replicas }: Words): Mode {
	if (mode === "replicated") return { kind: mode, replicas };
	if (mode !== "replicated-job") return { kind: mode };
	return { kind: mode, totalCompletions: replicas, maxConcurrent: concurrent };
}

function jobAfter(known: Service, spec: ServiceSpec, nowMs: number): Pick<Service, "job"> {
	const job = runAfterUpdate(known, spec, nowMs);
	return job ? { job } : {};
}

export function templateOf({ id, templateVersion, spec }: Service) {
	return {
		service: id,
		version: templateVersion,
		template: spec.template,
		hostPorts: spec.ports.filter(({ mode }) => mode === "host"),
		document: {},
	};
}

export function newNode(
	index: number,
	nowMs: number,
	words: Partial<Node["description"]> = {},
): Node {
	return {
		id: nodeId(index),
		index,
		meshAddress: `172.31.0.${index}`,
		spec: { name: "", role: "worker", availability: "active", labels: {} },
		specVersion: 1,
		status: { state: "unknown", message: "", sinceMs: nowMs },
		createdMs: nowMs,
		updatedMs: nowMs,
		description: {
			hostname: `n${index}`,
			os: "linux",
			architecture: "x86_64",
			kernel: "6.1",
			engineVersion: "20.10.24",
			engineLabels: {},
			plugins: [],
			agentVersion: "0.1.0",
			nanoCpus: 4e9,
			memoryBytes: 8 * 2 ** 30,
			publicKey: "",
			wireguardPort: 51820,
			wireguard: "kernel",
			addresses: [`192.168.77.${index}`],
			routes: [],
			problems: [],
			...words,
		},
		said: { start: 0, count: 0 },
		attached: [],
		appliedRevision: 0,
		appliedHash: "",
		leaseUntilMs: nowMs + 15_000,
		unreachable: [],
		images: [],
	};
}
