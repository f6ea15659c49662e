// The kernel's settings that our bridges need. Those of the bridges go with them.

import { readFileSync, writeFileSync } from "node:fs";

const bridgeSettings: Readonly<Record<string, string>> = {
	send_redirects: "0",
	// Lets the node reach published ports at 127.0.0.1; a rule keeps containers from using it.
	route_localnet: "1",
	// A bridge answers ARP for its own addresses only, not for those of our other networks.
	arp_ignore: "1",
};

/** Forwarding is the machine's own setting. Engines turn it on as well, so nobody turns it off behind us. */
export function ensureSysctls(bridges: readonly string[]): void {
	ensure("net/ipv4/ip_forward", "1");
	for (const bridge of bridges) {
		for (const [name, value] of Object.entries(bridgeSettings)) {
			ensure(`net/ipv4/conf/${bridge}/${name}`, value);
		}
	}
}

function ensure(path: string, value: string): void {
	const file = `/proc/sys/${path}`;
	if (readFileSync(file, "utf8").trim() !== value) writeFileSync(file, value);
}
