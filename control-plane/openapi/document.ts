// Our own routes as an OpenAPI document: the app's routes, the schemas that they read with, and the rights that they take.
//
// Pure. A route that nobody described is not in it, and a test finds that.

import { z } from "zod";
import {
	type Admission,
	admissions,
	leastRoleOf,
	type Right,
	type Route,
	routeName,
} from "../accounts/rights.ts";
import { sessionCookie } from "../accounts/signin.ts";
import { clusterHeader, isOfNone } from "../choice.ts";
import { applications, webhooks } from "./applications.ts";
import { clusters, services } from "./clusters.ts";
import { type Described, type Group, isMedia, type Media } from "./describe.ts";
import { audit, organizations, tokens } from "./organizations.ts";
import { ourselves } from "./ourselves.ts";
import { people } from "./people.ts";

export const groups: readonly Group[] = [
	applications,
	webhooks,
	clusters,
	services,
	people,
	organizations,
	tokens,
	audit,
	ourselves,
];

/** JSON Schema of the draft that OpenAPI 3.1 takes. */
export type Schema = z.core.JSONSchema.JSONSchema;

export interface Document {
	readonly openapi: string;
	readonly info: { readonly title: string; readonly version: string; readonly description: string };
	readonly servers: readonly { readonly url: string }[];
	readonly security: readonly Security[];
	readonly tags: readonly { readonly name: string; readonly description: string }[];
	readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
	readonly components: {
		readonly securitySchemes: Readonly<Record<string, object>>;
		readonly schemas: Readonly<Record<string, Schema>>;
	};
}

export interface Operation {
	readonly tags: readonly string[];
	readonly summary: string;
	readonly description: string;
	readonly operationId: string;
	/** Absent: what holds for all. */
	readonly security?: readonly Security[];
	/** What the caller must have, where it is a right. */
	readonly "x-skein-right"?: Right;
	readonly "x-skein-role"?: string;
	readonly parameters: readonly Parameter[];
	readonly requestBody?: { readonly required: boolean; readonly content: Content };
	readonly responses: Readonly<Record<string, { description: string; content?: Content }>>;
}

export interface Parameter {
	readonly name: string;
	readonly in: "path" | "query" | "header";
	readonly required: boolean;
	readonly description?: string;
	readonly schema: Schema;
}

type Security = Readonly<Record<string, readonly string[]>>;
export type Content = Readonly<Record<string, { readonly schema?: Schema }>>;

const description = `What Docker has no word for: accounts, clusters, applications. Docker's Engine API, which \`docker\` and
compose speak, is at the same address and is not described here; its own description holds
(https://docs.docker.com/reference/api/engine/).

Refusals are \`{"message": …}\`, which names the field and the remedy. Routes of a cluster are those that take the header
\`${clusterHeader}\`: it names which, where the caller reaches several; so does a path that begins with \`/c/NAME\`.
This document is the same for everybody: nothing of anybody's is in it.`;

/** Read once, when somebody asks for it first. */
let schemas: Readonly<Record<string, Schema>> | undefined;

export function documentOf(routes: readonly Route[], version: string, url: string): Document {
	schemas ??= schemasOf(groups);
	const { $defs, ...rest } = schemas as Record<string, Schema> & { $defs: Record<string, Schema> };
	const names = new Set(routes.map(routeName));
	const paths: Record<string, Record<string, Operation>> = {};
	for (const group of groups) {
		for (const [name, described] of Object.entries(group.routes)) {
			if (!names.has(name)) continue;
			const { method, path } = partsOf(name);
			paths[templateOf(path)] = {
				...paths[templateOf(path)],
				[method.toLowerCase()]: operationOf(group, name, described, rest),
			};
		}
	}
	return {
		openapi: "3.1.1",
		info: { title: "Skein", version, description },
		servers: [{ url }],
		security: [{ token: [] }, { session: [] }, { certificate: [] }],
		tags: groups.map(({ name, about }) => ({ name, description: about })),
		paths,
		components: {
			securitySchemes: {
				token: {
					type: "http",
					scheme: "bearer",
					description:
						"An API token, or a session's token. Over the control plane's unix socket none is needed.",
				},
				session: { type: "apiKey", in: "cookie", name: sessionCookie },
				certificate: { type: "mutualTLS", description: "A client certificate that is a token's." },
			},
			schemas: {
				...$defs,
				Refusal: {
					type: "object",
					properties: { message: { type: "string" }, code: { type: "string" } },
					required: ["message"],
				},
			},
		},
	};
}

export function partsOf(name: string): Route {
	const [method = "", path = ""] = name.split(" ");
	return { method, path };
}

export const templateOf = (path: string) => path.replaceAll(/:(\w+)/g, "{$1}");

const refusal: Schema = { $ref: "#/components/schemas/Refusal" };
const json = (schema: Schema): Content => ({ "application/json": { schema } });

