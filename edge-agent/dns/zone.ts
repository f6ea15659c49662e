// The names a node's containers may use: what each means, in which network, and who may see which network.
//
// Pure: an assignment in, a zone out. `answer.ts` looks names up in it.

import type { Assignment, Endpoint, Member, NetworkAssignment } from "../../model/assignment.ts";
import { contains, parseAddress, parseRange, type Range } from "../../model/cidr.ts";
import type { NetworkId, NodeId } from "../../model/id.ts";

export interface Zone {
	/** Sorted by name: where a name means something in two networks, the first one's meaning wins. */
	readonly networks: readonly ZoneNetwork[];
	/** The networks of whoever has the address, where he is known. */
	readonly scopeOf: ReadonlyMap<string, ReadonlySet<NetworkId>>;
	/** The node itself, whose programs see everything the node does. */
	readonly own: ReadonlySet<string>;
}

export interface ZoneNetwork {
	readonly id: NetworkId;
	/** In lower case, as all names here. */
	readonly name: string;
	readonly range: Range | undefined;
	/** A name that is known and has no addresses (no task serves) is there with an empty list. */
	readonly addresses: ReadonlyMap<string, readonly string[]>;
	/** Address to name, for reverse look-ups. */
	readonly names: ReadonlyMap<string, string>;
}

export function zone({ self, peers, networks }: Assignment): Zone {
	const scopeOf = new Map<string, ReadonlySet<NetworkId>>();
	const owners = new Map<string, Set<NetworkId>>();
	const nodes = new Map<NodeId, Set<NetworkId>>();
	for (const network of networks) {
		for (const member of network.members) {
			const scope = add(owners, ownerOf(member), network.id);
			scopeOf.set(member.address, scope);
			add(nodes, member.node, network.id);
		}
	}
	// A container whose own node is silent asks the next node, and comes in that node's name.
	for (const { node, meshAddress } of peers) {
		scopeOf.set(meshAddress, nodes.get(node) ?? new Set());
	}
	return {
		networks: networks.map(zoneNetwork).toSorted((a, b) => compareText(a.name, b.name)),
		scopeOf,
		own: new Set([self.meshAddress, ...networks.map(({ gateway }) => gateway)]),
	};
}

/** The networks in which this address may look names up; everything for the node itself, nothing for strangers. */
export function scope(zone: Zone, source: string): readonly ZoneNetwork[] {
	const known = zone.scopeOf.get(source);
	if (known) return zone.networks.filter(({ id }) => known.has(id));
	if (zone.own.has(source) || source.startsWith("127.")) return zone.networks;
	// A container that started a moment ago, of which the assignment does not tell yet.
	const address = parseAddress(source) ?? -1;
	return zone.networks.filter(({ range }) => range && contains(range, address));
}

/** One container is one asker, whichever of its addresses it asks from. */
function ownerOf({ task, node, names, address }: Member): string {
	return task ?? `${node} ${names[0] ?? address}`;
}

function zoneNetwork(network: NetworkAssignment): ZoneNetwork {
	const addresses = new Map<string, string[]>();
	const names = new Map<string, string>();
	const name = network.name.toLowerCase();
	// Services are not found by name through the network that carries published ports: it joins them all.
	if (!network.ingress) {
		for (const endpoint of network.endpoints) addEndpoint(addresses, names, endpoint, name);
	}
	const services = new Set(addresses.keys());
	for (const member of network.members) {
		if (member.names[0] !== undefined) names.set(member.address, `${member.names[0]}.${name}`);
		if (network.ingress) continue;
		for (const own of member.names) {
			const key = own.toLowerCase();
			// Nobody becomes a service's address by taking its name.
			if (!services.has(key)) push(addresses, key, [member.address]);
		}
	}
	return { id: network.id, name, range: parseRange(network.subnet), addresses, names };
}

function addEndpoint(
	addresses: Map<string, string[]>,
	names: Map<string, string>,
	endpoint: Endpoint,
	network: string,
): void {
	const { vip, backends } = endpoint;
	for (const own of [endpoint.name, ...endpoint.aliases]) {
		push(addresses, own.toLowerCase(), vip ? [vip] : backends);
		push(addresses, `tasks.${own.toLowerCase()}`, backends);
	}
	if (vip) names.set(vip, `${endpoint.name}.${network}`);
}

function push(lists: Map<string, string[]>, key: string, values: readonly string[]): void {
	const list = lists.get(key);
	if (!list) lists.set(key, [...values]);
	else list.push(...values.filter((value) => !list.includes(value)));
}

function add<Key>(sets: Map<Key, Set<NetworkId>>, key: Key, value: NetworkId): Set<NetworkId> {
	const known = sets.get(key) ?? new Set();
	sets.set(key, known.add(value));
	return known;
}

function compareText(a: string, b: string): number {
	if (a === b) return 0;
	return a < b ? -1 : 1;
}
