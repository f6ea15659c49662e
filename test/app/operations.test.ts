// What those who run a control plane see: alive, ready, the log, the metrics.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Entry, jsonLog, plainLog, redacted } from "../../control-plane/operations/log.ts";
import { Metrics } from "../../control-plane/operations/metrics.ts";
import { readinessOf } from "../../control-plane/operations/readiness.ts";
import type { Database } from "../../control-plane/store/client.ts";
import { openShards } from "../../control-plane/store/shards.ts";
import { startFile } from "../store/databases.ts";
import { describeMachine } from "./agent.ts";
import { type Here, startHere } from "./here.ts";

let here: Here;
let broken = false;
beforeAll(async () => {
	here = await startHere((database) => ({
		...database,
		read: (statements) =>
			broken ? Promise.reject(new Error("disk gone")) : database.read(statements),
	}));
});
afterAll(() => here.stop());

const nobody = { headers: { Authorization: "" } };
const scraper = { headers: { Authorization: "Bearer a-scraper" } };

test("health and readiness need no token; health asks the database nothing", async () => {
	const before = here.metrics.value("batches", { kind: "read" });
	const health = await here.ask("/api/health", nobody);
	expect([health.status, await health.json()]).toEqual([200, { status: "ok", version: "0.0.0" }]);
	expect(here.metrics.value("batches", { kind: "read" })).toBe(before);

	const many = await Promise.all(Array.from({ length: 20 }, () => here.ask("/api/ready", nobody)));
	expect(many.map(({ status }) => status)).toEqual(Array(20).fill(200));
	expect(await many[0]?.json()).toEqual({
		status: "ok",
		checks: { database: "ok", migrations: "ok", shards: "ok", planner: "ok" },
	});
	expect(here.metrics.value("batches", { kind: "read" })).toBe(before + 1);
});

test("not ready: the database is away, a migration is missing, the planner is stuck; in words", async () => {
	const file = await startFile();
	const database = await file.open();
	let nowMs = 1_000_000;
	const hosts = [{ waitingSinceMs: () => nowMs - 40_000 }, { waitingSinceMs: () => null }];
	const hosted = { open: async () => hosts as never };
	const away: Database = { ...database, read: () => Promise.reject(new Error("gone")) };
	const checks = async (of: Database) => {
		nowMs += 2_000;
		return (await readinessOf(of, openShards(of, []), hosted, () => nowMs)()).checks;
	};
	expect(await checks(away)).toMatchObject({ database: "does not answer", migrations: "unknown" });
	expect(await checks(database)).toEqual({
		database: "ok",
		migrations: "ok",
		shards: "ok",
		planner: "stuck for 40 s: see the log",
	});
	await database.write([{ sql: "delete from migration where name like '0002%'", args: [] }]);
	expect((await checks(database)).migrations).toBe("not applied: 0002_secrets");
	// Another tenant's is planned: this one's trouble takes nobody else's control plane away.
	hosts.push({ waitingSinceMs: () => nowMs });
	expect((await checks(database)).planner).toBe("ok");
	database.close();
	await file.stop();
});

test("a shard that is away is named; not ready is who has none left to put clusters on", async () => {
	const file = await startFile();
	const directory = await file.open();
	let nowMs = 1_000_000;
	const ready = async (shards: readonly string[]) => {
		nowMs += 2_000;
		const open = (name: string): Promise<Database> =>
			name === "main" ? Promise.resolve(directory) : Promise.reject(new Error(`${name}: token`));
		const all = { names: shards, all: ["main", ...shards], open };
		return readinessOf(directory, all, { open: async () => [] }, () => nowMs)();
	};
	const checks = { database: "ok", migrations: "ok", shards: "eu1 does not answer", planner: "ok" };
	expect(await ready(["eu1", "main"])).toEqual({ ready: true, checks });
	expect(await ready(["eu1"])).toEqual({ ready: false, checks });
	directory.close();
	await file.stop();
});

