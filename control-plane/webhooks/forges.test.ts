// What each forge really sends (`samples/`), as events; and what we do not take for one.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { GitEvent } from "../../model/git.ts";
import { bitbucket } from "./bitbucket.ts";
import { bytesOf } from "./bytes.ts";
import type { Forge } from "./forge.ts";
import { gitea } from "./gitea.ts";
import { github } from "./github.ts";
import { gitlab } from "./gitlab.ts";

const sample = (name: string): Promise<string> =>
	Bun.file(join(import.meta.dir, "samples", `${name}.json`)).text();

const read = (forge: Forge, headers: Record<string, string>, text: string) =>
	forge.events({ headers: new Headers(headers), body: bytesOf(text) });

const ofGithub = (event: string) => ({ "X-GitHub-Event": event });
const ofGitlab = { "X-Gitlab-Event": "Push Hook" };
const ofGitea = (event: string) => ({ "X-Gitea-Event": event, "X-GitHub-Event": event });
const ofForgejo = (event: string) => ({ "X-Forgejo-Event": event, ...ofGitea(event) });
const ofBitbucket = (event: string) => ({ "X-Event-Key": event });

const people = { isBot: false, forced: false };

test.each<[string, Forge, Record<string, string>, Partial<GitEvent>]>([
	["github-ping", github, ofGithub("ping"), { kind: "ping" }],
	[
		"github-push-branch-new",
		github,
		ofGithub("push"),
		{
			...people,
			kind: "push",
			ref: "refs/heads/master",
			before: null,
			commit: "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
			message: "Initial commit",
			author: "Codertocat <21031067+Codertocat@users.noreply.github.com>",
			paths: null,
		},
	],
	[
		"github-push-forced",
		github,
		ofGithub("push"),
		{
			kind: "push",
			before: "5ea737297f2e2e88f4cdf796e72cbcb12d40fd9c",
			commit: "f7220f1f753260bf6f1c533357c70213e9fd4abe",
			forced: true,
			paths: null,
		},
	],
	[
		"github-push-tag",
		github,
		ofGithub("push"),
		{
			...people,
			kind: "push",
			ref: "refs/tags/simple-tag",
			before: null,
			commit: "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
		},
	],
	[
		"github-push-tag-deleted",
		github,
		ofGithub("push"),
		{ ...people, kind: "push", ref: "refs/tags/simple-tag", commit: null, message: "", author: "" },
	],
	[
		"github-pull-request-opened",
		github,
		ofGithub("pull_request"),
		{
			kind: "pull-request",
			action: "opened",
			number: 2,
			title: "Update the README with new information.",
			author: "Codertocat",
			commit: "ec26c3e57ca3a959ca5aad62de7213c562f8c821",
			branch: "changes",
			base: "master",
			isBot: false,
			isFork: false,
		},
	],
	[
		"github-pull-request-synchronize",
		github,
		ofGithub("pull_request"),
		{ kind: "pull-request", action: "updated" },
	],
	[
		"github-pull-request-closed",
		github,
		ofGithub("pull_request"),
		{ kind: "pull-request", action: "closed" },
	],
	[
		"github-pull-request-labeled",
		github,
		ofGithub("pull_request"),
		{ kind: "other", event: "pull_request labeled" },
	],
	[
		"gitlab-push",
		gitlab,
		ofGitlab,
		{
			...people,
			kind: "push",
			ref: "refs/heads/master",
			before: "95790bf891e76fee5e1747ab589903a6a1f80f22",
			commit: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
			message: "fixed readme",
			author: "GitLab dev user <gitlabdev@dv6700.(none)>",
			// Two of four commits are listed.
			paths: null,
		},
	],
	[
		"gitlab-push-branch-new",
		gitlab,
		ofGitlab,
		{ ...people, kind: "push", before: null, message: "added readme\n", paths: null },
	],
	[
		"gitlab-push-branch-deleted",
		gitlab,
		ofGitlab,
		{ ...people, kind: "push", ref: "refs/heads/feature", commit: null },
	],
	[
		"gitlab-tag",
		gitlab,
		ofGitlab,
		{
			...people,
			kind: "push",
			ref: "refs/tags/v1.0.0",
			before: null,
			commit: "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7",
		},
	],
	[
		"gitlab-merge-request-open",
		gitlab,
		ofGitlab,
		{
			kind: "pull-request",
			action: "opened",
			number: 1,
			title: "MS-Viewport",
			author: "root",
			commit: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7",
			branch: "ms-viewport",
			base: "master",
			isBot: false,
			isFork: false,
		},
	],
	[
		"gitlab-merge-request-close",
		gitlab,
		ofGitlab,
		{ kind: "pull-request", action: "closed", number: 4 },
	],
	[
		"gitea-push",
		gitea,
		ofGitea("push"),
		{
			...people,
			kind: "push",
			ref: "refs/heads/master",
			before: "9836a96a253cce25d17988fcf41b8c4205cf779f",
			commit: "4522cbcefc20728a5b72b3a86af35e608622c514",
			message: "Updated readme\n",
			author: "Unknwon <noreply@gogs.io>",
			// It does not say how many commits there are.
			paths: null,
		},
	],
	[
		"gitea-push-branch-new",
		gitea,
		ofGitea("push"),
		{ ...people, kind: "push", before: null, message: "example\n", paths: null },
	],
	[
		"gitea-pull-request-opened",
		gitea,
		ofGitea("pull_request"),
		{
			kind: "pull-request",
			action: "opened",
			number: 2,
			title: "update",
			author: "example2",
			commit: "48e773f892a831faa47c0a160d1b7f0cd369ae2a",
			branch: "master",
			base: "master",
			isBot: false,
			isFork: true,
		},
	],
	[
		"forgejo-push",
		gitea,
		ofForgejo("push"),
		{
			...people,
			kind: "push",
			commit: "29be01c073851cf0db0c6a466e396b725a670453",
			message: "add some text\n",
			paths: ["aa", "aaa"],
		},
	],
	["forgejo-create-tag", gitea, ofForgejo("create"), { kind: "other", event: "create" }],
	[
		"bitbucket-push",
		bitbucket,
		ofBitbucket("repo:push"),
		{
			...people,
			kind: "push",
			ref: "refs/heads/new-branch-push-new-commits",
			before: "d3da4886495b865f836a0c77daa9c8e080b136d1",
			commit: "daf07dd85350b95d05a7fe898e07022c5dcd95b9",
			message: "Push commit\n",
			author: "Jane Doe <jane@example.com>",
			paths: null,
		},
	],
	[
		"bitbucket-push-old",
		bitbucket,
		ofBitbucket("repo:push"),
		{ ...people, kind: "push", ref: "refs/heads/name-of-branch", author: "" },
	],
	[
		"bitbucket-push-forced",
		bitbucket,
		ofBitbucket("repo:push"),
		{ kind: "push", forced: true, before: "c9a484933fcd7abb438600eb9786c21aa0f68dfa" },
	],
	[
		"bitbucket-push-tag",
		bitbucket,
		ofBitbucket("repo:push"),
		{
			...people,
			kind: "push",
			ref: "refs/tags/v1.6",
			before: null,
			commit: "daf07dd85350b95d05a7fe898e07022c5dcd95b9",
		},
	],
	[
		"bitbucket-push-branch-deleted",
		bitbucket,
		ofBitbucket("repo:push"),
		{
			...people,
			kind: "push",
			ref: "refs/heads/mtmp1123333333",
			before: "d2b7d8ca15effafc1a24ac5fd099f34b5447c9ad",
			commit: null,
		},
	],
	[
		"bitbucket-pull-request-created",
		bitbucket,
		ofBitbucket("pullrequest:created"),
		{
			kind: "pull-request",
			action: "opened",
			number: 1,
			title: "Awesome new feature",
			author: "Brad Rydzewski",
			commit: "507a576e59b3",
			branch: "feature/develop",
			base: "master",
			isFork: false,
		},
	],
	[
		"bitbucket-pull-request-created",
		bitbucket,
		ofBitbucket("pullrequest:fulfilled"),
		{ kind: "pull-request", action: "closed" },
	],
	[
		"bitbucket-pull-request-created",
		bitbucket,
		ofBitbucket("pullrequest:comment_created"),
		{ kind: "other", event: "pullrequest:comment_created" },
	],
])("%s", async (name, forge, headers, expected) => {
	expect(forge.recognizes(new Headers(headers))).toBe(true);
	const events = read(forge, headers, await sample(name));
	expect(events).toHaveLength(1);
	expect(events[0]).toMatchObject(expected);
});

