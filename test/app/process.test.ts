// The control plane as a process: killed at any moment, ended by hand, started twice, run beside another one.

import { afterEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BunProcess, startBun } from "../runtimes.ts";
import { hasSqld, startSqld } from "../store/databases.ts";
import { agentOf, describeMachine, joinAgent } from "./agent.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function newFolder(): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), "skein-process-"));
	cleanups.push(() => rm(folder, { recursive: true, force: true }));
	return folder;
}

async function start(options: Parameters<typeof startBun>[0]): Promise<BunProcess> {
	const started = await startBun(options);
	cleanups.push(async () => {
		started.process.kill("SIGKILL");
		await started.process.exited;
		if (!options.data) await rm(started.data, { recursive: true, force: true });
	});
	return started;
}

const ask = (at: BunProcess, path: string, init: RequestInit = {}) =>
	fetch(`${at.url}${path}`, {
		...init,
		headers: { Authorization: `Bearer ${at.token}`, ...init.headers },
	});

const createNetwork = (at: BunProcess, name: string) =>
	ask(at, "/networks/create", {
		method: "POST",
		headers: { "Content-Type": "application/json" },
		body: JSON.stringify({ Name: name, Driver: "overlay", Attachable: true }),
	});

const networkNames = async (at: BunProcess) =>
	((await (await ask(at, "/networks")).json()) as { Name: string }[]).map(({ Name }) => Name);

const workerToken = async (at: BunProcess) =>
	((await (await ask(at, "/swarm")).json()) as { JoinTokens: { Worker: string } }).JoinTokens
		.Worker;

test("killed in the middle of commits, again and again, it starts again and has all that it confirmed", async () => {
	const data = await newFolder();
	const confirmed: string[] = [];
	let token = "";
	let credential: Awaited<ReturnType<typeof joinAgent>> | undefined;
	for (let life = 0; life < 3; life++) {
		const at = await start({ data });
		if (life === 0) {
			token = await workerToken(at);
			credential = await joinAgent(at.url, token, describeMachine(1));
		}
		expect(await workerToken(at)).toBe(token);
		// Four at a time, until the kill breaks them all off.
		const writers = Array.from({ length: 4 }, async (_, writer) => {
			for (let n = 0; ; n++) {
				const name = `net-${life}-${writer}-${n}`;
				const reply = await createNetwork(at, name).catch(() => undefined);
				if (reply?.status !== 201) return;
				confirmed.push(name);
			}
		});
		const enough = confirmed.length + 20;
		while (confirmed.length < enough) await Bun.sleep(1);
		at.process.kill("SIGKILL");
		await Promise.all([...writers, at.process.exited]);
	}
	const at = await start({ data });
	expect(await networkNames(at)).toEqual(expect.arrayContaining(confirmed));
	if (!credential) throw new Error("no agent joined");
	const reply = await agentOf(at.url, credential).poll();
	expect(reply.assignment?.networks.length).toBeGreaterThanOrEqual(confirmed.length);
}, 60_000);

test("ended by hand it leaves no socket, and agents that wait are not told that they were removed", async () => {
	const at = await start({ data: await newFolder() });
	expect((await stat(at.socket)).mode & 0o777).toBe(0o660);
	expect((await stat(join(at.data, "token"))).mode & 0o777).toBe(0o600);
	const agent = await joinAgent(at.url, await workerToken(at), describeMachine(1));
	const held = await agent.poll();
	const outcome = agent.poll(held).then(
		() => "answered",
		(error: unknown) => String(error),
	);
	await Bun.sleep(100);
	at.process.kill("SIGTERM");
	expect(await at.process.exited).toBe(0);
	expect(existsSync(at.socket)).toBe(false);
	expect(await outcome).not.toContain("410");
}, 30_000);

