// Who is really at the other end, behind proxies of the operator's own: the audit log and the limits of an address are
// about them. `X-Forwarded-For` is everybody's to send, so it counts as far as trusted proxies wrote it, and no further.

import { BlockList, isIP, isIPv4 } from "node:net";

/** Addresses and ranges, of IPv4 and IPv6. */
export type Trusted = Pick<BlockList, "check">;

/** `SKEIN_TRUSTED_PROXY`: addresses and ranges, by commas or blanks. */
export function parseTrusted(text = ""): Trusted {
	const trusted = new BlockList();
	for (const word of text.split(/[\s,]+/).filter(Boolean)) {
		const [, given = "", bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(word) ?? [];
		const address = isIP(given) ? (addressOf(given) ?? given) : given;
		try {
			if (bits === undefined) trusted.addAddress(address, familyOf(address));
			else trusted.addSubnet(address, Number(bits), familyOf(address));
		} catch (cause) {
			throw new Error(
				`SKEIN_TRUSTED_PROXY: ${word} is no address such as 10.0.0.5 or ::1, nor a range such as 10.0.0.0/24 or 2001:db8::/32`,
				{ cause },
			);
		}
	}
	return trusted;
}

/**
 * The last hop that is no trusted proxy. A proxy adds at the end whom it heard, so what stands before that hop is that
 * hop's own word. Where a hop is no address, or all are trusted, it is the last one that could be told.
 */
export function clientOf(peer: string, forwardedFor: string | null, trusted: Trusted): string {
	let client = addressOf(peer) ?? peer;
	for (const hop of (forwardedFor ?? "").split(",").reverse()) {
		if (!trusted.check(client, familyOf(client))) break;
		const address = addressOf(hop.trim());
		if (address === undefined) break;
		client = address;
	}
	return client;
}

const familyOf = (address: string) => (isIPv4(address) ? "ipv4" : "ipv6");

/** In one way of writing, without a port; IPv4 as such, also where it came to a socket of both kinds. */
function addressOf(text: string): string | undefined {
	const plain = /^(\d+\.\d+\.\d+\.\d+)(?::\d+)?$/.exec(text)?.[1];
	if (plain !== undefined) return isIPv4(plain) ? plain : undefined;
	const [, inBrackets, bare = inBrackets] =
		/^(?:\[([^\]%]+)\](?::\d+)?|([^[\]%]+))$/.exec(text) ?? [];
	const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare ?? "")?.[1];
	if (mapped !== undefined) return addressOf(mapped);
	if (bare === undefined || !bare.includes(":") || !URL.canParse(`http://[${bare}]`))
		return undefined;
	return new URL(`http://[${bare}]`).hostname.slice(1, -1);
}
