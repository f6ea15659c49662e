// A cluster out of one control plane and into another, by the routes: the same one elsewhere, a copy beside it, or
// nothing at all where something is wrong.

import { afterEach, describe, expect, test } from "bun:test";
import { gunzipSync } from "node:zlib";
import { readSecrets } from "../../control-plane/deployments/secrets.ts";
import { assign } from "../../control-plane/manager/assign.ts";
import { check } from "../../control-plane/manager/checks.ts";
import type { Database, Statement } from "../../control-plane/store/client.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import { describeMachine } from "../app/agent.ts";
import { type Here, startHere } from "../app/here.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function start(wrap?: (database: Database) => Database): Promise<Here> {
	const here = await startHere(wrap);
	cleanups.push(() => here.stop());
	return here;
}

const words = "a passphrase, with ümlauts";
const passphrase = { "Skein-Passphrase": Buffer.from(words).toString("base64") };
const image = `nginx@sha256:${"a".repeat(64)}`;

async function json(here: Here, path: string, init: RequestInit = {}, status = 200) {
	const reply = await here.ask(path, init);
	const text = await reply.text();
	expect([path, reply.status, reply.ok ? "" : text]).toEqual([path, status, ""]);
	return text && JSON.parse(text);
}

const post = (here: Here, path: string, body: unknown, headers = {}, status = 201) =>
	json(
		here,
		path,
		{
			method: "POST",
			headers: { "Content-Type": "application/json", ...headers },
			body: JSON.stringify(body),
		},
		status,
	);

const agent = (here: Here, path: string, credential: string, init: RequestInit = {}) =>
	here.fetch(
		new Request(`http://skein.test/agent${path}`, {
			...init,
			headers: { Authorization: `Bearer ${credential}` },
		}),
	);

/** With something of everything. */
async function fill(here: Here) {
	await post(here, "/networks/create", { Name: "mynet", Driver: "overlay" });
	const secret = await post(here, "/secrets/create", { Name: "pw", Data: btoa("hunter2") });
	await post(here, "/configs/create", { Name: "conf", Data: btoa("a config") });
	const environments = [{ name: "production" }];
	const spec = { name: "site", repository: "https://git.example/site.git", environments };
	await post(here, "/api/applications", { spec, secrets: { build: { npm: "an npm token" } } });
	const tokens = (await json(here, "/swarm")).JoinTokens;
	const joined = await agent(here, "/join", "", {
		method: "POST",
		body: JSON.stringify({ token: tokens.Worker, description: describeMachine(1) }),
	});
	const { node, credential } = (await joined.json()) as { node: string; credential: string };
	// It goes on living although nobody plays its agent.
	const host = await here.world.hosted.host(await idOf(here));
	await host.report({ node: node as NodeId, leaseUntilMs: Date.now() + 3_600_000 });
	const login = btoa(JSON.stringify({ username: "ann", password: "a login" }));
	await post(
		here,
		"/services/create",
		{
			Name: "web",
			Mode: { Replicated: { Replicas: 2 } },
			TaskTemplate: {
				ContainerSpec: {
					Image: image,
					Env: ["PLAIN=yes"],
					Secrets: [
						{
							SecretID: secret.ID,
							SecretName: "pw",
							File: { Name: "pw", UID: "0", GID: "0", Mode: 0o400 },
						},
					],
				},
				Networks: [{ Target: "mynet" }],
			},
		},
		{ "X-Registry-Auth": login },
	);
	return { tokens, node, credential, login, secret: secret.ID as string };
}

async function exportOf(here: Here, name = "default"): Promise<Blob> {
	const reply = await here.ask(`/api/clusters/${name}/export`, {
		method: "POST",
		headers: passphrase,
	});
	expect(reply.status).toBe(200);
	return reply.blob();
}

const importInto = (here: Here, file: Blob, query = "", headers = passphrase) =>
	here.ask(`/api/clusters/import${query}`, { method: "POST", headers, body: file });

