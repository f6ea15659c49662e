// People: signing up and in, organizations and who belongs to them, and what stays when somebody goes.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { throttleInMemory } from "../../control-plane/accounts/throttle.ts";
import { describeMachine } from "./agent.ts";
import { type Ask, type InProcess, startInProcess } from "./in-process.ts";

let at: InProcess;
beforeAll(async () => {
	at = await startInProcess({
		SKEIN_SIGNUP: "open",
		SKEIN_GITHUB_CLIENT_ID: "an id",
		SKEIN_GITHUB_CLIENT_SECRET: "a secret",
	});
});
afterAll(() => at.stop());

const password = "correct horse battery";

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers as clients without types do
type Body = any;

const ask = async (path: string, options: Ask = {}, on: InProcess = at) => {
	const reply = await on.ask(path, options);
	const text = await reply.text();
	const body: Body = text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : text;
	return { status: reply.status, headers: reply.headers, body };
};
const post = (path: string, body: unknown, token?: string, on: InProcess = at) =>
	ask(path, { method: "POST", body, ...(token && { token }) }, on);

let people = 0;
/** Somebody new, with a session and an organization of their own. */
async function signUp(more: object = {}, on: InProcess = at) {
	const email = `person${people++}@example.com`;
	const reply = await post(
		"/api/auth/sign-up/email",
		{ name: "Ada", email, password, ...more },
		undefined,
		on,
	);
	expect({ status: reply.status, body: reply.body }).toMatchObject({ status: 200 });
	const token = reply.body.token as string;
	const account = (await ask("/api/account", { token }, on)).body;
	return { email, token, id: account.id as string, organization: account.organization as string };
}

async function invite(from: { token: string; organization: string }, role: string) {
	const path = `/api/organizations/${from.organization}/invitations`;
	const { status, body } = await post(path, { role, note: "for Grace" }, from.token);
	expect(status).toBe(201);
	return body as { invitation: string; id: string; link: string };
}

/** A member of that organization, who came by an invitation. */
async function member(from: { token: string; organization: string }, role: string) {
	const { invitation } = await invite(from, role);
	return { ...(await signUp({ invitation })), organization: from.organization };
}

