// Programs are given their words as they are, whatever stands in them.

import { expect, test } from "bun:test";
import { ExecError, exec } from "./exec.ts";

test("words arrive as they are", async () => {
	const words = ["it's", "a  b", "$HOME", "", "back\\slash", "new\nline", "*", "`id`", "-n", "''"];
	expect(await exec("printf", ["%s|", ...words])).toBe(`${words.join("|")}|`);
});

test("input is given whole, and a program that wants some gets an end", async () => {
	const input = "table inet x {\n\t# it's $HOME\n}\n".repeat(5_000);
	expect(await exec("cat", [], { input })).toBe(input);
	expect(await exec("cat", [])).toBe("");
});

test("what ends badly says so, with its name and its words", async () => {
	const failed = await exec("sh", ["-c", "echo no >&2; exit 3"]).catch((error: unknown) => error);
	expect(failed).toBeInstanceOf(ExecError);
	expect(failed).toMatchObject({ exitCode: 3, message: "sh -c echo no >&2; exit 3: no" });
	const missing = await exec("no-such-program", ["x"]).catch((error: unknown) => error);
	expect(String(missing)).toContain("no-such-program x: ");
	expect(String(missing)).toContain("not found");
});
