import { expect, test } from "bun:test";
import { signInSettings } from "./accounts/signin.ts";
import { parseListen, readSettings } from "./settings.ts";

const mail = {
	SKEIN_MAIL_URL: "https://api.example.com/emails",
	SKEIN_MAIL_TOKEN: "a-token",
	SKEIN_MAIL_FROM: "Skein <skein@example.com>",
	SKEIN_URL: "https://skein.example.com",
};

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

test.each([
	[{ SKEIN_MAIL_URL: "https://api.example.com/emails" }, /SKEIN_MAIL_FROM: give all three/],
	[{ SKEIN_MAIL_FROM: "skein@example.com" }, /SKEIN_MAIL_URL.*give all three/],
	[{ ...mail, SKEIN_MAIL_URL: "smtp.example.com:25" }, /SKEIN_MAIL_URL: smtp.*https:/],
	[{ ...mail, SKEIN_MAIL_FROM: "Skein" }, /SKEIN_MAIL_FROM: Skein is no address such as/],
	[{ ...mail, SKEIN_URL: "" }, /set SKEIN_URL too/],
])("mail that is half set is refused by name: %o", async (variables, message) => {
	const { signIn } = readSettings(variables, user);
	await expect(signInSettings("a key", signIn)).rejects.toThrow(message);
});

test("mail is sent where all of it is set; a secret that is left over is none", async () => {
	const of = async (variables: object) =>
		(await signInSettings("a key", readSettings({ ...variables }, user).signIn)).mail;
	expect(await of(mail)).toEqual({
		url: "https://api.example.com/emails",
		token: "a-token",
		from: "Skein <skein@example.com>",
	});
	expect(await of({ SKEIN_MAIL_TOKEN: "a-token" })).toBe(undefined);
});

test("old keys are a list; a key with blanks in it stands in a JSON array", () => {
	const oldKeys = (text: string) => readSettings({ SKEIN_OLD_KEYS: text }, user).oldKeys;
	expect(readSettings({}, user).oldKeys).toEqual([]);
	expect(oldKeys("one, two\nthree")).toEqual(["one", "two", "three"]);
	expect(oldKeys('["a key", "b,c"]')).toEqual(["a key", "b,c"]);
	expect(() => oldKeys('["a key", 1]')).toThrow(/SKEIN_OLD_KEYS/);
	expect(() => oldKeys("[one")).toThrow(/SKEIN_OLD_KEYS/);
});
