// Subnets for networks, and addresses in them.
//
// An address is a lease. The lowest free one is given first, from .2 on: .1 is what people and images take for a
// router, so no task of ours is ever there. Slices, from which engines serve `docker run`, are cut from the upper
// half, top first; the halves meet only where a network runs full.

import {
	contains,
	overlaps,
	parseAddress,
	parseRange,
	type Range,
	showAddress,
	showRange,
	size,
} from "../../../model/cidr.ts";
import type { NodeId } from "../../../model/id.ts";
import { invariant, must } from "../../../model/invariant.ts";
import { gatewayHolder, type Network } from "../../../model/network.ts";
import { nodeName } from "../../../model/node.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Draft } from "../draft.ts";

/** Docker's choice in the days of the first swarms: far from where people begin to number. */
const ingressRange = must(parseRange("10.255.0.0/16"), "a constant");

/** A free subnet, or undefined where the pools have none. */
export function chooseSubnet(snapshot: Snapshot, network: Network): string | undefined {
	const taken = takenRanges(snapshot).map(({ range }) => range);
	if (network.ingress && !taken.some((range) => overlaps(range, ingressRange))) {
		return showRange(ingressRange);
	}
	const { addressPools, subnetPrefix } = snapshot.cluster;
	for (const text of addressPools) {
		const pool = parseRange(text);
		if (!pool || pool.prefix > subnetPrefix) continue;
		const found = firstGap(pool, subnetPrefix, taken);
		if (found !== undefined) return showRange({ base: found, prefix: subnetPrefix });
	}
	return undefined;
}

/** Why the subnet cannot be had, as a sentence; undefined if it can. `except` is the network that asks. */
export function subnetClash(
	snapshot: Ranges,
	subnet: string,
	except?: Network["id"],
): string | undefined {
	const asked = parseRange(subnet);
	if (!asked) return `${subnet} is no IPv4 subnet`;
	const clash = takenRanges(snapshot, except).find(({ range }) => overlaps(range, asked));
	return clash && `subnet ${subnet} overlaps ${clash.what}`;
}

type Ranges = Pick<Snapshot, "networks" | "nodes" | "cluster">;

interface Taken {
	readonly range: Range;
	readonly what: string;
}

function takenRanges(snapshot: Ranges, except?: Network["id"]): Taken[] {
	const taken: Taken[] = [];
	const add = (text: string, what: string) => {
		const range = parseRange(text);
		// A default route leads everywhere and takes nothing.
		if (range && range.prefix > 0) taken.push({ range, what });
	};
	for (const { id, name, subnet } of snapshot.networks.values()) {
		if (subnet !== "" && id !== except) add(subnet, `network ${name} (${subnet})`);
	}
	const { meshRange } = snapshot.cluster;
	add(meshRange, `the range of the nodes' mesh (${meshRange})`);
	for (const node of snapshot.nodes.values()) {
		for (const route of node.description.routes) {
			add(route, `${route}, which node ${nodeName(node)} has a route to`);
		}
	}
	return taken;
}

/** Sweeps the pool once, past each range that is in the way. */
function firstGap(pool: Range, prefix: number, taken: readonly Range[]): number | undefined {
	const step = size({ base: 0, prefix });
	const inTheWay = taken.filter((range) => overlaps(range, pool)).sort((a, b) => a.base - b.base);
	let at = pool.base;
	for (const range of inTheWay) {
		if (range.base >= at + step) break;
		at = Math.max(at, Math.ceil((range.base + size(range)) / step) * step);
	}
	return at + step <= pool.base + size(pool) ? at : undefined;
}

/** The address that the holder has in the network, or gets. A reason, as a sentence, where there is none. */
export function leaseAddress(
	draft: Draft,
	network: Network,
	holder: string,
): { readonly address: string } | { readonly reason: string } {
	const known = draft.leaseOf(network.id, holder);
	if (known) return known;
	// Who comes back while its address rests gets that one: it rests from others.
	const rested = draft.restingOf(network.id, holder);
	if (rested) {
		draft.put({ kind: "put-lease", lease: { ...rested, releasedMs: 0 } });
		return rested;
	}
	const address = lowestFree(draft, network);
	if (address === undefined || isKept(draft, network, holder, address))
		return { reason: exhausted(network) };
	const lease = { network: network.id, address, prefix: 32, holder, releasedMs: 0 };
	draft.put({ kind: "put-lease", lease });
	return lease;
}

