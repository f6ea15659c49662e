// Objects to fill a store with: small, whole, and told apart by the number they are made from.

import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import type {
	ClusterId,
	MaterialId,
	NetworkId,
	NodeId,
	ServiceId,
	TaskId,
} from "../../model/id.ts";
import type { Material } from "../../model/material.ts";
import type { Network } from "../../model/network.ts";
import type { Node, NodeDescription } from "../../model/node.ts";
import type { Service, ServiceSpec, TaskTemplate } from "../../model/service.ts";
import { type Task, type TaskStatus, unstarted } from "../../model/task.ts";
import { plainTemplate } from "../../model/template.test-data.ts";

const id = (kind: string, n: number) => `${kind}${n}`.padEnd(25, "x");
export const nodeId = (n: number) => id("node", n) as NodeId;
export const networkId = (n: number) => id("net", n) as NetworkId;
export const serviceId = (n: number) => id("svc", n) as ServiceId;
export const taskId = (n: number) => id("task", n) as TaskId;

export function sampleCluster(clusterId: ClusterId): Cluster {
	return {
		id: clusterId,
		document: { Name: "default" },
		specVersion: 1,
		addressPools: ["10.0.0.0/8"],
		subnetPrefix: 24,
		meshRange: "10.200.0.0/16",
		taskHistory: 5,
		nodeTimeoutMs: 12_000,
		tokens: {
			worker: { epoch: 1, sha256: `worker-${clusterId}` },
			manager: { epoch: 1, sha256: `manager-${clusterId}` },
		},
		createdMs: 1,
		updatedMs: 1,
	};
}

/** Wrapped by nobody: for stores, which do not look inside. */

export function sampleDescription(n: number): NodeDescription {
	return {
		hostname: `vm${n}`,
		os: "linux",
		architecture: "x86_64",
		kernel: "6.1.0",
		engineVersion: "28.5.0",
		engineLabels: {},
		plugins: [],
		agentVersion: "0.1.0",
		nanoCpus: 2e9,
		memoryBytes: 4e9,
		publicKey: `${"A".repeat(42)}${n % 10}=`,
		wireguardPort: 51820,
		wireguard: "kernel",
		addresses: [`192.168.77.${n}`],
		routes: ["192.168.77.0/24"],
		problems: [],
	};
}

export function sampleNode(n: number, version = 1): Node {
	return {
		id: nodeId(n),
		index: n,
		meshAddress: `10.200.0.${n}`,
		spec: { name: "", role: "worker", availability: "active", labels: { version: `${version}` } },
		specVersion: version,
		status: { state: "ready", message: "", sinceMs: 5 },
		createdMs: 1,
		updatedMs: 1,
		description: sampleDescription(n),
		said: { start: 0, count: 0 },
		attached: [],
		appliedRevision: 0,
		appliedHash: "",
		leaseUntilMs: 0,
		unreachable: [],
		images: [],
	};
}

export function sampleNetwork(n: number, version = 1): Network {
	return {
		id: networkId(n),
		name: `net${n}`,
		vni: 4096 + n,
		subnet: `10.0.${n}.0/24`,
		internal: false,
		attachable: false,
		ingress: false,
		labels: { version: `${version}` },
		options: {},
		document: {},
		createdMs: 1,
	};
}

export function sampleTemplate(version = 1): TaskTemplate {
	const plain = plainTemplate("nginx:1.22");
	return { ...plain, container: { ...plain.container, env: [`VERSION=${version}`] } };
}

export function sampleSpec(n: number, version = 1): ServiceSpec {
	const update = {
		parallelism: 1,
		delayMs: 0,
		failureAction: "pause",
		monitorMs: 5_000,
		maxFailureRatio: 0,
		order: "stop-first",
	} as const;
	return {
		name: `web${n}`,
		labels: {},
		mode: { kind: "replicated", replicas: version },
		template: sampleTemplate(version),
		endpointMode: "vip",
		ports: [],
		update,
		rollback: update,
	};
}

export function sampleService(n: number, version = 1): Service {
	return {
		id: serviceId(n),
		spec: sampleSpec(n, version),
		document: { Name: `web${n}`, strange: 'quotes " and \\ and \u0001 and ünïcödé \ud83d\ude00' },
		specVersion: version,
		templateVersion: version,
		previous: null,
		ports: [],
		updateStatus: null,
		createdMs: 1,
		updatedMs: version,
		removing: false,
	};
}

export function sampleTask(n: number, of: { service: number; node: number | null }): Task {
	return {
		id: taskId(n),
		service: serviceId(of.service),
		slot: n,
		node: of.node === null ? null : nodeId(of.node),
		templateVersion: 1,
		generation: n,
		desired: "running",
		attachments: [{ network: networkId(1), address: `10.0.1.${n}` }],
		serving: false,
		tablesRevision: 0,
		released: false,
		createdMs: 1,
		startAfterMs: 0,
		status: unstarted,
	};
}

export function sampleStatus(
	state: TaskStatus["state"],
	observed: number,
	extra: Partial<TaskStatus> = {},
): TaskStatus {
	return { ...unstarted, state, observed, message: `${state} ${observed}`, ...extra };
}

/** A cluster with nodes, a network and one service of so many tasks, spread over the nodes. */
export function sampleChanges(counts: { nodes: number; tasks: number }): Change[] {
	return [
		{ kind: "put-network", network: sampleNetwork(1) },
		{ kind: "put-service", service: sampleService(1) },
		{
			kind: "put-template",
			template: {
				service: serviceId(1),
				version: 1,
				template: sampleTemplate(),
				hostPorts: [],
				document: {},
			},
		},
		...Array.from(
			{ length: counts.nodes },
			(_, n): Change => ({ kind: "put-node", node: sampleNode(n + 1) }),
		),
		...Array.from(
			{ length: counts.tasks },
			(_, n): Change => ({
				kind: "put-task",
				task: sampleTask(n + 1, { service: 1, node: (n % Math.max(1, counts.nodes)) + 1 }),
			}),
		),
	];
}

export function sampleMaterial(n: number, versions: readonly number[]): Material {
	const [first, ...more] = versions.map((number) => ({ number, templating: false, createdMs: 1 }));
	if (!first) throw new Error("a material has a version");
	return {
		kind: "secret",
		id: `material${n}` as MaterialId,
		name: `pw${n}`,
		labels: {},
		versions: [first, ...more],
		specVersion: versions.length,
		document: { Name: `pw${n}`, Labels: {} },
		createdMs: 1,
		updatedMs: 1,
	};
}