function operationOf(
	{ name: tag }: Group,
	name: string,
	described: Described,
	of: Readonly<Record<string, Schema>>,
): Operation {
	const { does, more, body, answers } = described;
	const admission = admissions[name] ?? "own";
	const contentOf = (shape: z.ZodType | Media, key: string): Content =>
		isMedia(shape) ? { [shape.media]: {} } : json(of[key] ?? {});
	const right = admission === "open" || admission === "own" ? undefined : admission;
	return {
		tags: [tag],
		summary: does,
		description: [more, takes(admission)].filter(Boolean).join("\n\n"),
		operationId: idOf(name),
		...(right ? { "x-skein-right": right, "x-skein-role": leastRoleOf(right) } : { security: [] }),
		parameters: parametersOf(name, described, of[keyOf(name, "query")]),
		...(body && {
			requestBody: { required: true, content: contentOf(body, keyOf(name, "body")) },
		}),
		responses: {
			...Object.fromEntries(
				Object.entries(answers).map(([status, shape]) => [
					status,
					{
						description: statuses[status] ?? status,
						...(shape && { content: contentOf(shape, keyOf(name, status)) }),
					},
				]),
			),
			default: { description: "Refused", content: json(refusal) },
		},
	};
}

/** `getApplicationsName`: what generated clients call it. */
function idOf(name: string): string {
	const words = name.replace(" /api/", " ").split(/[^A-Za-z]+/);
	return words
		.map((word, index) =>
			index === 0 ? word.toLowerCase() : word.charAt(0).toUpperCase() + word.slice(1),
		)
		.join("");
}

const statuses: Readonly<Record<string, string>> = {
	"101": "Switching protocols",
	"200": "OK",
	"201": "Made",
	"202": "Taken",
	"204": "Done",
	"302": "Elsewhere",
	"503": "Not now",
};

/** What it takes, for people. */
export function takes(admission: Admission): string {
	if (admission === "open") return "Open to everybody.";
	if (admission === "own") return "Takes no token of ours: it is proved by its signature.";
	if (admission === "self") return "Takes a credential, whichever.";
	if (admission === "operate") {
		return "Takes whoever runs this control plane: the role owner in its own organization; of a token, the scope `operate`.";
	}
	return `Takes the role ${leastRoleOf(admission)}; of a token, the scope \`${admission}\`.`;
}

const pathWords: Readonly<Record<string, string>> = {
	name: "Its name.",
	number: "A deployment's number.",
	organization: "The organization's id.",
	user: "The member's id.",
	invitation: "The last part of its link.",
	key: "The delivery's key.",
	provider: "github",
};

function parametersOf(
	name: string,
	{ path: words = {}, headers = {} }: Described,
	query: Schema | undefined,
): readonly Parameter[] {
	const { path } = partsOf(name);
	const text: Schema = { type: "string" };
	const inPath = [...path.matchAll(/:(\w+)/g)].map(([, key = ""]): Parameter => {
		const description = words[key] ?? pathWords[key] ?? "Its id.";
		return { name: key, in: "path", required: true, description, schema: text };
	});
	const inQuery = Object.entries(query?.properties ?? {}).map(([key, property]): Parameter => {
		const { description, ...schema } = property as Schema;
		const required = query?.required?.includes(key) ?? false;
		return { name: key, in: "query", required, schema, ...(description && { description }) };
	});
	const inHeaders = Object.entries(headers).map(
		([key, description]): Parameter => ({
			name: key,
			in: "header",
			required: true,
			description,
			schema: text,
		}),
	);
	const optional = (key: string, description: string): Parameter => ({
		name: key,
		in: "header",
		required: false,
		description,
		schema: text,
	});
	const admission = admissions[name];
	const isKnown = admission !== "open" && admission !== "own";
	return [
		...inPath,
		...inQuery,
		...inHeaders,
		...(isOfNone(path)
			? []
			: [optional(clusterHeader, "Which cluster, where the caller reaches several.")]),
		...(isKnown && !path.startsWith("/api/organizations/:")
			? [
					optional(
						"X-Skein-Organization",
						"For which of a user's organizations; else that of the cluster named, or their oldest. A token has its own.",
					),
				]
			: []),
	];
}

const keyOf = (route: string, what: string) => `${route} ${what}`;

/** All in one, so that what has a name is in it once. */
function schemasOf(all: readonly Group[]): Readonly<Record<string, Schema>> {
	const shapes: Record<string, z.ZodType> = {};
	for (const { routes } of all) {
		for (const [name, { query, body, answers }] of Object.entries(routes)) {
			if (query) shapes[keyOf(name, "query")] = query;
			if (body && !isMedia(body)) shapes[keyOf(name, "body")] = body;
			for (const [status, shape] of Object.entries(answers)) {
				if (shape && !isMedia(shape)) shapes[keyOf(name, status)] = shape;
			}
		}
	}
	const whole = z.toJSONSchema(z.object(shapes), {
		// What is read, defaults left out; and of answers no word that there never will be more in them.
		io: "input",
		override({ jsonSchema }) {
			if (jsonSchema.format !== undefined) delete jsonSchema.pattern;
			if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
			if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
		},
	});
	const { properties, $defs } = JSON.parse(
		JSON.stringify(whole).replaceAll('"#/$defs/', '"#/components/schemas/'),
	) as { properties: Record<string, Schema>; $defs: Record<string, Schema> };
	return { ...properties, $defs: $defs as Schema };
}