test("a second one on the same data, or the same socket, is refused by name", async () => {
	const at = await start({ data: await newFolder() });
	const second = (env: Record<string, string>) =>
		startBun({ data: at.data, env }).then(
			() => "started",
			(error: unknown) => String(error),
		);
	const other = join(await newFolder(), "other.sock");
	expect(await second({ SKEIN_SOCKET: other })).toContain(join(at.data, "skein.db"));
	expect(await second({})).toContain(at.socket);
	expect((await ask(at, "/info")).status).toBe(200);
}, 30_000);

test("the socket needs no token; there the cluster is erased, its agents told, and another one made", async () => {
	const at = await start({ data: await newFolder() });
	const local = (path: string, init: RequestInit = {}) =>
		fetch(`http://skein${path}`, { ...init, unix: at.socket });
	const agent = await joinAgent(at.url, await workerToken(at), describeMachine(1));
	const erased = await local("/swarm/leave?force=1", { method: "POST" });
	expect(erased.status).toBe(200);
	const told = await agent.report({});
	expect(told.status).toBe(410);
	expect(await told.text()).toContain("erased");
	expect((await local("/nodes")).status).toBe(503);
	const made = await local("/swarm/init", {
		method: "POST",
		headers: { "Content-Type": "application/json" },
		body: JSON.stringify({ ListenAddr: "0.0.0.0:2377", AdvertiseAddr: "10.46.181.146" }),
	});
	expect(made.status).toBe(200);
	expect((await local("/nodes")).status).toBe(200);
	// The old cluster's agent stays out of the new one.
	expect((await agent.report({})).status).toBe(410);
	const fresh = await joinAgent(at.url, await workerToken(at), describeMachine(1));
	expect((await fresh.report({})).status).toBe(200);
}, 30_000);

test("an erased cluster stays erased when the process starts again", async () => {
	const data = await newFolder();
	const first = await start({ data });
	await fetch("http://skein/swarm/leave?force=1", { method: "POST", unix: first.socket });
	await first.stop();
	const second = await start({ data });
	expect((await ask(second, "/nodes")).status).toBe(503);
}, 30_000);

test.skipIf(!hasSqld)(
	"two processes on one database server: what one decides, the other's agents hear",
	async () => {
		const database = await startSqld();
		cleanups.push(() => database.stop());
		const env = { SKEIN_DATABASE_URL: database.url, SKEIN_KEY: "one key for both" };
		const one = await start({ env });
		const two = await start({ env });
		expect(await workerToken(two)).toBe(await workerToken(one));
		const agent = await joinAgent(two.url, await workerToken(one), describeMachine(1));
		// Known to the one although it joined by the other.
		expect((await agentOf(one.url, agent).report({})).status).toBe(200);
		let held = await agent.poll();
		for (;;) {
			const next = await agent.poll(held);
			held = { ...next, assignment: next.assignment ?? held.assignment };
			if (!next.assignment) break;
		}
		const waiting = agent.poll(held);
		expect((await createNetwork(one, "from-one")).status).toBe(201);
		let news = await waiting;
		if (!news.assignment) news = await agent.poll(held);
		expect(news.assignment?.networks.length).toBe((held.assignment?.networks.length ?? 0) + 1);
		const made = await Promise.all(
			Array.from({ length: 20 }, (_, n) => createNetwork(n % 2 ? one : two, `both-${n}`)),
		);
		expect(made.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 201));
		expect((await networkNames(one)).sort()).toEqual((await networkNames(two)).sort());
	},
	60_000,
);

