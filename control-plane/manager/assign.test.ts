// What a node is told.

import { describe, expect, test } from "bun:test";
import { must } from "../../model/invariant.ts";
import { Little, networkId, nodeId } from "../../test/build.ts";
import { assign, assignmentText } from "./assign.ts";

function cluster(): Little {
	const little = new Little(3);
	little.network("net", { attachable: true });
	little.network("inner", { internal: true });
	little.settle();
	little.create("web", { replicas: 2, networks: ["net"], ports: [{ published: 8091 }] });
	little.create("db", { networks: ["inner"] });
	little.settle();
	return little;
}

const networkOn = (little: Little, index: number, name: string) =>
	assign(little.facts, nodeId(index)).networks.find((network) => network.name === name);

describe("an assignment", () => {
	test("has the networks that the node takes part in", () => {
		const little = cluster();
		const db = must(little.tasks("db")[0]?.node, "db runs");
		for (const index of [1, 2, 3]) {
			const names = assign(little.facts, nodeId(index)).networks.map(({ name }) => name);
			const inner = db === nodeId(index) ? ["inner"] : [];
			expect(names.sort()).toEqual(["ingress", ...inner, "net"].sort());
		}
	});

	test("has peers, gateways and slices of its own and the others'", () => {
		const little = cluster();
		const { self, peers, networks } = assign(little.facts, nodeId(2));
		expect(self).toMatchObject({ node: nodeId(2), index: 2, meshAddress: "172.31.0.2" });
		expect(peers.map(({ index, endpoints }) => [index, endpoints])).toEqual([
			[1, ["192.168.77.1:51820"]],
			[3, ["192.168.77.3:51820"]],
		]);
		const net = networks.find(({ name }) => name === "net");
		expect(net).toMatchObject({ gateway: "10.0.0.3", slice: "10.0.0.224/28" });
		expect(net?.gateways).toEqual([
			{ node: nodeId(1), address: "10.0.0.2" },
			{ node: nodeId(3), address: "10.0.0.4" },
		]);
	});

	test("leads to tasks by their names, and to services by VIP and port", () => {
		const little = cluster();
		const net = must(networkOn(little, 3, "net"), "attachable");
		const [first] = little.tasks("web");
		expect(net.members.map(({ address, names }) => [address, names[0]])).toEqual([
			["10.0.0.6", "web.1"],
			["10.0.0.7", "web.2"],
		]);
		expect(net.members[0]).toMatchObject({
			mac: "02:42:0a:00:00:06",
			names: ["web.1", `web.1.${first?.id}`],
			generation: 1,
		});
		expect(net.endpoints).toEqual([
			{
				service: little.service("web").id,
				name: "web",
				aliases: [],
				vip: "10.0.0.5",
				backends: ["10.0.0.6", "10.0.0.7"],
				ports: [],
			},
		]);
		const [ingress] = must(networkOn(little, 3, "ingress"), "everywhere").endpoints;
		expect(ingress).toMatchObject({
			vip: null,
			ports: [{ protocol: "tcp", published: 8091, target: 80 }],
		});
		expect(ingress?.backends).toHaveLength(2);
	});

	test("hangs a task on the ingress network first", () => {
		const little = cluster();
		const [task] = assign(little.facts, must(little.tasks("web")[0]?.node, "it runs")).tasks;
		expect(task?.attachments.map(({ network }) => network)).toEqual([
			networkId("ingress"),
			networkId("net"),
		]);
	});

	test("says the same for the same facts, and only the revision is no news", () => {
		const little = cluster();
		const before = assignmentText(assign(little.facts, nodeId(1)));
		little.facts.revision++;
		expect(assignmentText(assign(little.facts, nodeId(1)))).toBe(before);
		little.scale("web", 3);
		expect(assignmentText(assign(little.facts, nodeId(1)))).not.toBe(before);
	});

	test("does not depend on the order in which facts came in", () => {
		const little = cluster();
		const before = assignmentText(assign(little.facts, nodeId(1)));
		for (const task of [...little.facts.tasks.values()].reverse()) little.facts.setTask(task);
		for (const service of [...little.facts.services.values()]) {
			little.facts.apply({ kind: "remove-service", id: service.id });
			little.facts.apply({ kind: "put-service", service });
			for (const version of [1]) {
				little.facts.apply({
					kind: "put-template",
					template: {
						service: service.id,
						version,
						template: service.spec.template,
						hostPorts: [],
						document: {},
					},
				});
			}
		}
		expect(assignmentText(assign(little.facts, nodeId(1)))).toBe(before);
	});
});

describe("an address leads", () => {
	test("to the one that winds down until it is gone, then to the next", () => {
		const little = cluster();
		const [old] = little.tasks("web");
		little.availability(Number(old?.node?.slice("node-".length)), "drain");
		const leadsTo = () =>
			networkOn(little, 3, "net")?.members.find(({ address }) => address === "10.0.0.6")?.task;
		expect(leadsTo()).toBe(must(old, "there was one").id);
		const next = must(little.tasks("web")[1], "its successor");
		expect(next).toMatchObject({ generation: 2, desired: "ready" });
		little.settle();
		expect(leadsTo()).toBe(next.id);
	});

	test("never to a task that was written off", () => {
		const little = cluster();
		const [old] = little.tasks("web");
		little.silent.add(must(old?.node, "it ran"));
		little.settle(30_000);
		const there = [1, 2, 3].flatMap(
			(index) => networkOn(little, index, "net")?.members.map(({ task }) => task) ?? [],
		);
		expect(there).not.toContain(must(old, "there was one").id);
		expect(assign(little.facts, must(old?.node, "it ran")).tasks).toEqual([]);
	});

	test("to people's containers, at addresses of their node's slice only", () => {
		const little = cluster();
		const attached = (name: string, address: string) => ({
			containerId: name,
			name,
			aliases: ["client"],
			network: networkId("net"),
			address,
			mac: "02:42:0a:00:00:e1",
		});
		little.facts.setNode({
			...little.node(2),
			attached: [
				attached("honest", "10.0.0.225"),
				attached("thief", "10.0.0.6"),
				attached("squatter", "10.0.0.100"),
				attached("neighbour", "10.0.0.241"),
			],
		});
		const people = networkOn(little, 3, "net")?.members.filter(({ task }) => task === null);
		expect(people).toEqual([
			{
				address: "10.0.0.225",
				mac: "02:42:0a:00:00:e1",
				node: nodeId(2),
				names: ["honest", "client"],
				task: null,
				generation: 0,
			},
		]);
	});
});

test("a removed service answers nobody, while its tasks wind down", () => {
	const little = cluster();
	little.lagging.add(nodeId(3));
	little.remove("web");
	little.turn();
	expect(networkOn(little, 3, "net")?.endpoints).toEqual([]);
	expect(networkOn(little, 3, "ingress")?.endpoints).toEqual([]);
	expect(networkOn(little, 3, "net")?.members).toHaveLength(2);
});
