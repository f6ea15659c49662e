// Both doors, in every place the control plane runs: who is let in, what is refused and in which words, and that news
// reaches whoever waits.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Runtime, runtimes } from "../runtimes.ts";
import { agentOf, askToJoin, describeMachine, joinAgent } from "./agent.ts";

for (const { name, there, start } of runtimes) {
	describe.skipIf(!there)(name, () => {
		let at: Runtime;
		beforeAll(async () => {
			at = await start();
		}, 30_000);
		afterAll(() => at.stop(), 15_000);

		const ask = (path: string, init: RequestInit = {}) =>
			fetch(`${at.url}${path}`, {
				...init,
				headers: { Authorization: `Bearer ${at.token}`, ...init.headers },
			});
		const json = async <Body>(path: string, init?: RequestInit) =>
			(await (await ask(path, init)).json()) as Body;
		const post = (path: string, body: unknown) =>
			ask(path, {
				method: "POST",
				headers: { "Content-Type": "application/json" },
				body: JSON.stringify(body),
			});
		const tokens = async () =>
			(await json<{ JoinTokens: { Worker: string; Manager: string } }>("/swarm")).JoinTokens;
		const rotate = async () => {
			const { Version, Spec } = await json<{ Version: { Index: number }; Spec: unknown }>("/swarm");
			const reply = await post(
				`/swarm/update?version=${Version.Index}&rotateWorkerToken=true`,
				Spec,
			);
			expect(reply.status).toBe(200);
		};
		let networks = 0;
		const createNetwork = async () => {
			const reply = await post("/networks/create", {
				Name: `net${networks++}`,
				Driver: "overlay",
				Attachable: true,
			});
			expect(reply.status).toBe(201);
		};

		test("no token, no answer but _ping; the refusal says what to do", async () => {
			for (const path of ["/info", "/v1.41/services", "/", "/nodes?x=/_ping"]) {
				const reply = await fetch(`${at.url}${path}`);
				expect(reply.status).toBe(401);
				expect(reply.headers.get("Content-Type")).toBe("application/json");
				const { message } = (await reply.json()) as { message: string };
				expect(message).toContain("Authorization: Bearer");
			}
			for (const path of ["/_ping", "/v1.41/_ping"]) {
				expect((await fetch(`${at.url}${path}`)).status).toBe(200);
			}
			const wrong = await fetch(`${at.url}/info`, {
				headers: { Authorization: "Bearer skein-no" },
			});
			expect(wrong.status).toBe(401);
		});

		test("the token is taken as Bearer and as Basic's password", async () => {
			const basic = `Basic ${btoa(`anybody:${at.token}`)}`;
			expect((await fetch(`${at.url}/info`, { headers: { Authorization: basic } })).status).toBe(
				200,
			);
			expect((await ask("/v1.41/info")).status).toBe(200);
		});

		test("a cluster is neither made nor erased over TCP", async () => {
			expect((await ask("/swarm/leave?force=1", { method: "POST" })).status).toBe(403);
			expect((await post("/swarm/init", { ListenAddr: "0.0.0.0" })).status).toBe(503);
		});

		test("join tokens have Docker's form and let machines in; each gets a node of its own", async () => {
			const { Worker, Manager } = await tokens();
			expect(Worker).toMatch(/^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
			expect(Manager).not.toBe(Worker);
			const [one, two] = await Promise.all([
				joinAgent(at.url, Worker, describeMachine(1)),
				joinAgent(at.url, Worker, describeMachine(2)),
			]);
			expect(one.node).not.toBe(two.node);
			const [first, second] = await Promise.all([one.poll(), two.poll()]);
			expect(first.assignment?.self.index).not.toBe(second.assignment?.self.index);
			const nodes = await json<{ ID: string }[]>("/nodes");
			expect(nodes.map(({ ID }) => ID)).toEqual(expect.arrayContaining([one.node, two.node]));
		});

		test("a machine that joined before keeps its node", async () => {
			const { Worker } = await tokens();
			const agent = await joinAgent(at.url, Worker, describeMachine(3));
			const described = describeMachine(3, { hostname: "renamed" });
			const again = await askToJoin(at.url, Worker, described, agent.credential);
			expect(await again.json()).toEqual({ node: agent.node, credential: agent.credential });
			const node = await json<{ Description: { Hostname: string } }>(`/nodes/${agent.node}`);
			expect(node.Description.Hostname).toBe("renamed");
		});

		test("a copy of a machine, with its WireGuard key, is refused while that one is up", async () => {
			const { Worker } = await tokens();
			const agent = await joinAgent(at.url, Worker, describeMachine(4));
			await agent.report({});
			const wait = async () =>
				(await json<{ Status: { State: string } }>(`/nodes/${agent.node}`)).Status.State;
			for (let tries = 0; tries < 100 && (await wait()) !== "ready"; tries++) await Bun.sleep(50);
			const reply = await askToJoin(at.url, Worker, describeMachine(4, { hostname: "copy" }));
			expect(reply.status).toBe(409);
			expect(await reply.text()).toContain("--uninstall");
		});

		test.each([
			["no join token", "SWMTKN", 400, "docker swarm join-token worker"],
			[
				"another cluster's",
				`SWMTKN-1-${"a".repeat(50)}-${"b".repeat(25)}`,
				403,
				"docker swarm join-token worker",
			],
		])("joining with %s is refused with the remedy", async (_what, token, status, remedy) => {
			const reply = await askToJoin(at.url, token, describeMachine(5));
			expect(reply.status).toBe(status);
			expect(((await reply.json()) as { message: string }).message).toContain(remedy);
		});

		test("a rotated token is refused and says which command prints the right one", async () => {
			const old = (await tokens()).Worker;
			await rotate();
			const { Worker } = await tokens();
			expect(Worker).not.toBe(old);
			const reply = await askToJoin(at.url, old, describeMachine(6));
			expect(reply.status).toBe(403);
			expect(await reply.text()).toContain("docker swarm join-token worker");
			expect((await askToJoin(at.url, Worker, describeMachine(6))).status).toBe(200);
		});

		test("a machine whose routes clash with the mesh is told which, and what to do", async () => {
			const { Worker } = await tokens();
			const clash = describeMachine(7, { routes: ["0.0.0.0/0", "10.200.3.0/24"] });
			const reply = await askToJoin(at.url, Worker, clash);
			expect(reply.status).toBe(409);
			const { message } = (await reply.json()) as { message: string };
			expect(message).toContain("10.200.3.0/24");
			expect(message).toContain("Take that route off");
		});

		test("bad bodies are refused by field, and large ones before they are read", async () => {
			const { Worker } = await tokens();
			const agent = await joinAgent(at.url, Worker, describeMachine(8));
			const report = (body: string) => agent.ask("/report", { method: "POST", body });
			const malformed = await report('{"tasks": [');
			expect(malformed.status).toBe(400);
			expect(await malformed.text()).toContain("not JSON");
			const wrong = await report('{"applied": {"revision": "one", "hash": ""}}');
			expect(wrong.status).toBe(400);
			expect(await wrong.text()).toContain("applied.revision");
			const large = await report(JSON.stringify({ filler: "x".repeat(11 * 1024 * 1024) }));
			expect(large.status).toBe(413);
			expect((await agent.report({})).status).toBe(200);
		});

		test("a stolen node id is worth nothing without its credential", async () => {
			const { Worker } = await tokens();
			const agent = await joinAgent(at.url, Worker, describeMachine(9));
			const [, node] = agent.credential.split(".");
			const forged = agentOf(at.url, {
				...agent,
				credential: `SKEIN-NODE.${node}.${"0".repeat(64)}`,
			});
			const reply = await forged.report({});
			expect(reply.status).toBe(401);
			expect(await reply.text()).toContain("install the agent again");
			const unknown = `SKEIN-NODE.${"z".repeat(25)}.${"0".repeat(64)}`;
			expect((await agentOf(at.url, { ...agent, credential: unknown }).report({})).status).toBe(
				401,
			);
			expect((await fetch(`${at.url}/agent/assignment`)).status).toBe(401);
			// The owner's token opens the other door only, and an agent's opens only this one.
			expect((await agentOf(at.url, { ...agent, credential: at.token }).report({})).status).toBe(
				401,
			);
			const asUser = await fetch(`${at.url}/nodes`, {
				headers: { Authorization: `Bearer ${agent.credential}` },
			});
			expect(asUser.status).toBe(401);
		});

		test("a poll is held until there is news for its node, and then answered with it", async () => {
			const { Worker } = await tokens();
			const agent = await joinAgent(at.url, Worker, describeMachine(10));
			const first = await agent.poll();
			expect(first.assignment?.self.node).toBe(agent.node);
			// What joining set in motion may still be settling.
			let held = first;
			for (;;) {
				const next = await agent.poll(held);
				held = { ...next, assignment: next.assignment ?? held.assignment };
				if (!next.assignment) break;
			}
			const waiting = agent.poll(held);
			await createNetwork();
			const wanted = (held.assignment?.networks.length ?? 0) + 1;
			let news = await waiting;
			// A machine of an earlier test that falls silent just now is news too.
			while (news.assignment?.networks.length !== wanted) {
				news = await agent.poll(news.assignment ? news : { ...news, hash: held.hash });
			}
			expect(news.assignment?.networks.length).toBe(wanted);
			expect(news.revision).toBeGreaterThan(held.revision);
			expect(news.hash).not.toBe(held.hash);
		}, 60_000);

		test("a secret goes to the node whose task uses it, and to no other", async () => {
			const { Worker } = await tokens();
			const [one, two] = await Promise.all([
				joinAgent(at.url, Worker, describeMachine(20, { hostname: "uses" })),
				joinAgent(at.url, Worker, describeMachine(21, { hostname: "other" })),
			]);
			const data = (text: string) => Buffer.from(text).toString("base64");
			const made = await post("/secrets/create", { Name: "pw", Data: data("hunter2") });
			expect(made.status).toBe(201);
			const { ID } = (await made.json()) as { ID: string };
			const ContainerSpec = {
				Image: "nginx:1.22",
				Secrets: [{ SecretID: ID, SecretName: "pw", File: { Name: "pw" } }],
			};
			const service = {
				Name: "uses-pw",
				TaskTemplate: { ContainerSpec, Placement: { Constraints: ["node.hostname==uses"] } },
			};
			expect((await post("/services/create", service)).status).toBe(201);
			const assigned = async (version: number) => {
				let held = await one.poll();
				for (let tries = 0; tries < 20; tries++) {
					const files = held.assignment?.tasks.flatMap(
						({ template }) => template.container.files ?? [],
					);
					if (files?.some((file) => file.version === version)) return JSON.stringify(held);
					await one.report({ applied: held });
					held = await one.poll();
				}
				throw new Error(`version ${version} was not assigned`);
			};
			const asked = async (agent: typeof one, version: number) => {
				const body = JSON.stringify({ names: [{ material: ID, version }] });
				const reply = await agent.ask("/contents", { method: "POST", body });
				expect(reply.status).toBe(200);
				return ((await reply.json()) as { contents: unknown[] }).contents;
			};
			const text = await assigned(1);
			expect(text).not.toContain("hunter2");
			expect(text).not.toContain(data("hunter2"));
			expect(await asked(one, 1)).toEqual([{ material: ID, version: 1, data: data("hunter2") }]);
			expect(await asked(two, 1)).toEqual([]);
			expect(await asked(one, 7)).toEqual([]);
			const changed = { Name: "pw", Data: data("correct horse") };
			expect((await post(`/secrets/${ID}/update?version=1`, changed)).status).toBe(200);
			await assigned(2);
			expect(await asked(one, 2)).toEqual([
				{ material: ID, version: 2, data: data("correct horse") },
			]);
			expect((await post(`/secrets/${ID}/update?version=1`, changed)).status).toBe(500);
			expect((await ask(`/secrets/${ID}`, { method: "DELETE" })).status).toBe(400);
			const large = "x".repeat(511_999);
			await post("/configs/create", { Name: "large", Data: data(large) });
			const [config] = await json<{ Spec: { Data: string } }[]>("/configs");
			expect(config?.Spec.Data === data(large)).toBeTrue();
			expect((await ask("/services/uses-pw", { method: "DELETE" })).status).toBe(200);
			expect((await ask("/secrets/pw", { method: "DELETE" })).status).toBe(204);
		}, 60_000);

		test("a node that was removed is told so, and so is one that left", async () => {
			const { Worker } = await tokens();
			const agent = await joinAgent(at.url, Worker, describeMachine(11));
			const removed = await ask(`/nodes/${agent.node}?force=1`, { method: "DELETE" });
			expect(removed.status).toBe(200);
			const reply = await agent.report({});
			expect(reply.status).toBe(410);
			expect(await reply.text()).toContain("was removed");
			const leaver = await joinAgent(at.url, Worker, describeMachine(12));
			expect((await leaver.ask("/leave", { method: "POST" })).status).toBe(204);
			expect((await leaver.report({})).status).toBe(410);
			expect((await ask(`/nodes/${leaver.node}`)).status).toBe(404);
		});

		test("sixty-four requests at once are all answered", async () => {
			const replies = await Promise.all(
				Array.from({ length: 64 }, (_, n) => ask(n % 2 ? "/services" : "/networks")),
			);
			expect(replies.map(({ status }) => status)).toEqual(Array.from({ length: 64 }, () => 200));
			const posted = await Promise.all(
				Array.from({ length: 12 }, (_, n) =>
					post("/networks/create", { Name: `racing${n}`, Driver: "overlay" }),
				),
			);
			expect(posted.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 201));
			const found = await json<{ Name: string }[]>("/networks");
			expect(found.filter(({ Name }) => Name.startsWith("racing"))).toHaveLength(12);
		}, 60_000);

		test("a node that falls silent goes down, although nobody asks", async () => {
			const { Worker } = await tokens();
			const agent = await joinAgent(at.url, Worker, describeMachine(13));
			await agent.report({});
			const state = async () =>
				(await json<{ Status: { State: string } }>(`/nodes/${agent.node}`)).Status.State;
			const until = async (wanted: string) => {
				for (let tries = 0; tries < 200 && (await state()) !== wanted; tries++) {
					await Bun.sleep(50);
				}
				expect(await state()).toBe(wanted);
			};
			await until("ready");
			await until("down");
			await agent.report({});
			await until("ready");
		}, 60_000);

		test("the install script comes with this address in it", async () => {
			const script = await (await fetch(`${at.url}/install.sh`)).text();
			expect(script).toContain(`url='${at.url}'`);
			expect(script).not.toContain("@FILES@");
		}, 30_000);
	});
}
