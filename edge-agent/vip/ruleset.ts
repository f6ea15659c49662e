// VIPs and published ports as nftables tables: what the kernel should have, whole, given an assignment.
//
// Pure. `nft.ts` loads it, `conntrack.ts` ends the flows that it no longer leads anywhere, `dockeruser.ts` gets it past
// the engine's own firewall. Putting VIPs on the bridges, so that they answer ARP and pings, is the mesh's.
//
// How it works, and why each rule stands where it stands: docs/design/vip.md.

import type { Assignment, NetworkAssignment } from "../../model/assignment.ts";
import { bridgePrefix, gatewayMac, meshInterface, vxlanPrefix } from "../../model/mesh.ts";
import { vxlanPort, wireguardPort } from "../../model/protocol.ts";

export type RulesetInput = Pick<Assignment, "self" | "peers" | "networks">;

/** A connection to a published port, on the node that was asked. The engine's firewall lets it pass. */
export const publishedMark = 0x1000000;
/** A connection that another node's bridge sent us: this and the node's index, so that replies go back by that node. */
export const relayedMark = 0x2000000;

const bothMarks = publishedMark | relayedMark;

/** Chains, which only change with the program, and sets, whose elements change with the cluster. */
export interface Tables {
	readonly chains: Readonly<Record<Family, string>>;
	readonly sets: readonly ElementSet[];
}

export type Family = "ip" | "bridge";

export interface ElementSet {
	readonly family: Family;
	readonly name: string;
	readonly kind: "set" | "map";
	readonly type: string;
	/** Key to value; in a set the value is empty. Keys as `nft` reads them: `tcp . 8091 . 0`. */
	readonly elements: ReadonlyMap<string, string>;
}

export const tableName = "skein";

/** The whole text for `nft -f -`: one transaction that replaces both tables. */
export function ruleset(input: RulesetInput): string {
	return render(tables(input));
}

export function tables(input: RulesetInput): Tables {
	const { networks, peers, self } = input;
	const vips = balanced(
		networks.flatMap(({ endpoints }) =>
			endpoints.flatMap(({ vip, backends }) => (vip ? [{ key: vip, targets: backends }] : [])),
		),
	);
	const published = balanced(
		networks
			.filter(({ ingress }) => ingress)
			.flatMap(({ endpoints }) => endpoints)
			.flatMap(({ ports, backends }) =>
				ports.map(({ protocol, published, target }) => ({
					key: `${protocol} . ${published}`,
					targets: backends.map((address) => `${address} . ${target}`),
				})),
			),
	);
	const most = Math.max(vips.most, published.most);
	const others = networks.filter(({ ingress }) => !ingress);
	const sets: ElementSet[] = [
		{ ...set("vips", "type ipv4_addr"), elements: members(vips.keys) },
		{ ...set("published", "type inet_proto . inet_service"), elements: members(published.keys) },
		{
			...set("hairpin", "type ipv4_addr . ipv4_addr"),
			elements: members(hairpins(networks, self)),
		},
		{
			...set("other_networks", "type ipv4_addr; flags interval"),
			elements: members(others.map(({ subnet }) => subnet)),
		},
		{
			...set("resolvers", "type ipv4_addr"),
			elements: members([self.meshAddress, ...networks.map(({ gateway }) => gateway)]),
		},
		{ ...map("vip_count", "type ipv4_addr : verdict"), elements: vips.counts("vip") },
		{
			...map("vip_backend", "typeof ip daddr . numgen random mod 65536 : ip daddr"),
			elements: vips.choices,
		},
		{
			...map("published_count", "type inet_proto . inet_service : verdict"),
			elements: published.counts("published"),
		},
		{
			...map(
				"published_backend",
				"typeof meta l4proto . th dport . numgen random mod 65536 : ip daddr . th dport",
			),
			elements: published.choices,
		},
		{
			...map("node_mark", "type ether_addr : mark"),
			elements: new Map(peers.map(({ index }) => [gatewayMac(index), nodeMark(index)])),
		},
		{
			...map("node_zone", "typeof ether saddr : ct zone"),
			elements: new Map(peers.map(({ index }) => [gatewayMac(index), `${index & 0xffff}`])),
		},
		{
			...map("node_mac", "type mark : ether_addr"),
			family: "bridge",
			elements: new Map(peers.map(({ index }) => [nodeMark(index), gatewayMac(index)])),
		},
	];
	return { chains: { ip: ipChains(chainsFor(most)), bridge: bridgeChains }, sets };
}

