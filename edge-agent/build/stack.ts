// What a compose file of a commit comes to: its images, built as any other, and the documents of its stack, which
// `docker stack deploy` makes for a swarm that only writes down.

import { realpathSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { BuildAssignment, BuildSecrets, Recipe } from "../../model/build.ts";
import type { Document } from "../../model/service.ts";
import { longestStackContents, type ReportedStack, type StackOrder } from "../../model/stack.ts";
import { type BuildSection, buildSection, carried, readCompose, unprefixed } from "./compose.ts";
import { BuildFailure } from "./failure.ts";
import { type ImageWorld, within, writeDockerConfig } from "./image.ts";
import { type AskRegistry, openRecorder, type Recorded } from "./recorder.ts";

export interface StackWorld extends ImageWorld {
	readonly askRegistry: AskRegistry;
}

/** What is to be built, and the stack that it is for. */
export interface ReadStack {
	/** By the service's name in the file. */
	readonly builds: ReadonlyMap<string, Recipe>;
	readonly recorded: Recorded;
}

type Order = Pick<BuildAssignment, "recipe"> & { readonly stack: StackOrder };

/** Throws `BuildFailure`. */
export async function readStack(
	world: StackWorld,
	{ recipe, stack }: Order,
	{ registries }: Pick<BuildSecrets, "registries">,
	checkout: string,
): Promise<ReadStack> {
	const { compose: file = "" } = recipe;
	const path = await within(checkout, file, "compose");
	const folder = dirname(path);
	const root = realpathSync(checkout);
	const read = readCompose(await readFile(path, "utf8"), {
		file,
		stack: stack.name,
		variables: stack.variables,
		locate: (asked, field) => inRepository(root, folder, asked, field),
	});
	for (const warning of read.warnings) world.line(`${file}: ${warning}`);
	const recorded = await record(world, stack.name, read, registries);
	const builds = new Map<string, Recipe>();
	const services: Document[] = [];
	for (const service of recorded.services.toSorted(byName)) {
		const name = `${service["Name"]}`.slice(stack.name.length + 1);
		const of = carried(name);
		if (of === undefined) services.push(service);
		else {
			const section = buildSection(labelsOf(service));
			builds.set(of, await recipeOf(section, recipe, root, folder, of));
		}
	}
	for (const service of services) refuseFoldersOf(world.secretDir, service);
	const data = [...recorded.secrets, ...recorded.configs];
	const bytes = data.reduce((sum, { Data: text }) => sum + `${text ?? ""}`.length, 0);
	if (bytes > longestStackContents) {
		throw new BuildFailure(
			`${file}: its secrets and configs have more than ${longestStackContents / 2 ** 20} MiB: put large files into images`,
		);
	}
	return { builds, recorded: { ...recorded, services } };
}

/** The documents with the images in their places, and by names in place of ids. */
export function reportOf(
	stack: string,
	{ networks, secrets, configs, services }: Recorded,
	images: Readonly<Record<string, string>>,
): ReportedStack {
	return {
		networks,
		secrets,
		configs,
		services: services.toSorted(byName).map((service) => {
			const name = `${service["Name"]}`.slice(stack.length + 1);
			return withImage(service, Object.hasOwn(images, name) ? images[name] : undefined);
		}),
		images,
	};
}

/** Docker makes them in another order each time. */
const byName = (a: Document, b: Document) => (`${a["Name"]}` < `${b["Name"]}` ? -1 : 1);

/** Where the image of one service goes: of `skein.local/shop:3f2a1b0`, `skein.local/shop/api:3f2a1b0`. */
export function imageNameOf(image: string, service: string, taken: ReadonlySet<string>): string {
	const colon = image.lastIndexOf(":");
	const plain =
		service
			.toLowerCase()
			.replaceAll(/[^a-z0-9]+/g, "-")
			.replaceAll(/^-|-$/g, "") || "service";
	for (let count = 0; ; count++) {
		const part = count === 0 ? plain : `${plain}-${count}`;
		const name = `${image.slice(0, colon)}/${part}${image.slice(colon)}`;
		if (!taken.has(name)) return name;
	}
}

async function record(
	world: StackWorld,
	stack: string,
	read: { readonly text: string; readonly env: Readonly<Record<string, string>> },
	registries: BuildSecrets["registries"],
): Promise<Recorded> {
	const socket = join(world.secretDir, "swarm.sock");
	const config = await writeDockerConfig(world.secretDir, registries);
	const said: string[] = [];
	const run = async (args: readonly string[], hear: (text: string) => void) =>
		world.run("docker", ["stack", "deploy", ...args], {
			cwd: world.secretDir,
			env: {
				...read.env,
				DOCKER_HOST: `unix://${socket}`,
				DOCKER_CONFIG: config,
				HOME: world.secretDir,
				LC_ALL: "C",
			},
			line: hear,
		});
	const help: string[] = [];
	await run(["--help"], (text) => help.push(text));
	// Where there is the choice: nobody is there to be waited for.
	const detach = help.some((line) => line.includes("--detach")) ? ["--detach=true"] : [];
	const recorder = await openRecorder(socket, world.askRegistry);
	const deploy = async (text: string) => {
		said.length = 0;
		const path = join(world.secretDir, "compose.json");
		await writeFile(path, text, { mode: 0o600 });
		// Registries are asked for digests with their logins, which go no further.
		const args = [...detach, "--with-registry-auth", "-c", path, stack];
		return run(args, (line) => said.push(unprefixed(line)));
	};
	try {
		let code = await deploy(read.text);
		// Before 23 or so a file had to say of which version it is.
		if (code !== 0 && said.some((line) => /unsupported Compose file version: 1\.0/.test(line))) {
			code = await deploy(JSON.stringify({ version: "3.9", ...JSON.parse(read.text) }));
		}
		const told = said.filter((line) => line !== "" && !isIdle(line));
		for (const line of told) world.line(line);
		if (code !== 0) throw new BuildFailure(`compose: ${told.at(-1) ?? `exit ${code}`}`);
		return recorder.recorded;
	} finally {
		await recorder.close();
	}
}

/** Said of what is only written down. */
const isIdle = (line: string) => /^Creating (network|secret|config|service) /.test(line);

async function recipeOf(
	{ context, dockerfile, target, args }: BuildSection,
	recipe: Recipe,
	root: string,
	folder: string,
	service: string,
): Promise<Recipe> {
	const field = `services.${service}.build.context`;
	if (/^[a-z+]+:\/\/|^git@/.test(context)) {
		throw new BuildFailure(`${field}: ${context} is no folder of the repository`);
	}
	const path = relative(root, await within(root, join(relative(root, folder), context), field));
	return { context: path === "" ? "." : path, dockerfile, target, args, secrets: recipe.secrets };
}

function inRepository(root: string, folder: string, asked: string, field: string): string {
	let found: string;
	try {
		found = realpathSync(join(folder, asked));
	} catch (cause) {
		throw new BuildFailure(`${field}: the commit has no ${asked}`, { cause });
	}
	if (!asked.startsWith("/") && found.startsWith(`${root}/`)) return found;
	throw new BuildFailure(`${field}: ${asked} leads out of the repository`);
}

/** What a variable made a path beside the compose file: no node has it. */
function refuseFoldersOf(folder: string, service: Document): void {
	for (const { Type: type, Source: source } of containerOf(service).Mounts ?? []) {
		if (type !== "bind" || !source?.startsWith(folder)) continue;
		throw new BuildFailure(
			`compose: ${service["Name"]} mounts a folder of the repository, which the nodes do not have: put it into the image, or into configs`,
		);
	}
}

interface Container {
	readonly Image?: string;
	readonly Labels?: Readonly<Record<string, string>>;
	readonly Mounts?: readonly { readonly Type?: string; readonly Source?: string }[];
	readonly Secrets?: readonly Document[];
	readonly Configs?: readonly Document[];
}

const templateOf = (service: Document) =>
	(service["TaskTemplate"] ?? {}) as { readonly ContainerSpec?: Container };

const containerOf = (service: Document) => templateOf(service).ContainerSpec ?? {};

const labelsOf = (service: Document) => containerOf(service).Labels ?? {};

function withImage(service: Document, image: string | undefined): Document {
	const container = containerOf(service);
	const named = (all: readonly Document[] | undefined, id: string) =>
		all?.map(({ [id]: _ours, ...each }) => each);
	return {
		...service,
		...(image && {
			Labels: {
				...(service["Labels"] as object),
				"com.docker.stack.image": image.split("@")[0],
			},
		}),
		TaskTemplate: {
			...templateOf(service),
			ContainerSpec: {
				...container,
				...(container.Secrets && { Secrets: named(container.Secrets, "SecretID") }),
				...(container.Configs && { Configs: named(container.Configs, "ConfigID") }),
				...(image && { Image: image }),
			},
		},
	};
}
