// Whether this machine can be a node, before it is one: each missing piece, with the command that mends it.
//
// The installer refuses on the first list; the second is worth a word and no more.

import { createSocket } from "node:dgram";
import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { messageOf } from "../model/errors.ts";
import { meshInterface } from "../model/mesh.ts";
import { wireguardPort } from "../model/protocol.ts";
import { engineInfo } from "./describe.ts";
import type { Engine } from "./host/engine.ts";
import { type Exec, ExecError } from "./host/exec.ts";

export interface Findings {
	readonly refusals: readonly string[];
	readonly warnings: readonly string[];
}

/** A clock that is further off breaks certificates and makes nonsense of every log; ours does not depend on it. */
const mostClockSkewMs = 60_000;

export async function preflight(exec: Exec, engine: Engine, url: string): Promise<Findings> {
	const found = await Promise.all([
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

/** What the kernel must have, how to see that it has, and the modules that bring it. */
const features: readonly (readonly [what: string, script: string, ...modules: string[]])[] = [
	["bridges", "ip link add skein-t type bridge", "bridge"],
	["VXLAN", "ip link add skein-t type vxlan id 9 local 127.0.0.1 dstport 4790", "vxlan"],
	[
		"nftables with NAT and maps",
		`nft '
			table ip skein_t {
				map m { typeof ip daddr . numgen random mod 2 : ip daddr; }
				chain c { type nat hook prerouting priority -110; fib daddr type local dnat to ip daddr . numgen random mod 2 map @m; }
				chain d { type nat hook postrouting priority 90; masquerade; }
				chain e { type filter hook forward priority 0; ct state new reject; }
			}
			table bridge skein_t {
				chain c { type filter hook output priority 0; }
			}'`,
		...["nf_tables", "nft_chain_nat", "nft_numgen", "nft_nat", "nft_masq", "nft_ct"],
		...["nft_fib_ipv4", "nft_reject_ipv4"],
	],
	[
		"filtering of bridged packets",
		"cat /proc/sys/net/bridge/bridge-nf-call-iptables",
		"br_netfilter",
	],
];

const hasWireguard = "ip link add skein-t type wireguard";

async function lookAtKernel(exec: Exec): Promise<Findings> {
	// The rest of them come when they are used.
	const early = ["bridge", "vxlan", "br_netfilter", "nf_tables", "wireguard", "tun"];
	await exec("modprobe", ["-q", "-a", ...early]).catch(() => "");
	const refusals: string[] = [];
	for (const [what, script, ...modules] of features) {
		const why = await complaintOf(exec, script);
		if (why === null) continue;
		refusals.push(`the kernel has no ${what} (${why}): ${await remedyFor(exec, modules)}`);
	}
	if ((await complaintOf(exec, hasWireguard)) === null) return refuse(...refusals);
	if (Bun.which("wireguard-go") === null) {
		refusals.push(
			`the kernel has no WireGuard: ${await remedyFor(exec, ["wireguard"])}; ` +
				"or put wireguard-go on the PATH, a tenth as fast: apt-get install wireguard-go",
		);
	} else if (!existsSync("/dev/net/tun")) {
		refusals.push(
			"wireguard-go needs /dev/net/tun: modprobe tun, or pass the device to this container",
		);
	}
	const slower = "the kernel has no WireGuard: wireguard-go does it, a tenth as fast";
	return { refusals, warnings: refusals.length > 0 ? [] : [slower] };
}

/** Tried in a namespace of its own, so that the try leaves nothing. Null where it works. */
function complaintOf(exec: Exec, script: string): Promise<string | null> {
	return exec("unshare", ["-n", "sh", "-c", script]).then(
		() => null,
		(error: Error) => lastWords(error),
	);
}

/** The first line of what it said, without the program's name. */
function lastWords(error: Error): string {
	const said =
		error instanceof ExecError && error.stderr.trim() !== "" ? error.stderr : error.message;
	return said.trim().split("\n")[0]?.split(": ").at(-1) ?? "";
}

/** A module that is on the machine wants to be loaded; one that is not, to be installed. */
async function remedyFor(exec: Exec, modules: readonly string[]): Promise<string> {
	const isHere = (module: string) =>
		exec("modinfo", [module]).then(
			() => true,
			() => false,
		);
	const found = await Promise.all(modules.map(isHere));
	const absent = modules.filter((_, index) => !found[index]);
	if (absent.length === 0) return `modprobe -a ${modules.join(" ")}`;
	const kernel = release();
	if (!existsSync(`/lib/modules/${kernel}`)) {
		return (
			`the modules of kernel ${kernel} are not on this machine: reboot, if it was upgraded since the boot; ` +
			`in a container, modprobe -a ${modules.join(" ")} on its host`
		);
	}
	return `${installOf(kernel)} brings the module ${absent.join(", ")}`;
}

/** Where each distribution keeps the modules that a small installation goes without. */
function installOf(kernel: string): string {
	if (Bun.which("apt-get")) {
		return isUbuntu()
			? `apt-get install linux-modules-extra-${kernel}`
			: `apt-get install --reinstall linux-image-${kernel}`;
	}
	if (Bun.which("dnf")) return `dnf install kernel-modules-${kernel}`;
	if (Bun.which("zypper")) return "zypper install kernel-default, then a reboot,";
	if (Bun.which("pacman")) return "pacman -S linux, then a reboot,";
	return `a package of kernel ${kernel}'s modules`;
}

const isUbuntu = () =>
	existsSync("/etc/os-release") &&
	/^ID(_LIKE)?=.*ubuntu/m.test(readFileSync("/etc/os-release", "utf8"));

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
		return refuse(
			`Docker does not run (${messageOf(error)}): systemctl start docker, or service docker start; ` +
				"journalctl -u docker, or /var/log/docker.log, says what keeps it",
		);
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
