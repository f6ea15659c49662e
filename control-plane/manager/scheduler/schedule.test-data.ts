// Small clusters for the scheduler's tests, and the same scheduler written the plain way to compare with.

import type { Cluster } from "../../../model/cluster.ts";
import type { ClusterId, NodeId, ServiceId, TaskId } from "../../../model/id.ts";
import { must } from "../../../model/invariant.ts";
import { isActive } from "../../../model/load.ts";
import type { Node } from "../../../model/node.ts";
import type { Placement, PortSpec, Service, TaskTemplate } from "../../../model/service.ts";
import { Facts, type Snapshot } from "../../../model/snapshot.ts";
import { type Task, type TaskStatus, unstarted } from "../../../model/task.ts";
import { plainTemplate } from "../../../model/template.test-data.ts";
import { adviceFor, smallestChange } from "./advice.ts";
import { labelOf } from "./constraint.ts";
import { demandOf, explain, type Filter, refusalOf } from "./filters.ts";
import { nodeInfoOf } from "./nodeinfo.ts";
import type { Placed, Unplaced } from "./schedule.ts";

export const gigabyte = 2 ** 30;

export function cluster(): Cluster {
	return {
		id: "cluster" as ClusterId,
		document: {},
		specVersion: 1,
		addressPools: ["10.0.0.0/8"],
		subnetPrefix: 24,
		meshRange: "172.31.0.0/16",
		taskHistory: 5,
		nodeTimeoutMs: 15_000,
		tokens: { worker: { epoch: 0, sha256: "" }, manager: { epoch: 0, sha256: "" } },
		createdMs: 0,
		updatedMs: 0,
	};
}

export interface NodeWords {
	readonly index: number;
	readonly labels?: Record<string, string>;
	readonly engineLabels?: Record<string, string>;
	readonly role?: Node["spec"]["role"];
	readonly availability?: Node["spec"]["availability"];
	readonly state?: Node["status"]["state"];
	readonly description?: Partial<Node["description"]>;
}

export const nodeId = (index: number) => `n${index}` as NodeId;

export function node(words: NodeWords): Node {
	const { index } = words;
	return {
		id: nodeId(index),
		index,
		meshAddress: `172.31.0.${index}`,
		spec: {
			name: "",
			role: words.role ?? "worker",
			availability: words.availability ?? "active",
			labels: words.labels ?? {},
		},
		specVersion: 1,
		status: { state: words.state ?? "ready", message: "", sinceMs: 0 },
		createdMs: 0,
		updatedMs: 0,
		description: {
			hostname: `host-${index}`,
			os: "linux",
			architecture: "x86_64",
			kernel: "6.1",
			engineVersion: "20.10.24",
			engineLabels: words.engineLabels ?? {},
			plugins: [],
			agentVersion: "0.1.0",
			nanoCpus: 4e9,
			memoryBytes: 8 * gigabyte,
			publicKey: "",
			wireguardPort: 51820,
			wireguard: "kernel",
			addresses: [`192.168.77.${index}`],
			routes: [],
			problems: [],
			...words.description,
		},
		said: { start: 0, count: 0 },
		attached: [],
		appliedRevision: 0,
		appliedHash: "",
		leaseUntilMs: 0,
		unreachable: [],
		images: [],
	};
}

export interface ServiceWords {
	readonly name: string;
	readonly placement?: Partial<Placement>;
	readonly nanoCpus?: number;
	readonly memoryBytes?: number;
	readonly hostPorts?: readonly number[];
	readonly template?: Partial<TaskTemplate>;
}

export const serviceId = (name: string) => `s-${name}` as ServiceId;

export function template(words: ServiceWords): TaskTemplate {
	const plain = plainTemplate("nginx");
	return {
		...plain,
		reservations: {
			nanoCpus: words.nanoCpus ?? 0,
			memoryBytes: words.memoryBytes ?? 0,
			pids: 0,
		},
		placement: { ...plain.placement, ...words.placement },
		...words.template,
	};
}

export function service(words: ServiceWords): Service {
	const policy = {
		parallelism: 1,
		delayMs: 0,
		failureAction: "pause",
		monitorMs: 5000,
		maxFailureRatio: 0,
		order: "stop-first",
	} as const;
	return {
		id: serviceId(words.name),
		spec: {
			name: words.name,
			labels: {},
			mode: { kind: "replicated", replicas: 1 },
			template: template(words),
			endpointMode: "vip",
			ports: hostPorts(words),
			update: policy,
			rollback: policy,
		},
		document: {},
		specVersion: 1,
		templateVersion: 1,
		previous: null,
		ports: hostPorts(words),
		updateStatus: null,
		createdMs: 0,
		updatedMs: 0,
		removing: false,
	};
}

function hostPorts({ hostPorts: published = [] }: ServiceWords): PortSpec[] {
	return published.map((port) => ({
		name: "",
		protocol: "tcp",
		target: 80,
		published: port,
		mode: "host",
	}));
}

export function task(
	of: string,
	id: string,
	words: Partial<Omit<Task, "status">> & { readonly status?: Partial<TaskStatus> } = {},
): Task {
	const { status, ...rest } = words;
	return {
		id: id as TaskId,
		service: serviceId(of),
		slot: 1,
		node: null,
		templateVersion: 1,
		generation: 1,
		desired: "running",
		attachments: [],
		serving: false,
		tablesRevision: 0,
		released: false,
		createdMs: 0,
		startAfterMs: 0,
		...rest,
		status: { ...unstarted, state: rest.node ? "running" : "pending", ...status },
	};
}

