// Mail, wherever the control plane runs, to a service that a test plays: codes for a new password, whose an address is,
// invitations; and what is said where none is sent.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { throttleInMemory } from "../../control-plane/accounts/throttle.ts";
import { type Runtime, startBun, startWorkerOver } from "../runtimes.ts";
import { hasSqld, startSqld } from "../store/databases.ts";
import { type Ask, type InProcess, startInProcess } from "./in-process.ts";

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers as clients without types do
type Body = any;

interface Sent {
	readonly from: string;
	readonly to: string;
	readonly subject: string;
	readonly text: string;
	readonly authorization: string | null;
}

/** Takes what a mail service takes. */
function startService() {
	const sent: Sent[] = [];
	const answer = { status: 200 };
	const server = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		async fetch(request) {
			const mail = (await request.json()) as Omit<Sent, "authorization">;
			sent.push({ ...mail, authorization: request.headers.get("Authorization") });
			return Response.json({ id: "1" }, answer);
		},
	});
	return {
		answer,
		sent,
		server,
		/** The next one to that address; they come after the answer that they are about. */
		async next(to: string): Promise<Sent> {
			for (;;) {
				const at = sent.findIndex((each) => each.to === to);
				if (at >= 0) return sent.splice(at, 1)[0] as Sent;
				await Bun.sleep(10);
			}
		},
	};
}
const service = startService();
afterAll(() => service.server.stop(true));

const from = "Skein <skein@example.com>";
const variables = {
	SKEIN_MAIL_URL: `http://127.0.0.1:${service.server.port}/emails`,
	SKEIN_MAIL_TOKEN: "the-mail-token",
	SKEIN_MAIL_FROM: from,
	SKEIN_URL: "http://skein.test",
	SKEIN_SIGNUP: "open",
};

const password = "correct horse battery";
const newPassword = "another horse battery";
const codeIn = ({ text }: Sent) => /Your code is (\S+)/.exec(text)?.[1] ?? "";
const linkIn = ({ text }: Sent) => /^http:\/\/skein\.test(\/\S+)$/m.exec(text)?.[1] ?? "";

const places = [
	{ name: "Bun over a file", there: true, start: () => startBun({ env: variables }) },
	{ name: "workerd over a libSQL server", there: hasSqld, start: startAtEdge },
];

async function startAtEdge(): Promise<Runtime> {
	const database = await startSqld();
	return startWorkerOver(database, () => database.stop(), variables);
}

for (const { name, there, start } of places) {
	describe.skipIf(!there)(name, () => {
		let at: Runtime;
		beforeAll(async () => {
			at = await start();
		}, 30_000);
		afterAll(() => at.stop(), 15_000);

		const ask = async (method: string, path: string, token?: string, body?: unknown) => {
			const reply = await fetch(`${at.url}${path}`, {
				method,
				headers: {
					...(token && { Authorization: `Bearer ${token}` }),
					...(body !== undefined && { "Content-Type": "application/json" }),
				},
				...(body !== undefined && { body: JSON.stringify(body) }),
			});
			const text = await reply.text();
			return { status: reply.status, body: (text === "" ? undefined : JSON.parse(text)) as Body };
		};

		test("an address is proved, a forgotten password replaced, an address changed, somebody invited", async () => {
			const email = "ada@example.com";
			const up = await ask("POST", "/api/auth/sign-up/email", undefined, {
				...{ name: "Ada", email, password },
			});
			expect(up.status).toBe(200);
			const account = async (token = up.body.token) =>
				(await ask("GET", "/api/account", token)).body;
			expect((await account()).emailVerified).toBe(false);
			const welcome = await service.next(email);
			expect(welcome).toMatchObject({ from, authorization: "Bearer the-mail-token" });
			expect((await ask("GET", linkIn(welcome))).body).toEqual({ status: true, email });
			expect((await account()).emailVerified).toBe(true);

			const forgot = await ask("POST", "/api/auth/request-password-reset", undefined, { email });
			expect(forgot.status).toBe(200);
			const token = codeIn(await service.next(email));
			const reset = () =>
				ask("POST", "/api/auth/reset-password", undefined, { token, newPassword });
			expect((await reset()).status).toBe(200);
			expect(await account()).toHaveProperty("message");
			expect((await reset()).status).toBe(400);
			const signIn = (word: string) =>
				ask("POST", "/api/auth/sign-in/email", undefined, { email, password: word });
			expect((await signIn(password)).status).toBe(401);
			const again = await signIn(newPassword);
			expect(again.status).toBe(200);

			const newEmail = "ada@example.org";
			const session = again.body.token;
			const change = await ask("POST", "/api/auth/change-email", session, { newEmail });
			expect(change.status).toBe(200);
			const agreed = await ask("GET", linkIn(await service.next(email)));
			expect(agreed).toEqual({ status: 200, body: { status: true } });
			expect((await account(session)).email).toBe(email);
			const proved = await ask("GET", linkIn(await service.next(newEmail)));
			expect(proved.body).toEqual({ status: true, email: newEmail });
			expect(await account(session)).toMatchObject({ email: newEmail, emailVerified: true });
			// Links sign nobody in.
			expect((await ask("GET", "/api/account/sessions", session)).body).toHaveLength(1);

			const { organization } = await account(session);
			const path = `/api/organizations/${organization}/invitations`;
			const invited = { role: "viewer", email: "grace@example.com" };
			const made = await ask("POST", path, session, invited);
			expect(made).toMatchObject({ status: 201, body: { mailed: true } });
			const mail = await service.next(invited.email);
			expect(mail.subject).toBe("An invitation to skein.test");
			expect(mail.text).toContain('"Ada" invites you to the organization "Ada"');
			expect((await ask("GET", linkIn(mail))).body).toMatchObject({ role: "viewer" });
		}, 30_000);
	});
}

