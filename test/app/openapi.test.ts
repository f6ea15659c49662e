// The document of our own API: it names every route and no other, is sound in itself, says who may what, and is served to
// everybody in every place the control plane runs. That answers are as it says, every test of this folder sees
// (test/contract/openapi.ts).

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import Ajv2020 from "ajv/dist/2020.js";
import { admissions, routeName } from "../../control-plane/accounts/rights.ts";
import {
	type Document,
	documentOf,
	groups,
	partsOf,
	type Schema,
	templateOf,
} from "../../control-plane/openapi/document.ts";
import { exampleOf, pageOf } from "../../control-plane/openapi/page.ts";
import { described, holdToDocument, routes } from "../contract/openapi.ts";
import { type Runtime, runtimes } from "../runtimes.ts";
import { startHere } from "./here.ts";

const operations = Object.entries(described.paths).flatMap(([path, methods]) =>
	Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
);

test("every route of ours is described, and no other", () => {
	const ours = routes
		.filter(({ method, path }) => method !== "ALL" && /^\/(api|webhooks)\//.test(path))
		.map(routeName);
	const told = groups.flatMap((group) => Object.keys(group.routes));
	expect([...new Set(told)].sort()).toEqual([...told].sort());
	expect([...told].sort()).toEqual([...new Set(ours)].sort());
	expect(operations.length).toBe(told.length);
});

test("a route says who may call it in the words that keep others out", () => {
	for (const name of groups.flatMap((group) => Object.keys(group.routes))) {
		const { method, path } = partsOf(name);
		const operation = described.paths[templateOf(path)]?.[method.toLowerCase()];
		const admission = admissions[name];
		const isRight = admission !== "open" && admission !== "own";
		expect(operation?.["x-skein-right"]).toBe(isRight ? admission : undefined);
		expect(operation?.security).toEqual(isRight ? undefined : []);
	}
});

test("what refers leads somewhere, names are used once, and every path's parameter is there", () => {
	const text = JSON.stringify(described);
	const referred = [...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name);
	const known = Object.keys(described.components.schemas);
	expect([...new Set(referred)].sort() as unknown[]).toEqual([...known].sort());
	expect(text).not.toContain("$defs");
	const ids = operations.map(({ operation }) => operation.operationId);
	expect([...new Set(ids)]).toEqual(ids);
	for (const { path, operation } of operations) {
		const inPath = operation.parameters.filter((each) => each.in === "path");
		expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
	}
});

test("a body that the page shows as an example is one that the schema takes", () => {
	const ajv = new Ajv2020({ strict: false, validateFormats: false });
	ajv.addSchema({ $id: "all", components: described.components });
	const refers = (schema: Schema) =>
		JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#', '"$ref":"all#'));
	for (const { operation } of operations) {
		const schema = operation.requestBody?.content["application/json"]?.schema;
		if (!schema) continue;
		const body = exampleOf(schema, described);
		const takes = ajv.validate(refers(schema), body);
		expect({ id: operation.operationId, body, errors: takes ? null : ajv.errors }).toEqual({
			id: operation.operationId,
			body,
			errors: null,
		});
	}
});

test("the address in it is the caller's word, and stays a word on the page", async () => {
	const page = String(await pageOf(documentOf(routes, "0", "http://<script>alert(1)</script>")));
	expect(page).not.toContain("<script");
	expect(page).toContain("&lt;script&gt;");
});

test("what it does not tell of is found out", async () => {
	const told = (body: unknown, status = 200) =>
		holdToDocument(
			{ method: "GET", url: "http://skein.test/api/health" },
			async () => "",
			Response.json(body, { status }),
		);
	await told({ status: "ok", version: "1" });
	expect(told({ status: "ok", version: "1", colour: "red" })).rejects.toThrow("additional");
	expect(told({ status: "ok" })).rejects.toThrow("version");
	expect(told({ status: "ok", version: "1" }, 202)).rejects.toThrow("202");
	const sent = (body: unknown) =>
		holdToDocument(
			{ method: "POST", url: "http://skein.test/c/acme/api/applications" },
			async () => JSON.stringify(body),
			new Response(null, { status: 201 }),
		);
	expect(sent({ spec: { name: "web" } })).rejects.toThrow("repository");
});

test("nothing of anybody's is in it: it is the same with a cluster, an application and a token, and without", async () => {
	const here = await startHere();
	const strangers = await here.fetch(new Request("http://skein.test/api/openapi.json"));
	const owners = await here.ask("/api/openapi.json");
	expect(await strangers.text()).toBe(await owners.text());
	await here.stop();
});

for (const { name, there, start } of runtimes) {
	describe.skipIf(!there)(name, () => {
		let at: Runtime;
		beforeAll(async () => {
			at = await start();
		}, 60_000);
		afterAll(() => at?.stop());

		test("it is served without a token, as JSON and as a page", async () => {
			const reply = await fetch(`${at.url}/api/openapi.json`);
			expect(reply.status).toBe(200);
			const document = (await reply.json()) as Document;
			expect(document.openapi).toBe("3.1.1");
			expect(Object.keys(document.paths)).toEqual(Object.keys(described.paths));
			expect(document.servers).toEqual([{ url: at.url }]);
			const page = await fetch(`${at.url}/api/docs`);
			expect([page.status, page.headers.get("Content-Type")]).toEqual([
				200,
				"text/html; charset=UTF-8",
			]);
			expect(page.headers.get("Content-Security-Policy")).toContain("default-src 'none'");
			const text = await page.text();
			expect(text).not.toMatch(/<script|<link|src=/);
			for (const path of Object.keys(document.paths))
				expect(text).toContain(`<code>${path}</code>`);
		});
	});
}
