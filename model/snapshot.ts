// All facts of one cluster at one revision, with the indexes that make reading them cost what is read.
//
// `Facts` is the one mutable holder: the host of a cluster keeps one, fills it from the store and applies what
// landed. Everybody else sees a `Snapshot`, which cannot be written.

import type { Application } from "./application.ts";
import { type Build, type BuildStatus, buildRankOf, hasEnded } from "./build.ts";
import type { Change } from "./change.ts";
import { parseAddress, showAddress } from "./cidr.ts";
import type { Cluster } from "./cluster.ts";
import { type Deployment, isUntold } from "./deployment.ts";
import type {
	ApplicationId,
	BuildId,
	DeploymentId,
	MaterialId,
	NetworkId,
	NodeId,
	ServiceId,
	TaskId,
} from "./id.ts";
import { must } from "./invariant.ts";
import { LoadIndex, type Loads } from "./load.ts";
import type { Material } from "./material.ts";
import type { Lease, Network } from "./network.ts";
import { type Node, splitNode } from "./node.ts";
import {
	isScheduled,
	isSettled as isSettledService,
	type Service,
	type TemplateVersion,
} from "./service.ts";
import { isSettled as isSettledTask, type Task, type TaskStatus } from "./task.ts";
import { rankOf } from "./taskstate.ts";

export interface Snapshot {
	readonly revision: number;
	/** Rises with every write, reports included: what was worked out of a snapshot holds until then. */
	readonly version: number;
	readonly cluster: Cluster;
	readonly nodes: ReadonlyMap<NodeId, Node>;
	readonly networks: ReadonlyMap<NetworkId, Network>;
	readonly services: ReadonlyMap<ServiceId, Service>;
	readonly tasks: ReadonlyMap<TaskId, Task>;
	/** Secrets and configs, without their contents. */
	readonly materials: ReadonlyMap<MaterialId, Material>;
	readonly applications: ReadonlyMap<ApplicationId, Application>;
	readonly deployments: ReadonlyMap<DeploymentId, Deployment>;
	readonly builds: ReadonlyMap<BuildId, Build>;
	tasksOfService(id: ServiceId): ReadonlyMap<TaskId, Task>;
	tasksOfNode(id: NodeId): ReadonlyMap<TaskId, Task>;
	template(service: ServiceId, version: number): TemplateVersion | undefined;
	templatesOfService(id: ServiceId): readonly TemplateVersion[];
	/** By address. */
	leasesOfNetwork(id: NetworkId): ReadonlyMap<string, Lease>;
	/** The lease that the holder has in the network, unless it was released. */
	leaseOf(network: NetworkId, holder: string): Lease | undefined;
	/** The lowest address from `from` on at which no lease begins. Costs nothing when asked again from there. */
	lowestUnleased(network: NetworkId, from: number): number;
	readonly unsettled: Unsettled;
	/** How busy the nodes are. */
	readonly loads: Loads;
}

/** What time or another node's report may move: every plan looks at these, whatever its scope, and need not search. */
export interface Unsettled {
	readonly tasks: ReadonlyMap<TaskId, Task>;
	readonly services: ReadonlyMap<ServiceId, Service>;
	/** Those whose next run a schedule will start. */
	readonly schedules: ReadonlyMap<ServiceId, Service>;
	/** Released ones, that rest; by `leaseKey`. */
	readonly leases: ReadonlyMap<string, Lease>;
	/** Those that have not ended. */
	readonly deployments: ReadonlyMap<DeploymentId, Deployment>;
	/** Those of which a forge is to be told something. */
	readonly untold: ReadonlyMap<DeploymentId, Deployment>;
	readonly builds: ReadonlyMap<BuildId, Build>;
	/** Those that have previews. */
	readonly previews: ReadonlyMap<ApplicationId, Application>;
}

export const leaseKey = ({ network, address }: Pick<Lease, "network" | "address">) =>
	`${network} ${address}`;

const none: ReadonlyMap<never, never> = new Map<never, never>();

export class Facts implements Snapshot {
	revision = 0;
	version = 0;
	cluster: Cluster;
	readonly nodes = new Map<NodeId, Node>();
	readonly networks = new Map<NetworkId, Network>();
	readonly services = new Map<ServiceId, Service>();
	readonly tasks = new Map<TaskId, Task>();
	readonly materials = new Map<MaterialId, Material>();
	readonly applications = new Map<ApplicationId, Application>();
	readonly deployments = new Map<DeploymentId, Deployment>();
	readonly builds = new Map<BuildId, Build>();
	readonly #tasksOfService = new Map<ServiceId, Map<TaskId, Task>>();
	readonly #tasksOfNode = new Map<NodeId, Map<TaskId, Task>>();
	readonly #templates = new Map<ServiceId, Map<number, TemplateVersion>>();
	readonly #leases = new Map<NetworkId, Map<string, Lease>>();
	readonly #leaseOfHolder = new Map<NetworkId, Map<string, Lease>>();
	/** Where the last search for an unleased address began, and how far it got. */
	readonly #lowest = new Map<NetworkId, { readonly from: number; at: number }>();
	readonly unsettled = {
		tasks: new Map<TaskId, Task>(),
		services: new Map<ServiceId, Service>(),
		schedules: new Map<ServiceId, Service>(),
		leases: new Map<string, Lease>(),
		deployments: new Map<DeploymentId, Deployment>(),
		untold: new Map<DeploymentId, Deployment>(),
		builds: new Map<BuildId, Build>(),
		previews: new Map<ApplicationId, Application>(),
	};

