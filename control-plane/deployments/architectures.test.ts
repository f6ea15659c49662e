// One image for nodes of several architectures: what is built where, and what it is known by.

import { describe, expect, test } from "bun:test";
import type { Application, Environment } from "../../model/application.ts";
import { type Build, type BuildState, unbuilt } from "../../model/build.ts";
import type { ApplicationId, BuildId, DeploymentId, NodeId } from "../../model/id.ts";
import type { ManifestForm } from "../../model/image.ts";
import { must } from "../../model/invariant.ts";
import { constrained, Little } from "../../test/build.ts";
import { assign } from "../manager/assign.ts";
import { check } from "../manager/checks.ts";
import { architecturesFor, indexOf } from "./architectures.ts";
import { find, push } from "./deployment.test-data.ts";
import { planner } from "./plan.ts";
import { secretsFor } from "./secrets.ts";

const digest = (letters: string) => `sha256:${letters.repeat(64 / letters.length)}`;
const builder = { git: "2.39.5", builder: "buildkit", parts: true } as const;
const manifest: ManifestForm = {
	mediaType: "application/vnd.docker.distribution.manifest.v2+json",
	size: 700,
};
const production: Environment = {
	name: "production",
	branches: ["main"],
	tags: [],
	service: "web",
	create: { Mode: { Global: {} } },
	variables: {},
	before: [],
	beforeTimeoutMs: 60_000,
};
const staging = { ...production, name: "staging", service: "web-staging" };

const application = (words: Partial<Application["spec"]> = {}): Application => ({
	id: "app" as ApplicationId,
	spec: {
		name: "web",
		repository: "https://git.example/web.git",
		build: { context: ".", dockerfile: "Dockerfile", target: "", args: {}, secrets: ["npm"] },
		buildLimits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
		buildTimeoutMs: 600_000,
		paths: [],
		ignore: [],
		environments: [production, staging],
		...words,
	},
	specVersion: 1,
	secretsVersion: 1,
	secretNames: [],
	createdMs: 0,
	updatedMs: 0,
});

/** Two of the one, two of the other; all can build. */
function start(words: Partial<Application["spec"]> = {}): Little {
	const little = new Little(0, planner);
	for (const index of [1, 2]) little.join(index, { builder });
	for (const index of [3, 4]) little.join(index, { builder, architecture: "aarch64" });
	little.settle();
	little.commit([{ kind: "put-application", application: application(words) }]);
	return little;
}

function partsOf(little: Little, id: DeploymentId): readonly [Build, Build] {
	const first = must(little.facts.builds.get(find(little, id).build as BuildId), "it is built");
	const other = must(little.facts.builds.get(first.others?.[0] as BuildId), "it has another");
	return [first, other];
}

function say(little: Little, build: Build, state: BuildState, letter = "", error = ""): void {
	const status = { ...unbuilt, state, error, sinceMs: little.nowMs, observed: 9 };
	const isWell = state === "complete";
	little.facts.apply({
		kind: "build-status",
		id: build.id,
		status: isWell ? { ...status, digest: digest(letter), manifest } : status,
	});
	const node = must(little.facts.nodes.get(build.node as NodeId), "it has a node");
	if (isWell) little.facts.setNode({ ...node, images: [...node.images, digest(letter)] });
	little.plan();
	expect(check(little.facts)).toEqual([]);
}

const runningOn = (little: Little, name = "web") =>
	little
		.tasks(name)
		.filter(({ status }) => status.state === "running")
		.map(({ node }) => String(node))
		.sort();

