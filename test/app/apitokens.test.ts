// API tokens: what they may, how they end, and that they never outgrow whoever made them.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { type InProcess, startInProcess } from "./in-process.ts";

let at: InProcess;
let ownerToken: string;
beforeAll(async () => {
	at = await startInProcess();
	ownerToken = at.ownerToken;
});
afterAll(() => at.stop());

interface Shown {
	id: string;
	token: string;
	name: string;
	role: string;
	scopes: unknown;
	clusters: unknown;
	lastUsed: string | null;
	message: string;
}

const make = async (body: object, token = ownerToken) => {
	const reply = await at.ask("/api/tokens", { method: "POST", token, body });
	return { status: reply.status, ...((await reply.json()) as Shown) };
};
const statusOf = async (token: string, path = "/info", method = "GET") => {
	const reply = await at.ask(path, { method, token, ...(method !== "GET" && { body: {} }) });
	await reply.body?.cancel();
	return reply.status;
};

test("a token is shown once, works at once, and ends when it is deleted", async () => {
	const made = await make({ name: "ci" });
	expect(made).toMatchObject({ status: 201, name: "ci", role: "owner", scopes: "all" });
	expect(made.token).toMatch(/^skein_[0-9a-f]{64}$/);
	expect(await statusOf(made.token)).toBe(200);

	const listed = (await (await at.ask("/api/tokens", { token: ownerToken })).json()) as Shown[];
	expect(listed.map(({ name }) => name)).toContain("ci");
	expect(JSON.stringify(listed)).not.toContain(made.token);

	expect(await statusOf(ownerToken, `/api/tokens/${made.id}`, "DELETE")).toBe(204);
	expect(await statusOf(made.token)).toBe(401);
	expect(await statusOf(ownerToken, `/api/tokens/${made.id}`, "DELETE")).toBe(404);
});

test("nothing in the database is the token", async () => {
	const { token } = await make({ name: "hidden" });
	const [rows] = await at.database.read([{ sql: "select * from token", args: [] }]);
	expect(JSON.stringify(rows?.rows)).not.toContain(token.slice(6));
});

test("a token past its end is no token", async () => {
	const expires = new Date(at.nowMs + 60_000).toISOString();
	const { token } = await make({ name: "short", expires });
	expect(await statusOf(token)).toBe(200);
	at.nowMs += 60_000;
	expect(await statusOf(token)).toBe(401);
});

test("its use is written down once an hour", async () => {
	const { token, id } = await make({ name: "watched" });
	const lastUsed = async () => {
		const listed = (await (await at.ask("/api/tokens", { token: ownerToken })).json()) as Shown[];
		return listed.find((each) => each.id === id)?.lastUsed;
	};
	expect(await lastUsed()).toBeNull();
	const first = new Date(at.nowMs).toISOString();
	await statusOf(token);
	at.nowMs += 3_599_000;
	await statusOf(token);
	expect(await lastUsed()).toBe(first);
	at.nowMs += 1_000;
	await statusOf(token);
	expect(await lastUsed()).toBe(new Date(at.nowMs).toISOString());
});

test("role and scopes bound it, and what it makes", async () => {
	const viewer = await make({ name: "looks", role: "viewer" });
	expect(await statusOf(viewer.token, "/services/create", "POST")).toBe(403);

	const deploys = await make({ name: "deploys", scopes: ["read", "deploy", "account"] });
	expect(await statusOf(deploys.token, "/services")).toBe(200);
	expect(await statusOf(deploys.token, "/services/create", "POST")).toBe(400);
	expect(await statusOf(deploys.token, "/secrets/create", "POST")).toBe(403);
	const refused = await at.ask("/secrets/create", {
		method: "POST",
		token: deploys.token,
		body: {},
	});
	expect(await refused.text()).toContain('the scope \\"secrets\\"');

	const child = await make({ name: "child" }, deploys.token);
	expect(child).toMatchObject({ status: 201, scopes: ["read", "deploy", "account"] });
	for (const more of [{ scopes: "all" }, { scopes: ["nodes"] }]) {
		expect((await make({ name: "more", ...more }, deploys.token)).status).toBe(403);
	}
	const { token: developers } = await at.member("developer");
	const grown = await make({ name: "more", role: "admin" }, developers);
	expect(grown).toMatchObject({ status: 403, message: expect.stringContaining("role: ") });
});

