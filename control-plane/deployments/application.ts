// An application as people write it, and what is wrong with it. Whatever is left out has the usual meaning.

import { z } from "zod";
import { type ApplicationSpec, forgeKinds, type Previews } from "../../model/application.ts";
import { invalid } from "../../model/errors.ts";
import { imageHost, registryOf } from "../../model/image.ts";
import { parseBody } from "../engine/body.ts";
import { serviceSchema } from "../engine/convert/document.ts";
import { parseReference } from "../engine/reference.ts";
import { globComplaint } from "../webhooks/glob.ts";
import { urlComplaint } from "./url.ts";

const text = z.string().max(4096);
const glob = text.superRefine((value, context) => {
	const complaint = globComplaint(value);
	if (complaint) context.addIssue({ code: "custom", message: `${value} ${complaint}` });
});
const globs = z.array(glob).max(100).default([]);
/** A name that may stand in an image's and in a service's. */
const name = z
	.string()
	.regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/, "take up to 40 of a-z, 0-9 and -");
const path = text.regex(/^(?!\/)(?!.*(^|\/)\.\.(\/|$))/, "must lie in the repository");
const seconds = z.number().int().min(1).max(86_400);

/** `git@host:path` too. */
const repository = text.refine(
	(value) =>
		/^(https?|ssh):\/\/[^\s@]+$/.test(value.replace(/^ssh:\/\/[\w.-]+@/, "ssh://")) ||
		/^[\w.-]+@[\w.-]+:[^\s]+$/.test(value),
	"must be https://…, ssh://… or git@host:path, without a password in it: that is a secret (login)",
);

const registry = text.superRefine((value, context) => {
	const complaint = value === "" ? undefined : registryComplaint(value);
	if (complaint) context.addIssue({ code: "custom", message: complaint });
});

/** The host in full: what is pushed under a name without one goes to Docker Hub, which few mean. */
function registryComplaint(value: string): string | undefined {
	const form = "must be HOST/REPOSITORY, such as registry.example.org/team/web";
	if (value.includes("://")) return `${form}: without ${value.split("//")[0]}//`;
	const parsed = parseReference(value);
	if (typeof parsed === "string") return `${form}: ${parsed}`;
	const [first = "", rest = ""] = value.split(/\/(.*)/s);
	if (rest === "" || registryOf(value) !== first) return `${form}: Docker Hub is docker.io`;
	if (parsed.digest !== null || rest.includes(":")) return `${form}: the tag is the commit`;
	if (first === imageHost) return `${form}: ${imageHost} is none, and where images are without it`;
	return undefined;
}

const address = text.superRefine((value, context) => {
	const complaint = urlComplaint(value);
	if (complaint) context.addIssue({ code: "custom", message: complaint });
});

const platform = z.enum([
	"linux/amd64",
	"linux/arm64",
	"linux/arm",
	"linux/ppc64le",
	"linux/riscv64",
	"linux/s390x",
]);

const recipe = z
	.strictObject({
		context: path.default("."),
		dockerfile: path.default("Dockerfile"),
		target: text.default(""),
		args: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), text).default({}),
		secrets: z.array(text).max(100).default([]),
		compose: path.min(1, "name the file, or leave it out").optional(),
		platforms: z.array(platform).min(1, "name one, or leave it out").max(6).optional(),
	})
	.superRefine(({ compose, context, dockerfile, target, args }, issues) => {
		if (compose === undefined) return;
		const said = Object.entries({
			context: context !== ".",
			dockerfile: dockerfile !== "Dockerfile",
			target: target !== "",
			args: Object.keys(args).length > 0,
		}).find(([, isSaid]) => isSaid);
		if (!said) return;
		const message = `a compose file has a build section in each service for that: leave ${said[0]} out, or compose`;
		issues.addIssue({ code: "custom", path: [said[0]], message });
	});

