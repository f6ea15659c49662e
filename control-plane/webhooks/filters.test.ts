import { expect, test } from "bun:test";
import type { ApplicationSpec } from "../../model/application.ts";
import type { GitEvent, Push } from "../../model/git.ts";
import { concerns } from "./filters.ts";

const environment = (name: string, branches: readonly string[], tags: readonly string[] = []) => ({
	name,
	branches,
	tags,
	service: name,
	create: null,
	variables: {},
	before: [],
	beforeTimeoutMs: 0,
});

const spec = (paths: readonly string[] = [], ignore: readonly string[] = []) =>
	({
		paths,
		ignore,
		environments: [
			environment("production", [], ["v*"]),
			environment("staging", ["main", "release/*"]),
			environment("demo", []),
		],
	}) as unknown as ApplicationSpec;

const push: Push = {
	kind: "push",
	ref: "refs/heads/main",
	before: "a".repeat(40),
	commit: "b".repeat(40),
	forced: false,
	message: "Fix the door",
	author: "Jane Doe <jane@example.com>",
	isBot: false,
	paths: ["api/door.ts", "web/door.ts", "web/README.md"],
};

/** By environment, "deploy" or why not. */
const outcome = (event: GitEvent, of: ApplicationSpec = spec()) =>
	Object.fromEntries(
		concerns(of, event).map((each) => [each.environment, each.deploy ? "deploy" : each.because]),
	);

const byHand = "It names no branches and no tags: it is deployed by hand or by promotion.";

test("a branch's push goes where the branch is named", () => {
	expect(outcome(push)).toEqual({
		production: "It names no branches, and a branch was pushed: main.",
		staging: "deploy",
		demo: byHand,
	});
	expect(outcome({ ...push, ref: "refs/heads/feature/x" })).toMatchObject({
		staging: "Branch feature/x is none of its branches: main, release/*.",
	});
});

test("a tag's push goes where the tag is named", () => {
	expect(outcome({ ...push, ref: "refs/tags/v1", before: null, paths: null })).toEqual({
		production: "deploy",
		staging: "It names no tags, and a tag was pushed: v1.",
		demo: byHand,
	});
	// A branch by a tag's name is a branch.
	expect(outcome({ ...push, ref: "refs/heads/v1" })).toMatchObject({
		production: "It names no branches, and a branch was pushed: v1.",
	});
});

test.each<[string, GitEvent]>([
	["a program's", { ...push, isBot: true }],
	["a forced", { ...push, forced: true }],
	["a new branch's", { ...push, before: null, paths: null }],
])("%s push is a push", (_case, event) => {
	expect(outcome(event)).toMatchObject({ staging: "deploy" });
});

test.each<[GitEvent, string]>([
	[{ ...push, commit: null }, "refs/heads/main was deleted: what was deployed from it goes on."],
	[{ ...push, ref: "refs/notes/commits" }, "refs/notes/commits is neither a branch nor a tag."],
	[{ kind: "ping" }, "It was a ping: the webhook works."],
	[
		{ kind: "other", event: "star" },
		'It was "star": only pushes of branches and tags are deployed.',
	],
	[
		{
			kind: "pull-request",
			action: "opened",
			number: 7,
			title: "",
			author: "",
			isBot: false,
			commit: "b".repeat(40),
			branch: "x",
			base: "main",
			isFork: true,
		},
		"It was about pull request 7: pull requests are deployed once they are merged.",
	],
])("%#: for no environment, and why", (event, because) => {
	expect(outcome(event)).toEqual({ production: because, staging: because, demo: because });
});

test.each<[string, readonly string[], readonly string[], Partial<Push>, string]>([
	["one that is wanted", ["api/**", "db/**"], [], {}, "deploy"],
	[
		"none that is wanted",
		["db/**", "*.sql"],
		[],
		{},
		"None of the 3 paths that were pushed is of this application: db/**, *.sql.",
	],
	[
		"only what is ignored",
		[],
		["**"],
		{},
		"Of the 3 paths that were pushed, all that are of this application are to be ignored: **.",
	],
	["what is ignored, and more", [], ["**/*.md"], {}, "deploy"],
	[
		"of what is wanted only what is ignored",
		["web/**"],
		["**/*.md", "web/*.ts"],
		{},
		"Of the 3 paths that were pushed, all that are of this application are to be ignored: **/*.md, web/*.ts.",
	],
	["what nobody knows", ["db/**"], [], { paths: null }, "deploy"],
	["more than is looked through", ["db/**"], [], { paths: ["x".repeat(100_001)] }, "deploy"],
	["nothing, with a filter", ["db/**"], [], { paths: [] }, "The push touched no path."],
	["nothing, without one", [], [], { paths: [] }, "deploy"],
])("a push that touched %s", (_case, paths, ignore, changed, expected) => {
	expect(outcome({ ...push, ...changed }, spec(paths, ignore))).toMatchObject({
		staging: expected,
	});
});

test("pull requests have a preview where a pattern says so, and pushes have none there", () => {
	const patterned = (previews: object, branches: readonly string[] = ["main"]) =>
		({
			paths: ["web/**"],
			ignore: [],
			environments: [
				environment("production", ["main"]),
				{ ...environment("preview", branches), previews: { max: 2, ttlMs: 1, ...previews } },
			],
		}) as unknown as ApplicationSpec;
	const request: GitEvent = {
		kind: "pull-request",
		action: "opened",
		number: 7,
		title: "",
		author: "",
		isBot: false,
		commit: "b".repeat(40),
		branch: "x",
		base: "main",
		isFork: false,
	};
	const preview = (event: GitEvent, of = patterned({ forks: false })) =>
		outcome(event, of)["preview"];
	expect(outcome(request, patterned({}))).toEqual({
		production: "It was about pull request 7: pull requests are deployed once they are merged.",
		preview: "deploy",
	});
	expect(preview(push)).toBe("It is for pull requests, and refs/heads/main was pushed.");
	expect(preview({ ...request, base: "develop" })).toBe(
		"Pull request 7 would merge into develop, which is none of its branches: main.",
	);
	expect(preview({ ...request, base: "develop" }, patterned({}, []))).toBe("deploy");
	expect(preview({ ...request, isFork: true })).toContain("where previews.forks is true");
	expect(preview({ ...request, isFork: true }, patterned({ forks: true }))).toBe("deploy");
	// It may have been retargeted, or the pattern changed, since it got one.
	expect(preview({ ...request, base: "develop", action: "closed" })).toBe("deploy");
	expect(preview({ kind: "ping" })).toBe("It was a ping: the webhook works.");
});
