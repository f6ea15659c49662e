// What `ip` says of the machine's interfaces, in the few words we compare.

import { meshInterface } from "../../model/mesh.ts";
import type { Exec } from "../host/exec.ts";

export interface Link {
	readonly name: string;
	readonly mac: string;
	readonly mtu: number;
	readonly up: boolean;
	/** The bridge it is a port of, or empty. */
	readonly master: string;
	/** `bridge`, `vxlan`, `veth`, `tun`, `wireguard`, or empty for what is physical. */
	readonly kind: string;
	/** The kind's own settings. */
	readonly data: LinkData;
	/** Its settings as a port of a bridge. */
	readonly port: PortData;
	/** IPv4 with prefix, in the kernel's order: `10.0.1.2/24`. */
	readonly addresses: readonly string[];
}

/** Of a VXLAN device or a bridge, in iproute2's words. */
export interface LinkData {
	readonly id?: number;
	readonly local?: string;
	readonly port?: number;
	readonly learning?: boolean;
	readonly link?: string;
	readonly nf_call_iptables?: number;
}

export interface PortData {
	readonly learning?: boolean;
	readonly neigh_suppress?: boolean;
	readonly mcast_flood?: boolean;
	readonly hairpin?: boolean;
}

interface IpLink {
	readonly ifname?: string;
	readonly address?: string;
	readonly mtu?: number;
	readonly flags?: readonly string[];
	readonly master?: string;
	readonly linkinfo?: {
		readonly info_kind?: string;
		readonly info_data?: LinkData;
		readonly info_slave_data?: PortData;
	};
	readonly addr_info?: readonly { family?: string; local?: string; prefixlen?: number }[];
}

export async function readLinks(exec: Exec): Promise<Link[]> {
	return parseLinks(await exec("ip", ["-json", "-details", "address", "show"]));
}

export function parseLinks(text: string): Link[] {
	return parseRows<IpLink>(text).map((link) => ({
		name: link.ifname ?? "",
		mac: link.address ?? "",
		mtu: link.mtu ?? 0,
		up: link.flags?.includes("UP") ?? false,
		master: link.master ?? "",
		kind: link.linkinfo?.info_kind ?? "",
		data: link.linkinfo?.info_data ?? {},
		port: link.linkinfo?.info_slave_data ?? {},
		addresses: (link.addr_info ?? [])
			.filter(({ family }) => family === "inet")
			.map(({ local, prefixlen }) => `${local}/${prefixlen}`),
	}));
}

/** iproute2's JSON: nothing at all for an empty table, and `{}` rows where its filter dropped one. */
export function parseRows<Row extends object>(text: string): Row[] {
	if (text.trim() === "") return [];
	const rows = JSON.parse(text) as Row[];
	return rows.filter((row) => Object.keys(row).length > 0);
}

/** Interfaces that lead out of the machine, rather than to its own containers and tunnels. */
export function uplinks(links: readonly Link[]): Link[] {
	return links.filter(
		({ name, kind, master, up }) =>
			up &&
			name !== "lo" &&
			name !== meshInterface &&
			!["bridge", "vxlan", "wireguard", "tun", "dummy"].includes(kind) &&
			// A veth in a bridge is a container's; one with an address of its own is a machine made of namespaces.
			master === "",
	);
}
