// `docker build` on this machine's engine: which builder it has, and what it is told.
//
// By the docker CLI, which sends the context, heeds .dockerignore and speaks BuildKit's protocol. The engine keeps the
// cache. Credentials and secrets are files in memory.

import { mkdir, realpath, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BuildAssignment, BuildSecrets } from "../../model/build.ts";
import type { Builder } from "../../model/node.ts";
import type { Exec } from "../host/exec.ts";
import { BuildFailure, failureOf } from "./failure.ts";
import type { GitWorld } from "./fetch.ts";

/** Undefined on a machine without git or docker's command line. */
export async function findBuilder(exec: Exec): Promise<Builder | undefined> {
	const said = (command: string, ...args: string[]) => exec(command, args).catch(() => "");
	const git = /(\d+\.\S+)/.exec(await said("git", "--version"))?.[1];
	const cli = /(\d+)\.\d+/.exec(await said("docker", "--version"))?.[1];
	if (git === undefined || cli === undefined) return undefined;
	// What came before 23 has BuildKit's client in itself; since then it is a plugin.
	const isBuildKit = Number(cli) < 23 || (await said("docker", "buildx", "version")) !== "";
	// Compose files are read by the same command line, whatever its version.
	return { git, builder: isBuildKit ? "buildkit" : "classic", compose: true, parts: true };
}

export interface ImageWorld extends GitWorld {
	readonly socket: string;
	readonly builder: Builder["builder"];
	/** The group of ours that its steps run in; undefined where there is none. */
	readonly cgroup: string | undefined;
}

/** Makes the image under its name in this machine's engine. Throws `BuildFailure`. */
export async function buildImage(
	world: ImageWorld,
	{ recipe, image, architecture, limits }: BuildAssignment,
	{ secrets, registries }: BuildSecrets,
	checkout: string,
): Promise<void> {
	const isBuildKit = world.builder === "buildkit";
	const context = await within(checkout, recipe.context, "context");
	const dockerfile = await within(checkout, join(recipe.context, recipe.dockerfile), "dockerfile");
	if (recipe.secrets.length > 0 && !isBuildKit) {
		throw new BuildFailure(
			"the recipe has secrets, which only BuildKit can keep: install docker-buildx (or docker-buildx-plugin) on this node",
		);
	}
	const args = [
		"build",
		...(isBuildKit ? ["--progress=plain"] : ["--force-rm", ...limitsOf(limits)]),
		`--tag=${image}`,
		`--file=${dockerfile}`,
		`--platform=linux/${architecture}`,
		...(recipe.target ? [`--target=${recipe.target}`] : []),
		...(isBuildKit && world.cgroup ? [`--cgroup-parent=${world.cgroup}`] : []),
		...Object.entries(recipe.args).map(([name, value]) => `--build-arg=${name}=${value}`),
		...(await secretArgs(world.secretDir, recipe.secrets, secrets)),
		context,
	];
	const config = await writeDockerConfig(world.secretDir, registries);
	const said: string[] = [];
	const code = await world.run("docker", args, {
		cwd: checkout,
		env: {
			DOCKER_HOST: `unix://${world.socket}`,
			DOCKER_CONFIG: config,
			DOCKER_BUILDKIT: isBuildKit ? "1" : "0",
			BUILDX_NO_DEFAULT_ATTESTATIONS: "1",
			HOME: world.secretDir,
			LC_ALL: "C",
		},
		line(text) {
			said.push(text);
			if (said.length > keptLines) said.shift();
			world.line(text);
		},
	});
	if (code !== 0) throw new BuildFailure(failureOf(said, code));
}

/** Enough to find the step's name in. */
const keptLines = 5_000;

/** A link in the repository must not lead out of it: what it leads to would be sent to the builder. */
export async function within(checkout: string, path: string, field: string): Promise<string> {
	const root = await realpath(checkout);
	const found = await realpath(join(root, path)).catch(() => undefined);
	if (found === undefined) throw new BuildFailure(`${field}: the commit has no ${path}`);
	if (found !== root && !found.startsWith(`${root}/`)) {
		throw new BuildFailure(`${field}: ${path} leads out of the repository`);
	}
	return found;
}

/** Docker's folder of settings, for its command line: logins and nothing else. */
export async function writeDockerConfig(
	secretDir: string,
	registries: BuildSecrets["registries"],
): Promise<string> {
	const config = join(secretDir, "docker");
	await mkdir(config, { recursive: true, mode: 0o700 });
	await writeFile(join(config, "config.json"), JSON.stringify({ auths: authsOf(registries) }), {
		mode: 0o600,
	});
	return config;
}

/** BuildKit knows none of these, and is limited by its group (cgroup.ts). */
function limitsOf({ nanoCpus, memoryBytes }: BuildAssignment["limits"]): string[] {
	return [
		...(memoryBytes > 0 ? [`--memory=${memoryBytes}`, `--memory-swap=${memoryBytes}`] : []),
		...(nanoCpus > 0 ? ["--cpu-period=100000", `--cpu-quota=${Math.ceil(nanoCpus / 10_000)}`] : []),
		"--cpu-shares=102",
	];
}

async function secretArgs(
	dir: string,
	names: readonly string[],
	secrets: BuildSecrets["secrets"],
): Promise<string[]> {
	const args: string[] = [];
	for (const [index, name] of names.entries()) {
		const value = secrets[name];
		if (value === undefined) {
			throw new BuildFailure(`secret ${name}: the application has none of that name`);
		}
		if (!/^[\w.-]+$/.test(name))
			throw new BuildFailure(`secret ${name}: letters, digits, _ . - only`);
		const path = join(dir, `secret-${index}`);
		await writeFile(path, value, { mode: 0o600 });
		args.push(`--secret=id=${name},src=${path}`);
	}
	return args;
}

function authsOf(registries: BuildSecrets["registries"]) {
	const entries = Object.entries(registries).map(
		([registry, { username, password }]) =>
			[
				registry === "docker.io" ? "https://index.docker.io/v1/" : registry,
				{ auth: Buffer.from(`${username}:${password}`).toString("base64") },
			] as const,
	);
	return Object.fromEntries(entries);
}
