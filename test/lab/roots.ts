// Root file systems of the nodes: one per Debian suite, built once and cached.
//
// A root is only ever the lower layer of an overlay, so every node of every lab
// uses the same one. root.sh says how it is built.

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

/** Returns the path of a suite's root, after building it if nobody has. */
export async function ensureRoot(suite: Suite): Promise<string> {
	const path = rootPath(suite);
	if (existsSync(path)) return path;
	mkdirSync(cache, { recursive: true });
	const namespaces = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child"];
	const build = ["sh", script, suite, path, await mirror(), packagesOf(suite).join(",")];
	await must(["setpriv", "--pdeathsig", "KILL", "flock", `${path}.lock`, ...namespaces, ...build], {
		timeoutMs: 20 * 60_000,
		env: { ...processEnv(), ...(await proxy()) },
	});
	return path;
}

export function missingRoots(wanted: readonly Suite[]): Suite[] {
	return wanted.filter((suite) => !existsSync(rootPath(suite)));
}

/** The name carries a hash of the recipe: a root of another recipe is another root. */
export function rootPath(suite: Suite): string {
	const recipe = `${packagesOf(suite)} ${readFileSync(script, "utf8")}`;
	return join(cache, `${suite}-${Bun.hash(recipe).toString(16).slice(0, 8)}`);
}

const script = join(import.meta.dir, "root.sh");

/** Since 26, Debian has the engine's command line in a package of its own. */
function packagesOf(suite: Suite): string[] {
	return suite === "bookworm" ? packages : [...packages, "docker-cli"];
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
