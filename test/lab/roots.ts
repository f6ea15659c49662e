// Root file systems of the nodes: one per Debian suite, built once and cached.
//
// A root is only ever the lower layer of an overlay, so every node of every lab
// uses the same one. root.sh says how it is built. So is the disk of the virtual
// machines, which disk.sh makes of such a root.

import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { must, run } from "./run.ts";

/** Debian's suites, for the engines they carry: 20.10, 26.1, and 28.5 or later. */
export const suites = ["bookworm", "trixie", "sid"] as const;
export type Suite = (typeof suites)[number];

const { SKEIN_LAB_CACHE, SKEIN_LAB_MIRROR } = process.env;
export const cache = SKEIN_LAB_CACHE ?? "/var/cache/skein-lab";

const packages = [
	"busybox-static", // for images
	"ca-certificates",
	"conntrack",
	"curl",
	"docker-registry",
	"docker.io",
	"git",
	"iproute2",
	"iptables",
	"iputils-ping",
	"kmod",
	"nftables",
	"procps",
	"tini",
	"wireguard-go",
	"wireguard-tools",
];

/** So that a node may be booted by it, one suite has systemd; it is the control groups' version 1 that the later ones lack. */
const bookwormPackages = [...packages, "dbus", "systemd-sysv"];

/** A virtual machine has a kernel and an init, and neither the lab's helpers nor a WireGuard beside its kernel's. */
const machineSuite = "trixie";
const machinePackages = [
	"ca-certificates",
	"conntrack",
	"curl",
	"dbus",
	"docker-cli",
	"docker.io",
	"iproute2",
	"iptables",
	"kmod",
	"linux-image-cloud-amd64",
	"nftables",
	"procps",
	"qemu-guest-agent",
	"systemd-sysv",
	"udev",
	"wireguard-tools",
];

/** Returns the path of a suite's root, after building it if nobody has. */
export async function ensureRoot(suite: Suite): Promise<string> {
	await ensure(rootPath(suite), rootScript, suite, packagesOf(suite));
	return rootPath(suite);
}

/** Returns the folder with the virtual machines' disk, kernel and initial ramdisk, after making them if nobody has. */
export async function ensureDisk(): Promise<string> {
	await ensure(diskPath(), diskScript, machineSuite, machinePackages);
	return diskPath();
}

async function ensure(path: string, script: string, suite: Suite, wanted: readonly string[]) {
	if (existsSync(path)) return;
	mkdirSync(cache, { recursive: true });
	const namespaces = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child"];
	const build = ["sh", script, suite, path, await mirror(), wanted.join(",")];
	await must(["setpriv", "--pdeathsig", "KILL", "flock", `${path}.lock`, ...namespaces, ...build], {
		timeoutMs: 20 * 60_000,
		env: { ...processEnv(), ...(await proxy()) },
	});
}

export function missingRoots(wanted: readonly Suite[]): Suite[] {
	return wanted.filter((suite) => !existsSync(rootPath(suite)));
}

/** The name carries a hash of the recipe: a root of another recipe is another root. */
export function rootPath(suite: Suite): string {
	return named(suite, `${packagesOf(suite)} ${readFileSync(rootScript, "utf8")}`);
}

export function diskPath(): string {
	const scripts = [rootScript, diskScript].map((script) => readFileSync(script, "utf8"));
	return named(`machine-${machineSuite}`, `${machinePackages} ${scripts}`);
}

function named(what: string, recipe: string): string {
	return join(cache, `${what}-${Bun.hash(recipe).toString(16).slice(0, 8)}`);
}

const rootScript = join(import.meta.dir, "root.sh");
const diskScript = join(import.meta.dir, "disk.sh");

/** Since 26, Debian has the engine's command line in a package of its own, and what builds with BuildKit in another. */
function packagesOf(suite: Suite): string[] {
	return suite === "bookworm" ? bookwormPackages : [...packages, "docker-buildx", "docker-cli"];
}

/** This machine's own Debian mirror, if it is a Debian machine. */
async function mirror(): Promise<string> {
	if (SKEIN_LAB_MIRROR) return SKEIN_LAB_MIRROR;
	const format = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
	const { stdout } = await run(["apt-get", ...format]);
	const debian = stdout.split("\n").find((uri) => /\/debian\/?$/.test(uri));
	return debian ?? "http://deb.debian.org/debian";
}

async function proxy(): Promise<Record<string, string>> {
	const { stdout } = await run(["apt-config", "shell", "PROXY", "Acquire::http::Proxy"]);
	const found = /PROXY='(.+)'/.exec(stdout)?.[1];
	return found ? { http_proxy: found } : {};
}

/** apt and dpkg speak to people in their language unless told. */
function processEnv(): Record<string, string> {
	const inherited = ["PATH", "HOME", "http_proxy", "https_proxy", "no_proxy"];
	const entries = inherited.map((name) => [name, process.env[name]] as const);
	const set = entries.filter((entry): entry is [string, string] => entry[1] !== undefined);
	return { ...Object.fromEntries(set), LC_ALL: "C.UTF-8", DEBIAN_FRONTEND: "noninteractive" };
}
