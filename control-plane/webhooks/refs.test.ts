// Refs of real repositories behind a real `git http-backend`; and what answers that is none.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Refusal } from "../../model/errors.ts";
import { readRefs } from "./refs.ts";

let folder = "";
let server: ReturnType<typeof Bun.serve>;
let head = "";

const login = { username: "jane", password: "pässword" };
const authorization = `Basic ${Buffer.from("jane:pässword").toString("base64")}`;

async function run(...command: readonly string[]): Promise<string> {
	const child = Bun.spawn([...command], {
		cwd: folder,
		env: {
			PATH: process.env["PATH"] ?? "",
			HOME: folder,
			GIT_CONFIG_NOSYSTEM: "1",
			GIT_AUTHOR_NAME: "Jane Doe",
			GIT_AUTHOR_EMAIL: "jane@example.com",
			GIT_COMMITTER_NAME: "Jane Doe",
			GIT_COMMITTER_EMAIL: "jane@example.com",
		},
		stdout: "pipe",
		stderr: "inherit",
	});
	const out = await new Response(child.stdout).text();
	expect(await child.exited).toBe(0);
	return out.trim();
}

/** CGI, as Git documents its server: headers, an empty line, the body. */
async function backend(url: URL): Promise<Response> {
	const child = Bun.spawn(["git", "http-backend"], {
		env: {
			PATH: process.env["PATH"] ?? "",
			GIT_PROJECT_ROOT: folder,
			GIT_HTTP_EXPORT_ALL: "1",
			REQUEST_METHOD: "GET",
			PATH_INFO: url.pathname,
			QUERY_STRING: url.search.slice(1),
		},
		stdout: "pipe",
		stderr: "ignore",
	});
	const out = Buffer.from(await new Response(child.stdout).arrayBuffer());
	const end = out.indexOf("\r\n\r\n");
	const headers = new Headers();
	for (const line of out.subarray(0, end).toString().split("\r\n")) {
		const [name = "", value = ""] = line.split(": ");
		headers.set(name, value);
	}
	const status = Number.parseInt(headers.get("Status") ?? "200", 10);
	headers.delete("Status");
	return new Response(out.subarray(end + 4), { status, headers });
}

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "skein-refs-"));
	await run("git", "init", "-q", "-b", "main", "work");
	await run("git", "-C", "work", "commit", "-q", "--allow-empty", "-m", "Begin");
	await run("git", "-C", "work", "branch", "feature/door");
	await run("git", "-C", "work", "tag", "light");
	await run("git", "-C", "work", "tag", "-a", "v1", "-m", "One");
	await run("git", "-C", "work", "update-ref", "refs/pull/1/head", "HEAD");
	head = await run("git", "-C", "work", "rev-parse", "HEAD");
	await run("git", "clone", "-q", "--mirror", "work", "public.git");
	await run("git", "clone", "-q", "--mirror", "work", "private.git");
	await run("git", "init", "-q", "--bare", "empty.git");
	server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		fetch(request) {
			const url = new URL(request.url);
			if (url.pathname.startsWith("/old.git")) {
				return Response.redirect(request.url.replace("/old.git", "/public.git"), 301);
			}
			const isAllowed = request.headers.get("Authorization") === authorization;
			if (url.pathname.startsWith("/private.git") && !isAllowed) {
				return new Response("", { status: 401, headers: { "WWW-Authenticate": "Basic" } });
			}
			return backend(url);
		},
	});
});

afterAll(async () => {
	await server.stop(true);
	await rm(folder, { recursive: true });
});

const at = (path: string) => new URL(path, server.url).href;

const refusal = async (asked: Promise<unknown>): Promise<readonly [string, string]> => {
	const error = await asked.then(
		() => undefined,
		(reason: unknown) => reason,
	);
	if (!(error instanceof Refusal)) throw error ?? new Error("it was not refused");
	return [error.kind, error.message];
};

