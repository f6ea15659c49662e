// Assignments for tests of VIPs and ports: a few networks and services in a few words, seen from one of the nodes.

import type { Assignment, Endpoint, Member } from "../../model/assignment.ts";
import { macOf } from "../../model/cidr.ts";
import type { ClusterId, NetworkId, NodeId, ServiceId, TaskId } from "../../model/id.ts";
import type { Protocol } from "../../model/service.ts";

export interface Scene {
	/** Nodes are numbered from 1. */
	readonly nodes: number;
	readonly networks: readonly SceneNetwork[];
}

export interface SceneNetwork {
	readonly name: string;
	readonly vni: number;
	readonly internal?: boolean;
	readonly ingress?: boolean;
	/** Who lives in it: address and the node's number. */
	readonly at: Readonly<Record<string, number>>;
	readonly services?: readonly SceneService[];
}

export interface SceneService {
	readonly name: string;
	readonly vip?: string;
	readonly backends: readonly string[];
	readonly ports?: readonly { protocol: Protocol; published: number; target: number }[];
}

export const nodeId = (number: number) => `node${number}` as NodeId;

/** Node n's gateway in the network with VNI v is 10.0.v.24n. */
export function assignmentOf(scene: Scene, self: number): Assignment {
	const numbers = Array.from({ length: scene.nodes }, (_, at) => at + 1);
	const others = numbers.filter((number) => number !== self);
	return {
		protocol: 1,
		cluster: "cluster" as ClusterId,
		revision: 1,
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
			publicKey: `key${number}`,
			endpoints: [`192.168.79.${number}:51820`],
			down: false,
		})),
		networks: scene.networks.map((network) => ({
			id: `id-${network.name}` as NetworkId,
			name: network.name,
			vni: network.vni,
			subnet: `10.0.${network.vni}.0/24`,
			internal: network.internal ?? false,
			attachable: false,
			ingress: network.ingress ?? false,
			gateway: `10.0.${network.vni}.${240 + self}`,
			slice: null,
			gateways: others.map((number) => ({
				node: nodeId(number),
				address: `10.0.${network.vni}.${240 + number}`,
			})),
			members: Object.entries(network.at).map(([address, number]) => member(address, number)),
			endpoints: (network.services ?? []).map(endpoint),
		})),
		tasks: [],
	};
}

function member(address: string, number: number): Member {
	return {
		address,
		mac: macOf(address),
		node: nodeId(number),
		names: [`at-${address}`],
		task: `task-${address}` as TaskId,
		generation: 1,
	};
}

function endpoint({ name, vip, backends, ports = [] }: SceneService): Endpoint {
	return {
		service: `id-${name}` as ServiceId,
		name,
		aliases: [],
		vip: vip ?? null,
		backends: backends.toSorted(),
		ports,
	};
}
