import { expect, test } from "bun:test";
import fc from "fast-check";
import { globComplaint, isMatch } from "./glob.ts";

test.each<[string, readonly string[], readonly string[]]>([
	["main", ["main"], ["maine", "mai", "feature/main", ""]],
	["release/*", ["release/1", "release/"], ["release/1/2", "release", "prerelease/1"]],
	["release/**", ["release/1", "release/1/2"], ["release"]],
	["*", ["main", ".hidden"], ["feature/x"]],
	["**", ["main", "feature/x", "a/b/c"], []],
	["v?.*", ["v1.0", "v2.10.3"], ["v10.0", "v/.1"]],
	[
		"web/**/*.ts",
		["web/a.ts", "web/b/a.ts", "web/b/c/a.ts"],
		["web.ts", "web/a.tsx", "api/web/a.ts"],
	],
	["**/*.md", ["README.md", "docs/a.md", "docs/.x/a.md"], ["README.mdx"]],
	["**/test/**", ["test/a", "x/test/a/b"], ["test", "xtest/a", "x/tests/a"]],
	["**.js", ["a.js", "b/a.js"], ["a.jsx"]],
	["app/[id]/(main)/page.tsx", ["app/[id]/(main)/page.tsx"], ["app/i/(main)/page.tsx"]],
	["a+b$.^|", ["a+b$.^|"], ["aab$.^|"]],
	["grün/*", ["grün/😀"], []],
	["?", ["😀", "a"], ["", "/", "ab"]],
])("%s", (glob, matches, others) => {
	expect(matches.filter((text) => !isMatch(glob, text))).toEqual([]);
	expect(others.filter((text) => isMatch(glob, text))).toEqual([]);
});

/** Where both know the same signs, a well-known matcher says the same. */
test("it matches as another one does", () => {
	const part = fc.stringMatching(/^[ab]{1,3}$/);
	const globPart = fc.oneof(part, fc.constantFrom("*", "**", "a*", "*b", "a?b", "?", "a*b*"));
	const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
	const glob = fc.array(globPart, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
	fc.assert(
		fc.property(glob, path, (pattern, text) => {
			// At the end `a/**` is what is in the folder; the other one takes the folder as well.
			fc.pre(!/\/\*\*$/.test(pattern));
			expect([pattern, text, isMatch(pattern, text)]).toEqual([
				pattern,
				text,
				new Bun.Glob(pattern).match(text),
			]);
		}),
		{ numRuns: 500 },
	);
});

test("what a regular expression would never be done with is done", () => {
	const text = "a".repeat(4_000);
	expect(isMatch(`${"*a".repeat(100)}b`, text)).toBe(false);
	expect(isMatch(`${"**/*a".repeat(40)}b`, text.replaceAll("aa", "a/"))).toBe(false);
});

test.each([
	["", "is empty"],
	["!docs/**", '"ignore"'],
	["*.{js,ts}", "braces"],
	["/docs/**", '"/"'],
	["./docs", '"/"'],
	["a".repeat(256), "255"],
])("%s is no glob", (glob, complaint) => {
	expect(globComplaint(glob)).toContain(complaint);
});

test("a good one has nothing to complain of", () => {
	expect(["main", "**", "app/[id]/{x}", "v*"].map(globComplaint)).toEqual([null, null, null, null]);
});