/** A sample with some of it as a forge would have said it of something else. */
async function changed(name: string, change: (payload: Json) => void): Promise<string> {
	const payload = JSON.parse(await sample(name));
	change(payload);
	return JSON.stringify(payload);
}

// biome-ignore lint/suspicious/noExplicitAny: a payload is what it is; what is read of it is checked by what is tested
type Json = any;

const hash = (digit: string) => digit.repeat(40);

describe("paths", () => {
	const moved = { before: hash("a"), forced: false };

	test("are all that GitHub's commits name, each once", async () => {
		const text = await changed("github-push-forced", (push) => {
			Object.assign(push, moved);
			push.commits[0] = { ...push.commits[0], added: ["b", "a"], modified: ["b"], removed: ["c"] };
		});
		expect(read(github, ofGithub("push"), text)).toMatchObject([{ paths: ["a", "b", "c"] }]);
	});

	test.each<[string, (push: Json) => void]>([
		["no commit is listed", (push) => push.commits.splice(0)],
		[
			"the list is as long as lists get",
			(push) => push.commits.push(...Array(2047).fill(push.commits[0])),
		],
		[
			"a commit's files are as many as are listed",
			(push) => push.commits[0].added.push(...Array(3000).fill("x")),
		],
		["a commit's files are not listed", (push) => delete push.commits[0].added],
	])("are not known where %s", async (_case, change) => {
		const text = await changed("github-push-forced", (push) => {
			Object.assign(push, moved);
			change(push);
		});
		expect(read(github, ofGithub("push"), text)).toMatchObject([{ paths: null }]);
	});

	test("are those of all of GitLab's commits, when it lists all", async () => {
		const text = await changed("gitlab-push", (push) => {
			push.total_commits_count = 2;
		});
		expect(read(gitlab, ofGitlab, text)).toMatchObject([
			{ paths: ["CHANGELOG", "app/controller/application.rb"] },
		]);
	});

	test("Gitea lists five commits of many", async () => {
		const text = await changed("forgejo-push", (push) => {
			push.total_commits = 4;
		});
		expect(read(gitea, ofForgejo("push"), text)).toMatchObject([{ paths: null }]);
	});
});

