// Gets our connections past the firewalls that stand in front of our own tables.
//
// An accept in one nftables table does not overrule a drop in another, so the few accepts we need stand where the drops
// are: in the iptables of the engine's own backend. DOCKER-USER is the chain that engines leave to others, made here
// where it is missing; a chain of our own does the same for hosts that filter what comes in.
//
// All our rules carry a comment with our name. Rules without it are never touched.

import { readFileSync } from "node:fs";
import { bridgePrefix, meshInterface } from "../../model/mesh.ts";
import { probePort, vxlanPort, watchPort } from "../../model/protocol.ts";
import type { Exec } from "../host/exec.ts";
import { publishedMark, relayedMark } from "./ruleset.ts";

const inputChain = "SKEIN-INPUT";
const comment = ["-m", "comment", "--comment", "skein"];

function marked(mark: number): string[] {
	const hex = `0x${mark.toString(16)}`;
	return ["-m", "connmark", "--mark", `${hex}/${hex}`, ...comment, "-j", "ACCEPT"];
}

/** In this order at the head of DOCKER-USER, as `iptables -S` prints them. */
const forwarded: readonly (readonly string[])[] = [
	marked(publishedMark),
	marked(relayedMark),
	// A node passes packets on between two others that cannot reach each other.
	["-i", meshInterface, "-o", meshInterface, ...comment, "-j", "ACCEPT"],
];

function received(wireguardPort: number): readonly (readonly string[])[] {
	const from = (name: string, protocol: string, port: number) => [
		...(name === "" ? [] : ["-i", name]),
		...["-p", protocol, "-m", protocol, "--dport", `${port}`, ...comment, "-j", "ACCEPT"],
	];
	return [
		from("", "udp", wireguardPort),
		from(meshInterface, "udp", vxlanPort),
		from(meshInterface, "udp", watchPort),
		["-i", meshInterface, "-p", "icmp", ...comment, "-j", "ACCEPT"],
		...[meshInterface, `${bridgePrefix}+`].flatMap((name) => [
			from(name, "udp", probePort),
			from(name, "udp", 53),
			from(name, "tcp", 53),
		]),
	];
}

/** Callable at any time; needed after every start of the engine, which puts its own jumps before ours. */
export async function ensureAccepts(exec: Exec, wireguardPort: number): Promise<void> {
	const there = await engineIptables(exec);
	await ensureFirst(there, "DOCKER-USER", forwarded);
	await ensureFirst(there, "FORWARD", [["-j", "DOCKER-USER"]]);
	await ensureFirst(there, inputChain, received(wireguardPort));
	await ensureFirst(there, "INPUT", [["-j", inputChain]]);
}

/** Ours only, in whichever backend it is; the engine's jump to DOCKER-USER stays. */
export async function removeAccepts(exec: Exec): Promise<void> {
	for (const command of commands()) {
		const { iptables, chains } = await look(exec, command);
		for (const [chain, rules] of chains) {
			if (chain === inputChain) continue;
			for (const rule of rules) {
				const isOurs = rule.includes("--comment skein ") || rule === `-j ${inputChain}`;
				if (isOurs) await iptables(["-D", chain, ...rule.split(" ")]);
			}
		}
		if (!chains.has(inputChain)) continue;
		await iptables(["-F", inputChain]);
		await iptables(["-X", inputChain]);
	}
}

type Iptables = (args: readonly string[]) => Promise<string>;

interface Filter {
	readonly iptables: Iptables;
	readonly chains: ReadonlyMap<string, readonly string[]>;
}

/** `iptables` is whichever the machine prefers, and what the engine runs unless told otherwise. */
function commands(): string[] {
	return ["iptables", "iptables-nft", ...(hasLegacyTables() ? ["iptables-legacy"] : [])];
}

/** To ask the legacy backend is to make the kernel load it, so we ask only where it is in use. */
function hasLegacyTables(): boolean {
	try {
		return readFileSync("/proc/net/ip_tables_names", "utf8").includes("filter");
	} catch {
		return false;
	}
}

/** The one whose FORWARD leads to the engine's chains; the preferred one when none does yet. */
async function engineIptables(exec: Exec): Promise<Filter> {
	for (const command of commands()) {
		const there = await look(exec, command);
		const forward = there.chains.get("FORWARD") ?? [];
		if (forward.some((rule) => /-j DOCKER(?!-USER)/.test(rule))) return there;
	}
	return look(exec, "iptables");
}

async function look(exec: Exec, command: string): Promise<Filter> {
	// Others hold the lock for moments: engines, firewall scripts.
	const iptables: Iptables = (args) => exec(command, ["-w", "10", ...args]);
	return { iptables, chains: await readChains(iptables) };
}

/** The filter table's chains with their rules as `iptables -S` prints them; none where there is no such program. */
async function readChains(iptables: Iptables): Promise<Map<string, string[]>> {
	const chains = new Map<string, string[]>();
	let text = "";
	try {
		text = await iptables(["-S"]);
	} catch {
		return chains;
	}
	for (const line of text.split("\n")) {
		const [, option, chain = "", rule = ""] = /^(-[PNA]) (\S+) ?(.*)$/.exec(line) ?? [];
		if (option === "-A") chains.get(chain)?.push(rule);
		else if (option) chains.set(chain, []);
	}
	return chains;
}

/** Puts the rules in at the head before it takes them away further down, so that at no moment one is missing. */
async function ensureFirst(
	{ iptables, chains }: Filter,
	chain: string,
	rules: readonly (readonly string[])[],
): Promise<void> {
	const texts = rules.map((rule) => rule.join(" "));
	const seen = chains.get(chain);
	if (!seen) await iptables(["-N", chain]);
	const isOurs = (rule: string) => texts.includes(rule) || rule.includes("--comment skein ");
	const inPlace =
		texts.every((text, at) => seen?.[at] === text) && !seen?.slice(texts.length).some(isOurs);
	if (inPlace) return;
	for (const [at, rule] of rules.entries()) await iptables(["-I", chain, `${at + 1}`, ...rule]);
	const surplus = (seen ?? []).flatMap((rule, at) => (isOurs(rule) ? [at + rules.length + 1] : []));
	// From the end, since each removal moves up what follows.
	for (const number of surplus.reverse()) await iptables(["-D", chain, `${number}`]);
}
