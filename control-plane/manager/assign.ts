// A snapshot, compiled for each node: all that it must run and know.
//
// What nodes have in common (the peers, a network's members and endpoints) is worked out once per compiler. An address
// leads to one container only: that of the newest task that may run in its slot, so a zombie cannot be reached.

import type {
	Assignment,
	Endpoint,
	Member,
	NetworkAssignment,
	Peer,
	TaskAssignment,
} from "../../model/assignment.ts";
import type { BuildAssignment } from "../../model/build.ts";
import { macOf, parseAddress } from "../../model/cidr.ts";
import type { NetworkId, NodeId, ServiceId } from "../../model/id.ts";
import type { ImageAssignment } from "../../model/image.ts";
import { must } from "../../model/invariant.ts";
import { defaultDrainMs, drainLabel, durationOf } from "../../model/labels.ts";
import { gatewayHolder, type Network, sliceHolder, vipHolder } from "../../model/network.ts";
import type { Node } from "../../model/node.ts";
import { protocolVersion } from "../../model/protocol.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun, type Task, taskName } from "../../model/task.ts";
import { isBefore, isTerminal } from "../../model/taskstate.ts";
import { ingressNetwork, networksOf } from "./allocator/allocate.ts";
import { isInSlice } from "./allocator/ipam.ts";
import { ingressPorts } from "./allocator/ports.ts";
import { imagesFor, keptImages } from "./images.ts";
import { compareText } from "./orchestrator/slot.ts";

/** All nodes ask at once when a revision is out: what they have in common is kept until the next write. */
const compilers = new WeakMap<Snapshot, Compiler & { readonly of: string }>();

export function assign(snapshot: Snapshot, node: NodeId): Assignment {
	const of = `${snapshot.revision} ${snapshot.version}`;
	const known = compilers.get(snapshot);
	if (known?.of === of) return known.assign(node);
	const fresh = { ...compiler(snapshot), of };
	compilers.set(snapshot, fresh);
	return fresh.assign(node);
}

export interface Compiler {
	assign(node: NodeId): Assignment;
}

/** For one moment: what is reported to the snapshot later is not seen. */
export function compiler(snapshot: Snapshot): Compiler {
	const nodes = [...snapshot.nodes.values()].sort((a, b) => a.index - b.index);
	const networks = [...snapshot.networks.values()].sort((a, b) => compareText(a.id, b.id));
	const peers = lazily(() => nodes.map(peerOf));
	const servicesByNetwork = lazily(() => servicesOfNetworks(snapshot));
	const kept = lazily(() => keptImages(snapshot));
	const shared = new Map<NetworkId, Shared>();
	const sharedOf = (network: Network) => {
		const known = shared.get(network.id);
		if (known) return known;
		const services = servicesByNetwork().get(network.id) ?? [];
		const fresh = compileNetwork(snapshot, network, services, nodes);
		shared.set(network.id, fresh);
		return fresh;
	};
	return {
		assign(id) {
			const node = must(snapshot.nodes.get(id), "an assignment is asked for a node that is known");
			return {
				protocol: protocolVersion,
				cluster: snapshot.cluster.id,
				revision: snapshot.revision,
				self: {
					node: id,
					hostname: node.description.hostname,
					index: node.index,
					meshAddress: node.meshAddress,
					meshRange: snapshot.cluster.meshRange,
					availability: node.spec.availability,
					...addressOf(node),
				},
				peers: peers().filter((peer) => peer.node !== id),
				networks: networks.flatMap((network) => {
					const gateway = snapshot.leaseOf(network.id, gatewayHolder(id))?.address;
					return gateway === undefined
						? []
						: [forNode(snapshot, network, sharedOf(network), id, gateway)];
				}),
				tasks: tasksFor(snapshot, id),
				...endedJobs(snapshot, id),
				...buildsFor(snapshot, id),
				...imagesOf(imagesFor(snapshot, id, kept())),
				...(snapshot.cluster.movedTo && { movedTo: snapshot.cluster.movedTo }),
				...agentOf(node),
			};
		},
	};
}

function buildsFor({ unsettled }: Snapshot, node: NodeId): Pick<Assignment, "builds"> {
	const mine = [...unsettled.builds.values()].filter((build) => build.node === node);
	if (mine.length === 0) return {};
	const told = mine.map(
		({
			application: _a,
			node: _n,
			createdMs: _c,
			made: _m,
			others: _o,
			of: _f,
			index: _i,
			status: _s,
			...build
		}): BuildAssignment => build,
	);
	return { builds: told.sort((a, b) => compareText(a.id, b.id)) };
}

const imagesOf = (images: readonly ImageAssignment[]): Pick<Assignment, "images"> =>
	images.length > 0 ? { images } : {};

function agentOf({ agentUpdate }: Node): Pick<Assignment, "agent"> {
	if (!agentUpdate) return {};
	const { version, sha256 } = agentUpdate;
	return { agent: { version, sha256 } };
}

