// A node: a machine made of namespaces, with a root file system and an engine of its own.
//
// init.sh makes the machine, boot.sh boots it, engine.sh runs its engine. What it
// writes is kept on its disk, a directory of the lab, from one start to the next.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { freeze, joinGroups, makeGroups, removeGroups } from "./cgroup.ts";
import type { Suite } from "./roots.ts";
import {
	type Place,
	type Process,
	type Ran,
	type RunOptions,
	run,
	type SpawnOptions,
	start,
	succeeded,
	until,
} from "./run.ts";

export interface NodeSpec {
	readonly name: string;
	readonly suite: Suite;
	/** What boots it: scripts of ours unless told. Of the suites, bookworm has systemd. */
	readonly init?: "systemd";
	/** Goes over the lab's settings in the node's /etc/docker/daemon.json. */
	readonly engine?: Readonly<Record<string, unknown>>;
}

/** What a node knows of its lab. */
export interface Site {
	readonly id: string;
	/** Host pid of the lab's first process, in whose namespaces the underlay is. */
	readonly pid: number;
	/** Where disks are, as the lab's own mount namespace sees it. */
	readonly scratch: string;
	/** A node's number is the end of its address. */
	readonly number: number;
	readonly root: string;
}

const engineSettings = {
	"insecure-registries": ["192.168.77.0/24"],
	"live-restore": true,
	"storage-driver": "overlay2",
};

/** Where nobody else cuts the machine's processes into groups, the engine does. */
const withoutSystemd = { "exec-opts": ["native.cgroupdriver=cgroupfs"] };

/** Kubernetes' door into containerd is shut, as in Docker's own packages. */
const containerdSettings = `version = 2
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"]
`;

const initScript = join(import.meta.dir, "init.sh");
const enterScript = join(import.meta.dir, "enter.sh");

const environment = {
	HOME: "/root",
	LANG: "C.UTF-8",
	PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
};

export class LabNode implements Place {
	readonly name: string;
	readonly suite: Suite;
	readonly address: string;
	readonly #site: Site;
	readonly #disk: string;
	readonly #init: "systemd" | "scripts";
	#running:
		| { readonly process: Process; readonly pid: number; readonly groups: string[] }
		| undefined;

	#paused = false;

	constructor(spec: NodeSpec, site: Site) {
		this.name = spec.name;
		this.suite = spec.suite;
		this.address = `192.168.77.${site.number}`;
		this.#site = site;
		this.#disk = join(site.scratch, spec.name);
		this.#init = spec.init ?? "scripts";
		this.#format(spec);
	}

	/** Host pid of the node's first process. */
	get pid(): number {
		return this.#on().pid;
	}

	/** The node's root directory, seen from the host. Beware of absolute links in it: they lead into the host. */
	get root(): string {
		return `/proc/${this.pid}/root`;
	}

	/** The engine's socket, seen from the host. */
	get docker(): string {
		return `${this.root}/run/docker.sock`;
	}

	/** A command line that enters the node. */
	get enter(): string[] {
		return ["nsenter", "-t", String(this.pid), "-m", "-n", "-p", "-u", "-i", "-C", "--"];
	}

	exec(command: readonly string[], options: RunOptions = {}): Promise<Ran> {
		return run(this.#inside(command), { ...options, env: { ...environment, ...options.env } });
	}

	spawn(command: readonly string[], options: SpawnOptions = {}): Process {
		return start(this.#inside(command), 1, {
			...options,
			env: { ...environment, ...options.env },
		});
	}

	/** As exec, but a command that fails throws. Returns its output. */
	async must(command: readonly string[], options: RunOptions = {}): Promise<string> {
		return succeeded([`${this.name}:`, ...command], await this.exec(command, options));
	}

