import { describe, expect, test } from "bun:test";
import type { ForgeSpec } from "../../model/application.ts";
import { Refusal } from "../../model/errors.ts";
import { whereOf } from "./where.ts";

const hosted = { insecure: ["git.lab:3000"], isPrivateAllowed: false };
const deployments = true;

test.each<[string, ForgeSpec | null, string, string, string]>([
	["https://github.com/team/web.git", null, "GitHub", "https://api.github.com", "team/web"],
	["git@github.com:team/web.git", null, "GitHub", "https://api.github.com", "team/web"],
	["ssh://git@gitlab.com:22/a/b/web", null, "GitLab", "https://gitlab.com/api/v4", "a/b/web"],
	["https://codeberg.org/team/web", null, "Gitea", "https://codeberg.org/api/v1", "team/web"],
	[
		"https://bitbucket.org/team/web",
		null,
		"Bitbucket",
		"https://api.bitbucket.org/2.0",
		"team/web",
	],
	[
		"https://git.example.com:8443/team/web.git",
		{ kind: "gitea", deployments },
		"Gitea",
		"https://git.example.com:8443/api/v1",
		"team/web",
	],
	[
		"https://ghe.example.com/team/web.git",
		{ kind: "github", deployments },
		"GitHub",
		"https://ghe.example.com/api/v3",
		"team/web",
	],
	[
		"https://example.com/git/team/web.git",
		{ kind: "gitlab", api: "https://example.com/git/api/v4/", project: "team/web", deployments },
		"GitLab",
		"https://example.com/git/api/v4",
		"team/web",
	],
	[
		"http://git.lab:3000/team/web.git",
		{ kind: "gitea", api: "http://git.lab:3000/api/v1", deployments },
		"Gitea",
		"http://git.lab:3000/api/v1",
		"team/web",
	],
])("%s %j", (repository, forge, name, api, project) => {
	const where = whereOf({ repository, forge }, hosted);
	expect([where.forge.name, where.api, where.project]).toEqual([name, api, project]);
});

describe("refused:", () => {
	test.each<[string, Partial<ForgeSpec>, string]>([
		["https://git.example.com/team/web.git", {}, "forge.kind: say which forge git.example.com is"],
		["https://git.example.com/web.git", { kind: "gitea" }, "forge.project: web is no OWNER/"],
		[
			"https://git.example.com/team/web.git",
			{ kind: "gitea", project: "team/../../admin" },
			"forge.project: ",
		],
		[
			"https://github.com/team/web",
			{ api: "http://api.example.com" },
			"SKEIN_INSECURE_FORGES names",
		],
		["https://github.com/team/web", { api: "https://10.0.0.1" }, "in a private network"],
		["https://github.com/team/web", { api: "https://[::1]:8443/x" }, "in a private network"],
		["https://github.com/team/web", { api: "https://metadata.google.internal" }, "in a private"],
		["https://github.com/team/web", { api: "https://ann:pass@example.com" }, "is no address"],
		["https://github.com/team/web", { api: "file:///etc/passwd" }, "forge.api: "],
		["https://github.com/team/web", { api: "https://example.com/?x=" }, "is no address"],
	])("%s %j", (repository, forge, message) => {
		const asked = () => whereOf({ repository, forge: { deployments, ...forge } }, hosted);
		expect(asked).toThrow(Refusal);
		expect(asked).toThrow(message);
	});
});

test("whoever runs the control plane for themselves reaches their own network over TLS", () => {
	const own = { insecure: [], isPrivateAllowed: true };
	const forge = { kind: "gitea", deployments } as const;
	expect(whereOf({ repository: "https://10.0.0.1/team/web", forge }, own).api).toBe(
		"https://10.0.0.1/api/v1",
	);
	expect(() =>
		whereOf(
			{
				repository: "http://10.0.0.1/team/web",
				forge: { ...forge, api: "http://10.0.0.1/api/v1" },
			},
			own,
		),
	).toThrow("without TLS");
});
