// The install line on a machine that is one: a kernel of its own, with its WireGuard, beside a node of the lab with
// wireguard-go, so that both kinds are in one mesh.
//
// The machine is slow, since its processor is emulated: what does not need its kernel is tested elsewhere, what needs
// systemd in systemd.test.ts.

import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { NodeDescription } from "../../model/node.ts";
import { machinesAvailable } from "../lab/available.ts";
import type { LabNode } from "../lab/node.ts";
import type { Vm } from "../lab/vm.ts";
import { startCluster, type TestCluster, until } from "./cluster.ts";
import { remains } from "./remains.ts";

const reason = machinesAvailable();
if (reason) console.log(`skipped: ${reason}`);

type Where = Pick<LabNode, "exec">;

/** What a kernel may lack, so that its machine can be no node: the module, and how we call what it does. */
const pieces = [
	["vxlan", "VXLAN"],
	["br_netfilter", "filtering of bridged packets"],
	["nf_tables", "nftables with NAT and maps"],
	["wireguard", "WireGuard"],
] as const;

/** Generous: a busy host emulates slowly. */
const slowMs = 900_000;

describe.skipIf(Boolean(reason))("a machine with a kernel of its own", () => {
	let cluster: TestCluster;
	let machine: Vm;
	let h1: LabNode;

	beforeAll(async () => {
		cluster = await startCluster({
			nodes: [{ name: "h1", suite: "bookworm" }],
			// An emulated machine is silent for long while it starts its agent: nothing of that is a loss.
			env: { SKEIN_NODE_TIMEOUT_MS: "120000" },
		});
		h1 = cluster.lab.node("h1");
		machine = await cluster.lab.addMachine("v1");
	}, 1_200_000);
	afterAll(() => cluster?.stop(), 60_000);

	const sh = (script: string) => machine.exec(["sh", "-c", script], { timeoutMs: slowMs });
	const must = (script: string) => machine.must(["sh", "-c", script], { timeoutMs: slowMs });
	const soon = (what: string, so: () => Promise<boolean>) => until(what, so, 400_000);
	const nodes = () => cluster.docker('node ls --format "{{.Hostname}} {{.Status}}"');

	test(
		"is refused where its kernel lacks the pieces, with each piece and its remedy",
		async () => {
			await must(removeModules(pieces.map(([module]) => module)));
			const kernel = (await must("uname -r")).trim();
			const refused = await cluster.join(machine);
			expect(refused.code).not.toBe(0);
			const said = refused.stderr.split("\n");
			for (const [module, piece] of pieces) {
				const start = `refused: the kernel has no ${piece}`;
				const line = said.find((line) => line.startsWith(start)) ?? refused.stderr;
				expect(line).toStartWith(start);
				expect(line).toContain(`apt-get install --reinstall linux-image-${kernel}`);
				expect(line).toMatch(new RegExp(`brings the module .*\\b${module}\\b`));
			}
			expect(refused.stderr).toContain("apt-get install wireguard-go");
			expect(refused.stderr).toContain("refused: Docker does not run");
			expect(await remains(machine)).toBe("");
			expect(await nodes()).toBe("h1 Ready\n");
		},
		slowMs,
	);

	test(
		"is a node once the pieces are there, by the same line",
		async () => {
			await must(returnModules);
			const ran = await cluster.join(machine);
			expect(`${ran.code} ${ran.stderr}`).toBe("0 ");
			await soon("it is ready", async () => (await nodes()).includes("v1 Ready"));
			const unit = await sh("systemctl is-enabled skein-agent; systemctl is-active skein-agent");
			expect(unit.stdout).toBe("enabled\nactive\n");
			expect((await sh("systemctl is-system-running")).stdout).toBe("running\n");
		},
		slowMs,
	);

	const ask = async (from: Where, url: string) =>
		(await from.exec(["curl", "-sS", "-m", "10", url])).stdout.trim();
	const containerOf = async (on: Where) => {
		const list = ["docker", "ps", "-q", "--filter", "name=^web\\."];
		return (await on.exec(list)).stdout.trim();
	};
	/** The page tells the name of the container that answers: its id. */
	async function serves(url: string, from: Where = cluster.lab.client) {
		const wanted = [await containerOf(h1), await containerOf(machine)];
		const answers = new Set<string>();
		await soon(`both tasks answer at ${url}: ${wanted}`, async () => {
			answers.add((await ask(from, url)).split(" ")[0] ?? "");
			return wanted.every((name) => name !== "" && answers.has(name));
		});
	}
	const published = (on: { address: string }) => `http://${on.address}:8092/cgi-bin/who`;

	test(
		"the kernel's WireGuard and the program make one mesh: tasks answer through VIP and published port",
		async () => {
			await cluster.docker("network create -d overlay front");
			await cluster.docker(
				"service create --name web --mode global --network front --publish 8092:80 lab/busybox:1 httpd -f -p 80 -h /www",
				{ timeoutMs: 300_000 },
			);
			expect(await must("ip -d link show skein0")).toContain(" wireguard ");
			expect(await must("wg show skein0 latest-handshakes")).toMatch(/\t[1-9]\d*$/m);
			expect((await sh("pgrep wireguard-go")).stdout).toBe("");
			expect(await h1.must(["pgrep", "-c", "wireguard-go"])).toBe("1\n");
			expect(kindsOfWireguard(cluster.data)).toEqual({ h1: "userspace", v1: "kernel" });
			await serves(published(h1));
			await serves(published(machine));
			for (const place of [h1, machine]) {
				const container = await containerOf(place);
				await serves("http://web/cgi-bin/who", {
					exec: (command) =>
						place.exec(["docker", "exec", container, "wget", "-qO-", command.at(-1) ?? ""]),
				});
			}
		},
		slowMs,
	);
});

/** As the agents tell it. The engine's API has no place for it, so the control plane's own memory is asked. */
function kindsOfWireguard(data: string): Record<string, string> {
	using store = new Database(join(data, "skein.db"), { readonly: true });
	const rows = store.query<{ description: string }, []>("select description from node").all();
	const told = rows.map(({ description }) => JSON.parse(description) as NodeDescription);
	return Object.fromEntries(told.map(({ hostname, wireguard }) => [hostname, wireguard]));
}

/**
 * Takes modules out of the kernel and off the disk, so that it lacks them as one that was built without. What uses them
 * goes first: the engine and its rules.
 */
function removeModules(modules: readonly string[]): string {
	return `set -e
		systemctl stop docker.socket docker
		nft flush ruleset
		ip link del docker0
		for module in ${modules.join(" ")}; do
			file=$(realpath $(modinfo -n $module))
			mkdir -p /root/away/$(dirname $file)
			mv $file /root/away/$file
		done
		depmod
		# Whoever uses another goes before it.
		for turn in 1 2 3 4 5 6 7 8; do
			for module in $(lsmod | awk '$3 == 0 && /^(nf|xt_|x_tables|ip6?t|br|vxlan|wireguard)/ { print $1 }'); do
				rmmod $module || true
			done
		done
		! lsmod | grep -E '^(${modules.join("|")}) '`;
}

const returnModules = `set -e
	cp -a /root/away/. /
	rm -r /root/away
	depmod`;
