import { expect, test } from "bun:test";
import {
	foreignRanges,
	genericResources,
	type Interface,
	type Route,
	readRoutes,
	underlay,
} from "./describe.ts";

const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	0101A8C0	0003	0	0	600	00000000	0	0	0
eth0	00000000	FE4DA8C0	0003	0	0	100	00000000	0	0	0
docker0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
eth0	004DA8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
sk-100	00005A0A	00000000	0001	0	0	0	00FFFFFF	0	0	0
tun0	0000000A	00000000	0001	0	0	50	000000FF	0	0	0
tun0	00000080	00000000	0001	0	0	50	00000080	0	0	0
`;

test("the kernel's routes, the likeliest first", () => {
	expect(readRoutes(table)).toEqual([
		{ device: "docker0", range: "172.17.0.0/16" },
		{ device: "sk-100", range: "10.90.0.0/24" },
		{ device: "tun0", range: "10.0.0.0/8" },
		{ device: "tun0", range: "128.0.0.0/1" },
		{ device: "eth0", range: "0.0.0.0/0" },
		{ device: "eth0", range: "192.168.77.0/24" },
		{ device: "wlan0", range: "0.0.0.0/0" },
	]);
});

test("ranges to keep clear of: not ours, and not the whole world or half of it", () => {
	expect(foreignRanges(readRoutes(table))).toEqual([
		"10.0.0.0/8",
		"172.17.0.0/16",
		"192.168.77.0/24",
	]);
});

const at = (name: string, address: string): Interface => ({ name, address, cidr: `${address}/24` });
const ways: Route[] = [
	{ device: "eth1", range: "0.0.0.0/0" },
	{ device: "eth0", range: "0.0.0.0/0" },
];

test.each([
	[
		"the default route's first",
		[at("lan", "10.1.0.1"), at("eth0", "1.1.1.1"), at("eth1", "2.2.2.2")],
		["eth1", "eth0", "lan"],
	],
	[
		"not the engine's bridges",
		[at("docker0", "172.17.0.1"), at("br-0123456789ab", "172.18.0.1"), at("eth0", "1.1.1.1")],
		["eth0"],
	],
	[
		"not our own",
		[at("skein0", "10.200.0.1"), at("sk-100", "10.0.0.1"), at("eth0", "1.1.1.1")],
		["eth0"],
	],
	["a bridge that people made", [at("br-lan", "10.1.0.1")], ["br-lan"]],
])("addresses for the others: %s", (_name, links, want) => {
	expect(underlay(links, ways).map(({ name }) => name)).toEqual(want);
});

test("generic resources are gathered by kind, as the engine lists them", () => {
	expect(
		genericResources([
			{ NamedResourceSpec: { Kind: "gpu", Value: "a" } },
			{ DiscreteResourceSpec: { Kind: "licence", Value: 3 } },
			{ NamedResourceSpec: { Kind: "gpu", Value: "b" } },
		]),
	).toEqual({ gpu: ["a", "b"], licence: 3 });
});