const asking =
	(on: () => InProcess) =>
	async (path: string, options: Ask = {}) => {
		const reply = await on().ask(path, options);
		const text = await reply.text();
		const body: Body = text === "" ? undefined : JSON.parse(text);
		return { status: reply.status, headers: reply.headers, body };
	};

describe("a new password", () => {
	let at: InProcess;
	let nowMs = Date.now();
	beforeAll(async () => {
		at = await startInProcess(
			variables,
			throttleInMemory(() => nowMs),
		);
	});
	afterAll(() => at.stop());
	const ask = asking(() => at);
	const post = (path: string, body: unknown, token?: string, address = "192.0.2.7") =>
		ask(path, { method: "POST", body, env: { address }, ...(token && { token }) });
	let people = 0;
	const signUp = async () => {
		const email = `person${people++}@example.com`;
		const body = { name: "Ada", email, password };
		const address = `192.0.2.${100 + people}`;
		const reply = await post("/api/auth/sign-up/email", body, undefined, address);
		expect(reply.status).toBe(200);
		await service.next(email);
		const token = reply.body.token as string;
		const account = (await ask("/api/account", { token })).body;
		return { email, token, address, id: account.id as string };
	};
	const forgot = (email: string, address = "192.0.2.8") =>
		post("/api/auth/request-password-reset", { email }, undefined, address);
	const reset = (token: string, word = newPassword, address = "192.0.2.9") =>
		post("/api/auth/reset-password", { token, newPassword: word }, undefined, address);
	const actions = async (token: string) =>
		(await ask("/api/audit?limit=1000", { token })).body.entries.map(
			({ action, actor, target, status }: Body) => [action, actor.kind, target, status],
		);

	test("is asked for in the same words whether the address is known or not", async () => {
		const ada = await signUp();
		const known = await forgot(ada.email);
		const unknown = await forgot("nobody@example.com");
		await service.next(ada.email);
		const words = ({ status, body }: Body, email: string) => [
			status,
			JSON.stringify(body).replace(email, "EMAIL"),
		];
		expect(words(known, ada.email)).toEqual(words(unknown, "nobody@example.com"));
		expect(service.sent).toEqual([]);
		expect(await actions(ada.token)).toContainEqual([
			"POST /api/auth/request-password-reset",
			"unknown",
			ada.email,
			200,
		]);
		expect(await actions(at.ownerToken)).toContainEqual([
			"POST /api/auth/request-password-reset",
			"unknown",
			"nobody@example.com",
			200,
		]);
	});

	test("ends every session and every other code, and is in the log; API tokens stay", async () => {
		const ada = await signUp();
		const made = await post("/api/tokens", { name: "ci" }, ada.token);
		await forgot(ada.email);
		const first = codeIn(await service.next(ada.email));
		await forgot(ada.email.toUpperCase());
		const second = codeIn(await service.next(ada.email));
		expect((await reset(first)).body).toEqual({ status: true });
		expect((await ask("/api/account", { token: ada.token })).status).toBe(401);
		expect((await reset(second)).status).toBe(400);
		expect((await ask("/api/account", { token: made.body.token })).status).toBe(200);
		expect(await actions(made.body.token)).toContainEqual([
			"POST /api/auth/reset-password",
			"user",
			ada.id,
			200,
		]);
		expect(await actions(at.ownerToken)).toContainEqual([
			"POST /api/auth/reset-password",
			"unknown",
			"",
			400,
		]);
	});

	test("of two who have the code, one gets it", async () => {
		const ada = await signUp();
		await forgot(ada.email);
		const code = codeIn(await service.next(ada.email));
		const words = [newPassword, "a third horse battery"];
		const replies = await Promise.all(words.map((word) => reset(code, word)));
		expect(replies.map(({ status }) => status).sort()).toEqual([200, 400]);
	});

	test("is refused by the field's name where it is too short, or the code past its end or made up", async () => {
		const ada = await signUp();
		await forgot(ada.email);
		const code = codeIn(await service.next(ada.email));
		expect((await reset(code, "short")).body.message).toStartWith("newPassword: ");
		const [rows] = await at.database.read([
			{ sql: "select * from verification where value = ?", args: [ada.id] },
		]);
		expect(rows?.rows).toHaveLength(1);
		expect(JSON.stringify(rows?.rows)).not.toContain(code);
		await at.database.write([
			{ sql: "update verification set expires_ms = ? where value = ?", args: [1, ada.id] },
		]);
		for (const token of [code, "made-up", ""]) {
			const late = await reset(token);
			expect([late.status, late.body.message]).toEqual([400, expect.stringMatching(/^token: /)]);
		}
		expect((await post("/api/auth/reset-password", { newPassword })).body.message).toStartWith(
			"token: ",
		);
		expect((await forgot("no address")).body.message).toStartWith("email: ");
		const login = { email: ada.email, password };
		expect((await post("/api/auth/sign-in/email", login, undefined, ada.address)).status).toBe(200);
	});

	test("fills nobody's mailbox: three codes an hour, and asking itself is counted", async () => {
		const ada = await signUp();
		const statuses: number[] = [];
		for (let times = 0; times < 12; times++) {
			statuses.push((await forgot(ada.email, `198.51.100.${times}`)).status);
		}
		expect(statuses).toEqual([...Array(10).fill(200), 429, 429]);
		for (let times = 0; times < 3; times++) await service.next(ada.email);
		expect(service.sent).toEqual([]);
		const unknown = await Promise.all(
			Array.from({ length: 12 }, (_, times) => forgot("none@example.com", `198.51.100.${times}`)),
		);
		expect(unknown.map(({ status }) => status).sort()).toEqual(statuses);
		nowMs += 3_600_000;
		expect((await forgot(ada.email)).status).toBe(200);
	});

	test("a service that does not take a mail is in the log, and the answer is the same", async () => {
		const ada = await signUp();
		service.answer.status = 422;
		expect((await forgot(ada.email)).status).toBe(200);
		await service.next(ada.email);
		const refusal = () =>
			at.logged.find(({ cause }) => String(cause).includes("did not take a mail: 422"));
		while (!refusal()) await Bun.sleep(10);
		const { organization } = (await ask("/api/account", { token: ada.token })).body;
		const invited = { role: "viewer", email: "late@example.com" };
		const path = `/api/organizations/${organization}/invitations`;
		const made = await post(path, invited, ada.token);
		service.answer.status = 200;
		await service.next(invited.email);
		expect(made).toMatchObject({ status: 201, body: { mailed: false } });
		expect(made.body.link).toContain(made.body.invitation);
	});
});

