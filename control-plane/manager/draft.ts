// A snapshot that can be written: what a plan has decided so far, laid over what it started from.
//
// Reads like a `Snapshot`, copies nothing of the base, and costs what changed. In the end `changes()` tells the
// difference from the base, in one change per object: what was put and put back again is no change at all.

import type { Application } from "../../model/application.ts";
import { type Build, hasEnded } from "../../model/build.ts";
import type { Change } from "../../model/change.ts";
import { parseAddress, showAddress } from "../../model/cidr.ts";
import type { Cluster } from "../../model/cluster.ts";
import { type Deployment, isUntold } from "../../model/deployment.ts";
import type {
	ApplicationId,
	BuildId,
	DeploymentId,
	MaterialId,
	NetworkId,
	NodeId,
	ServiceId,
	TaskId,
} from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import { LoadOverlay } from "../../model/load.ts";
import type { Material } from "../../model/material.ts";
import type { Lease, Network } from "../../model/network.ts";
import type { Node } from "../../model/node.ts";
import {
	isScheduled,
	isSettled as isSettledService,
	type Service,
	type TemplateVersion,
} from "../../model/service.ts";
import { isFurther, isLater, leaseKey, type Snapshot } from "../../model/snapshot.ts";
import { isSettled as isSettledTask, type Task } from "../../model/task.ts";
import { Overlay } from "./overlay.ts";
import { same } from "./same.ts";

export interface Touched {
	readonly services: ReadonlySet<ServiceId>;
	readonly nodes: ReadonlySet<NodeId>;
}

export class Draft implements Snapshot {
	readonly nodes: Overlay<NodeId, Node>;
	readonly networks: Overlay<NetworkId, Network>;
	readonly services: Overlay<ServiceId, Service>;
	readonly tasks: Overlay<TaskId, Task>;
	readonly materials: Overlay<MaterialId, Material>;
	readonly applications: Overlay<ApplicationId, Application>;
	readonly deployments: Overlay<DeploymentId, Deployment>;
	readonly builds: Overlay<BuildId, Build>;
	readonly unsettled: {
		readonly tasks: Overlay<TaskId, Task>;
		readonly services: Overlay<ServiceId, Service>;
		readonly schedules: Overlay<ServiceId, Service>;
		readonly leases: Overlay<string, Lease>;
		readonly deployments: Overlay<DeploymentId, Deployment>;
		readonly untold: Overlay<DeploymentId, Deployment>;
		readonly builds: Overlay<BuildId, Build>;
		readonly previews: Overlay<ApplicationId, Application>;
	};
	readonly loads: LoadOverlay;
	readonly #base: Snapshot;
	readonly #tasksOfService: Overlays<ServiceId, TaskId, Task>;
	readonly #tasksOfNode: Overlays<NodeId, TaskId, Task>;
	readonly #templates: Overlays<ServiceId, number, TemplateVersion>;
	readonly #leases: Overlays<NetworkId, string, Lease>;
	/** Null where the holder's lease in the base no longer holds. */
	readonly #leaseOfHolder = new Map<NetworkId, Map<string, Lease | null>>();
	readonly #lowest = new Map<NetworkId, { readonly from: number; at: number }>();
	/** By network and holder; made when first asked for. */
	#resting: Map<string, Lease> | undefined;
	#cluster: Cluster;
	#edits = 0;
	#touchedServices = new Set<ServiceId>();
	#touchedNodes = new Set<NodeId>();

