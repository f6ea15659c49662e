// The agent's own program: goes to the one that the assignment names, and says which one runs. The runtime goes along,
// where the program names another than the one it would be started by.
//
// Loaded, compared with what was promised, tried beside the one that runs, put in its place in one step; then the agent
// ends, and whoever starts it (install.sh writes it) starts the new one, on trial until it has reached the control plane.
// Containers, tables and the mesh go on meanwhile, as through any restart.

import { chmod, copyFile, link, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { AgentRelease } from "../model/assignment.ts";
import { messageOf } from "../model/errors.ts";
import type { AgentProgram } from "../model/node.ts";
import { runtimeOf } from "../model/runtime.ts";
import type { Exec } from "./host/exec.ts";
import { writeDurably } from "./ledger.ts";

export interface UpdateWorld {
	/** Where programs lie. */
	readonly lib: string;
	/** The runtime, and how the control plane calls one for this machine; no name where it is to stay what it is. */
	readonly runtime: string;
	readonly runtimeName: string | undefined;
	readonly exec: Exec;
	/** Writes a file that the control plane serves to that path. */
	load(name: string, path: string): Promise<void>;
	nowMs(): number;
	log(line: string): void;
	/** Ends this agent, so that the program now in its place is started. */
	restart(): void;
}

export interface Updates {
	/** What runs; undefined where nobody would start another one. */
	readonly program: AgentProgram | undefined;
	/** For people: why it did not become another one. */
	readonly warnings: readonly string[];
	/** The program that this agent is to be. May be said again and again. */
	want(release: AgentRelease | undefined): void;
	/** The control plane was reached: this program stays. */
	prove(): Promise<void>;
}

/** An agent that was started by hand stays what it is. */
export const noUpdates: Updates = {
	program: undefined,
	warnings: [],
	want: () => undefined,
	prove: async () => undefined,
};

const retryMs = 60_000;
const checkTimeoutMs = 20_000;

export async function openUpdates(world: UpdateWorld): Promise<Updates> {
	const { lib, log } = world;
	const at = (name: string) => join(lib, name);
	const sha256 = await sumOf(at("agent.js"));
	let failed = await readRejected(at("rejected"));
	let isOnTrial = await exists(at("trial"));
	let wanted = "";
	let trouble: string | undefined;
	let busy = false;
	let notBeforeMs = 0;

	/** Not again: what is promised under this sum does not work here. */
	async function reject(release: AgentRelease, reason: string) {
		failed = { sha256: release.sha256, reason };
		await writeDurably(at("rejected"), `${release.sha256} ${reason}\n`);
	}

	/** Whole on the disk, or not to be used. */
	async function loaded(name: string, promised: string, path: string) {
		await world.load(name, path);
		if ((await sumOf(path)) !== promised) {
			throw new Error(
				`${name} from the control plane is not what it promised: its checksum differs`,
			);
		}
		const file = await open(path, "r+");
		await file.sync().finally(() => file.close());
		return path;
	}

	/** What the program is to be started by, where that is not here yet. */
	async function newRuntime(program: string) {
		const { runtime, runtimeName: name } = world;
		const promised = name && runtimeOf(await readFile(program, "utf8"), name);
		if (!name || !promised || promised === (await sumOf(runtime))) return undefined;
		const path = await loaded(name, promised, at("bun.new"));
		await chmod(path, 0o755);
		return path;
	}

	async function go(release: AgentRelease) {
		const program = await loaded("agent.js", release.sha256, at("agent.new.js"));
		const runtime = await newRuntime(program);
		const tried = (word: string) =>
			world.exec(runtime ?? world.runtime, [program, word], { timeoutMs: checkTimeoutMs });
		try {
			await tried("version");
		} catch (error) {
			await reject(release, `it does not start: ${firstLine(messageOf(error))}`);
			throw error;
		}
		await tried("check");
		await copyFile(at("agent.js"), at("agent.old.js"));
		await rm(at("bun.old"), { force: true });
		if (runtime) await link(world.runtime, at("bun.old"));
		await rm(at("trial.begun"), { force: true });
		await rm(at("rejected"), { force: true });
		await writeDurably(at("trial"), release.sha256);
		if (runtime) await rename(runtime, world.runtime);
		await rename(program, at("agent.js"));
		log(`agent ${release.version} (${release.sha256.slice(0, 12)}) takes over`);
		world.restart();
	}

	return {
		get program() {
			return { sha256, ...(failed && { failed }) };
		},
		get warnings() {
			const reason = failed?.sha256 === wanted ? failed.reason : trouble;
			if (reason === undefined) return [];
			return [`the agent could not become the one that the control plane serves: ${reason}`];
		},
		want(release) {
			wanted = release?.sha256 ?? "";
			if (!release || wanted === sha256) {
				trouble = undefined;
				return;
			}
			if (wanted === failed?.sha256) return;
			if (busy || world.nowMs() < notBeforeMs) return;
			busy = true;
			go(release)
				.catch((error) => {
					trouble = firstLine(messageOf(error));
					log(`agent ${release.version}: ${trouble}`);
					notBeforeMs = world.nowMs() + retryMs;
				})
				.finally(() => {
					busy = false;
					return rm(at("bun.new"), { force: true });
				});
		},
		async prove() {
			if (!isOnTrial) return;
			isOnTrial = false;
			for (const name of ["trial", "trial.begun", "bun.old"]) await rm(at(name), { force: true });
			log("this agent has taken over: the control plane was reached");
		},
	};
}

async function sumOf(path: string): Promise<string> {
	const hasher = new Bun.CryptoHasher("sha256");
	for await (const chunk of Bun.file(path).stream()) hasher.update(chunk);
	return hasher.digest("hex");
}

/** `<sha256> <reason>` */
async function readRejected(path: string): Promise<AgentProgram["failed"]> {
	const text = await readFile(path, "utf8").catch(() => "");
	const [, sha256, reason] = /^([0-9a-f]{64}) (.+)/.exec(text) ?? [];
	return sha256 && reason ? { sha256, reason } : undefined;
}

const exists = (path: string) => Bun.file(path).exists();

const firstLine = (text: string) => (text.trim().split("\n")[0] ?? "").slice(0, 300);
