import { expect, test } from "bun:test";
import { parseListen, readSettings } from "./settings.ts";

const user = { isRoot: false, home: "/home/ann" };

test.each([
	["127.0.0.1:8787", { host: "127.0.0.1", port: 8787 }],
	[":8787", { host: "0.0.0.0", port: 8787 }],
	["tcp://0.0.0.0:2375", { host: "0.0.0.0", port: 2375 }],
	["[::]:8787", { host: "::", port: 8787 }],
])("SKEIN_LISTEN=%s", (text, listen) => {
	expect(parseListen(text)).toEqual(listen);
});

test.each(["8787", "localhost", "1.2.3.4:99999", "http://x:1/y"])(
	"SKEIN_LISTEN=%s is refused with an example",
	(text) => {
		expect(() => parseListen(text)).toThrow(/SKEIN_LISTEN.*127\.0\.0\.1:8787/);
	},
);

test("root's things lie where a system's do, a user's with the user", () => {
	expect(readSettings({}, { isRoot: true, home: "/root" })).toMatchObject({
		data: "/var/lib/skein",
		socket: "/run/skein.sock",
		databaseUrl: "file:/var/lib/skein/skein.db",
	});
	expect(readSettings({ XDG_RUNTIME_DIR: "/run/user/7" }, user)).toMatchObject({
		data: "/home/ann/.local/share/skein",
		socket: "/run/user/7/skein.sock",
	});
	// Without a runtime directory the socket goes with the data.
	expect(readSettings({ SKEIN_DATA: "/data" }, user).socket).toBe("/data/skein.sock");
});

test("only no is no", () => {
	expect(readSettings({}, user)).toMatchObject({ makeCluster: true, makeNode: true });
	const none = readSettings({ SKEIN_CLUSTER: "no", SKEIN_NODE: "no" }, user);
	expect(none).toMatchObject({ makeCluster: false, makeNode: false });
});

test("a URL that is none is refused", () => {
	expect(() => readSettings({ SKEIN_URL: "skein.example.com" }, user)).toThrow(/SKEIN_URL/);
	expect(readSettings({ SKEIN_URL: "https://s.example.com/" }, user).publicUrl).toBe(
		"https://s.example.com",
	);
});
