import { expect, test } from "bun:test";
import { bytesOf } from "./bytes.ts";
import { generic } from "./generic.ts";

const [old, now, zero] = ["a", "b", "0"].map((digit) => digit.repeat(40));

const read = (text: string) => generic.events({ headers: new Headers(), body: bytesOf(text) });

test("what Git gives to a hook is enough", () => {
	const text = `${old} ${now} refs/heads/main\n${zero} ${now} refs/tags/v1\n${old} ${zero} refs/heads/gone\n`;
	expect(read(text)).toEqual([
		{
			kind: "push",
			ref: "refs/heads/main",
			before: old ?? "",
			commit: now ?? "",
			forced: false,
			message: "",
			author: "",
			isBot: false,
			paths: null,
		},
		expect.objectContaining({ ref: "refs/tags/v1", before: null, commit: now }),
		expect.objectContaining({ ref: "refs/heads/gone", before: old, commit: null }),
	]);
});

test("lines after a ref tell more of it", () => {
	const text = [
		"delivery 1764302400-4711",
		`${old} ${now} refs/heads/main`,
		"forced",
		"author Jane Doe <jane@example.com>",
		"message Fix the door",
		"message ",
		"message  It did not close.",
		"path web/a door.html",
		"path README.md",
		"whole",
		`${old} ${now} refs/heads/other`,
		"path web/door.html",
	].join("\n");
	expect(read(text)).toMatchObject([
		{
			forced: true,
			author: "Jane Doe <jane@example.com>",
			message: "Fix the door\n\n It did not close.",
			paths: ["web/a door.html", "README.md"],
		},
		// Without `whole` there may be more.
		{ ref: "refs/heads/other", forced: false, author: "", paths: null },
	]);
});

test("a path that Git quotes is not known", () => {
	expect(read(`${old} ${now} refs/heads/main\npath "a\\nb"\nwhole\n`)).toMatchObject([
		{ paths: null },
	]);
});

test("ping", () => {
	expect(read("ping\n")).toEqual([{ kind: "ping" }]);
});

test.each([
	["pong", "line 1 of the body"],
	["forced", "line 1 of the body"],
	[`${old} ${now} refs/heads/main\nfrocd`, 'line 2 of the body, "frocd", is neither'],
	["abc def refs/heads/main", "line 1 of the body"],
	[`${old} ${now} main`, "line 1 of the body"],
	['{"ref":"refs/heads/main"}', "line 1 of the body"],
])("%j is refused with its line", (text, message) => {
	expect(() => read(text)).toThrow(message);
});
