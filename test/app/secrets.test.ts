// What is left of a secret where nobody should find it: in the raw file of the database, in the log, in refusals.

import { afterEach, expect, test } from "bun:test";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BunProcess, startBun } from "../runtimes.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function start(data: string): Promise<BunProcess> {
	const started = await startBun({ data });
	cleanups.push(() => started.stop());
	return started;
}

const ask = async (at: BunProcess, method: string, path: string, body?: unknown) => {
	const reply = await fetch(`${at.url}${path}`, {
		method,
		headers: { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" },
		...(body !== undefined && { body: JSON.stringify(body) }),
	});
	return { status: reply.status, text: await reply.text() };
};

const words = ["hunter2-hunter2", "correct-horse-battery"];
const base64 = (text: string) => Buffer.from(text).toString("base64");
/** In the clear, in base64 (whatever stands before it) and as hexadecimal digits. */
const forms = words.flatMap((word) => [
	word,
	base64(word).replace(/=+$/, "").slice(0, -2),
	Buffer.from(word).toString("hex"),
]);

async function traces(folder: string): Promise<string[]> {
	const found: string[] = [];
	for (const name of await readdir(folder, { recursive: true })) {
		const path = join(folder, name);
		if (!(await stat(path)).isFile()) continue;
		const bytes = Buffer.from(await Bun.file(path).arrayBuffer());
		found.push(...forms.filter((form) => bytes.includes(form)).map((form) => `${form} in ${name}`));
	}
	return found;
}

test("no file, no log and no answer holds a secret's plaintext; after a restart it is still there to be used", async () => {
	const data = await mkdtemp(join(tmpdir(), "skein-secrets-"));
	cleanups.push(() => rm(data, { recursive: true, force: true }));
	const at = await start(data);
	const [first = "", second = ""] = words;
	const log: string[] = [];
	const said: string[] = [];
	const say = async (
		...request: Parameters<typeof ask> extends [unknown, ...infer Rest] ? Rest : never
	) => {
		const answer = await ask(at, ...request);
		said.push(answer.text);
		return answer.status;
	};
	expect(await say("POST", "/secrets/create", { Name: "pw", Data: base64(first) })).toBe(201);
	expect(await say("POST", "/secrets/create", { Name: "pw", Data: base64(first) })).toBe(409);
	expect(await say("POST", "/secrets/create", { Name: "-", Data: base64(first) })).toBe(400);
	expect(await say("POST", "/secrets/create", { Name: "x", Data: `${base64(first)}!` })).toBe(400);
	expect(await say("POST", "/secrets/create", { Name: "x", Data: [base64(first)] })).toBe(400);
	expect(
		await say("POST", "/secrets/pw/update?version=1", { Name: "pw", Data: base64(second) }),
	).toBe(200);
	expect(
		await say("POST", "/secrets/pw/update?version=1", { Name: "pw", Data: base64(second) }),
	).toBe(500);
	expect(await say("GET", "/secrets/pw")).toBe(200);
	expect(await say("GET", `/events?since=1&until=${Math.ceil(Date.now() / 1000)}`)).toBe(200);
	for (const text of said) expect(forms.filter((form) => text.includes(form))).toEqual([]);
	expect(await say("POST", "/configs/create", { Name: "conf", Data: base64(first) })).toBe(201);
	expect(await traces(data)).toEqual([]);
	expect(Buffer.concat(await databaseFiles(data)).includes("pw")).toBeTrue();
	await at.stop();
	log.push(at.log());
	expect(await traces(data)).toEqual([]);

	const again = await start(data);
	expect((await ask(again, "GET", "/configs/conf")).text).toContain(base64(first));
	log.push(again.log());
	expect(forms.filter((form) => log.join().includes(form))).toEqual([]);
}, 60_000);

/** So that the search above is known to look at something. */
async function databaseFiles(folder: string): Promise<Buffer[]> {
	const names = (await readdir(folder)).filter((name) => name.startsWith("skein.db"));
	expect(names).toContain("skein.db");
	return Promise.all(
		names.map(async (name) => Buffer.from(await Bun.file(join(folder, name)).arrayBuffer())),
	);
}
