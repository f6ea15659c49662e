// hook.sh in a real bare repository, told of real pushes, telling a real server.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Delivered } from "./delivery.ts";
import { readDelivery } from "./delivery.ts";

const secret = "%s It's a $ecret\\n to `everybody`, ü";

let folder = "";
let server: ReturnType<typeof Bun.serve>;
let answer: (delivered: Delivered) => Response | Promise<Response>;

/** Git with nobody's settings. */
async function git(...args: readonly string[]): Promise<string> {
	const child = Bun.spawn(["git", ...args], {
		cwd: join(folder, "work"),
		env: {
			PATH: process.env["PATH"] ?? "",
			HOME: folder,
			GIT_CONFIG_NOSYSTEM: "1",
			GIT_AUTHOR_NAME: "Jane Doe",
			GIT_AUTHOR_EMAIL: "jane@example.com",
			GIT_COMMITTER_NAME: "Somebody",
			GIT_COMMITTER_EMAIL: "somebody@example.com",
		},
		stdout: "pipe",
		stderr: "pipe",
	});
	const [out, err] = await Promise.all([
		new Response(child.stdout).text(),
		new Response(child.stderr).text(),
	]);
	if ((await child.exited) !== 0) throw new Error(`git ${args.join(" ")}: ${err}`);
	return (out + err).trim();
}

async function commit(files: Readonly<Record<string, string>>, message: string): Promise<string> {
	for (const [path, content] of Object.entries(files)) {
		await Bun.write(join(folder, "work", path), content);
	}
	await git("add", ".");
	await git("commit", "-q", "-m", message);
	return git("rev-parse", "HEAD");
}

const bare = (...args: readonly string[]) => git("-C", join(folder, "bare.git"), ...args);

/** What the next push is told as. */
async function told(push: () => Promise<unknown>): Promise<Delivered> {
	const { promise, resolve } = Promise.withResolvers<Delivered>();
	answer = (delivered) => {
		resolve(delivered);
		return new Response();
	};
	await push();
	return promise;
}

beforeAll(async () => {
	folder = await mkdtemp(join(tmpdir(), "skein-hook-"));
	server = Bun.serve({
		port: 0,
		async fetch(request) {
			const delivery = {
				headers: request.headers,
				body: new Uint8Array(await request.arrayBuffer()),
			};
			try {
				return await answer(await readDelivery(delivery, ["another", secret]));
			} catch (error) {
				return new Response(String(error), { status: 403 });
			}
		},
	});
	await Bun.write(join(folder, "work", "README.md"), "");
	await git("init", "-q", "-b", "main");
	await git("init", "-q", "--bare", "../bare.git");
	await git("remote", "add", "origin", "../bare.git");
	const hook = join(folder, "bare.git", "hooks", "post-receive");
	await Bun.write(hook, Bun.file(join(import.meta.dir, "hook.sh")));
	expect(await Bun.spawn(["chmod", "+x", hook]).exited).toBe(0);
});

afterAll(async () => {
	await server.stop(true);
	await rm(folder, { recursive: true });
});

test("without an address the push goes through, and says what is missing", async () => {
	await commit({ "README.md": "Doors" }, "Begin");
	expect(await git("push", "origin", "main")).toContain("set skein.webhook and skein.secret");
	await bare("config", "skein.webhook", new URL("/webhooks/x", server.url).href);
	await bare("config", "skein.secret", "x".repeat(65));
	expect(await git("push", "origin", "main:first")).toContain("longer than 64 characters");
	await bare("config", "skein.secret", secret);
});

test("a push is told with all that Git knows of it", async () => {
	const before = await git("rev-parse", "HEAD");
	const now = await commit({ "web/a door.html": "", "ü.md": "" }, 'Open "it"\n\nAnd 100%.');
	const delivered = await told(() => git("push", "origin", "main"));
	expect(delivered.id).toMatch(/^\d+-\d+$/);
	expect(delivered.events).toEqual([
		{
			kind: "push",
			ref: "refs/heads/main",
			before,
			commit: now,
			forced: false,
			message: 'Open "it"\n\nAnd 100%.\n',
			author: "Jane Doe <jane@example.com>",
			isBot: false,
			paths: ["web/a door.html", "ü.md"],
		},
	]);
});

test("a forced push, a new branch, an annotated tag and a deleted branch, all in one", async () => {
	const before = await git("rev-parse", "HEAD");
	await git("reset", "-q", "--hard", "HEAD~1");
	const now = await commit({ "api/door.ts": "" }, "Another way");
	await git("tag", "-a", "v1", "-m", "One");
	const { events } = await told(() =>
		git("push", "-q", "origin", "+main", "main:new", "v1", ":first"),
	);
	const byRef = events.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
	expect(new Set(byRef)).toEqual(
		new Set([
			// What the forced push took away is among what differs.
			expect.objectContaining({
				ref: "refs/heads/main",
				before,
				commit: now,
				forced: true,
				paths: ["api/door.ts", "web/a door.html", "ü.md"],
			}),
			expect.objectContaining({ ref: "refs/heads/new", before: null, commit: now, paths: null }),
			expect.objectContaining({ ref: "refs/tags/v1", before: null, commit: now }),
			expect.objectContaining({ ref: "refs/heads/first", commit: null, message: "" }),
		]),
	);
});

test("the push does not wait for the answer, and what fails is tried again as the same delivery", async () => {
	const tries: Delivered[] = [];
	const pushed = Promise.withResolvers<void>();
	const second = Promise.withResolvers<void>();
	answer = async (delivered) => {
		tries.push(delivered);
		// Nothing is answered before the push is over: if it waited, this would not end.
		await pushed.promise;
		if (tries.length === 1) return new Response("not now", { status: 503 });
		second.resolve();
		return new Response();
	};
	await commit({ "README.md": "Doors and windows" }, "More");
	await git("push", "origin", "main");
	pushed.resolve();
	await second.promise;
	expect(tries[1]).toEqual(tries[0] as Delivered);
});

test("what is refused stands in the log", async () => {
	await bare("config", "skein.secret", "none of the server's");
	await commit({ "README.md": "Windows" }, "Less");
	await git("push", "origin", "main");
	const log = Bun.file(join(folder, "bare.git", "skein.log"));
	while (!(await log.text()).includes("403")) await Bun.sleep(10);
});
