import { expect, test } from "bun:test";
import { fillIn } from "./install.ts";

test("the script gets our address, and where each file comes from with its sum", () => {
	const files = [
		{ name: "agent.js", sha256: "aa" },
		{ name: "bun-linux-x64", sha256: "bb", url: "https://files.example.com/bun" },
	];
	expect(fillIn("url='@URL@'\nfiles='@FILES@'", "https://skein.example.com", files)).toBe(
		"url='https://skein.example.com'\n" +
			"files='agent.js aa https://skein.example.com/install/agent.js\n" +
			"bun-linux-x64 bb https://files.example.com/bun'",
	);
});

test.each([
	["http://a.example.com:8787/x'; rm -rf /", "http://a.example.com:8787"],
	["http://[::1]:8787", "http://[::1]:8787"],
	["https://user:pass@b.example.com", "https://b.example.com"],
])("an address from a request, %s, is no more than an address in the script", (url, shown) => {
	expect(fillIn("@URL@", url, [])).toBe(shown);
});
