// Bridges, VXLAN devices, forwarding and neighbour entries: made so by difference, whoever broke them.
//
// Observe, compare, apply, and look again. Only names with our prefix are ever changed. The forwarding tables are
// all static and nothing is flooded: an address that is in no entry cannot be reached.

import { macOf } from "../../model/cidr.ts";
import { bridgePrefix, gatewayMacPrefix, vxlanPrefix } from "../../model/mesh.ts";
import { vxlanPort } from "../../model/protocol.ts";
import type { Exec } from "../host/exec.ts";
import { type Announcement, announce } from "./announce.ts";
import { type Link, parseRows, readLinks } from "./links.ts";
import { ensureSysctls } from "./sysctl.ts";
import type { Overlay } from "./topology.ts";

/** A link that somebody deletes while we look costs a round; more rounds than this and something undoes our work. */
const mostRounds = 5;

/** Makes the overlays so and removes ours that are not among them, save the bridges in `keep`. */
export async function ensureOverlays(
	exec: Exec,
	overlays: readonly Overlay[],
	keep: Pick<ReadonlySet<string>, "has"> = new Set<string>(),
): Promise<void> {
	let failure: unknown;
	for (let round = 0; round < mostRounds; round++) {
		const change = compare(overlays, await readKernel(exec), keep);
		if (change.ip.length === 0 && change.bridge.length === 0) {
			ensureSysctls(overlays.map(({ bridge }) => bridge));
			return;
		}
		try {
			await batch(exec, "ip", change.ip);
			await batch(exec, "bridge", change.bridge);
			failure = undefined;
		} catch (error) {
			// A line may fail because the world moved; the next look tells what is left to do.
			failure = error;
		}
		announce(change.announcements);
	}
	throw new Error("the overlays do not stay as they are made", { cause: failure });
}

/** Lets a container that calls its own VIP hear itself: for every port of our bridges, after a container started. */
export async function ensureHairpins(exec: Exec): Promise<void> {
	const missing = hairpins(await readLinks(exec));
	// A container that ended meanwhile took its port along.
	await batch(exec, "ip", missing).catch(async (error) => {
		if (hairpins(await readLinks(exec)).length > 0) throw error;
	});
}

