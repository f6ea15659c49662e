import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { z } from "zod";
import { Refusal } from "../../model/errors.ts";
import { parseBody } from "./body.ts";
import { syntaxComplaint } from "./syntax.ts";

const schema = z
	.looseObject({
		Name: z.string(),
		Labels: z.record(z.string(), z.string()),
		Ports: z.array(z.looseObject({ TargetPort: z.int() }).partial()),
	})
	.partial();

describe("a body", () => {
	test.each<[string, string, z.infer<typeof schema>, string[]]>([
		["as it should be", '{"Name":"a"}', { Name: "a" }, []],
		[
			"keys in any case",
			'{"name":"a","PORTS":[{"targetport":80}]}',
			{ Name: "a", Ports: [{ TargetPort: 80 }] },
			[],
		],
		[
			"the keys of maps are data",
			'{"Labels":{"name":"x","Name":"y"}}',
			{ Labels: { name: "x", Name: "y" } },
			[],
		],
		["null is absent", '{"Name":null,"Ports":[{"TargetPort":null}]}', { Ports: [{}] }, []],
		[
			"unknown fields are kept, and told",
			'{"New":{"x":1},"Ports":[{"Odd":2}]}',
			{ New: { x: 1 }, Ports: [{ Odd: 2 }] },
			["New", "Ports[0].Odd"],
		],
		["null as a whole is an empty object", "null", {}, []],
	])("%s", (_name, text, value, unknown) => {
		expect(parseBody(text, schema, "Spec")).toEqual({ value, unknown });
	});

	test("a key that means the prototype is a key like any other", () => {
		const { value } = parseBody('{"__proto__":{"polluted":1},"constructor":2}', schema, "Spec");
		expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
		expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
	});

	test("whatever it is, it is read or refused", () => {
		fc.assert(
			fc.property(
				fc.oneof(
					fc.string(),
					fc.json(),
					fc.jsonValue().map((value) => JSON.stringify(value) ?? ""),
				),
				(text) => {
					try {
						parseBody(text, schema, "Spec");
					} catch (error) {
						expect(error).toBeInstanceOf(Refusal);
					}
				},
			),
		);
	});
});

describe("what is wrong with text that is no JSON", () => {
	test.each([
		["", "unexpected end of JSON input"],
		["{", "unexpected EOF"],
		["[1,", "unexpected EOF"],
		['{"a":', "unexpected EOF"],
		['"open', "unexpected EOF"],
		["{bad", "invalid character 'b' looking for beginning of object key string"],
		["[1 2]", "invalid character '2' after array element"],
		['{"a":1 "b"}', "invalid character '\"' after object key:value pair"],
		['{"a"}', "invalid character '}' after object key"],
		["[,]", "invalid character ',' looking for beginning of value"],
		["[1]]", "invalid character ']' after top-level value"],
		["{]", "invalid character ']' looking for beginning of object key string"],
		["'a'", "invalid character '\\'' looking for beginning of value"],
	])("%p", (text, want) => expect(syntaxComplaint(text)).toBe(want));

	test("broken JSON of ten megabytes is told in one pass", () => {
		const text = `[${'{"key":"value"},'.repeat(600_000)}!`;
		expect(syntaxComplaint(text)).toBe("invalid character '!' looking for beginning of value");
	});
});
