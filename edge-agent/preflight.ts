// Whether this machine can be a node, before it is one: each missing piece, with the command that mends it.
//
// The installer refuses on the first list; the second is worth a word and no more.

import { createSocket } from "node:dgram";
import { existsSync } from "node:fs";
import { meshInterface } from "../model/mesh.ts";
import { wireguardPort } from "../model/protocol.ts";
import { engineInfo } from "./describe.ts";
import type { Engine } from "./host/engine.ts";
import type { Exec } from "./host/exec.ts";

export interface Findings {
	readonly refusals: readonly string[];
	readonly warnings: readonly string[];
}

/** A clock that is further off breaks certificates and makes nonsense of every log; ours does not depend on it. */
const mostClockSkewMs = 60_000;

export async function preflight(exec: Exec, engine: Engine, url: string): Promise<Findings> {
	const found = await Promise.all([
		lookAtTools(),
		lookAtKernel(exec),
		lookAtEngine(engine),
		lookAtPort(),
		lookAtControlPlane(url),
	]);
	return {
		refusals: found.flatMap(({ refusals }) => refusals),
		warnings: found.flatMap(({ warnings }) => warnings),
	};
}

const refuse = (...refusals: string[]): Findings => ({ refusals, warnings: [] });
const warn = (...warnings: string[]): Findings => ({ refusals: [], warnings });
const fine: Findings = { refusals: [], warnings: [] };

const tools = {
	ip: "iproute2",
	bridge: "iproute2",
	nft: "nftables",
	iptables: "iptables",
	wg: "wireguard-tools",
	conntrack: "conntrack",
	setsid: "util-linux",
} as const;

async function lookAtTools(): Promise<Findings> {
	const missing = Object.entries(tools).filter(([tool]) => Bun.which(tool) === null);
	return refuse(...missing.map(([tool, name]) => `${tool} is missing: apt-get install ${name}`));
}

/** Each feature is tried in a namespace of its own, so that the try leaves nothing. */
async function lookAtKernel(exec: Exec): Promise<Findings> {
	const features: readonly (readonly [what: string, script: string, remedy: string])[] = [
		["bridges", "ip link add skein-t type bridge", "modprobe bridge"],
		["VXLAN", "ip link add skein-t type vxlan id 9 local 127.0.0.1 dstport 4790", "modprobe vxlan"],
		[
			"nftables with NAT and maps",
			"nft 'table ip skein_t { map m { typeof ip daddr . numgen random mod 2 : ip daddr; }; chain c { type nat hook prerouting priority -110; policy accept; }; }'",
			"modprobe -a nf_tables nft_chain_nat",
		],
		[
			"filtering of bridged packets",
			"test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
			"modprobe br_netfilter",
		],
	];
	for (const module of ["bridge", "vxlan", "br_netfilter", "nf_tables", "wireguard", "tun"]) {
		await exec("modprobe", ["-q", module]).catch(() => "");
	}
	const refusals: string[] = [];
	for (const [what, script, remedy] of features) {
		await exec("unshare", ["-n", "sh", "-c", script]).catch((error: Error) => {
			refusals.push(`the kernel has no ${what}: ${remedy} (${error.message.split(": ").at(-1)})`);
		});
	}
	const kernel = await exec("unshare", [
		"-n",
		"ip",
		"link",
		"add",
		"skein-t",
		"type",
		"wireguard",
	]).then(
		() => true,
		() => false,
	);
	if (kernel) return refuse(...refusals);
	if (Bun.which("wireguard-go") === null) {
		refusals.push(
			"the kernel has no WireGuard, and wireguard-go is missing: apt-get install wireguard-go",
		);
	} else if (!existsSync("/dev/net/tun")) {
		refusals.push(
			"wireguard-go needs /dev/net/tun: modprobe tun, or pass the device to this container",
		);
	}
	const slower = "the kernel has no WireGuard: wireguard-go does it, a tenth as fast";
	return { refusals, warnings: [slower] };
}

async function lookAtEngine(engine: Engine): Promise<Findings> {
	try {
		const info = await engineInfo(await engine.connect());
		const { OSType, LiveRestoreEnabled } = info;
		if (OSType !== "linux")
			return refuse(`Docker runs ${OSType} containers: switch it to Linux ones`);
		if (info.SecurityOptions?.some((option) => option.includes("rootless"))) {
			return refuse("Docker runs rootless, and cannot use the machine's bridges: run it as root");
		}
		return LiveRestoreEnabled
			? fine
			: warn(
					'containers end when Docker is restarted, and start again: {"live-restore": true} in /etc/docker/daemon.json keeps them running',
				);
	} catch (error) {
		return refuse(`Docker: ${error instanceof Error ? error.message : error}`);
	}
}

/** Taken by ourselves is no news. */
async function lookAtPort(): Promise<Findings> {
	if (existsSync(`/sys/class/net/${meshInterface}`)) return fine;
	const socket = createSocket("udp4");
	const { promise, resolve } = Promise.withResolvers<Findings>();
	socket.once("error", (error) =>
		resolve(
			refuse(
				`UDP port ${wireguardPort} is taken (${error.message}): find the program with "ss -lnup sport = :${wireguardPort}" and stop it`,
			),
		),
	);
	socket.bind(wireguardPort, () => resolve(fine));
	const found = await promise;
	socket.close();
	return found;
}

/** Reached as the agent will reach it, through a proxy where there is one. */
async function lookAtControlPlane(url: string): Promise<Findings> {
	const proxies = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
	const proxy = proxies.map((name) => process.env[name]).find(Boolean);
	const by = proxy
		? ` (by the proxy ${proxy.replace(/\/\/[^@/]*@/, "//")}; NO_PROXY leaves hosts out)`
		: "";
	try {
		const reply = await fetch(`${url}/_ping`, { signal: AbortSignal.timeout(10_000) });
		if (!reply.ok) return refuse(`${url} answers ${reply.status}${by}: is that the control plane?`);
		const theirs = Date.parse(reply.headers.get("date") ?? "");
		const skewMs = Math.abs(Date.now() - theirs);
		return skewMs > mostClockSkewMs
			? warn(
					`the clock is ${Math.round(skewMs / 1000)} s off the control plane's: timedatectl set-ntp true`,
				)
			: fine;
	} catch (error) {
		return refuse(`${url} does not answer${by}: ${error instanceof Error ? error.message : error}`);
	}
}
