// Snapshots and changes as text, one line each, for tests and for whoever reads a transcript.

import type { Change } from "../../model/change.ts";
import type { NetworkId, NodeId, ServiceId } from "../../model/id.ts";
import type { Lease } from "../../model/network.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Task, TaskStatus } from "../../model/task.ts";
import { compareText } from "./orchestrator/slot.ts";

/** Nodes, networks, services with their tasks; without ids and times, in an order that does not depend on them. */
export function showSnapshot(snapshot: Snapshot): string[] {
	const nodes = [...snapshot.nodes.values()].sort((a, b) => a.index - b.index);
	const networks = [...snapshot.networks.values()].sort((a, b) => compareText(a.name, b.name));
	const services = [...snapshot.services.values()].sort((a, b) =>
		compareText(a.spec.name, b.spec.name),
	);
	return [
		...nodes.map(
			({ id, status, spec }) =>
				`node ${nodeName(snapshot, id)} ${status.state} ${spec.availability}${status.message && `: ${status.message}`}`,
		),
		...networks.map(({ name, vni, subnet }) => `network ${name} ${vni} ${subnet}`),
		...services.flatMap((service) => showService(snapshot, service)),
	];
}

function showService(snapshot: Snapshot, service: Service): string[] {
	const { updateStatus, removing } = service;
	const notes = [updateStatus?.state, removing ? "removing" : undefined].filter(Boolean);
	const tasks = [...snapshot.tasksOfService(service.id).values()].sort(
		(a, b) =>
			a.slot - b.slot ||
			(a.slot === 0 ? compareText(a.node ?? "", b.node ?? "") : 0) ||
			a.generation - b.generation,
	);
	return [
		["service", service.spec.name, ...notes].join(" "),
		...tasks.map((task) => `  ${showTask(snapshot, task)}`),
	];
}

/** `web.1#2 on n1 running/running serving 10.0.0.3` */
export function showTask(snapshot: Snapshot, task: Task): string {
	const { desired, serving, released, attachments, status } = task;
	return [
		taskLabel(snapshot, task),
		task.node ? `on ${nodeName(snapshot, task.node)}` : "nowhere",
		`${status.state}/${desired}`,
		serving ? "serving" : "",
		released ? "released" : "",
		...attachments.map(({ address }) => address),
		status.error && `(${status.error})`,
	]
		.filter((word) => word !== "")
		.join(" ");
}

/** Lines as a reader of a diff wants them: what, which, and the little that matters of it. */
export function showChanges(snapshot: Snapshot, changes: readonly Change[]): string[] {
	return changes.map((change) => showChange(snapshot, change));
}

function showChange(snapshot: Snapshot, change: Change): string {
	switch (change.kind) {
		case "put-cluster":
			return "put cluster";
		case "put-node": {
			const { status, spec } = change.node;
			return `put node ${change.node.description.hostname} ${status.state} ${spec.availability}`;
		}
		case "remove-node":
			return `remove node ${nodeName(snapshot, change.id)}`;
		case "put-network":
			return `put network ${change.network.name} ${change.network.vni} ${change.network.subnet}`;
		case "remove-network":
			return `remove network ${networkName(snapshot, change.id)}`;
		case "put-service": {
			const { spec, updateStatus, removing } = change.service;
			const notes = [updateStatus?.state, removing ? "removing" : undefined].filter(Boolean);
			return ["put service", spec.name, ...notes].join(" ");
		}
		case "remove-service":
			return `remove service ${serviceName(snapshot, change.id)}`;
		case "put-template":
			return `put template ${serviceName(snapshot, change.template.service)} ${change.template.version}`;
		case "remove-template":
			return `remove template ${serviceName(snapshot, change.service)} ${change.version}`;
		case "put-lease":
			return `put lease ${networkName(snapshot, change.lease.network)} ${showLease(change.lease)}`;
		case "remove-lease":
			return `remove lease ${networkName(snapshot, change.network)} ${change.address}`;
		case "put-task":
			return `put task ${showTask(snapshot, change.task)}`;
		case "task-status":
			return `${taskLabel(snapshot, snapshot.tasks.get(change.id))} is ${showStatus(change.status)}`;
		case "remove-task":
			return `remove task ${taskLabel(snapshot, snapshot.tasks.get(change.id))}`;
		case "put-material": {
			const { kind, name, versions } = change.material;
			return `put ${kind} ${name} ${versions.map(({ number }) => number).join(",")}`;
		}
		case "remove-material": {
			const material = snapshot.materials.get(change.id);
			return material ? `remove ${material.kind} ${material.name}` : `remove material ${change.id}`;
		}
		case "put-content": {
			const { material, version } = change.content;
			return `put content ${snapshot.materials.get(material)?.name ?? material} ${version}`;
		}
		case "put-application":
			return `put application ${change.application.spec.name}`;
		case "remove-application":
			return `remove application ${snapshot.applications.get(change.id)?.spec.name ?? change.id}`;
		case "put-deployment": {
			const { number, environment, phase, outcome } = change.deployment;
			return `put deployment #${number} to ${environment}: ${outcome ?? phase}`;
		}
		case "remove-deployment":
			return `remove deployment #${snapshot.deployments.get(change.id)?.number ?? change.id}`;
		case "put-build":
			return `put build ${change.build.commit.slice(0, 7)} ${change.build.desired}`;
		case "build-status":
			return `build ${change.id} is ${change.status.state}`;
		case "remove-build":
			return `remove build ${change.id}`;
	}
}

function showLease({ address, prefix, holder, releasedMs }: Lease): string {
	const block = prefix < 32 ? `${address}/${prefix}` : address;
	return `${block} ${releasedMs > 0 ? "rests after" : "is"} ${holder}`;
}

function showStatus({ state, error }: TaskStatus): string {
	return error ? `${state} (${error})` : state;
}

function taskLabel(snapshot: Snapshot, task: Task | undefined): string {
	if (!task) return "a task";
	const place = task.slot > 0 ? `${task.slot}` : nodeName(snapshot, task.node);
	return `${serviceName(snapshot, task.service)}.${place}#${task.generation}`;
}

function nodeName(snapshot: Snapshot, id: NodeId | null): string {
	return (id && snapshot.nodes.get(id)?.description.hostname) ?? id ?? "nowhere";
}

const serviceName = (snapshot: Snapshot, id: ServiceId) =>
	snapshot.services.get(id)?.spec.name ?? id;

const networkName = (snapshot: Snapshot, id: NetworkId) => snapshot.networks.get(id)?.name ?? id;
