import { describe, expect, test } from "bun:test";
import type { PortSpec } from "../../../model/service.ts";
import { Little, serviceId } from "../../../test/build.ts";
import { portConflict } from "./ports.ts";

const published = (little: Little, name: string) =>
	little.service(name).ports.map(({ published: port }) => port);

describe("ports left to us", () => {
	test("are chosen from Docker's range, nobody's twice, and stay", () => {
		const little = new Little();
		little.create("one", { ports: [{ target: 80 }, { target: 81 }] });
		little.create("two", { ports: [{ published: 30_002 }, { target: 80 }] });
		little.create("three", { ports: [{ target: 80, protocol: "udp" }, { target: 80 }] });
		expect(published(little, "one")).toEqual([30_000, 30_001]);
		expect(published(little, "two")).toEqual([30_002, 30_003]);
		expect(published(little, "three")).toEqual([30_000, 30_004]);
		little.scale("one", 3);
		little.plan();
		expect(published(little, "one")).toEqual([30_000, 30_001]);
	});

	test("in host mode are the engine's to choose", () => {
		const little = new Little();
		little.create("one", { ports: [{ target: 80, mode: "host" }] });
		expect(published(little, "one")).toEqual([0]);
	});
});

describe("a port that is taken", () => {
	const taken = `port '8091' is already in use by service 'web' (${serviceId("web")}) as an ingress port`;
	test.each<readonly [string, Partial<PortSpec>, string | undefined]>([
		["is refused in Docker's words", { published: 8091 }, taken],
		["is free for another protocol", { published: 8091, protocol: "udp" }, undefined],
		["is free on a node", { published: 8091, mode: "host" }, undefined],
		["is not asked for by whoever leaves the choice", { published: 0 }, undefined],
	])("%s", (_name, words, want) => {
		const little = new Little();
		little.create("web", { ports: [{ published: 8091 }] });
		const port: PortSpec = {
			name: "",
			protocol: "tcp",
			target: 80,
			published: 0,
			mode: "ingress",
			...words,
		};
		expect(portConflict(little.facts, { ports: [port] })).toBe(want);
		expect(portConflict(little.facts, { ports: [port] }, serviceId("web"))).toBeUndefined();
	});

	test("is free again as soon as its service is being removed", () => {
		const little = new Little(1);
		little.create("web", { ports: [{ published: 8091 }] });
		little.settle();
		little.remove("web");
		const ports = [{ ...little.service("web").ports[0], published: 8091 } as PortSpec];
		expect(portConflict(little.facts, { ports })).toBeUndefined();
	});
});
