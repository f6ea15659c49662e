// Applications through the doors: made by the API, pushed to by a forge, built by an agent that says so, deployed.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { unbuilt } from "../../model/build.ts";
import type { BuildId } from "../../model/id.ts";
import { holdToDocument } from "../contract/openapi.ts";
import { type StandIn, startForge } from "../forge.ts";
import { type Runtime, runtimes } from "../runtimes.ts";
import { describeMachine, joinAgent, obey, type TestAgent } from "./agent.ts";

const digest = `sha256:${"a".repeat(64)}`;
const samples = join(import.meta.dir, "../../control-plane/webhooks/samples");
const push = readFileSync(join(samples, "github-push-branch-new.json"), "utf8");

for (const { name, there, start } of runtimes) {
	describe.skipIf(!there)(name, () => {
		let at: Runtime;
		let agent: TestAgent;
		let forge: StandIn;

		const call = async (method: string, path: string, body?: unknown) => {
			const sent = body === undefined ? "" : JSON.stringify(body);
			const url = `${at.url}${path}`;
			const reply = await fetch(url, {
				method,
				headers: { Authorization: `Bearer ${at.token}` },
				...(body !== undefined && { body: sent }),
			});
			await holdToDocument({ method, url }, async () => sent, reply);
			const text = await reply.text();
			return {
				status: reply.status,
				text,
				json: text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : undefined,
			};
		};

		beforeAll(async () => {
			forge = startForge("github", { token: "forge-token-1", project: "shop/told" });
			at = await start({ SKEIN_INSECURE_FORGES: forge.host, SKEIN_URL: "https://skein.example" });
			const { json } = await call("GET", "/swarm");
			const builder = { git: "2.39.5", builder: "buildkit", compose: true } as const;
			agent = await joinAgent(at.url, json.JoinTokens.Worker, describeMachine(1, { builder }));
		}, 60_000);
		afterAll(async () => {
			await at?.stop();
			await forge?.stop();
		});

		let app: { id: string; webhook: string; webhookSecret: string };

		test("is made, with defaults; its webhook's secret is shown once", async () => {
			const branch = (JSON.parse(push) as { ref: string }).ref.replace("refs/heads/", "");
			const made = await call("POST", "/api/applications", {
				spec: {
					name: "web",
					repository: "https://git.example/web.git",
					build: { secrets: ["npm"] },
					environments: [
						{
							name: "production",
							branches: [branch],
							create: { Mode: { Replicated: { Replicas: 1 } } },
						},
						{ name: "staging", branches: ["other"] },
					],
				},
				secrets: { build: { npm: "npm-token-1" }, login: { user: "ann", password: "pass-word-1" } },
			});
			expect(made.status, made.text).toBe(201);
			app = made.json;
			expect(app.webhookSecret).toMatch(/^[0-9a-f]{48}$/);
			const shown = await call("GET", "/api/applications/web");
			expect(shown.json.secrets).toEqual(["webhook", "login", "build.npm"]);
			expect(shown.text).not.toMatch(/npm-token-1|pass-word-1/);
			expect(shown.text).not.toContain(app.webhookSecret);
		});

		test("what is shown of it can be changed and sent back", async () => {
			const { json } = await call("GET", "/api/applications/web");
			const spec = { ...json.spec, buildTimeoutSeconds: 60 };
			const changed = await call("PUT", "/api/applications/web", { spec });
			expect(changed.status, changed.text).toBe(200);
			expect(changed.json.spec).toEqual(spec);
			expect(changed.json.version).toBe(json.version + 1);
		});

		test.each([
			[{ name: "Web" }, "spec.name: take up to 40 of a-z, 0-9 and -"],
			[{ repository: "https://ann:secret@git.example/web.git" }, "spec.repository: must be"],
			[{ environments: [] }, "spec.environments: "],
			[
				{ build: { dockerfile: "../Dockerfile" } },
				"spec.build.dockerfile: must lie in the repository",
			],
			[{ build: { secrets: ["none"] } }, "build.secrets: there is no secret none"],
			[{ colour: "red" }, "colour"],
			[
				{ environments: [{ name: "production" }, { name: "production" }] },
				"environments: two are named production",
			],
			[{ environments: [{ name: "production", create: { Mode: 7 } }] }, "environments.0.create: "],
			[{ build: { compose: "../compose.yaml" } }, "spec.build.compose: must lie in the repository"],
			[{ build: { compose: "c.yaml", target: "web" } }, "spec.build.target: a compose file has"],
			[
				{
					build: { compose: "c.yaml" },
					environments: [{ name: "production", before: ["migrate"] }],
				},
				"environments.0.beforeService: name the compose file's service",
			],
			[
				{ environments: [{ name: "production", beforeService: "web" }] },
				"environments.0.beforeService: it names a service of a compose file",
			],
			[
				{ build: { compose: "c.yaml" }, environments: [{ name: "production", create: { a: 1 } }] },
				"environments.0.create: the compose file says",
			],
		])("what is wrong with %j is named", async (words, message) => {
			const refused = await call("POST", "/api/applications", {
				spec: {
					name: "other",
					repository: "https://git.example/web.git",
					environments: [{ name: "production" }],
					...words,
				},
			});
			expect(refused.status).toBe(400);
			expect(refused.json.message).toContain(message);
		});

		const deliver = async (
			body: string,
			secret = app.webhookSecret,
			id = "d-1",
			{ event = "push", to = app.webhook } = {},
		) => {
			const signature = createHmac("sha256", secret).update(body).digest("hex");
			const { pathname } = new URL(to);
			return fetch(`${at.url}${pathname}`, {
				method: "POST",
				headers: {
					"Content-Type": "application/json",
					"X-GitHub-Event": event,
					"X-GitHub-Delivery": id,
					"X-Hub-Signature-256": `sha256=${signature}`,
				},
				body,
			});
		};
		const deployments = async () => (await call("GET", "/api/applications/web/deployments")).json;
		const soon = async (so: () => Promise<boolean>) => {
			while (!(await so())) await Bun.sleep(50);
		};

		test("a forged delivery is refused, and nothing is kept of it", async () => {
			const refused = await deliver(push, "0".repeat(48));
			expect(refused.status).toBe(403);
			expect(((await refused.json()) as { message: string }).message).toContain("webhook secret");
			expect((await call("GET", "/api/applications/web/deliveries")).json).toEqual([]);
			const unknown = await fetch(`${at.url}${new URL(app.webhook).pathname}x`, { method: "POST" });
			expect(unknown.status).toBe(404);
		});

		test("more than anybody has to say is refused while it comes", async () => {
			const chunk = new Uint8Array(256 * 1024).fill(32);
			const endless = () => new ReadableStream({ pull: (to) => to.enqueue(chunk) });
			for (const path of [new URL(app.webhook).pathname, "/api/applications"]) {
				const headers = { Authorization: `Bearer ${at.token}`, "X-GitHub-Event": "push" };
				const sent = fetch(`${at.url}${path}`, { method: "POST", headers, body: endless() });
				// Whoever sends on may find the line cut before the answer is read.
				const status = await sent.then((reply) => reply.status).catch(() => 400);
				expect(status).toBe(400);
			}
			expect((await call("GET", "/api/applications")).status).toBe(200);
		}, 30_000);

		test("a deployment is of one thing", async () => {
			const asked = { ref: "main", rollback: 1 };
			const refused = await call("POST", "/api/applications/web/deployments", asked);
			expect(refused.status).toBe(400);
			expect(refused.json.message).toContain("one of ref, rollback and promote");
		});

		test("a push is answered at once, becomes a deployment of one environment, and is handled once", async () => {
			expect((await deliver(push)).status).toBe(202);
			await soon(async () => (await deployments()).length > 0);
			expect((await deliver(push)).status).toBe(200);
			expect((await deliver(push, app.webhookSecret, "another")).status).toBe(200);
			const [only, ...more] = await deployments();
			expect(more).toEqual([]);
			expect(only).toMatchObject({ number: 1, environment: "production", phase: "building" });
			const [delivery] = (await call("GET", "/api/applications/web/deliveries")).json;
			expect(delivery).toMatchObject({ forge: "GitHub", name: "d-1" });
			expect(delivery.outcome[0]).toBe("production: deployment #1.");
			expect(delivery.outcome[1]).toStartWith("staging: ");
		}, 30_000);

		test("the node that builds is told all it needs, and nobody else", async () => {
			await soon(async () => ((await agent.poll()).assignment?.builds?.length ?? 0) > 0);
			const { assignment } = await agent.poll();
			const [build] = assignment?.builds ?? [];
			expect(build).toMatchObject({ repository: "https://git.example/web.git" });
			const secrets = await agent.ask("/build-secrets", {
				method: "POST",
				body: JSON.stringify({ build: build?.id }),
			});
			expect(await secrets.json()).toEqual({
				login: { user: "ann", password: "pass-word-1" },
				secrets: { npm: "npm-token-1" },
				registries: {},
			});
			const { json } = await call("GET", "/swarm");
			const other = await joinAgent(at.url, json.JoinTokens.Worker, describeMachine(2));
			const refused = await other.ask("/build-secrets", {
				method: "POST",
				body: JSON.stringify({ build: build?.id }),
			});
			expect(refused.status).toBe(410);
			await other.ask("/leave", { method: "POST" });
		}, 30_000);

		test("its image becomes the service; the log is kept", async () => {
			const { assignment } = await agent.poll();
			const [build] = assignment?.builds ?? [];
			if (!build) throw new Error("there is no build");
			await agent.ask(`/build-log?build=${build.id}`, {
				method: "POST",
				body: "Step 1/2\nStep 2/2\n",
			});
			const status = { ...unbuilt, state: "complete", digest, bytes: 7, observed: 3 } as const;
			expect(
				(await agent.report({ builds: [{ id: build.id, status }], images: [digest] })).status,
			).toBe(200);
			await soon(async () => (await deployments())[0].phase === "rolling");
			const { json } = await call("GET", "/services/web");
			expect(json.Spec.TaskTemplate.ContainerSpec.Image).toBe(`${build.image}@${digest}`);
			expect((await call("GET", "/api/applications/web/deployments/1/log")).text).toBe(
				"Step 1/2\nStep 2/2\n",
			);
			expect((await agent.poll()).assignment?.images).toMatchObject([{ digest, keep: true }]);
		}, 30_000);

		test("a rolling one is not cancelled; an application with one is not removed", async () => {
			const cancel = await call("POST", "/api/applications/web/deployments/1/cancel");
			expect([cancel.status, cancel.json.message]).toEqual([
				409,
				expect.stringContaining("rolling"),
			]);
			const removed = await call("DELETE", "/api/applications/web");
			expect([removed.status, removed.json.message]).toEqual([409, expect.stringContaining("#1")]);
		});

		describe("of a compose file", () => {
			const image = `skein.local/shop/web:1@${digest}`;
			const labels = { "com.docker.stack.namespace": "shop" };
			const container = {
				Image: image,
				Configs: [
					{ ConfigName: "shop_site", File: { Name: "/site", UID: "0", GID: "0", Mode: 292 } },
				],
				Secrets: [{ SecretName: "shop_key", File: { Name: "key", UID: "0", GID: "0", Mode: 256 } }],
			};
			const stack = {
				networks: [{ Name: "shop_back", Driver: "overlay", Labels: labels }],
				secrets: [{ Name: "shop_key", Labels: labels, Data: btoa("key-word-1") }],
				configs: [{ Name: "shop_site", Labels: labels, Data: btoa("first") }],
				services: [
					{
						Name: "shop_web",
						Labels: labels,
						TaskTemplate: { ContainerSpec: container, Networks: [{ Target: "shop_back" }] },
					},
				],
				images: { web: image },
			};
			const deploy = async (letter: string) => {
				const asked = { ref: letter.repeat(40) };
				const made = await call("POST", "/api/applications/shop/deployments", asked);
				expect(made.status, made.text).toBe(201);
				let build: { id: string } | undefined;
				await soon(async () => {
					const told = (await agent.poll()).assignment?.builds ?? [];
					build = told.find(({ commit }) => commit === asked.ref);
					return build !== undefined;
				});
				const id = build?.id ?? "";
				return {
					build,
					tell: (told: object) =>
						agent.ask(`/build-stack?build=${id}`, { method: "POST", body: JSON.stringify(told) }),
					complete: async () => {
						const status = { ...unbuilt, state: "complete", observed: 3 } as const;
						await agent.report({ builds: [{ id: id as BuildId, status }], images: [digest] });
					},
				};
			};
			const shown = async () => (await call("GET", "/api/applications/shop/deployments")).json[0];

			test("what its node says the file came to is checked, and is the stack", async () => {
				const spec = {
					name: "shop",
					repository: "https://git.example/shop.git",
					build: { compose: "compose.yaml" },
					environments: [{ name: "production", variables: { STAGE: "production" } }],
				};
				const made = await call("POST", "/api/applications", { spec });
				expect(made.status, made.text).toBe(201);
				const { build, tell, complete } = await deploy("a");
				expect(build).toMatchObject({
					recipe: { compose: "compose.yaml" },
					stack: { name: "shop", variables: { STAGE: "production" } },
				});
				const wrong: [object, string][] = [
					[{ ...stack, services: [] }, "compose: services: there are none"],
					[
						{ ...stack, configs: [{ Name: "other", Data: "" }] },
						"compose: config other: it is none of the stack shop",
					],
					[
						{ ...stack, networks: [{ ...stack.networks[0], Driver: "bridge" }] },
						"compose: network shop_back: a network of driver",
					],
					[
						{ ...stack, services: [{ ...stack.services[0], Name: "web" }] },
						"compose: service web: its name begins with shop_",
					],
					[{ ...stack, images: { web: "nginx" } }, "compose: images.web: no image of this cluster"],
					[
						{ ...stack, images: { web: `skein.local/other/web:1@${digest}` } },
						"compose: images.web: no image of this cluster",
					],
				];
				for (const [told, message] of wrong) {
					const refused = await tell(told);
					expect(refused.status).toBe(400);
					expect(((await refused.json()) as { message: string }).message).toStartWith(message);
				}
				const told = await tell(stack);
				expect([told.status, await told.json()]).toEqual([200, { warnings: [] }]);
				await complete();
				await soon(async () => (await shown()).phase === "rolling");
				const { json } = await call("GET", "/services/shop_web");
				expect(json.Spec.TaskTemplate.ContainerSpec.Image).toBe(image);
				expect(json.Spec.Labels).toMatchObject({ ...labels, "skein.application": "shop" });
				expect((await call("GET", "/networks/shop_back")).json.Driver).toBe("overlay");
				expect((await call("GET", "/configs/shop_site")).json.Spec.Data).toBe(btoa("first"));
				expect((await call("GET", "/secrets/shop_key")).text).not.toContain(btoa("key-word-1"));
				expect((await shown()).services).toEqual([{ name: "shop_web", image, outcome: null }]);
			}, 30_000);

			test("contents that change are another version; those that do not are none; nobody else's are taken", async () => {
				const before = (await call("GET", "/secrets/shop_key")).json.Version.Index;
				const { tell, complete } = await deploy("b");
				const configs = [{ ...stack.configs[0], Data: btoa("second") }];
				expect((await tell({ ...stack, configs })).status).toBe(200);
				const networks = [
					{ ...stack.networks[0], Options: { "com.docker.network.driver.mtu": "1400" } },
				];
				const again = await tell({ ...stack, configs, networks });
				expect(await again.json()).toEqual({
					warnings: ["network shop_back: the MTU is computed from the nodes' paths, not set"],
				});
				const { json } = await call("GET", "/configs/shop_site");
				expect([json.Version.Index, json.Spec.Data]).toEqual([2, btoa("second")]);
				expect((await call("GET", "/secrets/shop_key")).json.Version.Index).toBe(before);
				await call("POST", "/secrets/create", { Name: "shop_mine", Data: btoa("mine") });
				const secrets = [{ Name: "shop_mine", Labels: labels, Data: btoa("yours") }];
				const refused = await tell({ ...stack, secrets });
				expect(refused.status).toBe(400);
				expect(((await refused.json()) as { message: string }).message).toContain(
					"secret shop_mine is there already, and none of the stack shop",
				);
				// Nobody waits for its node.
				await complete();
			}, 30_000);
		});

		test.each([
			["https://registry.example/web", "without https://"],
			["team/web", "Docker Hub is docker.io"],
			["registry.example/web:latest", "the tag is the commit"],
			["registry.example/Team/web", "must be lowercase"],
			["skein.local/web", "where images are without it"],
		])("a registry %s is none", async (registry, message) => {
			const environments = [{ name: "production" }];
			const spec = {
				name: "none",
				repository: "https://git.example/x.git",
				environments,
				registry,
			};
			const refused = await call("POST", "/api/applications", { spec });
			expect(refused.status).toBe(400);
			expect(refused.json.message).toStartWith("spec.registry: must be HOST/REPOSITORY");
			expect(refused.json.message).toContain(message);
		});

		test("an image that is pushed to a registry is pulled with the application's login, which stays when it goes", async () => {
			const registry = "registry.example:5000/team/pushed";
			const login = (password: string) => ({
				registries: { "registry.example:5000": { username: "ann", password } },
			});
			const made = await call("POST", "/api/applications", {
				spec: {
					name: "pushed",
					repository: "https://git.example/pushed.git",
					registry,
					environments: [{ name: "production", create: { Mode: { Replicated: { Replicas: 1 } } } }],
				},
				secrets: login("first-word"),
			});
			expect(made.status, made.text).toBe(201);
			const path = "/api/applications/pushed/deployments";
			expect((await call("POST", path, { ref: "4".repeat(40) })).status).toBe(201);
			const assignedBuild = async () =>
				((await agent.poll()).assignment?.builds ?? []).find(({ image }) =>
					image.startsWith(registry),
				);
			await soon(async () => (await assignedBuild()) !== undefined);
			const build = await assignedBuild();
			expect(build?.image).toBe(`${registry}:${"4".repeat(12)}`);
			const status = { ...unbuilt, state: "complete", digest, observed: 9 } as const;
			if (build) await agent.report({ builds: [{ id: build.id, status }] });
			const task = async () =>
				(await agent.poll()).assignment?.tasks.find(
					({ template }) => template.container.image === `${registry}:${"4".repeat(12)}@${digest}`,
				);
			await soon(async () => (await task()) !== undefined);
			expect(await task()).toMatchObject({ registryAuth: true });
			const asked = async () => {
				const body = JSON.stringify({ task: (await task())?.id });
				const reply = await agent.ask("/registry-auth", { method: "POST", body });
				const { registryAuth } = (await reply.json()) as { registryAuth: string | null };
				return (
					registryAuth && JSON.parse(atob(registryAuth.replaceAll("-", "+").replaceAll("_", "/")))
				);
			};
			expect(await asked()).toEqual({ username: "ann", password: "first-word" });
			const secrets = "/api/applications/pushed/secrets";
			expect((await call("PUT", secrets, login("second-word"))).status).toBe(200);
			expect(await asked()).toEqual({ username: "ann", password: "second-word" });
			const found = (await call("GET", "/services/pushed")).json;
			const update = `/services/pushed/update?version=${found.Version.Index}`;
			expect((await call("POST", update, { ...found.Spec, Labels: { a: "b" } })).status).toBe(200);
			expect(await asked()).toEqual({ username: "ann", password: "second-word" });
			const off = new AbortController();
			const obeying = obey(agent, off.signal);
			await soon(async () => (await call("GET", `${path}/1`)).json.outcome !== null);
			expect((await call("GET", `${path}/1`)).json.outcome).toBe("succeeded");
			expect((await call("DELETE", "/api/applications/pushed")).status).toBe(204);
			off.abort();
			await obeying;
			expect(await asked()).toEqual({ username: "ann", password: "second-word" });
			expect((await call("DELETE", "/services/pushed")).status).toBe(200);
		}, 30_000);

		const told = {
			name: "told",
			repository: "https://git.example/shop/told.git",
			environments: [
				{
					name: "production",
					create: { Mode: { Replicated: { Replicas: 1 } } },
					url: "https://{branch}.told.example/",
				},
			],
		};
		const forgeSpec = () => ({ kind: "github", api: forge.url });
		const deployTold = async (commit: string) => {
			const path = "/api/applications/told/deployments";
			const made = await call("POST", path, { ref: commit });
			expect(made.status, made.text).toBe(201);
			return async () => (await call("GET", `${path}/${made.json.number}`)).json;
		};
		const states = (sha: string) =>
			forge.statuses.filter((each) => each["sha"] === sha).map((each) => each["state"]);
		const failBuild = async (error: string) => {
			const { builds = [] } = (await agent.poll()).assignment ?? {};
			for (const { id } of builds) {
				const status = { ...unbuilt, state: "failed", error, observed: 9 } as const;
				expect((await agent.report({ builds: [{ id, status }] })).status).toBe(200);
			}
		};

		test("a forge is to be one that can be told, at an address that may be", async () => {
			const secrets = { forge: { token: "forge-token-1" } };
			const make = (spec: object) => call("POST", "/api/applications", { spec, secrets });
			const unknown = await make(told);
			expect(unknown.status).toBe(400);
			expect(unknown.json.message).toStartWith("forge.kind: say which forge git.example is");
			const plain = await make({ ...told, forge: { kind: "gitea", api: "http://127.0.0.1:1" } });
			expect(plain.json.message).toContain("SKEIN_INSECURE_FORGES");
			const { environments } = told;
			const strange = { ...told, environments: [{ ...environments[0], url: "https://{colour}" }] };
			expect((await make(strange)).json.message).toContain("knows no {colour}");
			const made = await make({ ...told, forge: forgeSpec() });
			expect(made.status, made.text).toBe(201);
			expect(made.json.forge).toMatchObject({ name: "GitHub", project: "shop/told", error: "" });
			expect(made.json.secrets).toEqual(["webhook", "forge"]);
			expect((await call("GET", "/api/applications")).text).not.toContain("forge-token-1");
		});

		test("a forge is told of a deployment from its queue to its end", async () => {
			const sha = "1".repeat(40);
			const deployment = await deployTold(sha);
			await soon(async () => states(sha).includes("pending"));
			await soon(async () => ((await agent.poll()).assignment?.builds?.length ?? 0) > 0);
			await failBuild("[1/1] RUN make: exit code 2");
			await soon(async () => (await deployment()).told?.said === "failed");
			expect(forge.complaints).toEqual([]);
			expect(forge.statuses.at(-1)).toEqual({
				sha,
				state: "failure",
				description: "Failed: build: [1/1] RUN make: exit code 2",
				context: "skein/told/production",
				// Of a bare commit nobody knows the branch.
				target_url: expect.stringMatching(
					/^https:\/\/skein.example\/c\/[a-z0-9]+\/api\/applications\/told\/deployments\/1\/log$/,
				),
			});
			const [there, ...more] = forge.deployments;
			expect(more).toEqual([]);
			expect(there?.made).toMatchObject({ ref: sha, environment: "told/production" });
			expect(there?.states.at(-1)).toMatchObject({ state: "failure" });
			const count = forge.requests;
			await Bun.sleep(2_500);
			expect(forge.requests).toBe(count);
		}, 30_000);

		test("a forge that is away holds nothing up, and is told later", async () => {
			const sha = "2".repeat(40);
			forge.answer = () => new Response("", { status: 503 });
			const deployment = await deployTold(sha);
			await soon(async () => ((await agent.poll()).assignment?.builds?.length ?? 0) > 0);
			await failBuild("it failed");
			await soon(async () => (await deployment()).outcome === "failed");
			await soon(async () => (await deployment()).told.error !== "");
			const { json } = await call("GET", "/api/applications/told");
			expect(json.forge.error).toContain("answers with status 503");
			forge.answer = undefined;
			await soon(async () => states(sha).includes("failure"));
			await soon(async () => (await deployment()).told.error === "");
			expect(states(sha)).not.toContain("pending");
		}, 40_000);

		test("a token that is refused is named, and another one makes up for it", async () => {
			const sha = "3".repeat(40);
			const secret = (token: string) =>
				call("PUT", "/api/applications/told/secrets", { forge: { token } });
			expect((await secret("forge-token-0")).status).toBe(200);
			const deployment = await deployTold(sha);
			await soon(async () => (await deployment()).told.error !== "");
			const { json } = await call("GET", "/api/applications/told");
			expect(json.forge.error).toStartWith(
				"GitHub refuses the token, Bad credentials: give another",
			);
			expect((await secret("forge-token-1")).status).toBe(200);
			await soon(async () => states(sha).includes("pending"));
			await soon(async () => (await deployment()).told.error === "");
		}, 30_000);

		describe("a pull request", () => {
			const request = (
				action: string,
				words: { number?: number; sha?: string; isFork?: boolean } = {},
			) => {
				const text = readFileSync(join(samples, "github-pull-request-opened.json"), "utf8");
				const payload = JSON.parse(text);
				const { number = 2, sha, isFork } = words;
				Object.assign(payload, { action, number });
				if (sha) payload.pull_request.head.sha = sha;
				if (isFork) payload.pull_request.head.repo = null;
				// No two deliveries say the same to the letter.
				payload.pull_request.updated_at = `${performance.now()}`;
				return JSON.stringify(payload);
			};
			let previewed: typeof app;
			const tell = async (...asked: Parameters<typeof request>) => {
				const { webhook: to, webhookSecret } = previewed;
				const event = "pull_request";
				const sent = await deliver(request(...asked), webhookSecret, "d-2", { event, to });
				expect(sent.status).toBe(202);
			};
			const shown = async () => (await call("GET", "/api/applications/previewed")).json;
			const of = async (name: string) =>
				(await call("GET", `/api/applications/previewed/deployments?environment=${name}`)).json;
			const names = async () =>
				(await shown()).environments.map((each: { name: string }) => each.name);
			/** One after the other, with what others left. */
			const build = async (letter: string) => {
				const made = `sha256:${letter.repeat(64)}`;
				for (const { id } of (await agent.poll()).assignment?.builds ?? []) {
					const status = { ...unbuilt, state: "complete", digest: made, bytes: 7 } as const;
					await agent.report({
						builds: [{ id, status: { ...status, observed: 9 } }],
						images: [made],
					});
				}
			};

			test("gets an environment of its own, of which its forge knows", async () => {
				const made = await call("POST", "/api/applications", {
					spec: {
						name: "previewed",
						repository: "https://git.example/shop/told.git",
						forge: forgeSpec(),
						environments: [
							{ name: "production", branches: ["main"] },
							{
								name: "preview",
								url: "http://192.0.2.1:{port}/",
								create: {
									Mode: { Replicated: { Replicas: 1 } },
									EndpointSpec: { Ports: [{ TargetPort: 80 }] },
								},
								previews: { max: 1, ttlSeconds: 3_600 },
							},
						],
					},
					secrets: { forge: { token: "forge-token-1" } },
				});
				expect(made.status, made.text).toBe(201);
				previewed = made.json;
				const sha = "a".repeat(40);
				await tell("opened", { sha });
				await soon(async () => {
					await build("b");
					return (await of("pr-2"))[0]?.phase === "rolling";
				});
				const { json } = await call("GET", "/services/previewed-pr-2");
				expect(json.Spec.Labels).toMatchObject({ "skein.environment": "pr-2" });
				const port = json.Endpoint.Ports[0].PublishedPort;
				expect(port).toBeGreaterThanOrEqual(30_000);
				expect((await shown()).environments[2]).toMatchObject({
					name: "pr-2",
					service: "previewed-pr-2",
					preview: { pullRequest: 2, branch: "changes" },
				});
				const there = () => forge.deployments.find(({ made }) => made["ref"] === sha);
				await soon(async () =>
					Boolean(
						there()?.states.some((each) => String(each["environment_url"]).includes(`:${port}/`)),
					),
				);
				expect(there()?.made).toMatchObject({
					environment: "previewed/pr-2",
					transient_environment: true,
				});
				expect(forge.statuses.at(-1)).toMatchObject({ sha, context: "skein/previewed/preview" });
			}, 30_000);

			test("beyond the most that there may be is told so", async () => {
				const sha = "d".repeat(40);
				await tell("opened", { number: 3, sha });
				await soon(async () => (await of("pr-3"))[0]?.outcome === "failed");
				expect((await of("pr-3"))[0].reason).toStartWith("previews: there are 1 already");
				await soon(async () => states(sha).includes("failure"));
				expect(await names()).toEqual(["production", "preview", "pr-2"]);
				const onPattern = { environment: "preview", ref: sha };
				const path = "/api/applications/previewed/deployments";
				const refused = await call("POST", path, onPattern);
				expect(refused.json.message).toContain("is what previews are made after");
				const byHand = await call("POST", path, { environment: "pr-2", ref: "e".repeat(40) });
				expect(byHand.json).toMatchObject({ environment: "pr-2" });
			}, 30_000);

			test("that is closed takes it along", async () => {
				await tell("closed");
				await soon(async () => (await call("GET", "/services/previewed-pr-2")).status === 404);
				expect(await names()).toEqual(["production", "preview"]);
				expect((await of("pr-2"))[0]).toMatchObject({ outcome: "cancelled" });
				expect(forge.complaints).toEqual([]);
			}, 30_000);

			test("to which nobody pushes any more loses it by itself", async () => {
				const { spec } = await shown();
				spec.environments[1].previews.ttlSeconds = 3;
				expect((await call("PUT", "/api/applications/previewed", { spec })).status).toBe(200);
				await tell("reopened", { sha: "f".repeat(40) });
				await soon(async () => (await names()).includes("pr-2"));
				await soon(async () => !(await names()).includes("pr-2"));
				await soon(async () => (await of("pr-2"))[0].outcome === "cancelled");
			}, 30_000);

			test("of a compose file is a stack of its own, which goes whole", async () => {
				const made = await call("POST", "/api/applications", {
					spec: {
						name: "stacked",
						repository: "https://git.example/shop/told.git",
						build: { compose: "compose.yaml" },
						environments: [{ name: "preview", previews: { forks: true } }],
					},
				});
				expect(made.status, made.text).toBe(201);
				previewed = made.json;
				const sha = "9".repeat(40);
				await tell("opened", { sha });
				const buildOf = async (commit: string) => {
					let build: { id: string; stack?: object } | undefined;
					await soon(async () => {
						const told = (await agent.poll()).assignment?.builds ?? [];
						build = told.find((each) => each.commit === commit);
						return build !== undefined;
					});
					return build;
				};
				const build = await buildOf(sha);
				expect(build?.stack).toMatchObject({ name: "stacked-pr-2", preview: { isFork: false } });
				const image = `skein.local/stacked/web:1@${digest}`;
				const labels = { "com.docker.stack.namespace": "stacked-pr-2" };
				const named = (name: string) => ({ Name: `stacked-pr-2_${name}`, Labels: labels });
				const stack = {
					networks: [{ ...named("back"), Driver: "overlay" }],
					secrets: [{ ...named("key"), Data: btoa("key-word-1") }],
					configs: [],
					services: [
						{
							...named("web"),
							TaskTemplate: {
								ContainerSpec: {
									Image: image,
									Secrets: [
										{
											SecretName: "stacked-pr-2_key",
											File: { Name: "key", UID: "0", GID: "0", Mode: 256 },
										},
									],
								},
								Networks: [{ Target: "stacked-pr-2_back" }],
							},
							EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 80 }] },
						},
					],
					images: { web: image },
				};
				const told = await agent.ask(`/build-stack?build=${build?.id}`, {
					method: "POST",
					body: JSON.stringify(stack),
				});
				const { warnings } = (await told.json()) as { warnings: string[] };
				expect(warnings).toEqual([
					expect.stringContaining("service stacked-pr-2_web: a preview publishes no port 80"),
				]);
				const status = { ...unbuilt, state: "complete", observed: 3 } as const;
				const builds = [{ id: (build?.id ?? "") as BuildId, status }];
				await agent.report({ builds, images: [digest] });
				const statusOf = async (path: string) => (await call("GET", path)).status;
				await soon(async () => (await statusOf("/services/stacked-pr-2_web")) === 200);
				const { json } = await call("GET", "/services/stacked-pr-2_web");
				expect(json.Endpoint.Ports[0].PublishedPort).toBeGreaterThanOrEqual(30_000);
				expect(await statusOf("/networks/stacked-pr-2_back")).toBe(200);
				await tell("closed");
				const left = ["services/stacked-pr-2_web", "networks/stacked-pr-2_back"];
				for (const path of [...left, "secrets/stacked-pr-2_key"]) {
					await soon(async () => (await statusOf(`/${path}`)) === 404);
				}
				await tell("opened", { number: 4, sha: "8".repeat(40), isFork: true });
				const strangers = await buildOf("8".repeat(40));
				expect(strangers?.stack).toMatchObject({ preview: { isFork: true } });
				const theirs = JSON.parse(JSON.stringify(stack).replaceAll("pr-2", "pr-4"));
				const { ContainerSpec: container } = theirs.services[0].TaskTemplate;
				container.Mounts = [{ Type: "bind", Source: "/", Target: "/node" }];
				const refused = await agent.ask(`/build-stack?build=${strangers?.id}`, {
					method: "POST",
					body: JSON.stringify(theirs),
				});
				expect(refused.status).toBe(400);
				expect(((await refused.json()) as { message: string }).message).toStartWith(
					"compose: service stacked-pr-4_web.TaskTemplate.ContainerSpec.Mounts.Type: bind may not be",
				);
				const removing = async () => (await call("DELETE", "/api/applications/stacked")).status;
				expect(await removing()).toBe(409);
				await tell("closed", { number: 4, isFork: true });
				await soon(async () => (await removing()) === 204);
			}, 30_000);
		});

		describe("where nodes have two architectures", () => {
			const builder = { git: "2.39.5", builder: "buildkit", parts: true } as const;
			const path = "/api/applications/several/deployments";
			const spec = {
				name: "several",
				repository: "https://git.example/several.git",
				environments: [{ name: "production", create: { Mode: { Global: {} } } }],
			};
			const manifest = {
				mediaType: "application/vnd.oci.image.manifest.v1+json",
				size: 700,
			} as const;
			let arm: TestAgent;
			const told = async (to: TestAgent, commit: string) =>
				((await to.poll()).assignment?.builds ?? []).find((each) => each.commit === commit);
			/** What each of the two is to build. */
			const both = async (commit: string) => {
				await soon(async () => Boolean((await told(agent, commit)) && (await told(arm, commit))));
				const [one, other] = [await told(agent, commit), await told(arm, commit)];
				if (!one || !other) throw new Error("a build is gone");
				return [one, other] as const;
			};

			beforeAll(async () => {
				const { json } = await call("GET", "/swarm");
				await agent.report({ description: describeMachine(1, { builder }) });
				// It is done with what was cancelled before.
				for (const { id } of (await agent.poll()).assignment?.builds ?? []) {
					const status = { ...unbuilt, state: "cancelled", observed: 9 } as const;
					await agent.report({ builds: [{ id, status }] });
				}
				const machine = describeMachine(7, { builder, architecture: "aarch64" });
				arm = await joinAgent(at.url, json.JoinTokens.Worker, machine);
				expect((await call("POST", "/api/applications", { spec })).status).toBe(201);
			}, 30_000);
			// A build is for the architectures of the nodes that are heard.
			beforeEach(async () => {
				await soon(async () => {
					await Promise.all([agent.report({}), arm.report({})]);
					const { json } = await call("GET", "/nodes");
					const states = json.map((each: { Status: { State: string } }) => each.Status.State);
					return states.filter((state: string) => state === "ready").length === 2;
				});
			}, 30_000);
			afterAll(() => arm?.ask("/leave", { method: "POST" }));

			test("a push is built on both, and runs by the index of what they made", async () => {
				const commit = "7".repeat(40);
				expect((await call("POST", path, { ref: commit })).status).toBe(201);
				const builds = await both(commit);
				expect(builds.map(({ architecture, isPart }) => [architecture, isPart])).toEqual([
					["amd64", true],
					["arm64", true],
				]);
				for (const [index, on] of [agent, arm].entries()) {
					const made = `sha256:${String(index + 1).repeat(64)}`;
					const id = builds[index]?.id as BuildId;
					const status = {
						...unbuilt,
						state: "complete",
						digest: made,
						manifest,
						observed: 9,
					} as const;
					await on.ask(`/build-log?build=${id}`, { method: "POST", body: `log ${index}\n` });
					const said = await on.report({ builds: [{ id, status }], images: [made] });
					expect(said.status).toBe(200);
				}
				await soon(async () => (await call("GET", `${path}/1`)).json.phase === "rolling");
				const { image, builds: shown } = (await call("GET", `${path}/1`)).json;
				expect(shown).toMatchObject([
					{ platform: expect.stringMatching(/linux.a/), state: "complete" },
					{ platform: expect.stringMatching(/linux.a/), state: "complete" },
				]);
				for (const on of [agent, arm]) {
					const { assignment } = await on.poll();
					const [index] = assignment?.images?.filter((each) => image.endsWith(each.digest)) ?? [];
					const { manifests } = JSON.parse(index?.index ?? "");
					expect(manifests).toMatchObject([
						{
							...manifest,
							digest: `sha256:${"1".repeat(64)}`,
							platform: { architecture: "amd64" },
						},
						{
							...manifest,
							digest: `sha256:${"2".repeat(64)}`,
							platform: { architecture: "arm64" },
						},
					]);
					expect(assignment?.tasks.map(({ template }) => template.container.image)).toContain(
						image,
					);
				}
				const log = (await call("GET", `${path}/1/log`)).text;
				for (const line of ["--- linux/amd64\nlog 0\n", "--- linux/arm64\nlog 1\n"]) {
					expect(log).toContain(line);
				}
				const off = new AbortController();
				const obeying = [agent, arm].map((each) => obey(each, off.signal));
				await soon(async () => (await call("GET", `${path}/1`)).json.outcome !== null);
				expect((await call("GET", `${path}/1`)).json.outcome).toBe("succeeded");
				off.abort();
				await Promise.all(obeying);
			}, 30_000);

			test("one that fails ends the other", async () => {
				const commit = "8".repeat(40);
				expect((await call("POST", path, { ref: commit })).status).toBe(201);
				const [one, other] = await both(commit);
				const status = { ...unbuilt, state: "failed", error: "no such base", observed: 9 } as const;
				await arm.report({ builds: [{ id: other.id, status }] });
				await soon(async () => (await call("GET", `${path}/2`)).json.outcome !== null);
				expect((await call("GET", `${path}/2`)).json).toMatchObject({
					outcome: "failed",
					reason: "build for linux/arm64: no such base",
				});
				await soon(async () => (await told(agent, commit))?.desired === "cancelled");
				const cancelled = { ...unbuilt, state: "cancelled", observed: 9 } as const;
				await agent.report({ builds: [{ id: one.id, status: cancelled }] });
			}, 30_000);

			test.each([
				[["linux/mips"], {}, "build.platforms"],
				[["linux/amd64", "linux/amd64"], {}, "build.platforms: one is named twice"],
				[
					["linux/amd64", "linux/arm64"],
					{ registry: "registry.example/a" },
					"in a registry of yours",
				],
			])("platforms %j are refused", async (platforms, words, message) => {
				const refused = await call("POST", "/api/applications", {
					spec: { ...spec, name: "odd", build: { platforms }, ...words },
				});
				expect([refused.status, refused.json.message]).toEqual([
					400,
					expect.stringContaining(message),
				]);
			});

			test("one that is named is the only one, and is shown as it was written", async () => {
				const build = { platforms: ["linux/arm64"] };
				const made = await call("POST", "/api/applications", {
					spec: { ...spec, name: "named", build },
				});
				expect(made.status, made.text).toBe(201);
				expect(made.json.spec.build.platforms).toEqual(["linux/arm64"]);
				expect((await call("DELETE", "/api/applications/named")).status).toBe(204);
			});
		});
	});
}
