// Assignments for tests of the mesh: a cluster in a few words, seen from one of its nodes.

import type { Assignment, Endpoint, Member } from "../../model/assignment.ts";
import { macOf } from "../../model/cidr.ts";
import type { ClusterId, NetworkId, NodeId, ServiceId, TaskId } from "../../model/id.ts";

export interface Scene {
	readonly nodes: readonly { readonly publicKey: string; readonly endpoints: readonly string[] }[];
	readonly networks: readonly SceneNetwork[];
}

export interface SceneNetwork {
	readonly name: string;
	readonly vni: number;
	readonly internal?: boolean;
	readonly attachable?: boolean;
	readonly ingress?: boolean;
	/** The members' addresses, each with the number of its node. */
	readonly at: Readonly<Record<string, number>>;
	/** MACs where they do not follow from the address; these members are attached containers. */
	readonly macs?: Readonly<Record<string, string>>;
	readonly vips?: readonly string[];
}

export const nodeId = (number: number) => `node${number}` as NodeId;
export const networkId = (name: string) => `id-${name}` as NetworkId;

/** Node n's gateway in the network with VNI v is 10.0.v.24n, its slice 10.0.v.(128 + 16n)/28. */
export function assignmentOf(scene: Scene, self: number, revision = 1): Assignment {
	const numbers = scene.nodes.map((_, index) => index + 1);
	const others = numbers.filter((number) => number !== self);
	return {
		protocol: 1,
		cluster: "cluster" as ClusterId,
		revision,
		self: {
			node: nodeId(self),
			hostname: `h${self}`,
			index: self,
			meshAddress: `10.200.0.${self}`,
			meshRange: "10.200.0.0/24",
			availability: "active",
		},
		peers: others.map((number) => ({
			node: nodeId(number),
			hostname: `h${number}`,
			index: number,
			meshAddress: `10.200.0.${number}`,
			publicKey: scene.nodes[number - 1]?.publicKey ?? "",
			endpoints: scene.nodes[number - 1]?.endpoints ?? [],
			down: false,
		})),
		networks: scene.networks.map((network) => ({
			id: networkId(network.name),
			name: network.name,
			vni: network.vni,
			subnet: `10.0.${network.vni}.0/24`,
			internal: network.internal ?? false,
			attachable: network.attachable ?? false,
			ingress: network.ingress ?? false,
			gateway: `10.0.${network.vni}.${240 + self}`,
			slice: network.attachable ? `10.0.${network.vni}.${128 + 16 * self}/28` : null,
			gateways: others.map((number) => ({
				node: nodeId(number),
				address: `10.0.${network.vni}.${240 + number}`,
			})),
			members: members(network),
			endpoints: endpoints(network),
		})),
		tasks: [],
	};
}

function members({ name, at, macs = {} }: SceneNetwork): Member[] {
	return Object.entries(at).map(([address, number]) => ({
		address,
		mac: macs[address] ?? macOf(address),
		node: nodeId(number),
		names: [],
		task: macs[address] === undefined ? (`task-${name}-${address}` as TaskId) : null,
		generation: macs[address] === undefined ? 1 : 0,
	}));
}

function endpoints({ vips = [], at }: SceneNetwork): Endpoint[] {
	return vips.map((vip, index) => ({
		service: `service${index}` as ServiceId,
		name: `web${index}`,
		aliases: [],
		vip,
		backends: Object.keys(at).toSorted(),
		ports: [],
	}));
}