	readonly loads = new LoadIndex();

	constructor(cluster: Cluster) {
		this.cluster = cluster;
	}

	tasksOfService(id: ServiceId): ReadonlyMap<TaskId, Task> {
		return this.#tasksOfService.get(id) ?? none;
	}

	tasksOfNode(id: NodeId): ReadonlyMap<TaskId, Task> {
		return this.#tasksOfNode.get(id) ?? none;
	}

	template(service: ServiceId, version: number): TemplateVersion | undefined {
		return this.#templates.get(service)?.get(version);
	}

	templatesOfService(id: ServiceId): readonly TemplateVersion[] {
		return [...(this.#templates.get(id)?.values() ?? [])];
	}

	leasesOfNetwork(id: NetworkId): ReadonlyMap<string, Lease> {
		return this.#leases.get(id) ?? none;
	}

	leaseOf(network: NetworkId, holder: string): Lease | undefined {
		return this.#leaseOfHolder.get(network)?.get(holder);
	}

	lowestUnleased(network: NetworkId, from: number): number {
		const leases = this.leasesOfNetwork(network);
		const known = this.#lowest.get(network);
		let at = known?.from === from ? known.at : from;
		while (leases.has(showAddress(at))) at++;
		this.#lowest.set(network, { from, at });
		return at;
	}

	/** Makes the change so, as the store would: decisions overwrite decisions, reports only move forward. */
	apply(change: Change): void {
		this.version++;
		switch (change.kind) {
			case "put-cluster":
				this.cluster = change.cluster;
				return;
			case "put-node":
				this.setNode(withReportedOf(change.node, this.nodes.get(change.node.id)));
				return;
			case "remove-node":
				this.nodes.delete(change.id);
				this.loads.removeNode(change.id);
				return;
			case "put-network":
				this.networks.set(change.network.id, change.network);
				return;
			case "remove-network":
				this.networks.delete(change.id);
				for (const lease of this.leasesOfNetwork(change.id).values()) {
					this.unsettled.leases.delete(leaseKey(lease));
				}
				this.#leases.delete(change.id);
				this.#leaseOfHolder.delete(change.id);
				this.#lowest.delete(change.id);
				return;
			case "put-service":
				this.setService(change.service);
				return;
			case "remove-service":
				this.services.delete(change.id);
				this.unsettled.services.delete(change.id);
				this.unsettled.schedules.delete(change.id);
				this.#templates.delete(change.id);
				return;
			case "put-template":
				inner(this.#templates, change.template.service).set(
					change.template.version,
					change.template,
				);
				return;
			case "remove-template":
				this.#templates.get(change.service)?.delete(change.version);
				return;
			case "put-lease":
				this.setLease(change.lease);
				return;
			case "remove-lease":
				this.removeLease(change.network, change.address);
				return;
			case "put-task": {
				const known = this.tasks.get(change.task.id);
				this.setTask(known ? { ...change.task, status: known.status } : change.task);
				return;
			}
			case "task-status": {
				const task = must(this.tasks.get(change.id), "a status belongs to a task that is known");
				if (isLater(change.status, task.status)) this.setTask({ ...task, status: change.status });
				return;
			}
			case "remove-task":
				this.removeTask(change.id);
				return;
			case "put-material":
				this.materials.set(change.material.id, change.material);
				return;
			case "remove-material":
				this.materials.delete(change.id);
				return;
			case "put-content":
				return;
			case "put-application":
				this.applications.set(change.application.id, change.application);
				if (change.application.previews?.length) {
					this.unsettled.previews.set(change.application.id, change.application);
				} else this.unsettled.previews.delete(change.application.id);
				return;
			case "remove-application":
				this.applications.delete(change.id);
				this.unsettled.previews.delete(change.id);
				return;
			case "put-deployment":
				this.setDeployment(change.deployment);
				return;
			case "remove-deployment":
				this.deployments.delete(change.id);
				this.unsettled.deployments.delete(change.id);
				this.unsettled.untold.delete(change.id);
				return;
			case "put-build": {
				const known = this.builds.get(change.build.id);
				this.setBuild(known ? { ...change.build, status: known.status } : change.build);
				return;
			}
			case "build-status": {
				const build = must(this.builds.get(change.id), "a status belongs to a build that is known");
				if (isFurther(change.status, build.status)) {
					this.setBuild({ ...build, status: change.status });
				}
				return;
			}
			case "remove-build":
				this.builds.delete(change.id);
				this.unsettled.builds.delete(change.id);
				return;
		}
	}

	setDeployment(deployment: Deployment): void {
		this.version++;
		this.deployments.set(deployment.id, deployment);
		if (deployment.outcome === null) this.unsettled.deployments.set(deployment.id, deployment);
		else this.unsettled.deployments.delete(deployment.id);
		if (isUntold(deployment)) this.unsettled.untold.set(deployment.id, deployment);
		else this.unsettled.untold.delete(deployment.id);
	}

	/** Whole, status included: what the store read. */
	setBuild(build: Build): void {
		this.version++;
		this.builds.set(build.id, build);
		if (hasEnded(build.status.state)) this.unsettled.builds.delete(build.id);
		else this.unsettled.builds.set(build.id, build);
	}

	/** Whole, reported fields included: what the store read. */
	setNode(node: Node): void {
		this.version++;
		this.nodes.set(node.id, node);
		this.loads.putNode(node);
	}

	setService(service: Service): void {
		this.version++;
		this.services.set(service.id, service);
		if (isSettledService(service)) this.unsettled.services.delete(service.id);
		else this.unsettled.services.set(service.id, service);
		if (isScheduled(service)) this.unsettled.schedules.set(service.id, service);
		else this.unsettled.schedules.delete(service.id);
	}

	/** Whole, status included: what the store read. */
	setTask(task: Task): void {
		this.loads.change(this.tasks.get(task.id), task);
		this.#forgetTask(task.id);
		this.tasks.set(task.id, task);
		inner(this.#tasksOfService, task.service).set(task.id, task);
		if (task.node) inner(this.#tasksOfNode, task.node).set(task.id, task);
		if (!isSettledTask(task)) this.unsettled.tasks.set(task.id, task);
	}

	removeTask(id: TaskId): void {
		this.version++;
		this.loads.change(this.tasks.get(id), undefined);
		this.#forgetTask(id);
	}

	#forgetTask(id: TaskId): void {
		const task = this.tasks.get(id);
		if (!task) return;
		this.tasks.delete(id);
		this.unsettled.tasks.delete(id);
		drop(this.#tasksOfService, task.service, id);
		if (task.node) drop(this.#tasksOfNode, task.node, id);
	}

	setLease(lease: Lease): void {
		this.removeLease(lease.network, lease.address);
		inner(this.#leases, lease.network).set(lease.address, lease);
		if (lease.releasedMs === 0) inner(this.#leaseOfHolder, lease.network).set(lease.holder, lease);
		else this.unsettled.leases.set(leaseKey(lease), lease);
	}

	removeLease(network: NetworkId, address: string): void {
		this.version++;
		const lease = this.#leases.get(network)?.get(address);
		if (!lease) return;
		drop(this.#leases, network, address);
		this.unsettled.leases.delete(leaseKey(lease));
		const known = this.#lowest.get(network);
		const value = parseAddress(address) ?? 0;
		if (known && value >= known.from && value < known.at) known.at = value;
		if (this.#leaseOfHolder.get(network)?.get(lease.holder)?.address === address) {
			drop(this.#leaseOfHolder, network, lease.holder);
		}
	}
}

/** Reports merge by rank; within one state the later observation wins. */
export function isLater(next: TaskStatus, known: TaskStatus): boolean {
	const step = rankOf[next.state] - rankOf[known.state];
	return step > 0 || (step === 0 && next.observed > known.observed);
}

/** The same of builds. */
export function isFurther(next: BuildStatus, known: BuildStatus): boolean {
	const step = buildRankOf[next.state] - buildRankOf[known.state];
	return step > 0 || (step === 0 && next.observed > known.observed);
}

function withReportedOf(decided: Node, known: Node | undefined): Node {
	return known ? { ...decided, ...splitNode(known)[1] } : decided;
}

function inner<Key, Inner, Value>(outer: Map<Key, Map<Inner, Value>>, key: Key): Map<Inner, Value> {
	const known = outer.get(key);
	if (known) return known;
	const fresh = new Map<Inner, Value>();
	outer.set(key, fresh);
	return fresh;
}

function drop<Key, Inner, Value>(outer: Map<Key, Map<Inner, Value>>, key: Key, id: Inner): void {
	const map = outer.get(key);
	map?.delete(id);
	if (map?.size === 0) outer.delete(key);
}