test("an annotated tag stands for its commit, not for itself", async () => {
	const tag = hash("e");
	const ofHub = await changed("github-push-tag", (push) => {
		push.after = tag;
	});
	const commit = "6113728f27ae82c7b1a177c8d03f9e96e0adf246";
	expect(read(github, ofGithub("push"), ofHub)).toMatchObject([{ commit }]);
	const ofLab = await changed("gitlab-tag", (push) => {
		push.after = tag;
	});
	expect(read(gitlab, ofGitlab, ofLab)).toMatchObject([
		{ commit: "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7" },
	]);
});

test("programs are told from people", async () => {
	const bots = [
		read(
			github,
			ofGithub("push"),
			await changed("github-push-forced", ({ sender }) => {
				Object.assign(sender, { login: "renovate[bot]", type: "Bot" });
			}),
		),
		read(
			gitlab,
			ofGitlab,
			await changed("gitlab-push", (push) => {
				push.user_username = "project_15_bot_4ffca233d8298ea1";
			}),
		),
		read(
			gitea,
			ofGitea("push"),
			await changed("forgejo-push", ({ sender }) => {
				Object.assign(sender, { id: -2, login: "forgejo-actions" });
			}),
		),
		read(
			bitbucket,
			ofBitbucket("repo:push"),
			await changed("bitbucket-push", ({ actor }) => {
				actor.type = "app_user";
			}),
		),
	];
	expect(bots.flat().map((event) => event.kind === "push" && event.isBot)).toEqual(
		Array(4).fill(true),
	);
});

test("a pull request out of another repository is a fork's, even if that one is gone", async () => {
	const forks = [
		read(
			github,
			ofGithub("pull_request"),
			await changed("github-pull-request-opened", ({ pull_request }) => {
				pull_request.head.repo = null;
			}),
		),
		read(
			gitlab,
			ofGitlab,
			await changed("gitlab-merge-request-open", ({ object_attributes }) => {
				object_attributes.source_project_id = 15;
			}),
		),
		read(
			bitbucket,
			ofBitbucket("pullrequest:created"),
			await changed("bitbucket-pull-request-created", ({ pullrequest }) => {
				pullrequest.source.repository = null;
			}),
		),
	];
	expect(forks.flat().map((event) => event.kind === "pull-request" && event.isFork)).toEqual(
		Array(3).fill(true),
	);
});