export function render({ chains, sets }: Tables): string {
	const table = (family: Family) =>
		[
			`table ${family} ${tableName} {`,
			...sets.filter((one) => one.family === family).map(declaration),
			chains[family],
			"}",
		].join("\n");
	// Declaring a table before deleting it makes the delete safe where there is none yet.
	const families: readonly Family[] = ["ip", "bridge"];
	return `${[
		...families.flatMap((family) => [
			`table ${family} ${tableName}`,
			`delete table ${family} ${tableName}`,
		]),
		...families.map(table),
	].join("\n")}\n`;
}

/**
 * The transaction that leads from one to the other, empty when they are the same; undefined when the chains differ and
 * only a whole load will do. It costs what changed: a whole load costs the cluster.
 */
export function difference(before: Tables, after: Tables): string | undefined {
	if (before.chains.ip !== after.chains.ip || before.chains.bridge !== after.chains.bridge) {
		return undefined;
	}
	const gone: string[] = [];
	const fresh: string[] = [];
	for (const [at, next] of after.sets.entries()) {
		const known = before.sets[at]?.elements ?? new Map<string, string>();
		const where = `element ${next.family} ${tableName} ${next.name}`;
		const removed = [...known].filter(([key, value]) => next.elements.get(key) !== value);
		const added = [...next.elements].filter(([key, value]) => known.get(key) !== value);
		if (removed.length > 0) {
			gone.push(`delete ${where} { ${removed.map(([key]) => key).join(", ")} }`);
		}
		if (added.length > 0) fresh.push(`add ${where} { ${added.map(shown).join(", ")} }`);
	}
	return [...gone, ...fresh].map((line) => `${line}\n`).join("");
}

interface Choice {
	readonly key: string;
	readonly targets: readonly string[];
}

/**
 * For each key how many targets it has, and each of them by its number. A rule draws the number: one chain for each
 * count serves all services that have so many, so that a change of one service changes elements and no rule.
 */
function balanced(choices: readonly Choice[]) {
	// A key that comes twice would break the whole load, so the first wins.
	const byKey = new Map<string, readonly string[]>();
	for (const { key, targets } of choices) {
		if (!byKey.has(key)) byKey.set(key, targets);
	}
	const all = [...byKey];
	return {
		keys: [...byKey.keys()],
		most: all.reduce((most, [, { length }]) => Math.max(most, length), 0),
		counts: (chain: string) =>
			new Map(
				all
					.filter(([, { length }]) => length > 0)
					.map(([key, { length }]) => [key, `goto ${chain}_${length}`]),
			),
		choices: new Map(
			all.flatMap(([key, targets]) =>
				targets.map((target, at) => [`${key} . ${at}`, target] as const),
			),
		),
	};
}

/** A task here that may draw itself would answer to itself, past us: such a connection comes from the bridge instead. */
function hairpins(networks: readonly NetworkAssignment[], self: Assignment["self"]): string[] {
	return networks.flatMap(({ members, endpoints }) => {
		const backends = new Set(endpoints.flatMap((endpoint) => endpoint.backends));
		return members
			.filter(({ node, address }) => node === self.node && backends.has(address))
			.map(({ address }) => `${address} . ${address}`);
	});
}

function nodeMark(index: number): string {
	return hex(relayedMark | index);
}

function hex(value: number): string {
	return `0x${value.toString(16).padStart(8, "0")}`;
}

