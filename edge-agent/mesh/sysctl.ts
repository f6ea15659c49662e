// The kernel's settings that our bridges need, and their former values for the day we leave.

import { readFileSync, writeFileSync } from "node:fs";

/** Every setting with its reason. Those of `all` are the machine's own and are put back by `restoreSysctls`. */
const machine: Readonly<Record<string, string>> = {
	// Containers reach the world, and other nodes' clients our published ports. Engines set it too.
	"net/ipv4/ip_forward": "1",
	// The kernel heeds the larger of `all` and the interface's own, and would tell containers of shorter ways.
	"net/ipv4/conf/all/send_redirects": "0",
};

const bridgeSettings: Readonly<Record<string, string>> = {
	send_redirects: "0",
	// Lets the node reach published ports at 127.0.0.1; a rule keeps containers from using it.
	route_localnet: "1",
	// A bridge answers ARP for its own addresses only, not for those of our other networks.
	arp_ignore: "1",
};

export function ensureSysctls(bridges: readonly string[]): void {
	for (const [path, value] of Object.entries(machine)) ensure(path, value);
	for (const bridge of bridges) {
		for (const [name, value] of Object.entries(bridgeSettings)) {
			ensure(`net/ipv4/conf/${bridge}/${name}`, value);
		}
	}
}

/** What `restoreSysctls` needs, taken before the first change. */
export function readSysctls(): Record<string, string> {
	return Object.fromEntries(Object.keys(machine).map((path) => [path, read(path)]));
}

/** Forwarding stays on: the engine needs it as well as we did. */
export function restoreSysctls(former: Readonly<Record<string, string>>): void {
	for (const [path, value] of Object.entries(former)) {
		if (path in machine && path !== "net/ipv4/ip_forward") ensure(path, value);
	}
}

function ensure(path: string, value: string): void {
	if (read(path) !== value) writeFileSync(`/proc/sys/${path}`, value);
}

function read(path: string): string {
	return readFileSync(`/proc/sys/${path}`, "utf8").trim();
}
