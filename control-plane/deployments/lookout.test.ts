// Pushes that nobody told of: found once, where they are to be deployed, and nowhere else.

import { expect, test } from "bun:test";
import type { Application } from "../../model/application.ts";
import type { Deployment } from "../../model/deployment.ts";
import type { ApplicationId } from "../../model/id.ts";
import { MemoryCluster } from "../../test/memory-cluster.ts";
import type { Delivery } from "../cluster.ts";
import { cluster } from "../manager/scheduler/schedule.test-data.ts";
import { readSpec, specSchema } from "./application.ts";
import { handle, newDeployment } from "./deliver.ts";
import { lookForPushes } from "./lookout.ts";
import { sealSecrets } from "./secrets.ts";

const id = "app" as ApplicationId;
const commit = (letter: string) => letter.repeat(40);

async function start() {
	const door = new MemoryCluster(cluster());
	const inbox: Delivery[] = [];
	door.inbox.list = async () => inbox;
	const spec = readSpec(
		specSchema.parse({
			name: "web",
			repository: "https://git.example/web.git",
			environments: [
				{ name: "production", branches: ["main"], create: {} },
				{ name: "previews", branches: ["feature/*"], create: {} },
			],
		}),
	);
	const application: Application = {
		id,
		spec,
		specVersion: 1,
		secretsVersion: 1,
		secretNames: [],
		createdMs: 0,
		updatedMs: 0,
	};
	await sealSecrets(door.contents, id, 1, { webhook: ["s".repeat(16)], build: {}, registries: {} });
	await door.commit(() => ({
		changes: [{ kind: "put-application", application }],
		result: undefined,
	}));
	const said: string[] = [];
	const look = (refs: Readonly<Record<string, string>>) =>
		lookForPushes(
			door,
			(line) => said.push(line),
			async () => new Map(Object.entries(refs)),
		);
	const deployed = (): readonly Deployment[] => [...door.facts.deployments.values()];
	const deploy = (letter: string) =>
		door.commit((_snapshot, moment) => ({
			changes: [
				{
					kind: "put-deployment",
					deployment: newDeployment(moment, application, {
						environment: "production",
						number: 1,
						cause: { kind: "manual", actor: "ann" },
						commit: commit(letter),
						ref: "refs/heads/main",
						message: "",
						author: "",
					}),
				},
			],
			result: undefined,
		}));
	return { door, inbox, look, deployed, deploy, said };
}

test("the first time is nobody's but the owner's", async () => {
	const { look, deployed } = await start();
	await look({ "refs/heads/main": commit("a") });
	expect(deployed()).toEqual([]);
});

test("a branch that is elsewhere than was told is deployed, once", async () => {
	const { look, deployed, deploy } = await start();
	await deploy("a");
	const now = { "refs/heads/main": commit("b"), "refs/heads/feature/x": commit("c") };
	await look(now);
	await look(now);
	expect(deployed().map((each) => [each.number, each.commit, each.cause.kind])).toEqual([
		[1, commit("a"), "manual"],
		[2, commit("b"), "poll"],
	]);
});

test("what was told of is left alone, and what is told of afterwards is not deployed again", async () => {
	const { door, inbox, look, deployed, deploy } = await start();
	await deploy("a");
	const push = {
		kind: "push",
		ref: "refs/heads/main",
		before: commit("a"),
		commit: commit("b"),
		forced: false,
		message: "",
		author: "",
		isBot: false,
		paths: [],
	} as const;
	const delivery: Delivery = {
		application: id,
		key: "k",
		forge: "generic",
		name: "k",
		atMs: 0,
		events: [push],
		outcome: null,
	};
	inbox.push(delivery);
	await look({ "refs/heads/main": commit("b") });
	expect(deployed()).toHaveLength(1);
	inbox.pop();
	await look({ "refs/heads/main": commit("b") });
	expect(deployed()).toHaveLength(2);
	expect((await handle(door, delivery, async () => new Map()))[0]).toBe(
		"production: deployment #2.",
	);
	expect(deployed()).toHaveLength(2);
});

test("a repository that does not answer is said, and the others are looked at all the same", async () => {
	const { door, deploy, said } = await start();
	await deploy("a");
	await lookForPushes(
		door,
		(line) => said.push(line),
		() => Promise.reject(new Error("no answer")),
	);
	expect(said).toEqual(["application web: no answer"]);
});
