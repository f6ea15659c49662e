// The whole planner, on clusters of a few nodes that do as they are told.

import { describe, expect, test } from "bun:test";
import { Little } from "../../test/build.ts";
import { check } from "./checks.ts";
import { showSnapshot } from "./show.ts";

describe("a replicated service", () => {
	test("gets tasks, addresses and nodes in the plan that creates it", () => {
		const little = new Little(2);
		little.network("mynet1");
		little.settle();
		little.create("web", { replicas: 2, networks: ["mynet1"] });
		expect(showSnapshot(little.facts)).toEqual([
			"node n1 ready active",
			"node n2 ready active",
			"network ingress 4096 10.255.0.0/16",
			"network mynet1 4097 10.0.0.0/24",
			"service web",
			"  web.1#1 on n1 assigned/running 10.0.0.3",
			"  web.2#1 on n2 assigned/running 10.0.0.4",
		]);
		little.settle();
		expect(showSnapshot(little.facts).slice(-2)).toEqual([
			"  web.1#1 on n1 running/running serving 10.0.0.3",
			"  web.2#1 on n2 running/running serving 10.0.0.4",
		]);
		expect(check(little.facts)).toEqual([]);
	});

	test("scales down from the highest slot, and is forgotten once it is removed", () => {
		const little = new Little(2);
		little.network("mynet1");
		little.create("web", { replicas: 3, networks: ["mynet1"], ports: [{ published: 8091 }] });
		little.settle();
		little.scale("web", 1);
		little.settle();
		expect(little.running("web").map(({ slot }) => slot)).toEqual([1]);
		expect(little.tasks("web")).toHaveLength(1);
		little.remove("web");
		little.settle(120_000);
		expect(little.facts.services.size).toBe(0);
		expect(little.facts.tasks.size).toBe(0);
		const gateways = [...little.facts.networks.keys()].flatMap((id) => [
			...little.facts.leasesOfNetwork(id).values(),
		]);
		expect(gateways.map(({ holder }) => holder.split(":")[0])).toEqual(["gateway", "gateway"]);
		expect(check(little.facts)).toEqual([]);
	});
});
