// The files that a self-hosted control plane gives to machines: the scripts, the agent and the CLI's plugin from this
// very code, and the runtime that this process runs on.

import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { AgentRelease } from "../model/assignment.ts";
import { runtimeLine } from "../model/runtime.ts";
import type { InstallFile, InstallFiles, InstallScript } from "./world.ts";

const root = join(import.meta.dir, "..");

const scripts: Readonly<Record<InstallScript, string>> = {
	"install.sh": "edge-agent/install.sh",
	"cli.sh": "cli/install.sh",
};

/** Nothing is built or summed before somebody asks, and then once. */
export function localInstallFiles(data: string, agentFile?: string): InstallFiles {
	const runtime = `bun-linux-${process.arch}`;
	const programs: Readonly<Record<string, () => Promise<string>>> = {
		"agent.js": once(async () => {
			const path = join(data, "install/agent.js");
			const program = agentFile ?? (await build("edge-agent/main.ts", path));
			await writeWithRuntime(path, program, runtimeLine(runtime, await sumOf(process.execPath)));
			return path;
		}),
		"cli.js": once(() => build("cli/main.ts", join(data, "install/cli.js"))),
		[runtime]: async () => process.execPath,
	};
	const sums = once(() =>
		Promise.all(
			Object.entries(programs).map(
				async ([name, path]): Promise<InstallFile> => ({ name, sha256: await sumOf(await path()) }),
			),
		),
	);
	return {
		script: (name) => Bun.file(join(root, scripts[name])).text(),
		files: sums,
		async open(name) {
			const path = Object.hasOwn(programs, name) ? await programs[name]?.() : undefined;
			return path === undefined ? undefined : fileResponse(path);
		},
	};
}

/** The agent among them, as nodes are told to go to it. Built and started once to know its version. */
export async function agentRelease(install: InstallFiles, data: string): Promise<AgentRelease> {
	const promised = (await install.files()).find(({ name }) => name === "agent.js");
	const program = await install.open("agent.js");
	if (!promised || !program) throw new Error("no agent is served here");
	const path = join(data, "install", "agent.try.js");
	await Bun.write(path, program);
	const asked = Bun.spawn([process.execPath, path, "version"], {
		stdout: "pipe",
		stderr: "inherit",
	});
	const version = (await new Response(asked.stdout).text()).trim();
	if ((await asked.exited) !== 0) throw new Error("the agent that is served here does not start");
	return { version, sha256: promised.sha256 };
}

/**
 * Since when this installation serves the program. Its data directory keeps that, so that a restart is no news to a cluster
 * that went on with the program of another control plane meanwhile.
 */
export async function servedSinceMs(
	data: string,
	{ sha256 }: Pick<AgentRelease, "sha256">,
	nowMs: number,
): Promise<number> {
	const path = join(data, "install", "agent.json");
	const kept: { sha256?: string; sinceMs?: number } = (await Bun.file(path).exists())
		? await Bun.file(path).json()
		: {};
	if (kept.sha256 === sha256 && kept.sinceMs !== undefined) return kept.sinceMs;
	await Bun.write(path, JSON.stringify({ sha256, sinceMs: nowMs }));
	return nowMs;
}

/** The agent goes to the runtime as it does to the program (edge-agent/update.ts). */
async function writeWithRuntime(path: string, program: string, line: string): Promise<void> {
	const text = await Bun.file(program).text();
	await Bun.write(path, text.endsWith(line) ? text : `${text}\n${line}`);
}

/** One file, without what it was made from: machines have no node_modules. */
async function build(entry: string, path: string): Promise<string> {
	await mkdir(dirname(path), { recursive: true });
	const built = await Bun.build({
		entrypoints: [join(root, entry)],
		target: "bun",
		minify: { whitespace: true },
	});
	const [bundle] = built.outputs;
	if (!built.success || !bundle) {
		throw new AggregateError(built.logs, `${entry} could not be bundled`);
	}
	await Bun.write(path, bundle);
	return path;
}

function fileResponse(path: string): Response {
	return new Response(Bun.file(path), {
		headers: { "Content-Type": "application/octet-stream" },
	});
}

async function sumOf(path: string): Promise<string> {
	const hasher = new Bun.CryptoHasher("sha256");
	for await (const chunk of Bun.file(path).stream()) hasher.update(chunk);
	return hasher.digest("hex");
}

/** What failed is tried again with the next call. */
function once<Result>(make: () => Promise<Result>): () => Promise<Result> {
	let made: Promise<Result> | undefined;
	return () => {
		made ??= make().catch((error: unknown) => {
			made = undefined;
			throw error;
		});
		return made;
	};
}
