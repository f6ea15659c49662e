// Our own document as a judge of ourselves: what a test asks of `/api/…`, and what it is answered, is held to it.

import Ajv2020, { type ValidateFunction } from "ajv/dist/2020.js";
import { app } from "../../control-plane/app.ts";
import { type Content, documentOf, type Operation } from "../../control-plane/openapi/document.ts";

export const routes = app({ version: "0", insecureRegistries: [] }).routes;
export const described = documentOf(routes, "0", "http://skein.test");

const ajv = new Ajv2020({ strict: false, allErrors: true, logger: false });
ajv.addFormat("date-time", /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/);
ajv.addFormat("email", /^\S+@\S+$/);
ajv.addSchema(closed({ $id: "skein", components: described.components }) as object);

/** A field that the document does not know is a fault here; clients are to live with it. */
function closed(node: unknown): unknown {
	if (Array.isArray(node)) return node.map(closed);
	if (typeof node !== "object" || node === null) return node;
	const inner = Object.fromEntries(
		Object.entries(node).map(([key, value]) => [
			key,
			key === "$ref" && typeof value === "string" ? value.replace(/^#/, "skein#") : closed(value),
		]),
	);
	const isOpen = inner["type"] !== "object" || !inner["properties"];
	return isOpen || "additionalProperties" in inner
		? inner
		: { ...inner, additionalProperties: false };
}

const patterns = Object.entries(described.paths)
	.map(([path, methods]) => ({
		path,
		methods,
		pattern: new RegExp(`^(?:/c/[a-z0-9-]+)?${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
	}))
	// A word is meant before anything that could stand in its place.
	.sort((a, b) => a.path.split("{").length - b.path.split("{").length);

function operationFor(method: string, pathname: string): Operation | undefined {
	return patterns.find(({ pattern }) => pattern.test(pathname))?.methods[method.toLowerCase()];
}

const validators = new Map<object, ValidateFunction>();

function faultsOf(content: Content, value: unknown): string | undefined {
	const { schema } = content["application/json"] ?? {};
	if (!schema) return undefined;
	const validate = validators.get(schema) ?? ajv.compile(closed(schema) as object);
	validators.set(schema, validate);
	if (validate(value)) return undefined;
	return `${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`;
}

/** Throws where the document does not tell of what was taken, or of what was answered. */
export async function holdToDocument(
	{ method, url }: Pick<Request, "method" | "url">,
	sent: () => Promise<string>,
	reply: Response,
): Promise<void> {
	const operation = operationFor(method, new URL(url).pathname);
	// Of a WebSocket the server answers, not the route.
	if (!operation || operation.responses[101]) return;
	const fail = (what: string) => {
		throw new Error(`openapi: ${operation.operationId}: ${what}`);
	};
	const taken = reply.ok && operation.requestBody?.content;
	const text = taken && "application/json" in taken ? await sent() : "";
	const strays = taken && text !== "" && faultsOf(taken, JSON.parse(text));
	if (strays) fail(`took ${strays}`);
	const answer = operation.responses[reply.status];
	if (!answer && reply.ok) fail(`no word of the status ${reply.status}`);
	const { content } = answer ?? operation.responses["default"] ?? {};
	const isJson = reply.headers.get("Content-Type")?.startsWith("application/json");
	if (content?.["application/json"] && isJson) {
		const faults = faultsOf(content, await reply.clone().json());
		if (faults) fail(`answered ${reply.status}: ${faults}`);
	}
	if (content?.["application/json"] && reply.ok && !isJson && !reply.headers.get("Content-Type")) {
		fail("answered no JSON");
	}
}