test.skipIf(!hasSqld)(
	"two releases on one database server: every agent goes to the newer one's program, whichever it asks, and stays",
	async () => {
		const database = await startSqld();
		cleanups.push(() => database.stop());
		const folder = await newFolder();
		const release = async (version: string, data?: string) => {
			const file = join(folder, `${version}.js`);
			await Bun.write(file, `console.log("${version}");\n`);
			const env = {
				SKEIN_DATABASE_URL: database.url,
				SKEIN_KEY: "one key for both",
				SKEIN_AGENT_FILE: file,
				SKEIN_AGENT_SOAK_MS: "300",
			};
			return start({ env, ...(data !== undefined && { data }) });
		};
		const oldData = await newFolder();
		let old = await release("0.1.0", oldData);
		const program = async (at: BunProcess) => {
			const reply = await fetch(`${at.url}/install/agent.js`);
			return new Bun.CryptoHasher("sha256").update(await reply.bytes()).digest("hex");
		};
		const first = await program(old);
		const token = await workerToken(old);
		const nodes = await Promise.all(
			[1, 2, 3].map(async (n) => {
				const description = describeMachine(n, { agentProgram: { sha256: first } });
				const agent = await joinAgent(old.url, token, description);
				return { agent, description, runs: first, went: [] as string[] };
			}),
		);
		const newer = await release("0.2.0");
		const next = await program(newer);

		/** As the real one does, whose requests come to either: loads what it is told to, and goes there if it is that. */
		const turn = async (node: (typeof nodes)[number], at: BunProcess) => {
			const agent = agentOf(at.url, node.agent);
			const told = (await agent.poll()).assignment?.agent?.sha256;
			if (told && told !== node.runs && (await program(at)) === told) {
				node.runs = told;
				node.went.push(told);
			}
			const agentProgram = { sha256: node.runs };
			await agent.report({ description: { ...node.description, agentProgram } });
		};
		const everybody = async () => {
			for (const at of [old, newer]) await Promise.all(nodes.map((node) => turn(node, at)));
		};
		while (nodes.some(({ runs }) => runs !== next)) await everybody();
		old.process.kill("SIGTERM");
		await old.process.exited;
		old = await release("0.1.0", oldData);
		for (let times = 0; times < 3; times++) await everybody();
		expect(nodes.map(({ went }) => went)).toEqual([[next], [next], [next]]);
	},
	60_000,
);

test.skipIf(!hasSqld)(
	"a database that is away for a while is waited for, in words, and nothing is lost",
	async () => {
		const database = await startSqld();
		cleanups.push(() => database.stop());
		const at = await start({ env: { SKEIN_DATABASE_URL: database.url } });
		expect((await createNetwork(at, "before")).status).toBe(201);
		const agent = await joinAgent(at.url, await workerToken(at), describeMachine(1));
		await database.kill();
		const refused = await createNetwork(at, "meanwhile");
		expect(refused.status).toBe(503);
		expect(await refused.text()).toContain("the database does not answer");
		expect((await agent.report({})).status).toBe(503);
		await database.restart();
		expect((await createNetwork(at, "after")).status).toBe(201);
		expect((await agent.report({})).status).toBe(200);
		expect(await networkNames(at)).toEqual(expect.arrayContaining(["before", "after"]));
		expect(at.process.exitCode).toBe(null);
	},
	60_000,
);

test("behind a proxy that is trusted, the audit log and limits are about its clients; before it, headers say nothing", async () => {
	const addressesSeen = async (env: Record<string, string>) => {
		const at = await start({ env });
		const forwarded = { "X-Forwarded-For": "198.51.100.1, 203.0.113.9" };
		const made = await ask(at, "/api/tokens", {
			method: "POST",
			headers: forwarded,
			body: JSON.stringify({ name: "ci" }),
		});
		expect(made.status).toBe(201);
		const wrong = { method: "POST", body: JSON.stringify({ email: "a@b.c", password: "wrong" }) };
		const statuses = new Set<number>();
		for (let times = 0; times < 25; times++) {
			const headers = { "X-Forwarded-For": `203.0.113.${times}` };
			statuses.add((await ask(at, "/api/auth/sign-in/email", { ...wrong, headers })).status);
		}
		const { entries } = (await (await ask(at, "/api/audit")).json()) as {
			entries: { action: string; from: { address: string } }[];
		};
		const found = entries.find(({ action }) => action === "POST /api/tokens");
		return { address: found?.from.address, isLimited: statuses.has(429) };
	};
	expect(await addressesSeen({ SKEIN_TRUSTED_PROXY: "127.0.0.0/8" })).toEqual({
		address: "203.0.113.9",
		isLimited: false,
	});
	expect(await addressesSeen({})).toEqual({ address: "127.0.0.1", isLimited: true });
}, 60_000);
