// Each rule, broken on purpose: a check that cannot complain is none.

import { describe, expect, test } from "bun:test";
import { must } from "../../model/invariant.ts";
import { slotHolder } from "../../model/network.ts";
import type { Facts } from "../../model/snapshot.ts";
import { Little, networkId } from "../../test/build.ts";
import { check } from "./checks.ts";

function sound(): Little {
	const little = new Little(2);
	little.network("net");
	little.network("other");
	little.settle();
	little.create("web", { replicas: 2, networks: ["net"], ports: [{ published: 80 }] });
	little.create("db", { networks: ["net"], ports: [{ published: 81 }] });
	little.settle();
	return little;
}

const first = (little: Little) => must(little.tasks("web")[0], "it has one");

const network = (facts: Facts, name: string) =>
	must(facts.networks.get(networkId(name)), "made above");

describe("a sound cluster", () => {
	test("gives no cause for complaint", () => {
		expect(check(sound().facts)).toEqual([]);
	});

	test.each<readonly [string, (little: Little) => void]>([
		[
			"a VNI is one network's",
			({ facts }) => {
				facts.networks.set(networkId("other"), {
					...network(facts, "other"),
					vni: network(facts, "net").vni,
				});
			},
		],
		[
			"subnets do not overlap",
			({ facts }) => {
				facts.networks.set(networkId("other"), {
					...network(facts, "other"),
					subnet: "10.0.0.0/23",
				});
			},
		],
		[
			"a lease lies in its network",
			({ facts }) => {
				facts.setLease({
					network: networkId("net"),
					address: "10.7.0.9",
					prefix: 32,
					holder: "slot:x:1",
					releasedMs: 0,
				});
			},
		],
		[
			"a holder has one lease in a network",
			(little) => {
				little.facts.setLease({
					network: networkId("net"),
					address: "10.0.0.200",
					prefix: 32,
					holder: slotHolder(first(little)),
					releasedMs: 0,
				});
			},
		],
		[
			"an address is given once",
			({ facts }) => {
				facts.setLease({
					network: networkId("net"),
					address: "10.0.0.0",
					prefix: 28,
					holder: "slice:n1",
					releasedMs: 0,
				});
			},
		],
		[
			"a port is published once",
			(little) => {
				little.facts.setService({
					...little.service("db"),
					ports: little.service("web").ports,
				});
			},
		],
		[
			"two tasks never run at one address",
			(little) => {
				const task = first(little);
				little.facts.setTask({ ...task, id: "twin" as typeof task.id, generation: 2 });
			},
		],
		[
			"a task has its template",
			(little) => little.facts.setTask({ ...first(little), templateVersion: 9 }),
		],
		[
			"who serves is meant to run",
			(little) => little.facts.setTask({ ...first(little), desired: "shutdown" }),
		],
		[
			"who serves has run",
			(little) => {
				const task = first(little);
				little.facts.setTask({ ...task, status: { ...task.status, state: "preparing" } });
			},
		],
		[
			"who is assigned has a node",
			(little) => little.facts.setTask({ ...first(little), node: null, serving: false }),
		],
		[
			"who waits says why",
			(little) => {
				const task = first(little);
				const status = { ...task.status, state: "pending" as const, error: "" };
				little.facts.setTask({ ...task, serving: false, status });
			},
		],
		[
			"a task lives at its slot's address",
			(little) => {
				const { attachments } = must(little.tasks("db")[0], "it has one");
				little.facts.setTask({ ...first(little), attachments });
			},
		],
	])("complains when not: %s", (rule, harm) => {
		const little = sound();
		harm(little);
		expect(check(little.facts).map((complaint) => complaint.rule)).toContain(rule);
	});
});
