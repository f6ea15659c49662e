// A small cluster's names, seen from node 1: two overlays, the ingress network, and somebody on each.

import type { Assignment, Member, NetworkAssignment } from "../../model/assignment.ts";
import { macOf } from "../../model/cidr.ts";
import type { ClusterId, NetworkId, NodeId, ServiceId, TaskId } from "../../model/id.ts";

const node = (number: number) => `node${number}` as NodeId;

function member(address: string, number: number, names: string[], task: string | null): Member {
	return {
		address,
		mac: macOf(address),
		node: node(number),
		names,
		task: task as TaskId | null,
		generation: 1,
	};
}

function network(
	name: string,
	vni: number,
	rest: Pick<NetworkAssignment, "members" | "endpoints"> & Partial<NetworkAssignment>,
): NetworkAssignment {
	return {
		id: `id-${name}` as NetworkId,
		name,
		vni,
		subnet: `10.0.${vni}.0/24`,
		internal: false,
		attachable: true,
		ingress: false,
		gateway: `10.0.${vni}.241`,
		slice: null,
		gateways: [],
		...rest,
	};
}

const service = (name: string) => name as ServiceId;

/** web has two tasks in blue, one of them in red too; redis is dnsrr; the container tool was attached to blue and red. */
export const assignment: Assignment = {
	protocol: 1,
	cluster: "cluster" as ClusterId,
	revision: 1,
	self: {
		node: node(1),
		hostname: "h1",
		index: 1,
		meshAddress: "10.200.0.1",
		meshRange: "10.200.0.0/24",
		availability: "active",
	},
	peers: [2, 3].map((index) => ({
		node: node(index),
		hostname: `h${index}`,
		index,
		meshAddress: `10.200.0.${index}`,
		publicKey: "",
		endpoints: [],
		down: false,
	})),
	networks: [
		network("ingress", 10, {
			ingress: true,
			members: [member("10.0.10.11", 1, ["web.1", "web.1.abc"], "abc")],
			endpoints: [
				{
					service: service("web"),
					name: "web",
					aliases: [],
					vip: null,
					backends: ["10.0.10.11"],
					ports: [{ protocol: "tcp", published: 80, target: 80 }],
				},
			],
		}),
		network("blue", 5, {
			members: [
				member("10.0.5.11", 1, ["web.1", "web.1.abc"], "abc"),
				member("10.0.5.12", 2, ["web.2", "web.2.def"], "def"),
				member("10.0.5.161", 1, ["tool", "hammer", "web"], null),
			],
			endpoints: [
				{
					service: service("web"),
					name: "web",
					aliases: ["www", "Shop"],
					vip: "10.0.5.2",
					backends: ["10.0.5.11", "10.0.5.12"],
					ports: [],
				},
				{
					service: service("idle"),
					name: "idle",
					aliases: [],
					vip: "10.0.5.3",
					backends: [],
					ports: [],
				},
			],
		}),
		network("red", 6, {
			members: [
				member("10.0.6.11", 1, ["web.1", "web.1.abc"], "abc"),
				member("10.0.6.21", 2, ["redis.1", "redis.1.ghi"], "ghi"),
				member("10.0.6.22", 3, ["redis.2", "redis.2.jkl"], "jkl"),
				member("10.0.6.161", 1, ["tool"], null),
			],
			endpoints: [
				{
					service: service("redis"),
					name: "redis",
					aliases: [],
					vip: null,
					backends: ["10.0.6.21", "10.0.6.22"],
					ports: [],
				},
				{
					service: service("lonely"),
					name: "lonely",
					aliases: [],
					vip: null,
					backends: [],
					ports: [],
				},
			],
		}),
	],
	tasks: [],
};
