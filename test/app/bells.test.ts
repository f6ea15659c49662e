// At the edge agents do not hold the line: they keep a bell open. It rings for their news only; while there is none,
// nobody asks the database anything; a bell that is closed, or falls silent, is a node that goes down.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openDispatcher } from "../../edge-agent/dispatcher.ts";
import { type Runtime, startWorkerOver } from "../runtimes.ts";
import { hasSqld, startSqld, type TestServer } from "../store/databases.ts";
import { describeMachine, joinAgent, type TestAgent } from "./agent.ts";

/** Short, so that a few of them pass within a test; long enough for a busy machine. */
const nodeTimeoutMs = 5_000;

/** The runtime takes an idle object out of memory after ten seconds. */
const hibernatedMs = 13_500;

describe.skipIf(!hasSqld)("bells", () => {
	let database: TestServer;
	let counted: ReturnType<typeof countRequests>;
	let at: Runtime;
	beforeAll(async () => {
		database = await startSqld();
		counted = countRequests(database.url);
		at = await startWorkerOver({ url: counted.url }, async () => undefined, {
			SKEIN_NODE_TIMEOUT_MS: String(nodeTimeoutMs),
		});
	}, 30_000);
	afterAll(async () => {
		await at.stop();
		await counted.stop();
		await database.stop();
	}, 15_000);

	const ask = (path: string, init: RequestInit = {}) =>
		fetch(`${at.url}${path}`, {
			...init,
			headers: { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" },
		});
	const joined = async (n: number) => {
		const { JoinTokens } = (await (await ask("/swarm")).json()) as {
			JoinTokens: { Worker: string };
		};
		return joinAgent(at.url, JoinTokens.Worker, describeMachine(n));
	};
	const stateOf = async ({ node }: TestAgent) => {
		const { Status } = (await (await ask(`/nodes/${node}`)).json()) as {
			Status: { State: string };
		};
		return Status.State;
	};
	const until = async (so: () => Promise<boolean>) => {
		for (let tries = 0; !(await so()); tries++) {
			if (tries === 400) throw new Error("never so");
			await Bun.sleep(50);
		}
	};
	const createNetwork = async (Name: string) => {
		const body = JSON.stringify({ Name, Driver: "overlay", Attachable: true });
		expect((await ask("/networks/create", { method: "POST", body })).status).toBe(201);
	};
	/** As the agent does: open, then ask at each ring. */
	const openBell = (agent: TestAgent, pingMs = nodeTimeoutMs / 3) => {
		const off = new AbortController();
		let rings = 0;
		const open = Promise.withResolvers<void>();
		const dispatcher = openDispatcher(at.url, agent.credential);
		const rung = () => {
			rings++;
			open.resolve();
		};
		const over = dispatcher.bell(pingMs, rung, off.signal);
		over.catch(open.reject);
		const poll = (held = { revision: 0, hash: "" }) =>
			dispatcher.poll({ ...held, atOnce: true }, off.signal);
		return { poll, rings: () => rings, opened: open.promise, close: () => off.abort(), over };
	};
	/** What it is told once nothing is under way any more. */
	const settled = async (bell: ReturnType<typeof openBell>) => {
		let held = await bell.poll();
		for (let quiet = 0; quiet < 5; quiet++) {
			await Bun.sleep(100);
			const next = await bell.poll(held);
			if (next.assignment) quiet = 0;
			held = next;
		}
		return held;
	};

	test("are offered with each answer, and opened by whoever has a node's credential", async () => {
		const agent = await joined(1);
		expect((await agent.poll()).bell).toEqual({ pingMs: nodeTimeoutMs / 3, pollMs: 3_600_000 });
		expect((await agent.ask("/bell")).status).toBe(426);
		expect((await fetch(`${at.url}/agent/bell`)).status).toBe(401);
		const forged = openDispatcher(at.url, `${agent.credential.slice(0, -4)}0000`);
		expect(forged.bell(1_000, () => undefined, new AbortController().signal)).rejects.toThrow(
			"cannot be opened",
		);
		expect((await ask(`/nodes/${agent.node}?force=1`, { method: "DELETE" })).status).toBe(200);
	});

	test("ring for news, and nobody asks anything while there is none", async () => {
		const agent = await joined(2);
		const bell = openBell(agent);
		await bell.opened;
		const held = await settled(bell);
		// The lease that it joined with ends, and a plan is made of that.
		await Bun.sleep(1.5 * nodeTimeoutMs);
		const lives = counted.lives();
		const before = { rings: bell.rings(), requests: counted.requests() };
		await Bun.sleep(hibernatedMs);
		expect({ rings: bell.rings(), requests: counted.requests() }).toEqual(before);
		await createNetwork("one");
		await until(async () => bell.rings() > before.rings);
		const news = await bell.poll(held);
		expect(news.assignment?.networks.map(({ name }) => name)).toContain("one");
		expect(await stateOf(agent)).toBe("ready");
		// The bell was kept while the object was not.
		expect(counted.lives()).toBe(lives + 1);
		bell.close();
		await until(async () => (await stateOf(agent)) === "down");
	}, 60_000);

	test("a bell that nobody pings is a node that is not there", async () => {
		const agent = await joined(3);
		const bell = openBell(agent, 3_600_000);
		await bell.opened;
		await until(async () => (await stateOf(agent)) === "ready");
		await until(async () => (await stateOf(agent)) === "down");
		await bell.over;
		const again = openBell(agent);
		await again.opened;
		await until(async () => (await stateOf(agent)) === "ready");
		again.close();
	}, 60_000);

	test("a removed node is rung, to hear that it was", async () => {
		const agent = await joined(4);
		const bell = openBell(agent);
		await bell.opened;
		const held = await settled(bell);
		const before = bell.rings();
		expect((await ask(`/nodes/${agent.node}?force=1`, { method: "DELETE" })).status).toBe(200);
		await until(async () => bell.rings() > before);
		expect(bell.poll(held)).rejects.toThrow("was removed");
		bell.close();
	}, 60_000);
});

/** Passes everything on to a database, and counts it. A life of an object begins with a look at the migrations. */
function countRequests(url: string) {
	let requests = 0;
	let lives = 0;
	const server = Bun.serve({
		port: 0,
		hostname: "127.0.0.1",
		async fetch(request) {
			requests++;
			const body = await request.text();
			if (body.includes("select name from migration")) lives++;
			const reply = await fetch(`${url}${new URL(request.url).pathname}`, {
				method: request.method,
				headers: { "Content-Type": "application/json" },
				...(request.method === "POST" && { body }),
			});
			return new Response(await reply.arrayBuffer(), { status: reply.status });
		},
	});
	return {
		url: `http://127.0.0.1:${server.port}`,
		requests: () => requests,
		lives: () => lives,
		stop: () => server.stop(true),
	};
}