describe("an address", () => {
	let at: InProcess;
	beforeAll(async () => {
		at = await startInProcess(variables);
	});
	afterAll(() => at.stop());
	const ask = asking(() => at);
	const post = (path: string, body: unknown, token?: string) =>
		ask(path, { method: "POST", body, ...(token && { token }) });
	const signUp = async (email: string) =>
		(await post("/api/auth/sign-up/email", { name: "Ada", email, password })).body.token as string;

	test("is proved by a link, asked for again with a session or a token, until it is", async () => {
		const token = await signUp("one@example.com");
		await service.next("one@example.com");
		const made = await post("/api/tokens", { name: "ci" }, token);
		for (const credential of [token, made.body.token]) {
			expect((await post("/api/auth/send-verification-email", {}, credential)).status).toBe(200);
		}
		await service.next("one@example.com");
		const mail = await service.next("one@example.com");
		expect((await ask(linkIn(mail))).headers.getSetCookie()).toEqual([]);
		expect((await post("/api/auth/send-verification-email", {}, token)).status).toBe(409);
		const { body } = await ask("/api/audit", { token });
		expect(body.entries.map(({ action, target }: Body) => `${action} ${target}`)).toContain(
			"GET /api/auth/verify-email one@example.com",
		);
		const broken = linkIn(mail).slice(0, -3);
		expect(await ask(broken)).toMatchObject({
			status: 400,
			body: { message: expect.stringContaining("token: ") },
		});
	});

	test("that was never proved is changed by the new one's word; somebody else's stays theirs", async () => {
		const token = await signUp("two@example.com");
		await signUp("three@example.com");
		const change = (newEmail: string, credential = token) =>
			post("/api/auth/change-email", { newEmail }, credential);
		await service.next("two@example.com");
		await service.next("three@example.com");
		// In the same words as where nobody has it.
		expect((await change("three@example.com")).body).toEqual(
			(await change("four@example.com")).body,
		);
		const late = linkIn(await service.next("four@example.com"));
		expect(service.sent).toEqual([]);
		await change("five@example.com");
		expect((await ask(linkIn(await service.next("five@example.com")))).status).toBe(200);
		// What it was about has changed.
		expect((await ask(late)).status).toBe(400);
		expect((await ask("/api/account", { token })).body.email).toBe("five@example.com");
		const made = await post("/api/tokens", { name: "ci" }, token);
		expect((await change("six@example.com", made.body.token)).body.message).toContain("sign in");
		expect((await change("six")).body.message).toStartWith("newEmail: ");
	});
});

