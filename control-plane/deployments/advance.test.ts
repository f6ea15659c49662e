// Deployments from push to outcome, with the real planner, on machines that do as told.

import { describe, expect, test } from "bun:test";
import type { Application, Environment } from "../../model/application.ts";
import { type BuildState, unbuilt } from "../../model/build.ts";
import { untold } from "../../model/deployment.ts";
import type { ApplicationId, DeploymentId, NodeId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import { Little } from "../../test/build.ts";
import { assign } from "../manager/assign.ts";
import { check } from "../manager/checks.ts";
import { buildOf, find, push } from "./deployment.test-data.ts";
import { planner } from "./plan.ts";

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;
const commit = (letter: string) => letter.repeat(40);
const builder = { git: "2.39.5", builder: "buildkit" } as const;

const production: Environment = {
	name: "production",
	branches: ["main"],
	tags: [],
	service: "web",
	create: {
		Mode: { Replicated: { Replicas: 3 } },
		TaskTemplate: { ContainerSpec: { Env: ["A=1", "B=2"] } },
		UpdateConfig: { Parallelism: 1, FailureAction: "rollback" },
	},
	variables: { B: "3" },
	before: [],
	beforeTimeoutMs: 60_000,
};

function application(environments: readonly Environment[] = [production]): Application {
	return {
		id: "app" as ApplicationId,
		spec: {
			name: "web",
			repository: "https://git.example/web.git",
			build: { context: ".", dockerfile: "Dockerfile", target: "", args: {}, secrets: [] },
			buildLimits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
			buildTimeoutMs: 600_000,
			paths: [],
			ignore: [],
			environments,
		},
		specVersion: 1,
		secretsVersion: 1,
		secretNames: [],
		createdMs: 0,
		updatedMs: 0,
	};
}

/** Three nodes, which can build. */
function start(environments?: readonly Environment[]): Little {
	const little = new Little(0, planner);
	for (const index of [1, 2, 3]) little.join(index, { builder });
	little.settle();
	little.commit([{ kind: "put-application", application: application(environments) }]);
	return little;
}

/** Its node says so, and once it is complete that it has the image. */
function built(little: Little, id: DeploymentId, state: BuildState, letter = "a"): void {
	const build = buildOf(little, id);
	const node = must(build.node, "it has a node");
	const isWell = state === "complete";
	little.facts.apply({
		kind: "build-status",
		id: build.id,
		status: {
			...unbuilt,
			state,
			digest: isWell ? digest(letter) : "",
			error: state === "failed" ? "step 3 of 4 (RUN false): exit code 1" : "",
			lines: state === "failed" ? ["+ false"] : [],
			observed: 9,
		},
	});
	const known = must(little.facts.nodes.get(node), "the node is there");
	if (isWell) little.facts.setNode({ ...known, images: [...known.images, digest(letter)] });
	little.plan();
	expect(check(little.facts)).toEqual([]);
}

const imageOf = (little: Little) => little.service("web").spec.template.container.image;

describe("a push", () => {
	test("is built on one node, and becomes the service it says, with the environment's variables", () => {
		const little = start();
		const id = push(little, "a");
		const build = buildOf(little, id);
		expect(find(little, id).phase).toBe("building");
		expect(assign(little.facts, build.node as NodeId).builds).toMatchObject([
			{ id: build.id, commit: commit("a"), image: "skein.local/web:aaaaaaaaaaaa" },
		]);
		built(little, id, "complete");
		expect(find(little, id)).toMatchObject({ phase: "rolling", outcome: null });
		little.settle(60_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded", reason: "" });
		expect(imageOf(little)).toBe(`skein.local/web:aaaaaaaaaaaa@${digest("a")}`);
		expect(little.service("web").spec.template.container.env).toEqual(["A=1", "B=3"]);
		expect(little.running("web")).toHaveLength(3);
	});

	test("of a second commit rolls the service, and is done when the rollout is", () => {
		const little = start();
		built(little, push(little, "a"), "complete", "a");
		little.settle(60_000);
		const id = push(little, "b");
		built(little, id, "complete", "b");
		expect(find(little, id).outcome).toBeNull();
		little.settle(120_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded" });
		expect(little.service("web").rollouts?.[0]).toMatchObject({
			outcome: "succeeded",
			to: { image: `skein.local/web:bbbbbbbbbbbb@${digest("b")}` },
		});
	});

	test("whose tasks fail is rolled back, and says so; the old image stays", () => {
		const little = start();
		built(little, push(little, "a"), "complete", "a");
		little.settle(60_000);
		const id = push(little, "b");
		const { templateVersion } = little.service("web");
		little.fate = (task) => (task.templateVersion > templateVersion ? "failed" : undefined);
		built(little, id, "complete", "b");
		little.settle(300_000);
		expect(find(little, id).outcome).toBe("rolled back");
		expect(find(little, id).reason).toStartWith("rollout: ");
		expect(imageOf(little)).toBe(`skein.local/web:aaaaaaaaaaaa@${digest("a")}`);
		expect(little.running("web")).toHaveLength(3);
	});

	test("that cannot be built fails with the step and its last lines; nothing is touched", () => {
		const little = start();
		const id = push(little, "a");
		built(little, id, "failed");
		expect(find(little, id)).toMatchObject({
			outcome: "failed",
			reason: "build: step 3 of 4 (RUN false): exit code 1",
			evidence: { lines: ["+ false"] },
		});
		expect(little.facts.services.size).toBe(0);
	});

	test("of what is so already changes nothing", () => {
		const little = start();
		built(little, push(little, "a"), "complete", "a");
		little.settle(60_000);
		const { specVersion } = little.service("web");
		const id = push(little, "a");
		expect(find(little, id)).toMatchObject({ outcome: "unchanged" });
		expect(little.service("web").specVersion).toBe(specVersion);
		built(little, push(little, "b"), "complete", "b");
		little.settle(120_000);
		expect(little.service("web").updateStatus?.state).toBe("completed");
		expect(find(little, push(little, "b")).outcome).toBe("unchanged");
	});

	test("overtakes those that wait for their builds, whose builds are called off", () => {
		const little = start();
		const pushed = ["a", "b", "c"].map((letter) => push(little, letter));
		const [first, second, third] = pushed.map((id) => find(little, id));
		expect(first).toMatchObject({ outcome: "superseded" });
		expect(second).toMatchObject({ outcome: "superseded" });
		expect(third).toMatchObject({ outcome: null, phase: "building" });
		expect(buildOf(little, pushed[0] as DeploymentId).desired).toBe("cancelled");
	});

	test("waits for the one that rolls", () => {
		const little = start();
		const one = push(little, "a");
		built(little, one, "complete", "a");
		const two = push(little, "b");
		built(little, two, "complete", "b");
		expect(find(little, two)).toMatchObject({ phase: "building", outcome: null });
		little.settle(300_000);
		expect(find(little, one).outcome).toBe("succeeded");
		expect(find(little, two).outcome).toBe("succeeded");
	});
});

describe("a build", () => {
	test("that is lost with its node begins again elsewhere", () => {
		const little = start();
		const id = push(little, "a");
		const first = buildOf(little, id);
		little.silent.add(first.node as NodeId);
		little.settle(60_000);
		const second = buildOf(little, id);
		expect(second.id).not.toBe(first.id);
		expect(second.node).not.toBe(first.node);
		built(little, id, "complete");
		little.settle(60_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded", lost: 1 });
	});

	test("that is complete counts once its node says that it has the image, and never when it died over that", () => {
		const little = start();
		const id = push(little, "a");
		const { node } = buildOf(little, id);
		const first = buildOf(little, id).id;
		little.facts.apply({
			kind: "build-status",
			id: first,
			status: {
				...unbuilt,
				state: "complete",
				digest: digest("a"),
				sinceMs: little.nowMs,
				observed: 9,
			},
		});
		little.plan();
		expect(find(little, id).phase).toBe("building");
		little.silent.add(node as NodeId);
		little.settle(60_000);
		expect(buildOf(little, id).id).not.toBe(first);
		built(little, id, "complete");
		little.settle(60_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded", lost: 1 });
	});

	test("goes only where it may, and says why it goes nowhere", () => {
		const little = new Little(0, planner);
		little.join(1);
		little.commit([{ kind: "put-application", application: application() }]);
		const id = push(little, "a");
		expect(buildOf(little, id).status.error).toContain("apt-get install git");
		const two = little.join(2, { builder });
		little.settle();
		expect(buildOf(little, id).node).toBe(two);
	});

	test("stays away from nodes with the label no, and goes only to those with yes where there are any", () => {
		const little = start();
		const label = (index: number, value: string) => {
			const node = little.node(index);
			const spec = { ...node.spec, labels: { "skein.build": value } };
			little.commit([{ kind: "put-node", node: { ...node, spec } }]);
		};
		label(1, "no");
		label(2, "no");
		expect(buildOf(little, push(little, "a")).node).toBe(little.node(3).id);
		label(1, "yes");
		expect(buildOf(little, push(little, "b")).node).toBe(little.node(1).id);
	});

	test("of an image is kept on two nodes, and told to those that run it", () => {
		const little = start();
		const id = push(little, "a");
		built(little, id, "complete");
		little.settle(60_000);
		const { node } = buildOf(little, id);
		const told = [...little.facts.nodes.keys()].map((each) => assign(little.facts, each).images);
		expect(told.flatMap((images = []) => images)).toHaveLength(3);
		expect(told.flatMap((images = []) => images).filter(({ keep }) => keep)).toHaveLength(2);
		for (const images of told) expect(images?.[0]?.holders).toEqual([node as NodeId]);
	});
});

describe("what comes before", () => {
	const migrating: Environment = { ...production, before: ["migrate", "up"] };

	test("is run to its end with the new image, and then the service rolls", () => {
		const little = start([migrating]);
		little.fate = (task) => (task.iteration === undefined ? undefined : "complete");
		const id = push(little, "a");
		built(little, id, "complete");
		const job = must(find(little, id).job, "there is a job");
		expect(little.facts.services.get(job)?.spec).toMatchObject({
			mode: { kind: "replicated-job" },
			template: { container: { command: ["migrate", "up"], env: ["A=1", "B=3"] } },
		});
		expect(find(little, id).phase).toBe("before");
		little.settle(120_000);
		expect(find(little, id).outcome).toBe("succeeded");
		expect(little.facts.services.has(job)).toBe(false);
	});

	test("fails the deployment where it fails, and the service is as it was", () => {
		const little = start([migrating]);
		little.fate = (task) => (task.iteration === undefined ? undefined : "failed");
		const id = push(little, "a");
		built(little, id, "complete");
		little.settle(120_000);
		expect(find(little, id).outcome).toBe("failed");
		expect(find(little, id).reason).toStartWith("before: migrate up: ");
		expect([...little.facts.services.values()].map(({ spec }) => spec.name)).toEqual([]);
	});
});

describe("a deployment of an image that is there", () => {
	test("makes the service exactly what it was", () => {
		const little = start();
		const one = push(little, "a");
		built(little, one, "complete", "a");
		little.settle(60_000);
		const then = little.service("web").spec;
		const two = push(little, "b");
		built(little, two, "complete", "b");
		little.settle(120_000);
		const { made, image } = find(little, one);
		const back = push(little, "a", {
			cause: { kind: "rollback", to: one, actor: "ann" },
			image,
			made,
		});
		little.settle(120_000);
		expect(find(little, back)).toMatchObject({ outcome: "succeeded", build: null });
		expect(little.service("web").spec).toEqual(then);
	});

	test("takes back what was changed besides the image", () => {
		const little = start();
		const one = push(little, "a");
		built(little, one, "complete", "a");
		little.settle(60_000);
		little.scale("web", 5);
		little.settle(60_000);
		const { made, image } = find(little, one);
		const back = push(little, "a", {
			cause: { kind: "rollback", to: one, actor: "ann" },
			image,
			made,
		});
		little.settle(60_000);
		expect(find(little, back)).toMatchObject({ outcome: "succeeded" });
		expect(little.running("web")).toHaveLength(3);
	});

	test("that nobody has any more fails, and says what to do", () => {
		const little = start();
		const id = push(little, "a", { image: `skein.local/web:aaaaaaaaaaaa@${digest("f")}` });
		expect(find(little, id)).toMatchObject({ outcome: "failed" });
		expect(find(little, id).reason).toContain("deploy its commit again");
	});
});

describe("an application with a registry", () => {
	const registry = "registry.example.org/team/web";
	const image = (letter: string, of = registry) => `${of}:${letter.repeat(12)}@${digest(letter)}`;
	const place = (little: Little, of: string, words: Partial<Environment> = {}) => {
		const { spec, ...rest } = application([{ ...production, ...words }]);
		const changed = { ...rest, spec: { ...spec, registry: of } };
		little.commit([{ kind: "put-application", application: changed }]);
	};
	const through = (little: Little, id: DeploymentId, letter: string) => {
		built(little, id, "complete", letter);
		little.settle(60_000);
		expect(find(little, id)).toMatchObject({ outcome: "succeeded", image: image(letter) });
	};

	test("runs what comes before with its login, too", () => {
		const little = start();
		place(little, registry, { before: ["migrate"] });
		const id = push(little, "a");
		built(little, id, "complete", "a");
		const job = must(little.facts.services.get(must(find(little, id).job, "it runs")), "a job");
		expect(job.spec).toMatchObject({ loginOf: "app" });
		expect(job.spec.template.container.image).toBe(image("a"));
	});

	test("has its images there, by digest, and its services pull them with its login", () => {
		const little = start();
		place(little, registry);
		const id = push(little, "a");
		expect(buildOf(little, id).image).toBe(`${registry}:${"a".repeat(12)}`);
		through(little, id, "a");
		expect(little.service("web").spec).toMatchObject({ loginOf: "app" });
		expect(imageOf(little)).toBe(image("a"));
		const assigned = assign(little.facts, must([...little.facts.nodes.keys()][0], "a node"));
		expect(assigned.tasks[0]).toMatchObject({ registryAuth: true });
		// No node keeps what a registry has.
		expect(assigned.images ?? []).toEqual([]);
	});

	test("goes back to the very digest, and does not ask whether it is still there", () => {
		const little = start();
		place(little, registry);
		const one = push(little, "a");
		through(little, one, "a");
		through(little, push(little, "b"), "b");
		const { made } = find(little, one);
		const cause = { kind: "rollback", to: one, actor: "ann" } as const;
		const back = push(little, "a", { cause, image: image("a"), made });
		little.settle(60_000);
		expect(find(little, back)).toMatchObject({ outcome: "succeeded", build: null });
		expect(imageOf(little)).toBe(image("a"));
		expect(little.service("web").spec).toMatchObject({ loginOf: "app" });
	});

	test("builds anew for another registry, and for none", () => {
		const little = start();
		place(little, registry);
		through(little, push(little, "a"), "a");
		const other = "other.example.org/web";
		place(little, other);
		expect(buildOf(little, push(little, "a")).image).toBe(`${other}:${"a".repeat(12)}`);
		place(little, "");
		expect(buildOf(little, push(little, "a")).image).toBe(`skein.local/web:${"a".repeat(12)}`);
	});

	test("pushes anew what came to nothing, since nobody knows what the registry still has", () => {
		const little = start();
		place(little, registry);
		const id = push(little, "a");
		built(little, id, "complete", "a");
		const first = buildOf(little, id);
		const again = push(little, "a", { environment: "production" });
		expect(buildOf(little, again).id).toBe(first.id);
		for (const each of [id, again]) {
			little.commit([
				{
					kind: "put-deployment",
					deployment: { ...find(little, each), phase: "ended", outcome: "failed" },
				},
			]);
		}
		expect(buildOf(little, push(little, "a")).id).not.toBe(first.id);
	});
});

describe("a forge that is to be told", () => {
	const told = (little: Little, id: DeploymentId, words: Partial<typeof untold>) =>
		little.commit([
			{
				kind: "put-deployment",
				deployment: { ...find(little, id), told: { ...untold, ...words } },
			},
		]);
	const wakeAtMs = (little: Little) =>
		planner.plan(little.facts, little.moment(), { services: new Set(), nodes: new Set() }).wakeAtMs;

	test("is no concern of who has none", () => {
		const little = start();
		push(little, "a");
		expect(little.facts.unsettled.untold.size).toBe(0);
	});

	test("is looked after by the plan, until it is told", () => {
		const little = start();
		const id = push(little, "a", { told: untold });
		built(little, id, "failed");
		little.settle();
		expect(find(little, id).outcome).toBe("failed");
		expect([...little.facts.unsettled.untold.keys()]).toEqual([id]);
		// Whoever decided it died before it was told.
		expect(wakeAtMs(little)).toBe((find(little, id).times.at(-1)?.[1] ?? 0) + 15_000);
		told(little, id, { said: "building", tries: 2, nextMs: little.nowMs + 20_000, error: "503" });
		expect(wakeAtMs(little)).toBe(little.nowMs + 20_000);
		told(little, id, { said: "failed" });
		expect(little.facts.unsettled.untold.size).toBe(0);
		expect(wakeAtMs(little)).toBeNull();
	});

	test("is told each step anew, whatever became of the one before", () => {
		const little = start();
		const id = push(little, "a", { told: untold });
		told(little, id, { said: null, tries: 5, nextMs: little.nowMs + 3_600_000, error: "503" });
		built(little, id, "failed");
		little.settle();
		expect(find(little, id).told).toMatchObject({ tries: 0, nextMs: 0, error: "503" });
	});
});