describe("a push where nodes have two architectures", () => {
	test("is built once for each, and runs everywhere by the index of both", () => {
		const little = start();
		const id = push(little, "a");
		const parts = partsOf(little, id);
		expect(parts.map(({ architecture }) => architecture)).toEqual(["amd64", "arm64"]);
		expect(parts.map(({ node }) => String(node).replace(/[12]$/, "x"))).toEqual([
			"node-x",
			expect.stringMatching(/node-[34]/),
		]);
		for (const { id: build, node } of parts) {
			const [told] = assign(little.facts, node as NodeId).builds ?? [];
			expect(told).toMatchObject({
				id: build,
				isPart: true,
				image: "skein.local/web:aaaaaaaaaaaa",
			});
			expect(Object.keys(told ?? {})).not.toContainAnyValues(["others", "of", "index"]);
		}
		say(little, parts[0], "complete", "1");
		expect(find(little, id).phase).toBe("building");
		say(little, parts[1], "complete", "2");
		const index = must(indexOf(partsOf(little, id)), "both are complete");
		const image = `skein.local/web:aaaaaaaaaaaa@${index.digest}`;
		expect(find(little, id)).toMatchObject({ phase: "rolling", image });
		expect(little.service("web").spec.template.container.image).toBe(image);
		little.settle(60_000);
		expect(find(little, id).outcome).toBe("succeeded");
		expect(runningOn(little)).toEqual(["node-1", "node-2", "node-3", "node-4"]);
		const told = [1, 2, 3, 4].map(
			(each) => assign(little.facts, little.node(each).id).images ?? [],
		);
		for (const [at, images] of told.entries()) {
			// Every node has the index, and what it runs; each of the two manifests has two copies.
			const own = digest(at < 2 ? "1" : "2");
			expect(images.find(({ digest }) => digest === index.digest)).toMatchObject({
				repository: "web",
				keep: false,
				index: index.text,
				holders: parts.map(({ node }) => node).sort() as NodeId[],
			});
			expect(images.map((each) => each.digest)).toContain(own);
		}
		const kept = told.flat().filter(({ keep }) => keep);
		expect(kept.map((each) => each.digest).sort()).toEqual(
			["1", "1", "2", "2"].map((letter) => digest(letter)),
		);
	});

	test("fails as a whole where one fails, and the other ends", () => {
		const little = start();
		const id = push(little, "a");
		const [one, other] = partsOf(little, id);
		say(little, other, "failed", "", "[2/3] RUN make: exit code 2");
		expect(find(little, id)).toMatchObject({
			outcome: "failed",
			reason: "build for linux/arm64: [2/3] RUN make: exit code 2",
		});
		expect(assign(little.facts, one.node as NodeId).builds).toMatchObject([
			{ desired: "cancelled" },
		]);
	});

	test("that is superseded or cancelled ends both", () => {
		const little = start();
		const first = push(little, "a");
		const second = push(little, "b");
		expect(find(little, first).outcome).toBe("superseded");
		expect(partsOf(little, first).map(({ desired }) => desired)).toEqual([
			"cancelled",
			"cancelled",
		]);
		const deployment = { ...find(little, second), cancelledBy: "ann" };
		little.commit([{ kind: "put-deployment", deployment }]);
		expect(partsOf(little, second).map(({ desired }) => desired)).toEqual([
			"cancelled",
			"cancelled",
		]);
	});

	test("begins anew where a node is lost; what is for a node that is away is not waited for", () => {
		const little = start();
		const id = push(little, "a");
		const [one, other] = partsOf(little, id);
		for (const index of [3, 4]) little.silent.add(little.node(index).id);
		little.settle(60_000);
		expect(find(little, id)).toMatchObject({ phase: "building", lost: 1 });
		const again = must(little.facts.builds.get(find(little, id).build as BuildId), "another");
		expect(again).toMatchObject({ architecture: "amd64" });
		expect(again.others).toBeUndefined();
		expect(little.facts.builds.get(one.id)?.desired).toBe("cancelled");
		expect(little.facts.builds.get(other.id)?.status.state).toBe("lost");
	});

	test("is not built twice for another environment, and is rolled back to by its index", () => {
		const little = start();
		const id = push(little, "a");
		for (const [at, part] of partsOf(little, id).entries()) {
			say(little, part, "complete", String(at + 1));
		}
		little.settle(60_000);
		const { image } = find(little, id);
		const next = push(little, "a", { environment: "staging" });
		expect(find(little, next)).toMatchObject({ phase: "rolling", image });
		const back = push(little, "a", {
			cause: { kind: "rollback", to: id, actor: "ann" },
			environment: "staging",
			image,
		});
		little.settle(60_000);
		expect(find(little, back).outcome).toBe("unchanged");
		// Nobody is left who has the one of the two.
		for (const each of [3, 4]) little.silent.add(little.node(each).id);
		little.settle(60_000);
		const gone = push(little, "a", { image, cause: { kind: "promotion", from: id, actor: "ann" } });
		expect(find(little, gone).reason).toContain("no node has");
	});

	test("says which architecture nobody can build for, and what to do", () => {
		const little = new Little(0, planner);
		little.join(1, { builder });
		little.join(2, { architecture: "aarch64" });
		little.join(3, { architecture: "aarch64" });
		little.settle();
		little.commit([{ kind: "put-application", application: application() }]);
		const id = push(little, "a");
		const [arm, amd] = partsOf(little, id);
		expect(amd.status.state).toBe("assigned");
		expect(arm.status.error).toContain("one of architecture arm64 is needed");
		expect(arm.status.error).toContain("build.platforms");
		little.join(4, { architecture: "aarch64", builder: { git: "2", builder: "buildkit" } });
		little.settle();
		expect(partsOf(little, id)[0].status.error).toContain("update themselves");
		const able = little.join(5, { architecture: "aarch64", builder });
		little.settle();
		expect(partsOf(little, id)[0].node).toBe(able);
	});

	test("is forgotten with all its builds, once nothing needs it", () => {
		const little = start({ environments: [production] });
		const first = push(little, "0");
		for (let at = 0; at < 23; at++) {
			const id = at === 0 ? first : push(little, at.toString(16).padStart(2, "0"));
			for (const [which, part] of partsOf(little, id).entries()) {
				say(little, part, "complete", (at * 2 + which + 16).toString(16));
			}
			little.settle(60_000);
		}
		expect(little.facts.deployments.size).toBe(20);
		// And those of the spec that the service can be rolled back to.
		expect(little.facts.builds.size).toBe(40);
	});
});

