// What this machine is, for the control plane: engine, size, addresses, and the routes our subnets must keep clear of.
//
// Read from the engine, /proc and /sys; runs nothing. Problems are handed in by whoever met them.

import { existsSync, readFileSync } from "node:fs";
import { hostname, networkInterfaces, release } from "node:os";
import { parseRange, showRange, size } from "../model/cidr.ts";
import { bridgePrefix, meshInterface, vxlanPrefix } from "../model/mesh.ts";
import type { AgentProgram, Builder, GenericResources, NodeDescription } from "../model/node.ts";
import type { Docker } from "./host/docker.ts";

/** What the machine cannot know of itself: said at the install, or known elsewhere in the agent. */
export interface Given {
	/** Empty takes the machine's own name. */
	readonly name: string;
	/** The address that others should use, first among ours; empty for the one of the default route. */
	readonly advertise: string;
	readonly agentVersion: string;
	readonly publicKey: string;
	readonly wireguardPort: number;
	readonly problems: readonly string[];
	readonly warnings: readonly string[];
	readonly diskFull?: boolean;
	readonly goingDown?: boolean;
	readonly agentProgram?: AgentProgram | undefined;
	readonly builder?: Builder | undefined;
}

interface EngineInfo {
	readonly ServerVersion: string;
	readonly OSType: string;
	readonly Architecture: string;
	readonly KernelVersion: string;
	readonly NCPU: number;
	readonly MemTotal: number;
	readonly Labels: readonly string[] | null;
	readonly Plugins: Readonly<Record<string, readonly string[] | null>>;
	readonly LiveRestoreEnabled: boolean;
	readonly SecurityOptions: readonly string[] | null;
	readonly GenericResources?: readonly EngineResource[] | null;
}

/** A thing with a name, or a number of things. */
export interface EngineResource {
	readonly NamedResourceSpec?: { readonly Kind: string; readonly Value: string };
	readonly DiscreteResourceSpec?: { readonly Kind: string; readonly Value: number };
}

export const engineInfo = (docker: Docker) => docker.request<EngineInfo>("GET", "/info");

/** `info` is null while the engine does not answer: the machine is described all the same. */
export function describe(info: EngineInfo | null, given: Given): NodeDescription {
	const links = readInterfaces();
	const routes = readRoutes(readFileSync("/proc/net/route", "utf8"));
	const addresses = underlay(links, routes).map(({ address }) => address);
	const { advertise } = given;
	return {
		hostname: given.name || hostname(),
		os: info?.OSType ?? "linux",
		architecture: info?.Architecture ?? dockerArchitecture(),
		kernel: info?.KernelVersion ?? release(),
		engineVersion: info?.ServerVersion ?? "",
		engineLabels: Object.fromEntries((info?.Labels ?? []).map(splitLabel)),
		plugins: Object.entries(info?.Plugins ?? {}).flatMap(([type, names]) =>
			(names ?? []).map((name) => ({ type, name })),
		),
		agentVersion: given.agentVersion,
		nanoCpus: (info?.NCPU ?? navigator.hardwareConcurrency) * 1_000_000_000,
		memoryBytes: info?.MemTotal ?? readMemory(),
		genericResources: genericResources(info?.GenericResources ?? []),
		publicKey: given.publicKey,
		wireguardPort: given.wireguardPort,
		wireguard: wireguardKind(),
		addresses: advertise
			? [advertise, ...addresses.filter((address) => address !== advertise)]
			: addresses,
		routes: foreignRanges(routes),
		problems: given.problems,
		warnings: given.warnings,
		...(given.diskFull && { diskFull: true }),
		...(given.goingDown && { goingDown: true }),
		...(given.builder && { builder: given.builder }),
		...(given.agentProgram && { agentProgram: given.agentProgram }),
	};
}

export function genericResources(listed: readonly EngineResource[]): GenericResources {
	const found: Record<string, string[] | number> = {};
	for (const { NamedResourceSpec: named, DiscreteResourceSpec: discrete } of listed) {
		if (discrete) found[discrete.Kind] = discrete.Value;
		if (!named) continue;
		const names = found[named.Kind];
		if (Array.isArray(names)) names.push(named.Value);
		else found[named.Kind] = [named.Value];
	}
	return found;
}