test("metrics take a token of their own, and are Prometheus' text to the letter", async () => {
	expect((await here.ask("/metrics", nobody)).status).toBe(401);
	expect((await here.ask("/metrics", { headers: { Authorization: "Bearer no" } })).status).toBe(
		401,
	);
	await here.ask("/services/no-such-service");
	await here.ask("/v1.41/services");
	await here.ask(`/nowhere/${"x".repeat(40)}`);
	await here.ask("/networks/create", {
		method: "POST",
		body: JSON.stringify({ Name: "net", Driver: "overlay" }),
	});
	const reply = await here.ask("/metrics", scraper);
	expect(reply.headers.get("Content-Type")).toStartWith("text/plain; version=0.0.4");
	const families = parse(await reply.text());
	const value = (name: string, labels: Record<string, string>) =>
		families
			.get(name.replace(/_(bucket|sum|count)$/, ""))
			?.samples.find((each) => each.name === name && Bun.deepEquals(each.labels, labels))?.value;
	expect(
		value("skein_http_requests_total", { method: "GET", route: "/services/:id", status: "404" }),
	).toBe(1);
	expect(
		value("skein_http_requests_total", { method: "GET", route: "/services", status: "200" }),
	).toBe(1);
	expect(value("skein_http_requests_total", { method: "GET", route: "none", status: "404" })).toBe(
		1,
	);
	expect(value("skein_http_request_duration_seconds_count", { route: "/services" })).toBe(1);
	expect(value("skein_commits_total", {})).toBeGreaterThan(0);
	expect(value("skein_plan_seconds_count", {})).toBeGreaterThan(0);
	expect(value("skein_database_statements_total", { kind: "write" })).toBeGreaterThan(0);
	expect(value("skein_database_rows_total", { kind: "read" })).toBeGreaterThan(0);
	expect(value("skein_clusters", {})).toBe(1);
});

test("clusters' keyrings are counted by master key, and are left out while the database is away", async () => {
	const keyrings = async () =>
		parse(await (await here.ask("/metrics", scraper)).text()).get("skein_keyrings")?.samples ?? [];
	const { current } = (await (await here.ask("/api/keys")).json()) as { current: string };
	expect(await keyrings()).toEqual([
		{ name: "skein_keyrings", labels: { key: current, state: "current" }, value: 1 },
	]);
	const wrappedUnder = (master: string) =>
		here.database.write([{ sql: "update keyring set master = ?", args: [master] }]);
	await wrappedUnder("lost");
	expect(await keyrings()).toEqual([
		{ name: "skein_keyrings", labels: { key: current, state: "current" }, value: 0 },
		{ name: "skein_keyrings", labels: { key: "lost", state: "missing" }, value: 1 },
	]);
	await wrappedUnder(current);
	broken = true;
	expect(await keyrings()).toEqual([]);
	expect((await here.ask("/metrics", scraper)).status).toBe(200);
	broken = false;
});

test("nodes and held polls are counted while they are there", async () => {
	const swarm = (await (await here.ask("/swarm")).json()) as { JoinTokens: { Worker: string } };
	const joined = await here.ask("/agent/join", {
		method: "POST",
		body: JSON.stringify({ token: swarm.JoinTokens.Worker, description: describeMachine(1) }),
	});
	const { credential } = (await joined.json()) as { credential: string };
	const headers = { Authorization: `Bearer ${credential}` };
	const first = (await (
		await here.ask("/agent/assignment?revision=0&hash=", { headers })
	).json()) as {
		revision: number;
		hash: string;
	};
	const path = `/agent/assignment?revision=${first.revision}&hash=${first.hash}`;
	const held = here.ask(path, { headers });
	await Bun.sleep(20);
	expect(here.metrics.value("heldPolls")).toBe(1);
	await held;
	expect(here.metrics.value("heldPolls")).toBe(0);
	const text = await (await here.ask("/metrics", scraper)).text();
	expect(text).toContain('skein_nodes{state="ready"} 1');
	const polls = here.logged.filter(({ request }) => request?.route === "/agent/assignment");
	expect(polls.at(-1)?.request).toMatchObject({
		method: "GET",
		status: 200,
		actor: expect.stringMatching(/^node [0-9a-z]{25}$/),
		cluster: expect.stringMatching(/^[0-9a-z]{25}$/),
	});
});

test("labels are escaped, and a histogram's buckets add up", () => {
	const metrics = new Metrics();
	metrics.add("requests", { route: 'a"b\\c\nd' });
	for (const seconds of [0.0005, 0.03, 3, 60]) metrics.observe("planTime", {}, seconds);
	const families = parse(metrics.text());
	expect(families.get("skein_http_requests_total")?.samples[0]?.labels).toEqual({
		route: 'a"b\\c\nd',
	});
	const samples = families.get("skein_plan_seconds")?.samples ?? [];
	expect(samples.map(({ labels, value }) => [labels["le"], value])).toEqual([
		["0.001", 1],
		["0.005", 1],
		["0.025", 1],
		["0.1", 2],
		["0.5", 2],
		["2.5", 2],
		["10", 3],
		["+Inf", 4],
		[undefined, 63.0305],
		[undefined, 4],
	]);
});

