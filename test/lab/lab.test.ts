// The lab itself: that it is what tests take it for, and that it leaves nothing.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { labAvailable } from "./available.ts";
import { remains, sweep } from "./identity.ts";
import { type Lab, startLab } from "./lab.ts";
import { ensureRoot, suites } from "./roots.ts";
import { type Place, until } from "./run.ts";

const reason = labAvailable();
if (reason) console.log(`The lab's tests are skipped. ${reason}`);

/** Roots may have to be built first. */
const buildMs = 15 * 60_000;
const testMs = 60_000;

describe.skipIf(reason !== undefined)("a lab", () => {
	let lab: Lab;
	const node = (name: string) => lab.node(name);

	beforeAll(async () => {
		lab = await startLab({
			nodes: [
				{ name: "h1", suite: "bookworm" },
				{ name: "h2", suite: "sid" },
				{ name: "h3", suite: "trixie" },
			],
		});
	}, buildMs);
	afterAll(() => lab?.stop(), testMs);

	test("has three engines of three ages, which also answer the host", async () => {
		const asked = lab.nodes.map(async ({ docker }) => {
			const response = await fetch("http://docker/version", { unix: docker });
			return ((await response.json()) as { Version: string }).Version;
		});
		const [oldest = "", newest = "", middle = ""] = await Promise.all(asked);
		expect(oldest).toStartWith("20.10.");
		expect(middle).toStartWith("26.1.");
		expect(Number.parseInt(newest, 10)).toBeGreaterThanOrEqual(28);
	});

	test(
		"runs containers that the outside reaches by published ports",
		async () => {
			const publish = ["docker", "run", "-d", "--name=web", "-p=8080:80", "lab/busybox:1"];
			const answers = lab.nodes.map(async (node) => {
				await node.must([...publish, "httpd", "-f", "-p", "80", "-h", "/www"]);
				return get(lab.client, `http://${node.address}:8080/cgi-bin/who`);
			});
			for (const answer of await Promise.all(answers)) {
				expect(answer).toMatch(/^[0-9a-f]{12} 192\.168\.77\.254$/);
			}
		},
		testMs,
	);

	test("gives each node its own name, processes and groups", async () => {
		const shown = await node("h1").must(["sh", "-c", "hostname; echo $$; cat /proc/1/cgroup"]);
		const [name, pid, ...groups] = shown.trim().split("\n");
		expect(name).toBe("h1");
		expect(Number(pid)).toBeLessThan(2000);
		expect(
			groups.filter((group) => !/:(\/|\/init\.scope)$/.test(group) && /:[a-z]/.test(group)),
		).toEqual([]);
	});

	test("has what WireGuard needs", async () => {
		for (const one of lab.nodes) {
			await one.must(["wireguard-go", "wg9"]);
			expect(await one.must(["wg", "show", "wg9"])).toContain("interface: wg9");
			await one.must(["ip", "link", "del", "wg9"]);
		}
	});

	test("cuts and mends a link, and no other", async () => {
		await lab.cut("h1", "h2");
		expect(await reaches("h1", "h2")).toBe(false);
		expect(await reaches("h2", "h1")).toBe(false);
		expect(await reaches("h1", "h3")).toBe(true);
		await lab.mend("h1", "h2");
		// The kernel asks for a neighbour that did not answer once a second.
		await until("h1 to reach h2", 5000, () => reaches("h1", "h2"));
	});

	test("cuts a node off from the outside", async () => {
		await lab.cut("client", "h3");
		expect((await lab.client.exec(pinged(node("h3").address))).code).not.toBe(0);
		expect(await reaches("h1", "h3")).toBe(true);
		await lab.mend("h3", "client");
		const ping = async () => (await lab.client.exec(pinged(node("h3").address))).code === 0;
		await until("the client to reach h3", 5000, ping);
	});

	test("drops UDP to one port between nodes", async () => {
		expect(await refused(4789)).toBe(true);
		await lab.dropUdp(4789);
		expect(await refused(4789)).toBe(false);
		expect(await refused(4788)).toBe(true);
		await lab.allowUdp(4789);
		expect(await refused(4789)).toBe(true);
		await lab.dropUdp(4789, { from: "h2", to: "h1" });
		expect(await refused(4789)).toBe(true);
		await lab.dropUdp(4789, { from: "h1", to: "h2" });
		expect(await refused(4789)).toBe(false);
		await lab.allowUdp(4789, { from: "h1", to: "h2" });
		await lab.allowUdp(4789, { from: "h2", to: "h1" });
	});

	test(
		"keeps a node's disk over a power-off, and boots what is enabled there",
		async () => {
			const h2 = node("h2");
			const script =
				'#!/bin/sh\n### BEGIN INIT INFO\n# Provides: agent\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\necho "$1" >>/var/lib/skein/log\n';
			await h2.must(["mkdir", "-p", "/var/lib/skein"]);
			await h2.must(["tee", "/etc/init.d/agent"], { stdin: script });
			await h2.must(["chmod", "755", "/etc/init.d/agent"]);
			await h2.must(["update-rc.d", "agent", "defaults"]);
			const always = ["docker", "run", "-d", "--name=always", "--restart=always"];
			await h2.must([...always, "lab/busybox:1", "sleep", "1000"]);

			await h2.stop();
			expect(await reaches("h1", "h2")).toBe(false);
			expect(() => h2.pid).toThrow("node h2 is off");
			await h2.start();

			expect(await h2.must(["cat", "/var/lib/skein/log"])).toBe("start\n");
			expect(await h2.must(["docker", "ps", "--format={{.Names}}"])).toBe("always\n");
			expect(await reaches("h1", "h2")).toBe(true);
		},
		testMs,
	);

	test(
		"stops, kills and starts an engine while its containers go on",
		async () => {
			for (const one of lab.nodes) {
				await one.must(["docker", "run", "-d", "--name=on", "lab/busybox:1", "sleep", "1000"]);
				const started = ["docker", "inspect", "--format={{.State.Pid}}", "on"];
				const pid = await one.must(started);
				await one.stopEngine();
				expect((await one.exec(["docker", "ps"])).code).not.toBe(0);
				await one.startEngine();
				await one.killEngine();
				await one.startEngine();
				expect(await one.must(started)).toBe(pid);
			}
		},
		testMs,
	);

	test("pauses a node: its kernel answers, its programs do not", async () => {
		const h3 = node("h3");
		h3.pause();
		expect(await reaches("h1", "h3")).toBe(true);
		const asked = fetch("http://docker/_ping", {
			unix: h3.docker,
			signal: AbortSignal.timeout(300),
		});
		expect(
			await asked.then(
				() => "answered",
				() => "silent",
			),
		).toBe("silent");
		h3.unpause();
		expect((await fetch("http://docker/_ping", { unix: h3.docker })).status).toBe(200);
	});

	test("lets a program of the host serve the nodes, and the controller by a socket", async () => {
		const socket = join(lab.dir, "control.sock");
		const server = lab.client.spawn([process.execPath, "-e", serving], { env: { SOCKET: socket } });
		await until("the server's socket", 10_000, () => existsSync(socket));
		const url = `http://${lab.client.address}:8787`;
		expect(await get(node("h1"), url)).toBe(process.cwd());
		expect(await (await fetch("http://server", { unix: socket })).text()).toBe(process.cwd());
		server.kill();
		expect(await server.exited).not.toBe(0);
		expect((await node("h1").exec(["curl", "--silent", url])).code).not.toBe(0);
	});

	test(
		"has a registry that wants a password",
		async () => {
			const { address, stop } = await lab.registry({ users: { ann: "secret" } });
			const image = `${address}/ann/busybox:1`;
			const [h1, h2] = [node("h1"), node("h2")];
			await h1.must(["docker", "tag", "lab/busybox:1", image]);
			expect((await h1.exec(["docker", "push", image])).code).not.toBe(0);
			const login = ["docker", "login", "-u=ann", "--password-stdin", address];
			await h1.must(login, { stdin: "secret" });
			await h1.must(["docker", "push", image]);
			expect((await h2.exec(["docker", "pull", image])).code).not.toBe(0);
			await h2.must(login, { stdin: "secret" });
			await h2.must(["docker", "pull", image]);
			await stop();
		},
		testMs,
	);

	test("ends a command that takes too long, and does not wait for what it left running", async () => {
		const h1 = node("h1");
		expect((await h1.exec(["sleep", "1000"], { timeoutMs: 200 })).code).toBe(124);
		const left = await h1.exec(["sh", "-c", "sleep 1000 & echo done"]);
		expect(left.stdout).toBe("done\n");
		await h1.must(["pkill", "sleep"]);
	});

	async function reaches(from: string, to: string): Promise<boolean> {
		return (await node(from).exec(pinged(node(to).address))).code === 0;
	}

	/** Nothing listens on h2: a datagram that arrives there is refused, and the next one sent says so. */
	async function refused(port: number): Promise<boolean> {
		const script = `exec 3<>/dev/udp/${node("h2").address}/${port}; echo >&3; sleep 0.3; echo >&3`;
		return (await node("h1").exec(["bash", "-c", script])).stderr.includes("refused");
	}
});

