// A throwaway network of nodes that are namespaces and no more: no engine, the machine's own programs.
//
// Everything is in one pid namespace under one process, which ends with the test, however that dies. The machine's
// own network is never touched.

import { join } from "node:path";
import { childrenOf, must, type Process, run, start, until } from "../lab/run.ts";
import { Dialogue } from "./dialogue.ts";
import type { Order } from "./mesh-node.ts";

/** Why it cannot be had here, or nothing. */
export function worldAvailable(programs: readonly string[]): string | undefined {
	if (process.platform !== "linux") return "needs Linux";
	if (process.getuid?.() !== 0) return "needs root, for namespaces";
	const missing = programs.filter((program) => Bun.which(program) === null);
	return missing.length > 0 ? `needs ${missing.join(", ")}` : undefined;
}

export interface Applied {
	readonly kernel: boolean;
	readonly problems: readonly string[];
	readonly networks: Readonly<Record<string, string>>;
	readonly changes: readonly string[];
	readonly tookMs: number;
}

export async function startWorld(count: number): Promise<World> {
	const namespaces = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child"];
	const script = [
		"mount --make-rprivate /",
		"ip link set lo up",
		"ip link add ul0 type bridge stp_state 0 forward_delay 0",
		"ip address add 192.168.78.254/24 dev ul0",
		"ip link set ul0 up",
		"exec sleep infinity",
	].join(" && ");
	const root = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...namespaces, "sh", "-c", script]);
	root.unref();
	const pid = await until("the world to begin", 10_000, () => childrenOf(root.pid)[0]);
	await until("the underlay", 10_000, async () => {
		return (await run([...enter(pid), "ip", "link", "show", "ul0", "up"])).stdout !== "";
	});
	const world = new World(root, pid);
	for (let number = 1; number <= count; number++) await world.addNode(number);
	return world;
}

export class World {
	readonly nodes: WorldNode[] = [];
	readonly #root: Bun.Subprocess;
	readonly #pid: number;

	constructor(root: Bun.Subprocess, pid: number) {
		this.#root = root;
		this.#pid = pid;
	}

	async addNode(number: number): Promise<WorldNode> {
		const script =
			"mount -t tmpfs run /run && mount -t sysfs sys /sys && ip link set lo up && echo up && exec sleep infinity";
		const process = start([...enter(this.#pid), "unshare", "-m", "-n", "sh", "-c", script], 1, {});
		await process.stdout.getReader().read();
		const { pid } = process;
		// Not in the world's pid namespace: the kernel reads the pid in the caller's.
		const underlay = ["nsenter", "-t", String(this.#pid), "-n", "--", "ip"];
		const port = `vm${number}`;
		await must([
			...underlay,
			"link",
			"add",
			port,
			"type",
			"veth",
			"peer",
			"name",
			"eth0",
			"netns",
			String(pid),
		]);
		await must([...underlay, "link", "set", port, "master", "ul0", "up"]);
		const node = new WorldNode(number, pid);
		await node.must("ip", "address", "add", `192.168.78.${number}/24`, "dev", "eth0");
		await node.must("ip", "link", "set", "eth0", "up");
		this.nodes.push(node);
		return node;
	}

	/** Runs a program on the underlay. */
	must(...command: string[]): Promise<string> {
		return must([...enter(this.#pid), ...command]);
	}

	async stop(): Promise<void> {
		this.#root.kill("SIGKILL");
		await this.#root.exited;
	}
}

export class WorldNode {
	readonly number: number;
	readonly address: string;
	readonly #pid: number;
	readonly #agent: Dialogue<Order>;

	constructor(number: number, pid: number) {
		this.number = number;
		this.address = `192.168.78.${number}`;
		this.#pid = pid;
		const script = join(import.meta.dir, "mesh-node.ts");
		this.#agent = new Dialogue([...enter(pid), process.execPath, script, "/run/skein"]);
	}

	must(...command: string[]): Promise<string> {
		return must([...enter(this.#pid), ...command]);
	}

	ask<Answer>(order: Order): Promise<Answer> {
		return this.#agent.ask<Answer>(order);
	}

	/** Ends the agent and nothing else: the kernel goes on with what it has. */
	killAgent(): void {
		this.#agent.kill();
	}

	/** A container as an engine makes it: a namespace, and a veth whose other end is in the bridge. */
	async addContainer(bridge: string, address: string, mac: string): Promise<Container> {
		const process = start(
			[...enter(this.#pid), "unshare", "-n", "sh", "-c", "echo up; exec sleep infinity"],
			1,
			{},
		);
		await process.stdout.getReader().read();
		const { pid } = process;
		const host = ["nsenter", "-t", String(this.#pid), "-n", "--", "ip"];
		const name = `veth${address.split(".").slice(2).join("x")}`;
		const container = new Container(process, host, name);
		await must([
			...host,
			"link",
			"add",
			name,
			"type",
			"veth",
			"peer",
			"name",
			"eth0",
			"netns",
			String(pid),
		]);
		await must([...host, "link", "set", name, "master", bridge, "up"]);
		await container.must("ip", "link", "set", "lo", "up");
		await container.must("ip", "link", "set", "eth0", "address", mac, "mtu", "1370", "up");
		await container.must("ip", "address", "add", `${address}/24`, "dev", "eth0");
		return container;
	}
}

export class Container {
	readonly #process: Process;
	readonly #host: readonly string[];
	readonly #port: string;

	constructor(process: Process, host: readonly string[], port: string) {
		this.#process = process;
		this.#host = host;
		this.#port = port;
	}

	must(...command: string[]): Promise<string> {
		return must(["nsenter", "-t", String(this.#process.pid), "-n", "--", ...command]);
	}

	/** Whether `count` packets of `size` bytes, not to be cut, all come back. */
	async pings(address: string, { size = 56, waitS = 1, count = 1 } = {}): Promise<boolean> {
		const ping = [
			"ping",
			"-q",
			"-M",
			"do",
			"-c",
			String(count),
			"-i",
			"0.2",
			"-W",
			String(waitS),
			"-s",
			String(size),
			address,
		];
		const ran = await run(["nsenter", "-t", String(this.#process.pid), "-n", "--", ...ping]);
		return ran.stdout.includes(`${count} received`);
	}

	async remove(): Promise<void> {
		await must([...this.#host, "link", "del", this.#port]);
		this.#process.kill("SIGKILL");
	}
}

function enter(pid: number): string[] {
	return ["nsenter", "-t", String(pid), "-m", "-n", "-p", "--"];
}