const idOf = async (here: Here, name = "default") =>
	(await here.world.hosted.of("owner").list()).find((each) => each.name === name)?.id as ClusterId;

/** An instance without a cluster, as one that clusters are to be restored in. */
async function empty(wrap?: (database: Database) => Database): Promise<Here> {
	const here = await start(wrap);
	await here.world.hosted.of("owner").erase(await idOf(here));
	return here;
}

const byId = (a: { readonly id: string }, b: { readonly id: string }) => (a.id < b.id ? -1 : 1);

/** What is to be the same in both places. */
async function seen(here: Here, name: string, filled: Awaited<ReturnType<typeof fill>>) {
	const id = await idOf(here, name);
	const host = await here.world.hosted.host(id);
	const snapshot = await host.snapshot();
	const contents = await host.contents.read(
		[...snapshot.materials.values()].sort(byId).map((each) => ({ material: each.id, version: 1 })),
	);
	const [application] = snapshot.applications.values();
	const [service] = snapshot.services.values();
	const { registryAuth = "", ...spec } = service?.spec ?? {};
	return {
		id,
		tokens: await here.world.hosted.of("owner").joinTokens(snapshot.cluster),
		contents: [...contents.values()].map((each) => new TextDecoder().decode(each)).sort(),
		application,
		npm: application && (await readSecrets(host.contents, application)).build["npm"],
		login: await host.credentials.open(registryAuth as string),
		spec,
		networks: [...snapshot.networks.values()].sort(byId),
		assignments: [...snapshot.nodes.keys()].map((each) => {
			const { revision: _higher, ...assignment } = assign(snapshot, each);
			return assignment;
		}),
		tasks: [...snapshot.tasks.values()].sort(byId),
		nodes: [...snapshot.nodes.keys()],
		complaints: check(snapshot),
		credential: (await here.world.directory.findCredential(filled.node as NodeId))?.cluster,
	};
}

test("the same cluster elsewhere: its rows, its secrets, its tokens, and its machines are let in", async () => {
	const from = await start();
	const filled = await fill(from);
	const before = await seen(from, "default", filled);
	expect(before).toMatchObject({
		contents: ["a config", "hunter2"],
		npm: "an npm token",
		login: filled.login,
	});
	expect(before.tasks.length).toBe(2);
	const file = await exportOf(from);

	const to = await empty();
	const made = await importInto(to, file, "?name=elsewhere");
	expect([made.status, await made.json()]).toEqual([
		201,
		{ id: before.id, name: "elsewhere", same: true },
	]);
	expect(await seen(to, "elsewhere", filled)).toEqual(before);
	const shown = await json(to, "/swarm");
	expect(shown.JoinTokens).toEqual(filled.tokens);
	const polled = await agent(to, "/assignment", filled.credential);
	expect(polled.status).toBe(200);
	const { revision, assignment } = (await polled.json()) as {
		revision: number;
		assignment: { cluster: string; tasks: unknown[] };
	};
	expect(assignment.cluster).toBe(before.id);
	expect(assignment.tasks.length).toBe(2);
	// Above all that an agent may have seen where it was.
	expect(revision).toBeGreaterThan(1_000_000);
	const names = [{ material: filled.secret, version: 1 }];
	const asked = await agent(to, "/contents", filled.credential, {
		method: "POST",
		body: JSON.stringify({ names }),
	});
	expect(await asked.json()).toMatchObject({ contents: [{ data: btoa("hunter2") }] });
	// And it goes on living: a change, and a backup of its own.
	await post(to, "/networks/create", { Name: "another", Driver: "overlay" });
	expect((await exportOf(to, "elsewhere")).size).toBeGreaterThan(1_000);
});

