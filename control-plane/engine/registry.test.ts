import { describe, expect, test } from "bun:test";
import { Hono } from "hono";
import { Refusal } from "../../model/errors.ts";
import type { DoorEnv } from "../cluster.ts";
import { answerTo } from "./errors.ts";
import { credentialsOf, registryRoutes } from "./registry.ts";

const manifest = JSON.stringify({
	mediaType: "application/vnd.oci.image.manifest.v1+json",
	config: { digest: "sha256:config" },
});
const digest = `sha256:${new Bun.CryptoHasher("sha256").update(manifest).digest("hex")}`;
const auth = (of: object) => btoa(JSON.stringify(of)).replaceAll("+", "-").replaceAll("/", "_");
const known = auth({ username: "u", password: "p" });

type Serve = (request: Request) => Response | Promise<Response>;

/** What the door says, and what the registry was asked. */
async function ask(path: string, serve: Serve, header?: string) {
	const asked: string[] = [];
	const door = new Hono<DoorEnv>();
	door.onError((error) => {
		if (error instanceof Refusal) return answerTo(error);
		throw error;
	});
	door.route(
		"/",
		registryRoutes({
			version: "0",
			insecureRegistries: ["plain.example.com:5000"],
			onFault: () => undefined,
			fetch: async (request) => {
				const with_ = request.headers.get("Authorization");
				asked.push(`${request.url}${with_ ? ` ${with_}` : ""}`);
				return serve(request);
			},
		}),
	);
	const response = await door.request(
		path,
		header ? { headers: { "X-Registry-Auth": header } } : {},
	);
	return { status: response.status, body: await response.json(), asked };
}

const open: Serve = ({ url }) =>
	url.includes("/blobs/")
		? Response.json({ architecture: "arm64", os: "linux", config: {} })
		: new Response(manifest, { headers: { "Content-Type": "application/json" } });

describe("an image in a registry", () => {
	test("is told by its digest, reckoned from what came, and its platform", async () => {
		const { status, body, asked } = await ask("/distribution/nginx:1.22/json", open);
		expect([status, body]).toEqual([
			200,
			{
				Descriptor: {
					mediaType: "application/vnd.oci.image.manifest.v1+json",
					digest,
					size: manifest.length,
				},
				Platforms: [{ architecture: "arm64", os: "linux" }],
			},
		]);
		expect(asked).toEqual([
			"https://registry-1.docker.io/v2/library/nginx/manifests/1.22",
			"https://registry-1.docker.io/v2/library/nginx/blobs/sha256:config",
		]);
	});

	test("for several platforms names them all, but not its attestations", async () => {
		const index = {
			manifests: [
				{ platform: { architecture: "amd64", os: "linux" } },
				{ platform: { architecture: "arm", os: "linux", variant: "v7" } },
				{ platform: { architecture: "unknown", os: "unknown" } },
			],
		};
		const { body } = await ask("/distribution/host.example.com/a/b/json", () =>
			Response.json(index),
		);
		expect(body).toMatchObject({
			Platforms: [
				{ architecture: "amd64", os: "linux" },
				{ architecture: "arm", os: "linux", variant: "v7" },
			],
		});
	});

	test.each([
		["127.0.0.1:5000/web", "http://127.0.0.1:5000/"],
		["localhost:5000/web", "http://localhost:5000/"],
		["plain.example.com:5000/web", "http://plain.example.com:5000/"],
		["other.example.com:5000/web", "https://other.example.com:5000/"],
		["127.0.0.1.example.com/web", "https://127.0.0.1.example.com/"],
	])("%s is asked for at %s", async (image, base) => {
		const { asked } = await ask(`/distribution/${image}/json`, open);
		expect(asked[0]).toStartWith(base);
	});

	test.each<[string, Serve, number, string]>([
		["is not there", () => new Response("", { status: 404 }), 404, "manifest unknown"],
		[
			"is not for us",
			() => new Response("", { status: 401 }),
			403,
			"docker login host.example.com",
		],
		[
			"comes from a registry that is ill",
			() => new Response("", { status: 500 }),
			503,
			"status 500",
		],
		[
			"comes from no registry",
			() => Promise.reject(new Error("getaddrinfo ENOTFOUND")),
			503,
			"does not answer: getaddrinfo ENOTFOUND",
		],
		["is a web page", () => new Response("<html>"), 503, "sent no image manifest"],
	])("%s", async (_name, serve, status, message) => {
		const answer = await ask("/distribution/host.example.com/web/json", serve);
		expect(answer.status).toBe(status);
		expect(answer.body).toEqual({ message: expect.stringContaining(message) });
	});

	test("whose name is none is not asked for", async () => {
		const { status, body, asked } = await ask("/distribution/Bad:::image/json", open);
		expect([status, body, asked]).toEqual([
			400,
			{ message: "invalid reference format: repository name must be lowercase" },
			[],
		]);
	});
});

describe("a registry that asks who we are", () => {
	const challenge =
		(text: string, then: Serve): Serve =>
		(request) =>
			request.headers.has("Authorization")
				? then(request)
				: new Response("", { status: 401, headers: { "WWW-Authenticate": text } });

	test("gets the password it asks for", async () => {
		const { status, asked } = await ask(
			"/distribution/host.example.com/web/json",
			challenge('Basic realm="x"', open),
			known,
		);
		expect(status).toBe(200);
		expect(asked[1]).toBe(`https://host.example.com/v2/web/manifests/latest Basic ${btoa("u:p")}`);
	});

	const bearer =
		'Bearer realm="https://auth.example.com/token",service="reg",scope="repository:web:pull"';
	const tokens: Serve = (request) =>
		request.url.startsWith("https://auth.example.com/")
			? Response.json({ token: "T" })
			: challenge(bearer, open)(request);

	test("or a token, which anybody may have", async () => {
		const { status, asked } = await ask("/distribution/host.example.com/web/json", tokens);
		expect(status).toBe(200);
		expect(asked.slice(1, 3)).toEqual([
			"https://auth.example.com/token?service=reg&scope=repository%3Aweb%3Apull",
			"https://host.example.com/v2/web/manifests/latest Bearer T",
		]);
	});

	test("or a token for which the password is asked elsewhere", async () => {
		const { asked } = await ask("/distribution/host.example.com/web/json", tokens, known);
		expect(asked[1]).toEndWith(`Basic ${btoa("u:p")}`);
	});

	test("but the password goes nowhere unencrypted", async () => {
		const lure = challenge('Bearer realm="http://169.254.169.254/token"', open);
		const { status, asked } = await ask("/distribution/host.example.com/web/json", lure, known);
		expect([status, asked.length]).toEqual([403, 1]);
	});
});

test.each([
	[undefined, undefined],
	["", undefined],
	["e30=", undefined],
	["%%%", undefined],
	[btoa("no JSON"), undefined],
	[known, { username: "u", password: "p" }],
	[auth({ username: "ü?>", password: "" }).slice(0, 0), undefined],
])("X-Registry-Auth %p", (header, want) => expect(credentialsOf(header)).toEqual(want));
