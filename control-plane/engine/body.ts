// Reads a request's JSON as Docker does: bounded, keys in any case, complaints in the words of Go's decoder.
//
// What comes out is spelled canonically, has no nulls where we know the field, and keeps fields that we do not know.

import { z } from "zod";
import { invalid } from "../../model/errors.ts";
import { tooLarge } from "./errors.ts";
import { syntaxComplaint } from "./syntax.ts";

const limitBytes = 10 * 1024 * 1024;

/** Specs are eight levels deep. More than this is somebody trying out our stack. */
const depthMax = 200;

/** The body in the schema's shape, and the paths of fields that the schema does not know. */
export interface Body<Shape> {
	readonly value: Shape;
	readonly unknown: readonly string[];
}

export async function readBody<Shape>(
	request: Request,
	schema: z.ZodType<Shape>,
	typeName: string,
): Promise<Body<Shape>> {
	return parseBody(await boundedText(request), schema, typeName);
}

export function parseBody<Shape>(
	text: string,
	schema: z.ZodType<Shape>,
	typeName: string,
): Body<Shape> {
	if (text.trim() === "") throw invalid("got EOF while reading request body");
	if (tooDeep(text)) throw invalid("invalid JSON: exceeded max depth");
	const unknown: string[] = [];
	const value = canonical(schema, parseJson(text), "", unknown) ?? {};
	const parsed = schema.safeParse(value);
	if (!parsed.success) throw invalid(complaint(parsed.error.issues[0], value, typeName));
	return { value: parsed.data, unknown };
}

async function boundedText(request: Request): Promise<string> {
	if (Number(request.headers.get("Content-Length") ?? 0) > limitBytes) throw tooLarge(limitBytes);
	if (!request.body) return "";
	const decoder = new TextDecoder();
	let text = "";
	let bytes = 0;
	for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
		bytes += chunk.byteLength;
		if (bytes > limitBytes) throw tooLarge(limitBytes);
		text += decoder.decode(chunk, { stream: true });
	}
	return text + decoder.decode();
}

export function parseJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch (cause) {
		throw invalid(syntaxComplaint(text), { cause });
	}
}

function tooDeep(text: string): boolean {
	let depth = 0;
	let inString = false;
	for (let at = 0; at < text.length; at++) {
		const char = text[at];
		if (inString) {
			if (char === "\\") at++;
			else if (char === '"') inString = false;
		} else if (char === '"') inString = true;
		else if (char === "{" || char === "[") {
			if (++depth > depthMax) return true;
		} else if (char === "}" || char === "]") depth--;
	}
	return false;
}

/** Go matches keys without regard to case and takes null for absent: spell what we know as the schema does. */
function canonical(schema: z.ZodType, value: unknown, path: string, unknown: string[]): unknown {
	if (value === null) return undefined;
	if (schema instanceof z.ZodOptional) {
		return canonical(schema.unwrap() as z.ZodType, value, path, unknown);
	}
	if (schema instanceof z.ZodArray && Array.isArray(value)) {
		const element = schema.element as z.ZodType;
		return value.map((item, index) => canonical(element, item, `${path}[${index}]`, unknown));
	}
	if (schema instanceof z.ZodObject && isRecord(value)) {
		const shape = schema.shape as Record<string, z.ZodType>;
		const known = new Map(Object.keys(shape).map((key) => [key.toLowerCase(), key]));
		const entries = Object.entries(value).map(([key, item]) => {
			const name = known.get(key.toLowerCase());
			const inside = path === "" ? (name ?? key) : `${path}.${name ?? key}`;
			const field = name === undefined ? undefined : shape[name];
			if (name !== undefined && field) return [name, canonical(field, item, inside, unknown)];
			if (item !== null) unknown.push(inside);
			return [key, item];
		});
		return Object.fromEntries(entries.filter(([, item]) => item !== undefined && item !== null));
	}
	return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

const goTypes: Readonly<Record<string, string>> = {
	string: "string",
	int: "int64",
	boolean: "bool",
	array: "[]string",
	object: "struct",
	record: "map[string]string",
};

function complaint(issue: z.core.$ZodIssue | undefined, value: unknown, typeName: string): string {
	const path = issue?.path ?? [];
	const found = path.reduce<unknown>(
		(inside, key) => (inside as Record<PropertyKey, unknown> | undefined)?.[key],
		value,
	);
	const expected = issue && "expected" in issue ? String(issue.expected) : "int";
	const field = [typeName, ...path.filter((key) => typeof key === "string")].join(".");
	const what = typeof found === "number" ? `number ${found}` : goKind(found);
	const isWhole = issue && "format" in issue && issue.format === "safeint";
	const known = isWhole || expected === "number" ? "int64" : (goTypes[expected] ?? expected);
	const type = issue?.code === "too_small" ? "uint64" : known;
	if (issue?.code === "invalid_value") return `invalid ${field}: ${JSON.stringify(found)}`;
	return `json: cannot unmarshal ${what} into Go struct field ${field} of type ${type}`;
}

function goKind(value: unknown): string {
	if (Array.isArray(value)) return "array";
	return typeof value === "boolean" ? "bool" : typeof value;
}
