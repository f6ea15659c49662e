import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { vxlanPort } from "../../model/protocol.ts";
import { arpFrame } from "./announce.ts";
import { assignmentOf, type SceneNetwork } from "./assignment.test-data.ts";
import type { Link } from "./links.ts";
import { type Overlay, topology } from "./topology.ts";
import { compare, type FdbEntry, type Kernel } from "./vxlan.ts";

const nodes = [1, 2, 3].map((number) => ({ publicKey: `key${number}`, endpoints: [] }));
const overlaysOf = (networks: readonly SceneNetwork[]): readonly Overlay[] =>
	topology(assignmentOf({ nodes, networks }, 1), {
		underlayMtu: 1500,
		addresses: [],
		wireguardPort: 51820,
		attached: [],
	}).overlays;

const empty: Kernel = { links: [], fdb: [], neighbours: [] };
const lines = (overlays: readonly Overlay[], seen: Kernel, keep: readonly string[] = []) => {
	const { ip, bridge } = compare(overlays, seen, new Set(keep));
	return [...ip, ...bridge.map((line) => `bridge ${line}`)];
};

/** A kernel that understands the lines we write, as far as we read it. */
function obey(kernel: Kernel, written: readonly string[]): Kernel {
	const links = new Map(kernel.links.map((link) => [link.name, link]));
	const fdb = new Map(kernel.fdb.map((entry) => [fdbKey(entry), entry]));
	const neighbours = new Map(
		kernel.neighbours.map((entry) => [`${entry.dev} ${entry.dst}`, entry]),
	);
	const change = (name: string, over: Partial<Link>) => {
		const link = links.get(name);
		if (!link) throw new Error(`no link ${name}`);
		links.set(name, { ...link, ...over });
	};
	for (const line of written) {
		const words = line.split(" ");
		const after = (word: string) => words[words.indexOf(word) + 1] ?? "";
		const dev = after("dev");
		switch (
			words
				.slice(0, 3)
				.join(" ")
				.replace(/ s[kx]-.*| \d.*| dev.*/, "")
		) {
			case "link del": {
				links.delete(dev);
				for (const [key, entry] of fdb) if (entry.dev === dev) fdb.delete(key);
				for (const [key, entry] of neighbours) if (entry.dev === dev) neighbours.delete(key);
				for (const { name, master } of [...links.values()]) {
					if (master === dev) change(name, { master: "", port: {} });
				}
				break;
			}
			case "link add": {
				const name = words[2] ?? "";
				const vxlan = line.includes("type vxlan");
				links.set(name, {
					name,
					mac: vxlan ? "fe:00:00:00:00:01" : after("address"),
					mtu: 1500,
					up: false,
					master: "",
					kind: vxlan ? "vxlan" : "bridge",
					data: vxlan
						? { id: Number(after("id")), local: after("local"), port: vxlanPort, learning: false }
						: { nf_call_iptables: 1 },
					port: {},
					addresses: [],
				});
				break;
			}
			case "link set":
				if (words.includes("mtu")) change(dev, { mtu: Number(after("mtu")) });
				if (words.includes("master")) change(dev, { master: after("master") });
				if (words.includes("address")) change(dev, { mac: after("address") });
				if (words.includes("up")) change(dev, { up: true });
				if (words.includes("learning")) {
					change(dev, { port: { learning: false, neigh_suppress: true, mcast_flood: false } });
				}
				if (words.includes("hairpin")) change(dev, { port: { hairpin: true } });
				if (words.includes("nf_call_iptables")) change(dev, { data: { nf_call_iptables: 1 } });
				break;
			case "address add":
				change(dev, { addresses: [...(links.get(dev)?.addresses ?? []), words[2] ?? ""] });
				break;
			case "address del": {
				const rest = links.get(dev)?.addresses.filter((address) => address !== words[2]);
				change(dev, { addresses: rest ?? [] });
				break;
			}
			case "neighbour replace":
				neighbours.set(`${dev} ${words[2]}`, { dev, dst: words[2] ?? "", mac: after("lladdr") });
				break;
			case "neighbour del":
				neighbours.delete(`${dev} ${words[2]}`);
				break;
			default: {
				if (words[1] !== "fdb") throw new Error(`no such line: ${line}`);
				const via = words.includes("self") ? after("dst") : null;
				const entry = { dev, mac: words[3] ?? "", via, state: via ? "permanent" : "static" };
				if (words[2] === "replace") fdb.set(fdbKey(entry), entry);
				else fdb.delete(fdbKey(entry));
			}
		}
	}
	return {
		links: [...links.values()],
		fdb: [...fdb.values()],
		neighbours: [...neighbours.values()],
	};
}