/** The last address is for a gateway while there is none: without one, no task could use the others. */
function isKept(draft: Draft, network: Network, holder: string, address: string): boolean {
	const range = parseRange(network.subnet);
	if (holder.startsWith(gatewayPrefix) || !range || size(range) > smallNetwork) return false;
	if (lowestFree(draft, network, (parseAddress(address) ?? 0) + 1) !== undefined) return false;
	for (const lease of draft.leasesOfNetwork(network.id).values()) {
		if (lease.releasedMs === 0 && lease.holder.startsWith(gatewayPrefix)) return false;
	}
	return true;
}

/** In larger ones, gateways are there long before the last address is given. */
const smallNetwork = 256;

const gatewayPrefix = gatewayHolder("" as NodeId);

export function isFull(draft: Draft, network: Network): boolean {
	return lowestFree(draft, network) === undefined;
}

export function exhausted({ name, subnet }: Network): string {
	return `network ${name} has no free address left in ${subnet}`;
}

function lowestFree(draft: Draft, network: Network, from = 0): string | undefined {
	const range = parseRange(network.subnet);
	if (!range) return undefined;
	// Two addresses (/31) and one (/32) are no network; every other leaves out its first and last.
	const [first, last] = [range.base + 2, range.base + size(range) - 2];
	let at = Math.max(from, draft.lowestUnleased(network.id, first));
	for (; at <= last; at++) {
		const slice = sliceAround(draft, network, range, at);
		if (slice) at = slice.base + size(slice) - 1;
		else if (!draft.leasesOfNetwork(network.id).has(showAddress(at))) return showAddress(at);
	}
	return undefined;
}

/** Enough for a dozen people's containers on each node; less where the whole network is small. Null where too small. */
export function slicePrefix(subnet: Range): number | null {
	if (subnet.prefix > 28) return null;
	return Math.min(30, Math.max(28, subnet.prefix + 4));
}

function sliceAround(draft: Draft, network: Network, subnet: Range, at: number): Range | null {
	const prefix = slicePrefix(subnet);
	if (prefix === null || !network.attachable) return null;
	const length = size({ base: 0, prefix });
	const base = at - (at % length);
	const lease = draft.leasesOfNetwork(network.id).get(showAddress(base));
	return lease && lease.prefix < 32 ? { base, prefix } : null;
}

/** The node's block for `docker run`, or a new one while the upper half lasts. */
export function leaseSlice(draft: Draft, network: Network, holder: string, from: Cursor): void {
	if (draft.leaseOf(network.id, holder)) return;
	const subnet = parseRange(network.subnet);
	const prefix = subnet && slicePrefix(subnet);
	if (!subnet || !prefix) return;
	const length = size({ base: 0, prefix });
	const leases = draft.leasesOfNetwork(network.id);
	const middle = subnet.base + size(subnet) / 2;
	const top = subnet.base + size(subnet) - length;
	for (let base = from.get(network.id) ?? top; base >= middle; base -= length) {
		from.set(network.id, base);
		let isFree = true;
		for (let at = base; at < base + length && isFree; at++) isFree = !leases.has(showAddress(at));
		if (!isFree) continue;
		const address = showAddress(base);
		draft.put({
			kind: "put-lease",
			lease: { network: network.id, address, prefix, holder, releasedMs: 0 },
		});
		return;
	}
	from.set(network.id, middle - length);
}

/** Where in each network the search for slices has come to, for the length of one plan. */
export type Cursor = Map<Network["id"], number>;

/** Nobody holds it any more: it rests, so that late packets to the last holder reach nobody else. */
export function release(
	draft: Draft,
	network: Network["id"],
	holder: string,
	releasedMs: number,
): void {
	const lease = draft.leaseOf(network, holder);
	if (!lease) return;
	invariant(releasedMs > 0, "0 would say that it is held");
	draft.put({ kind: "put-lease", lease: { ...lease, releasedMs } });
}

export function isInSlice(
	lease: { readonly address: string; readonly prefix: number },
	address: string,
): boolean {
	const [base, value] = [parseAddress(lease.address), parseAddress(address)];
	return (
		base !== undefined && value !== undefined && contains({ base, prefix: lease.prefix }, value)
	);
}