test("only the clusters that are listed are in its reach", async () => {
	const { ID } = (await (await at.ask("/swarm", { token: ownerToken })).json()) as { ID: string };
	expect(await statusOf((await make({ name: "in", clusters: [ID] })).token, "/swarm")).toBe(200);
	await at.ask("/api/clusters", { method: "POST", token: ownerToken, body: { name: "another" } });
	const other = await make({ name: "out", clusters: ["another"] });
	const reply = await at.ask("/swarm", { token: other.token });
	const shown = (await reply.json()) as { ID: string };
	expect(shown.ID).toMatch(/^[0-9a-z]{25}$/);
	expect(shown.ID).not.toBe(ID);
	expect(await statusOf(other.token, `/api/clusters/${ID}`, "DELETE")).toBe(404);
	expect(await statusOf(other.token, "/api/clusters/another", "DELETE")).toBe(204);
	expect((await make({ name: "none", clusters: ["nobody's"] })).status).toBe(404);
});

test("it loses what its user loses", async () => {
	const { user, token } = await at.member("admin");
	const made = await make({ name: "theirs" }, token);
	expect(await statusOf(made.token, "/nodes/none", "DELETE")).toBe(404);
	const set = (sql: string) => at.database.write([{ sql, args: [user] }]);
	await set("update member set role = 'viewer' where user = ?");
	expect(await statusOf(made.token, "/nodes/none", "DELETE")).toBe(403);
	await set("delete from member where user = ?");
	expect(await statusOf(made.token)).toBe(401);
});

test("people see their own tokens, admins everybody's", async () => {
	const { token } = await at.member("developer");
	const mine = await make({ name: "mine" }, token);
	const theirs = await make({ name: "not mine" });
	const names = async (bearer: string) =>
		((await (await at.ask("/api/tokens", { token: bearer })).json()) as Shown[]).map(
			({ name }) => name,
		);
	expect(await names(token)).toEqual(expect.arrayContaining(["mine"]));
	expect(await names(token)).not.toContain("not mine");
	const { token: admins } = await at.member("admin");
	expect(await names(admins)).toEqual(expect.arrayContaining(["mine", "not mine"]));
	expect(await statusOf(token, `/api/tokens/${theirs.id}`, "DELETE")).toBe(404);
	expect(await statusOf(admins, `/api/tokens/${mine.id}`, "DELETE")).toBe(204);
});

test.each([
	["name", {}, "name: "],
	["an unknown field", { name: "a", rolle: "owner" }, "rolle"],
	["an unknown scope", { name: "a", scopes: ["everything"] }, "scopes"],
	["a time gone by", { name: "a", expires: "2001-01-01T00:00:00Z" }, "expires: "],
	["no certificate", { name: "a", certificate: "-----BEGIN" }, "certificate: "],
])("a bad request names the field: %s", async (_what, body, words) => {
	const { status, message } = await make(body);
	expect({ status, message }).toEqual({ status: 400, message: expect.stringContaining(words) });
});

test("every token that was made and deleted is in the audit log", async () => {
	const { id } = await make({ name: "noted" });
	await statusOf(ownerToken, `/api/tokens/${id}`, "DELETE");
	const rows = await at.world.access.audit.list({
		organization: "owner",
		clusters: "all",
		limit: 500,
	});
	const about = rows.filter(({ target }) => target === id);
	expect(about.map(({ action }) => action).sort()).toEqual([
		"DELETE /api/tokens/:id",
		"POST /api/tokens",
	]);
});

test("a change of the cluster has one row, with what was made and how it ended", async () => {
	const reply = await at.ask("/v1.41/networks/create", {
		method: "POST",
		token: ownerToken,
		body: { Name: "audited", Driver: "overlay" },
		headers: { "User-Agent": "Docker-Client/28.2" },
	});
	const { Id } = (await reply.json()) as { Id: string };
	const rows = await at.world.access.audit.list({
		organization: "owner",
		clusters: "all",
		limit: 500,
	});
	const [row, ...more] = rows.filter(({ target }) => target === Id);
	expect(more).toEqual([]);
	expect(row).toMatchObject({
		action: "POST /networks/create",
		actorKind: "token",
		actorName: "owner",
		status: 201,
		agent: "Docker-Client/28.2",
		cluster: expect.stringMatching(/^[0-9a-z]{25}$/),
	});
});

test("the socket is the owner's, without a token", async () => {
	const reply = await at.ask("/api/account", { env: { via: "socket" } });
	expect(await reply.json()).toMatchObject({
		id: "owner",
		kind: "socket",
		role: "owner",
		organizations: [{ id: "owner", role: "owner" }],
	});
});