describe.skipIf(reason !== undefined)("a lab's end", () => {
	beforeAll(() => Promise.all(suites.map(ensureRoot)), buildMs);

	test.each([
		["while its nodes run", ""],
		["while a node is paused", "lab.nodes[0].pause();"],
	])(
		"leaves nothing when its controller is killed %s",
		async (_when, before) => {
			const controller = Bun.spawn([process.execPath, "-e", controlling(before)], {
				stdout: "pipe",
			});
			const { value } = await controller.stdout.getReader().read();
			const { dir, pids } = JSON.parse(new TextDecoder().decode(value)) as {
				dir: string;
				pids: number[];
			};
			const namespaces = new Set(pids.flatMap(namespacesOf));
			expect(members(namespaces).length).toBeGreaterThan(3);
			expect(existsSync(dir)).toBe(true);

			controller.kill("SIGKILL");
			await controller.exited;
			const gone = () => members(namespaces).length === 0;
			// Frozen processes die as the sweep thaws them.
			if (before === "") await until("the lab's processes to end", 30_000, gone);
			await sweep();
			await until("the lab's processes to end", 30_000, gone);
			expect(remains()).not.toContain(dir.split("/").at(-1) ?? "");
			expect(existsSync(dir)).toBe(false);
			expect(readFileSync("/proc/self/mounts", "utf8")).not.toContain("skein-lab");
			expect(readdirSync("/sys/class/net").filter((name) => /^(ul0|vm\d+)$/.test(name))).toEqual(
				[],
			);
		},
		testMs,
	);

	test(
		"does not touch the lab beside it",
		async () => {
			const start = () => startLab({ nodes: [{ name: "h1", suite: "trixie" }] });
			const [one, other] = await Promise.all([start(), start()]);
			await one.stop();
			await sweep();
			expect(await other.node("h1").must(["docker", "ps", "-q"])).toBe("");
			await other.stop();
			expect(existsSync(other.dir)).toBe(false);
		},
		testMs,
	);
});