describe("signing up and in", () => {
	test("whoever signs up has a session, and an organization that is theirs", async () => {
		const ada = await signUp();
		const { body } = await ask("/api/account", { token: ada.token });
		expect(body).toMatchObject({
			email: ada.email,
			kind: "user",
			role: "owner",
			organizations: [{ id: ada.organization, name: "Ada", role: "owner" }],
		});
		expect(ada.organization).not.toBe("owner");
	});

	test("the password lets in, another does not, and neither does the token after signing out", async () => {
		const ada = await signUp();
		const wrong = { email: ada.email, password: "wrong horse battery" };
		expect((await post("/api/auth/sign-in/email", wrong)).status).toBe(401);
		const again = await post("/api/auth/sign-in/email", { email: ada.email, password });
		expect(again.status).toBe(200);
		const { token } = again.body;
		expect((await ask("/api/account", { token })).status).toBe(200);
		expect((await post("/api/auth/sign-out", {}, token)).status).toBe(204);
		expect((await ask("/api/account", { token })).status).toBe(401);
		expect((await ask("/api/account", { token: ada.token })).status).toBe(200);
	});

	test("the cookie lets in too, but not from another site's page", async () => {
		const ada = await signUp();
		const { headers } = await post("/api/auth/sign-in/email", { email: ada.email, password });
		const Cookie = headers.get("Set-Cookie")?.split(";")[0] ?? "";
		expect(Cookie).toContain("skein.session_token=");
		expect((await ask("/api/account", { headers: { Cookie } })).status).toBe(200);
		const own = { Cookie, Origin: "http://skein.test" };
		expect((await ask("/api/account", { headers: own })).status).toBe(200);
		const foreign = { Cookie, Origin: "http://elsewhere.test" };
		expect((await ask("/api/account", { headers: foreign })).status).toBe(401);
	});

	test("sessions are listed, and each can be ended", async () => {
		const ada = await signUp();
		const { body } = await post("/api/auth/sign-in/email", { email: ada.email, password });
		const { body: sessions } = await ask("/api/account/sessions", { token: ada.token });
		expect(sessions.map((each: Body) => [each.isThis, each.address])).toEqual([
			[true, "192.0.2.7"],
			[false, "192.0.2.7"],
		]);
		const path = `/api/account/sessions/${sessions[1].id}`;
		const stranger = await signUp();
		expect((await ask(path, { method: "DELETE", token: stranger.token })).status).toBe(404);
		expect((await ask(path, { method: "DELETE", token: ada.token })).status).toBe(204);
		expect((await ask("/api/account", { token: body.token })).status).toBe(401);
	});

	test("a session ends after thirty days", async () => {
		const ada = await signUp();
		const before = at.nowMs;
		at.nowMs += 30 * 86_400_000 + 60_000;
		expect((await ask("/api/account", { token: ada.token })).status).toBe(401);
		at.nowMs = before;
	});

	test("a new password ends the other sessions on demand", async () => {
		const ada = await signUp();
		const { body } = await post("/api/auth/sign-in/email", { email: ada.email, password });
		const change = {
			currentPassword: password,
			newPassword: "another horse battery",
			revokeOtherSessions: true,
		};
		expect((await post("/api/auth/change-password", change, ada.token)).status).toBe(200);
		expect((await ask("/api/account", { token: body.token })).status).toBe(401);
		expect((await post("/api/auth/sign-in/email", { email: ada.email, password })).status).toBe(
			401,
		);
	});

	test("neither passwords nor sessions' tokens are in the database", async () => {
		const ada = await signUp();
		const [sessions, logins] = await at.database.read(
			["session", "login"].map((table) => ({ sql: `select * from ${table}`, args: [] })),
		);
		const dump = JSON.stringify([sessions?.rows, logins?.rows]);
		expect(dump).toContain(ada.id);
		expect(dump).not.toContain(ada.token);
		expect(dump).not.toContain(password);
	});

	test("a session is no API token, and its hash is none either", async () => {
		const ada = await signUp();
		const [rows] = await at.database.read([
			{ sql: "select token from session where user = ?", args: [ada.id] },
		]);
		const token = String(rows?.rows[0]?.["token"]);
		expect((await ask("/api/account", { token })).status).toBe(401);
	});

	test.each([
		["a short password", { name: "A", email: "short@example.com", password: "short" }],
		["no address", { name: "A", email: "nothing", password }],
		["no name", { email: "noname@example.com", password }],
	])("%s is refused", async (_what, body) => {
		expect((await post("/api/auth/sign-up/email", body)).status).toBe(400);
	});

	test("what the library has besides is not there", async () => {
		const { token } = await signUp();
		for (const path of ["/api/auth/ok", "/api/auth/list-sessions", "/api/auth/delete-user"]) {
			expect((await ask(path, { token })).status).toBe(404);
		}
	});
});