export function facts(parts: {
	readonly nodes?: readonly NodeWords[];
	readonly services?: readonly ServiceWords[];
	readonly tasks?: readonly Task[];
}): Facts {
	const all = new Facts(cluster());
	for (const words of parts.nodes ?? []) all.setNode(node(words));
	for (const words of parts.services ?? []) {
		all.apply({ kind: "put-service", service: service(words) });
		all.apply({
			kind: "put-template",
			template: {
				service: serviceId(words.name),
				version: 1,
				template: template(words),
				hostPorts: hostPorts(words),
				document: {},
			},
		});
	}
	for (const one of parts.tasks ?? []) all.setTask(one);
	return all;
}

export function placedOn(one: Task, on: NodeId): Task {
	return { ...one, node: on, status: { ...one.status, state: "assigned" } };
}

/** One task at a time, every node looked at afresh each time: slow, and plain enough to be believed. */
export function scheduleNaively(
	all: Facts,
	waiting: readonly Task[],
): Map<TaskId, Placed | Unplaced> {
	const outcomes = new Map<TaskId, Placed | Unplaced>();
	const byTemplate = Map.groupBy(waiting, (one) => `${one.service}:${one.templateVersion}`);
	for (const one of [...byTemplate.values()].flat()) {
		const outcome = placeNaively(all, one);
		outcomes.set(one.id, outcome);
		if (outcome.kind === "placed") all.setTask(placedOn(one, outcome.node));
	}
	return outcomes;
}

const idle = { index: 0, active: 0 };

function placeNaively(all: Snapshot, one: Task): Placed | Unplaced {
	const demand = demandOf(all, one.service, one.templateVersion);
	const refusals = new Map<Filter, number>();
	let suitable: Node[] = [];
	for (const candidate of all.nodes.values()) {
		const refusal = refusalOf(
			demand,
			nodeInfoOf(all, candidate, idle),
			count(all, one, [candidate]),
		);
		if (refusal) refusals.set(refusal, (refusals.get(refusal) ?? 0) + 1);
		else suitable.push(candidate);
	}
	const { spreads } = demand.template.placement;
	let branch = [...all.nodes.values()];
	for (const label of spreads.filter((spread) => spread.includes(".labels."))) {
		const branches = [...Map.groupBy(branch, (each) => labelOf(each, label)).values()].filter(
			(nodes) => nodes.some((each) => suitable.includes(each)),
		);
		const least = Math.min(...branches.map((nodes) => count(all, one, nodes)));
		// Several branches may be as empty; the best node in any of them decides, branch by branch.
		branch = branches.filter((nodes) => count(all, one, nodes) === least).flat();
		const best = bestOf(all, one, branch, suitable, spreads, label);
		branch = branch.filter((each) => !best || labelOf(each, label) === labelOf(best, label));
		suitable = suitable.filter((each) => branch.includes(each));
	}
	const best = suitable.sort((a, b) => compare(all, one, a, b))[0];
	if (best) return { kind: "placed", node: best.id };
	const change = smallestChange(adviceFor(all, one));
	return { kind: "unplaced", reason: [explain(refusals), change].filter(Boolean).join("; ") };
}

/** Where a deeper level would lead in each of the branches, the better of the ends. */
function bestOf(
	all: Snapshot,
	one: Task,
	branches: readonly Node[],
	suitable: readonly Node[],
	spreads: readonly string[],
	label: string,
): Node | undefined {
	const deeper = spreads.slice(spreads.indexOf(label) + 1);
	const ends = [...Map.groupBy(branches, (each) => labelOf(each, label)).values()].map((nodes) => {
		const [next] = deeper;
		if (!next) {
			return nodes
				.filter((each) => suitable.includes(each))
				.sort((a, b) => compare(all, one, a, b))[0];
		}
		const inner = [...Map.groupBy(nodes, (each) => labelOf(each, next)).values()].filter((part) =>
			part.some((each) => suitable.includes(each)),
		);
		const least = Math.min(...inner.map((part) => count(all, one, part)));
		const emptiest = inner.filter((part) => count(all, one, part) === least).flat();
		return bestOf(all, one, emptiest, suitable, deeper, next);
	});
	return ends.filter((end) => end !== undefined).sort((a, b) => compare(all, one, a, b))[0];
}

function count(all: Snapshot, one: Task, nodes: readonly Node[]): number {
	return nodes
		.flatMap(({ id }) => [...all.tasksOfNode(id).values()])
		.filter((each) => each.service === one.service && isActive(each)).length;
}

function compare(all: Snapshot, one: Task, a: Node, b: Node): number {
	const rank = ({ id, index }: Node) => {
		const there = [...all.tasksOfNode(id).values()];
		const ofService = there.filter((each) => each.service === one.service);
		const newestMs = Math.max(
			...[...all.tasksOfService(one.service).values()].flatMap((each) => [
				each.createdMs,
				each.status.sinceMs,
			]),
		);
		const failures = ofService.filter(
			({ status, templateVersion }) =>
				(status.state === "failed" || status.state === "rejected") &&
				templateVersion === one.templateVersion &&
				newestMs - status.sinceMs < 300_000,
		).length;
		return [
			failures < 5 ? 0 : failures,
			ofService.filter(isActive).length,
			there.filter(isActive).length,
			index,
		];
	};
	const [ranksOfA, ranksOfB] = [rank(a), rank(b)];
	const at = ranksOfA.findIndex((value, level) => value !== ranksOfB[level]);
	return at < 0 ? 0 : must(ranksOfA[at], "same length") - must(ranksOfB[at], "same length");
}