/** A program for the client: answers with its working directory, by TCP and by socket. */
const serving = `
	const fetch = () => new Response(process.cwd());
	Bun.serve({ hostname: "192.168.77.254", port: 8787, fetch });
	Bun.serve({ unix: process.env.SOCKET, fetch });
`;

const controlling = (before: string) => `
	import { startLab } from ${JSON.stringify(join(import.meta.dir, "lab.ts"))};
	const lab = await startLab({ nodes: [{ name: "h1", suite: "trixie" }] });
	await lab.nodes[0].must(["docker", "run", "-d", "lab/busybox:1", "sleep", "1000"]);
	lab.client.spawn(["sleep", "1000"]);
	${before}
	console.log(JSON.stringify({ dir: lab.dir, pids: [lab.client.pid, lab.nodes[0].pid] }));
	setInterval(() => {}, 1000);
`;

function pinged(address: string): string[] {
	return ["ping", "-c", "1", "-W", "1", address];
}

async function get(place: Place, url: string): Promise<string> {
	const fetched = await place.exec([
		"curl",
		"--silent",
		"--retry",
		"5",
		"--retry-connrefused",
		url,
	]);
	return fetched.stdout.trim();
}

function namespacesOf(pid: number): string[] {
	return ["mnt", "net", "pid"].flatMap((kind) => link(`/proc/${pid}/ns/${kind}`));
}

/** Host pids of all processes in any of these namespaces. */
function members(namespaces: ReadonlySet<string>): number[] {
	const pids = readdirSync("/proc").map(Number).filter(Number.isInteger);
	return pids.filter((pid) => namespacesOf(pid).some((namespace) => namespaces.has(namespace)));
}

function link(path: string): string[] {
	try {
		return [readlinkSync(path)];
	} catch {
		return [];
	}
}