describe("GitHub", () => {
	const realFetch = globalThis.fetch;
	afterAll(() => {
		globalThis.fetch = realFetch;
	});
	const github = (login: string, email: string) => {
		const answer = async (input: Parameters<typeof fetch>[0]) => {
			const url = String(input instanceof Request ? input.url : input);
			if (url.startsWith("https://github.com/login/oauth/access_token")) {
				return Response.json({ access_token: "from github", token_type: "bearer", scope: "" });
			}
			if (url === "https://api.github.com/user") {
				return Response.json({ id: 4711, login, name: "Grace", email, avatar_url: "" });
			}
			if (url === "https://api.github.com/user/emails") {
				return Response.json([{ email, primary: true, verified: true, visibility: "public" }]);
			}
			throw new Error(`nobody asked for ${url}`);
		};
		globalThis.fetch = answer as typeof fetch;
	};

	test("there and back, and a session and an organization are there", async () => {
		const asked = await post("/api/auth/sign-in/social", { provider: "github", callbackURL: "/" });
		expect(asked.status).toBe(200);
		const url = new URL(asked.body.url);
		expect(url.origin).toBe("https://github.com");
		expect(url.searchParams.get("redirect_uri")).toBe("http://skein.test/api/auth/callback/github");
		const Cookie = asked.headers.get("Set-Cookie")?.split(";")[0] ?? "";
		github("grace", "grace@example.com");
		const back = await ask(
			`/api/auth/callback/github?code=a-code&state=${url.searchParams.get("state")}`,
			{ headers: { Cookie } },
		);
		expect([back.status, back.headers.get("Location")]).toEqual([
			302,
			expect.stringMatching(/\/$/),
		]);
		const session = back.headers
			.getSetCookie()
			.map((each) => each.split(";")[0] ?? "")
			.find((each) => each.startsWith("skein.session_token="));
		const { body } = await ask("/api/account", { headers: { Cookie: session ?? "" } });
		expect(body).toMatchObject({ email: "grace@example.com", role: "owner", name: "Grace" });
		const [logins] = await at.database.read([
			{ sql: "select * from login where provider = 'github'", args: [] },
		]);
		expect(logins?.rows).toHaveLength(1);
		expect(JSON.stringify(logins?.rows)).not.toContain("from github");
	});

	test("a foreign state leads nowhere, and the operator's log has it", async () => {
		const back = await ask("/api/auth/callback/github?code=a-code&state=made-up");
		expect(back.status).toBe(302);
		expect(back.headers.get("Location")).toContain("error=");
		const { body } = await ask("/api/audit?limit=1000", { token: at.ownerToken });
		expect(body.entries).toContainEqual(
			expect.objectContaining({
				actor: { kind: "unknown", id: "", name: "", user: "" },
				action: "GET /api/auth/callback/:provider",
				status: 401,
			}),
		);
	});

	test("whoever joins it to their account comes in by it, and the log has both", async () => {
		const ada = await signUp();
		await at.database.write([{ sql: "delete from login where provider = 'github'", args: [] }]);
		const through = async (path: string, token?: string) => {
			const asked = await post(path, { provider: "github", callbackURL: "/" }, token);
			const Cookie = asked.headers.get("Set-Cookie")?.split(";")[0] ?? "";
			github("ada", ada.email);
			const state = new URL(asked.body.url).searchParams.get("state");
			const back = await ask(`/api/auth/callback/github?code=a-code&state=${state}`, {
				headers: { Cookie },
			});
			expect(back.headers.get("Location")).not.toContain("error=");
		};
		at.nowMs += 1_000;
		await through("/api/auth/link-social", ada.token);
		at.nowMs += 1_000;
		await through("/api/auth/sign-in/social");
		const { body } = await ask("/api/audit?limit=2", { token: ada.token });
		at.nowMs = Date.now();
		const what = ({ action, target, actor, status }: Body) => [action, target, actor.id, status];
		expect(body.entries.map(what)).toEqual([
			["GET /api/auth/callback/:provider", ada.id, ada.id, 200],
			["POST /api/auth/link-social", "github", ada.id, 200],
		]);
		await at.database.write([{ sql: "delete from login where provider = 'github'", args: [] }]);
	});

	test("an address that has signed up by password is not taken over", async () => {
		const ada = await signUp();
		const asked = await post("/api/auth/sign-in/social", { provider: "github", callbackURL: "/" });
		const Cookie = asked.headers.get("Set-Cookie")?.split(";")[0] ?? "";
		github("mallory", ada.email);
		await at.database.write([{ sql: "delete from login where provider = 'github'", args: [] }]);
		const state = new URL(asked.body.url).searchParams.get("state");
		const back = await ask(`/api/auth/callback/github?code=a-code&state=${state}`, {
			headers: { Cookie },
		});
		expect(back.headers.get("Location")).toContain("error=account_not_linked");
	});
});

