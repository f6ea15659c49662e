import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { gatewayMac } from "../../model/mesh.ts";
import { assignmentOf, networkId, type Scene, type SceneNetwork } from "./assignment.test-data.ts";
import { type Local, meshMtu, topology } from "./topology.ts";

const nodes = [1, 2, 3].map((number) => ({
	publicKey: `key${number}`,
	endpoints: [`203.0.113.${number}:51820`, `192.168.77.${number}:51820`],
}));
const local: Local = {
	underlayMtu: 1500,
	addresses: ["192.168.77.1/24"],
	wireguardPort: 51820,
	attached: [],
};
const blue: SceneNetwork = { name: "blue", vni: 5, at: {} };
const of = (networks: readonly SceneNetwork[], over: Partial<Local> = {}, self = 1) =>
	topology(assignmentOf({ nodes, networks } satisfies Scene, self), { ...local, ...over });
const overlay = (network: Partial<SceneNetwork>, over?: Partial<Local>) =>
	of([{ ...blue, ...network }], over).overlays[0];
const docker = (network: Partial<SceneNetwork>) => of([{ ...blue, ...network }]).dockerNetworks[0];

describe("the mesh", () => {
	test("has every peer, its nearest endpoint first", () => {
		expect(of([]).mesh).toEqual({
			address: "10.200.0.1",
			prefix: 24,
			port: 51820,
			mtu: 1420,
			peers: [2, 3].map((number) => ({
				node: `node${number}` as never,
				hostname: `h${number}`,
				down: false,
				publicKey: `key${number}`,
				meshAddress: `10.200.0.${number}`,
				endpoints: [`192.168.77.${number}:51820`, `203.0.113.${number}:51820`],
				mtu: null,
			})),
		});
	});

	test("keeps the order of endpoints that are all far", () => {
		const [peer] = of([], { addresses: ["172.16.0.1/16", "203.0.113.2/32"] }).mesh.peers;
		expect(peer?.endpoints).toEqual(nodes[1]?.endpoints ?? []);
	});

	test.each([
		[1500, 1420],
		// A node with jumbo frames must not send what its peers cannot take.
		[9000, 1420],
		[1460, 1380],
		[100, 626],
	])("over an underlay of %d takes %d", (underlay, mesh) => {
		expect(meshMtu(underlay)).toBe(mesh);
	});
});

describe("an overlay", () => {
	test("is a bridge with the node's MAC, a tunnel, and addresses, the gateway first", () => {
		expect(overlay({ vips: ["10.0.5.9", "10.0.5.2"] })).toMatchObject({
			vni: 5,
			bridge: "sk-5",
			vxlan: "sx-5",
			mac: "02:73:6b:00:00:01",
			mtu: 1370,
			local: "10.200.0.1",
			addresses: ["10.0.5.241/24", "10.0.5.2/32", "10.0.5.9/32"],
		});
	});

	test("leads to members elsewhere, and to the other nodes' bridges", () => {
		expect(overlay({ at: { "10.0.5.20": 2, "10.0.5.10": 1 } })?.neighbours).toEqual([
			{ address: "10.0.5.10", mac: "02:42:0a:00:05:0a", via: null },
			{ address: "10.0.5.20", mac: "02:42:0a:00:05:14", via: "10.200.0.2" },
			{ address: "10.0.5.242", mac: gatewayMac(2), via: "10.200.0.2" },
			{ address: "10.0.5.243", mac: gatewayMac(3), via: "10.200.0.3" },
		]);
	});

	test("leaves out what is of a node that it does not know", () => {
		const addresses = overlay({ at: { "10.0.5.20": 9 } })?.neighbours.map((one) => one.address);
		expect(addresses).toEqual(["10.0.5.242", "10.0.5.243"]);
	});

	test("believes what runs here rather than what was reported of it", () => {
		const reported = {
			at: { "10.0.5.145": 1, "10.0.5.146": 1 },
			macs: { "10.0.5.145": "8a:00:00:00:00:01", "10.0.5.146": "8a:00:00:00:00:02" },
		};
		const again = {
			containerId: "c",
			name: "c",
			aliases: [],
			network: networkId("blue"),
			address: "10.0.5.145",
			mac: "8a:00:00:00:00:99",
		};
		const elsewhere = { ...again, network: networkId("red"), address: "10.0.7.145" };
		const here = overlay(reported, { attached: [again, elsewhere] })?.neighbours.filter(
			({ via }) => via === null,
		);
		expect(here).toEqual([{ address: "10.0.5.145", mac: "8a:00:00:00:00:99", via: null }]);
	});

	test("does not let a container take the address of a task", () => {
		const thief = {
			containerId: "c",
			name: "c",
			aliases: [],
			network: networkId("blue"),
			address: "10.0.5.20",
			mac: "8a:00:00:00:00:99",
		};
		expect(overlay({ at: { "10.0.5.20": 2 } }, { attached: [thief] })?.neighbours[0]).toEqual({
			address: "10.0.5.20",
			mac: "02:42:0a:00:05:14",
			via: "10.200.0.2",
		});
	});
});

describe("the engine's network", () => {
	test("gives addresses from the node's own slice", () => {
		expect(docker({ attachable: true })).toEqual({
			id: networkId("blue"),
			name: "blue",
			bridge: "sk-5",
			subnet: "10.0.5.0/24",
			gateway: "10.0.5.241",
			range: "10.0.5.144/28",
			internal: false,
			mtu: 1370,
		});
	});

	test("has none to give where people may not join", () => {
		expect(docker({ attachable: false })?.range).toBe("10.0.5.241/32");
	});

	test("that carries published ports sorts before any name that people can give", () => {
		const names = ["0", "00-a", "a", "_a", "A"];
		const networks = [...names, "ingress"].map((name, index) => ({
			...blue,
			name,
			vni: index + 5,
			ingress: name === "ingress",
		}));
		expect(of(networks).dockerNetworks[0]?.name).toBe(".ingress");
	});
});

test("the order in which an assignment lists things makes no difference", () => {
	const networks = [5, 6, 7].map((vni) => ({
		...blue,
		name: `n${vni}`,
		vni,
		at: { [`10.0.${vni}.20`]: 2, [`10.0.${vni}.10`]: 1, [`10.0.${vni}.30`]: 3 },
		vips: [`10.0.${vni}.2`, `10.0.${vni}.3`],
	}));
	const plain = assignmentOf({ nodes, networks }, 1);
	const shuffled = <Item>(items: readonly Item[]) =>
		fc.shuffledSubarray([...items], { minLength: items.length });
	const any = fc
		.tuple(shuffled(plain.peers), shuffled(plain.networks), fc.infiniteStream(fc.boolean()))
		.map(([peers, mixed, flips]) => ({
			...plain,
			peers,
			networks: mixed.map((network) =>
				flips.next().value
					? {
							...network,
							members: network.members.toReversed(),
							gateways: network.gateways.toReversed(),
							endpoints: network.endpoints.toReversed(),
						}
					: network,
			),
		}));
	fc.assert(
		fc.property(any, (assignment) => {
			expect(topology(assignment, local)).toEqual(topology(plain, local));
		}),
	);
});
