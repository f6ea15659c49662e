// Asks image registries, so that `docker service create` can pin the digest that all nodes are to run.
//
// Anonymous, Basic or Bearer by challenge, as the registry wants it. Answers are waited for but briefly: the CLI goes
// on without a digest, with a warning, when we refuse.

import { Hono } from "hono";
import { z } from "zod";
import { forbidden, invalid, notFound, Refusal, unavailable } from "../../model/errors.ts";
import type { Document } from "../../model/service.ts";
import { toBase64 } from "../accounts/base64.ts";
import type { DoorEnv } from "../cluster.ts";
import { hostOf, parseUrl } from "./address.ts";
import { readBody } from "./body.ts";
import type { EngineDeps } from "./door.ts";
import { parseReference, type Reference } from "./reference.ts";

const timeoutMs = 8_000;

export interface Credentials {
	readonly username: string;
	readonly password: string;
}

export function registryRoutes(deps: EngineDeps): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.get("/distribution/:name{.+}/json", async (c) => {
			const reference = parseReference(c.req.param("name"));
			if (typeof reference === "string") throw invalid(reference);
			const credentials = credentialsOf(c.req.header("X-Registry-Auth"));
			return c.json(await inspect(registry(deps, reference.host, credentials), reference));
		})
		.post("/auth", async (c) => {
			const { value } = await readBody(c.req.raw, authSchema, "AuthConfig");
			const address = value.serveraddress ?? "docker.io";
			// With a scheme, or without: `https://index.docker.io/v1/`, `registry.example.com:5000`.
			const host = hostOf(address).replace(/\/.*$/, "");
			const credentials = { username: value.username ?? "", password: value.password ?? "" };
			const answer = await registry(deps, hubName(host), credentials).ask("/v2/", "");
			if (!answer.ok) throw refused(answer.status, host);
			return c.json({ IdentityToken: "", Status: "Login Succeeded" });
		});
}

const authSchema = z
	.looseObject({ username: z.string(), password: z.string(), serveraddress: z.string() })
	.partial();

/** The header's content, or undefined when it is absent, empty (`e30=`) or no JSON. */
export function credentialsOf(header: string | undefined): Credentials | undefined {
	const { username = "", password = "" } = contentOf(header);
	return username === "" ? undefined : { username, password };
}

/** An engine can make more of it than we can: tokens stand in other fields. */
export function hasCredentials(header: string): boolean {
	return Object.values(contentOf(header)).some((value) => value !== "");
}

function contentOf(header: string | undefined): z.infer<typeof authSchema> {
	if (!header) return {};
	try {
		const text = atob(header.replaceAll("-", "+").replaceAll("_", "/"));
		return authSchema.safeParse(JSON.parse(text)).data ?? {};
	} catch {
		return {};
	}
}

interface Registry {
	readonly host: string;
	/** GET, with what the registry's challenge asks for. */
	ask(path: string, accept: string): Promise<Response>;
}

function hubName(host: string): string {
	return /^(index\.)?docker\.io$|^$/.test(host) ? "docker.io" : host;
}

function registry(
	{ insecureRegistries, fetch: send = (request) => fetch(request) }: EngineDeps,
	host: string,
	credentials: Credentials | undefined,
): Registry {
	const server = host === "docker.io" ? "registry-1.docker.io" : host;
	const plain =
		/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/.test(host) ||
		insecureRegistries.includes(host);
	const base = `${plain ? "http" : "https"}://${server}`;
	const signal = AbortSignal.timeout(timeoutMs);
	let authorization: string | undefined;
	const knock = (path: string, accept: string) => {
		const headers = {
			...(accept && { Accept: accept }),
			...(authorization && { Authorization: authorization }),
		};
		return send(new Request(`${base}${path}`, { signal, headers }));
	};
	return {
		host,
		async ask(path, accept) {
			try {
				const first = await knock(path, accept);
				if (first.status !== 401 || authorization) return first;
				authorization = await answerToChallenge(
					first.headers.get("WWW-Authenticate") ?? "",
					credentials,
					plain,
					(url, headers) => send(new Request(url.href, { signal, headers })),
				);
				return authorization ? await knock(path, accept) : first;
			} catch (error) {
				if (error instanceof Refusal) throw error;
				throw unavailable(`registry ${host} does not answer: ${reasonOf(error)}`, { cause: error });
			}
		},
	};
}