describe("organizations", () => {
	test("an invitation says what it is, lets one in, once", async () => {
		const ada = await signUp();
		const { invitation, link } = await invite(ada, "developer");
		expect((await ask(new URL(link).pathname)).body).toMatchObject({
			organization: "Ada",
			role: "developer",
		});
		const grace = await signUp({ invitation });
		const { body } = await ask("/api/account", { token: grace.token });
		expect(body.organizations).toEqual([{ id: ada.organization, name: "Ada", role: "developer" }]);
		const again = { name: "B", email: "late@example.com", password, invitation };
		expect((await post("/api/auth/sign-up/email", again)).status).toBe(404);
		expect((await ask(new URL(link).pathname)).status).toBe(404);
	});

	test("one link that two follow at once lets one of them in", async () => {
		const ada = await signUp();
		const [one, two] = [await signUp(), await signUp()];
		const { invitation } = await invite(ada, "viewer");
		const replies = await Promise.all(
			[one, two].map(({ token }) => post("/api/invitations/accept", { invitation }, token)),
		);
		expect(replies.map(({ status }) => status).sort()).toEqual([200, 404]);
		const { body } = await ask(`/api/organizations/${ada.organization}/members`, {
			token: ada.token,
		});
		expect(body).toHaveLength(2);
	});

	test("an invitation can be withdrawn, and runs out", async () => {
		const ada = await signUp();
		const withdrawn = await invite(ada, "viewer");
		const path = `/api/organizations/${ada.organization}/invitations`;
		expect((await ask(path, { token: ada.token })).body).toHaveLength(1);
		const gone = await ask(`${path}/${withdrawn.id}`, { method: "DELETE", token: ada.token });
		expect(gone.status).toBe(204);
		const late = await invite(ada, "viewer");
		at.nowMs += 7 * 86_400_000;
		const grace = await signUp();
		for (const { invitation } of [withdrawn, late]) {
			expect((await post("/api/invitations/accept", { invitation }, grace.token)).status).toBe(404);
		}
		at.nowMs = Date.now();
	});

	test("a member of two acts for the one that the request names", async () => {
		const ada = await signUp();
		const grace = await signUp();
		const { invitation } = await invite(ada, "viewer");
		at.nowMs += 1_000;
		await post("/api/invitations/accept", { invitation }, grace.token);
		const as = async (headers: Record<string, string>) =>
			(await ask("/api/account", { token: grace.token, headers })).body;
		expect(await as({})).toMatchObject({ organization: grace.organization, role: "owner" });
		const named = { "X-Skein-Organization": ada.organization };
		expect(await as(named)).toMatchObject({ organization: ada.organization, role: "viewer" });
		const refused = await ask(`/api/organizations/${ada.organization}`, {
			method: "PATCH",
			token: grace.token,
			body: { name: "mine" },
		});
		expect(refused.status).toBe(403);
	});

	test("a member of two reaches a cluster of either by naming it, as what they are there", async () => {
		const ada = await signUp();
		const grace = await signUp();
		const stranger = await signUp();
		const { invitation } = await invite(ada, "viewer");
		at.nowMs += 1_000;
		await post("/api/invitations/accept", { invitation }, grace.token);
		at.nowMs = Date.now();
		const ids: string[] = [];
		for (const [who, name] of [
			[ada, "of-ada"],
			[grace, "of-grace"],
			[stranger, "of-stranger"],
		] as const) {
			ids.push((await post("/api/clusters", { name }, who.token)).body.id);
		}
		const network = (at: string, headers = {}) =>
			ask(`${at}/networks/create`, {
				method: "POST",
				token: grace.token,
				headers,
				body: { Name: `n${people++}`, Driver: "overlay" },
			});
		// Without a name, the one of the oldest membership.
		for (const at of ["", "/c/of-grace"]) expect((await network(at)).status).toBe(201);
		for (const named of ["/c/of-ada", ""]) {
			const headers = named === "" ? { "Skein-Cluster": ids[0] ?? "" } : {};
			const read = await ask(`${named}/networks`, { token: grace.token, headers });
			expect(read.body.map(({ Name }: Body) => Name)).toEqual(["ingress"]);
			const refused = await network(named, headers);
			expect(refused).toMatchObject({
				status: 403,
				body: { message: expect.stringContaining("takes the role developer") },
			});
		}
		expect((await post("/api/clusters/of-ada/keys/rotate", {}, grace.token)).status).toBe(403);
		expect((await post("/api/clusters/of-grace/keys/rotate", {}, grace.token)).status).toBe(200);
		// What is not theirs is as what is not there, whichever organization is said.
		for (const organization of [undefined, stranger.organization, ada.organization]) {
			const headers = { ...(organization && { "X-Skein-Organization": organization }) };
			for (const named of ["of-stranger", ids[2] ?? "", "of-nobody"]) {
				const path = await ask(`/c/${named}/networks`, { token: grace.token, headers });
				const byHeader = { "Skein-Cluster": named, ...headers };
				const header = await ask("/networks", { token: grace.token, headers: byHeader });
				const isMember = organization !== stranger.organization;
				expect([path.status, header.status]).toEqual(isMember ? [404, 404] : [403, 403]);
				expect(JSON.stringify([path.body, header.body])).not.toContain(stranger.organization);
			}
		}
		const other = { "X-Skein-Organization": grace.organization };
		expect((await ask("/c/of-ada/networks", { token: grace.token, headers: other })).status).toBe(
			404,
		);
		// A token is of one organization, whoever made it.
		const { body: made } = await post("/api/tokens", { name: "ci" }, grace.token);
		expect((await ask("/c/of-ada/networks", { token: made.token })).status).toBe(404);
	});

	test("an organization that one is no member of is not there", async () => {
		const ada = await signUp();
		const stranger = await signUp();
		const own = await post("/api/tokens", { name: "mine" }, stranger.token);
		for (const token of [stranger.token, own.body.token as string]) {
			for (const path of ["", "/members", "/invitations"]) {
				const reply = await ask(`/api/organizations/${ada.organization}${path}`, { token });
				expect(reply.status).toBe(404);
			}
			const none = await ask("/api/organizations/none", { token });
			const theirs = await ask(`/api/organizations/${ada.organization}`, { token });
			expect(theirs.body).toEqual(none.body);
		}
	});

	test("roles are changed by admins, owners' by owners alone, and the last owner's by nobody", async () => {
		const ada = await signUp();
		const grace = await member(ada, "admin");
		const linus = await member(ada, "viewer");
		const path = (user: string) => `/api/organizations/${ada.organization}/members/${user}`;
		const set = async (who: { token: string }, user: string, role: string) =>
			(await ask(path(user), { method: "PATCH", token: who.token, body: { role } })).status;
		expect(await set(linus, linus.id, "owner")).toBe(403);
		expect(await set(grace, linus.id, "developer")).toBe(204);
		expect(await set(grace, linus.id, "owner")).toBe(403);
		expect(await set(grace, ada.id, "viewer")).toBe(403);
		expect(await set(ada, ada.id, "viewer")).toBe(409);
		expect((await ask(path(ada.id), { method: "DELETE", token: ada.token })).status).toBe(409);
		expect(await set(ada, grace.id, "owner")).toBe(204);
		expect(await set(ada, ada.id, "viewer")).toBe(204);
		expect(await set(grace, grace.id, "viewer")).toBe(409);
		const invitation = await post(
			`/api/organizations/${ada.organization}/invitations`,
			{ role: "owner" },
			linus.token,
		);
		expect(invitation.status).toBe(403);
	});

	test("whoever is removed, or goes, has nothing there any more; their tokens neither", async () => {
		const ada = await signUp();
		const grace = await member(ada, "developer");
		const { body: made } = await post("/api/tokens", { name: "ci" }, grace.token);
		expect((await ask("/api/account", { token: made.token })).status).toBe(200);
		const path = `/api/organizations/${ada.organization}/members/${grace.id}`;
		const linus = await member(ada, "developer");
		expect((await ask(path, { method: "DELETE", token: linus.token })).status).toBe(403);
		expect((await ask(path, { method: "DELETE", token: grace.token })).status).toBe(204);
		expect((await ask("/api/account", { token: made.token })).status).toBe(401);
		const { body } = await ask("/api/account", { token: grace.token });
		expect(body).toMatchObject({ organizations: [], organization: "" });
		expect((await ask("/info", { token: grace.token })).status).toBe(403);
	});
});

