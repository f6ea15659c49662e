// What is asked of hosts that users name, and of which of them: forges, and their repositories.

import { forbidden } from "../../model/errors.ts";

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

/** By its name alone: a name that leads there is found out by whoever connects. */
export function isPrivate(hostname: string): boolean {
	if (/^(\d+\.){3}\d+$/.test(hostname)) {
		const [a = 0, b = 0] = hostname.split(".").map(Number);
		if (a === 0 || a === 10 || a === 127 || a >= 224) return true;
		if (a === 100) return b >= 64 && b < 128;
		if (a === 169) return b === 254;
		if (a === 172) return b >= 16 && b < 32;
		return a === 192 && b === 168;
	}
	if (hostname.startsWith("[")) return !/^\[[23]/.test(hostname);
	return (
		!hostname.includes(".") || /(^|\.)(localhost|local|internal|lan|home\.arpa)\.?$/.test(hostname)
	);
}