test("nothing in the file is readable that was sealed", async () => {
	const from = await start();
	const filled = await fill(from);
	const text = gunzipSync(await (await exportOf(from)).arrayBuffer()).toString();
	expect(text).toContain("PLAIN=yes");
	const secrets = [
		"hunter2",
		"a config",
		"a login",
		filled.credential,
		filled.tokens.Worker.slice(-25),
	];
	for (const secret of [...secrets, words]) {
		expect(text).not.toContain(secret);
		expect(text).not.toContain(btoa(secret.replace(/[^ -~]/g, "")).slice(0, -3));
	}
});

test("beside the one it was made of it is a copy: no machines, tokens of its own, and it plans", async () => {
	const here = await start();
	const filled = await fill(here);
	const before = await seen(here, "default", filled);
	const file = await exportOf(here);
	expect((await importInto(here, file)).status).toBe(409);
	const made = await importInto(here, file, "?name=copy");
	expect(await made.json()).toMatchObject({ name: "copy", same: false });
	const copy = await seen(here, "copy", filled);
	expect(copy.id).not.toBe(before.id);
	expect(copy).toMatchObject({
		contents: before.contents,
		login: before.login,
		spec: before.spec,
		nodes: [],
		complaints: [],
		credential: before.id,
	});
	expect(copy.tokens.worker).not.toBe(before.tokens.worker);
	expect(await seen(here, "default", filled)).toEqual(before);
	// A machine of its own, and its service runs there.
	const joined = await agent(here, "/join", "", {
		method: "POST",
		body: JSON.stringify({ token: copy.tokens.worker, description: describeMachine(2) }),
	});
	const { credential } = (await joined.json()) as { credential: string };
	const host = await here.world.hosted.host(copy.id);
	for (let tries = 0; ; tries++) {
		const reply = await agent(here, "/assignment", credential);
		const { assignment } = (await reply.json()) as { assignment: { tasks: unknown[] } };
		if (assignment.tasks.length === 2) break;
		expect(tries).toBeLessThan(100);
		await Bun.sleep(20);
	}
	expect(check(await host.snapshot())).toEqual([]);
});

test("one that was erased comes back as what it was; another's is only copied", async () => {
	const here = await start();
	const filled = await fill(here);
	const before = await seen(here, "default", filled);
	const file = await exportOf(here);
	await here.world.hosted.of("owner").erase(before.id);
	expect((await agent(here, "/assignment", filled.credential)).status).toBe(410);
	const stranger = { organization: "stranger", name: "theirs" };
	expect(await here.world.hosted.import(file, words, stranger)).toMatchObject({ same: false });
	expect(await (await importInto(here, file)).json()).toMatchObject({ id: before.id, same: true });
	expect(await seen(here, "default", filled)).toEqual(before);
	expect((await agent(here, "/assignment", filled.credential)).status).toBe(200);
});

test("one whose import fails, or dies, is erased as before, and its machines hear so", async () => {
	const disk = fullAfter();
	const here = await start(disk.wrap);
	const filled = await fill(here);
	const id = await idOf(here);
	const file = await exportOf(here);
	const { directory, hosted } = here.world;
	await hosted.of("owner").erase(id);
	const told = async () => (await agent(here, "/assignment", filled.credential)).status;
	expect(await told()).toBe(410);
	disk.pages = 9;
	expect((await importInto(here, file)).status).toBe(400);
	expect([await told(), (await directory.placementOf(id))?.state]).toEqual([410, "erased"]);

	disk.pages = Number.POSITIVE_INFINITY;
	const again = { cluster: id, organization: "owner", name: "again", shard: "main" };
	await directory.reserve(again, null, 1);
	// Meanwhile nobody tells them to go on, nor to stop.
	expect(await told()).toBe(503);
	const taken = directory.reserve(again, null, 1);
	expect(taken).rejects.toMatchObject({ kind: "conflict" });
	await taken.catch(() => undefined);
	await hosted.mend();
	expect([await told(), (await directory.placementOf(id))?.state]).toEqual([410, "erased"]);
	expect(await (await importInto(here, file)).json()).toMatchObject({ id, same: true });
	expect(await told()).toBe(200);
});

