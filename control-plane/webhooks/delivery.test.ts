// Signatures, by the vectors that the forges publish; secrets in rotation; what was delivered before.

import { describe, expect, test } from "bun:test";
import { bytesOf } from "./bytes.ts";
import { readDelivery } from "./delivery.ts";
import { gitlab } from "./gitlab.ts";

const secret = "It's a Secret to Everybody";

/** HMAC-SHA256 under the secret, as two forges publish it; the others' are made in the same way. */
const ofHello = {
	// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
	"Hello, World!": "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
	// https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/
	"Hello World!": "a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9",
} as const;

type Text = keyof typeof ofHello;

const headersOf: readonly (readonly [
	string,
	Text,
	(signature: string) => Record<string, string>,
])[] = [
	[
		"GitHub",
		"Hello, World!",
		(hex) => ({ "X-GitHub-Event": "star", "X-Hub-Signature-256": `sha256=${hex}` }),
	],
	["Gitea", "Hello, World!", (hex) => ({ "X-Gitea-Event": "star", "X-Gitea-Signature": hex })],
	[
		"Forgejo",
		"Hello, World!",
		(hex) => ({ "X-Forgejo-Event": "star", "X-Forgejo-Signature": hex }),
	],
	[
		"Bitbucket",
		"Hello World!",
		(hex) => ({ "X-Event-Key": "repo:fork", "X-Hub-Signature": `sha256=${hex}` }),
	],
];

const deliver = (
	headers: Record<string, string>,
	text: string,
	secrets: readonly string[] = [secret],
) => readDelivery({ headers: new Headers(headers), body: bytesOf(text) }, secrets);

const unsigned = "is not signed with the application's webhook secret";

describe.each(headersOf)("%s", (_forge, text, headers) => {
	const signed = headers(ofHello[text]);

	test("takes what the secret signed, beside others", async () => {
		await expect(deliver(signed, text)).resolves.toMatchObject({ events: [{ kind: "other" }] });
		await expect(deliver(signed, text, ["the next one", secret])).resolves.toBeDefined();
	});

	test.each<[string, Record<string, string>, string, readonly string[]]>([
		["another body", signed, `${text} `, [secret]],
		["another secret", signed, text, ["another"]],
		["no secret", signed, text, []],
		["an empty secret", signed, text, [""]],
		["a cut signature", headers(ofHello[text].slice(2)), text, [secret]],
		["no signature", { ...Object.fromEntries(Object.entries(signed).slice(0, 1)) }, text, [secret]],
		["what is no signature", headers("sha1"), text, [secret]],
	])("refuses %s", async (_case, given, body, secrets) => {
		await expect(deliver(given, body, secrets)).rejects.toThrow(unsigned);
	});
});

describe("GitLab", () => {
	const text = '{"object_kind":"issue"}';
	const event = { "X-Gitlab-Event": "Issue Hook" };

	test("takes the secret itself", async () => {
		const headers = { ...event, "X-Gitlab-Token": secret };
		await expect(deliver(headers, text)).resolves.toMatchObject({
			events: [{ kind: "other", event: "issue" }],
		});
		await expect(deliver(headers, text, ["the next one", secret])).resolves.toBeDefined();
	});

	test.each<[string, Record<string, string>, readonly string[]]>([
		["another", { "X-Gitlab-Token": "another" }, [secret]],
		["a part of it", { "X-Gitlab-Token": secret.slice(1) }, [secret]],
		["none", {}, [secret]],
		["an empty one", { "X-Gitlab-Token": "" }, [""]],
	])("refuses %s", async (_case, headers, secrets) => {
		await expect(deliver({ ...event, ...headers }, text, secrets)).rejects.toThrow(unsigned);
	});

	// https://github.com/standard-webhooks/standard-webhooks: the vector of its libraries' tests.
	const signingToken = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
	const body = bytesOf('{"test": 2432232314}');
	const headers = {
		...event,
		"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
		"webhook-timestamp": "1614265330",
		"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	};
	const verify = (token: string, changed: Record<string, string> = {}) =>
		gitlab.verify(token, { headers: new Headers({ ...headers, ...changed }), body });

	test("takes a signature as Standard Webhooks has it", async () => {
		expect(await verify(signingToken)).toBe(true);
		const two = `v1,AAAA ${headers["webhook-signature"]}`;
		expect(await verify(signingToken, { "webhook-signature": two })).toBe(true);
		// A hook that has both, of which we were given the other one.
		expect(await verify(secret, { "X-Gitlab-Token": secret })).toBe(true);
	});

	test.each<[string, string, Record<string, string>]>([
		["another token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", {}],
		["a secret that is none", secret, {}],
		["another id", signingToken, { "webhook-id": "msg_other" }],
		["another time", signingToken, { "webhook-timestamp": "1614265331" }],
		["what is no signature", signingToken, { "webhook-signature": "v1,???" }],
	])("refuses %s", async (_case, token, changed) => {
		expect(await verify(token, changed)).toBe(false);
	});
});

describe("what was delivered before", () => {
	const signature = { "X-Hub-Signature-256": `sha256=${ofHello["Hello, World!"]}` };
	const event = { "X-GitHub-Event": "star" };
	const send = (id: string) =>
		deliver({ ...event, ...signature, "X-GitHub-Delivery": id }, "Hello, World!");

	test("is known under another id, which is not signed", async () => {
		const [first, again] = [await send("72d3162e"), await send("00000000")];
		expect(first.id).toBe("72d3162e");
		expect(first.key).toBe(
			"sha256:dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f",
		);
		expect(again.key).toBe(first.key);
	});

	test("is known by its id where that is signed", async () => {
		const id = "5b1f5bd3-6d5f-4f2c-9d0c-4a2c0a4b7f10";
		const key = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
		const text = '{"object_kind":"issue"}';
		const hmac = new Bun.CryptoHasher("sha256", Buffer.from(key, "base64"));
		const delivered = await deliver(
			{
				"X-Gitlab-Event": "Issue Hook",
				"webhook-id": id,
				"webhook-timestamp": "1764302400",
				"webhook-signature": `v1,${hmac.update(`${id}.1764302400.${text}`).digest("base64")}`,
			},
			text,
			[`whsec_${key}`],
		);
		expect(delivered.key).toBe(`gitlab:${id}`);
	});
});

test("Gitea is known although it speaks as GitHub too", async () => {
	const headers = {
		"X-GitHub-Event": "star",
		"X-Hub-Signature-256": `sha256=${ofHello["Hello, World!"]}`,
		"X-Gitea-Event": "star",
		"X-Gitea-Signature": ofHello["Hello, World!"],
	};
	expect((await deliver(headers, "Hello, World!")).forge).toBe("Gitea");
});

test("what is of no forge is told what would be", async () => {
	await expect(deliver({}, "{}")).rejects.toThrow("X-Skein-Signature-256");
});