	/** Powers the node on. Resolves when its engine answers and its boot scripts have run. */
	async start(): Promise<void> {
		if (this.#running?.process.alive) return;
		const { id, pid: labPid, number, root } = this.#site;
		await until(`groups of ${this.name} to go`, 10_000, () => removeGroups(id, this.name));
		const groups = makeGroups(id, this.name);
		const lab = ["nsenter", "-t", String(labPid), "-m", "-n", "-p", "--"];
		const namespaces = ["unshare", "-m", "-n", "-p", "-u", "-i", "-C", "-f", "--kill-child"];
		const init = ["sh", initScript, this.name, String(number), root, this.#disk, this.#init];
		const command = ["sh", enterScript, ...groups, "--", ...lab, ...namespaces, ...init];
		const process = start(command, 2, { env: environment });
		const booted = await until(`node ${this.name} to boot`, 60_000, () => {
			if (!process.alive) throw new Error("its first process ended");
			return bootedTo(process.pid);
		}).catch((error: Error) => error);
		if (booted !== "running") {
			process.kill("SIGKILL");
			const said = await new Response(process.stderr).text();
			const log = readIfThere(this.#onDisk("/var/log/lab-boot.log")).slice(-2000);
			const cause = booted instanceof Error ? booted : new Error(booted);
			throw new Error(`node ${this.name} does not boot: ${said}${log}`, { cause });
		}
		this.#running = { process, pid: process.pid, groups };
	}

	/** Powers the node off: everything in it is killed at once. Its disk stays. */
	async stop(): Promise<void> {
		const running = this.#running;
		if (!running) return;
		this.#running = undefined;
		if (this.#paused) freeze(running.groups, false);
		this.#paused = false;
		running.process.kill("SIGKILL");
		await running.process.exited;
		const netns = ["nsenter", "-t", String(this.#site.pid), "-n", "--"];
		await run([...netns, "ip", "link", "del", `vm${this.#site.number}`]);
	}

	/** Restarts a node with systemd in good order, as a person would. */
	async reboot(): Promise<void> {
		const { process } = this.#on();
		await this.must(["systemctl", "reboot", "--no-block"]);
		await until(`node ${this.name} to go down`, 120_000, () => !process.alive);
		await this.stop();
		await this.start();
	}

	/** Stops every process of the node, as a hypervisor would; its kernel still answers pings. */
	pause(): void {
		freeze(this.#on().groups, true);
		this.#paused = true;
	}

	unpause(): void {
		freeze(this.#on().groups, false);
		this.#paused = false;
	}

	async startEngine(): Promise<void> {
		await this.must(["lab-engine", "start"]);
	}

	/** Stops the engine in good order; containers go on (live-restore). */
	async stopEngine(): Promise<void> {
		await this.must(["lab-engine", "stop"]);
	}

	/** Kills the engine; containers go on. */
	async killEngine(): Promise<void> {
		await this.must(["lab-engine", "kill"]);
	}

	/** Makes an image of a tar of a root file system. Its PATH is /bin. */
	async importImage(name: string, rootfs: Uint8Array): Promise<void> {
		await this.must(importLine(name), { stdin: rootfs });
	}

	#inside(command: readonly string[]): string[] {
		const { groups } = this.#on();
		if (this.#paused) throw new Error(`node ${this.name} is paused`);
		return ["sh", enterScript, ...joinGroups(groups), "--", ...this.enter, ...command];
	}

	#on() {
		if (!this.#running?.process.alive) throw new Error(`node ${this.name} is off`);
		return this.#running;
	}

	/** The host's path to a file of the node that was written since the disk was made. */
	#onDisk(path: string): string {
		return join(`/proc/${this.#site.pid}/root`, this.#disk, "upper", path);
	}

	/** What the node's first disk holds beside its root: names, resolver, settings. */
	#format(spec: NodeSpec): void {
		const name = spec.name;
		const write = (path: string, content: string) => {
			mkdirSync(dirname(this.#onDisk(path)), { recursive: true });
			writeFileSync(this.#onDisk(path), content);
		};
		write("/etc/hostname", `${name}\n`);
		write("/etc/hosts", `127.0.0.1 localhost\n${this.address} ${name}\n`);
		// Nobody answers there, and says so at once: look-ups fail fast and nothing leaves the lab.
		write("/etc/resolv.conf", "nameserver 192.168.77.254\n");
		// Without one systemd takes it for the machine's first boot, and enables whatever there is.
		if (this.#init === "systemd")
			write("/etc/machine-id", `${Bun.randomUUIDv7().replaceAll("-", "")}\n`);
		const groups = this.#init === "systemd" ? {} : withoutSystemd;
		const settings = { ...engineSettings, ...groups, ...spec.engine };
		write("/etc/docker/daemon.json", `${JSON.stringify(settings, undefined, "\t")}\n`);
		write("/etc/containerd/config.toml", containerdSettings);
	}
}

/** Makes an image of the root file system that comes in. */
export function importLine(name: string): string[] {
	const change = ["--change", "ENV PATH=/bin", "--change", 'CMD ["sh"]'];
	return ["docker", "import", ...change, "-", name];
}

/** What the node's boot came to, `running` if all went well; nothing while it goes on. */
function bootedTo(pid: number): string | undefined {
	return readIfThere(`/proc/${pid}/root/run/lab-booted`).trim() || undefined;
}

function readIfThere(path: string): string {
	return existsSync(path) ? readFileSync(path, "utf8") : "";
}
