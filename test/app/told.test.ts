// A forge is told how deployments go, whichever processes there are of a control plane, and whoever of them dies over it.

import { afterEach, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type StandIn, startForge } from "../forge.ts";
import { type BunProcess, startBun } from "../runtimes.ts";
import { hasSqld, startSqld } from "../store/databases.ts";

const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const end of ends.splice(0).reverse()) await end();
});

const started = () => {
	const forge = startForge("github", { token: "forge-token-1", project: "shop/web" });
	ends.push(() => forge.stop());
	return forge;
};

const call = async (at: BunProcess, method: string, path: string, body?: unknown) => {
	const reply = await fetch(`${at.url}${path}`, {
		method,
		headers: { Authorization: `Bearer ${at.token}` },
		...(body !== undefined && { body: JSON.stringify(body) }),
	});
	expect(reply.status).toBeLessThan(300);
	return reply.json() as Promise<{ told: { said: string | null; error: string } }>;
};

const path = "/api/applications/web/deployments";
const sha = "a".repeat(40);

/** There is no node: it waits for one, and that is said. */
async function deploy(at: BunProcess, { url }: StandIn): Promise<void> {
	const spec = {
		name: "web",
		repository: "https://git.example/shop/web.git",
		forge: { kind: "github", api: url },
		environments: [{ name: "production", create: {} }],
	};
	const secrets = { forge: { token: "forge-token-1" } };
	await call(at, "POST", "/api/applications", { spec, secrets });
	await call(at, "POST", path, { ref: sha });
}

const told = async (at: BunProcess) => (await call(at, "GET", `${path}/1`)).told;

async function until(so: () => Promise<boolean>): Promise<void> {
	while (!(await so())) await Bun.sleep(50);
}

const away = () => new Response("", { status: 503 });

async function kill(at: BunProcess): Promise<void> {
	at.process.kill("SIGKILL");
	await at.process.exited;
}

test("what was not taken is said after a restart", async () => {
	const data = await mkdtemp(join(tmpdir(), "skein-told-"));
	ends.push(() => rm(data, { recursive: true }));
	const forge = started();
	forge.answer = away;
	const env = { SKEIN_INSECURE_FORGES: forge.host };
	const first = await startBun({ data, env });
	ends.push(() => first.stop());
	await deploy(first, forge);
	await until(async () => (await told(first)).error !== "");
	await kill(first);
	forge.answer = undefined;
	const second = await startBun({ data, env });
	ends.push(() => second.stop());
	await until(async () => (await told(second)).said === "building");
	expect(forge.statuses).toMatchObject([{ sha, state: "pending", description: "Building" }]);
	expect(forge.complaints).toEqual([]);
}, 60_000);

test.skipIf(!hasSqld)(
	"two processes say it once, and one of them what the other one died over",
	async () => {
		const database = await startSqld();
		ends.push(() => database.stop());
		const forge = started();
		const env = {
			SKEIN_DATABASE_URL: database.url,
			SKEIN_KEY: "a key for tests",
			SKEIN_INSECURE_FORGES: forge.host,
		};
		const first = await startBun({ env });
		ends.push(() => first.stop());
		const second = await startBun({ env });
		ends.push(() => second.stop());
		await deploy(first, forge);
		await until(async () => (await told(second)).said === "building");
		// Longer than the other one waits for the first.
		await Bun.sleep(20_000);
		expect(forge.deployments).toHaveLength(1);
		expect(forge.statuses.length).toBeLessThanOrEqual(2);
		expect(forge.statuses.at(-1)).toMatchObject({ description: "Building" });

		forge.answer = away;
		await call(first, "POST", path, { ref: "b".repeat(40) });
		await until(async () => (await call(first, "GET", `${path}/2`)).told.error !== "");
		await kill(first);
		forge.answer = undefined;
		await until(async () => (await call(second, "GET", `${path}/2`)).told.said === "building");
		expect(forge.statuses.at(-1)).toMatchObject({ sha: "b".repeat(40), state: "pending" });
		expect(forge.complaints).toEqual([]);
	},
	90_000,
);
