// Deployments of a compose file, from what its node told of it to the outcome, with the real planner.

import { describe, expect, test } from "bun:test";
import type { Application, Environment } from "../../model/application.ts";
import { unbuilt } from "../../model/build.ts";
import type { ApplicationId, DeploymentId, MaterialId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import type { Material } from "../../model/material.ts";
import { type Stack, stackLabel } from "../../model/stack.ts";
import { Little } from "../../test/build.ts";
import { check } from "../manager/checks.ts";
import { buildOf, find, push } from "./deployment.test-data.ts";
import { planner } from "./plan.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const labels = { [stackLabel]: "shop" };
const builder = { git: "2.39.5", builder: "buildkit", compose: true } as const;

const production: Environment = {
	name: "production",
	branches: ["main"],
	tags: [],
	service: "shop",
	create: null,
	variables: { STAGE: "production" },
	before: [],
	beforeTimeoutMs: 60_000,
};

const application = (environment: Environment): Application => ({
	id: "app" as ApplicationId,
	spec: {
		name: "shop",
		repository: "https://git.example/shop.git",
		build: {
			context: ".",
			dockerfile: "Dockerfile",
			target: "",
			args: {},
			secrets: [],
			compose: "compose.yaml",
		},
		buildLimits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
		buildTimeoutMs: 600_000,
		paths: [],
		ignore: [],
		environments: [environment],
	},
	specVersion: 1,
	secretsVersion: 1,
	secretNames: [],
	createdMs: 0,
	updatedMs: 0,
});

function start(environment: Partial<Environment> = {}): Little {
	const little = new Little(0, planner);
	for (const index of [1, 2, 3]) little.join(index, { builder });
	little.settle();
	little.commit([
		{ kind: "put-application", application: application({ ...production, ...environment }) },
	]);
	return little;
}

const imageFor = (name: string, letter: string) => `skein.local/shop/${name}:1@${digest(letter)}`;

interface Words {
	/** Published. */
	readonly port?: number;
	readonly config?: boolean;
}

/** As Docker makes it of a file with these services. */
function stackOf(letter: string, services: Readonly<Record<string, Words>>, version = 1): Stack {
	return {
		name: "shop",
		networks: [{ Name: "shop_back", Driver: "overlay", Labels: labels }],
		services: Object.entries(services).map(([name, { port, config }]) => ({
			Name: `shop_${name}`,
			Labels: labels,
			TaskTemplate: {
				ContainerSpec: {
					Image: imageFor(name, letter),
					...(config && {
						Configs: [
							{ ConfigName: "shop_site", File: { Name: "/site", UID: "0", GID: "0", Mode: 292 } },
						],
					}),
				},
				Networks: [{ Target: "shop_back", Aliases: [name] }],
			},
			Mode: { Replicated: { Replicas: 2 } },
			UpdateConfig: { Parallelism: 1, FailureAction: "rollback", Monitor: 1_000_000_000 },
			EndpointSpec: port ? { Ports: [{ TargetPort: 80, PublishedPort: port }] } : {},
		})),
		files: [
			{
				kind: "config",
				name: "shop_site",
				material: "m1" as MaterialId,
				version,
				templating: false,
			},
		],
		images: Object.fromEntries(Object.keys(services).map((name) => [name, imageFor(name, letter)])),
	};
}

/** What its node says when it has told what the file came to. */
function built(little: Little, id: DeploymentId, letter: string, made: Stack): void {
	const build = buildOf(little, id);
	const node = must(build.node, "it has a node");
	little.commit([{ kind: "put-build", build: { ...build, made } }]);
	const status = { ...unbuilt, state: "complete", observed: 9 } as const;
	little.facts.apply({ kind: "build-status", id: build.id, status });
	const known = must(little.facts.nodes.get(node), "the node is there");
	little.facts.setNode({ ...known, images: [...known.images, digest(letter)] });
	little.plan();
	expect(check(little.facts)).toEqual([]);
}

/** The config has so many contents, of which the last is the newest. */
function contents(little: Little, count: number): void {
	const versions = Array.from({ length: count }, (_, index) => ({
		number: index + 1,
		templating: false,
		createdMs: 0,
	}));
	const material: Material = {
		kind: "config",
		id: "m1" as MaterialId,
		name: "shop_site",
		labels,
		versions: versions as unknown as Material["versions"],
		specVersion: count,
		document: {},
		createdMs: 0,
		updatedMs: 0,
	};
	little.commit([{ kind: "put-material", material }]);
}

const names = (little: Little) =>
	[...little.facts.services.values()].map(({ spec }) => spec.name).sort();
const image = (little: Little, name: string) => little.service(name).spec.template.container.image;

const two = { web: { port: 8080, config: true }, api: {} };

/** Two services that run. */
function running(words: Readonly<Record<string, Words>> = two) {
	const little = start();
	contents(little, 1);
	const first = push(little, "a");
	built(little, first, "a", stackOf("a", words));
	little.settle(60_000);
	expect(find(little, first)).toMatchObject({ outcome: "succeeded", reason: "" });
	return { little, first };
}

describe("a compose file", () => {
	test("is read on a node that can, with the environment's name and variables", () => {
		const little = new Little(0, planner);
		little.join(1, { builder: { git: "2.39.5", builder: "buildkit" } });
		little.commit([{ kind: "put-application", application: application(production) }]);
		const id = push(little, "a");
		expect(buildOf(little, id).status.error).toContain("no node reads compose files yet");
		const able = little.join(2, { builder });
		little.settle();
		expect(buildOf(little, id)).toMatchObject({
			node: able,
			stack: { name: "shop", variables: { STAGE: "production" } },
		});
	});

	test("becomes a stack: networks, services and their files at once", () => {
		const { little } = running();
		expect(names(little)).toEqual(["shop_api", "shop_web"]);
		expect([...little.facts.networks.values()].map(({ name }) => name)).toContain("shop_back");
		expect(little.running("shop_web")).toHaveLength(2);
		const { spec } = little.service("shop_web");
		expect(spec.labels).toEqual({
			...labels,
			"skein.application": "shop",
			"skein.environment": "production",
		});
		expect(spec.template.container.files).toMatchObject([{ name: "shop_site", version: 1 }]);
	});

	test("that was deployed so already changes nothing", () => {
		const { little } = running();
		const id = push(little, "a");
		expect(find(little, id)).toMatchObject({ outcome: "unchanged" });
	});

	test("rolls what it changes, and what it no longer has goes when all is well", () => {
		const { little } = running({ ...two, old: {} });
		const { specVersion } = little.service("shop_api");
		const id = push(little, "b");
		const next = stackOf("b", two);
		const api = stackOf("a", two).services.filter(({ Name: name }) => name === "shop_api");
		const services = [...next.services.filter(({ Name: name }) => name === "shop_web"), ...api];
		const images = { web: imageFor("web", "b"), api: imageFor("api", "a") };
		built(little, id, "b", { ...next, services, images });
		expect(names(little)).toEqual(["shop_api", "shop_old", "shop_web"]);
		little.settle(120_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded", reason: "" });
		expect(names(little)).toEqual(["shop_api", "shop_web"]);
		expect(image(little, "shop_web")).toBe(imageFor("web", "b"));
		expect(little.service("shop_api").specVersion).toBe(specVersion);
	});

	test("one of whose services fails is rolled back whole, and names it", () => {
		const { little } = running({ ...two, old: {} });
		const web = little.service("shop_web");
		little.fate = (task) =>
			task.service === web.id && task.templateVersion > web.templateVersion ? "failed" : undefined;
		const id = push(little, "b");
		built(little, id, "b", stackOf("b", { ...two, fresh: {} }));
		little.settle(300_000);
		expect(find(little, id).outcome).toBe("rolled back");
		expect(find(little, id).reason).toStartWith("rollout: shop_web");
		expect(names(little)).toEqual(["shop_api", "shop_old", "shop_web"]);
		for (const name of ["web", "api"]) {
			expect(image(little, `shop_${name}`)).toBe(imageFor(name, "a"));
			expect(little.running(`shop_${name}`)).toHaveLength(2);
		}
	});

	test("whose port goes from a service to a new one has it at once", () => {
		const { little } = running({ ...two, web: { port: 8080 } });
		const id = push(little, "b");
		built(little, id, "b", stackOf("b", { front: { port: 8080 }, api: {} }));
		little.settle(120_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded", reason: "" });
		expect(names(little)).toEqual(["shop_api", "shop_front"]);
	});

	test("that takes somebody else's port or service touches nothing", () => {
		const { little } = running();
		little.create("shop_new");
		const id = push(little, "b");
		built(little, id, "b", stackOf("b", { ...two, new: {} }));
		expect(find(little, id).outcome).toBe("failed");
		expect(find(little, id).reason).toContain("there is a service shop_new already");
		expect(image(little, "shop_web")).toBe(imageFor("web", "a"));
	});

	test("is rolled back to its images, its settings and the contents of its files", () => {
		const { little, first } = running({ ...two, old: {} });
		contents(little, 2);
		const id = push(little, "b");
		built(little, id, "b", stackOf("b", two, 2));
		little.settle(120_000);
		expect(little.service("shop_web").spec.template.container.files?.[0]?.version).toBe(2);
		little.settle(120_000);
		const { stack } = find(little, first);
		const cause = { kind: "rollback", to: first, actor: "ann" } as const;
		const back = push(little, "a", { cause, stack: must(stack, "it has one") });
		little.settle(120_000);
		expect(find(little, back)).toMatchObject({ outcome: "succeeded", build: null });
		expect(names(little)).toEqual(["shop_api", "shop_old", "shop_web"]);
		expect(image(little, "shop_web")).toBe(imageFor("web", "a"));
		expect(little.service("shop_web").spec.template.container.files?.[0]?.version).toBe(1);
		expect(check(little.facts)).toEqual([]);
	});

	test("whose stack was removed by hand is read anew, and not rolled back to", () => {
		const { little, first } = running();
		for (const name of ["shop_web", "shop_api"]) little.remove(name);
		little.settle(60_000);
		little.commit([{ kind: "remove-material", id: "m1" as MaterialId }]);
		const again = push(little, "a");
		expect(buildOf(little, again).id).not.toBe(find(little, first).build);
		const { stack } = find(little, first);
		const cause = { kind: "rollback", to: first, actor: "ann" } as const;
		const back = push(little, "a", { cause, stack: must(stack, "it has one") });
		expect(find(little, back)).toMatchObject({
			outcome: "failed",
			reason: "config shop_site: its content is gone: deploy its commit again",
		});
	});

	test("is promoted with another's images, and read with its own variables", () => {
		const { little, first } = running();
		const cause = { kind: "promotion", from: first, actor: "ann" } as const;
		const id = push(little, "a", { cause });
		expect(buildOf(little, id).stack).toMatchObject({
			images: { web: imageFor("web", "a"), api: imageFor("api", "a") },
		});
	});
});

describe("what comes before", () => {
	const migrating = { before: ["migrate"], beforeService: "api" };

	test("runs with the named service's image, in the stack's networks", () => {
		const little = start(migrating);
		contents(little, 1);
		little.fate = (task) => (task.iteration === undefined ? undefined : "complete");
		const id = push(little, "a");
		built(little, id, "a", stackOf("a", two));
		const job = must(little.facts.services.get(must(find(little, id).job, "it has one")), "a job");
		expect(job.spec.template.container).toMatchObject({
			image: imageFor("api", "a"),
			command: ["migrate"],
		});
		expect(job.spec.template.networks).toHaveLength(1);
		expect(names(little)).toEqual([job.spec.name]);
		little.settle(120_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded" });
		expect(names(little)).toEqual(["shop_api", "shop_web"]);
	});

	test("says so where there is no such service", () => {
		const little = start({ ...migrating, beforeService: "app" });
		contents(little, 1);
		const id = push(little, "a");
		built(little, id, "a", stackOf("a", two));
		expect(find(little, id)).toMatchObject({ outcome: "failed" });
		expect(find(little, id).reason).toContain("has no service app: it has web, api");
	});
});

describe("a pull request", () => {
	const preview: Environment = {
		...production,
		name: "preview",
		branches: [],
		previews: { ttlMs: 3_600_000, max: 2, forks: true },
	};
	/** As Docker makes it for that one; the application and its previews are there. */
	const previewOf = (number: number, letter: string): Stack => {
		const text = JSON.stringify(stackOf(letter, { web: {}, api: {} }));
		return { ...JSON.parse(text.replaceAll(/"shop(?=_|")/g, `"shop-pr-${number}`)), files: [] };
	};
	const open = (little: Little, of: number, letter: string, isFork = false) => {
		const known = must([...little.facts.applications.values()][0], "it is there");
		const { previews = [] } = known;
		const next = { number: of, branch: "b", title: "", isFork, touchedMs: little.nowMs };
		const others = previews.filter((each) => each.number !== of);
		little.commit([
			{ kind: "put-application", application: { ...known, previews: [...others, next] } },
		]);
		const words = { environment: `pr-${of}`, preview: { number: of, isFork } };
		return push(little, letter, words);
	};
	const close = (little: Little, of: number) => {
		const known = must([...little.facts.applications.values()][0], "it is there");
		const previews = (known.previews ?? []).map((each) =>
			each.number === of ? { ...each, over: "it was closed" } : each,
		);
		little.commit([{ kind: "put-application", application: { ...known, previews } }]);
	};
	const networks = (little: Little) =>
		[...little.facts.networks.values()]
			.map(({ name }) => name)
			.filter((name) => name !== "ingress");
	const own = (little: Little, number: number, name: string) => {
		const id = `m${name}` as MaterialId;
		const labels = { [stackLabel]: `shop-pr-${number}` };
		contents(little, 1);
		const material = must(little.facts.materials.get("m1" as MaterialId), "it is there");
		little.commit([{ kind: "put-material", material: { ...material, id, name, labels } }]);
	};
	const there = (little: Little) =>
		[...little.facts.applications.values()].flatMap(({ previews = [] }) => previews);

	function two() {
		const little = start(preview);
		for (const [number, letter] of [
			[7, "a"],
			[8, "b"],
		] as const) {
			const id = open(little, number, letter);
			expect(buildOf(little, id).stack).toEqual({
				name: `shop-pr-${number}`,
				variables: { STAGE: "production" },
				preview: { isFork: false },
			});
			built(little, id, letter, previewOf(number, letter));
			own(little, number, `shop-pr-${number}_site`);
			little.settle(60_000);
			expect(find(little, id)).toMatchObject({ outcome: "succeeded" });
		}
		return little;
	}

	test("is a stack of its own, which goes whole once its tasks have stopped", () => {
		const little = two();
		expect(names(little)).toEqual([
			...["shop-pr-7_api", "shop-pr-7_web", "shop-pr-8_api", "shop-pr-8_web"],
		]);
		expect(networks(little)).toEqual(["shop-pr-7_back", "shop-pr-8_back"]);
		close(little, 7);
		// Its containers are in it yet.
		expect(networks(little)).toContain("shop-pr-7_back");
		expect(there(little)).toMatchObject([{ number: 7, stacks: ["shop-pr-7"] }, { number: 8 }]);
		expect(little.wakeAtMs ?? Infinity).toBeGreaterThan(little.nowMs);
		little.settle(60_000);
		expect(names(little)).toEqual(["shop-pr-8_api", "shop-pr-8_web"]);
		expect(networks(little)).toEqual(["shop-pr-8_back"]);
		expect([...little.facts.materials.values()].map(({ name }) => name)).toEqual([
			...["shop_site", "shop-pr-8_site"],
		]);
		expect(there(little)).toMatchObject([{ number: 8 }]);
		expect(check(little.facts)).toEqual([]);
	});

	test("goes by its time; what somebody else uses stays", () => {
		const little = two();
		const { template } = little.service("shop-pr-7_web").spec;
		little.create("somebodys", { template });
		little.settle(3_700_000);
		expect(names(little)).toEqual(["somebodys"]);
		expect(networks(little)).toEqual(["shop-pr-7_back"]);
		expect(there(little)).toEqual([]);
		expect(check(little.facts)).toEqual([]);
	});

	test("that is opened again while it goes is there afterwards", () => {
		const little = two();
		close(little, 7);
		const id = open(little, 7, "c");
		built(little, id, "c", previewOf(7, "c"));
		little.settle(60_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded" });
		expect(names(little)).toContain("shop-pr-7_web");
		expect(networks(little)).toContain("shop-pr-7_back");
		expect(check(little.facts)).toEqual([]);
	});

	test("out of a fork pulls with none of the application's logins", () => {
		const little = start(preview);
		const id = open(little, 7, "a", true);
		const text = JSON.stringify({ ...previewOf(7, "a"), isStrangers: true, images: {} });
		built(little, id, "a", JSON.parse(text.replaceAll("skein.local/", "registry.example/")));
		expect(little.service("shop-pr-7_web").spec.loginOf).toBeUndefined();
	});
});
