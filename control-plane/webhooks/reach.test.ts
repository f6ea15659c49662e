import { expect, test } from "bun:test";
import { isPrivate, sendWithin } from "./reach.ts";
import { readRefs } from "./refs.ts";

test.each([
	["127.0.0.1", true],
	["169.254.169.254", true],
	["172.32.0.1", false],
	["172.16.0.1", true],
	["100.64.0.1", true],
	["198.19.255.255", true],
	["240.0.0.1", true],
	["223.255.255.255", false],
	["[fd00::1]", true],
	["[::ffff:10.0.0.1]", true],
	["[2001:db8::1]", false],
	["localhost", true],
	["git", true],
	["git.lan", true],
	["git.example.com", false],
])("%s is private: %p", (hostname, is) => expect(isPrivate(hostname)).toBe(is));

test("where strangers name them, private addresses are not asked for refs", async () => {
	const hosted = sendWithin({ insecure: [], isPrivateAllowed: false });
	for (const repository of ["https://10.0.0.1/web.git", "http://127.0.0.1:9/web.git"]) {
		const asked = readRefs(repository, null, hosted);
		await expect(asked).rejects.toThrow("lies in a private network");
	}
});

test("nor by a redirect; a host that is named is", async () => {
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch: () => Response.redirect("https://192.168.0.1/web.git/info/refs", 302),
	});
	const named = sendWithin({ insecure: [server.url.host], isPrivateAllowed: false });
	const asked = readRefs(new URL("web.git", server.url).href, null, named);
	await expect(asked).rejects.toThrow("192.168.0.1 lies in a private network");
	await server.stop(true);
});
