// A virtual machine on the underlay: a kernel of its own, and systemd as its first process.
//
// What a node made of namespaces cannot be: there the kernel is the host's, and the init ours. The processor is
// emulated, so that it runs wherever the lab does, whether or not that machine may virtualise. Commands go through
// QEMU's guest agent, which needs nothing of the machine's network.

import { existsSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import type { Client } from "./client.ts";
import { ensureDisk } from "./roots.ts";
import { type Process, type Ran, type RunOptions, succeeded, until } from "./run.ts";

/** What a machine knows of its lab. */
export interface Ground {
	readonly client: Client;
	/** Where its disk and its sockets are. */
	readonly dir: string;
	/** The end of its address. */
	readonly number: number;
}

const bootMs = 600_000;
/** The agent in the machine wants to be asked; it has no way to tell. */
const askMs = 50;

export class Vm {
	readonly name: string;
	readonly address: string;
	readonly #ground: Ground;
	#qemu: Process | undefined;
	#agent: GuestAgent | undefined;

	constructor(name: string, ground: Ground) {
		this.name = name;
		this.address = `192.168.77.${ground.number}`;
		this.#ground = ground;
	}

	/** Powers it on. Resolves when systemd has nothing left to start. */
	async start(): Promise<void> {
		if (this.#qemu?.alive) return;
		const { client, number } = this.#ground;
		const base = await ensureDisk();
		const disk = this.#path("qcow2");
		if (!existsSync(disk)) {
			const over = ["-b", join(base, "disk"), "-F", "raw", disk];
			await client.must(["qemu-img", "create", "-q", "-f", "qcow2", ...over]);
		}
		const tap = `vm${number}`;
		await client.exec(["ip", "link", "del", tap]);
		await client.must(["ip", "tuntap", "add", tap, "mode", "tap"]);
		await client.must(["ip", "link", "set", tap, "master", "ul0", "up"]);
		const qemu = client.spawn(this.#command(base, disk, tap));
		this.#qemu = qemu;
		try {
			await this.#booted(qemu);
		} catch (error) {
			await this.stop();
			const said = await new Response(qemu.stderr).text();
			const log = existsSync(this.#path("log")) ? await Bun.file(this.#path("log")).text() : "";
			throw new Error(`machine ${this.name} does not boot: ${said}${log.slice(-2000)}`, {
				cause: error,
			});
		}
	}

	/** A power cut. The disk stays. */
	async stop(): Promise<void> {
		this.#agent?.end();
		this.#agent = undefined;
		this.#qemu?.kill("SIGKILL");
		await this.#qemu?.exited;
		this.#qemu = undefined;
	}

	async exec(command: readonly string[], options: RunOptions = {}): Promise<Ran> {
		const agent = this.#agent;
		if (!agent) throw new Error(`machine ${this.name} is off`);
		return agent.run(command, options);
	}

	/** As exec, but a command that fails throws. Returns its output. */
	async must(command: readonly string[], options: RunOptions = {}): Promise<string> {
		return succeeded([`${this.name}:`, ...command], await this.exec(command, options));
	}

	async #booted(qemu: Process): Promise<void> {
		const agent = await until(`machine ${this.name} to answer`, bootMs, async () => {
			if (!qemu.alive) throw new Error("QEMU ended");
			this.#agent ??= await GuestAgent.open(this.#path("sock")).catch(() => undefined);
			const ready = await this.#agent?.isThere();
			if (ready) return this.#agent;
			await Bun.sleep(500);
			return undefined;
		});
		await agent.run(["systemctl", "is-system-running", "--wait"], { timeoutMs: bootMs });
	}

	#path(kind: string): string {
		return join(this.#ground.dir, `${this.name}.${kind}`);
	}

	/** What costs an emulator dear and proves nothing is off: a fifth level of page tables, the kernel's mitigations. */
	#command(base: string, disk: string, tap: string): string[] {
		const { client, number } = this.#ground;
		const network = `ip=${this.address}::${client.address}:255.255.255.0:${this.name}:enp0s3:off`;
		const mac = `02:77:00:00:00:${number.toString(16).padStart(2, "0")}`;
		return [
			["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
			[
				"-machine",
				"q35",
				"-accel",
				"tcg,thread=multi",
				"-cpu",
				"max,-la57",
				"-smp",
				"2",
				"-m",
				"2048",
			],
			["-kernel", join(base, "kernel"), "-initrd", join(base, "initrd")],
			[
				"-append",
				`root=/dev/vda rw console=ttyS0 quiet mitigations=off systemd.hostname=${this.name} ${network}`,
			],
			["-serial", `file:${this.#path("log")}`],
			["-drive", `file=${disk},if=virtio,cache=unsafe`],
			["-netdev", `tap,id=net,ifname=${tap},script=no,downscript=no`],
			["-device", `virtio-net-pci,netdev=net,mac=${mac},addr=3`],
			["-device", "virtio-serial", "-chardev"],
			[`socket,id=agent,path=${this.#path("sock")},server=on,wait=off`],
			["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
		].flat();
	}
}

interface Status {
	readonly exited: boolean;
	readonly exitcode?: number;
	readonly signal?: number;
	readonly "out-data"?: string;
	readonly "err-data"?: string;
}

/** QEMU's guest agent: a line of JSON asks, a line of JSON answers, one at a time. */
class GuestAgent {
	readonly #socket: Socket;
	#turn: Promise<unknown> = Promise.resolve();
	#heard = "";
	#asked = 0;
	#answered: ((line: string) => void) | undefined;

	static async open(path: string): Promise<GuestAgent> {
		const socket = connect(path);
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		socket.once("connect", resolve);
		socket.once("error", reject);
		await promise;
		return new GuestAgent(socket);
	}

	private constructor(socket: Socket) {
		this.#socket = socket;
		socket.on("error", () => socket.destroy());
		socket.setEncoding("utf8");
		socket.on("data", (text: string) => {
			const lines = (this.#heard + text).split("\n");
			this.#heard = lines.pop() ?? "";
			for (const line of lines) this.#answered?.(line);
		});
	}

	/** False while the machine is not that far. What it answers too late is to no question any more: the number tells. */
	isThere(): Promise<boolean> {
		const id = ++this.#asked;
		return this.#ask(
			"guest-sync",
			{ id },
			{ fits: (answer) => answer === id, withinMs: 2_000 },
		).then(
			() => true,
			() => false,
		);
	}

	async run(command: readonly string[], options: RunOptions): Promise<Ran> {
		const { timeoutMs = 120_000, env = {}, stdin, cwd } = options;
		const settings = { HOME: "/root", LANG: "C.UTF-8", PATH: path, ...env };
		const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
		const input = stdin === undefined ? {} : { "input-data": base64(stdin) };
		// The machine itself ends what takes too long.
		const bounded = ["timeout", "-k", "5", String(Math.ceil(timeoutMs / 1000)), ...command];
		const { pid } = await this.#ask<{ pid: number }>("guest-exec", {
			path: "/usr/bin/env",
			arg: ["-i", "-C", cwd ?? "/root", ...words, ...bounded],
			"capture-output": true,
			...input,
		});
		for (;;) {
			const status = await this.#ask<Status>("guest-exec-status", { pid });
			if (status.exited) {
				return {
					code: status.exitcode ?? 128 + (status.signal ?? 0),
					stdout: text(status["out-data"]),
					stderr: text(status["err-data"]),
				};
			}
			await Bun.sleep(askMs);
		}
	}

	end(): void {
		this.#socket.destroy();
	}

	async #ask<Answer>(
		execute: string,
		args: object,
		{
			fits = always,
			withinMs = 60_000,
		}: { fits?: (answer: unknown) => boolean; withinMs?: number } = {},
	): Promise<Answer> {
		const mine = this.#turn
			.catch(() => {})
			.then(async () => {
				const { promise, resolve, reject } = Promise.withResolvers<Answer>();
				const timer = setTimeout(() => {
					reject(new Error(`the machine does not answer ${execute}`));
				}, withinMs);
				this.#answered = (line) => {
					const answer = JSON.parse(line) as { return?: Answer; error?: { desc: string } };
					if (answer.error) reject(new Error(`${execute}: ${answer.error.desc}`));
					else if (fits(answer.return)) resolve(answer.return as Answer);
				};
				this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
				return promise.finally(() => clearTimeout(timer));
			});
		this.#turn = mine;
		return mine;
	}
}

const always = () => true;
const path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const text = (data = "") => Buffer.from(data, "base64").toString();

function base64(stdin: NonNullable<RunOptions["stdin"]>): string {
	if (typeof stdin === "string" || stdin instanceof Uint8Array) {
		return Buffer.from(stdin).toString("base64");
	}
	throw new Error("a machine takes text or bytes for input");
}