const fdbKey = ({ dev, mac, via }: FdbEntry) => `${dev} ${mac} ${via === null ? "port" : "tunnel"}`;

const blue: SceneNetwork = {
	name: "blue",
	vni: 5,
	at: { "10.0.5.10": 1, "10.0.5.20": 2 },
	vips: ["10.0.5.2"],
};

describe("the lines for one overlay", () => {
	test("on an empty machine", () => {
		expect(lines(overlaysOf([{ ...blue, vips: [] }]), empty)).toEqual([
			"link add sk-5 address 02:73:6b:00:00:01 type bridge stp_state 0 forward_delay 0 mcast_snooping 0 nf_call_iptables 1",
			"link set dev sk-5 mtu 1370 up",
			"address add 10.0.5.241/24 dev sk-5",
			"link add sx-5 type vxlan id 5 dstport 4790 local 10.200.0.1 nolearning udp6zerocsumrx",
			"link set dev sx-5 mtu 1370 master sk-5 up",
			"link set dev sx-5 type bridge_slave learning off neigh_suppress on mcast_flood off",
			"neighbour replace 10.0.5.10 lladdr 02:42:0a:00:05:0a dev sk-5 nud permanent",
			"neighbour replace 10.0.5.20 lladdr 02:42:0a:00:05:14 dev sk-5 nud permanent",
			"neighbour replace 10.0.5.242 lladdr 02:73:6b:00:00:02 dev sk-5 nud permanent",
			"neighbour replace 10.0.5.243 lladdr 02:73:6b:00:00:03 dev sk-5 nud permanent",
			"bridge fdb replace 02:42:0a:00:05:14 dev sx-5 dst 10.200.0.2 self permanent",
			"bridge fdb replace 02:42:0a:00:05:14 dev sx-5 master static",
			"bridge fdb replace 02:73:6b:00:00:02 dev sx-5 dst 10.200.0.2 self permanent",
			"bridge fdb replace 02:73:6b:00:00:02 dev sx-5 master static",
			"bridge fdb replace 02:73:6b:00:00:03 dev sx-5 dst 10.200.0.3 self permanent",
			"bridge fdb replace 02:73:6b:00:00:03 dev sx-5 master static",
		]);
	});

	const before = obey(empty, lines(overlaysOf([blue]), empty));
	test.each([
		["nothing changed", blue, []],
		[
			"a task moved to another node",
			{ ...blue, at: { "10.0.5.10": 1, "10.0.5.20": 3 } },
			["bridge fdb replace 02:42:0a:00:05:14 dev sx-5 dst 10.200.0.3 self permanent"],
		],
		[
			"a task moved here: the bridge learns where",
			{ ...blue, at: { "10.0.5.10": 1, "10.0.5.20": 1 } },
			[
				"bridge fdb del 02:42:0a:00:05:14 dev sx-5 dst 10.200.0.2 self",
				"bridge fdb del 02:42:0a:00:05:14 dev sx-5 master",
			],
		],
		[
			"a task ended",
			{ ...blue, at: { "10.0.5.10": 1 } },
			[
				"neighbour del 10.0.5.20 dev sk-5",
				"bridge fdb del 02:42:0a:00:05:14 dev sx-5 dst 10.200.0.2 self",
				"bridge fdb del 02:42:0a:00:05:14 dev sx-5 master",
			],
		],
		[
			"a service came, another went",
			{ ...blue, vips: ["10.0.5.3"] },
			["address del 10.0.5.2/32 dev sk-5", "address add 10.0.5.3/32 dev sk-5"],
		],
	])("%s", (_, network, want) => {
		expect(lines(overlaysOf([network]), before)).toEqual(want);
	});

	test("a gateway that is not the first address becomes it", () => {
		const links = before.links.map((link) =>
			link.kind === "bridge" ? { ...link, addresses: ["10.0.5.2/32", "10.0.5.241/24"] } : link,
		);
		const after = obey(before, lines(overlaysOf([blue]), { ...before, links }));
		expect(after.links.find(({ kind }) => kind === "bridge")?.addresses).toEqual([
			"10.0.5.241/24",
			"10.0.5.2/32",
		]);
	});
});

