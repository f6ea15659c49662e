// The lab: several nodes on one Linux machine, the network between them, and an
// outside client on that network which is no node.
//
// Everything lives in namespaces under one process, which ends when its controller
// does, however that dies. The host's own network is never touched, and labs do
// not see one another. README.md has the picture.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { labAvailable } from "./available.ts";
import { Client } from "./client.ts";
import { type Identity, newIdentity, removeRemains, sweep } from "./identity.ts";
import { busyboxImage, busyboxRootfs } from "./image.ts";
import { importLine, LabNode, type NodeSpec } from "./node.ts";
import { type Registry, type RegistryOptions, startRegistry } from "./registry.ts";
import { cache, ensureRoot, rootPath } from "./roots.ts";
import { childrenOf } from "./run.ts";
import { Vm } from "./vm.ts";

export interface LabOptions {
	readonly nodes: readonly NodeSpec[];
}

/** One direction between two nodes. */
export interface Way {
	readonly from: string;
	readonly to: string;
}

export async function startLab(options: LabOptions): Promise<Lab> {
	const suites = [...new Set(options.nodes.map((node) => node.suite))];
	const reason = labAvailable(suites);
	if (reason) throw new Error(reason);
	// The image is made of bookworm's busybox.
	await Promise.all([...new Set([...suites, "bookworm" as const])].map(ensureRoot));
	await sweep();
	const lab = await Lab.begin(newIdentity());
	try {
		await Promise.all(options.nodes.map((node) => lab.addNode(node)));
		return lab;
	} catch (error) {
		await lab.stop();
		throw error;
	}
}

export class Lab {
	readonly nodes: LabNode[] = [];
	readonly machines: Vm[] = [];
	readonly client: Client;
	/** A directory that goes with the lab, at one path for the controller and the client. */
	readonly dir: string;
	readonly #identity: Identity;
	readonly #narrow: (Way & { readonly bytes: number })[] = [];
	readonly #underlay: Bun.Subprocess<"pipe", "pipe", "pipe">;

	/** Use startLab. */
	static async begin(identity: Identity): Promise<Lab> {
		mkdirSync(scratch, { recursive: true });
		const namespaces = ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", "--kill-child"];
		const script = join(import.meta.dir, "underlay.sh");
		const underlay = Bun.spawn(
			["setpriv", "--pdeathsig", "KILL", ...namespaces, "sh", script, scratch],
			{ stdin: "pipe", stdout: "pipe", stderr: "pipe", detached: true },
		);
		// A program that forgets to stop its lab may end, and the lab with it.
		underlay.unref();
		const reader = underlay.stdout.getReader();
		const { done } = await reader.read();
		if (done) throw new Error(`no underlay: ${await new Response(underlay.stderr).text()}`);
		return new Lab(identity, underlay);
	}

	private constructor(identity: Identity, underlay: Bun.Subprocess<"pipe", "pipe", "pipe">) {
		this.#identity = identity;
		this.#underlay = underlay;
		this.dir = identity.dir;
		const pid = childrenOf(underlay.pid)[0];
		if (!pid) throw new Error("the lab ended at once");
		this.client = new Client(pid);
		running.add(this);
	}

	node(name: string): LabNode {
		const node = this.nodes.find((node) => node.name === name);
		if (!node) throw new Error(`no node ${name} in this lab`);
		return node;
	}

	/** Adds a node and powers it on. */
	async addNode(spec: NodeSpec): Promise<LabNode> {
		const root = rootPath(spec.suite);
		const number = this.nodes.length + 1;
		const site = { id: this.#identity.id, pid: this.client.pid, scratch, root, number };
		const node = new LabNode(spec, site);
		this.nodes.push(node);
		await ensureRoot(spec.suite);
		await node.start();
		await node.importImage(busyboxImage, await busyboxRootfs(await ensureRoot("bookworm")));
		return node;
	}

	/** Adds a virtual machine beside the nodes and powers it on. */
	async addMachine(name: string): Promise<Vm> {
		const number = 101 + this.machines.length;
		const machine = new Vm(name, { client: this.client, dir: this.dir, number });
		this.machines.push(machine);
		await machine.start();
		const stdin = await busyboxRootfs(await ensureRoot("bookworm"));
		await machine.must(importLine(busyboxImage), { stdin });
		return machine;
	}

	/** Cuts all traffic between two nodes, or a node and "client". */
	async cut(one: string, other: string): Promise<void> {
		await this.#nft(...this.#links(one, other).map((link) => `add element bridge lab ${link}`));
	}

	async mend(one: string, other: string): Promise<void> {
		await this.#nft(...this.#links(one, other).map((link) => `delete element bridge lab ${link}`));
	}

	/** Drops UDP to a port between any two nodes, or only on its way from one to another. */
	async dropUdp(port: number, way?: Way): Promise<void> {
		await this.#nft(`add element bridge lab ${this.#udp(port, way)}`);
	}

	async allowUdp(port: number, way?: Way): Promise<void> {
		await this.#nft(`delete element bridge lab ${this.#udp(port, way)}`);
	}

	/** Drops packets of more bytes on their way from one node to another, and tells nobody: a black hole. */
	async narrow(bytes: number, way: Way): Promise<void> {
		// Between nodes of one kernel many packets travel as one, which only looks too long.
		await this.node(way.from).must(["ip", "link", "set", "dev", "eth0", "gso_max_segs", "1"]);
		this.#narrow.push({ ...way, bytes });
		await this.#narrowAll();
	}

	/** Ends all that narrow has done. */
	async widen(): Promise<void> {
		this.#narrow.length = 0;
		await this.#narrowAll();
	}

	/** Starts a private registry on the client; with users, it wants one of them to log in. */
	registry(options: RegistryOptions = {}): Promise<Registry> {
		return startRegistry(this.client, this.dir, options);
	}

	/** Ends the lab. Nothing of it stays. */
	async stop(): Promise<void> {
		running.delete(this);
		this.#underlay.kill("SIGKILL");
		await this.#underlay.exited;
		await removeRemains(this.#identity.id);
	}

	#links(one: string, other: string): string[] {
		if (one === "client") return this.#links(other, one);
		const port = this.#port(one);
		if (other === "client") return [`cut_client { "${port}" }`];
		return [`cut { "${port}" . "${this.#port(other)}", "${this.#port(other)}" . "${port}" }`];
	}

	#udp(port: number, way: Way | undefined): string {
		if (!way) return `dropped_udp { ${port} }`;
		return `dropped_udp_way { "${this.#port(way.from)}" . "${this.#port(way.to)}" . ${port} }`;
	}

	/** Rules and no set: a length is not to be found in ranges. */
	#narrowAll(): Promise<void> {
		const rules = this.#narrow.map(({ from, to, bytes }) => {
			const way = `iifname "${this.#port(from)}" oifname "${this.#port(to)}"`;
			return `add rule bridge lab narrow ${way} meta length > ${bytes} drop`;
		});
		return this.#nft("flush chain bridge lab narrow", ...rules);
	}

	#port(name: string): string {
		return `vm${this.nodes.indexOf(this.node(name)) + 1}`;
	}

	async #nft(...lines: string[]): Promise<void> {
		await this.client.must(["nft", "-f", "-"], { stdin: lines.join("\n") });
	}
}

/** Mount point of every lab's scratch, a tmpfs that only the lab's own mount namespace has. */
const scratch = join(cache, "labs");

/** Holds on to the pipes that keep labs alive. */
const running = new Set<Lab>();