/** A disk that takes so many pages of an import. */
function fullAfter() {
	const disk = {
		pages: Number.POSITIVE_INFINITY,
		wrap: (database: Database): Database => ({
			...database,
			write(statements: readonly Statement[]) {
				const isPage = statements.some(({ sql }) => /insert or ignore into/.test(sql));
				if (isPage && disk.pages-- <= 0) throw new Error("the disk is full");
				return database.write(statements);
			},
		}),
	};
	return disk;
}

describe("nothing is written", () => {
	const rows = async (here: Here) => {
		const [tables] = await here.database.read([
			{
				sql: "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'",
				args: [],
			},
		]);
		const names = (tables?.rows ?? []).map((row) => String(row["name"])).sort();
		const counted = await here.database.read(
			names.map((name) => ({ sql: `select count(*) as n from "${name}"`, args: [] })),
		);
		const counts = names.map((name, at) => [name, Number(counted[at]?.rows[0]?.["n"])] as const);
		// Who asked stands in the audit log.
		return Object.fromEntries(counts.filter(([name]) => name !== "audit"));
	};

	test("of a file that is cut short or altered, or of another passphrase", async () => {
		const from = await start();
		await fill(from);
		const file = await exportOf(from);
		const to = await empty();
		const before = await rows(to);
		const bytes = new Uint8Array(await file.arrayBuffer());
		const altered = bytes.with(Math.floor(bytes.length / 2), 0);
		const other = { "Skein-Passphrase": btoa("another passphrase") };
		for (const [body, headers, words] of [
			[file.slice(0, file.size - 20), passphrase, "no whole backup"],
			[file.slice(0, file.size / 2), passphrase, "no whole backup"],
			[new Blob([altered]), passphrase, "no whole backup"],
			[new Blob(["no file at all"]), passphrase, "no whole backup"],
			[file, other, "passphrase is not the one"],
			[file, { "Skein-Passphrase": "" }, "12 characters"],
		] as const) {
			const reply = await importInto(to, body, "", headers);
			expect([reply.status, await reply.text()]).toEqual([400, expect.stringContaining(words)]);
		}
		expect(await rows(to)).toEqual(before);
	});

	test("nor kept, when a database fails in the middle, and the name is free again", async () => {
		const from = await start();
		const filled = await fill(from);
		const file = await exportOf(from);
		const disk = fullAfter();
		const to = await empty(disk.wrap);
		const before = await rows(to);
		for (const pages of [0, 4, 9]) {
			disk.pages = pages;
			const reply = await importInto(to, file);
			expect(reply.status).toBe(400);
			expect(await rows(to)).toEqual(before);
		}
		disk.pages = Number.POSITIVE_INFINITY;
		expect((await importInto(to, file)).status).toBe(201);
		expect((await seen(to, "default", filled)).complaints).toEqual([]);
	});
});

test("told that the cluster has moved, its machines are told, and told otherwise again", async () => {
	const here = await start();
	const { credential } = await fill(here);
	const told = async () => {
		const reply = await agent(here, "/assignment", credential);
		return ((await reply.json()) as { assignment: { movedTo?: string } }).assignment.movedTo;
	};
	expect(await told()).toBeUndefined();
	const move = (body: unknown, status = 200) =>
		here
			.ask("/api/clusters/default/move", { method: "POST", body: JSON.stringify(body) })
			.then((reply) => expect(reply.status).toBe(status));
	await move({ url: "https://new.example.com/" });
	expect(await told()).toBe("https://new.example.com");
	// What is exported now does not send its machines away from where it is imported.
	const file = await exportOf(here);
	const to = await empty();
	expect((await importInto(to, file)).status).toBe(201);
	const reply = await agent(to, "/assignment", credential);
	expect(((await reply.json()) as { assignment: object }).assignment).not.toHaveProperty("movedTo");
	await move({ url: null });
	expect(await told()).toBeUndefined();
	for (const bad of [{}, { url: "ftp://x" }, { url: "new" }, { url: 1 }, []]) await move(bad, 400);
});
