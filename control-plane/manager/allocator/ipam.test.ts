import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseAddress, parseRange, showAddress, size } from "../../../model/cidr.ts";
import { must } from "../../../model/invariant.ts";
import { gatewayHolder, quarantineMs } from "../../../model/network.ts";
import { Little, networkId, nodeId } from "../../../test/build.ts";
import { check } from "../checks.ts";
import { Draft } from "../draft.ts";
import { leaseAddress, slicePrefix, subnetClash } from "./ipam.ts";

/** Networks by name, with what the cluster gave them. */
const subnets = (little: Little) =>
	Object.fromEntries([...little.facts.networks.values()].map((each) => [each.name, each.subnet]));

describe("subnets", () => {
	test.each<readonly [string, readonly string[], Record<string, string>]>([
		["one after the other", [], { ingress: "10.255.0.0/16", a: "10.0.0.0/24", b: "10.0.1.0/24" }],
		[
			"past what nodes have routes to",
			["10.0.0.0/24", "10.0.2.0/23", "192.168.0.0/16"],
			{ ingress: "10.255.0.0/16", a: "10.0.1.0/24", b: "10.0.4.0/24" },
		],
		[
			"past a route in the midst of one",
			["10.0.0.128/32"],
			{ ingress: "10.255.0.0/16", a: "10.0.1.0/24", b: "10.0.2.0/24" },
		],
		[
			"a default route is in nobody's way",
			["0.0.0.0/0"],
			{ ingress: "10.255.0.0/16", a: "10.0.0.0/24", b: "10.0.1.0/24" },
		],
	])("are given %s", (_name, routes, want) => {
		const little = new Little(1);
		little.join(2, { routes });
		little.network("a");
		little.network("b");
		expect(subnets(little)).toEqual(want);
	});

	test("the ingress network's gives way to a node's route", () => {
		const little = new Little();
		little.commit([{ kind: "remove-network", id: networkId("ingress") }]);
		little.join(1, { routes: ["10.255.3.0/24"] });
		little.network("ingress", { ingress: true });
		expect(subnets(little)).toEqual({ ingress: "10.0.0.0/24" });
	});

	test("the mesh's range is not given", () => {
		const little = new Little();
		little.commit([
			{
				kind: "put-cluster",
				cluster: { ...little.facts.cluster, addressPools: ["172.31.0.0/16", "10.7.0.0/24"] },
			},
		]);
		little.network("a");
		little.network("b");
		expect(subnets(little)).toMatchObject({ a: "10.7.0.0/24", b: "" });
		little.create("web", { networks: ["b"] });
		expect(little.tasks("web")[0]?.status.error).toContain("network b has no subnet");
	});

	test.each([
		["10.0.0.0/24", "subnet 10.0.0.0/24 overlaps network a (10.0.0.0/24)"],
		["10.0.0.64/26", "subnet 10.0.0.64/26 overlaps network a (10.0.0.0/24)"],
		["10.0.0.0/8", "subnet 10.0.0.0/8 overlaps network ingress (10.255.0.0/16)"],
		["172.31.4.0/24", "subnet 172.31.4.0/24 overlaps the range of the nodes' mesh (172.31.0.0/16)"],
		[
			"192.168.77.0/24",
			"subnet 192.168.77.0/24 overlaps 192.168.0.0/16, which node n1 has a route to",
		],
		["10.1.0.0/24", undefined],
		["ten", "ten is no IPv4 subnet"],
	])("%s: %p", (subnet, want) => {
		const little = new Little();
		little.join(1, { routes: ["192.168.0.0/16", "0.0.0.0/0"] });
		little.network("a");
		expect(subnetClash(little.facts, subnet)).toBe(want);
	});
});

