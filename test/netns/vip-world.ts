// Nodes for tests of VIPs and ports: network namespaces on an underlay, an outside client, containers in bridges, and
// the rules an engine would have put there. `skein0` is a plain link here: what WireGuard adds is tested elsewhere.
//
// All namespaces are named in a mount namespace of the world's own, and everything ends with its one process.

import { join } from "node:path";
import { macOf } from "../../model/cidr.ts";
import { childrenOf, must, type Process, type Ran, run, start } from "../lab/run.ts";
import { Dialogue } from "./dialogue.ts";
import type { Order } from "./vip-node.ts";

/** Why it cannot be had here, or nothing. */
export function worldAvailable(programs: readonly string[]): string | undefined {
	if (process.platform !== "linux") return "needs Linux";
	if (process.getuid?.() !== 0) return "needs root, for namespaces";
	const missing = programs.filter((program) => Bun.which(program) === null);
	return missing.length > 0 ? `needs ${missing.join(", ")}` : undefined;
}

/** The client outside: it is no node. */
export const outside = "192.168.79.254";
export const underlay = (node: number) => `192.168.79.${node}`;

export async function startWorld(nodes: number): Promise<World> {
	const namespaces = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child"];
	const script = [
		"mount --make-rprivate / && mount -t tmpfs run /run && mkdir -p /run/netns /run/lock",
		"ip link set lo up",
		...["ul0", "mesh0"].map((name) => `ip link add ${name} type bridge && ip link set ${name} up`),
		`ip address add ${outside}/24 dev ul0`,
		"sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.ipv4.ip_forward=1",
		"echo up",
		"exec sleep infinity",
	].join(" && ");
	const root = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...namespaces, "sh", "-c", script], {
		stdout: "pipe",
	});
	root.unref();
	const reader = root.stdout.getReader();
	const { done } = await reader.read();
	const [pid] = childrenOf(root.pid);
	if (done || !pid) throw new Error("the world did not begin");
	const world = new World(root, pid);
	for (let number = 1; number <= nodes; number++) await world.addNode(number);
	return world;
}

export class World {
	readonly nodes: WorldNode[] = [];
	readonly client: Place;
	readonly #root: Bun.Subprocess;
	readonly #enter: readonly string[];