describe("an image for one architecture", () => {
	test("is scheduled on nodes of that one alone, and nothing else is new", () => {
		const little = start({ platforms: ["arm64"] });
		const id = push(little, "a");
		const build = must(little.facts.builds.get(find(little, id).build as BuildId), "it is built");
		expect(build).not.toContainAnyKeys(["others", "isPart"]);
		expect(build.architecture).toBe("arm64");
		say(little, build, "complete", "1");
		little.settle(60_000);
		expect(find(little, id)).toMatchObject({
			outcome: "succeeded",
			image: `skein.local/web:aaaaaaaaaaaa@${digest("1")}`,
		});
		expect(runningOn(little)).toEqual(["node-3", "node-4"]);
		expect(little.service("web").spec.template.placement.platforms).toEqual([]);
	});
});

describe("architectures are", () => {
	const of = (little: Little, words = {}, environment = production, isOne = false) =>
		architecturesFor(little.facts, application(words), environment, isOne);
	const at = (constraint: string): Environment => ({
		...production,
		create: { TaskTemplate: { Placement: { Constraints: [constraint] } } },
	});

	test("those of the nodes that may run the service, the most frequent first", () => {
		const little = start();
		expect(of(little)).toEqual(["amd64", "arm64"]);
		little.join(5, { architecture: "aarch64" });
		little.settle();
		expect(of(little)).toEqual(["arm64", "amd64"]);
		expect(of(little, {}, at("node.platform.arch==x86_64"))).toEqual(["amd64"]);
		expect(of(little, {}, at("node.hostname!=n1"))).toEqual(["arm64", "amd64"]);
		expect(of(little, {}, at("node.hostname==nowhere"))).toEqual(["arm64"]);
		little.create("web", { template: constrained("node.platform.arch==arm64") });
		expect(of(little)).toEqual(["arm64"]);
	});

	test("those that are named, whatever there is", () => {
		const little = start();
		expect(of(little, { platforms: ["arm64", "riscv64"] })).toEqual(["arm64", "riscv64"]);
	});

	test("one, where an index cannot be had: of most nodes, or the one that is named", () => {
		const little = start();
		little.join(5, { architecture: "aarch64" });
		little.settle();
		expect(of(little, {}, production, true)).toEqual(["arm64"]);
		expect(of(little, { platforms: ["amd64"] }, production, true)).toEqual(["amd64"]);
		expect(of(new Little(0, planner))).toEqual(["amd64"]);
	});
});

test("an index is the same whatever the order of its builds, and needs every node's word", () => {
	const part = (architecture: string, letter: string): Build =>
		({ architecture, status: { ...unbuilt, digest: digest(letter), manifest } }) as Build;
	const [one, other] = [part("amd64", "1"), part("arm64", "2")];
	const index = must(indexOf([other, one]), "both said what they are");
	expect(index).toEqual(must(indexOf([one, other]), "both said what they are"));
	expect(index.digest).toBe(
		`sha256:${new Bun.CryptoHasher("sha256").update(index.text).digest("hex")}`,
	);
	expect(JSON.parse(index.text)).toEqual({
		schemaVersion: 2,
		mediaType: "application/vnd.oci.image.index.v1+json",
		manifests: [
			{ ...manifest, digest: digest("1"), platform: { architecture: "amd64", os: "linux" } },
			{ ...manifest, digest: digest("2"), platform: { architecture: "arm64", os: "linux" } },
		],
	});
	const silent = { ...other, status: { ...other.status, manifest: undefined } };
	expect(indexOf([one, silent])).toBeUndefined();
});

test("strangers' builds log in to no registry, whatever the architecture", () => {
	const little = start();
	const id = push(little, "a");
	const deployment = { ...find(little, id), preview: { number: 1, isFork: true } };
	const deployments = new Map([[id, deployment]]);
	const known = {
		webhook: [],
		build: {},
		registries: { "r.example": { username: "a", password: "b" } },
	};
	for (const part of partsOf(little, id)) {
		expect(secretsFor(part, known, { deployments }).registries).toEqual({});
		expect(secretsFor(part, known, little.facts).registries).toEqual(known.registries);
	}
});
