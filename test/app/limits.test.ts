// What an organization may have: the settings' limits, its own, and what is refused of what it asks.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { newApiToken, sha256 } from "../../control-plane/accounts/tokens.ts";
import { parseLimits } from "../../model/limits.ts";
import { describeMachine } from "./agent.ts";
import { type Here, startHere } from "./here.ts";

let at: Here;
let tenant: string;

const passphrase = { "Skein-Passphrase": btoa("a passphrase") };

async function ask(method: string, path: string, body?: unknown, token = tenant) {
	const reply = await at.ask(path, {
		method,
		headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
		...(body !== undefined && { body: JSON.stringify(body) }),
	});
	const text = await reply.text();
	const json = text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : undefined;
	return { status: reply.status, json, message: json?.message as string | undefined };
}

const allow = (limits: unknown) => ask("PUT", "/api/organizations/acme/limits", limits, at.token);

const service = (name: string, replicas: number) => ({
	Name: name,
	Mode: { Replicated: { Replicas: replicas } },
	TaskTemplate: { ContainerSpec: { Image: `nginx@sha256:${"a".repeat(64)}` } },
});

const join = async (n: number) => {
	const { json } = await ask("GET", "/swarm");
	const description = describeMachine(n, { routes: [] });
	const body = { token: json.JoinTokens.Worker, description };
	return ask("POST", "/agent/join", body);
};

beforeAll(async () => {
	at = await startHere(undefined, {
		nodeTimeoutMs: 3_600_000,
		limits: parseLimits("clusters=2 nodes=2 services=2 tasks=4 contents=200B"),
	});
	tenant = newApiToken();
	await at.database.write([
		{
			sql: "insert into organization (id, name, audit_days, created_ms) values ('acme', 'Acme', 365, 1)",
			args: [],
		},
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
	expect((await ask("POST", "/api/clusters", { name: "acme" })).status).toBe(201);
});
afterAll(() => at.stop());

test("more than the settings allow is refused in Docker's form, naming limit, number and remedy", async () => {
	expect((await join(1)).status).toBe(200);
	expect((await join(2)).status).toBe(200);
	const third = await join(3);
	expect([third.status, third.message]).toEqual([
		403,
		expect.stringContaining("nodes: this organization may have 2 nodes in a cluster; there are 2"),
	]);

	expect((await ask("POST", "/services/create", service("a", 2))).status).toBe(201);
	const many = await ask("POST", "/services/create", service("b", 3));
	expect([many.status, many.message]).toEqual([403, expect.stringContaining("tasks: ")]);
	expect((await ask("POST", "/services/create", service("b", 1))).status).toBe(201);
	const more = await ask("POST", "/services/create", service("c", 0));
	expect([more.status, more.message]).toEqual([
		403,
		expect.stringMatching(/^services: .*\(docker service rm\)/),
	]);

	const secret = { Labels: {}, Data: btoa("x".repeat(60)) };
	expect((await ask("POST", "/secrets/create", { Name: "pw", ...secret })).status).toBe(201);
	const conf = await ask("POST", "/configs/create", { Name: "conf", ...secret });
	expect([conf.status, conf.message]).toEqual([
		403,
		expect.stringMatching(/^contents: this organization may have 200 B of secrets and configs/),
	]);
});

test("what there is stands beside what there may be; a stranger sees neither", async () => {
	const organization = await ask("GET", "/api/organizations/acme/usage");
	expect([organization.status, organization.json]).toEqual([
		200,
		{ clusters: { used: 1, limit: 2 } },
	]);
	const cluster = await ask("GET", "/api/clusters/acme/usage");
	expect(cluster.json).toEqual({
		nodes: { used: 2, limit: 2 },
		services: { used: 2, limit: 2 },
		tasks: { used: 3, limit: 4 },
		contents: { used: expect.any(Number), limit: 200 },
	});
	for (const path of ["/api/organizations/acme/usage", "/api/clusters/acme/usage"]) {
		expect((await ask("GET", path, undefined, at.token)).status).toBe(404);
	}
});

test("an operator gives one organization limits of its own; everybody in it sees them", async () => {
	expect((await ask("PUT", "/api/organizations/acme/limits", { nodes: 9 })).status).toBe(403);
	expect((await allow({ machines: 9 })).status).toBe(400);
	expect((await allow({ nodes: -1 })).status).toBe(400);
	const nobody = await ask("PUT", "/api/organizations/nobody/limits", {}, at.token);
	expect(nobody.status).toBe(404);

	const limits = { clusters: 2, nodes: 3, services: 2, tasks: null, contents: 200 };
	const set = await allow({ nodes: 3, tasks: null });
	expect([set.status, set.json]).toEqual([200, limits]);
	expect((await ask("GET", "/api/organizations/acme/limits")).json).toEqual(limits);
	expect((await ask("GET", "/api/organizations/acme")).json).toMatchObject({ limits });
	// Its own log says so, and the operator's.
	for (const token of [tenant, at.token]) {
		const { json } = await ask("GET", "/api/audit", undefined, token);
		expect(json.entries).toContainEqual(
			expect.objectContaining({
				action: "PUT /api/organizations/:organization/limits",
				target: "acme",
			}),
		);
	}

	expect((await join(3)).status).toBe(200);
	const { json } = await ask("GET", "/services/b");
	const scaled = await ask(
		"POST",
		`/services/b/update?version=${json.Version.Index}`,
		service("b", 50),
	);
	expect(scaled.status).toBe(200);
});

test("over a lowered limit, what is there can be changed and taken away", async () => {
	await allow({ nodes: 1, services: 1, tasks: 1 });
	const scale = async (replicas: number) => {
		const { json } = await ask("GET", "/services/b");
		const path = `/services/b/update?version=${json.Version.Index}`;
		return (await ask("POST", path, service("b", replicas))).status;
	};
	expect(await scale(51)).toBe(403);
	expect(await scale(20)).toBe(200);
	expect((await ask("DELETE", "/services/a")).status).toBe(200);
	expect((await ask("POST", "/services/create", service("c", 0))).status).toBe(403);
});

test("a file that holds more than the organization may have is not kept", async () => {
	await allow({});
	const file = await at.ask("/api/clusters/acme/export", {
		method: "POST",
		headers: { Authorization: `Bearer ${tenant}`, ...passphrase },
	});
	const body = await file.blob();
	const read = async () => {
		const reply = await at.ask("/api/clusters/import?name=copy", {
			method: "POST",
			headers: { Authorization: `Bearer ${tenant}`, ...passphrase },
			body,
		});
		return [reply.status, await reply.text()] as const;
	};
	// It has twenty tasks; contents are counted, whatever the file says of them.
	await allow({ tasks: 20, contents: 10 });
	expect(await read()).toEqual([403, expect.stringContaining("contents: ")]);
	expect((await ask("GET", "/api/clusters")).json).toHaveLength(1);
	await allow({ tasks: 20 });
	expect((await read())[0]).toBe(201);
	expect((await ask("POST", "/api/clusters", { name: "third" })).message).toContain(
		"clusters: this organization may have 2 and has them",
	);
});