	constructor(root: Bun.Subprocess, pid: number) {
		this.#root = root;
		this.#enter = ["nsenter", "-t", String(pid), "-m", "-n", "-p", "--"];
		this.client = new Place(this.#enter);
	}

	async addNode(number: number): Promise<void> {
		const place = await this.#addPlace(`n${number}`);
		const link = (port: string, bridge: string, name: string) => [
			`ip link add ${port} type veth peer name ${name} netns n${number}`,
			`ip link set ${port} master ${bridge} up`,
		];
		const outer = [...link(`u${number}`, "ul0", "eth0"), ...link(`m${number}`, "mesh0", "skein0")];
		await this.client.sh(...outer);
		await place.sh(
			"ip link set lo up",
			// The strictest setting a machine may have: an answer must come where the question would go.
			"sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1",
			`ip address add ${underlay(number)}/24 dev eth0`,
			"ip link set eth0 up",
			`ip route add default via ${outside}`,
			`ip address add 10.200.0.${number}/24 dev skein0`,
			"ip link set skein0 up",
		);
		this.nodes.push(new WorldNode(number, place));
	}

	/** A container: its own namespace, an interface in each bridge, the default route by the first. */
	async addContainer(
		node: WorldNode,
		name: string,
		ports: readonly { bridge: string; address: string; gateway: string; internal?: boolean }[],
	): Promise<Place> {
		const container = await this.#addPlace(name);
		await container.sh("ip link set lo up");
		for (const [at, { bridge, address, gateway, internal }] of ports.entries()) {
			const port = `veth-${name}-${at}`;
			await this.client.sh(
				`ip -n n${node.number} link add ${port} type veth peer name eth${at} netns ${name}`,
				`ip -n n${node.number} link set ${port} master ${bridge} up`,
			);
			await container.sh(
				`ip link set eth${at} address ${macOf(address)} mtu 1370 up`,
				`ip address add ${address}/24 dev eth${at}`,
				...(at === 0 && !internal ? [`ip route add default via ${gateway}`] : []),
			);
		}
		return container;
	}

	async stop(): Promise<void> {
		this.#root.kill("SIGKILL");
		await this.#root.exited;
	}

	async #addPlace(name: string): Promise<Place> {
		await this.client.sh(`ip netns add ${name}`);
		return new Place([...this.#enter, "ip", "netns", "exec", name]);
	}
}

/** A namespace to run programs in. */
export class Place {
	readonly #enter: readonly string[];

	constructor(enter: readonly string[]) {
		this.#enter = enter;
	}

	run(...command: string[]): Promise<Ran> {
		return run([...this.#enter, ...command], { timeoutMs: 60_000 });
	}

	must(...command: string[]): Promise<string> {
		return must([...this.#enter, ...command], { timeoutMs: 60_000 });
	}

	async sh(...commands: string[]): Promise<void> {
		await this.must("sh", "-ec", commands.join("\n"));
	}

	start(...command: string[]): Process {
		return start([...this.#enter, ...command], 1, {});
	}

	command(...command: string[]): string[] {
		return [...this.#enter, ...command];
	}

	/** Keeps an echo server running that says this name. */
	async serve(name: string, ...ports: number[]): Promise<Process> {
		const script = join(import.meta.dir, "echo.ts");
		const server = this.start(process.execPath, script, name, ...ports.map(String));
		await server.stdout.getReader().read();
		return server;
	}

	/** What echo servers there said, one answer for each time: `NAME ADDRESS`, or an error. */
	async ask(
		protocol: "tcp" | "udp",
		address: string,
		port: number,
		count = 1,
		localPort = 0,
	): Promise<string[]> {
		const script = join(import.meta.dir, "ask.ts");
		const args = [protocol, address, port, count, localPort].map(String);
		const said = await this.must(process.execPath, script, ...args);
		return said
			.trim()
			.split("\n")
			.map((line) => line.split(" ").slice(0, 2).join(" "));
	}

	async pings(address: string): Promise<boolean> {
		return (await this.run("ping", "-q", "-c", "1", "-W", "1", address)).code === 0;
	}
}

export class WorldNode {
	readonly number: number;
	readonly place: Place;
	readonly #agent: Dialogue<Order>;

	constructor(number: number, place: Place) {
		this.number = number;
		this.place = place;
		const script = join(import.meta.dir, "vip-node.ts");
		this.#agent = new Dialogue(place.command(process.execPath, script));
	}

	order<Answer>(order: Order): Promise<Answer> {
		return this.#agent.ask<Answer>(order);
	}

	/** The rules that an engine of 28 makes for its bridge networks, its own jumps first, as after a restart. */
	async addEngineRules(
		networks: readonly { bridge: string; subnet: string; internal?: boolean }[],
		containers: readonly { bridge: string; address: string }[],
	): Promise<void> {
		const rules = [
			"-P FORWARD DROP",
			"-N DOCKER",
			"-N DOCKER-ISOLATION-STAGE-1",
			"-N DOCKER-ISOLATION-STAGE-2",
			...networks.flatMap(({ bridge, subnet, internal }) =>
				internal
					? [
							`-A DOCKER-ISOLATION-STAGE-1 ! -s ${subnet} -o ${bridge} -j DROP`,
							`-A DOCKER-ISOLATION-STAGE-1 ! -d ${subnet} -i ${bridge} -j DROP`,
						]
					: [
							`-A DOCKER-ISOLATION-STAGE-1 -i ${bridge} ! -o ${bridge} -j DOCKER-ISOLATION-STAGE-2`,
							`-A DOCKER-ISOLATION-STAGE-2 -o ${bridge} -j DROP`,
							`-t nat -A POSTROUTING -s ${subnet} ! -o ${bridge} -j MASQUERADE`,
						],
			),
			"-A FORWARD -j DOCKER-ISOLATION-STAGE-1",
			...networks.flatMap(({ bridge }) => [
				`-A FORWARD -o ${bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
				`-A FORWARD -o ${bridge} -j DOCKER`,
				`-A FORWARD -i ${bridge} ! -o ${bridge} -j ACCEPT`,
				`-A FORWARD -i ${bridge} -o ${bridge} -j ACCEPT`,
			]),
			...containers.map(
				({ bridge, address }) => `-t raw -A PREROUTING -d ${address} ! -i ${bridge} -j DROP`,
			),
		];
		await this.place.sh(...rules.map((rule) => `iptables ${rule}`));
	}
}