function set(name: string, type: string) {
	return { family: "ip" as Family, name, kind: "set" as const, type };
}

function map(name: string, type: string) {
	return { family: "ip" as Family, name, kind: "map" as const, type };
}

function members(keys: readonly string[]): Map<string, string> {
	return new Map(keys.map((key) => [key, ""]));
}

function shown([key, value]: readonly [string, string]): string {
	return value === "" ? key : `${key} : ${value}`;
}

function declaration({ kind, name, type, elements }: ElementSet): string {
	const list = [...elements].map(shown).join(", ");
	return `	${kind} ${name} { ${type}; ${list === "" ? "" : `elements = { ${list} }; `}}`;
}

/** Enough chains for twice the backends of today, so that growing rarely changes more than elements. */
function chainsFor(most: number): number {
	let count = 64;
	while (count < most) count *= 2;
	return count;
}

/** The bridges of our networks, whatever comes through them. */
const ours = `"${bridgePrefix}*"`;

function ipChains(count: number): string {
	const counts = Array.from({ length: count }, (_, at) => at + 1);
	return `${counts
		.map(
			(
				n,
			) => `	chain vip_${n} { meta l4proto { tcp, udp, sctp } dnat to ip daddr . numgen random mod ${n} map @vip_backend; }
	chain published_${n} {
		ct mark set ct mark or ${hex(publishedMark)}
		meta l4proto { tcp, udp, sctp } dnat ip to meta l4proto . th dport . numgen random mod ${n} map @published_backend
	}`,
		)
		.join("\n")}
	chain guard {
		type filter hook prerouting priority -310; policy accept;
		udp dport ${vxlanPort} iifname "${meshInterface}" notrack accept
		udp dport ${vxlanPort} fib daddr type local drop
		iifname ${ours} ip daddr 127.0.0.0/8 drop
		iifname ${ours} ct original zone set ether saddr map @node_zone
	}
	chain untracked {
		type filter hook output priority -310; policy accept;
		udp dport ${vxlanPort} oifname "${meshInterface}" notrack
	}
	chain origin {
		type filter hook prerouting priority -150; policy accept;
		iifname ${ours} ct state new ct direction original ct mark set ether saddr map @node_mark
		iifname ${ours} ct direction reply ct mark and ${hex(bothMarks)} == ${hex(relayedMark)} meta mark set ct mark
	}
	chain arriving {
		type nat hook prerouting priority -110; policy accept;
		jump balance
	}
	chain leaving {
		type nat hook output priority -110; policy accept;
		jump balance
	}
	chain balance {
		ip daddr vmap @vip_count
		ip daddr @vips return
		ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 return
		udp dport ${wireguardPort} return
		fib daddr type local meta l4proto . th dport vmap @published_count
	}
	chain refuse {
		type filter hook input priority -10; policy accept;
		ct state new ip daddr @vips meta l4proto { tcp, udp, sctp } jump refusal
		ct state new ip daddr @resolvers meta l4proto { tcp, udp } th dport 53 return
		ct state new udp dport ${wireguardPort} return
		ct state new meta l4proto . th dport @published jump refusal
	}
	chain refusal {
		meta l4proto tcp reject with tcp reset
		reject
	}
	chain source {
		type nat hook postrouting priority 90; policy accept;
		oifname != ${ours} return
		ip saddr . ip daddr @hairpin masquerade
		ip saddr @vips masquerade
		ct mark and ${hex(publishedMark)} == 0 return
		ip saddr 127.0.0.0/8 masquerade
		ip saddr @other_networks masquerade
	}
	chain unmark {
		type filter hook postrouting priority 300; policy accept;
		oifname ${ours} meta mark and ${hex(relayedMark)} != 0 meta mark set 0
	}`;
}

const bridgeChains = `	chain back {
		type filter hook prerouting priority 10; policy accept;
		iifname != "${vxlanPrefix}*" meta mark and ${hex(bothMarks)} == ${hex(relayedMark)} ether daddr set meta mark map @node_mac meta mark set 0
	}`;