const link = (over: Partial<Link>): Link => ({
	name: "",
	mac: "",
	mtu: 1500,
	up: true,
	master: "",
	kind: "",
	data: {},
	port: {},
	addresses: [],
	...over,
});

test("only ours are removed, and not those that people still use", () => {
	const links = [
		link({ name: "sk-5", kind: "bridge" }),
		link({ name: "sk-6", kind: "bridge" }),
		link({ name: "sx-5", kind: "vxlan" }),
		link({ name: "skiff", kind: "bridge" }),
		link({ name: "docker0", kind: "bridge" }),
		link({ name: "vxlan0", kind: "vxlan" }),
		link({ name: "eth0" }),
	];
	expect(lines([], { ...empty, links }, ["sk-6"])).toEqual([
		"link del dev sk-5",
		"link del dev sx-5",
	]);
});

test("ports of our bridges hear themselves, others are left alone", () => {
	const port = { hairpin: false };
	const links = [
		link({ name: "veth1", kind: "veth", master: "sk-9", port }),
		link({ name: "veth2", kind: "veth", master: "sk-9", port: { hairpin: true } }),
		link({ name: "veth3", kind: "veth", master: "docker0", port }),
	];
	expect(lines([], { ...empty, links })).toEqual([
		"link set dev veth1 type bridge_slave hairpin on",
	]);
});

describe("announcements", () => {
	const attached = (mac: string) => ({ ...blue, macs: { "10.0.5.20": mac } });
	const announced = (network: SceneNetwork, seen: Kernel) =>
		compare(overlaysOf([network]), seen, new Set()).announcements;
	const before = obey(empty, lines(overlaysOf([attached("8a:00:00:00:00:01")]), empty));

	test("for an address with another MAC, once", () => {
		expect(announced(attached("8a:00:00:00:00:02"), before)).toEqual([
			{ bridge: "sk-5", address: "10.0.5.20", mac: "8a:00:00:00:00:02" },
		]);
		expect(announced(attached("8a:00:00:00:00:01"), before)).toEqual([]);
	});

	test("not for tasks and bridges, whose MACs never change", () => {
		expect(announced(blue, empty)).toEqual([]);
	});

	test("as an Ethernet frame", () => {
		const frame = arpFrame({ address: "10.0.5.20", mac: "8a:00:00:00:00:02" });
		expect(Buffer.from(frame).toString("hex")).toBe(
			[
				"ffffffffffff 8a0000000002 0806",
				"0001 0800 06 04 0001",
				"8a0000000002 0a000514 000000000000 0a000514",
			]
				.join("")
				.replaceAll(" ", ""),
		);
	});
});

test("whatever was there, one round makes it so, and the next finds nothing to do", () => {
	const address = fc.integer({ min: 10, max: 40 }).map((last) => `10.0.5.${last}`);
	const network = fc.record({
		name: fc.constant("blue"),
		vni: fc.constantFrom(5, 6),
		at: fc.dictionary(address, fc.integer({ min: 1, max: 3 }), { maxKeys: 8 }),
		vips: fc.uniqueArray(fc.constantFrom("10.0.5.2", "10.0.5.3", "10.0.5.4")),
	});
	const scene = fc.uniqueArray(network, { selector: ({ vni }) => vni, maxLength: 2 });
	/** Somebody deletes links, or entries. */
	const damage = fc.record({ links: fc.nat(), fdb: fc.nat(), neighbours: fc.nat() });
	fc.assert(
		fc.property(scene, scene, damage, (first, second, lost) => {
			const without = <Item>(items: readonly Item[], at: number) =>
				items.filter((_, index) => index !== at % (items.length + 1));
			const made = obey(empty, lines(overlaysOf(first), empty));
			const rest = without(made.links, lost.links);
			const gone = made.links.filter((one) => !rest.includes(one));
			const left = obey(
				made,
				gone.map(({ name }) => `link del dev ${name}`),
			);
			const damaged = {
				links: left.links,
				fdb: without(left.fdb, lost.fdb),
				neighbours: without(left.neighbours, lost.neighbours),
			};
			const mended = obey(damaged, lines(overlaysOf(second), damaged));
			expect(lines(overlaysOf(second), mended)).toEqual([]);
		}),
		{ numRuns: 300 },
	);
});
