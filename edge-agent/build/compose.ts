// A compose file made ready for `docker stack deploy`, which knows what it means. Pure.
//
// We read of it only what Docker leaves out (`build`) and what would reach out of the repository: files, which must lie
// in it. What Docker reads is our JSON and not the user's text, so that both see the same file whatever YAML can hide.
// Variables get a prefix in it, so that the environment's can be no setting of the programs they are given to.

import { messageOf } from "../../model/errors.ts";
import { BuildFailure } from "./failure.ts";

export interface ReadCompose {
	/** As JSON, which is YAML. */
	readonly text: string;
	readonly env: Readonly<Record<string, string>>;
	/** Services that are to be built. */
	readonly built: readonly string[];
	readonly warnings: readonly string[];
}

export interface ComposeWorld {
	/** The file's own name, for complaints. */
	readonly file: string;
	readonly stack: string;
	readonly variables: Readonly<Record<string, string>>;
	/** Where a file that the compose file names is; refuses one outside of the repository. */
	locate(path: string, field: string): string;
}

/** As one service has it, once Docker has put the variables in. */
export interface BuildSection {
	/** From the compose file's folder. */
	readonly context: string;
	readonly dockerfile: string;
	readonly target: string;
	readonly args: Readonly<Record<string, string>>;
}

const prefix = "SKEIN_V_";
/** Stand-ins that carry a build section through Docker's reading of the file, and are no services. */
const carrier = "skein-build.";
/** What the others are called until they are built. */
export const placeholder = "skein.local/unbuilt";

type Section = Record<string, unknown>;

/** Throws `BuildFailure`, which names the field. */
export function readCompose(text: string, world: ComposeWorld): ReadCompose {
	const parsed = parse(text, world.file);
	const complain = (field: string, what: string) =>
		new BuildFailure(`${world.file}: ${field}${field && ": "}${what}`);
	const warnings = [...text.matchAll(octal)].map(
		([, words = ""]) => `${words.trim()}: read without its first zero: write it in quotes`,
	);
	const file = prefixed(parsed, world.file) as Section;
	if (!isSection(file)) throw complain("", "no compose file: it has no services");
	if ("name" in file && file["name"] !== world.stack) {
		warnings.push(`name: the stack is called ${world.stack}, as the application says`);
	}
	delete file["name"];
	const services = file["services"];
	if (!isSection(services) || Object.keys(services).length === 0) {
		throw complain("services", "there are none");
	}
	const located = (path: unknown, field: string) => {
		if (typeof path !== "string" || path === "") throw complain(field, "a path is needed");
		if (path.includes("$")) throw complain(field, "write the path out: no variables in it");
		return escaped(world.locate(path, `${world.file}: ${field}`));
	};
	for (const kind of ["secrets", "configs"]) {
		const all = file[kind];
		if (!isSection(all)) continue;
		for (const [name, each] of Object.entries(all)) {
			if (isSection(each) && "file" in each) {
				each["file"] = located(each["file"], `${kind}.${name}.file`);
			}
		}
	}
	const built: string[] = [];
	for (const [name, service] of Object.entries(services)) {
		if (!isSection(service)) continue;
		const at = `services.${name}`;
		if ("env_file" in service) {
			const files = [service["env_file"]].flat() as unknown[];
			service["env_file"] = files.map((each) => located(each, `${at}.env_file`));
		}
		if ("environment" in service) {
			service["environment"] = given(service["environment"], world.variables);
		}
		refuseOwnFolders(service["volumes"], (what) => complain(`${at}.volumes`, what));
		for (const each of ["secrets", "configs"]) restoreModes(service[each], text);
		if (!("build" in service)) continue;
		const labels = buildLabels(service["build"], world, (field, what) =>
			complain(`${at}.build${field}`, what),
		);
		warnings.push(...labels.unused.map((field) => `${at}.build.${field} is not used`));
		delete service["build"];
		service["image"] = placeholder;
		const { networks } = service;
		services[`${carrier}${name}`] = {
			image: placeholder,
			labels: labels.labels,
			// No other network is made for its sake.
			...(networks !== undefined && { networks }),
		};
		built.push(name);
	}
	const env = Object.entries(world.variables)
		.filter(([name]) => /^\w+$/.test(name))
		.map(([name, value]) => [`${prefix}${name}`, value] as const);
	return { text: JSON.stringify(file), env: Object.fromEntries(env), built, warnings };
}

/** What Docker says names the variables as the user does. */
export const unprefixed = (line: string) => line.replaceAll(prefix, "");

/** The service of whose build section this one carries the words; undefined for one that is meant. `name` is without the stack's. */
export function carried(name: string): string | undefined {
	return name.startsWith(carrier) ? name.slice(carrier.length) : undefined;
}

export function buildSection(labels: Readonly<Record<string, string>>): BuildSection {
	const args = Object.entries(labels).flatMap(([key, value]) =>
		key.startsWith("arg.") ? [[key.slice("arg.".length), value] as const] : [],
	);
	return {
		context: labels["context"] || ".",
		dockerfile: labels["dockerfile"] || "Dockerfile",
		target: labels["target"] ?? "",
		args: Object.fromEntries(args),
	};
}

/** A file says so many things at most: one with aliases of aliases says millions. */
const mostValues = 100_000;
const deepest = 100;

