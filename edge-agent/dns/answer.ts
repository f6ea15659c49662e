// What to say to one question: an answer of ours, or "forward".
//
// Pure. Bytes are `wire.ts`'s, sockets and upstream servers are `server.ts`'s.

import { contains, parseAddress } from "../../model/cidr.ts";
import { scope, type Zone, type ZoneNetwork } from "./zone.ts";

export interface Query {
	readonly name: string;
	/** `A`, `AAAA`, `PTR`, …; `ANY`; `TYPE65` for what has no name here. */
	readonly type: string;
}

export interface Reply {
	readonly code: "NOERROR" | "NXDOMAIN";
	readonly records: readonly Answer[];
}

export type Answer =
	| { readonly type: "A"; readonly address: string }
	| { readonly type: "PTR"; readonly name: string };

/** `random` gives numbers from 0 up to 1, as Math.random does: who takes the first of several addresses spreads too. */
export function answer(
	{ name, type }: Query,
	zone: Zone,
	source: string,
	random: () => number,
): Reply | "forward" {
	const asked = name.toLowerCase().replace(/\.$/, "");
	const seen = scope(zone, source);
	const address = reversed(asked);
	if (address !== undefined) return reverse(address, type, zone, seen);
	const addresses = lookUp(asked, seen);
	if (!addresses) {
		// No such thing on the Internet: asking there would only tell strangers about our services. And an upstream that
		// fails would make the engine's resolver ask the next node, which sees this node and not the container.
		const isHidden = seen.length > 0 && lookUp(asked, zone.networks) !== undefined;
		const isOurs = asked.startsWith("tasks.") || isHidden;
		return isOurs ? { code: "NXDOMAIN", records: [] } : "forward";
	}
	// A name that exists has no error, whatever is asked of it: musl takes NXDOMAIN for AAAA as the end of the name.
	if (type !== "A" && type !== "ANY") return { code: "NOERROR", records: [] };
	return {
		code: "NOERROR",
		records: shuffled(addresses, random).map((address) => ({ type: "A", address })),
	};
}

/** `web`, or `web.mynet`. Undefined when nobody in sight has the name. */
function lookUp(asked: string, seen: readonly ZoneNetwork[]): readonly string[] | undefined {
	for (const { addresses } of seen) {
		const found = addresses.get(asked);
		if (found) return found;
	}
	for (const { name, addresses } of seen) {
		const suffix = `.${name}`;
		const found = asked.endsWith(suffix)
			? addresses.get(asked.slice(0, -suffix.length))
			: undefined;
		if (found) return found;
	}
	return undefined;
}

/** `5.1.0.10.in-addr.arpa` is 10.0.1.5; undefined for any other name. */
function reversed(asked: string): string | undefined {
	const match = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\.in-addr\.arpa$/.exec(asked);
	return match?.slice(1).toReversed().join(".");
}

function reverse(
	address: string,
	type: string,
	zone: Zone,
	seen: readonly ZoneNetwork[],
): Reply | "forward" {
	const value = parseAddress(address) ?? -1;
	const isIn = ({ range }: ZoneNetwork) => range !== undefined && contains(range, value);
	if (!zone.networks.some(isIn)) return "forward";
	const name = seen.find(isIn)?.names.get(address);
	if (name === undefined) return { code: "NXDOMAIN", records: [] };
	return {
		code: "NOERROR",
		records: type === "PTR" || type === "ANY" ? [{ type: "PTR", name }] : [],
	};
}

function shuffled(addresses: readonly string[], random: () => number): string[] {
	const list = [...addresses];
	for (let at = list.length - 1; at > 0; at--) {
		const other = Math.floor(random() * (at + 1));
		[list[at], list[other]] = [list[other] as string, list[at] as string];
	}
	return list;
}
