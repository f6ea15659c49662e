// The document as a page: nothing to load beside it and nothing to run, so it can be saved, searched and printed.

import { html, raw } from "hono/html";
import type { HtmlEscapedString } from "hono/utils/html";
import type { Content, Document, Operation, Parameter, Schema } from "./document.ts";

type Html = HtmlEscapedString | Promise<HtmlEscapedString>;

interface Entry {
	readonly method: string;
	readonly path: string;
	readonly operation: Operation;
}

export function pageOf(document: Document): Html {
	const { info, tags, paths, components } = document;
	const entries = Object.entries(paths).flatMap(([path, methods]) =>
		Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
	);
	const of = (tag: string) => entries.filter(({ operation }) => operation.tags.includes(tag));
	const shapes = Object.entries(components.schemas);
	return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${info.title}: /api</title>
<style>${raw(style)}</style>
</head>
<body>
<h1>${info.title} ${info.version}: <code>/api</code></h1>
${paragraphs(info.description)}
<p>For programs: <a href="openapi.json">openapi.json</a>.</p>
<nav>${tags.map(({ name }) => html`<a href="#${idOf(name)}">${name}</a> `)}<a href="#shapes">Shapes</a></nav>
${tags.map(
	({ name, description }) => html`<h2 id="${idOf(name)}">${name}</h2>
<p>${words(description)}</p>
${of(name).map((entry) => route(entry, document))}`,
)}
<h2 id="shapes">Shapes</h2>
${shapes.map(
	([name, schema]) =>
		html`<section id="shape-${name}"><h3>${name}</h3>${shapeOf(schema)}</section>`,
)}
</body>
</html>`;
}

function route({ method, path, operation }: Entry, document: Document): Html {
	const { summary, description, operationId, parameters, requestBody, responses } = operation;
	return html`<details id="${operationId}">
<summary><b class="${method}">${method.toUpperCase()}</b> <code>${path}</code> <span>${summary}</span></summary>
${paragraphs(description)}
${parameters.length > 0 && html`<h4>Parameters</h4><ul>${parameters.map(parameter)}</ul>`}
${requestBody && html`<h4>Body</h4>${contentOf(requestBody.content)}`}
<h4>Answers</h4>
<ul>${Object.entries(responses).map(
		([status, { description, content }]) =>
			html`<li><b>${status}</b> ${description} ${content && contentOf(content)}</li>`,
	)}</ul>
<pre>${curlOf({ method, path, operation }, document)}</pre>
</details>`;
}

const parameter = ({ name, in: where, required, description, schema }: Parameter) =>
	html`<li><code>${name}</code> <i>${where}${required ? "" : ", optional"}, ${typeOf(schema)}</i> ${words(description ?? "")}</li>`;

function contentOf(content: Content): Html {
	return html`${Object.entries(content).map(([media, { schema }]) =>
		schema ? shapeOf(schema) : html`<i>${media}</i>`,
	)}`;
}

function shapeOf(schema: Schema): Html {
	const fields = fieldsOf(schema);
	return html`<i>${typeOf(schema)}</i>${fields && html` ${fields}`}`;
}

/** Of an object, or of a list's items. */
function fieldsOf(schema: Schema): Html | undefined {
	const { properties, items, anyOf, additionalProperties } = schema;
	const inner = [items, additionalProperties, ...(anyOf ?? [])].filter(isSchema);
	if (!properties) return inner.map(fieldsOf).find(Boolean);
	const isRequired = (name: string) => schema.required?.includes(name);
	const all = Object.entries(properties).filter((each): each is [string, Schema] =>
		isSchema(each[1]),
	);
	return html`<ul>${all.map(
		([name, field]) =>
			html`<li><code>${name}</code> <i>${isRequired(name) ? "" : "optional, "}${typeOf(field)}</i> ${words(field.description ?? "")}${fieldsOf(field)}</li>`,
	)}</ul>`;
}

const isSchema = (value: unknown): value is Schema => typeof value === "object" && value !== null;

const nameIn = ($ref: string) => $ref.split("/").at(-1) ?? "";

function typeOf(schema: Schema): Html | string {
	const { $ref, anyOf, items, type, format, enum: values, default: usual } = schema;
	if ($ref) return html`<a href="#shape-${nameIn($ref)}">${nameIn($ref)}</a>`;
	if (anyOf) {
		const each = anyOf.filter(isSchema).map(typeOf);
		return html`${each.map((one, index) => html`${index > 0 ? " or " : ""}${one}`)}`;
	}
	if (values) return values.map((each) => JSON.stringify(each)).join(" or ");
	if (schema.const !== undefined) return JSON.stringify(schema.const);
	if (isSchema(items) && !Array.isArray(items)) return html`list of ${typeOf(items)}`;
	const bounds = boundsOf(schema);
	const unless = usual === undefined ? "" : ` (${JSON.stringify(usual)})`;
	if (type === "object" && isSchema(schema.additionalProperties) && !schema.properties) {
		return html`object of ${typeOf(schema.additionalProperties)}${unless}`;
	}
	return `${format ?? type ?? "anything"}${bounds}${unless}`;
}

function boundsOf({ minimum, maximum, minLength, maxLength, pattern }: Schema): string {
	const from = minimum ?? minLength;
	const to = maximum ?? maxLength;
	const unit = (minLength ?? maxLength) ? " characters" : "";
	const range = [from !== undefined && `from ${from}`, to !== undefined && `to ${to}`]
		.filter(Boolean)
		.join(" ");
	return [range && ` ${range}${unit}`, pattern && ` like ${pattern}`].filter(Boolean).join(",");
}

/** As it would be typed: what must be given, and no more. */
export function curlOf({ method, path, operation }: Entry, document: Document): string {
	const { parameters, requestBody, security } = operation;
	const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase());
	const query = parameters
		.filter((each) => each.in === "query" && each.required)
		.map(({ name }) => `${name}=${name.toUpperCase()}`)
		.join("&");
	const [[media, { schema }] = ["", {}]] = Object.entries(requestBody?.content ?? {});
	const isOpen = security?.length === 0;
	const url = `${document.servers[0]?.url ?? ""}${filled}${query && `?${query}`}`;
	return [
		`curl${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${query ? `'${url}'` : url}`,
		!isOpen && `-H "Authorization: Bearer $TOKEN"`,
		...parameters
			.filter((each) => each.in === "header" && each.required)
			.map(({ name }) => `-H '${name}: …'`),
		media && `-H 'Content-Type: ${media}'`,
		schema && `-d '${JSON.stringify(exampleOf(schema, document))}'`,
		media && !schema && "--data-binary @FILE",
	]
		.filter(Boolean)
		.join(" \\\n  ");
}

/** The least that the schema takes, as far as a schema says. */
export function exampleOf(schema: Schema, document: Document, name = ""): unknown {
	const { $ref, anyOf, type, items, properties, required, enum: values, examples } = schema;
	if (examples?.[0] !== undefined) return examples[0];
	if (schema.const !== undefined) return schema.const;
	if (schema.default !== undefined) return schema.default;
	if (values) return values[0];
	if ($ref) return exampleOf(document.components.schemas[nameIn($ref)] ?? {}, document, name);
	const [first] = (anyOf ?? []).filter(isSchema);
	if (first) return exampleOf(first, document, name);
	if (isSchema(items) && !Array.isArray(items)) return [exampleOf(items, document, name)];
	if (type === "object") {
		const given = Object.entries(properties ?? {}).filter(([key]) => required?.includes(key));
		return Object.fromEntries(
			given.map(([key, field]) => [key, exampleOf(field as Schema, document, key)]),
		);
	}
	if (type === "integer" || type === "number") return schema.minimum ?? 1;
	if (type === "boolean") return true;
	if (schema.format === "email") return "ann@example.com";
	return name.toUpperCase();
}

const idOf = (name: string) => name.toLowerCase().replaceAll(" ", "-");

const paragraphs = (text: string) =>
	html`${text.split("\n\n").map((each) => html`<p>${words(each)}</p>`)}`;

/** With what stands between backticks as code. */
const words = (text: string) =>
	html`${text.split("`").map((each, index) => (index % 2 === 0 ? each : html`<code>${each}</code>`))}`;

const style = `
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,pre{font:13px/1.5 ui-monospace,monospace}
pre{overflow:auto;padding:.6rem;border:1px solid #8886;border-radius:4px}
summary{cursor:pointer;padding:.35rem .5rem}
summary span{opacity:.75}
summary b{display:inline-block;min-width:4.2rem}
details{border:1px solid #8886;border-radius:4px;margin:.3rem 0}
details[open]{padding:0 .8rem .8rem}
details[open] summary{margin:0 -.8rem}
h2{margin-top:2.2rem}
h4{margin:.8rem 0 .2rem}
ul{margin:.2rem 0;padding-left:1.3rem}
.get{color:#1a7f37}.post{color:#0969da}.put,.patch{color:#9a6700}.delete{color:#cf222e}
nav a{margin-right:.6rem}
@media(prefers-color-scheme:dark){.get{color:#3fb950}.post{color:#58a6ff}.put,.patch{color:#d29922}.delete{color:#f85149}}
`;