function parse(text: string, file: string): unknown {
	try {
		return Bun.YAML.parse(text);
	} catch (cause) {
		throw new BuildFailure(`${file}: ${messageOf(cause)}`, { cause });
	}
}

/** A copy, in which nothing is shared, with the prefix before every variable's name. */
function prefixed(value: unknown, file: string): unknown {
	let count = 0;
	const copy = (each: unknown, at: readonly string[]): unknown => {
		if (++count > mostValues || at.length > deepest) {
			throw new BuildFailure(`${file}: it says too much: more than 100,000 values`);
		}
		if (typeof each === "string") {
			return each.replace(/\$(\$|\{?(?=[A-Za-z_]))/g, (all, rest) =>
				rest === "$" ? all : `${all}${prefix}`,
			);
		}
		// Docker keeps all digits of it; ours were lost with the reading.
		if (Number.isInteger(each) && !Number.isSafeInteger(each)) {
			throw new BuildFailure(`${file}: ${at.join(".")}: write so large a number in quotes`);
		}
		if (Array.isArray(each)) return each.map((inner, index) => copy(inner, [...at, `${index}`]));
		if (typeof each !== "object" || each === null) return each;
		const entries = Object.entries(each).map(([key, inner]) => [key, copy(inner, [...at, key])]);
		return Object.fromEntries(entries);
	};
	return copy(value, []);
}

const isSection = (value: unknown): value is Section =>
	typeof value === "object" && value !== null && !Array.isArray(value);

/** Docker's own way to write a dollar. */
const escaped = (text: string) => text.replaceAll("$", "$$$$");

/** A variable that is named without a value has the environment's, and none where that has none: ours is nobody's business. */
function given(environment: unknown, variables: ComposeWorld["variables"]): unknown {
	if (Array.isArray(environment)) {
		return environment.flatMap((each) => {
			if (typeof each !== "string" || each.includes("=")) return [each];
			const value = variableOf(variables, each);
			return value === undefined ? [] : [`${each}=${value}`];
		});
	}
	if (!isSection(environment)) return environment;
	const entries = Object.entries(environment).flatMap(([name, value]) => {
		if (value !== null) return [[name, value]];
		const known = variableOf(variables, name);
		return known === undefined ? [] : [[name, known]];
	});
	return Object.fromEntries(entries);
}

function variableOf(variables: ComposeWorld["variables"], name: string): string | undefined {
	const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
	return value === undefined ? undefined : escaped(value);
}

/** Docker would make it a folder of the machine that builds. */
function refuseOwnFolders(volumes: unknown, complain: (what: string) => BuildFailure): void {
	if (!Array.isArray(volumes)) return;
	for (const each of volumes) {
		const isBind = isSection(each) && each["type"] === "bind";
		const source = typeof each === "string" ? each.split(":")[0] : isBind && each["source"];
		if (typeof source !== "string" || !/^[.~]/.test(source)) continue;
		throw complain(
			`${source} is a folder of the repository, which the nodes do not have: put it into the image, or into configs`,
		);
	}
}

/** A value that Docker would read in octal, where that says nothing: all but modes, which are restored. */
const octal = /^((?!.*\bmode\b).*[:-] +0\d+)[ \t]*(?:#.*)?$/gm;

/** `mode: 0440` is octal in Docker's YAML and decimal in ours. */
function restoreModes(files: unknown, text: string): void {
	if (!Array.isArray(files)) return;
	for (const each of files) {
		const mode = isSection(each) ? each["mode"] : undefined;
		if (typeof mode !== "number" || !/^[0-7]+$/.test(`${mode}`)) continue;
		if (new RegExp(`mode["']?\\s*:\\s*0${mode}\\b`).test(text)) {
			each["mode"] = Number.parseInt(`${mode}`, 8);
		}
	}
}

const buildFields = ["context", "dockerfile", "target", "args"];
/** The image is the same without them, or nearly so. */
const unusedFields = [
	"cache_from",
	"cache_to",
	"extra_hosts",
	"isolation",
	"labels",
	"network",
	"no_cache",
	"platforms",
	"privileged",
	"provenance",
	"pull",
	"sbom",
	"secrets",
	"shm_size",
	"tags",
	"ulimits",
];

function buildLabels(
	build: unknown,
	{ variables }: ComposeWorld,
	complain: (field: string, what: string) => BuildFailure,
) {
	const section = typeof build === "string" ? { context: build } : build;
	if (!isSection(section)) throw complain("", "a folder or a section is needed");
	const fields = Object.keys(section).filter((field) => !field.startsWith("x-"));
	const strange = fields.find((each) => ![...buildFields, ...unusedFields].includes(each));
	if (strange !== undefined) throw complain(`.${strange}`, "is not supported: leave it out");
	const args = given(section["args"] ?? {}, variables);
	const pairs = Array.isArray(args)
		? args.map((each) => [`${each}`.split("=", 1)[0] ?? "", `${each}`.replace(/^[^=]*=/, "")])
		: Object.entries(args as Section).map(([name, value]) => [name, `${value}`]);
	return {
		unused: fields.filter((field) => unusedFields.includes(field) && field !== "secrets"),
		labels: Object.fromEntries([
			...["context", "dockerfile", "target"].flatMap((field) =>
				section[field] === undefined ? [] : [[field, `${section[field]}`]],
			),
			...pairs.map(([name, value]) => [`arg.${name}`, value]),
		]) as Record<string, string>,
	};
}