/** What the hash of an assignment is taken over: canonical, and without the revision, which alone is no news. */
export function assignmentText(assignment: Assignment): string {
	const { revision: _revision, networks, ...rest } = assignment;
	const texts = networks.map(({ members, endpoints, ...own }) =>
		[canonical(own), textOf(members), textOf(endpoints)].join("\n"),
	);
	return [canonical(rest), ...texts].join("\n");
}

/** By what nodes have in common, which is most of the text. */
const texts = new WeakMap<object, string>();

function textOf(shared: object): string {
	const known = texts.get(shared);
	if (known !== undefined) return known;
	const fresh = canonical(shared);
	texts.set(shared, fresh);
	return fresh;
}

function canonical(value: object): string {
	return JSON.stringify(value, (_key, inner: unknown) => {
		if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
		return Object.fromEntries(Object.entries(inner).sort(([x], [y]) => compareText(x, y)));
	});
}

function peerOf(node: Node): Peer {
	const { addresses, publicKey, wireguardPort, hostname } = node.description;
	return {
		node: node.id,
		hostname,
		index: node.index,
		meshAddress: node.meshAddress,
		publicKey,
		endpoints: addresses.map((address) =>
			address.includes(":") ? `[${address}]:${wireguardPort}` : `${address}:${wireguardPort}`,
		),
		down: node.status.state === "down",
	};
}

/** The first that it tells is the one that it advertises, or its default route's. */
function addressOf({ description: { addresses } }: Node): { readonly address?: string } {
	const [address] = addresses;
	return address === undefined ? {} : { address };
}

/** What is the same on every node that has the network. */
interface Shared {
	readonly gateways: NetworkAssignment["gateways"];
	readonly members: readonly Member[];
	readonly endpoints: readonly Endpoint[];
}

function forNode(
	snapshot: Snapshot,
	network: Network,
	{ gateways, members, endpoints }: Shared,
	node: NodeId,
	gateway: string,
): NetworkAssignment {
	const { id, name, vni, subnet, internal, attachable, ingress } = network;
	const slice = attachable ? snapshot.leaseOf(id, sliceHolder(node)) : undefined;
	return {
		id,
		name,
		vni,
		subnet,
		internal,
		attachable,
		ingress,
		gateway,
		slice: slice ? `${slice.address}/${slice.prefix}` : null,
		gateways: gateways.filter((each) => each.node !== node),
		members,
		endpoints,
	};
}

function compileNetwork(
	snapshot: Snapshot,
	network: Network,
	services: readonly Service[],
	nodes: readonly Node[],
): Shared {
	const gateways = nodes.flatMap(({ id }) => {
		const lease = snapshot.leaseOf(network.id, gatewayHolder(id));
		return lease ? [{ node: id, address: lease.address }] : [];
	});
	const byAddress = new Map<string, { member: Member; task: Task | null }>();
	const backends = new Map<ServiceId, string[]>();
	for (const service of services) {
		for (const task of snapshot.tasksOfService(service.id).values()) {
			if (task.node === null || !isThere(task)) continue;
			const address = addressIn(task, network.id);
			if (address === undefined) continue;
			const known = byAddress.get(address)?.task;
			if (!known || leads(task, known)) {
				const member = memberOf(service, task, task.node, address);
				byAddress.set(address, { member, task });
			}
			if (!task.serving) continue;
			const list = backends.get(service.id);
			if (list) list.push(address);
			else backends.set(service.id, [address]);
		}
	}
	for (const member of attachedMembers(snapshot, network, nodes)) {
		if (!byAddress.has(member.address)) byAddress.set(member.address, { member, task: null });
	}
	return {
		gateways,
		members: [...byAddress.values()]
			.map(({ member }) => member)
			.sort((a, b) => compareAddress(a.address, b.address)),
		endpoints: services
			.filter((service) => !service.removing)
			.flatMap((service) => {
				const addresses = (backends.get(service.id) ?? []).sort(compareAddress);
				return endpointOf(snapshot, network, service, addresses);
			})
			.sort((a, b) => compareText(a.service, b.service)),
	};
}

/** It was handed to its node and has not ended. */
function isThere(task: Task): boolean {
	return !isTerminal(task.status.state) && !isBefore(task.status.state, "assigned");
}

/**
 * Which of two tasks of a slot its address leads to: the newer, but one that is held back only once the other is gone,
 * so that connections to the one that winds down end well.
 */
function leads(task: Task, other: Task): boolean {
	const isHeld = (each: Task) => each.desired === "ready";
	if (isHeld(task) !== isHeld(other)) return isHeld(other);
	return task.generation > other.generation;
}

function memberOf(service: Service, task: Task, node: NodeId, address: string): Member {
	const { name } = service.spec;
	const place = task.slot > 0 ? `${task.slot}` : node;
	return {
		address,
		mac: macOf(address),
		node,
		names: [`${name}.${place}`, taskName(name, task)],
		task: task.id,
		generation: task.generation,
	};
}