describe("a real server", () => {
	test("lists branches and tags, and no others", async () => {
		expect(Object.fromEntries(await readRefs(at("/public.git"), null))).toEqual({
			"refs/heads/main": head,
			"refs/heads/feature/door": head,
			"refs/tags/light": head,
			// The commit, not the tag's own hash.
			"refs/tags/v1": head,
		});
	});

	test("lists them to a login too, behind a redirect, and to an address with a slash", async () => {
		expect(await readRefs(at("/private.git"), login)).toHaveLength(4);
		expect(await readRefs(at("/old.git"), null)).toHaveLength(4);
		expect(await readRefs(at("/public.git/"), null)).toHaveLength(4);
	});

	test("has none of an empty repository", async () => {
		expect([...(await readRefs(at("/empty.git"), null))]).toEqual([]);
	});

	test.each<[string, typeof login | null, string, string]>([
		["/private.git", null, "forbidden", "give the application a login"],
		["/private.git", { ...login, password: "no" }, "forbidden", "refuses the login"],
		["/nothing.git", null, "not-found", "or is private and needs a login"],
		["/nothing.git", login, "not-found", "or the login may not see it"],
	])("%s: %#", async (path, given, kind, message) => {
		expect(await refusal(readRefs(at(path), given))).toEqual([
			kind,
			expect.stringContaining(message),
		]);
	});

	test("that is not there does not answer", async () => {
		const gone = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
		const url = new URL("/x.git", gone.url).href;
		await gone.stop(true);
		expect(await refusal(readRefs(url, null))).toEqual([
			"unavailable",
			expect.stringContaining("does not answer"),
		]);
	});
});

test.each([
	"git@github.com:team/web.git",
	"ssh://git@github.com/team/web.git",
	"http://example.com/team/web.git",
	"/srv/web.git",
	"file:///srv/web.git",
])("%s cannot be asked", async (repository) => {
	const [kind, message] = await refusal(
		readRefs(repository, null, () => Promise.reject(new Error("asked"))),
	);
	expect([kind, message]).toEqual(["invalid", expect.stringContaining("repository: ")]);
});

test("a login in the address is refused, and not repeated", async () => {
	const [kind, message] = await refusal(
		readRefs("https://jane:token@example.com/team/web.git", null),
	);
	expect([kind, message]).toEqual(["invalid", expect.stringContaining("login in its address")]);
	expect(message).not.toContain("token");
});

const repository = "https://example.com/team/web.git";

const answering = (body: string | ReadableStream, init: ResponseInit = {}) =>
	refusal(
		readRefs(repository, null, () =>
			Promise.resolve(
				new Response(body, {
					headers: { "Content-Type": "application/x-git-upload-pack-advertisement" },
					...init,
				}),
			),
		),
	);

const line = (text: string) => `${(text.length + 4).toString(16).padStart(4, "0")}${text}`;

test.each<[string, string, ResponseInit, string, string]>([
	[
		"a page",
		"<html>",
		{ headers: { "Content-Type": "text/html" } },
		"invalid",
		"no Git repository",
	],
	["no packet lines", "<html>", {}, "invalid", "no Git repository"],
	[
		"half of one",
		line("# service=git-upload-pack\n").slice(0, -3),
		{},
		"invalid",
		"no Git repository",
	],
	["a complaint", line("ERR access denied\n"), {}, "unavailable", "says: access denied"],
	["a fault", "", { status: 502 }, "unavailable", "status 502"],
])("%s for an answer", async (_case, body, init, kind, message) => {
	expect(await answering(body, init)).toEqual([kind, expect.stringContaining(message)]);
});

test("more than is read is not read", async () => {
	let sent = 0;
	const endless = new ReadableStream({
		pull(controller) {
			sent += 1 << 20;
			controller.enqueue(new Uint8Array(1 << 20).fill(0x30));
		},
	});
	expect(await answering(endless)).toEqual([
		"unavailable",
		expect.stringContaining("more than 16 MB"),
	]);
	expect(sent).toBeLessThan(24 << 20);
});

test("the login stays with the host that it was given for", async () => {
	const seen: (readonly [string, string | null])[] = [];
	const elsewhere = (to: string) => (request: Request) => {
		seen.push([new URL(request.url).host, request.headers.get("Authorization")]);
		return Promise.resolve(new Response(null, { status: 302, headers: { Location: to } }));
	};
	await refusal(readRefs(repository, login, elsewhere("https://other.example.com/")));
	expect(seen).toEqual([
		["example.com", authorization],
		["other.example.com", null],
		["other.example.com", null],
		["other.example.com", null],
	]);
	seen.length = 0;
	await refusal(readRefs(repository, login, elsewhere("http://127.0.0.1:9/")));
	expect(seen).toEqual([["example.com", authorization]]);
});