describe("addresses", () => {
	test("are the lowest that nobody has, never .0, .1 or the last", () => {
		const holders = fc.array(
			fc.record({ take: fc.boolean(), holder: fc.integer({ min: 1, max: 9 }) }),
			{ maxLength: 60 },
		);
		fc.assert(
			fc.property(holders, (steps) => {
				const little = new Little();
				little.network("a", { subnet: "10.0.0.0/28" });
				const { facts } = little;
				const network = must(facts.networks.get(networkId("a")), "made above");
				const held = new Map<string, string>();
				for (const { take, holder: number } of steps) {
					const holder = `slot:${number}`;
					if (take) {
						const draft = new Draft(facts);
						const lease = leaseAddress(draft, network, holder);
						for (const change of draft.changes()) facts.apply(change);
						const used = new Set(held.values());
						const free = Array.from({ length: 13 }, (_, at) => `10.0.0.${at + 2}`).find(
							(address) => !used.has(address),
						);
						expect("address" in lease ? lease.address : "").toBe(held.get(holder) ?? free ?? "");
						if ("address" in lease) held.set(holder, lease.address);
					} else {
						const address = held.get(holder);
						if (!address) continue;
						facts.apply({ kind: "remove-lease", network: network.id, address });
						held.delete(holder);
					}
				}
			}),
		);
	});

	test("rest before another slot gets them, and are the slot's again if it comes back", () => {
		const little = new Little(1);
		little.network("a");
		little.settle();
		little.create("one", { replicas: 2, networks: ["a"] });
		little.settle();
		little.scale("one", 1);
		little.settle();
		little.create("two", { networks: ["a"] });
		const address = (name: string, at: number) => little.tasks(name)[at]?.attachments[0]?.address;
		expect(address("two", 0)).toBe("10.0.0.7");
		little.scale("one", 2);
		expect(address("one", 1)).toBe("10.0.0.4");
		little.settle();
		little.scale("one", 1);
		little.settle(quarantineMs + 1000);
		little.scale("two", 2);
		expect(address("two", 1)).toBe("10.0.0.4");
	});

	test("where there are none left the task waits and names the network", () => {
		const little = new Little(1);
		little.network("tiny", { subnet: "10.9.9.0/29" });
		little.settle();
		little.create("web", { replicas: 9, networks: ["tiny"] });
		little.settle();
		// Five can be given: the service's own, the node's, and three for tasks.
		expect(little.running("web")).toHaveLength(3);
		expect(little.tasks("web").at(-1)?.status.error).toBe(
			"network tiny has no free address left in 10.9.9.0/29",
		);
		expect(check(little.facts)).toEqual([]);
		little.scale("web", 3);
		little.settle();
		expect(little.tasks("web")).toHaveLength(3);
	});
});

describe("slices", () => {
	test.each([
		["10.0.0.0/16", 28],
		["10.0.0.0/24", 28],
		["10.0.0.0/25", 29],
		["10.0.0.0/26", 30],
		["10.0.0.0/28", 30],
		["10.0.0.0/29", null],
	])("of %s have /%p", (subnet, prefix) => {
		expect(slicePrefix(must(parseRange(subnet), "a range"))).toBe(prefix);
	});

	test("are cut from the top, one for each node, and no task gets an address in them", () => {
		const little = new Little(10);
		little.network("net", { attachable: true, subnet: "10.0.0.0/24" });
		little.settle();
		little.create("web", { replicas: 120, networks: ["net"] });
		little.settle();
		const leases = [...little.facts.leasesOfNetwork(networkId("net")).values()];
		const slices = leases.filter(({ prefix }) => prefix < 32);
		// The lower half is for tasks, so not every node has one.
		expect(slices.map(({ address, prefix }) => `${address}/${prefix}`)).toEqual([
			"10.0.0.240/28",
			"10.0.0.224/28",
			"10.0.0.208/28",
			"10.0.0.192/28",
			"10.0.0.176/28",
			"10.0.0.160/28",
			"10.0.0.144/28",
			"10.0.0.128/28",
		]);
		const inSlices = new Set(
			slices.flatMap(({ address, prefix }) => {
				const base = must(parseAddress(address), "an address");
				return Array.from({ length: size({ base, prefix }) }, (_, at) => showAddress(base + at));
			}),
		);
		for (const task of little.tasks("web")) {
			for (const { address } of task.attachments) expect(inSlices.has(address)).toBe(false);
		}
		expect(check(little.facts)).toEqual([]);
	});
});

test("a node has an address in a network while it has a part in it", () => {
	const little = new Little(2);
	little.network("net");
	little.settle();
	const has = (index: number) =>
		little.facts.leaseOf(networkId("net"), gatewayHolder(nodeId(index))) !== undefined;
	expect([has(1), has(2)]).toEqual([false, false]);
	little.create("web", { networks: ["net"] });
	little.settle();
	expect([has(1), has(2)]).toEqual([true, false]);
	little.availability(1, "drain");
	little.settle();
	expect([has(1), has(2)]).toEqual([false, true]);
});
