// What the install line does on machines that are not ready to be nodes: whose routes clash with the cluster's ranges,
// that lack programs, that no runtime is for.
//
// The distributions that are not Debian are stood in for by programs with their package managers' names: the lab can
// build none of them. So what is asked of them is tested here, and not what they answer.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { labAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import { startCluster, type TestCluster } from "./cluster.ts";

const reason = labAvailable();
if (reason) console.log(`skipped: ${reason}`);

const line = "http://192.168.77.254:8787/install.sh";

describe.skipIf(Boolean(reason))("the install line", () => {
	let cluster: TestCluster;
	let h1: LabNode;

	beforeAll(async () => {
		cluster = await startCluster({ nodes: [{ name: "h1", suite: "trixie" }], joined: 0 });
		h1 = cluster.lab.node("h1");
	}, 900_000);
	afterAll(() => cluster?.stop(), 60_000);

	const sh = (script: string) => h1.must(["sh", "-c", script]);
	const leftovers = () =>
		sh("ls -d /usr/local/lib/skein /var/lib/skein-agent /etc/*/skein-agent 2>/dev/null || true");

	test.each([
		["the cluster's mesh", "10.200.0.0/16", "10.200.77.1/24", "10.200.77.0/24", "SKEIN_MESH_RANGE"],
		[
			"the network ingress",
			"10.255.0.0/16",
			"10.240.0.1/12",
			"10.240.0.0/12",
			"docker network create --ingress",
		],
	])(
		"a machine with a route into %s is refused, and nothing stays on it",
		async (what, range, address, route, remedy) => {
			await sh(
				`ip link add clash type bridge && ip addr add ${address} dev clash && ip link set clash up`,
			);
			const refused = await cluster.join(h1);
			await sh("ip link del clash");
			expect(refused.code).not.toBe(0);
			expect(refused.stderr).toContain(`${what} uses ${range}, which overlaps ${route}`);
			expect(refused.stderr).toContain("h1 has a route to (`ip route` shows it)");
			expect(refused.stderr).toContain(remedy);
			expect(await leftovers()).toBe("");
			expect(await cluster.docker("node ls -q")).toBe("");
		},
		120_000,
	);

	const tools = ["bridge", "conntrack", "curl", "dockerd", "iptables", "modprobe", "nft", "wg"];

	/** Puts programs away, Debian's package manager too, and the stand-in there, which returns them. `list` is how it answers that. */
	async function takeTools(manager: string, list: string): Promise<void> {
		await h1.stopEngine();
		await sh(`rm -f /run/docker.sock
			for tool in apt-get ${tools.join(" ")}; do
				path=$(command -v $tool)
				mkdir -p /away$(dirname $path)
				mv $path /away$path
			done
			cat >/usr/local/bin/${manager} <<'STAND_IN'
#!/bin/sh
case $* in *list*) ${list} ;; esac
echo "$@" >>/asked
cp -a /away/. /
STAND_IN
			chmod 755 /usr/local/bin/${manager}`);
	}
	async function installWithoutCurl() {
		const stdin = await cluster.lab.client.must(["curl", "-fsSL", line]);
		return h1.exec(["sh", "-s", "--", "--token", "bad"], { stdin, timeoutMs: 120_000 });
	}

	const common = ["conntrack-tools", "curl", "kmod", "nftables", "wireguard-tools"];
	test.each([
		["dnf", "install -y", ["iproute", "iptables-nft", "moby-engine"]],
		["zypper", "--non-interactive install", ["docker", "iproute2", "iptables"]],
		["pacman", "-S --noconfirm --needed", ["docker", "iproute2", "iptables"]],
	])(
		"where there is %s, it is asked for what is missing, by that distribution's names",
		async (manager, words, own) => {
			await takeTools(manager, "exit 0");
			const ran = await installWithoutCurl();
			const asked = await sh(`cat /asked; rm -r /asked /usr/local/bin/${manager} /away`);
			expect(asked).toBe(`${words} ${[...common, ...own].sort().join(" ")}\n`);
			expect(ran.stderr).toContain("token: not a join token");
			expect(await leftovers()).toBe("");
		},
		120_000,
	);

	test("where no package has Docker, it is said where one is, and nothing is installed", async () => {
		await takeTools("dnf", "exit 1");
		const ran = await installWithoutCurl();
		await sh("test ! -e /asked; cp -a /away/. /; rm -r /away /usr/local/bin/dnf");
		await h1.startEngine();
		expect(ran.code).not.toBe(0);
		expect(ran.stderr).toContain("Docker is missing, and this distribution has no package of it");
		expect(ran.stderr).toContain("https://docs.docker.com/engine/install");
		expect(await leftovers()).toBe("");
	}, 120_000);

	test("a machine without glibc is refused before anything is installed", async () => {
		const inside = `wget -qO- ${line} | sh -s -- --token bad`;
		const ran = await h1.exec([
			...["docker", "run", "--rm", "--network", "host", "lab/busybox:1"],
			...["sh", "-c", inside],
		]);
		expect(ran.code).not.toBe(0);
		expect(ran.stderr).toContain("this machine has no glibc");
		expect(ran.stdout).toBe("");
	}, 60_000);

	test("a machine that was refused is a node once it is mended", async () => {
		const ran = await cluster.join(h1);
		expect(`${ran.code} ${ran.stderr}`).toBe("0 ");
		expect(await cluster.docker('node ls --format "{{.Hostname}}"')).toBe("h1\n");
	}, 120_000);
});
