// A cluster moved between databases at the edge, where the worker that moves it and the object that plans it are two:
// nothing of it stays behind, and nobody who works with it meanwhile is told anything wrong.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { hasRows } from "../../control-plane/store/copy.ts";
import type { ClusterId } from "../../model/id.ts";
import { type Runtime, startWorkerOver } from "../runtimes.ts";
import { hasSqld, startSqld, type TestServer } from "../store/databases.ts";
import { describeMachine, joinAgent, obey } from "./agent.ts";

describe.skipIf(!hasSqld)("at the edge", () => {
	let main: TestServer;
	let eu1: TestServer;
	let at: Runtime;
	const off = new AbortController();
	beforeAll(async () => {
		[main, eu1] = [await startSqld(), await startSqld()];
		at = await startWorkerOver(main, undefined, { SKEIN_SHARDS: `eu1=${eu1.url}` });
	}, 60_000);
	afterAll(async () => {
		off.abort();
		await at?.stop();
		for (const each of [main, eu1]) await each?.stop();
	}, 60_000);

	async function ask<Json>(method: string, path: string, body?: unknown) {
		const reply = await fetch(`${at.url}${path}`, {
			method,
			headers: { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" },
			...(body !== undefined && { body: JSON.stringify(body) }),
		});
		return { status: reply.status, json: (await reply.json()) as Json };
	}
	interface Place {
		readonly id: ClusterId;
		readonly shard: string;
		readonly state: string;
	}
	const place = async () => (await ask<Place>("GET", "/api/clusters/default/shard")).json;
	const running = async () =>
		(await ask<{ Status: { State: string } }[]>("GET", "/tasks")).json.filter(
			({ Status }) => Status.State === "running",
		).length;
	const lies = async (on: TestServer, id: ClusterId) => {
		const database = await on.open();
		try {
			return await hasRows(database, id);
		} finally {
			database.close();
		}
	};

	test("a cluster that works is moved there and back, and loses nothing that was said meanwhile", async () => {
		const swarm = await ask<{ JoinTokens: { Worker: string } }>("GET", "/swarm");
		const agent = await joinAgent(at.url, swarm.json.JoinTokens.Worker, describeMachine(1));
		void obey(agent, off.signal);
		const web = (replicas: number) => ({
			Name: "web",
			Mode: { Replicated: { Replicas: replicas } },
			TaskTemplate: { ContainerSpec: { Image: `nginx@sha256:${"a".repeat(64)}` } },
		});
		expect((await ask("POST", "/services/create", web(1))).status).toBe(201);
		const { id, shard: home } = await place();
		const there = home === "main" ? "eu1" : "main";
		const databases = { main, eu1 } as Record<string, TestServer>;

		const made: string[] = [];
		for (const shard of [there, home, there]) {
			let isMoving = true;
			const talking = (async () => {
				for (let n = 0; isMoving || n === 0; n++) {
					const Name = `${shard}${made.length}`;
					const { status } = await ask("POST", "/networks/create", { Name, Driver: "overlay" });
					// What could not be decided while it moved says so, and is asked for again.
					expect([201, 503]).toContain(status);
					if (status === 201) made.push(Name);
				}
			})();
			const moved = await ask<Place>("POST", "/api/clusters/default/shard", { shard });
			isMoving = false;
			await talking;
			expect([moved.status, moved.json.shard]).toEqual([200, shard]);
			expect(await place()).toMatchObject({ shard, state: "active" });
			const rest = shard === there ? home : there;
			expect([
				await lies(databases[shard] as TestServer, id),
				await lies(databases[rest] as TestServer, id),
			]).toEqual([true, false]);
		}

		const { json } = await ask<{ Name: string }[]>("GET", "/networks");
		expect(json.map(({ Name }) => Name)).toEqual(expect.arrayContaining(made));
		// The agent, which polled all the while, hears what is decided now.
		const found = await ask<{ Version: { Index: number } }>("GET", "/services/web");
		const update = `/services/web/update?version=${found.json.Version.Index}`;
		expect((await ask("POST", update, web(3))).status).toBe(200);
		while ((await running()) < 3) await Bun.sleep(100);
	}, 60_000);
});
