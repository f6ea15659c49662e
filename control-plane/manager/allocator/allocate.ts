// Addresses for everything that needs one: networks, services, slots, and the nodes' own part in each network.
//
// A slot's lease is the slot's, not the task's: it stays through restarts, updates, moves and the loss of a node, and
// ends with the slot (reaper.ts). What cannot be had is said in the waiting task's status.

import type { Moment } from "../../../model/change.ts";
import type { NetworkId, NodeId, ServiceId } from "../../../model/id.ts";
import {
	gatewayHolder,
	type Network,
	quarantineMs,
	sliceHolder,
	slotHolder,
	vipHolder,
} from "../../../model/network.ts";
import type { Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { type Attachment, isMeantToRun, type Task } from "../../../model/task.ts";
import { isBefore, isTerminal } from "../../../model/taskstate.ts";
import type { Draft } from "../draft.ts";
import { setStatus } from "../orchestrator/slot.ts";
import {
	type Cursor,
	chooseSubnet,
	exhausted,
	isFull,
	leaseAddress,
	leaseSlice,
	release,
} from "./ipam.ts";
import { choosePorts, ingressPorts } from "./ports.ts";

/** Numbers below are left to what people set up by hand; 1 is the probe's. */
const firstVni = 4096;

/** Resting addresses whose time is over are free again. The networks that were full until now. */
export function endQuarantine(draft: Draft, { nowMs }: Moment): Network[] {
	const over = [...draft.unsettled.leases.values()].filter(
		({ releasedMs }) => releasedMs + quarantineMs <= nowMs,
	);
	const networks = new Set(over.map(({ network }) => network));
	const full = [...networks].flatMap((id) => {
		const network = draft.networks.get(id);
		return network && isFull(draft, network) ? [network] : [];
	});
	for (const { network, address } of over) draft.put({ kind: "remove-lease", network, address });
	return full;
}

/** Those that could not get their virtual address: with no task that waits, nothing else would remind of them. */
export function servicesWithoutVip(draft: Draft, networks: readonly Network[]): ServiceId[] {
	if (networks.length === 0) return [];
	return [...draft.services.values()]
		.filter((service) => networks.some((network) => lacksVip(draft, service, network)))
		.map(({ id }) => id);
}

/** Numbers and subnets for new networks. True where a network became usable. */
export function allocateNetworks(draft: Draft): boolean {
	const waiting = [...draft.networks.values()].filter(
		({ vni, subnet }) => vni === 0 || subnet === "",
	);
	let any = false;
	for (const network of waiting) {
		const vni = network.vni || freeVni(draft);
		const subnet = network.subnet || (chooseSubnet(draft, network) ?? "");
		any ||= network.subnet !== subnet;
		draft.put({ kind: "put-network", network: { ...network, vni, subnet } });
	}
	return any;
}

function freeVni(snapshot: Snapshot): number {
	const used = new Set([...snapshot.networks.values()].map(({ vni }) => vni));
	let vni = firstVni;
	while (used.has(vni)) vni++;
	return vni;
}

/** The service's ports and its virtual addresses. */
export function allocateService(draft: Draft, { nowMs }: Moment, service: Service): void {
	choosePorts(draft, service);
	const wanted = new Set(
		service.spec.endpointMode === "vip"
			? service.spec.template.networks.map(({ network }) => network)
			: [],
	);
	for (const id of networksOf(draft, service)) {
		const network = draft.networks.get(id);
		if (!network || network.ingress) continue;
		if (wanted.has(id)) leaseAddress(draft, network, vipHolder(service.id));
		else release(draft, id, vipHolder(service.id), nowMs);
	}
}

/** All networks that the service has, or may still have, an address in. */
export function networksOf(snapshot: Snapshot, { id, spec }: Service): ReadonlySet<NetworkId> {
	const templates = [spec.template, ...snapshot.templatesOfService(id).map((t) => t.template)];
	const networks = new Set(templates.flatMap((t) => t.networks.map(({ network }) => network)));
	const ingress = ingressNetwork(snapshot);
	if (ingress) networks.add(ingress.id);
	return networks;
}

export function ingressNetwork(snapshot: Snapshot): Network | undefined {
	for (const network of snapshot.networks.values()) if (network.ingress) return network;
	return undefined;
}

/** New tasks get their slots' addresses, and wait for a node from then on; or for an address, and say so. */
export function allocateTasks(draft: Draft, moment: Moment): void {
	const ingress = ingressNetwork(draft);
	const networks = new Map<string, readonly Network[] | { readonly reason: string }>();
	const neighbours = new Map<ServiceId, ReadonlyMap<string, readonly Task[]>>();
	for (const task of [...draft.unsettled.tasks.values()]) {
		if (!isBefore(task.status.state, "assigned")) continue;
		const service = draft.services.get(task.service);
		if (!service) continue;
		const key = `${task.service}:${task.templateVersion}`;
		const wanted = networks.get(key) ?? wantedNetworks(draft, service, task, ingress);
		networks.set(key, wanted);
		if ("reason" in wanted) {
			wait(draft, moment, task, wanted.reason);
			continue;
		}
		if (wanted.length === task.attachments.length && task.status.state !== "new") continue;
		const attachments = attach(draft, task, wanted, neighbours);
		if ("reason" in attachments) {
			wait(draft, moment, task, attachments.reason);
			continue;
		}
		draft.put({ kind: "put-task", task: { ...task, attachments } });
		wait(draft, moment, task, "");
	}
}

export const pendingMessage = "pending task scheduling";

function wait(draft: Draft, moment: Moment, task: Task, error: string): void {
	const current = draft.tasks.get(task.id);
	if (!current) return;
	setStatus(draft, moment, current, { state: "pending", message: pendingMessage, error });
}

/** The ingress network first: its bridge is the default route, so that answers to the outside leave where they came in. */
function wantedNetworks(
	draft: Draft,
	service: Service,
	task: Task,
	ingress: Network | undefined,
): readonly Network[] | { readonly reason: string } {
	const wanted: Network[] = [];
	if (ingressPorts(service).length > 0) {
		if (!ingress) return { reason: "the cluster has no ingress network for the published ports" };
		wanted.push(ingress);
	}
	const template = draft.template(task.service, task.templateVersion)?.template;
	for (const { network: id } of template?.networks ?? []) {
		const network = draft.networks.get(id);
		if (!network) return { reason: `network ${id} is not there any more` };
		wanted.push(network);
	}
	const bare = wanted.find((network) => lacksVip(draft, service, network));
	if (bare?.subnet) return { reason: exhausted(bare) };
	const empty = wanted.find(({ subnet }) => subnet === "");
	if (empty) {
		return {
			reason: `network ${empty.name} has no subnet: the address pools (${draft.cluster.addressPools.join(", ")}) have none that is free on every node`,
		};
	}
	return wanted;
}

function lacksVip(draft: Draft, service: Service, { id, ingress }: Network): boolean {
	return (
		!ingress &&
		service.spec.endpointMode === "vip" &&
		service.spec.template.networks.some(({ network }) => network === id) &&
		!draft.leaseOf(id, vipHolder(service.id))
	);
}

function attach(
	draft: Draft,
	task: Task,
	networks: readonly Network[],
	neighbours: Neighbours,
): readonly Attachment[] | { readonly reason: string } {
	const attachments: Attachment[] = [];
	for (const network of networks) {
		const lease = leaseAddress(draft, network, holderFor(draft, task, network.id, neighbours));
		if ("reason" in lease) return lease;
		attachments.push({ network: network.id, address: lease.address });
	}
	return attachments;
}

/**
 * The slot's address, unless a task that is meant to run beside this one has it (updates that start first). That
 * one's successor gets the slot's second address, which becomes the slot's when the first task is gone.
 */
function holderFor(draft: Draft, task: Task, network: NetworkId, neighbours: Neighbours): string {
	const holder = slotHolder(task);
	const lease = draft.leaseOf(network, holder);
	if (!lease || task.generation === 1) return holder;
	let slots = neighbours.get(task.service);
	if (!slots) {
		slots = Map.groupBy(
			[...draft.tasksOfService(task.service).values()].filter(isMeantToRun),
			slotHolder,
		);
		neighbours.set(task.service, slots);
	}
	const isTaken = (slots.get(holder) ?? []).some(
		(other) =>
			other.id !== task.id &&
			other.attachments.some((each) => each.network === network && each.address === lease.address),
	);
	return isTaken ? second(holder) : holder;
}

/** Tasks meant to run, by the holder's name of their slot; looked up once for each service. */
type Neighbours = Map<ServiceId, ReadonlyMap<string, readonly Task[]>>;

const second = (holder: string) => `${holder}:second`;

/** Where the slot's first address has nobody left and a task lives at the second, that is now the slot's. */
export function settleAddresses(draft: Draft, { nowMs }: Moment, tasks: readonly Task[]): void {
	if (tasks.length < 2) return;
	for (const task of tasks) {
		if (!isMeantToRun(task) || isTerminal(task.status.state)) continue;
		for (const { network, address } of task.attachments) {
			const holder = slotHolder(task);
			const first = draft.leaseOf(network, holder);
			if (!first || first.address === address) continue;
			const isUsed = tasks.some(
				(other) =>
					!isTerminal(other.status.state) &&
					other.attachments.some(
						(each) => each.network === network && each.address === first.address,
					),
			);
			const mine = draft.leaseOf(network, second(holder));
			if (isUsed || mine?.address !== address) continue;
			release(draft, network, holder, nowMs);
			draft.put({ kind: "put-lease", lease: { ...mine, holder } });
		}
	}
}

/** The slot is no more. */
export function releaseSlot(
	draft: Draft,
	{ nowMs }: Moment,
	networks: Iterable<NetworkId>,
	slot: { readonly service: ServiceId; readonly slot: number; readonly node: NodeId | null },
): void {
	for (const network of networks) {
		release(draft, network, slotHolder(slot), nowMs);
		release(draft, network, second(slotHolder(slot)), nowMs);
	}
}

/**
 * The node's part in its networks. A gateway's lease says that the node has the network: all nodes have the ingress
 * and the attachable ones, the others while a task of theirs is there.
 */
export function allocateNode(draft: Draft, { nowMs }: Moment, id: NodeId, slices: Cursor): void {
	const isKnown = draft.nodes.has(id);
	const used = new Set<NetworkId>();
	for (const task of isKnown ? draft.tasksOfNode(id).values() : []) {
		if (isTerminal(task.status.state) || isBefore(task.status.state, "assigned")) continue;
		for (const { network } of task.attachments) used.add(network);
	}
	for (const network of draft.networks.values()) {
		const isWanted = isKnown && (network.ingress || network.attachable || used.has(network.id));
		if (isWanted && network.subnet !== "") {
			leaseAddress(draft, network, gatewayHolder(id));
			if (network.attachable) leaseSlice(draft, network, sliceHolder(id), slices);
			continue;
		}
		release(draft, network.id, gatewayHolder(id), nowMs);
		release(draft, network.id, sliceHolder(id), nowMs);
	}
}

/** Whether the node has, or can have, what the task needs of it in its networks; the reason if not. */
export function admit(draft: Draft, task: Task, node: NodeId): string | undefined {
	for (const { network: id } of task.attachments) {
		const network = draft.networks.get(id);
		const lease = network && leaseAddress(draft, network, gatewayHolder(node));
		if (lease && "reason" in lease) return lease.reason;
	}
	return undefined;
}