describe("where no mail is sent", () => {
	let at: InProcess;
	beforeAll(async () => {
		at = await startInProcess({ SKEIN_SIGNUP: "open" });
	});
	afterAll(() => at.stop());
	const ask = asking(() => at);
	const post = (path: string, body: unknown, token?: string) =>
		ask(path, { method: "POST", body, ...(token && { token }) });
	const email = "ada@example.com";
	let token = "";
	beforeAll(async () => {
		const up = await post("/api/auth/sign-up/email", { name: "Ada", email, password });
		({ token } = up.body);
	});

	test("everything that wants mail says so, and what to do instead", async () => {
		const { organization } = (await ask("/api/account", { token })).body;
		const asked: readonly [string, object, string][] = [
			["/api/auth/request-password-reset", { email }, "POST /api/users/password-reset"],
			["/api/auth/send-verification-email", {}, "cannot be verified here"],
			["/api/auth/change-email", { newEmail: "b@example.com" }, "whoever runs"],
			[`/api/organizations/${organization}/invitations`, { role: "viewer", email }, "the link"],
		];
		for (const [path, body, remedy] of asked) {
			const { status, body: said } = await post(path, body, token);
			expect({ path, status, message: said.message }).toEqual({
				path,
				status: 400,
				message: expect.stringMatching(/SKEIN_MAIL_URL is not set/),
			});
			expect(said.message).toContain(remedy);
		}
	});

	test("whoever runs the control plane gives out a code; nobody else does", async () => {
		const path = "/api/users/password-reset";
		expect((await post(path, { email }, token)).status).toBe(403);
		const none = await post(path, { email: "none@example.com" }, at.ownerToken);
		expect([none.status, none.body.message]).toEqual([404, expect.stringContaining("email: ")]);
		const given = await ask(path, { method: "POST", body: { email }, env: { via: "socket" } });
		expect(given.status).toBe(201);
		const logs = await Promise.all(
			[token, at.ownerToken].map((each) => ask("/api/audit", { token: each })),
		);
		for (const { body } of logs) {
			expect(body.entries).toContainEqual(
				expect.objectContaining({ action: `POST ${path}`, status: 201 }),
			);
		}
		const reset = { token: given.body.code, newPassword };
		expect((await post("/api/auth/reset-password", reset)).status).toBe(200);
		const login = { email, password: newPassword };
		expect((await post("/api/auth/sign-in/email", login)).status).toBe(200);
	});
});