test("GitLab's merge request is updated when commits come, and by nothing else", async () => {
	const update = (oldrev?: string) =>
		changed("gitlab-merge-request-open", ({ object_attributes }) => {
			Object.assign(object_attributes, { action: "update", oldrev });
		});
	expect(read(gitlab, ofGitlab, await update(hash("b")))).toMatchObject([{ action: "updated" }]);
	expect(read(gitlab, ofGitlab, await update())).toEqual([
		{ kind: "other", event: "merge_request update" },
	]);
});

test("a pull request that got commits, was opened again or is over, in each forge's words", async () => {
	const ofGitHub = (name: string, action: string) =>
		changed(name, (payload) => {
			payload.action = action;
		});
	const ofLab = (action: string) =>
		changed("gitlab-merge-request-open", ({ object_attributes }) => {
			object_attributes.action = action;
		});
	const hub = async (action: string) =>
		read(github, ofGithub("pull_request"), await ofGitHub("github-pull-request-opened", action));
	const tea = async (action: string) =>
		read(gitea, ofGitea("pull_request"), await ofGitHub("gitea-pull-request-opened", action));
	const bucket = async (event: string) =>
		read(bitbucket, ofBitbucket(event), await sample("bitbucket-pull-request-created"));
	const told = await Promise.all([
		hub("synchronize"),
		hub("reopened"),
		hub("edited"),
		tea("synchronized"),
		tea("closed"),
		tea("reopened"),
		ofLab("reopen").then((text) => read(gitlab, ofGitlab, text)),
		ofLab("merge").then((text) => read(gitlab, ofGitlab, text)),
		ofLab("approved").then((text) => read(gitlab, ofGitlab, text)),
		bucket("pullrequest:updated"),
		bucket("pullrequest:rejected"),
	]);
	const actions = told.flat().map((event) => (event.kind === "pull-request" ? event.action : null));
	const wanted = [
		["updated", "opened", null],
		["updated", "closed", "opened"],
		["opened", "closed", null],
		["updated", "closed"],
	] as const;
	expect(actions).toEqual(wanted.flat());
});

test("one push of Bitbucket's may move several refs", async () => {
	const { push } = JSON.parse(await sample("bitbucket-push-tag"));
	const text = await changed("bitbucket-push", (payload) =>
		payload.push.changes.push(...push.changes),
	);
	expect(read(bitbucket, ofBitbucket("repo:push"), text)).toMatchObject([
		{ ref: "refs/heads/new-branch-push-new-commits" },
		{ ref: "refs/tags/v1.6" },
	]);
});

test("a form with the payload in one field is read too", async () => {
	const form = new URLSearchParams({ payload: await sample("github-push-tag") }).toString();
	const headers = { ...ofGithub("push"), "Content-Type": "application/x-www-form-urlencoded" };
	expect(read(github, headers, form)).toMatchObject([{ ref: "refs/tags/simple-tag" }]);
});

test.each<[Forge, Record<string, string>, string, string]>([
	[github, ofGithub("push"), "{", "GitHub's payload is no JSON"],
	[github, ofGithub("push"), "[]", "GitHub's payload: the payload: Invalid input: expected object"],
	[github, ofGithub("push"), '{"ref":"refs/heads/x"}', "GitHub's payload: before: "],
	[gitlab, ofGitlab, '{"object_kind":"push","ref":1}', "GitLab's payload: ref: "],
	[
		gitea,
		ofGitea("push"),
		'{"ref":"refs/heads/x","before":"main"}',
		"Gitea's payload: before: no commit",
	],
	[
		bitbucket,
		ofBitbucket("repo:push"),
		'{"actor":{},"push":{"changes":[{"old":null,"new":null}]}}',
		"Bitbucket's payload: push.changes.0: neither old nor new",
	],
])("%#: what is not as documented is refused by its name", (forge, headers, text, message) => {
	expect(() => read(forge, headers, text)).toThrow(message);
});

test("no sample in another forge's words becomes a push", async () => {
	// A signed body sent again under other headers, which no signature covers.
	const labeled = await sample("github-pull-request-labeled");
	expect(() => read(github, ofGithub("push"), labeled)).toThrow("GitHub's payload: ref");
	expect(() => read(bitbucket, ofBitbucket("repo:push"), labeled)).toThrow("Bitbucket's payload: ");
});
