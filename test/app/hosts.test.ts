// A session of somebody of two organizations, at the host names of their clusters: what a browser sends, and what it gets.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Here, startHere } from "./here.ts";

let here: Here;
let session: string;
let Cookie: string;

const url = "https://skein.test";

async function ask(at: string, init: { readonly headers?: object; readonly body?: unknown } = {}) {
	const request = new Request(at, {
		method: init.body === undefined ? "GET" : "POST",
		headers: { "Content-Type": "application/json", ...init.headers },
		...(init.body !== undefined && { body: JSON.stringify(init.body) }),
	});
	const reply = await here.fetch(request, { world: { ...here.world, publicUrl: url } });
	// biome-ignore lint/suspicious/noExplicitAny: tests look into answers as clients without types do
	return { status: reply.status, headers: reply.headers, body: (await reply.json()) as any };
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const host = (cluster: string) => `https://${cluster}.docker.skein.test`;
const network = (Name: string) => ({ Name, Driver: "overlay" });

beforeAll(async () => {
	here = await startHere(undefined, {
		signIn: { SKEIN_SIGNUP: "open" },
		dockerHost: "docker.skein.test",
	});
	const signUp = async (email: string) => {
		const body = { name: "Ada", email, password: "correct horse battery" };
		return ask(`${url}/api/auth/sign-up/email`, { body });
	};
	const ada = await signUp("ada@example.com");
	session = ada.body.token;
	Cookie = ada.headers.getSetCookie()[0]?.split(";")[0] ?? "";
	const stranger = await signUp("stranger@example.com");
	for (const [token, name] of [
		[session, "hers"],
		[stranger.body.token, "strange"],
	] as const) {
		const made = await ask(`${url}/api/clusters`, { headers: bearer(token), body: { name } });
		expect(made.status).toBe(201);
	}
	const { body: invited } = await ask(`${url}/api/organizations/owner/invitations`, {
		headers: bearer(here.token),
		body: { role: "viewer" },
	});
	const { invitation } = invited;
	const accepted = await ask(`${url}/api/invitations/accept`, {
		headers: bearer(session),
		body: { invitation },
	});
	expect(accepted.status).toBe(200);
});
afterAll(() => here.stop());

test("leads to the cluster that the host names, as what they are there", async () => {
	for (const headers of [{ Cookie }, bearer(session), { Cookie, Origin: host("default") }]) {
		const read = await ask(`${host("default")}/networks`, { headers });
		expect([read.status, read.body.length]).toEqual([200, 1]);
	}
	const own = `${host("hers")}/networks/create`;
	expect((await ask(own, { headers: { Cookie }, body: network("n1") })).status).toBe(201);
	const refused = await ask(`${host("default")}/networks/create`, {
		headers: { Cookie },
		body: network("n2"),
	});
	expect([refused.status, refused.body.message]).toEqual([
		403,
		expect.stringContaining("takes the role developer"),
	]);
	for (const cluster of ["strange", "nobodys"]) {
		const none = await ask(`${host(cluster)}/networks`, { headers: { Cookie } });
		expect([none.status, none.body]).toEqual([404, { message: `no such cluster: ${cluster}` }]);
	}
});

test("from our own page a browser has no cookie for it, or another site's: refused, with where it has one", async () => {
	for (const headers of [{}, { Cookie, Origin: url }]) {
		const { status, body } = await ask(`${host("hers")}/networks`, { headers });
		expect([status, body.message]).toEqual([
			401,
			expect.stringContaining(`a browser that signed in there asks at ${url}/c/hers`),
		]);
	}
	const there = await ask(`${url}/c/hers/networks`, { headers: { Cookie, Origin: url } });
	expect(there.status).toBe(200);
	const plain = await ask(`${url}/networks`);
	expect(plain.body.message).not.toContain("cookie");
});

test("signing in there makes a cookie for there; another site's page signs nobody in", async () => {
	const body = { email: "ada@example.com", password: "correct horse battery" };
	const at = (origin: string, from: string) =>
		ask(`${origin}/api/auth/sign-in/email`, { headers: { Cookie, Origin: from }, body });
	expect((await at(url, url)).status).toBe(200);
	const there = await at(host("hers"), host("hers"));
	expect(there.status).toBe(200);
	const own = {
		Cookie: there.headers.getSetCookie()[0]?.split(";")[0] ?? "",
		Origin: host("hers"),
	};
	expect((await ask(`${host("hers")}/networks`, { headers: own })).status).toBe(200);
	for (const origin of [url, host("hers")]) {
		expect((await at(origin, "https://elsewhere.test")).status).toBe(403);
	}
});
