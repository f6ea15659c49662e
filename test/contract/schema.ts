// Docker's published schema of the Engine API, as a judge of our answers.

import { join } from "node:path";
import Ajv, { type ValidateFunction } from "ajv";

interface Operation {
	readonly responses: Readonly<Record<string, { readonly schema?: unknown }>>;
}

interface Api {
	readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
	readonly definitions: Readonly<Record<string, unknown>>;
}

const api = Bun.YAML.parse(
	await Bun.file(join(import.meta.dir, "engine-api-v1.51.yaml")).text(),
) as Api;

const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema(nullable({ $id: "engine", definitions: api.definitions }) as object);

/** Swagger 2 says `x-nullable` where JSON Schema wants a second type. */
function nullable(node: unknown): unknown {
	if (Array.isArray(node)) return node.map(nullable);
	if (typeof node !== "object" || node === null) return node;
	const { "x-nullable": isNullable, ...rest } = node as Record<string, unknown>;
	const inner = Object.fromEntries(
		Object.entries(rest).map(([key, value]) => [
			key,
			key === "$ref" && typeof value === "string"
				? value.replace(/^#/, "engine#")
				: nullable(value),
		]),
	);
	return isNullable === true && ("$ref" in inner || "type" in inner)
		? { anyOf: [{ type: "null" }, inner] }
		: inner;
}

const known = new Map<string, ValidateFunction | undefined>();

/** What the schema has against the answer; nothing where the path is not Docker's, or its answer has no schema. */
export function complaints(
	method: string,
	path: string,
	status: number,
	body: unknown,
): readonly string[] {
	const found = operationOf(method, path);
	if (!found) return [];
	const [pattern, operation] = found;
	const key = `${method} ${pattern} ${status}`;
	if (!known.has(key)) {
		const schema = operation.responses[`${status}`]?.schema;
		known.set(key, schema ? ajv.compile(nullable(schema) as object) : undefined);
	}
	const validate = known.get(key);
	if (!validate || validate(body)) return [];
	return (validate.errors ?? [])
		.map(({ instancePath, message }) => `${instancePath}: ${message}`)
		.filter((complaint) => !behind.some((known) => known.test(complaint)))
		.filter((complaint) => !behindAt.some((known) => known.test(`${pattern}${complaint}`)));
}

/** What dockerd itself answers, and its clients expect, against the schema. */
const behind = [
	/^\/Warnings: must be (array|null)$|^\/Warnings: must match a schema in anyOf$/,
	// The schema knows only `updating`, `paused` and `completed`.
	/\/UpdateStatus\/State: must be equal to one of the allowed values$/,
];

/** The same, of one route. */
const behindAt = [
	// dockerd says `ID` here, as it does for services.
	/^\/(secrets|configs)\/create: must have required property 'Id'$/,
];

/** Whether Docker has that request, and that status among its answers. */
export function isPublished(method: string, path: string, status: number): boolean {
	const found = operationOf(method, path);
	return found !== undefined && `${status}` in found[1].responses;
}

function operationOf(method: string, path: string): readonly [string, Operation] | undefined {
	const bare = path.replace(/\?.*$/, "").replace(/^\/v\d+\.\d+/, "");
	const fits = Object.keys(api.paths)
		.filter((pattern) =>
			new RegExp(
				`^${pattern.replaceAll(/\{name\}/g, ".+").replaceAll(/\{[^}]+\}/g, "[^/]+")}$`,
			).test(bare),
		)
		// `/services/create` fits `/services/{id}` too: the one with fewer holes is meant.
		.sort((a, b) => a.split("{").length - b.split("{").length || b.length - a.length);
	for (const pattern of fits) {
		const operation = api.paths[pattern]?.[method.toLowerCase()];
		if (operation) return [pattern, operation];
	}
	return undefined;
}