describe("the audit log", () => {
	test("is the organization's own, in pages, filtered, and whole as NDJSON", async () => {
		const ada = await signUp();
		const grace = await member(ada, "admin");
		for (const name of ["one", "two", "three"]) await post("/api/tokens", { name }, grace.token);
		const { body: first } = await ask("/api/audit?limit=3", { token: ada.token });
		expect(first.entries).toHaveLength(3);
		const { body: rest } = await ask(`/api/audit?before=${first.next}`, { token: ada.token });
		const all = [...first.entries, ...rest.entries];
		expect(all.map(({ action }: Body) => action).sort()).toEqual([
			"POST /api/auth/sign-up",
			"POST /api/invitations/accept",
			"POST /api/organizations/:organization/invitations",
			"POST /api/tokens",
			"POST /api/tokens",
			"POST /api/tokens",
		]);
		const { body: hers } = await ask(`/api/audit?actor=${grace.id}`, { token: ada.token });
		expect(hers.entries).toHaveLength(4);
		expect(hers.entries[0]).toMatchObject({
			actor: { kind: "user", id: grace.id },
			from: { address: "192.0.2.7" },
			status: 200,
		});
		const whole = await at.ask("/api/audit?format=ndjson", { token: ada.token });
		expect(whole.headers.get("Content-Type")).toBe("application/x-ndjson");
		expect((await whole.text()).trim().split("\n")).toHaveLength(6);
	});

	test("times bound it", async () => {
		const ada = await signUp();
		at.nowMs += 1_000;
		const later = new Date(at.nowMs).toISOString();
		await post("/api/tokens", { name: "later" }, ada.token);
		const since = await ask(`/api/audit?since=${later}`, { token: ada.token });
		const until = await ask(`/api/audit?until=${later}`, { token: ada.token });
		expect([since, until].map(({ body }) => body.entries.map((each: Body) => each.action))).toEqual(
			[["POST /api/tokens"], ["POST /api/auth/sign-up"]],
		);
		expect((await ask("/api/audit?since=yesterday", { token: ada.token })).status).toBe(400);
	});

	test("is kept for as long as the organization says", async () => {
		const ada = await signUp();
		const path = `/api/organizations/${ada.organization}`;
		await ask(path, { method: "PATCH", token: ada.token, body: { auditDays: 2 } });
		const count = async () =>
			(await ask("/api/audit", { token: ada.token })).body.entries.length as number;
		await at.world.access.audit.prune(at.nowMs + 2 * 86_400_000 - 1_000);
		expect(await count()).toBe(2);
		await at.world.access.audit.prune(at.nowMs + 2 * 86_400_000 + 60_000);
		expect(await count()).toBe(0);
	});

	test("has who signed in and out, who could not, and whose password changed, in each of their organizations", async () => {
		const ada = await signUp();
		const grace = await member(ada, "developer");
		const second = await post("/api/organizations", { name: "second" }, grace.token);
		at.nowMs += 1_000;
		const since = new Date(at.nowMs).toISOString();
		const email = grace.email.toUpperCase();
		expect((await post("/api/auth/sign-in/email", { email, password: "wrong" })).status).toBe(401);
		const { body } = await post("/api/auth/sign-in/email", { email, password });
		const change = (currentPassword: string) =>
			post(
				"/api/auth/change-password",
				{ currentPassword, newPassword: "another horse battery", revokeOtherSessions: false },
				body.token,
			);
		expect((await change("wrong horse battery")).status).toBe(400);
		expect((await change(password)).status).toBe(200);
		expect((await post("/api/auth/sign-out", {}, body.token)).status).toBe(204);
		const seen = async (organization: string, token: string) => {
			const headers = { "X-Skein-Organization": organization };
			const { body } = await ask(`/api/audit?actor=${grace.id}&since=${since}`, { token, headers });
			return body.entries
				.map((each: Body) => [each.action, each.actor.kind, each.actor.id, each.status])
				.sort((one: Body, other: Body) => one[3] - other[3] || (one[0] < other[0] ? -1 : 1));
		};
		const expected = [
			["POST /api/auth/change-password", "user", grace.id, 200],
			["POST /api/auth/sign-in/email", "user", grace.id, 200],
			["POST /api/auth/sign-out", "user", grace.id, 204],
			["POST /api/auth/change-password", "user", grace.id, 400],
			["POST /api/auth/sign-in/email", "unknown", "", 401],
		];
		expect(await seen(ada.organization, ada.token)).toEqual(expected);
		expect(await seen(second.body.id, grace.token)).toEqual(expected);
		const { body: all } = await ask("/api/audit?limit=1000", { token: ada.token });
		expect(JSON.stringify(all)).not.toContain("horse");
		at.nowMs = Date.now();
	});

	test("has an address that nobody has in the operator's", async () => {
		const email = "nobody@example.com";
		const attempt = await post("/api/auth/sign-in/email", { email, password });
		expect(attempt.status).toBe(401);
		const { body } = await ask("/api/audit?limit=1000", { token: at.ownerToken });
		expect(body.entries).toContainEqual(
			expect.objectContaining({
				actor: { kind: "unknown", id: "", name: "", user: "" },
				action: "POST /api/auth/sign-in/email",
				target: email,
				status: 401,
			}),
		);
		// What is no address is not kept: it may be a password in the wrong field.
		const slip = { email: password, password };
		expect((await post("/api/auth/sign-in/email", slip)).status).toBe(400);
		const { body: after } = await ask("/api/audit?limit=1000", { token: at.ownerToken });
		expect(JSON.stringify(after)).not.toContain(password);
	});

	test("is for admins", async () => {
		const ada = await signUp();
		const grace = await member(ada, "developer");
		expect((await ask("/api/audit", { token: grace.token })).status).toBe(403);
	});
});