const environment = z.strictObject({
	name: name.meta({ examples: ["production"] }),
	branches: globs,
	tags: globs,
	service: z.string().min(1).max(63).optional(),
	create: z.record(z.string(), z.unknown()).nullable().default(null),
	variables: z.record(z.string().regex(/^[^=\0]+$/), text).default({}),
	before: z.array(text).max(100).default([]),
	beforeService: text.optional(),
	beforeTimeoutSeconds: seconds.default(600),
	url: address.default(""),
	previews: z
		.strictObject({
			ttlSeconds: z.number().int().min(1).max(31_536_000).default(604_800),
			max: z.number().int().min(1).max(100).default(10),
			forks: z.boolean().default(false),
		})
		.nullable()
		.default(null),
});

const forge = z.strictObject({
	kind: z.enum(forgeKinds).optional(),
	api: text.optional(),
	project: text.optional(),
	deployments: z.boolean().default(true),
});

export const specSchema = z.strictObject({
	name: name.meta({ examples: ["web"] }),
	repository: repository.meta({ examples: ["https://git.example.com/shop/web.git"] }),
	build: recipe.prefault({}),
	registry: registry.default(""),
	buildCpus: z.number().min(0).max(1024).default(0),
	buildMemoryBytes: z.number().int().min(0).default(0),
	buildTimeoutSeconds: seconds.default(1_800),
	paths: globs,
	ignore: globs,
	environments: z.array(environment).min(1).max(20),
	forge: forge.nullable().default(null),
});

export type SpecDocument = z.input<typeof specSchema>;

export function readSpec(asked: z.output<typeof specSchema>): ApplicationSpec {
	const { build, buildCpus, buildMemoryBytes, buildTimeoutSeconds, environments, ...rest } = asked;
	const { compose, platforms, ...recipe } = build;
	const names = environments.map((each) => each.name);
	const twice = names.find((each, index) => names.indexOf(each) !== index);
	if (twice !== undefined) throw invalid(`environments: two are named ${twice}`);
	environments.forEach((each, index) => {
		const complaint =
			(compose === undefined ? plainComplaint(each) : stackComplaint(each)) ??
			(each.previews &&
				(patternComplaint(each, environments) ??
					(compose === undefined
						? createComplaint(each)
						: nameComplaint(each, environments, asked.name))));
		if (complaint) throw invalid(`environments.${index}.${complaint}`);
	});
	const odd = platforms && platformsComplaint(platforms, compose, asked.registry);
	if (odd) throw invalid(`build.platforms: ${odd}`);
	return {
		...rest,
		build: compose === undefined ? recipe : { ...recipe, compose },
		...(platforms && { platforms: platforms.map((each) => each.slice(system.length)) }),
		buildLimits: { nanoCpus: Math.round(buildCpus * 1e9), memoryBytes: buildMemoryBytes, pids: 0 },
		buildTimeoutMs: buildTimeoutSeconds * 1000,
		environments: environments.map(
			({ beforeTimeoutSeconds, beforeService, create, service, previews, ...each }, index) => {
				const isPlain = each.name === "production" || previews !== null;
				return {
					...each,
					service: service ?? (isPlain ? asked.name : `${asked.name}-${each.name}`),
					create: create && readCreate(create, index),
					...(beforeService !== undefined && { beforeService }),
					beforeTimeoutMs: beforeTimeoutSeconds * 1000,
					previews: previews && readPreviews(previews),
				};
			},
		),
	};
}

const system = "linux/";

function platformsComplaint(
	platforms: readonly string[],
	compose: string | undefined,
	registry: string,
): string | undefined {
	if (new Set(platforms).size < platforms.length) return "one is named twice";
	if (platforms.length === 1) return undefined;
	if (compose !== undefined) return "images of a compose file are made for one: name that one";
	return registry === ""
		? undefined
		: "images in a registry of yours are made for one: name that one";
}

type AskedEnvironment = z.output<typeof environment>;

const readPreviews = ({ ttlSeconds, ...rest }: NonNullable<AskedEnvironment["previews"]>) => ({
	...rest,
	ttlMs: ttlSeconds * 1000,
});

const writePreviews = ({ ttlMs, ...rest }: Previews) => ({ ...rest, ttlSeconds: ttlMs / 1000 });

/** `-pr-123456` follows, and Docker's names end at 63. */
const longestPrefix = 50;

const portsSchema = z.looseObject({
	EndpointSpec: z.looseObject({
		Ports: z.array(z.looseObject({ PublishedPort: z.number().optional() })),
	}),
});

