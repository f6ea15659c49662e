// Clusters' keys through their whole life: a database from before there were keyrings, a master key rotated away, one
// that is missing or lost, data keys rotated beside running work.

import { afterEach, describe, expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { importMasterKeys, type MasterKeys } from "../../control-plane/accounts/master.ts";
import { joinTokenForm, sha256 } from "../../control-plane/accounts/tokens.ts";
import { type HostedClusters, hostClusters } from "../../control-plane/clusters.ts";
import { keysStatus, showKeys, sweepKeys } from "../../control-plane/keys.ts";
import { type Database, openDatabase } from "../../control-plane/store/client.ts";
import { openDirectory } from "../../control-plane/store/directory.ts";
import { openKeyrings } from "../../control-plane/store/keyrings.ts";
import { migrate, migrations } from "../../control-plane/store/migrate.ts";
import { openShards } from "../../control-plane/store/shards.ts";
import type { ClusterId } from "../../model/id.ts";
import { contentKey, newestOf } from "../../model/material.ts";
import { hasSqld, startFile, startSqld } from "../store/databases.ts";
import { testPlanner, testWorld } from "../store/planner.ts";
import { sampleMaterial, sampleService } from "../store/sample.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function newDatabase(start: typeof startFile = startFile): Promise<Database> {
	const at = await start();
	const database = await at.open();
	cleanups.push(async () => {
		database.close();
		await at.stop();
	});
	return database;
}

let nowMs = 1_000_000;

