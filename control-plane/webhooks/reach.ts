// What is asked of hosts that users name, and of which of them: forges, and their repositories.

import { contains, parseAddress, parseRange } from "../../model/cidr.ts";
import { forbidden } from "../../model/errors.ts";
import { must } from "../../model/invariant.ts";

/** What whoever runs the control plane lets it reach. */
export interface Reach {
	/** `HOST[:PORT]` that are spoken to without TLS, and wherever they are. */
	readonly insecure: readonly string[];
	/** Whether addresses of private networks may be asked: not where strangers name them. */
	readonly isPrivateAllowed: boolean;
}

export type Send = (request: Request) => Promise<Response>;

/** `fetch`, within that: redirects that are followed by hand come by here as well. */
export const sendWithin =
	({ insecure, isPrivateAllowed }: Reach): Send =>
	async (request) => {
		const { host, hostname } = new URL(request.url);
		if (!isPrivateAllowed && !insecure.includes(host) && isPrivate(hostname)) {
			throw forbidden(`${host} lies in a private network, which is not reached from here`);
		}
		return fetch(request);
	};

/** What the Internet leads to nobody by: RFC 6890, multicast, and what is reserved. */
const privateRanges = [
	"0.0.0.0/8",
	"10.0.0.0/8",
	"100.64.0.0/10",
	"127.0.0.0/8",
	"169.254.0.0/16",
	"172.16.0.0/12",
	"192.0.0.0/24",
	"192.168.0.0/16",
	"198.18.0.0/15",
	"224.0.0.0/3",
].map((range) => must(parseRange(range), range));

/** By its name alone: a name that leads there is found out by whoever connects. */
export function isPrivate(hostname: string): boolean {
	const address = parseAddress(hostname);
	if (address !== undefined) return privateRanges.some((range) => contains(range, address));
	if (hostname.startsWith("[")) return !/^\[[23]/.test(hostname);
	return (
		!hostname.includes(".") || /(^|\.)(localhost|local|internal|lan|home\.arpa)\.?$/.test(hostname)
	);
}