export interface Interface {
	readonly name: string;
	readonly address: string;
	/** `192.168.77.1/24` */
	readonly cidr: string;
}

export interface Route {
	readonly device: string;
	/** `0.0.0.0/0` is the default route. */
	readonly range: string;
}

/** The machine's own addresses, best first: those of the interface that leads to the world before the others. */
export function underlay(links: readonly Interface[], routes: readonly Route[]): Interface[] {
	const ways = routes.filter(({ range }) => range === "0.0.0.0/0").map(({ device }) => device);
	const distance = ({ name }: Interface) =>
		ways.includes(name) ? ways.indexOf(name) : ways.length;
	return links.filter(({ name }) => !isInner(name)).toSorted((a, b) => distance(a) - distance(b));
}

/**
 * Ranges the machine can reach that are not ours: no subnet of ours may overlap one. Defaults are left out, the halves
 * of the world that some VPNs route included, since everything would overlap them.
 */
export function foreignRanges(routes: readonly Route[]): string[] {
	const ranges = routes
		.filter(({ device }) => !isOurs(device))
		.flatMap(({ range }) => parseRange(range) ?? [])
		.filter((range) => range.prefix > 1);
	return [
		...new Set(ranges.toSorted((a, b) => a.base - b.base || size(b) - size(a)).map(showRange)),
	];
}

export function readInterfaces(): Interface[] {
	return Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
		(entries ?? [])
			.filter((entry) => entry.family === "IPv4" && !entry.internal)
			.map((entry) => ({ name, address: entry.address, cidr: entry.cidr ?? entry.address })),
	);
}

/** /proc/net/route: the main table, addresses as hexadecimal numbers in the machine's byte order. */
export function readRoutes(text: string): Route[] {
	return text
		.trim()
		.split("\n")
		.slice(1)
		.map((line) => line.split(/\s+/))
		.toSorted((a, b) => Number(a[6]) - Number(b[6]))
		.map(([device = "", destination = "", , , , , , mask = ""]) => ({
			device,
			range: `${fromHex(destination)}/${bitsOf(mask)}`,
		}));
}

/** The largest packet that leaves towards the world. */
export function underlayMtu(routes: readonly Route[]): number {
	const device = routes.find(({ range }) => range === "0.0.0.0/0")?.device ?? routes[0]?.device;
	const path = `/sys/class/net/${device}/mtu`;
	return device && existsSync(path) ? Number(readFileSync(path, "utf8")) : 1500;
}

const isOurs = (name: string) =>
	name === meshInterface || name.startsWith(bridgePrefix) || name.startsWith(vxlanPrefix);

/** Bridges of engines and hypervisors: addresses that only this machine can reach. */
const isInner = (name: string) =>
	isOurs(name) || /^(docker|br-[0-9a-f]{12}$|veth|virbr|cni|lxcbr|lxdbr|podman)/.test(name);

const fromHex = (text: string) =>
	(text.match(/../g) ?? [])
		.reverse()
		.map((byte) => Number.parseInt(byte, 16))
		.join(".");

const bitsOf = (mask: string) =>
	Number.parseInt(mask || "0", 16)
		.toString(2)
		.replaceAll("0", "").length;

function splitLabel(label: string): [string, string] {
	const at = label.indexOf("=");
	return at < 0 ? [label, ""] : [label.slice(0, at), label.slice(at + 1)];
}

const dockerArchitecture = () => (process.arch === "arm64" ? "aarch64" : "x86_64");

function readMemory(): number {
	const kib = /^MemTotal:\s+(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
	return Number(kib ?? 0) * 1024;
}

/** A TUN device has flags of its own: then it is a program that encrypts. */
function wireguardKind(): string {
	const link = `/sys/class/net/${meshInterface}`;
	if (existsSync(link)) return existsSync(`${link}/tun_flags`) ? "userspace" : "kernel";
	return existsSync("/sys/module/wireguard") ? "kernel" : "userspace";
}
