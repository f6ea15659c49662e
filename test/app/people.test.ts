// People in every place the control plane runs: the owner invites, somebody signs up, makes a token, and it works.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Runtime, runtimes } from "../runtimes.ts";

for (const { name, there, start } of runtimes) {
	describe.skipIf(!there)(name, () => {
		let at: Runtime;
		beforeAll(async () => {
			at = await start();
		}, 30_000);
		afterAll(() => at.stop(), 15_000);

		// biome-ignore lint/suspicious/noExplicitAny: tests look into answers as clients without types do
		type Body = any;
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

		test("from an invitation to a token that deploys", async () => {
			const account = await ask("GET", "/api/account", at.token);
			expect(account.body).toMatchObject({ organization: "owner", role: "owner", kind: "token" });
			const path = `/api/organizations/${account.body.organization}`;
			const invited = await ask("POST", `${path}/invitations`, at.token, { role: "developer" });
			expect(invited.status).toBe(201);

			const password = "correct horse battery";
			const person = { name: "Ada", email: "ada@example.com", password };
			expect((await ask("POST", "/api/auth/sign-up/email", undefined, person)).status).toBe(403);
			const { invitation } = invited.body;
			const joined = await ask("POST", "/api/auth/sign-up/email", undefined, {
				...person,
				invitation,
			});
			expect(joined.status).toBe(200);
			const { email } = person;
			const wrong = await ask("POST", "/api/auth/sign-in/email", undefined, {
				email,
				password: "wrong horse",
			});
			expect(wrong.status).toBe(401);
			const session = await ask("POST", "/api/auth/sign-in/email", undefined, { email, password });
			expect(session.status).toBe(200);

			const made = await ask("POST", "/api/tokens", session.body.token, { name: "laptop" });
			expect(made).toMatchObject({ status: 201, body: { role: "developer" } });
			const { token, id } = made.body;
			expect((await ask("GET", "/info", token)).status).toBe(200);
			const usage = await ask("GET", "/api/clusters/default/usage", token);
			expect(usage.body).toMatchObject({ nodes: { used: 0, limit: null } });
			const network = await ask("POST", "/networks/create", token, {
				Name: "people",
				Driver: "overlay",
			});
			expect(network.status).toBe(201);
			const refused = await ask("DELETE", "/nodes/none", token);
			expect(refused).toMatchObject({
				status: 403,
				body: { message: expect.stringContaining("admin") },
			});

			const { body: log } = await ask("GET", "/api/audit", at.token);
			const actions = log.entries.map(({ action, status }: Body) => `${action} ${status}`);
			expect(actions).toEqual(
				expect.arrayContaining([
					"POST /api/invitations/accept 200",
					"POST /api/tokens 200",
					"POST /networks/create 201",
					"DELETE /nodes/:id 403",
				]),
			);
			expect((await ask("DELETE", `/api/tokens/${id}`, session.body.token)).status).toBe(204);
			expect((await ask("GET", "/info", token)).status).toBe(401);
		}, 30_000);
	});
}
