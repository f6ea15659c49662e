// docs/runbooks/keys.md, typed as it stands: each block of it is run by a shell, against a control plane of its own.

import { afterEach, expect, test } from "bun:test";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BunProcess, startBun } from "../runtimes.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
	for (const clean of cleanups.splice(0).reverse()) await clean();
});

const page = await readFile(join(import.meta.dir, "../../docs/runbooks/keys.md"), "utf8");

/** The commands under a heading, in order. */
function blocksOf(heading: string): string[] {
	const section = page.split(/^## /m).find((each) => each.startsWith(heading)) ?? "";
	return [...section.matchAll(/^( *)```sh\n(.*?)^ *```/gms)].map(([, , block = ""]) =>
		block.trim(),
	);
}

/** What the page calls `npm start` is what the tests start; its folder is one of theirs. */
const startsIt = /^(?:(\w+)=(.*) )?npm start$/;

class Instance {
	readonly data: string;
	at: BunProcess | undefined;

	constructor(data: string) {
		this.data = data;
	}

	/** Runs a block, and starts again where it says so. */
	async type(block: string): Promise<string> {
		const start = startsIt.exec(block);
		if (!start) return this.sh(block);
		await this.at?.stop();
		const [, name, value = ""] = start;
		const env = name ? { [name]: (await this.sh(`printf %s ${value}`)).trim() } : {};
		this.at = await startBun({ data: this.data, env });
		return "";
	}

	async sh(script: string): Promise<string> {
		const child = Bun.spawn(["sh", "-ec", script.replaceAll("/var/lib/skein", this.data)], {
			env: { PATH: process.env["PATH"], SKEIN: this.at?.url, TOKEN: this.at?.token },
			stdout: "pipe",
			stderr: "pipe",
		});
		const [out, error] = await Promise.all([
			new Response(child.stdout).text(),
			new Response(child.stderr).text(),
		]);
		if ((await child.exited) !== 0) throw new Error(`${script}\n${error}${out}`);
		return out;
	}

	async ask(path: string, init: RequestInit = {}) {
		const reply = await fetch(`${this.at?.url}${path}`, {
			...init,
			headers: { Authorization: `Bearer ${this.at?.token}`, "Content-Type": "application/json" },
		});
		return { status: reply.status, text: await reply.text() };
	}

	async config(): Promise<string> {
		const { status, text } = await this.ask("/configs/conf");
		if (status !== 200) return `${status} ${text}`;
		const { Spec } = JSON.parse(text) as { Spec: { Data: string } };
		return Buffer.from(Spec.Data, "base64").toString();
	}

	async tokens(): Promise<string> {
		const { JoinTokens } = JSON.parse((await this.ask("/swarm")).text) as { JoinTokens: object };
		return JSON.stringify(JoinTokens);
	}

	async stop(): Promise<void> {
		await this.at?.stop();
		this.at = undefined;
	}
}

async function newInstance(): Promise<Instance> {
	const data = await mkdtemp(join(tmpdir(), "skein-runbook-"));
	const instance = new Instance(data);
	cleanups.push(
		() => rm(data, { recursive: true, force: true }),
		() => instance.stop(),
	);
	await instance.type("npm start");
	const body = JSON.stringify({ Name: "conf", Data: btoa("a config") });
	expect((await instance.ask("/configs/create", { method: "POST", body })).status).toBe(201);
	return instance;
}

test("the master key, as a routine: nothing under the old one is left, tokens and contents stay", async () => {
	const instance = await newInstance();
	const tokens = await instance.tokens();
	const [move = "", both = "", look = "", without = ""] = blocksOf("The master key, as a routine");
	await instance.type(move);
	await instance.stop();
	await instance.type(both);
	const said = JSON.parse(await instance.type(look)) as { left: number; given: string[] };
	expect(said).toMatchObject({ left: 0 });
	expect(said.given.length).toBe(2);
	await instance.type(without);
	expect(await instance.config()).toBe("a config");
	expect(await instance.tokens()).toBe(tokens);
	expect(instance.at?.log()).not.toContain("keys:");
}, 60_000);

test("a cluster's data key; then a master key that is missing, and one that is lost", async () => {
	const instance = await newInstance();
	const tokens = await instance.tokens();
	const [rotate = ""] = blocksOf("A cluster's data key");
	expect(await instance.type(rotate)).toContain('"version":2');
	expect(await instance.config()).toBe("a config");

	await instance.stop();
	await cp(join(instance.data, "key"), join(instance.data, "kept"));
	await rm(join(instance.data, "key"));
	await instance.type("npm start");
	const [, id = ""] =
		/master key ([0-9a-f]{12}) was not given/.exec(instance.at?.log() ?? "") ?? [];
	expect(await instance.config()).toContain(
		`503 {"message":"the keys of this cluster are wrapped under master key ${id}`,
	);
	expect((await instance.ask("/info")).status).toBe(200);
	await instance.type('SKEIN_OLD_KEYS="$(cat /var/lib/skein/kept)" npm start');
	expect(await instance.config()).toBe("a config");
	expect(await instance.tokens()).toBe(tokens);

	await instance.stop();
	await rm(join(instance.data, "key"));
	await instance.type("npm start");
	const [replace = ""] = blocksOf("A master key is lost for good");
	expect(await instance.type(replace)).toContain('"version":3');
	expect(await instance.tokens()).toContain("UNKNOWN");
	expect(await instance.config()).toContain("anew");
	const body = JSON.stringify({ Name: "again", Data: btoa("another") });
	expect((await instance.ask("/configs/create", { method: "POST", body })).status).toBe(201);
}, 60_000);