test("a fault is logged with its request, its stack and its cause, and the caller gets the request's id", async () => {
	broken = true;
	here.logged.length = 0;
	const reply = await here.ask("/info", { headers: { "X-Request-Id": "mine-1" } });
	broken = false;
	expect(reply.status).toBe(500);
	expect(reply.headers.get("X-Request-Id")).toBe("mine-1");
	const [entry] = here.logged;
	if (!entry) throw new Error("nothing was logged");
	expect(entry.request).toMatchObject({ id: "mine-1", method: "GET", status: 500 });
	const lines: string[] = [];
	jsonLog(
		(line) => lines.push(line),
		() => 0,
	)(entry);
	plainLog((line) => lines.push(line))(entry);
	const [json = "", plain = ""] = lines;
	const parsed = JSON.parse(json) as Record<string, unknown>;
	expect(parsed).toMatchObject({ time: "1970-01-01T00:00:00.000Z", level: "error", id: "mine-1" });
	expect(JSON.stringify(parsed["error"])).toContain("disk gone");
	expect(plain).toContain("(request mine-1)");
	expect(plain).toContain("disk gone");
});

test("what went well is a line for machines and none for people", async () => {
	here.logged.length = 0;
	await here.ask("/_ping");
	const [entry] = here.logged as [Entry];
	const lines: string[] = [];
	plainLog((line) => lines.push(line))(entry);
	expect(lines).toEqual([]);
	jsonLog(
		(line) => lines.push(line),
		() => 0,
	)(entry);
	expect(JSON.parse(lines[0] ?? "")).toMatchObject({
		message: "request",
		route: "/_ping",
		status: 200,
	});
	expect(lines[0]).not.toContain("\n");
});

test("no secret comes into the log: not from a header, a query, a path, a body or an error's words", async () => {
	here.logged.length = 0;
	const hidden = "hunter2-hunter2-hunter2-hunter2";
	const credential = `SKEIN-NODE.${"n".repeat(25)}.${"ab".repeat(32)}`;
	const join = `SWMTKN-1-${"a".repeat(50)}-${"b".repeat(25)}`;
	const secret = { Name: "s", Labels: {}, Data: btoa(hidden) };
	const tries: [string, RequestInit][] = [
		["/secrets/create", { method: "POST", body: JSON.stringify(secret) }],
		["/auth", { method: "POST", body: JSON.stringify({ username: "u", password: hidden }) }],
		[`/services/${hidden}?token=${hidden}`, { headers: { "X-Registry-Auth": btoa(hidden) } }],
		["/agent/report", { method: "POST", headers: { Authorization: `Bearer ${credential}` } }],
		["/agent/join", { method: "POST", body: JSON.stringify({ token: join, description: {} }) }],
		["/info", { headers: { Authorization: `Bearer ${hidden}` } }],
		["/info", { headers: { "X-Request-Id": `${here.token} and more` } }],
	];
	for (const [path, init] of tries) await here.ask(path, init);
	broken = true;
	await here.ask(`/nodes?token=${here.token}`);
	broken = false;
	const cause = new Error(
		`fetch https://u:${hidden}@db/?authToken=${hidden} with Bearer ${here.token}`,
	);
	here.logged.push({ level: "error", message: `${credential} ${join}`, cause });
	const lines: string[] = [];
	for (const entry of here.logged) {
		jsonLog(
			(line) => lines.push(line),
			() => 0,
		)(entry);
		plainLog((line) => lines.push(line))(entry);
	}
	expect(lines.length).toBeGreaterThan(tries.length);
	const all = lines.join("\n");
	for (const each of [hidden, btoa(hidden), here.token, credential, join, "ab".repeat(32)]) {
		expect(all).not.toContain(each);
	}
	expect(redacted(`node ${credential}`)).toBe(`node SKEIN-NODE.${"n".repeat(25)}.…`);
});

interface Sample {
	readonly name: string;
	readonly labels: Record<string, string>;
	readonly value: number;
}

/** Prometheus' text format 0.0.4, strictly: every sample in one block behind its family's HELP and TYPE. */
function parse(text: string): Map<string, { type: string; samples: Sample[] }> {
	expect(text).toEndWith("\n");
	const families = new Map<string, { type: string; samples: Sample[] }>();
	let current = "";
	for (const line of text.slice(0, -1).split("\n")) {
		const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) \S.*$/.exec(line);
		const type = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$/.exec(line);
		if (help) {
			current = help[1] ?? "";
			expect(families.has(current)).toBe(false);
			continue;
		}
		if (type) {
			expect(type[1]).toBe(current);
			families.set(current, { type: type[2] ?? "", samples: [] });
			continue;
		}
		const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$/.exec(
			line,
		);
		if (!sample) throw new Error(`no sample: ${line}`);
		const [, name = "", labelText = "", value] = sample;
		const family = families.get(current);
		const suffixes = family?.type === "histogram" ? ["_bucket", "_sum", "_count"] : [""];
		expect(suffixes.map((suffix) => `${current}${suffix}`)).toContain(name);
		const labels: Record<string, string> = {};
		const rest = labelText.replaceAll(
			/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/g,
			(_, label: string, escaped: string) => {
				labels[label] = JSON.parse(`"${escaped}"`) as string;
				return "";
			},
		);
		expect(rest).toBe("");
		family?.samples.push({ name, labels, value: Number(value) });
	}
	return families;
}
