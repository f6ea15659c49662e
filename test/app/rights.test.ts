// Every route of the app against every role: the table in rights.ts names them all, and the app keeps to it.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { atLeast, memberRoles } from "../../control-plane/accounts/actor.ts";
import { admissions, type Right, rights, routeName } from "../../control-plane/accounts/rights.ts";
import { app } from "../../control-plane/app.ts";
import { type InProcess, startInProcess } from "./in-process.ts";

let at: InProcess;
beforeAll(async () => {
	at = await startInProcess();
});
afterAll(() => at.stop());

/** Beside middleware, which answers nothing by itself. */
const routes = app({ version: "0", insecureRegistries: [] }).routes.filter(
	({ method }) => method !== "ALL",
);

/** A path that the pattern takes. */
function pathOf(pattern: string): string {
	return pattern
		.replace(/:version\{[^}]*\}/, "v1.41")
		.replaceAll(/:\w+\{(\w+)\|[^}]*\}/g, "$1")
		.replace(":organization", "owner")
		.replaceAll(/:\w+(\{[^}]*\})?/g, "none");
}

test("the table names every route, and no other", () => {
	const names = new Set(routes.map(routeName));
	expect([...names].filter((name) => !(name in admissions))).toEqual([]);
	const stale = Object.keys(admissions).filter((name) => !name.startsWith("ALL "));
	expect(stale.filter((name) => !names.has(name))).toEqual([]);
});

test("a role has all that a lesser one has", () => {
	expect(rights.filter((right) => leastRole[right] === undefined)).toEqual([]);
});

/** What each right takes: written once more, so that a slip in the table does not pass. */
const leastRole: Readonly<Record<Right, (typeof memberRoles)[number]>> = {
	self: "viewer",
	account: "viewer",
	read: "viewer",
	deploy: "developer",
	secrets: "developer",
	exec: "developer",
	nodes: "admin",
	clusters: "admin",
	members: "admin",
	tokens: "admin",
	audit: "admin",
	organization: "owner",
	operate: "owner",
};

const distinct = [
	...new Map(routes.map((route) => [`${route.method} ${route.path}`, route])).values(),
];

describe.each(memberRoles)("as %s", (role) => {
	let token: string;
	beforeAll(async () => {
		({ token } = await at.member(role));
	});

	// With a version before it a route is the same: one role's are enough to see that.
	const asked = distinct.filter(({ path }) => role === "viewer" || !path.startsWith("/:version"));
	test.each(asked.map(({ method, path }) => [method, path] as const))(
		"%s %s",
		async (method, path) => {
			const admission = admissions[routeName({ method, path })];
			// What ends its caller is asked by somebody else.
			const own =
				path === "/api/account" && method === "DELETE" ? await at.member(role) : { token };
			const reply = await at.ask(pathOf(path), {
				method,
				token: own.token,
				...(method !== "GET" && { body: {} }),
			});
			const isRefused =
				reply.status === 403 && (await reply.clone().text()).includes("this takes the role");
			await reply.body?.cancel();
			const isAllowed =
				admission === "open" ||
				admission === "own" ||
				(admission !== undefined && atLeast(role, leastRole[admission]));
			expect({ isRefused, status: isRefused ? 403 : reply.status }).toEqual({
				isRefused: !isAllowed,
				status: isAllowed ? reply.status : 403,
			});
			// What checks for itself knows no such credential; everybody else was let in.
			if (admission !== "own") expect(reply.status).not.toBe(401);
		},
	);
});

test.each(distinct.map(({ method, path }) => [method, path] as const))(
	"a stranger is let into nothing: %s %s",
	async (method, path) => {
		const isOpen = admissions[routeName({ method, path })] === "open";
		for (const token of [undefined, "skein_unknown"]) {
			const reply = await at.ask(pathOf(path), {
				method,
				...(token && { token }),
				...(method !== "GET" && { body: {} }),
			});
			await reply.body?.cancel();
			// A machine that joins shows its token in the body.
			if (path === "/agent/join") expect(reply.status).toBe(400);
			// And a forge signs for an application, which is none here.
			else if (path.startsWith("/webhooks/")) expect(reply.status).toBe(404);
			else expect(reply.status === 401).toBe(!isOpen);
		}
	},
);

test("the refusal names the role, in Docker's form, and is in the audit log", async () => {
	const { token, user } = await at.member("viewer");
	const reply = await at.ask("/v1.41/services/create", { method: "POST", token, body: {} });
	expect(reply.status).toBe(403);
	expect(reply.headers.get("Content-Type")).toBe("application/json");
	expect(await reply.json()).toEqual({
		message: expect.stringContaining("this takes the role developer, and viewer's is viewer here"),
	});
	const [row] = await at.world.access.audit.list({
		organization: "owner",
		actor: user,
		clusters: "all",
		limit: 10,
	});
	expect(row).toMatchObject({
		action: "POST /services/create",
		target: "/v1.41/services/create",
		status: 403,
		address: "192.0.2.7",
		actorKind: "token",
	});
});

test("whoever may not let machines in does not see what lets them in", async () => {
	const { token } = await at.member("developer");
	const tokensOf = async (bearer: string) =>
		((await (await at.ask("/swarm", { token: bearer })).json()) as { JoinTokens: object })
			.JoinTokens;
	expect(Object.values(await tokensOf(token)).join()).not.toContain("SWMTKN");
	expect(Object.values(await tokensOf(at.ownerToken)).join()).toContain("SWMTKN-1-");
});
