// A cluster's object has nothing to lose: two of them at once decide one after the other, and one that is thrown away
// takes with it only what was on its way.

import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { atSocket } from "../../control-plane/accounts/actor.ts";
import { endLeases } from "../../control-plane/store/leases.ts";
import type { AssignmentReply } from "../../model/assignment.ts";
import type { ClusterId } from "../../model/id.ts";
import type { Node } from "../../model/node.ts";
import { type Runtime, startWorkerOver } from "../runtimes.ts";
import { hasSqld, startSqld, type TestServer } from "../store/databases.ts";
import { agentOf, describeMachine, joinAgent, obey } from "./agent.ts";

describe.skipIf(!hasSqld)("objects", () => {
	let database: TestServer;
	const started: Pick<Runtime, "stop">[] = [];
	beforeAll(async () => {
		database = await startSqld();
	}, 30_000);
	afterEach(async () => {
		for (const each of started.splice(0).reverse()) await each.stop();
	}, 30_000);
	afterAll(() => database.stop(), 15_000);

	const start = async (over = database, bindings: Readonly<Record<string, string>> = {}) => {
		const worker = await startWorkerOver(over, undefined, bindings);
		started.push(worker);
		return worker;
	};
	const stop = async (worker: Runtime) => {
		await worker.stop();
		started.splice(started.indexOf(worker), 1);
	};
	const ask = (at: Runtime, path: string, init: RequestInit = {}) =>
		fetch(`${at.url}${path}`, {
			...init,
			headers: { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" },
		});
	const json = async <Body>(at: Runtime, path: string) =>
		(await (await ask(at, path)).json()) as Body;
	const createNetwork = (at: Runtime, Name: string) => {
		const body = JSON.stringify({ Name, Driver: "overlay", Attachable: true });
		return ask(at, "/networks/create", { method: "POST", body });
	};
	const joined = async (at: Runtime, n: number) => {
		const { JoinTokens } = await json<{ JoinTokens: { Worker: string } }>(at, "/swarm");
		return joinAgent(at.url, JoinTokens.Worker, describeMachine(n));
	};

	test("two of one cluster decide one after the other, and each sees what the other did", async () => {
		const [one, two] = [await start(), await start()];
		// The first request of all makes the cluster; those that come meanwhile wait for it, or are told to come again.
		const first = await Promise.all(
			Array.from({ length: 8 }, async (_, n) => {
				const at = n % 2 ? one : two;
				let reply = await ask(at, "/networks");
				while (reply.status === 503) {
					expect(reply.headers.get("Retry-After")).toBe("1");
					reply = await ask(at, "/networks");
				}
				return reply.status;
			}),
		);
		expect(first).toEqual(Array.from({ length: 8 }, () => 200));
		expect(await json<unknown[]>(one, "/api/clusters")).toHaveLength(1);
		const made = await Promise.all(
			Array.from({ length: 12 }, (_, n) => createNetwork(n % 2 ? one : two, `net${n}`)),
		);
		expect(made.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 201));
		const subnets = async (at: Runtime) =>
			(await json<{ Name: string; IPAM: { Config: { Subnet: string }[] } }[]>(at, "/networks"))
				.filter(({ Name }) => Name.startsWith("net"))
				.map(({ IPAM }) => IPAM.Config[0]?.Subnet);
		const [seen, alsoSeen] = [await subnets(one), await subnets(two)];
		expect(new Set(seen).size).toBe(12);
		expect(alsoSeen.sort()).toEqual(seen.sort());
		// An agent that is sent to the other one from one call to the next does not notice.
		const agent = await joined(one, 1);
		const there = agentOf(two.url, agent);
		const held = await agent.poll();
		expect((await there.report({ applied: held })).status).toBe(200);
		expect((await there.poll()).assignment?.self.node).toBe(agent.node);
	}, 60_000);

	test("one that is thrown away loses a poll and a log, which are asked for again", async () => {
		const first = await start();
		const agent = await joined(first, 2);
		const service = {
			Name: "web",
			TaskTemplate: { ContainerSpec: { Image: `nginx@sha256:${"a".repeat(64)}` } },
		};
		const body = JSON.stringify(service);
		expect((await ask(first, "/services/create", { method: "POST", body })).status).toBe(201);
		const off = new AbortController();
		void obey(agent, off.signal);
		const running = async (at: Runtime) =>
			(await json<{ Status: { State: string } }[]>(at, "/tasks")).filter(
				({ Status }) => Status.State === "running",
			).length;
		while ((await running(first)) === 0) await Bun.sleep(50);
		off.abort();
		let held = await agent.poll();
		for (let next = await agent.poll(held); next.assignment; ) {
			held = next;
			next = await agent.poll(held);
		}

		// A reader, whose request nobody has come for yet, and a poll that is held.
		const reading = ask(first, "/services/web/logs?stdout=1&follow=1").then((log) => log.text());
		const asked = await agent.poll(held);
		expect(asked.requests?.[0]?.asked.kind).toBe("logs");
		const waiting = agent.poll(held);
		await Bun.sleep(100);
		const ended = Promise.allSettled([reading, waiting]);
		await stop(first);
		expect((await ended).map(({ status }) => status)).toEqual(["rejected", "rejected"]);

		const second = await start();
		expect(await running(second)).toBe(1);
		const again = agentOf(second.url, agent);
		const off2 = new AbortController();
		const news = again.poll(held);
		expect((await createNetwork(second, "later")).status).toBe(201);
		expect((await news).hash).not.toBe(held.hash);
		void obey(again, off2.signal);
		const log = await (await ask(second, "/services/web/logs?stdout=1")).text();
		expect(log).toContain("hello from ");
		off2.abort();
	}, 60_000);

	test("nobody says for themselves who they are", async () => {
		const at = await start();
		const [one, two] = [await joined(at, 4), await joined(at, 5)];
		const [cluster] = await json<{ id: ClusterId }[]>(at, "/api/clusters");
		const saying = (word: object) => ({
			"Skein-Admitted": encodeURIComponent(JSON.stringify(word)),
		});
		const asOwner = saying({ kind: "actor", actor: atSocket, cluster });
		expect((await fetch(`${at.url}/networks`, { headers: asOwner })).status).toBe(401);
		const identity = { node: two.node, cluster: cluster?.id, credential: two.credential };
		const asTwo = saying({ kind: "agent", identity });
		expect((await fetch(`${at.url}/agent/assignment`, { headers: asTwo })).status).toBe(401);
		// What does get to the object is with the worker's word, not with the caller's.
		const asViewer = saying({ kind: "actor", actor: { ...atSocket, role: "viewer" }, cluster });
		const made = await fetch(`${at.url}/networks/create`, {
			method: "POST",
			headers: { ...asViewer, Authorization: `Bearer ${at.token}` },
			body: JSON.stringify({ Name: "own", Driver: "overlay" }),
		});
		expect(made.status).toBe(201);
		const reply = await one.ask("/assignment", { headers: asTwo });
		const { assignment } = (await reply.json()) as AssignmentReply;
		expect(assignment?.self.node).toBe(one.node);
	}, 60_000);

	test("the cron wakes one whose clock was lost, once that is overdue", async () => {
		// A cluster keeps the timeout that it was made with: this one's own, in which no node goes down by itself.
		const own = await startSqld();
		started.push(own);
		const before = await start(own, { SKEIN_NODE_TIMEOUT_MS: "3600000" });
		const { node } = await joined(before, 3);
		const directly = await own.open();
		const stateOf = async () => {
			const [found] = await directly.read([
				{ sql: "select decided from node where id = ?", args: [node] },
			]);
			const { status } = JSON.parse(String(found?.rows[0]?.["decided"])) as Node;
			return status.state;
		};
		/** As if the node had been silent, and nobody had come to see it. */
		const overdueBy = async (ms: number) => {
			const atMs = Date.now() - ms;
			const [clusters] = await directly.read([{ sql: "select id from cluster", args: [] }]);
			for (const { id } of (clusters?.rows ?? []) as unknown as { id: ClusterId }[]) {
				await endLeases(directly, id, new Map([[node, atMs]]));
			}
			await directly.write([
				{ sql: "update cluster set listening_since_ms = 1, wake_at_ms = ?", args: [atMs] },
			]);
		};
		while ((await stateOf()) !== "ready") await Bun.sleep(50);
		// The object is gone, and its clock with it: while it is there, it may be planning just now, and see for itself.
		await stop(before);
		const at = await start(own);
		await overdueBy(10_000);
		await at.cron();
		expect(await stateOf()).toBe("ready");
		await overdueBy(31_000);
		await at.cron();
		expect(await stateOf()).toBe("down");
		directly.close();
	}, 60_000);
});
