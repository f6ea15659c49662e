// An application as people write it, and what is wrong with it. Whatever is left out has the usual meaning.

import { z } from "zod";
import {
	type Application,
	type ApplicationSpec,
	type Environment,
	forgeKinds,
} from "../../model/application.ts";
import type { Deployment } from "../../model/deployment.ts";
import { invalid } from "../../model/errors.ts";
import { parseBody } from "../engine/body.ts";
import { serviceSchema } from "../engine/convert/document.ts";
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

const address = text.superRefine((value, context) => {
	const complaint = urlComplaint(value);
	if (complaint) context.addIssue({ code: "custom", message: complaint });
});

const recipe = z.strictObject({
	context: path.default("."),
	dockerfile: path.default("Dockerfile"),
	target: text.default(""),
	args: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), text).default({}),
	secrets: z.array(text).max(100).default([]),
});

const environment = z.strictObject({
	name: name.meta({ examples: ["production"] }),
	branches: globs,
	tags: globs,
	service: z.string().min(1).max(63).optional(),
	create: z.record(z.string(), z.unknown()).nullable().default(null),
	variables: z.record(z.string().regex(/^[^=\0]+$/), text).default({}),
	before: z.array(text).max(100).default([]),
	beforeTimeoutSeconds: seconds.default(600),
	url: address.default(""),
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
	const { buildCpus, buildMemoryBytes, buildTimeoutSeconds, environments, ...rest } = asked;
	const names = environments.map((each) => each.name);
	const twice = names.find((each, index) => names.indexOf(each) !== index);
	if (twice !== undefined) throw invalid(`environments: two are named ${twice}`);
	return {
		...rest,
		buildLimits: { nanoCpus: Math.round(buildCpus * 1e9), memoryBytes: buildMemoryBytes, pids: 0 },
		buildTimeoutMs: buildTimeoutSeconds * 1000,
		environments: environments.map(({ beforeTimeoutSeconds, create, service, ...each }, index) => ({
			...each,
			service: service ?? (each.name === "production" ? asked.name : `${asked.name}-${each.name}`),
			create: create && readCreate(create, index),
			beforeTimeoutMs: beforeTimeoutSeconds * 1000,
		})),
	};
}

/** Undefined once it is in the spec no more. */
export function environmentOf(
	{ spec }: Application,
	{ environment }: Pick<Deployment, "environment">,
): Environment | undefined {
	return spec.environments.find(({ name: known }) => known === environment);
}

/** As it would be written, whole: what is shown can be changed and sent back. */
export function writeSpec(spec: ApplicationSpec): SpecDocument {
	const { buildLimits, buildTimeoutMs, environments, ...rest } = spec;
	return {
		...rest,
		buildCpus: buildLimits.nanoCpus / 1e9,
		buildMemoryBytes: buildLimits.memoryBytes,
		buildTimeoutSeconds: buildTimeoutMs / 1000,
		environments: environments.map(({ beforeTimeoutMs, ...each }) => ({
			...each,
			beforeTimeoutSeconds: beforeTimeoutMs / 1000,
		})),
	} as SpecDocument;
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
