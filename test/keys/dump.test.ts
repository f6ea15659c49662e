// What somebody finds who has every file of the database, and the log: nothing that opens a door or was said in confidence.

import { afterEach, expect, test } from "bun:test";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeMachine, joinAgent } from "../app/agent.ts";
import { type BunProcess, startBun } from "../runtimes.ts";
import { hasSqld, startSqld } from "../store/databases.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const clean of cleanups.splice(0).reverse()) await clean();
});

const key = "a master key of this test";
const oldKey = "an older master key";

/** Plain, as hexadecimal digits, in a URL, and in base64 wherever in its text it begins. */
function formsOf(word: string): string[] {
	const bytes = Buffer.from(word);
	const hex = bytes.toString("hex");
	const base64 = [0, 1, 2].flatMap((shift) => {
		const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString("base64");
		// What neighbours have a share in is left out.
		const inner = text.slice(shift === 0 ? 0 : 4, Math.floor((shift + bytes.length) / 3) * 4);
		return [inner, inner.replaceAll("+", "-").replaceAll("/", "_")];
	});
	return [
		word,
		encodeURIComponent(word),
		JSON.stringify(word).slice(1, -1),
		hex,
		hex.toUpperCase(),
	].concat(base64);
}

async function search(folder: string, words: ReadonlyMap<string, string>, skip: readonly string[]) {
	const found: string[] = [];
	let bytes = 0;
	for (const name of await readdir(folder, { recursive: true })) {
		const path = join(folder, name);
		if (skip.includes(name) || !(await stat(path)).isFile()) continue;
		const content = Buffer.from(await Bun.file(path).arrayBuffer());
		bytes += content.length;
		for (const [what, word] of words) {
			const forms = formsOf(word).filter((form) => content.includes(form));
			found.push(...forms.map((form) => `${what} as ${form} in ${name}`));
		}
	}
	return { found, bytes };
}

test("the search finds each form, wherever it begins", () => {
	const word = "hunter2/hünter?3";
	for (const before of ["", "a", "ab"]) {
		const text = Buffer.from(`${before}${word}xyz`);
		for (const form of [text.toString("base64"), text.toString("base64url")]) {
			expect(formsOf(word).some((each) => form.includes(each))).toBe(true);
		}
	}
	expect(formsOf(word)).toContain(encodeURIComponent(word));
});

async function fill(at: BunProcess): Promise<Map<string, string>> {
	const ask = async (method: string, path: string, body?: unknown, headers = {}) => {
		const reply = await fetch(`${at.url}${path}`, {
			method,
			headers: {
				Authorization: `Bearer ${at.token}`,
				"Content-Type": "application/json",
				...headers,
			},
			...(body !== undefined && { body: JSON.stringify(body) }),
		});
		const text = await reply.text();
		if (!reply.ok) throw new Error(`${path}: ${reply.status} ${text}`);
		return text && JSON.parse(text);
	};
	const data = (text: string) => Buffer.from(text).toString("base64");
	const secrets = { first: "correct horse/battery?staple", second: "hünter2 & hünter3" };
	const config = "listen = 127.0.0.1:4711 # of a config";
	const password = "a registry's pässword";
	await ask("POST", "/secrets/create", { Name: "pw", Data: data(secrets.first) });
	await ask("POST", "/secrets/pw/update?version=1", { Name: "pw", Data: data(secrets.second) });
	await ask("POST", "/configs/create", { Name: "conf", Data: data(config) });
	const login = Buffer.from(JSON.stringify({ username: "ann", password })).toString("base64url");
	const image = `nginx@sha256:${"a".repeat(64)}`;
	const service = { Name: "web", TaskTemplate: { ContainerSpec: { Image: image } } };
	await ask("POST", "/services/create", service, { "X-Registry-Auth": login });
	const swarm = await ask("GET", "/swarm");
	const first: Record<"Worker" | "Manager", string> = swarm.JoinTokens;
	const agent = await joinAgent(at.url, first.Worker, describeMachine(1));
	await ask("POST", `/swarm/update?version=${swarm.Version.Index}&rotateWorkerToken=1`, swarm.Spec);
	const second: typeof first = (await ask("GET", "/swarm")).JoinTokens;
	await ask("POST", "/api/clusters/default/keys/rotate");
	const secretOf = (token: string) => token.split("-").at(-1) ?? "";
	return new Map([
		["a secret", secrets.first],
		["a changed secret", secrets.second],
		["a config", config],
		["a registry's password", password],
		["a registry's login", login],
		["a join token", secretOf(first.Worker)],
		["a manager's join token", secretOf(first.Manager)],
		["a rotated join token", secretOf(second.Worker)],
		["an agent's credential", agent.credential],
		["the secret of a credential", agent.credential.split(".").at(-1) ?? ""],
		["the owner's token", at.token.replace(/^skein-/, "")],
		["the master key", key],
		["the older master key", oldKey],
	]);
}

async function newFolder(): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), "skein-dump-"));
	cleanups.push(() => rm(folder, { recursive: true, force: true }));
	return folder;
}

const env = { SKEIN_KEY: key, SKEIN_OLD_KEYS: JSON.stringify([oldKey]) };
/** The owner's own file, beside the database. */
const skip = ["token"];

test("nothing readable in an embedded database's files, open or closed, nor in the log", async () => {
	const data = await newFolder();
	const at = await startBun({ data, env });
	cleanups.push(() => at.stop());
	const words = await fill(at);
	const open = await search(data, words, skip);
	expect(open.found).toEqual([]);
	// So that it is known to look at something.
	expect(await search(data, new Map([["a name", "conf"]]), skip)).not.toMatchObject({ found: [] });
	expect(open.bytes).toBeGreaterThan(100_000);
	await at.stop();
	expect((await search(data, words, skip)).found).toEqual([]);
	// Before that it says what to type on another machine, to whoever started it.
	const [, said = ""] = at.log().split("is ready");
	for (const [what, word] of words) {
		expect([what, formsOf(word).filter((form) => said.includes(form))]).toEqual([what, []]);
	}
}, 60_000);

test.skipIf(!hasSqld)(
	"nothing readable in a libSQL server's files",
	async () => {
		const server = await startSqld();
		cleanups.push(() => server.stop());
		const at = await startBun({ env: { ...env, SKEIN_DATABASE_URL: server.url } });
		cleanups.push(() => at.stop());
		const words = await fill(at);
		const { found, bytes } = await search(server.folder, words, []);
		expect(found).toEqual([]);
		expect(bytes).toBeGreaterThan(100_000);
		expect(await search(server.folder, new Map([["a name", "conf"]]), [])).not.toMatchObject({
			found: [],
		});
		await server.kill();
		expect((await search(server.folder, words, [])).found).toEqual([]);
	},
	60_000,
);