describe("leaving", () => {
	const cluster = async (who: { token: string }, name: string) =>
		(await post("/api/clusters", { name }, who.token)).body.id as string;
	const rowsOf = async (id: string) => {
		const tables = [
			"user",
			"session",
			"login",
			"member",
			"organization",
			"invitation",
			"token",
			"audit",
		];
		const found = await at.database.read(
			tables.map((table) => ({ sql: `select * from ${table}`, args: [] })),
		);
		return found.flatMap(({ rows }) => rows.filter((row) => JSON.stringify(row).includes(id)));
	};

	const operatorsLog = async (actor: string): Promise<Body[]> =>
		(await ask(`/api/audit?actor=${actor}`, { token: at.ownerToken })).body.entries;

	test("an organization goes with its clusters, members, tokens and log; the people stay", async () => {
		const ada = await signUp();
		const grace = await member(ada, "admin");
		const id = await cluster(ada, "leaving-one");
		expect(id).toMatch(/^[0-9a-z]{25}$/);
		const { body: swarm } = await ask("/c/leaving-one/swarm", { token: ada.token });
		const joined = await post("/agent/join", {
			token: swarm.JoinTokens.Worker,
			description: describeMachine(1),
		});
		const { credential } = joined.body;
		const path = `/api/organizations/${ada.organization}`;
		expect((await ask(path, { method: "DELETE", token: grace.token })).status).toBe(403);
		expect((await ask(path, { method: "DELETE", token: ada.token })).status).toBe(204);
		// But for one row, in the log of whoever runs this.
		expect(await rowsOf(ada.organization)).toEqual([
			expect.objectContaining({ organization: "owner", target: `${ada.organization} Ada` }),
		]);
		expect((await operatorsLog(ada.id))[0]).toMatchObject({
			actor: { kind: "user", id: ada.id, name: "Ada" },
			action: "DELETE /api/organizations/:organization",
			from: { address: "192.0.2.7" },
			status: 204,
		});
		expect((await at.world.directory.placementOf(id as never))?.state).not.toBe("placed");
		const poll = await ask("/agent/assignment?revision=0&hash=", { token: credential });
		expect(poll.status).toBe(410);
		for (const { token } of [ada, grace]) {
			expect((await ask("/api/account", { token })).body.organizations).toEqual([]);
		}
	});

	test("an account goes with what was its alone", async () => {
		const ada = await signUp();
		await cluster(ada, "leaving-two");
		const { body: made } = await post("/api/tokens", { name: "ci" }, ada.token);
		expect((await ask("/api/account", { method: "DELETE", token: made.token })).status).toBe(400);
		expect((await ask("/api/account", { method: "DELETE", token: ada.token })).status).toBe(204);
		expect((await rowsOf(ada.id)).map((row) => row["organization"])).toEqual(["owner", "owner"]);
		expect((await operatorsLog(ada.id)).map(({ action }) => action).sort()).toEqual([
			"DELETE /api/account",
			"DELETE /api/organizations/:organization",
		]);
		for (const token of [ada.token, made.token]) {
			expect((await ask("/api/account", { token })).status).toBe(401);
		}
		expect((await post("/api/auth/sign-in/email", { email: ada.email, password })).status).toBe(
			401,
		);
	});

	test("the last owner of others hands over first", async () => {
		const ada = await signUp();
		const grace = await member(ada, "developer");
		const gone = () => ask("/api/account", { method: "DELETE", token: ada.token });
		expect(await gone()).toMatchObject({
			status: 409,
			body: { message: expect.stringContaining("Ada") },
		});
		const path = `/api/organizations/${ada.organization}/members/${grace.id}`;
		await ask(path, { method: "PATCH", token: ada.token, body: { role: "owner" } });
		expect((await gone()).status).toBe(204);
		// Those who stay see that somebody went.
		const { body: log } = await ask(`/api/audit?actor=${ada.id}`, { token: grace.token });
		expect(log.entries.map(({ action }: Body) => action)).toContain("DELETE /api/account");
		expect((await operatorsLog(ada.id)).map(({ action }) => action)).toEqual([
			"DELETE /api/account",
		]);
		const { body } = await ask("/api/account", { token: grace.token });
		expect(body).toMatchObject({ organization: ada.organization, role: "owner" });
	});

	test("the control plane's own organization stays", async () => {
		for (const path of ["/api/organizations/owner", "/api/account"]) {
			expect((await ask(path, { method: "DELETE", token: at.ownerToken })).status).toBe(403);
		}
	});
});

