// The mesh and the overlays as data: what the kernel and the engine should have, whole, given an assignment.
//
// Pure. `wireguard.ts`, `vxlan.ts` and `networks.ts` compare this with what is there and apply the difference. VIP and
// port rules, names and containers are not here.

import type { Assignment, Member, NetworkAssignment, Peer } from "../../model/assignment.ts";
import { contains, macOf, parseAddress, parseRange } from "../../model/cidr.ts";
import type { NetworkId, NodeId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import { bridgeName, gatewayMac, vxlanName } from "../../model/mesh.ts";
import type { AttachedContainer } from "../../model/node.ts";

/** What an assignment cannot know of the machine. */
export interface Local {
	/** The largest packet that the way to the peers carries. */
	readonly underlayMtu: number;
	/** The machine's own addresses with their ranges: `192.168.77.1/24`. */
	readonly addresses: readonly string[];
	readonly wireguardPort: number;
	/** What runs here in our networks by plain `docker run`: we know sooner than the assignment does. */
	readonly attached: readonly AttachedContainer[];
	/** What the mesh carries to peers whose path is narrower than all promise. */
	readonly narrow?: ReadonlyMap<NodeId, number>;
}

export interface Topology {
	readonly mesh: Mesh;
	/** Sorted by VNI. */
	readonly overlays: readonly Overlay[];
	/** Sorted by name. */
	readonly dockerNetworks: readonly DockerNetwork[];
}

export interface Mesh {
	readonly address: string;
	readonly prefix: number;
	readonly port: number;
	readonly mtu: number;
	/** Sorted by public key. */
	readonly peers: readonly MeshPeer[];
}

export interface MeshPeer {
	readonly node: NodeId;
	readonly hostname: string;
	/** Given up by the control plane: its silence is no news. */
	readonly down: boolean;
	readonly publicKey: string;
	readonly meshAddress: string;
	/** Where to try, best first. Empty for a peer that can only call us. */
	readonly endpoints: readonly string[];
	/** The largest packet for it where its path is narrower than the mesh's MTU. */
	readonly mtu: number | null;
}

export interface Overlay {
	readonly network: NetworkId;
	readonly vni: number;
	readonly bridge: string;
	readonly vxlan: string;
	/** The bridge's hardware address. */
	readonly mac: string;
	readonly mtu: number;
	/** This end of the tunnels: our mesh address. */
	readonly local: string;
	/** The bridge's addresses with prefixes: the gateway first, then VIPs, so that they answer pings. */
	readonly addresses: readonly string[];
	/** Everything that lives in the network, sorted by address. */
	readonly neighbours: readonly Neighbour[];
}

export interface Neighbour {
	readonly address: string;
	readonly mac: string;
	/** The mesh address of its node; null when it is here. */
	readonly via: string | null;
}

/** The engine's own idea of an overlay: a bridge network over a bridge that we made. */
export interface DockerNetwork {
	readonly id: NetworkId;
	readonly name: string;
	readonly bridge: string;
	readonly subnet: string;
	readonly gateway: string;
	/** From where the engine gives addresses to containers that do not bring one. */
	readonly range: string;
	readonly internal: boolean;
	readonly mtu: number;
}

/** WireGuard over IPv6 adds 80 bytes, over IPv4 60: we leave room for either, so that all nodes agree. */
const wireguardOverhead = 80;
/** Ethernet, IPv4, UDP and VXLAN headers. */
const vxlanOverhead = 50;
/** A node with jumbo frames must not send what its peers' paths do not carry. */
const largestUnderlay = 1500;
/** What IPv4 promises to carry. */
const smallestMesh = 576 + vxlanOverhead;

/**
 * Engines before 28 lead a container's default route through the network whose name sorts first, and published ports
 * need it to be the ingress network. No overlay's name begins with a dot, and it sorts before letters and digits.
 */
export const ingressName = ".ingress";

export function topology(assignment: Assignment, local: Local): Topology {
	const mtu = meshMtu(local.underlayMtu);
	return {
		mesh: mesh(assignment, local, mtu),
		overlays: assignment.networks
			.map((network) => overlay(assignment, network, local, mtu - vxlanOverhead))
			.toSorted((a, b) => a.vni - b.vni),
		dockerNetworks: assignment.networks
			.map((network) => dockerNetwork(network, mtu - vxlanOverhead))
			.toSorted((a, b) => compareText(a.name, b.name)),
	};
}

export function meshMtu(underlayMtu: number): number {
	return Math.max(Math.min(underlayMtu, largestUnderlay) - wireguardOverhead, smallestMesh);
}

/** What the engine calls an overlay on this node. */
export function localName(network: Pick<NetworkAssignment, "name" | "ingress">): string {
	return network.ingress ? ingressName : network.name;
}

function mesh({ self, peers }: Assignment, local: Local, mtu: number): Mesh {
	const range = must(parseRange(self.meshRange), `the mesh is a range: ${self.meshRange}`);
	return {
		address: self.meshAddress,
		prefix: range.prefix,
		port: local.wireguardPort,
		mtu,
		peers: peers
			.filter((peer) => peer.publicKey !== "")
			.map((peer) => ({
				node: peer.node,
				hostname: peer.hostname,
				down: peer.down,
				publicKey: peer.publicKey,
				meshAddress: peer.meshAddress,
				endpoints: nearestFirst(peer.endpoints, local.addresses),
				mtu: local.narrow?.get(peer.node) ?? null,
			}))
			.toSorted((a, b) => compareText(a.publicKey, b.publicKey)),
	};
}

/** An endpoint on one of our own links before any that goes through a router; otherwise as they came. */
function nearestFirst(endpoints: readonly string[], addresses: readonly string[]): string[] {
	const links = addresses
		.map(parseRange)
		.filter((range) => range !== undefined)
		.filter((range) => range.prefix < 32);
	const distance = (endpoint: string) => {
		const address = parseAddress(endpoint.slice(0, endpoint.lastIndexOf(":")));
		if (address === undefined) return 1;
		return links.some((link) => contains(link, address)) ? 0 : 1;
	};
	return endpoints.toSorted((a, b) => distance(a) - distance(b));
}

function overlay(
	{ self, peers }: Assignment,
	network: NetworkAssignment,
	local: Local,
	mtu: number,
): Overlay {
	const subnet = must(parseRange(network.subnet), `a network has a subnet: ${network.subnet}`);
	const vips = network.endpoints.flatMap(({ vip }) => vip ?? []);
	return {
		network: network.id,
		vni: network.vni,
		bridge: bridgeName(network.vni),
		vxlan: vxlanName(network.vni),
		mac: gatewayMac(self.index),
		mtu,
		local: self.meshAddress,
		addresses: [
			`${network.gateway}/${subnet.prefix}`,
			...[...new Set(vips)].toSorted(compareAddress).map((vip) => `${vip}/32`),
		],
		neighbours: neighbours(network, self.node, peers, local.attached),
	};
}

/**
 * Tasks, attached containers, and the other nodes' bridges: those too, or a node could not talk to a container
 * elsewhere. What is of a node that we do not know cannot be reached and is left out.
 */
function neighbours(
	network: NetworkAssignment,
	self: NodeId,
	peers: readonly Peer[],
	attached: readonly AttachedContainer[],
): Neighbour[] {
	const byNode = new Map(peers.map((peer) => [peer.node, peer]));
	const found = new Map<string, Neighbour>();
	for (const { address, node } of network.gateways) {
		const peer = byNode.get(node);
		if (!peer) continue;
		found.set(address, { address, mac: gatewayMac(peer.index), via: peer.meshAddress });
	}
	const isHere = (member: Member) => member.node === self;
	for (const member of network.members) {
		const via = isHere(member) ? null : byNode.get(member.node)?.meshAddress;
		// Our own attached containers come and go faster than the assignment is told.
		if (via === undefined || (via === null && member.task === null)) continue;
		found.set(member.address, { address: member.address, mac: member.mac, via });
	}
	for (const container of attached) {
		if (container.network !== network.id || found.has(container.address)) continue;
		const { address, mac } = container;
		found.set(address, { address, mac: mac || macOf(address), via: null });
	}
	return [...found.values()].toSorted((a, b) => compareAddress(a.address, b.address));
}

function dockerNetwork(network: NetworkAssignment, mtu: number): DockerNetwork {
	return {
		id: network.id,
		name: localName(network),
		bridge: bridgeName(network.vni),
		subnet: network.subnet,
		gateway: network.gateway,
		// Of a network that people may not join, the engine has nothing to give but what is taken: it refuses.
		range: network.slice ?? `${network.gateway}/32`,
		internal: network.internal,
		mtu,
	};
}

function compareText(a: string, b: string): number {
	if (a === b) return 0;
	return a < b ? -1 : 1;
}

function compareAddress(a: string, b: string): number {
	return (parseAddress(a) ?? 0) - (parseAddress(b) ?? 0);
}
