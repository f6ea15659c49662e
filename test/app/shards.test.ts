// Where clusters lie, for whoever runs a control plane: moved by a request.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { newApiToken, sha256 } from "../../control-plane/accounts/tokens.ts";
import { startFile, type TestDatabase } from "../store/databases.ts";
import { type Here, startHere } from "./here.ts";

let at: Here;
let eu1: TestDatabase;
let tenant: string;

beforeAll(async () => {
	eu1 = await startFile();
	at = await startHere(undefined, { shards: [{ name: "eu1", url: eu1.url }] });
	tenant = newApiToken();
	await at.database.write([
		{
			sql: "insert into member (organization, user, role, created_ms) values ('acme', 'ann', 'owner', 1)",
			args: [],
		},
	]);
	await at.world.access.tokens.put({
		...{ sha256: await sha256(tenant), organization: "acme", user: "ann", name: "ann's" },
		...{ kind: "secret", role: "owner", scopes: null, clusters: null },
		...{ createdMs: 1, expiresMs: null, usedMs: null },
	});
	expect((await ask("POST", "/api/clusters", { name: "acme" }, tenant)).status).toBe(201);
});
afterAll(async () => {
	await at.stop();
	await eu1.stop();
});

async function ask(method: string, path: string, body?: unknown, token = at.token) {
	const reply = await at.ask(path, {
		method,
		headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
		...(body !== undefined && { body: JSON.stringify(body) }),
	});
	return { status: reply.status, json: JSON.parse(await reply.text()) };
}

test("an operator moves another's cluster to another shard, with all that is in it", async () => {
	const network = { Name: "mynet", Driver: "overlay" };
	expect((await ask("POST", "/networks/create", network, tenant)).status).toBe(201);
	const path = "/api/clusters/acme/shard";
	expect((await ask("GET", path)).json).toMatchObject({
		...{ name: "acme", organization: "acme", shard: "eu1", state: "active" },
	});
	const moved = await ask("POST", path, { shard: "main" });
	expect([moved.status, moved.json]).toEqual([
		200,
		expect.objectContaining({ name: "acme", organization: "acme", shard: "main" }),
	]);
	expect((await ask("GET", path)).json).toMatchObject({ shard: "main", state: "active" });
	expect((await ask("GET", "/networks/mynet", undefined, tenant)).status).toBe(200);
	const more = { ...network, Name: "more" };
	expect((await ask("POST", "/networks/create", more, tenant)).status).toBe(201);
	const { json } = await ask("GET", "/api/audit");
	expect(json.entries).toContainEqual(
		expect.objectContaining({
			...{ action: "POST /api/clusters/:name/shard", target: path, status: 200 },
		}),
	);
});

test("a shard that there is not is refused with those that there are; so are strangers and typos", async () => {
	const typo = await ask("POST", "/api/clusters/acme/shard", { shard: "eu9" });
	expect([typo.status, typo.json.message]).toEqual([
		400,
		'shard: there is no "eu9", there are main, eu1: SKEIN_SHARDS adds one',
	]);
	expect((await ask("POST", "/api/clusters/acme/shard", { to: "main" })).status).toBe(400);
	expect((await ask("POST", "/api/clusters/nobodys/shard", { shard: "main" })).status).toBe(404);
	const stranger = await ask("POST", "/api/clusters/acme/shard", { shard: "eu1" }, tenant);
	expect([stranger.status, stranger.json.message]).toEqual([
		403,
		expect.stringContaining("whoever runs this control plane"),
	]);
});