describe("asking too often", () => {
	let strict: InProcess;
	let nowMs = 0;
	beforeAll(async () => {
		const one = { perSecond: 1, burst: 1 };
		const limits = {
			address: { perSecond: 10, burst: 5 },
			"sign-in": one,
			actor: one,
			agent: one,
			mail: one,
		};
		strict = await startInProcess(
			{},
			throttleInMemory(() => nowMs, limits),
		);
	});
	afterAll(() => strict.stop());

	test("gets 429 with when to come again, each for themselves; the socket never", async () => {
		const info = (token: string, address: string, via: "tcp" | "socket" = "tcp") =>
			ask("/info", { token, env: { address, via } }, strict);
		const { token } = await strict.member("viewer");
		expect((await info(token, "192.0.2.1")).status).toBe(200);
		const late = await info(token, "192.0.2.2");
		expect([late.status, late.headers.get("Retry-After")]).toEqual([429, "1"]);
		expect(late.body.message).toContain("try again in 1 s");
		expect((await info(strict.ownerToken, "192.0.2.2")).status).toBe(200);
		for (let times = 0; times < 10; times++) {
			expect((await info("", "192.0.2.9", "socket")).status).toBe(200);
		}
		nowMs += 1_000;
		expect((await info(token, "192.0.2.1")).status).toBe(200);
	});

	test("counts whoever is not let in, by their address", async () => {
		const statuses: number[] = [];
		for (let times = 0; times < 7; times++) {
			const { status } = await ask(
				"/info",
				{ token: "made-up", env: { address: "192.0.2.3" } },
				strict,
			);
			statuses.push(status);
		}
		expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429]);
		expect((await ask("/info", { env: { address: "192.0.2.4" } }, strict)).status).toBe(401);
	});

	test("signing in has a stricter measure, and agents one of their own", async () => {
		const at5 = { env: { address: "192.0.2.5" } };
		const body = { email: "a@example.com", password };
		const sign = () => ask("/api/auth/sign-in/email", { method: "POST", body, ...at5 }, strict);
		expect((await sign()).status).toBe(401);
		expect((await sign()).status).toBe(429);
		const poll = () => ask("/agent/assignment", at5, strict);
		expect((await poll()).status).toBe(401);
		expect((await poll()).status).toBe(429);
		expect((await ask("/_ping", at5, strict)).status).toBe(200);
	});
});

describe("where only who was invited may sign up", () => {
	let closed: InProcess;
	beforeAll(async () => {
		closed = await startInProcess();
	});
	afterAll(() => closed.stop());

	test("nobody comes by themselves, and there is one organization", async () => {
		const body = { name: "A", email: "a@example.com", password };
		const refused = await post("/api/auth/sign-up/email", body, undefined, closed);
		expect(refused).toMatchObject({
			status: 403,
			body: { message: expect.stringContaining("invitation: ") },
		});
		const path = "/api/organizations/owner/invitations";
		const { body: made } = await post(path, { role: "developer" }, closed.ownerToken, closed);
		const grace = await signUp({ invitation: made.invitation }, closed);
		expect(grace.organization).toBe("owner");
		expect((await ask("/info", { token: grace.token }, closed)).status).toBe(200);
		expect((await post("/api/organizations", { name: "mine" }, grace.token, closed)).status).toBe(
			403,
		);
	});
});