/** As one process has it, from its start on. */
function processOver(database: Database, masters: MasterKeys): HostedClusters {
	const hosted = hostClusters({
		directory: openDirectory(database),
		shards: openShards(database, []),
		masters,
		world: { ...testWorld(testPlanner()), nowMs: () => nowMs },
		snapshots: new Map(),
		meshRange: "10.200.0.0/16",
		nodeTimeoutMs: 12_000,
	});
	cleanups.push(() => hosted.close());
	return hosted;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (content: Uint8Array | undefined) => content && new TextDecoder().decode(content);

/** A secret, and a service with a registry's login. */
async function fill(hosted: HostedClusters, id: ClusterId): Promise<void> {
	const host = await hosted.host(id);
	const material = sampleMaterial(1, [1]);
	const name = { material: material.id, version: 1 };
	const content = await host.contents.seal(name, bytes("a secret"));
	const service = sampleService(1);
	const registryAuth = await host.credentials.seal("a login");
	await host.commit(() => ({
		changes: [
			{ kind: "put-material", material },
			{ kind: "put-content", content },
			{
				kind: "put-service",
				service: { ...service, spec: { ...service.spec, registryAuth } },
			},
		],
		result: undefined,
	}));
}

/** All that the cluster's keys are for, in the clear. */
async function readAll(hosted: HostedClusters, id: ClusterId) {
	const host = await hosted.host(id);
	const { cluster, materials, services } = await host.snapshot();
	const names = [...materials.values()].map((each) => ({
		material: each.id,
		version: newestOf(each).number,
	}));
	const contents = await host.contents.read(names);
	const logins = [...services.values()].flatMap(({ spec, previous }) =>
		[spec.registryAuth, previous?.spec.registryAuth].filter((each) => each !== undefined),
	);
	return {
		tokens: await hosted.of("owner").joinTokens(cluster),
		contents: Object.fromEntries(
			[...materials.values()].map((each) => [
				each.name,
				text(contents.get(contentKey({ material: each.id, version: newestOf(each).number }))),
			]),
		),
		logins: await Promise.all(logins.map((each) => host.credentials.open(each))),
	};
}

const sweep = (hosted: HostedClusters) => sweepKeys(hosted, () => undefined, true);
const status = (database: Database, masters: MasterKeys) =>
	keysStatus({ store: openKeyrings(database, (_id, ask) => ask(database)), masters });
const sealedTexts = async (database: Database) => {
	const [contents, services] = await database.read([
		{ sql: "select sealed from content order by material, version", args: [] },
		{ sql: "select decided from service order by id", args: [] },
	]);
	return JSON.stringify([contents?.rows, services?.rows]);
};

describe("a database from before there were keyrings", () => {
	/** Made by the version before, with this SKEIN_KEY; `before-keyrings.sql` has its rows as that version left them. */
	const key = "a key from before";
	const id = "2q58vlbmwrn39gm3wq0nd1s05" as ClusterId;
	const tokens = {
		worker: "SWMTKN-1-62c63g09ozw7w3p0qms6is98fg8k8pdujbqp5l89uzuk8zj38u-f2eap71uqeo59uvljoyg1200o",
		manager:
			"SWMTKN-1-62c63g09ozw7w3p0qms6is98fg8k8pdujbqp5l89uzuk8zj38u-7c2q6ycamqioiji9r2dwaheoi",
	};
	const contents = { pw: "a second secret from before", conf: "a config from before" };
	const logins = [
		Buffer.from('{"username":"me","password":"a login from before"}').toString("base64url"),
	];

	async function filled(): Promise<Database> {
		const at = await startFile();
		const database = await openDatabase({ url: at.url });
		cleanups.push(async () => {
			database.close();
			await at.stop();
		});
		await migrate(
			database,
			migrations.filter(([name]) => name < "0003"),
		);
		const rows = await readFile(join(import.meta.dir, "before-keyrings.sql"), "utf8");
		const inserts = rows.split("\n").filter((line) => line && !line.includes("`migration`"));
		await database.write(inserts.map((sql) => ({ sql, args: [] })));
		await migrate(database);
		return database;
	}

	test("goes on: tokens are shown and accepted, secrets and logins open, a new token has the old name", async () => {
		const database = await filled();
		const masters = await importMasterKeys(key);
		const hosted = processOver(database, masters);
		const all = await readAll(hosted, id);
		expect(all).toEqual({ tokens, contents, logins });
		const accepted = await openDirectory(database).findJoinToken(await sha256(tokens.worker));
		expect(accepted).toMatchObject({ cluster: id, role: "worker", epoch: 2 });
		const { cluster } = await (await hosted.host(id)).snapshot();
		const next = await hosted.of("owner").rotateTokens(cluster, ["worker"]);
		const shown = await hosted.of("owner").joinTokens({ ...cluster, tokens: next });
		expect(shown.worker).toMatch(joinTokenForm);
		expect(shown.worker).not.toBe(tokens.worker);
		expect(shown.worker.split("-")[2]).toBe(tokens.worker.split("-")[2] ?? "");
	});

	test("its key can be rotated away at once, and its texts sealed anew", async () => {
		const database = await filled();
		const both = await importMasterKeys("the next key", [key]);
		expect(await status(database, both)).toMatchObject({ wrapped: [], unwrapped: 1 });
		await sweep(processOver(database, both));
		const sealed = await sealedTexts(database);
		const next = await importMasterKeys("the next key");
		const hosted = processOver(database, next);
		expect(await readAll(hosted, id)).toEqual({ tokens, contents, logins });
		expect(await sealedTexts(database)).toBe(sealed);
		await hosted.keys(id).rotate();
		await sweep(hosted);
		expect(await sealedTexts(database)).not.toMatch(/"(sealed|registryAuth\\)":"1\./);
		nowMs += 4_000_000;
		await sweep(hosted);
		expect((await hosted.keys(id).ring()).before?.seals).toEqual({});
		expect(await readAll(processOver(database, next), id)).toEqual({ tokens, contents, logins });
	});

	test("with another key it starts, serves what needs none, and says which keys it has", async () => {
		const database = await filled();
		const hosted = processOver(database, await importMasterKeys("a wrong key"));
		expect((await (await hosted.host(id)).snapshot()).materials.size).toBe(2);
		expect(readAll(hosted, id)).rejects.toThrow(/made with another key.*SKEIN_OLD_KEYS/);
	});
});

for (const [name, start, there] of [
	["an embedded file", startFile, true],
	["a libSQL server", startSqld, hasSqld],
] as const) {
	describe.skipIf(!there)(name, () => {
		test("a master key is rotated: lazily and by the sweep, and no text or token changes", async () => {
			const database = await newDatabase(start);
			const old = await importMasterKeys("old");
			const first = processOver(database, old);
			const ids: ClusterId[] = [];
			for (const account of ["owner", "second", "third"]) {
				const { id } = await first.of(account).create({ name: account });
				await fill(first, id);
				ids.push(id);
			}
			const before = await Promise.all(ids.map((id) => readAll(first, id)));
			const sealed = await sealedTexts(database);
			expect(before[0]).toMatchObject({ contents: { pw1: "a secret" }, logins: ["a login"] });
			expect(await status(database, old)).toEqual({
				current: old.current.id,
				given: [old.current.id],
				wrapped: [{ master: old.current.id, clusters: 3, given: true }],
				unwrapped: 0,
			});

			const both = await importMasterKeys("new", ["old"]);
			const second = processOver(database, both);
			await readAll(second, ids[0] ?? ("" as ClusterId));
			const half = await status(database, both);
			expect(half.wrapped).toContainEqual({ master: old.current.id, clusters: 2, given: true });
			expect(showKeys(half)).toContain(`2 under ${old.current.id}`);
			await sweep(second);
			const done = await status(database, both);
			expect(done.wrapped).toEqual([{ master: both.current.id, clusters: 3, given: true }]);
			expect(showKeys(done)).toBeUndefined();

			const third = processOver(database, await importMasterKeys("new"));
			expect(await Promise.all(ids.map((id) => readAll(third, id)))).toEqual(before);
			expect(await sealedTexts(database)).toBe(sealed);
		});

		test("a data key is rotated: texts are sealed anew, also those that another process seals meanwhile", async () => {
			const database = await newDatabase(start);
			const masters = await importMasterKeys("key");
			const one = processOver(database, masters);
			const two = processOver(database, masters);
			const { id } = await one.of("owner").create({});
			await fill(one, id);
			const before = await readAll(two, id);
			await one.keys(id).rotate();
			// It does not know of the rotation yet, and seals as before.
			const late = { material: sampleMaterial(2, [1]).id, version: 1 };
			const stale = await (await two.host(id)).contents.seal(late, bytes("late"));
			expect(stale.sealed).toStartWith("2.1.");
			await one.keys(id).reseal(await one.host(id));
			expect(await sealedTexts(database)).not.toContain('"2.1.');
			// What one sealed anew opens for the other at once.
			expect(await readAll(two, id)).toEqual(before);
			await (await one.host(id)).commit(() => ({
				changes: [
					{ kind: "put-material", material: sampleMaterial(2, [1]) },
					{ kind: "put-content", content: stale },
				],
				result: undefined,
			}));
			nowMs += 4_000_000;
			await sweep(one);
			expect(await sealedTexts(database)).not.toContain('"2.1.');
			expect(Object.keys((await one.keys(id).ring()).data)).toEqual(["2"]);
			const { contents } = await readAll(processOver(database, masters), id);
			expect(contents).toEqual({ pw1: "a secret", pw2: "late" });
		});
	});
}

test("a missing master key is named; a lost one is replaced, and what it sealed says so", async () => {
	const database = await newDatabase();
	const lost = await importMasterKeys("lost");
	const first = processOver(database, lost);
	const { id } = await first.of("owner").create({});
	await fill(first, id);

	const masters = await importMasterKeys("another");
	const hosted = processOver(database, masters);
	const host = await hosted.host(id);
	expect((await host.snapshot()).services.size).toBe(1);
	expect(readAll(hosted, id)).rejects.toThrow(`master key ${lost.current.id}`);
	const line = showKeys(await status(database, masters)) ?? "";
	expect(line).toContain(`master key ${lost.current.id} was not given`);
	await sweep(hosted);

	expect(first.keys(id).replace()).rejects.toThrow("not lost");
	await hosted.keys(id).replace();
	const { cluster, services } = await host.snapshot();
	expect(hosted.of("owner").joinTokens(cluster)).rejects.toThrow("--rotate worker");
	const tokens = await hosted.of("owner").rotateTokens(cluster, ["worker", "manager"]);
	const shown = await hosted.of("owner").joinTokens({ ...cluster, tokens });
	expect(shown.worker).toMatch(joinTokenForm);
	const name = { material: sampleMaterial(1, [1]).id, version: 1 };
	expect(host.contents.read([name])).rejects.toThrow(
		"Give the secret, config or registry login anew",
	);
	const [service] = services.values();
	expect(host.credentials.open(service?.spec.registryAuth ?? "")).rejects.toThrow("anew");
	const again = await host.contents.seal(name, bytes("given anew"));
	expect(again.sealed).toStartWith("2.2.");
});

test("a row that was changed, or is another cluster's, does not open", async () => {
	const database = await newDatabase();
	const masters = await importMasterKeys("key");
	const first = processOver(database, masters);
	const { id } = await first.of("owner").create({});
	const { id: other } = await first.of("other").create({ name: "other" });
	await database.write([
		{
			sql: "update keyring set wrapped = (select wrapped from keyring where cluster = ?2) where cluster = ?1",
			args: [id, other],
		},
	]);
	const hosted = processOver(database, masters);
	expect(hosted.keys(id).ring()).rejects.toThrow("do not open");
	await database.write([
		{ sql: "update keyring set version = version + 1 where cluster = ?", args: [other] },
	]);
	expect(hosted.keys(other).ring()).rejects.toThrow("do not open");
});