/** Containers that people attached: only at addresses of their node's own slice, whatever the node says. */
function attachedMembers(snapshot: Snapshot, network: Network, nodes: readonly Node[]): Member[] {
	if (!network.attachable) return [];
	return nodes.flatMap((node) => {
		if (node.attached.length === 0) return [];
		const slice = snapshot.leaseOf(network.id, sliceHolder(node.id));
		if (!slice) return [];
		return node.attached
			.filter((each) => each.network === network.id && isInSlice(slice, each.address))
			.map(({ address, mac, name, aliases }) => ({
				address,
				mac,
				node: node.id,
				names: [...new Set([name, ...aliases])],
				task: null,
				generation: 0,
			}));
	});
}

function endpointOf(
	snapshot: Snapshot,
	network: Network,
	service: Service,
	backends: readonly string[],
): Endpoint[] {
	const listed = service.spec.template.networks.find((each) => each.network === network.id);
	const published = network.ingress ? ingressPorts(service) : [];
	if (!listed && published.length === 0 && backends.length === 0) return [];
	return [
		{
			service: service.id,
			name: service.spec.name,
			aliases: listed?.aliases ?? [],
			vip: snapshot.leaseOf(network.id, vipHolder(service.id))?.address ?? null,
			backends,
			ports: published.map(({ protocol, published: port, target }) => ({
				protocol,
				published: port,
				target,
			})),
		},
	];
}

function servicesOfNetworks(snapshot: Snapshot): Map<NetworkId, Service[]> {
	const found = new Map<NetworkId, Service[]>();
	const ingress = ingressNetwork(snapshot);
	for (const service of snapshot.services.values()) {
		for (const id of networksOf(snapshot, service)) {
			// Tasks that were made while ports were published may still be there without.
			if (id === ingress?.id && !mayBeInIngress(snapshot, service, id)) continue;
			const list = found.get(id);
			if (list) list.push(service);
			else found.set(id, [service]);
		}
	}
	return found;
}

function mayBeInIngress(snapshot: Snapshot, service: Service, ingress: NetworkId): boolean {
	if (ingressPorts(service).length > 0) return true;
	for (const task of snapshot.tasksOfService(service.id).values()) {
		if (task.attachments[0]?.network === ingress) return true;
	}
	return false;
}

function tasksFor(snapshot: Snapshot, node: NodeId): TaskAssignment[] {
	const found: TaskAssignment[] = [];
	for (const task of snapshot.tasksOfNode(node).values()) {
		if (!isThere(task)) continue;
		const service = snapshot.services.get(task.service);
		const template = snapshot.template(task.service, task.templateVersion);
		if (!service || !template) continue;
		found.push({
			id: task.id,
			name: taskName(service.spec.name, task),
			service: { id: service.id, name: service.spec.name, labels: service.spec.labels },
			slot: task.slot,
			generation: task.generation,
			...stopOn(service, task),
			...(task.iteration !== undefined && { job: true as const }),
			template: template.template,
			attachments: task.attachments,
			hostPorts: template.hostPorts,
			...((service.spec.registryAuth || service.spec.loginOf) && { registryAuth: true }),
			...(task.genericResources && { genericResources: task.genericResources }),
		});
	}
	return found.sort((a, b) => compareText(a.id, b.id));
}

/** A machine's disk is no archive: the last ones of each job. */
const keptPerJob = 20;

/** A job's work is read when it is done, when nothing else of the service may be left on the node. */
function endedJobs(snapshot: Snapshot, node: NodeId): Pick<Assignment, "ended"> {
	const tasks = [...snapshot.tasksOfNode(node).values()].filter(
		({ iteration, status, desired }) =>
			iteration !== undefined && isTerminal(status.state) && desired !== "remove",
	);
	if (tasks.length === 0) return {};
	const kept = [...Map.groupBy(tasks, ({ service }) => service).values()].flatMap((ofJob) =>
		ofJob.sort((a, b) => b.createdMs - a.createdMs || compareText(a.id, b.id)).slice(0, keptPerJob),
	);
	return { ended: kept.map(({ id }) => id).sort(compareText) };
}

/** A stop waits until nobody's tables lead there any more. A service that goes altogether keeps nobody waiting. */
function stopOn(service: Service, task: Task): Pick<TaskAssignment, "desired" | "drainMs"> {
	if (task.desired === "ready") return { desired: "ready" };
	if (isMeantToRun(task) || !task.released) return { desired: "running" };
	const drainMs = durationOf(service.spec.labels, drainLabel, defaultDrainMs);
	return { desired: "shutdown", ...(!service.removing && drainMs > 0 && { drainMs }) };
}

function addressIn(task: Task, network: NetworkId): string | undefined {
	return task.attachments.find((each) => each.network === network)?.address;
}

function compareAddress(a: string, b: string): number {
	return (parseAddress(a) ?? 0) - (parseAddress(b) ?? 0);
}

function lazily<Value>(make: () => Value): () => Value {
	let made: { readonly value: Value } | undefined;
	return () => {
		made ??= { value: make() };
		return made.value;
	};
}
