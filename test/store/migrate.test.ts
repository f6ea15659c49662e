// Migrations: those in the bundle are those in the journal, and what an older version left is there in this one.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDatabase } from "../../control-plane/store/client.ts";
import { openDirectory } from "../../control-plane/store/directory.ts";
import { migrate, migrations } from "../../control-plane/store/migrate.ts";
import journal from "../../migrations/meta/_journal.json" with { type: "json" };
import type { ClusterId, NodeId } from "../../model/id.ts";
import { agentOf, askToJoin, describeMachine } from "../app/agent.ts";
import { type BunProcess, startBun } from "../runtimes.ts";
import { startFile } from "./databases.ts";
import oneCluster from "./one-cluster.sql" with { type: "text" };

test("the bundle has every migration, in the journal's order", () => {
	expect(migrations.map(([name]) => name)).toEqual(journal.entries.map(({ tag }) => tag));
});

test("migrating twice changes nothing, and so does migrating at once", async () => {
	const at = await startFile();
	const database = await at.open();
	await Promise.all([migrate(database), migrate(database)]);
	const [applied] = await database.read([{ sql: "select name from migration", args: [] }]);
	expect(applied?.rows.length).toBe(migrations.length);
	database.close();
	await at.stop();
});

describe("a database of the time when an account had one cluster", () => {
	const cluster = "xq5e7su1agfzetzyp2xk7zez6" as ClusterId;
	const node = "izq6dmihkypq0yqcj181qyf44" as NodeId;
	const credential = `SKEIN-NODE.${node}.e3ea98193cc7e335b2fe2ea8d3fb03f273072c286de0bf6d4ebaf0c2e4a9e090`;
	const joinToken =
		"SWMTKN-1-3m3cc3nekgwqdezkdv070tu2zcud58ufk3tynntga2cw09f76b-eq6wzv5ujm6qtudjj1o6eivqv";
	const owner = `skein-${"5".repeat(64)}`;
	let data: string;
	let at: BunProcess;

	async function old(path: string) {
		const database = await openDatabase({ url: `file:${path}` });
		const statements = oneCluster.replace(/^--.*\n/gm, (line) =>
			line.startsWith("--> ") ? line : "",
		);
		await database.write(
			statements.split("--> statement-breakpoint").map((sql) => ({ sql, args: [] })),
		);
		return database;
	}

	beforeAll(async () => {
		data = await mkdtemp(join(tmpdir(), "skein-old-"));
		(await old(join(data, "skein.db"))).close();
		await Bun.write(join(data, "token"), `${owner}\n`);
		at = await startBun({ data, env: { SKEIN_KEY: "a key for tests" } });
	}, 30_000);
	afterAll(async () => {
		await at.stop();
		await rm(data, { recursive: true, force: true });
	});

	const json = async <Body>(path: string) => {
		const reply = await fetch(`${at.url}${path}`, {
			headers: { Authorization: `Bearer ${owner}` },
		});
		expect(reply.status).toBe(200);
		return (await reply.json()) as Body;
	};

	test("has its cluster, named default, for the token that it had", async () => {
		expect(await json<object[]>("/api/clusters")).toEqual([
			{ id: cluster, name: "default", organization: "owner", endpoint: `${at.url}/c/default` },
		]);
		expect((await json<{ ID: string }>("/c/default/swarm")).ID).toBe(cluster);
	});

	test("has its services, tasks, secrets and join tokens", async () => {
		expect(await json<object[]>("/services")).toEqual([
			expect.objectContaining({ Spec: expect.objectContaining({ Name: "web" }) }),
		]);
		expect((await json<object[]>("/tasks")).length).toBe(2);
		expect((await json<object[]>("/secrets")).length).toBe(1);
		const { JoinTokens } = await json<{ JoinTokens: { Worker: string } }>("/swarm");
		expect(JoinTokens.Worker).toBe(joinToken);
	});

	test("knows its agent, gives it its secret, and lets others join", async () => {
		const agent = agentOf(at.url, { node, credential });
		const { assignment } = await agent.poll();
		expect(assignment?.tasks.length).toBe(2);
		const names = assignment?.tasks[0]?.template.container.files ?? [];
		const reply = await agent.ask("/contents", { method: "POST", body: JSON.stringify({ names }) });
		const { contents } = (await reply.json()) as { contents: { data: string }[] };
		expect(contents.map((each) => atob(each.data))).toEqual(["hunter2"]);
		const joined = await askToJoin(at.url, joinToken, describeMachine(2, { routes: [] }));
		expect(joined.status).toBe(200);
	});

	test("remembers that it had one, once that is erased, and that others were before", async () => {
		const file = await startFile();
		const database = await old(file.url.slice("file:".length));
		const sql = "insert into join_token values ('hash', 'an-older-one', 'worker', 1)";
		await database.write([{ sql, args: [] }]);
		await migrate(database);
		const directory = openDirectory(database);
		expect(await directory.everHadCluster("owner")).toBe(true);
		expect((await directory.placementOf("an-older-one" as ClusterId))?.state).toBe("erased");
		database.close();
		await file.stop();
	});
});
