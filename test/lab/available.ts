// Whether this machine can run the lab, and how to make it able to.

import { existsSync } from "node:fs";
import { diskPath, missingRoots, type Suite, suites } from "./roots.ts";
import { must } from "./run.ts";

/** A program the lab calls on the host, and the Debian package that has it. */
const tools = {
	curl: "curl",
	flock: "util-linux",
	ip: "iproute2",
	nft: "nftables",
	nsenter: "util-linux",
	ping: "iputils-ping",
	setpriv: "util-linux",
	tar: "tar",
	unshare: "util-linux",
} as const;

const builders = { mmdebstrap: "mmdebstrap" } as const;

/** What virtual machines need beside. */
const machineTools = {
	"qemu-img": "qemu-utils",
	"qemu-system-x86_64": "qemu-system-x86",
} as const;

const diskBuilders = { mke2fs: "e2fsprogs" } as const;

/** Modules that a node's engine or agent loads on a real machine, where it may. */
const modules = [
	"overlay",
	"bridge",
	"br_netfilter",
	"veth",
	"vxlan",
	"tun",
	"nf_tables",
	"ip_tables",
];

/** The reason why the lab cannot run here, or nothing if it can. */
export function labAvailable(wanted: readonly Suite[] = suites): string | undefined {
	if (process.platform !== "linux") return `The lab needs Linux; this is ${process.platform}.`;
	if (process.getuid?.() !== 0) return "The lab needs root: it makes namespaces and mounts.";
	const missing = missingTools(wanted);
	if (missing.length > 0) {
		return `The lab needs ${missing.join(", ")}: run \`npm run lab -- --install\`, which asks apt for them.`;
	}
	if (Bun.which("modprobe")) {
		for (const module of modules) Bun.spawnSync(["modprobe", "-q", module], quiet);
	}
	if (!existsSync("/dev/net/tun")) return "The lab needs /dev/net/tun, for WireGuard.";
	const namespaces = ["unshare", "-m", "-n", "-p", "-u", "-i", "-C", "-f", "--mount-proc"];
	const script = "mount -t tmpfs none /mnt && ip link add skein0 type bridge && nft list ruleset";
	const tried = Bun.spawnSync([...namespaces, "sh", "-c", script], quiet);
	if (tried.exitCode === 0) return undefined;
	return `The lab needs namespaces, bridges and nftables: ${tried.stderr.toString().trim()}`;
}

/** The same for a lab with virtual machines in it. */
export function machinesAvailable(): string | undefined {
	if (process.arch !== "x64")
		return `The lab's machines are for x64 alone; this is ${process.arch}.`;
	const missing = missingMachineTools();
	if (missing.length === 0) return labAvailable();
	return `The lab's machines need ${missing.join(", ")}: run \`npm run lab -- --install\`, which asks apt for them.`;
}

/** Installs the tools the lab calls on the host, by apt. Needs root. */
export async function installLabTools(): Promise<void> {
	const forMachines = process.arch === "x64" ? missingMachineTools() : [];
	if (missingTools(suites).length + forMachines.length === 0) return;
	const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" } as Record<string, string>;
	const packages = new Set<string>([...Object.values(tools), ...Object.values(builders)]);
	packages.add("debian-archive-keyring");
	if (forMachines.length > 0) {
		for (const name of Object.values({ ...machineTools, ...diskBuilders })) packages.add(name);
	}
	await must(["apt-get", "update"], { env, timeoutMs: 300_000 });
	const install = ["apt-get", "install", "-y", "--no-install-recommends"];
	await must([...install, ...packages], { env, timeoutMs: 600_000 });
}

const quiet = { stdin: "ignore", stdout: "ignore", stderr: "pipe" } as const;

function missingTools(wanted: readonly Suite[]): string[] {
	const needed = missingRoots(wanted).length > 0 ? { ...tools, ...builders } : tools;
	return Object.keys(needed).filter((tool) => Bun.which(tool) === null);
}

function missingMachineTools(): string[] {
	const needed = existsSync(diskPath()) ? machineTools : { ...machineTools, ...diskBuilders };
	return Object.keys(needed).filter((tool) => Bun.which(tool) === null);
}
