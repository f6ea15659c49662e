// Previews from a pull request to its end, with the real planner, on machines that do as told.

import { describe, expect, test } from "bun:test";
import type { Application } from "../../model/application.ts";
import { type BuildState, unbuilt } from "../../model/build.ts";
import { type Deployment, isUntold, untold } from "../../model/deployment.ts";
import type { PullRequest } from "../../model/git.ts";
import type { ApplicationId, MaterialId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import { contentKey } from "../../model/material.ts";
import { Little } from "../../test/build.ts";
import { check } from "../manager/checks.ts";
import { readSpec, specSchema } from "./application.ts";
import { withWholeCommits } from "./commits.ts";
import { deploymentsOf } from "./deliver.ts";
import { planner } from "./plan.ts";
import { secretsFor } from "./secrets.ts";

const builder = { git: "2.39.5", builder: "buildkit" } as const;
const hourMs = 3_600_000;

const spec = (previews: object = {}) =>
	readSpec(
		specSchema.parse({
			name: "web",
			repository: "https://git.example/web.git",
			build: { secrets: ["npm"] },
			environments: [
				{ name: "production", branches: ["main"], create: {} },
				{
					name: "preview",
					branches: ["main"],
					create: {
						Mode: { Replicated: { Replicas: 1 } },
						EndpointSpec: { Ports: [{ TargetPort: 80 }] },
					},
					variables: { STAGE: "preview" },
					previews: { ttlSeconds: 7_200, max: 2, ...previews },
				},
			],
		}),
	);

function start(previews: object = {}, secretNames: readonly string[] = []): Little {
	const little = new Little(0, planner);
	for (const index of [1, 2]) little.join(index, { builder });
	little.settle();
	const application: Application = {
		id: "app" as ApplicationId,
		spec: spec(previews),
		specVersion: 1,
		secretsVersion: 1,
		secretNames,
		createdMs: 0,
		updatedMs: 0,
	};
	little.commit([{ kind: "put-application", application }]);
	return little;
}

const opened: PullRequest = {
	kind: "pull-request",
	action: "opened",
	number: 12,
	title: "A new door",
	author: "ann",
	isBot: false,
	commit: "a".repeat(40),
	branch: "feature/door",
	base: "main",
	isFork: false,
};

let deliveries = 0;
function tell(little: Little, words: Partial<PullRequest> = {}, forge = "GitHub") {
	const { changes, outcome } = deploymentsOf(little.facts, little.moment(), {
		application: "app" as ApplicationId,
		key: `k${++deliveries}`,
		forge,
		name: "",
		atMs: little.nowMs,
		events: [{ ...opened, ...words }],
		outcome: null,
	});
	little.commit(changes);
	return outcome[1] ?? "";
}

const application = (little: Little) =>
	must(little.facts.applications.get("app" as ApplicationId), "it is there");
const deployments = (little: Little): Deployment[] =>
	[...little.facts.deployments.values()].sort((a, b) => a.number - b.number);
const names = (little: Little) =>
	[...little.facts.services.values()].map((each) => each.spec.name).sort();

/** All builds that wait end so; each image is another. */
function built(little: Little, state: BuildState = "complete"): void {
	for (const build of [...little.facts.unsettled.builds.values()]) {
		const digest = `sha256:${build.commit.slice(0, 1).repeat(64)}`;
		const node = must(little.facts.nodes.get(must(build.node, "it has a node")), "it is there");
		const status = { ...unbuilt, state, digest, observed: 9 };
		little.facts.apply({ kind: "build-status", id: build.id, status });
		little.facts.setNode({ ...node, images: [...node.images, digest] });
	}
	little.settle(60_000);
	expect(check(little.facts)).toEqual([]);
}

describe("a pull request", () => {
	test("has an environment of its own, with the pattern's variables and a port that is free", () => {
		const little = start();
		expect(tell(little)).toBe("pr-12: deployment #1.");
		built(little);
		expect(deployments(little)).toMatchObject([
			{ environment: "pr-12", outcome: "succeeded", ref: "refs/heads/feature/door" },
		]);
		const service = little.service("web-pr-12");
		expect(service.spec.template.container.env).toEqual(["STAGE=preview"]);
		expect(service.spec.labels).toMatchObject({ "skein.environment": "pr-12" });
		expect(service.ports[0]?.published).toBeGreaterThanOrEqual(30_000);
		tell(little, { number: 13, branch: "other", commit: "b".repeat(40) });
		built(little);
		expect(names(little)).toEqual(["web-pr-12", "web-pr-13"]);
		expect(little.service("web-pr-13").ports[0]?.published).not.toBe(service.ports[0]?.published);
	});

	test("is updated by a push, and only by one", () => {
		const little = start();
		tell(little);
		built(little);
		expect(tell(little, { action: "updated" })).toBe("pr-12: Deployment #1 is of that commit.");
		expect(tell(little, { action: "updated", commit: "b".repeat(40) })).toBe(
			"pr-12: deployment #2.",
		);
		built(little);
		expect(names(little)).toEqual(["web-pr-12"]);
		expect(little.service("web-pr-12").spec.template.container.image).toContain("bbbbbbbbbbbb");
	});

	test("takes its service along when it is closed, and what is under way", () => {
		const little = start();
		tell(little);
		built(little);
		tell(little, { action: "updated", commit: "b".repeat(40) });
		expect(tell(little, { action: "closed" })).toStartWith("pr-12: The pull request was closed");
		little.settle(60_000);
		expect(names(little)).toEqual([]);
		expect(deployments(little)[1]).toMatchObject({
			outcome: "cancelled",
			reason: "the preview pr-12 is over",
		});
		expect(application(little).previews).toEqual([]);
		expect(little.facts.unsettled.previews.size).toBe(0);
		expect(tell(little, { action: "closed" })).toBe("pr-12: Pull request 12 has no preview.");
		// The same commit once more: it was opened again.
		expect(tell(little)).toBe("pr-12: deployment #3.");
	});

	test("goes when nobody pushed for its time, and costs nothing until then", () => {
		const little = start();
		tell(little);
		built(little);
		const untilMs = (application(little).previews?.[0]?.touchedMs ?? 0) + 2 * hourMs;
		const none = { services: new Set<never>(), nodes: new Set<never>() };
		expect(planner.plan(little.facts, little.moment(), none)).toEqual({
			changes: [],
			wakeAtMs: untilMs,
		});
		little.settle(hourMs);
		tell(little, { action: "updated", commit: "b".repeat(40) });
		built(little);
		little.settle(hourMs + 60_000);
		expect(names(little)).toEqual(["web-pr-12"]);
		little.settle(hourMs);
		expect(names(little)).toEqual([]);
		expect(planner.plan(little.facts, little.moment(), none).wakeAtMs).toBeNull();
	});

	test("beyond the most that there may be fails, and says what to do", () => {
		const little = start();
		tell(little);
		tell(little, { number: 13 });
		const said = tell(little, { number: 14 });
		expect(said).toStartWith("pr-14: deployment #3 failed: previews: there are 2 already");
		expect(deployments(little)[2]).toMatchObject({
			environment: "pr-14",
			outcome: "failed",
			reason: expect.stringContaining("close a pull request or raise it"),
		});
		tell(little, { number: 13, action: "closed" });
		expect(tell(little, { number: 14, commit: "c".repeat(40) })).toBe("pr-14: deployment #4.");
	});

	test("out of a fork has one only where that is said, and none of the build's secrets", () => {
		const little = start();
		tell(little, { isFork: true });
		expect(deployments(little)).toEqual([]);
		const open = start({ forks: true });
		tell(open, { isFork: true });
		expect(deployments(open)[0]?.ref).toBe("refs/pull/12/head");
		const [build] = [...open.facts.builds.values()];
		const secrets = {
			...{ webhook: ["a-webhook's-secret"], build: { npm: "word" } },
			registries: { "registry.example": { username: "ann", password: "word" } },
		};
		expect(secretsFor(must(build, "it is built"), secrets, open.facts)).toEqual({
			secrets: {},
			registries: {},
		});
		tell(open, { isFork: true, number: 13 }, "GitLab");
		expect(deployments(open)[1]?.ref).toBe("refs/merge-requests/13/head");
		// Of the same commit, but with what strangers do not get.
		tell(open, { number: 13, commit: "b".repeat(40) });
		const ours = must([...open.facts.builds.values()].at(-1), "it is built");
		expect(secretsFor(ours, secrets, open.facts)).toEqual({
			secrets: { npm: "word" },
			registries: secrets.registries,
		});
	});

	test("into another branch has none", () => {
		const little = start();
		tell(little, { base: "develop" });
		expect(deployments(little)).toEqual([]);
	});

	test("of a pattern that is gone goes with it; a service that is somebody's own stays", () => {
		const little = start();
		little.create("web-pr-13");
		tell(little);
		built(little);
		const known = application(little);
		const [production] = known.spec.environments;
		const environments = [must(production, "it is there")];
		little.commit([
			{ kind: "put-application", application: { ...known, spec: { ...known.spec, environments } } },
		]);
		little.settle(60_000);
		expect(names(little)).toEqual(["web-pr-13"]);
	});

	test("that is gone is told to the forge, once for each deployment that it lists", () => {
		const little = start({}, ["forge"]);
		tell(little);
		built(little);
		const [first] = deployments(little);
		const deployment = must(first, "it is there");
		little.commit([
			{
				kind: "put-deployment",
				deployment: { ...deployment, told: { ...untold, said: "succeeded", id: "7" } },
			},
		]);
		expect(little.facts.unsettled.untold.size).toBe(0);
		tell(little, { action: "closed" });
		little.settle(1_000);
		const gone = must(little.facts.deployments.get(deployment.id), "it is kept");
		expect(isUntold(gone)).toBe(true);
		expect(gone.preview).toMatchObject({ number: 12, isRemoved: true });
	});

	test("leaves no more deployments behind than one environment does", () => {
		const little = start();
		for (let number = 1; number <= 30; number++) {
			tell(little, { number, commit: String(number % 10).repeat(40) });
			tell(little, { number, action: "closed" });
		}
		little.settle(1_000);
		expect(deployments(little)).toHaveLength(20);
	});
});

describe("a commit of twelve digits", () => {
	const door = {
		inbox: { list: async () => [] },
		contents: {
			read: async () =>
				new Map([
					[
						contentKey({ material: "app" as MaterialId, version: 1 }),
						new TextEncoder().encode(
							JSON.stringify({ webhook: ["w".repeat(16)], build: {}, registries: {} }),
						),
					],
				]),
		},
	};
	const whole = (words: Partial<PullRequest>, refs: Record<string, string>) =>
		withWholeCommits(
			door as never,
			application(start()),
			[{ ...opened, commit: "a".repeat(12), ...words }],
			async () => new Map(Object.entries(refs)),
		);

	test("is found in the repository, or said not to be", async () => {
		expect(await whole({}, { "refs/heads/feature/door": "a".repeat(40) })).toEqual([opened]);
		expect(await whole({}, { "refs/heads/feature/door": "b".repeat(40) })).toMatchObject([
			{ kind: "other", event: expect.stringContaining("does not lead to any more") },
		]);
	});
});

describe("refused:", () => {
	const preview = { name: "preview", create: {}, previews: {} };
	test.each<[string, readonly object[], string]>([
		["two patterns", [preview, { ...preview, name: "other" }], "another environment has previews"],
		["tags", [{ ...preview, tags: ["v*"] }], "environments.0.tags: "],
		["no create", [{ ...preview, create: null }], "environments.0.create: say how"],
		["a name", [preview, { name: "pr-1" }], "an environment is named pr-1"],
		[
			"a long name",
			[{ ...preview, service: "a".repeat(51) }],
			"environments.0.service: at most 50",
		],
		[
			"a port for all",
			[
				{
					...preview,
					create: { EndpointSpec: { Ports: [{ PublishedPort: 80, TargetPort: 80 }] } },
				},
			],
			"cannot all publish port 80",
		],
	])("%s", (_what, environments, message) => {
		const asked = { name: "web", repository: "https://git.example/web.git", environments };
		expect(() => readSpec(specSchema.parse(asked))).toThrow(message);
	});

	test.each<[string, readonly object[], string]>([
		["create", [preview], "environments.0.create: the compose file says how"],
		[
			"another's stack",
			[
				{ name: "preview", previews: {} },
				{ name: "production", service: "shop-pr-1" },
			],
			"environments.0.service: the environment production has a stack that is named as",
		],
	])("%s, of a compose file", (_what, environments, message) => {
		const build = { compose: "compose.yaml" };
		const asked = { name: "shop", repository: "https://git.example/web.git", build, environments };
		expect(() => readSpec(specSchema.parse(asked))).toThrow(message);
	});
});
