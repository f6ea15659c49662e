// The files that a self-hosted control plane gives to machines: the script and the agent from this very code, and the
// runtime that this process runs on.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { InstallFile, InstallFiles } from "./world.ts";

const root = join(import.meta.dir, "..");

/** Nothing is built or summed before somebody asks, and then once. */
export function localInstallFiles(data: string): InstallFiles {
	const runtime = `bun-linux-${process.arch}`;
	const agent = once(() => buildAgent(join(data, "install")));
	const sums = once(
		async (): Promise<InstallFile[]> => [
			{ name: "agent.js", sha256: await sumOf(await agent()) },
			{ name: runtime, sha256: await sumOf(process.execPath) },
		],
	);
	return {
		script: () => Bun.file(join(root, "edge-agent/install.sh")).text(),
		files: sums,
		async open(name) {
			if (name === "agent.js") return fileResponse(await agent());
			if (name === runtime) return fileResponse(process.execPath);
			return undefined;
		},
	};
}

/** One file, without what it was made from: machines have no node_modules. */
async function buildAgent(folder: string): Promise<string> {
	await mkdir(folder, { recursive: true });
	const built = await Bun.build({
		entrypoints: [join(root, "edge-agent/main.ts")],
		target: "bun",
		minify: { whitespace: true },
	});
	const [bundle] = built.outputs;
	if (!built.success || !bundle) {
		throw new AggregateError(built.logs, "the agent could not be bundled");
	}
	const path = join(folder, "agent.js");
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