function reasonOf(error: unknown): string {
	if (!(error instanceof Error)) return String(error);
	return error.name === "TimeoutError" ? `no answer within ${timeoutMs / 1000} s` : error.message;
}

async function answerToChallenge(
	challenge: string,
	credentials: Credentials | undefined,
	plain: boolean,
	send: (url: URL, headers: Record<string, string>) => Promise<Response>,
): Promise<string | undefined> {
	const basic =
		credentials &&
		`Basic ${toBase64(new TextEncoder().encode(`${credentials.username}:${credentials.password}`))}`;
	if (/^basic/i.test(challenge)) return basic;
	if (!/^bearer/i.test(challenge)) return undefined;
	const fields = new Map(
		[...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, value]),
	);
	const realm = parseUrl(fields.get("realm") ?? "");
	// A password goes nowhere unencrypted, unless its registry was named as such.
	if (!realm || (realm.protocol !== "https:" && !plain)) return undefined;
	for (const key of ["service", "scope"]) {
		const value = fields.get(key);
		if (value) realm.searchParams.set(key, value);
	}
	const answer = await send(realm, basic ? { Authorization: basic } : {});
	if (!answer.ok) return undefined;
	const token = tokenSchema.safeParse(await answer.json());
	const text = token.data?.token ?? token.data?.access_token;
	return text && `Bearer ${text}`;
}

const tokenSchema = z.object({ token: z.string().optional(), access_token: z.string().optional() });

const index = [
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
];
const manifest = [
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.v2+json",
];

const platform = z.looseObject({ architecture: z.string(), os: z.string() });
const manifestSchema = z.looseObject({
	mediaType: z.string().optional(),
	manifests: z.array(z.looseObject({ platform: platform.optional() })).optional(),
	config: z.looseObject({ digest: z.string() }).optional(),
});

async function inspect(from: Registry, reference: Reference): Promise<Document> {
	const path = `/v2/${reference.path}`;
	const wanted = reference.digest ?? reference.tag ?? "latest";
	const answer = await from.ask(
		`${path}/manifests/${encodeURIComponent(wanted).replaceAll("%3A", ":")}`,
		[...index, ...manifest].join(", "),
	);
	if (answer.status === 404) throw notFound("manifest unknown: manifest unknown");
	if (!answer.ok) throw refused(answer.status, from.host);
	const bytes = new Uint8Array(await answer.arrayBuffer());
	const parsed = manifestSchema.safeParse(jsonOf(bytes));
	if (!parsed.success) throw unavailable(`registry ${from.host} sent no image manifest`);
	return {
		Descriptor: {
			mediaType: parsed.data.mediaType ?? answer.headers.get("Content-Type") ?? "",
			// Reckoned, not believed: it is what all nodes will insist on.
			digest: await digestOf(bytes),
			size: bytes.byteLength,
		},
		Platforms: await platformsOf(from, path, parsed.data),
	};
}

async function platformsOf(
	from: Registry,
	path: string,
	found: z.infer<typeof manifestSchema>,
): Promise<z.infer<typeof platform>[]> {
	if (found.manifests) {
		const all = found.manifests.flatMap((each) => each.platform ?? []);
		// Attestations stand among the manifests as a platform of their own.
		return all.filter(({ os }) => os !== "unknown");
	}
	if (!found.config) return [];
	const answer = await from.ask(`${path}/blobs/${found.config.digest}`, "");
	if (!answer.ok) return [];
	const config = platform.safeParse(jsonOf(new Uint8Array(await answer.arrayBuffer())));
	return config.success ? [{ architecture: config.data.architecture, os: config.data.os }] : [];
}

function jsonOf(bytes: Uint8Array): unknown {
	try {
		return JSON.parse(new TextDecoder().decode(bytes));
	} catch {
		return undefined;
	}
}

async function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
	const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
	return `sha256:${[...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function refused(status: number, host: string): Refusal {
	if (status === 401 || status === 403) {
		return forbidden(
			`registry ${host} refused: unauthorized; log in with "docker login ${host}" and pass --with-registry-auth`,
		);
	}
	return unavailable(`registry ${host} answered with status ${status}`);
}