	constructor(base: Snapshot) {
		this.#base = base;
		this.#cluster = base.cluster;
		this.nodes = new Overlay(base.nodes);
		this.networks = new Overlay(base.networks);
		this.services = new Overlay(base.services);
		this.tasks = new Overlay(base.tasks);
		this.materials = new Overlay(base.materials);
		this.applications = new Overlay(base.applications);
		this.deployments = new Overlay(base.deployments);
		this.builds = new Overlay(base.builds);
		this.unsettled = {
			tasks: new Overlay(base.unsettled.tasks),
			services: new Overlay(base.unsettled.services),
			schedules: new Overlay(base.unsettled.schedules),
			leases: new Overlay(base.unsettled.leases),
			deployments: new Overlay(base.unsettled.deployments),
			untold: new Overlay(base.unsettled.untold),
			builds: new Overlay(base.unsettled.builds),
			previews: new Overlay(base.unsettled.previews),
		};
		this.loads = new LoadOverlay(base.loads);
		this.#tasksOfService = new Overlays((id) => base.tasksOfService(id));
		this.#tasksOfNode = new Overlays((id) => base.tasksOfNode(id));
		this.#leases = new Overlays((id) => base.leasesOfNetwork(id));
		this.#templates = new Overlays(
			(id) => new Map(base.templatesOfService(id).map((each) => [each.version, each])),
		);
	}

	get revision(): number {
		return this.#base.revision;
	}

	get version(): number {
		return this.#base.version + this.#edits;
	}

	/** The revision that this draft will be, if it lands. */
	get landing(): number {
		return this.#base.revision + 1;
	}

	get cluster(): Cluster {
		return this.#cluster;
	}

	/** Counts the changes that made a difference. */
	get edits(): number {
		return this.#edits;
	}

	tasksOfService(id: ServiceId): ReadonlyMap<TaskId, Task> {
		return this.#tasksOfService.read(id);
	}

	tasksOfNode(id: NodeId): ReadonlyMap<TaskId, Task> {
		return this.#tasksOfNode.read(id);
	}

	template(service: ServiceId, version: number): TemplateVersion | undefined {
		const overlay = this.#templates.written(service);
		return overlay ? overlay.get(version) : this.#base.template(service, version);
	}

	templatesOfService(id: ServiceId): readonly TemplateVersion[] {
		const overlay = this.#templates.written(id);
		return overlay ? [...overlay.values()] : this.#base.templatesOfService(id);
	}

	leasesOfNetwork(id: NetworkId): ReadonlyMap<string, Lease> {
		return this.#leases.read(id);
	}

	leaseOf(network: NetworkId, holder: string): Lease | undefined {
		const written = this.#leaseOfHolder.get(network)?.get(holder);
		if (written !== undefined) return written ?? undefined;
		return this.#base.leaseOf(network, holder);
	}

	lowestUnleased(network: NetworkId, from: number): number {
		const leases = this.leasesOfNetwork(network);
		const known = this.#lowest.get(network);
		let at = known?.from === from ? known.at : this.#base.lowestUnleased(network, from);
		// What the base leases and we gave up lies below where the base looks.
		if (known?.from !== from) {
			for (const [address, lease] of this.#leases.written(network)?.changed() ?? []) {
				const value = parseAddress(address) ?? 0;
				if (lease === undefined && value >= from && value < at) at = value;
			}
		}
		while (leases.has(showAddress(at))) at++;
		this.#lowest.set(network, { from, at });
		return at;
	}

	/** The holder's last lease in the network, while it rests. */
	restingOf(network: NetworkId, holder: string): Lease | undefined {
		if (!this.#resting) {
			this.#resting = new Map();
			for (const lease of this.unsettled.leases.values()) this.#rest(this.#resting, lease);
		}
		return this.#resting.get(leaseKey({ network, address: holder }));
	}

	#rest(resting: Map<string, Lease>, lease: Lease): void {
		const key = leaseKey({ network: lease.network, address: lease.holder });
		const known = resting.get(key);
		if (!known || known.releasedMs < lease.releasedMs) resting.set(key, lease);
	}

	/** What was touched since it was last taken. */
	peekTouched(): Touched {
		return { services: this.#touchedServices, nodes: this.#touchedNodes };
	}

	takeTouched(): Touched {
		const touched = this.peekTouched();
		this.#touchedServices = new Set();
		this.#touchedNodes = new Set();
		return touched;
	}

	put(change: Change): void {
		if (this.#write(change)) this.#edits++;
	}

	/** False where the change says what is so already. */
	#write(change: Change): boolean {
		switch (change.kind) {
			case "put-cluster":
				if (same(this.#cluster, change.cluster)) return false;
				this.#cluster = change.cluster;
				return true;
			case "put-node":
				return this.#putNode(change.node);
			case "remove-node":
				this.#touchedNodes.add(change.id);
				this.loads.removeNode(change.id);
				return this.nodes.delete(change.id);
			case "put-network":
				if (same(this.networks.get(change.network.id), change.network)) return false;
				this.networks.set(change.network.id, change.network);
				return true;
			case "remove-network":
				for (const lease of [...this.leasesOfNetwork(change.id).values()]) this.#dropLease(lease);
				return this.networks.delete(change.id);
			case "put-service":
				return this.#putService(change.service);
			case "remove-service":
				this.#touchedServices.add(change.id);
				this.unsettled.services.delete(change.id);
				this.unsettled.schedules.delete(change.id);
				for (const { version } of this.templatesOfService(change.id)) {
					this.#templates.write(change.id).delete(version);
				}
				return this.services.delete(change.id);
			case "put-template": {
				const { service, version } = change.template;
				if (same(this.template(service, version), change.template)) return false;
				this.#templates.write(service).set(version, change.template);
				this.#touchedServices.add(service);
				return true;
			}
			case "remove-template":
				return this.#templates.write(change.service).delete(change.version);
			case "put-lease":
				return this.#putLease(change.lease);
			case "remove-lease": {
				const lease = this.leasesOfNetwork(change.network).get(change.address);
				return lease !== undefined && this.#dropLease(lease);
			}
			case "put-task": {
				const known = this.tasks.get(change.task.id);
				return this.#setTask(known ? { ...change.task, status: known.status } : change.task);
			}
			case "task-status": {
				const known = must(this.tasks.get(change.id), "a status belongs to a task that is known");
				return (
					isLater(change.status, known.status) && this.#setTask({ ...known, status: change.status })
				);
			}
			case "remove-task":
				return this.#removeTask(change.id);
			case "put-material":
				if (same(this.materials.get(change.material.id), change.material)) return false;
				this.materials.set(change.material.id, change.material);
				return true;
			case "remove-material":
				return this.materials.delete(change.id);
			case "put-content":
				return false;
			case "put-application":
				if (same(this.applications.get(change.application.id), change.application)) return false;
				this.applications.set(change.application.id, change.application);
				if (change.application.previews?.length) {
					this.unsettled.previews.set(change.application.id, change.application);
				} else this.unsettled.previews.delete(change.application.id);
				return true;
			case "remove-application":
				this.unsettled.previews.delete(change.id);
				return this.applications.delete(change.id);
			case "put-deployment":
				return this.#putDeployment(change.deployment);
			case "remove-deployment":
				this.unsettled.deployments.delete(change.id);
				this.unsettled.untold.delete(change.id);
				return this.deployments.delete(change.id);
			case "put-build": {
				const known = this.builds.get(change.build.id);
				return this.#setBuild(known ? { ...change.build, status: known.status } : change.build);
			}
			case "build-status": {
				const known = must(this.builds.get(change.id), "a status belongs to a build that is known");
				return (
					isFurther(change.status, known.status) &&
					this.#setBuild({ ...known, status: change.status })
				);
			}
			case "remove-build":
				this.unsettled.builds.delete(change.id);
				return this.builds.delete(change.id);
		}
	}

	#putDeployment(deployment: Deployment): boolean {
		if (same(this.deployments.get(deployment.id), deployment)) return false;
		this.deployments.set(deployment.id, deployment);
		if (deployment.outcome === null) this.unsettled.deployments.set(deployment.id, deployment);
		else this.unsettled.deployments.delete(deployment.id);
		if (isUntold(deployment)) this.unsettled.untold.set(deployment.id, deployment);
		else this.unsettled.untold.delete(deployment.id);
		return true;
	}

	#setBuild(build: Build): boolean {
		const known = this.builds.get(build.id);
		if (same(known, build)) return false;
		this.builds.set(build.id, build);
		if (hasEnded(build.status.state)) this.unsettled.builds.delete(build.id);
		else this.unsettled.builds.set(build.id, build);
		for (const node of [known?.node, build.node]) if (node) this.#touchedNodes.add(node);
		return true;
	}

	#putNode(decided: Node): boolean {
		const known = this.nodes.get(decided.id);
		const node = known ? withDecisionsOf(known, decided) : decided;
		if (same(known, node)) return false;
		this.nodes.set(node.id, node);
		if (!known) this.loads.putNode(node);
		this.#touchedNodes.add(node.id);
		return true;
	}

	#putService(service: Service): boolean {
		if (same(this.services.get(service.id), service)) return false;
		this.services.set(service.id, service);
		if (isSettledService(service)) this.unsettled.services.delete(service.id);
		else this.unsettled.services.set(service.id, service);
		if (isScheduled(service)) this.unsettled.schedules.set(service.id, service);
		else this.unsettled.schedules.delete(service.id);
		this.#touchedServices.add(service.id);
		return true;
	}

	#setTask(task: Task): boolean {
		const known = this.tasks.get(task.id);
		if (known && same(known, task)) return false;
		this.loads.change(known, task);
		if (known?.node && known.node !== task.node)
			this.#tasksOfNode.write(known.node).delete(task.id);
		this.tasks.set(task.id, task);
		this.#tasksOfService.write(task.service).set(task.id, task);
		if (task.node) this.#tasksOfNode.write(task.node).set(task.id, task);
		if (isSettledTask(task)) this.unsettled.tasks.delete(task.id);
		else this.unsettled.tasks.set(task.id, task);
		this.#touch(task);
		return true;
	}

	#removeTask(id: TaskId): boolean {
		const task = this.tasks.get(id);
		if (!task) return false;
		this.loads.change(task, undefined);
		this.tasks.delete(id);
		this.#tasksOfService.write(task.service).delete(id);
		if (task.node) this.#tasksOfNode.write(task.node).delete(id);
		this.unsettled.tasks.delete(id);
		this.#touch(task);
		return true;
	}

	#touch(task: Task): void {
		this.#touchedServices.add(task.service);
		if (task.node) this.#touchedNodes.add(task.node);
	}

	#putLease(lease: Lease): boolean {
		const known = this.leasesOfNetwork(lease.network).get(lease.address);
		if (same(known, lease)) return false;
		if (known) this.#dropLease(known);
		this.#leases.write(lease.network).set(lease.address, lease);
		if (lease.releasedMs === 0) this.#hold(lease.network, lease.holder, lease);
		else {
			this.unsettled.leases.set(leaseKey(lease), lease);
			if (this.#resting) this.#rest(this.#resting, lease);
		}
		return true;
	}

	#dropLease(lease: Lease): boolean {
		const { network, address, holder } = lease;
		const key = leaseKey({ network, address: holder });
		if (this.#resting?.get(key)?.address === address) this.#resting.delete(key);
		this.#leases.write(network).delete(address);
		this.unsettled.leases.delete(leaseKey(lease));
		if (this.leaseOf(network, holder)?.address === address) this.#hold(network, holder, null);
		const lowest = this.#lowest.get(network);
		const value = parseAddress(address) ?? 0;
		if (lowest && value >= lowest.from && value < lowest.at) lowest.at = value;
		return true;
	}

	#hold(network: NetworkId, holder: string, lease: Lease | null): void {
		const holders = this.#leaseOfHolder.get(network) ?? new Map<string, Lease | null>();
		this.#leaseOfHolder.set(network, holders.set(holder, lease));
	}

	/** Removals first, so that what is unique may pass from one object to another. */
	changes(): Change[] {
		const removals: Change[] = [];
		const puts: Change[] = [];
		const statuses: Change[] = [];
		if (!same(this.#base.cluster, this.#cluster)) {
			puts.push({ kind: "put-cluster", cluster: this.#cluster });
		}
		for (const [id, network] of this.networks.changed()) {
			if (!network) removals.push({ kind: "remove-network", id });
			else if (!same(this.#base.networks.get(id), network)) {
				puts.push({ kind: "put-network", network });
			}
		}
		for (const [id, node] of this.nodes.changed()) {
			if (!node) removals.push({ kind: "remove-node", id });
			else if (!same(this.#base.nodes.get(id), node)) puts.push({ kind: "put-node", node });
		}
		for (const [id, service] of this.services.changed()) {
			if (!service) removals.push({ kind: "remove-service", id });
			else if (!same(this.#base.services.get(id), service)) {
				puts.push({ kind: "put-service", service });
			}
		}
		for (const [service, templates] of this.#templates.all()) {
			for (const [version, template] of templates.changed()) {
				const known = this.#base.template(service, version);
				if (template && !same(known, template)) puts.push({ kind: "put-template", template });
				// The service's removal takes its templates along.
				else if (!template && this.services.has(service)) {
					removals.push({ kind: "remove-template", service, version });
				}
			}
		}
		for (const [id, material] of this.materials.changed()) {
			if (!material) removals.push({ kind: "remove-material", id });
			else if (!same(this.#base.materials.get(id), material)) {
				puts.push({ kind: "put-material", material });
			}
		}
		for (const [id, task] of this.tasks.changed()) {
			const known = this.#base.tasks.get(id);
			if (!task) {
				removals.push({ kind: "remove-task", id });
				continue;
			}
			if (!known || !same({ ...known, status: task.status }, task)) {
				puts.push({ kind: "put-task", task });
			}
			if (known && !same(known.status, task.status)) {
				statuses.push({ kind: "task-status", id, status: task.status });
			}
		}
		for (const [network, leases] of this.#leases.all()) {
			for (const [address, lease] of leases.changed()) {
				const known = this.#base.leasesOfNetwork(network).get(address);
				if (lease && !same(known, lease)) puts.push({ kind: "put-lease", lease });
				else if (!lease && this.networks.has(network)) {
					removals.push({ kind: "remove-lease", network, address });
				}
			}
		}
		for (const [id, application] of this.applications.changed()) {
			if (!application) removals.push({ kind: "remove-application", id });
			else if (!same(this.#base.applications.get(id), application)) {
				puts.push({ kind: "put-application", application });
			}
		}
		for (const [id, deployment] of this.deployments.changed()) {
			if (!deployment) removals.push({ kind: "remove-deployment", id });
			else if (!same(this.#base.deployments.get(id), deployment)) {
				puts.push({ kind: "put-deployment", deployment });
			}
		}
		for (const [id, build] of this.builds.changed()) {
			const known = this.#base.builds.get(id);
			if (!build) {
				removals.push({ kind: "remove-build", id });
				continue;
			}
			if (!known || !same({ ...known, status: build.status }, build)) {
				puts.push({ kind: "put-build", build });
			}
			if (known && !same(known.status, build.status)) {
				statuses.push({ kind: "build-status", id, status: build.status });
			}
		}
		return [...removals, ...puts, ...statuses];
	}
}

/** Overlays of the inner maps of a map of maps, made where something is written. */
class Overlays<Outer, Inner, Value> {
	readonly #written = new Map<Outer, Overlay<Inner, Value>>();
	readonly #base: (key: Outer) => ReadonlyMap<Inner, Value>;

	constructor(base: (key: Outer) => ReadonlyMap<Inner, Value>) {
		this.#base = base;
	}

	read(key: Outer): ReadonlyMap<Inner, Value> {
		return this.#written.get(key) ?? this.#base(key);
	}

	written(key: Outer): Overlay<Inner, Value> | undefined {
		return this.#written.get(key);
	}

	write(key: Outer): Overlay<Inner, Value> {
		const known = this.#written.get(key);
		if (known) return known;
		const fresh = new Overlay(this.#base(key));
		this.#written.set(key, fresh);
		return fresh;
	}

	all(): Iterable<[Outer, Overlay<Inner, Value>]> {
		return this.#written;
	}
}

function withDecisionsOf(known: Node, decided: Node): Node {
	const { index, meshAddress, spec, specVersion, status, createdMs, updatedMs } = decided;
	const { agentUpdate: _before, ...reported } = known;
	return {
		...reported,
		index,
		meshAddress,
		spec,
		specVersion,
		status,
		...(decided.agentUpdate && { agentUpdate: decided.agentUpdate }),
		createdMs,
		updatedMs,
	};
}