/** `-force`: go on after a line that fails. The exit code tells of it all the same. */
async function batch(exec: Exec, command: "ip" | "bridge", lines: readonly string[]) {
	if (lines.length === 0) return;
	await exec(command, ["-force", "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

/** What is there of ours. */
export interface Kernel {
	readonly links: readonly Link[];
	readonly fdb: readonly FdbEntry[];
	readonly neighbours: readonly {
		readonly dev: string;
		readonly dst: string;
		readonly mac: string;
	}[];
}

export interface FdbEntry {
	readonly dev: string;
	readonly mac: string;
	/** Where the VXLAN device sends it; null for the bridge's own entry. */
	readonly via: string | null;
	readonly state: string;
}

export async function readKernel(exec: Exec): Promise<Kernel> {
	const [links, fdb, neighbours] = await Promise.all([
		readLinks(exec),
		exec("bridge", ["-json", "fdb", "show"]),
		exec("ip", ["-json", "neighbour", "show", "nud", "permanent"]),
	]);
	return { links, fdb: parseFdb(fdb), neighbours: parseNeighbours(neighbours) };
}

export function parseFdb(text: string): FdbEntry[] {
	interface Row {
		readonly mac?: string;
		readonly ifname?: string;
		readonly dst?: string;
		readonly state?: string;
	}
	return parseRows<Row>(text)
		.filter(({ ifname }) => ifname?.startsWith(vxlanPrefix))
		.map(({ mac = "", ifname = "", dst, state = "" }) => ({
			dev: ifname,
			mac,
			via: dst ?? null,
			state,
		}));
}

function parseNeighbours(text: string): Kernel["neighbours"] {
	return parseRows<{ dst?: string; dev?: string; lladdr?: string }>(text)
		.filter(({ dev }) => dev?.startsWith(bridgePrefix))
		.map(({ dst = "", dev = "", lladdr = "" }) => ({ dev, dst, mac: lladdr }));
}

/** Lines for `ip -batch` and `bridge -batch`, to be run in this order. */
export interface KernelChange {
	readonly ip: readonly string[];
	readonly bridge: readonly string[];
	readonly announcements: readonly Announcement[];
}

export function compare(
	overlays: readonly Overlay[],
	seen: Kernel,
	keep: Pick<ReadonlySet<string>, "has">,
): KernelChange {
	const links = new Map(seen.links.map((link) => [link.name, link]));
	const wanted = new Set(overlays.flatMap(({ bridge, vxlan }) => [bridge, vxlan]));
	const surplus = seen.links
		.filter(({ name, kind }) =>
			kind === "bridge" ? name.startsWith(bridgePrefix) : name.startsWith(vxlanPrefix),
		)
		.filter(({ name }) => !wanted.has(name) && !keep.has(name));
	const fdb = Map.groupBy(seen.fdb, ({ dev }) => dev);
	const neighbours = Map.groupBy(seen.neighbours, ({ dev }) => dev);

	const ip = surplus.map(({ name }) => `link del dev ${name}`);
	const bridge: string[] = [];
	const announcements: Announcement[] = [];
	for (const overlay of overlays) {
		const known = links.get(overlay.vxlan);
		const vxlan = known && isSameTunnel(overlay, known) ? known : undefined;
		if (known && !vxlan) ip.push(`link del dev ${overlay.vxlan}`);
		ip.push(...bridgeLines(overlay, links.get(overlay.bridge)), ...vxlanLines(overlay, vxlan));
		const there = new Map(neighbours.get(overlay.bridge)?.map(({ dst, mac }) => [dst, mac]));
		ip.push(...neighbourLines(overlay, there));
		bridge.push(...fdbLines(overlay, vxlan ? (fdb.get(overlay.vxlan) ?? []) : [], vxlan?.mac));
		for (const { address, mac } of overlay.neighbours) {
			if (there.get(address) === mac || isGiven(address, mac)) continue;
			announcements.push({ bridge: overlay.bridge, address, mac });
		}
	}
	ip.push(...hairpins(seen.links));
	return { ip, bridge, announcements };
}

/** The MACs of tasks and of bridges follow from who they are, so nobody can have learned another. */
function isGiven(address: string, mac: string): boolean {
	return mac === macOf(address) || mac.startsWith(gatewayMacPrefix);
}

function bridgeLines(overlay: Overlay, seen: Link | undefined): string[] {
	const { bridge, mac, mtu } = overlay;
	const lines: string[] = [];
	if (!seen) {
		// Without a MAC of its own a bridge takes one of its ports', and loses its neighbours when that changes.
		lines.push(
			`link add ${bridge} address ${mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0 nf_call_iptables 1`,
		);
	} else {
		if (seen.mac !== mac) lines.push(`link set dev ${bridge} address ${mac}`);
		if (seen.data.nf_call_iptables !== 1) {
			lines.push(`link set dev ${bridge} type bridge nf_call_iptables 1`);
		}
	}
	if (seen?.mtu !== mtu || !seen.up) lines.push(`link set dev ${bridge} mtu ${mtu} up`);
	const there = seen?.addresses ?? [];
	const [gateway] = overlay.addresses;
	// The first address is the one that the host itself speaks from.
	const inOrder = gateway === undefined || there[0] === gateway || !there.includes(gateway);
	const surplus = inOrder ? there.filter((address) => !overlay.addresses.includes(address)) : there;
	const kept = there.filter((address) => !surplus.includes(address));
	lines.push(...surplus.map((address) => `address del ${address} dev ${bridge}`));
	for (const address of overlay.addresses) {
		if (!kept.includes(address)) lines.push(`address add ${address} dev ${bridge}`);
	}
	return lines;
}

/** What cannot be changed while the device exists. */
function isSameTunnel(overlay: Overlay, { data }: Link): boolean {
	return (
		data.id === overlay.vni &&
		data.local === overlay.local &&
		data.port === vxlanPort &&
		data.learning === false &&
		data.link === undefined
	);
}

function vxlanLines({ vxlan, bridge, vni, local, mtu }: Overlay, seen: Link | undefined): string[] {
	const lines: string[] = [];
	if (!seen) {
		// No `dev`: the kernel would delete the device with the mesh interface. And all devices on one port must agree
		// on udp6zerocsumrx.
		lines.push(
			`link add ${vxlan} type vxlan id ${vni} dstport ${vxlanPort} local ${local} nolearning udp6zerocsumrx`,
		);
	}
	if (seen?.mtu !== mtu || seen.master !== bridge || !seen.up) {
		lines.push(`link set dev ${vxlan} mtu ${mtu} master ${bridge} up`);
	}
	const { learning, neigh_suppress, mcast_flood } = seen?.port ?? {};
	if (learning !== false || neigh_suppress !== true || mcast_flood !== false) {
		lines.push(
			`link set dev ${vxlan} type bridge_slave learning off neigh_suppress on mcast_flood off`,
		);
	}
	return lines;
}

function neighbourLines(overlay: Overlay, there: ReadonlyMap<string, string>): string[] {
	const wanted = new Set(overlay.neighbours.map(({ address }) => address));
	return [
		...[...there.keys()]
			.filter((address) => !wanted.has(address))
			.map((address) => `neighbour del ${address} dev ${overlay.bridge}`),
		...overlay.neighbours
			.filter(({ address, mac }) => there.get(address) !== mac)
			.map(
				({ address, mac }) =>
					`neighbour replace ${address} lladdr ${mac} dev ${overlay.bridge} nud permanent`,
			),
	];
}

/**
 * Two entries for each MAC elsewhere: the VXLAN device's says to which node, the bridge's that it is behind the VXLAN
 * device, without which the bridge would flood and answer no ARP. None for what is here, where the bridge learns.
 */
function fdbLines(
	overlay: Overlay,
	seen: readonly FdbEntry[],
	ownMac: string | undefined,
): string[] {
	const { vxlan } = overlay;
	const wanted = new Map(
		overlay.neighbours.flatMap(({ mac, via }) => (via === null ? [] : [[mac, via] as const])),
	);
	// The device's own MAC is the kernel's entry.
	const there = seen.filter(({ mac }) => mac !== ownMac);
	const tunnels = new Map(there.flatMap(({ mac, via }) => (via === null ? [] : [[mac, via]])));
	const ports = new Map(
		there.flatMap(({ mac, via, state }) => (via === null ? [[mac, state]] : [])),
	);
	const lines: string[] = [];
	for (const [mac, via] of tunnels) {
		if (!wanted.has(mac)) lines.push(`fdb del ${mac} dev ${vxlan} dst ${via} self`);
	}
	for (const mac of ports.keys()) {
		if (!wanted.has(mac)) lines.push(`fdb del ${mac} dev ${vxlan} master`);
	}
	for (const [mac, via] of wanted) {
		if (tunnels.get(mac) !== via) {
			lines.push(`fdb replace ${mac} dev ${vxlan} dst ${via} self permanent`);
		}
		if (ports.get(mac) !== "static") lines.push(`fdb replace ${mac} dev ${vxlan} master static`);
	}
	return lines;
}

function hairpins(links: readonly Link[]): string[] {
	return links
		.filter(({ kind, master, port }) => {
			return kind === "veth" && master.startsWith(bridgePrefix) && port.hairpin === false;
		})
		.map(({ name }) => `link set dev ${name} type bridge_slave hairpin on`);
}
