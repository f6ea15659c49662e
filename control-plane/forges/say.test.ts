import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Kind, type StandIn, startForge } from "../../test/forge.ts";
import type { Reach } from "../webhooks/reach.ts";
import type { Saying } from "./forge.ts";
import { say } from "./say.ts";
import { whereOf } from "./where.ts";

const token = "token-1";
const project = "team/web";
const sha = "c".repeat(40);

const saying = (words: Partial<Saying> = {}): Saying => ({
	state: "queued",
	description: "Queued",
	context: "skein/web/production",
	environment: "web/production",
	isTransient: false,
	commit: sha,
	ref: "main",
	isTag: false,
	url: "https://web.example.com/",
	log: "https://skein.example.com/c/x/api/applications/web/deployments/1/log",
	deployment: "deployment-1",
	isOvertaken: false,
	...words,
});

const life = ["queued", "running", "succeeded"] as const;

interface Told {
	readonly states: readonly unknown[];
	readonly deployments: readonly unknown[];
}

const wanted: Readonly<Record<Kind, Told>> = {
	github: {
		states: ["pending", "pending", "success"],
		deployments: ["queued", "in_progress", "success"],
	},
	gitlab: { states: ["pending", "running", "success"], deployments: ["success"] },
	gitea: { states: ["pending", "pending", "success"], deployments: [] },
	bitbucket: { states: ["INPROGRESS", "INPROGRESS", "SUCCESSFUL"], deployments: [] },
};

for (const kind of Object.keys(wanted) as Kind[]) {
	describe(kind, () => {
		let forge: StandIn;
		let reach: Reach;
		beforeAll(() => {
			forge = startForge(kind, { token, project });
			reach = { insecure: [forge.host], isPrivateAllowed: false };
		});
		afterAll(() => forge.stop());

		const where = () =>
			whereOf(
				{
					repository: "https://git.example.com/team/web.git",
					forge: { kind, api: `${forge.url}/`, deployments: true },
				},
				reach,
			);
		const tell = (words: Partial<Saying>, id = "", given = token) =>
			say(where(), { token: given }, saying(words), id);

		test("is told a deployment's life, as it documents", async () => {
			let id = "";
			for (const state of life) {
				const said = await tell({ state, description: state }, id);
				expect(said).toEqual({ kind: "taken", id: expect.any(String) });
				id = said.id;
			}
			expect(forge.complaints).toEqual([]);
			const { states, deployments } = wanted[kind];
			expect(forge.statuses.map((each) => each["state"])).toEqual([...states]);
			expect(forge.statuses.every((each) => each["sha"] === sha)).toBe(true);
			const told = forge.deployments.flatMap((each) => each.states);
			expect(told.map((each) => each["state"] ?? each["status"])).toEqual([...deployments]);
		});

		test("said twice it is one deployment still, although the first answer was lost", async () => {
			const words = {
				state: "running",
				deployment: "deployment-2",
				commit: "d".repeat(40),
			} as const;
			expect((await tell(words)).kind).toBe("taken");
			const count = forge.deployments.length;
			expect((await tell(words)).kind).toBe("taken");
			expect(forge.deployments).toHaveLength(count);
			expect(forge.complaints).toEqual([]);
		});

		test.each(["failed", "stopped"] as const)("%s is said", async (state) => {
			const commit = (state === "failed" ? "e" : "f").repeat(40);
			expect((await tell({ state, commit, deployment: state })).kind).toBe("taken");
			expect(forge.complaints).toEqual([]);
		});

		test("what is overtaken says nothing of the commit", async () => {
			const count = forge.statuses.length;
			await tell({ state: "stopped", isOvertaken: true, deployment: "deployment-3" });
			expect(forge.statuses).toHaveLength(count);
		});

		test("a token that it refuses, and a repository that it does not show, name the remedy", async () => {
			const refused = await tell({}, "", "another");
			expect(refused).toMatchObject({ kind: "refused" });
			expect("error" in refused && refused.error).toContain("refuses the token");
			const elsewhere = { ...where(), project: "team/other" };
			const missing = await say(elsewhere, { token }, saying(), "");
			expect(missing).toMatchObject({ kind: "refused" });
			expect("error" in missing && missing.error).toContain("or correct forge.project");
		});

		test.each([
			["a fault", () => new Response("<html>", { status: 502 }), 0],
			["a limit", () => new Response("", { status: 429, headers: { "Retry-After": "7" } }), 7_000],
			[
				"GitHub's limit",
				() => new Response("{}", { status: 403, headers: { "X-RateLimit-Remaining": "0" } }),
				0,
			],
		])("%s is waited for", async (_what, answer, waitMs) => {
			forge.answer = answer;
			expect(await tell({})).toMatchObject({ kind: "later", waitMs });
			forge.answer = undefined;
		});

		test("the token does not follow a redirect", async () => {
			let asked = 0;
			const other = Bun.serve({
				port: 0,
				hostname: "127.0.0.1",
				fetch: () => {
					asked++;
					return new Response();
				},
			});
			forge.answer = () => Response.redirect(other.url.href, 307);
			expect(await tell({})).toMatchObject({ kind: "refused" });
			forge.answer = undefined;
			expect(asked).toBe(0);
			await other.stop(true);
		});

		test("nobody there is waited for, and endless answers are not read", async () => {
			const gone = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
			const api = gone.url.origin;
			await gone.stop(true);
			const said = await say({ ...where(), api }, { token }, saying(), "");
			expect(said).toMatchObject({ kind: "later" });
			const chunk = new Uint8Array(1 << 20).fill(32);
			const endless = () => new ReadableStream({ pull: (to) => to.enqueue(chunk) });
			forge.answer = () => new Response(endless());
			expect(await tell({})).toMatchObject({ kind: "later" });
			forge.answer = undefined;
		});
	});
}

test("a Bitbucket token may go with a user", async () => {
	const forge = startForge("bitbucket", { token, project });
	const where = whereOf(
		{
			repository: `git@bitbucket.org:${project}.git`,
			forge: { api: forge.url, deployments: true },
		},
		{ insecure: [forge.host], isPrivateAllowed: false },
	);
	const long = saying({ context: `skein/${"a".repeat(40)}/production` });
	expect(await say(where, { token, user: "ann" }, long, "")).toMatchObject({ kind: "taken" });
	expect(forge.complaints).toEqual([]);
	await forge.stop();
});

test("a preview that is gone is shown as destroyed, and its commit keeps what was said", async () => {
	const forge = startForge("github", { token, project });
	const where = whereOf(
		{ repository: `https://github.com/${project}`, forge: { api: forge.url, deployments: true } },
		{ insecure: [forge.host], isPrivateAllowed: false },
	);
	const preview = { isTransient: true, environment: "web/pr-12" };
	const { id } = await say(where, { token }, saying({ ...preview, state: "succeeded" }), "");
	await say(where, { token }, saying({ ...preview, state: "removed" }), id);
	expect(forge.statuses).toHaveLength(1);
	expect(forge.deployments[0]?.made).toMatchObject({ transient_environment: true });
	expect(forge.deployments[0]?.states.map((each) => each["state"])).toEqual([
		"success",
		"inactive",
	]);
	await forge.stop();
});