/** What is wrong with an environment that is a pattern of many, beginning with the field's name. */
function patternComplaint(
	pattern: AskedEnvironment,
	all: readonly AskedEnvironment[],
): string | null {
	const { tags } = pattern;
	if (all.some((each) => each !== pattern && each.previews)) {
		return "previews: another environment has previews too: a pull request gets one";
	}
	const taken = all.find((each) => /^pr-\d+$/.test(each.name));
	if (taken) return `previews: an environment is named ${taken.name}, as a preview would be`;
	if (tags.length > 0) return "tags: pull requests are of branches: leave them out";
	return null;
}

/** Of one image: nothing else says how its service is made. */
function createComplaint({ create, service = "" }: AskedEnvironment): string | null {
	if (!create)
		return "create: say how a preview's service is to be made (Docker's ServiceSpec; {} will do)";
	if (service.length > longestPrefix) {
		return `service: at most ${longestPrefix} characters: the pull request's number follows`;
	}
	const ports = portsSchema.safeParse(create).data?.EndpointSpec.Ports ?? [];
	const fixed = ports.find(({ PublishedPort = 0 }) => PublishedPort > 0);
	if (!fixed) return null;
	return `create.EndpointSpec.Ports: previews cannot all publish port ${fixed.PublishedPort}: leave PublishedPort out, and each gets one of its own`;
}

/** Of a compose file: each one's stack is named after the pattern's. */
function nameComplaint(
	{ service }: AskedEnvironment,
	all: readonly AskedEnvironment[],
	application: string,
): string | null {
	const stack = service || application;
	const taken = all.find((each) => {
		const other = each.service || `${application}-${each.name}`;
		return other.startsWith(`${stack}-pr-`) && /^\d+$/.test(other.slice(`${stack}-pr-`.length));
	});
	if (!taken) return null;
	return `service: the environment ${taken.name} has a stack that is named as a preview's would be: name one of them otherwise`;
}

/** As it would be written, whole: what is shown can be changed and sent back. */
export function writeSpec(spec: ApplicationSpec): SpecDocument {
	const { build, buildLimits, buildTimeoutMs, environments, platforms, ...rest } = spec;
	return {
		...rest,
		build: {
			...build,
			...(platforms && { platforms: platforms.map((each) => `${system}${each}`) }),
		},
		buildCpus: buildLimits.nanoCpus / 1e9,
		buildMemoryBytes: buildLimits.memoryBytes,
		buildTimeoutSeconds: buildTimeoutMs / 1000,
		environments: environments.map(({ beforeTimeoutMs, previews, ...each }) => ({
			...each,
			...(previews !== undefined && { previews: previews && writePreviews(previews) }),
			beforeTimeoutSeconds: beforeTimeoutMs / 1000,
		})),
	} as SpecDocument;
}

function plainComplaint({ beforeService }: AskedEnvironment): string | undefined {
	if (beforeService === undefined) return undefined;
	return "beforeService: it names a service of a compose file: leave it out, or give build.compose";
}

function stackComplaint(asked: AskedEnvironment): string | undefined {
	const { before, beforeService, create, service = "", variables } = asked;
	if (create) {
		return "create: the compose file says how its services are made: leave it out";
	}
	if (before.length > 0 && beforeService === undefined) {
		return "beforeService: name the compose file's service with whose image before is run";
	}
	if (!/^([a-z0-9]([a-z0-9_-]{0,38}[a-z0-9])?)?$/i.test(service)) {
		return "service: it is the stack's name: take up to 40 of a-z, 0-9, _ and -";
	}
	const strange = Object.keys(variables).find((each) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(each));
	if (strange === undefined) return undefined;
	return `variables: ${strange} can stand in no compose file: take letters, digits and _`;
}

/** In the words of the Engine API, which is what it is. */
function readCreate(create: Record<string, unknown>, index: number) {
	try {
		return parseBody(JSON.stringify(create), serviceSchema, "ServiceSpec").value;
	} catch (error) {
		throw invalid(
			`environments.${index}.create: ${error instanceof Error ? error.message : error}`,
		);
	}
}
