import { afterEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runtimeLine } from "../model/runtime.ts";
import { type Exec, exec } from "./host/exec.ts";
import { openUpdates, type UpdateWorld } from "./update.ts";

const sumOf = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");
const program = (text: string) => ({ text, release: { version: "2", sha256: sumOf(text) } });

const old = program("// the one that runs");
const good = program(`console.log("2")`);
const broken = program(`throw new Error("no such module: zed")`);

const folders: string[] = [];
afterEach(async () => {
	for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function machine(served: string, overrides: Partial<UpdateWorld> = {}) {
	const lib = await mkdtemp(join(tmpdir(), "skein-update-"));
	folders.push(lib);
	await writeFile(join(lib, "agent.js"), old.text);
	const lines: string[] = [];
	let restarted = 0;
	let loaded = 0;
	let nowMs = 0;
	const world: UpdateWorld = {
		lib,
		runtime: process.execPath,
		runtimeName: undefined,
		exec,
		async load(_name, path) {
			loaded++;
			await writeFile(path, served);
		},
		nowMs: () => nowMs,
		log: (line) => lines.push(line),
		restart: () => restarted++,
		...overrides,
	};
	return {
		lib,
		lines,
		world,
		updates: await openUpdates(world),
		text: (name: string) => readFile(join(lib, name), "utf8"),
		pass: (ms: number) => {
			nowMs += ms;
		},
		counts: () => ({ restarted, loaded }),
		async quiet(said: RegExp) {
			for (let tries = 0; tries < 400 && !lines.some((line) => said.test(line)); tries++) {
				await Bun.sleep(10);
			}
			expect(lines.join("\n")).toMatch(said);
			await Bun.sleep(5);
		},
	};
}

test("goes to the program that was promised, keeps the one before, and starts again on trial", async () => {
	const at = await machine(good.text);
	at.updates.want(good.release);
	at.updates.want(good.release);
	await at.quiet(/takes over/);
	expect(at.counts()).toEqual({ restarted: 1, loaded: 1 });
	expect([await at.text("agent.js"), await at.text("agent.old.js")]).toEqual([good.text, old.text]);
	expect(await at.text("trial")).toBe(good.release.sha256);

	const next = await openUpdates(at.world);
	expect(next.program).toEqual({ sha256: good.release.sha256 });
	next.want(good.release);
	await next.prove();
	expect((await readdir(at.lib)).sort()).toEqual(["agent.js", "agent.old.js"]);
	expect(at.counts().restarted).toBe(1);
});

test("what was not promised is not started; it is asked for again later", async () => {
	const at = await machine(`${good.text} // changed on the way`);
	at.updates.want(good.release);
	await at.quiet(/checksum differs/);
	expect(at.updates.warnings.join()).toContain("checksum differs");
	expect([at.counts().restarted, await at.text("agent.js")]).toEqual([0, old.text]);
	at.updates.want(good.release);
	at.pass(60_000);
	at.updates.want(good.release);
	await Bun.sleep(50);
	expect(at.counts().loaded).toBe(2);
});

test("a program that does not start is not tried again, also by the next life; another one is", async () => {
	const at = await machine(broken.text);
	at.updates.want(broken.release);
	await at.quiet(/no such module/);
	expect(at.updates.program?.failed?.sha256).toBe(broken.release.sha256);
	expect(at.updates.program?.failed?.reason).toStartWith("it does not start");
	expect([at.counts().restarted, await at.text("agent.js")]).toEqual([0, old.text]);

	at.pass(600_000);
	const again = await openUpdates(at.world);
	again.want(broken.release);
	expect(again.warnings.join()).toContain("could not become");
	again.want(old.release);
	expect(again.warnings).toEqual([]);
	await Bun.sleep(50);
	expect(at.counts().loaded).toBe(1);
});

test("a program that starts but does not reach the control plane is not put in place", async () => {
	const failing: Exec = async (_command, [, word]) => {
		if (word === "check") throw new Error("no route to the control plane");
		return "2";
	};
	const at = await machine(good.text, { exec: failing });
	at.updates.want(good.release);
	await at.quiet(/no route/);
	expect(at.updates.program).toEqual({ sha256: old.release.sha256 });
	expect([at.counts().restarted, existsSync(join(at.lib, "trial"))]).toEqual([0, false]);
});

/** A runtime that differs from others by its sum alone. */
const runtime = (name: string) => `#!/bin/sh\n# ${name}\nexec ${process.execPath} "$@"\n`;

/** A machine that runs the old runtime and is served a program that names the new one; `served` is what comes as that. */
async function machineWithRuntime(served: string, promised = served) {
	const named = runtimeLine("bun-linux-x64", sumOf(promised));
	const next = program(`${good.text}\n${named}`);
	const at = await machine("");
	const path = join(at.lib, "bun");
	await writeFile(path, runtime("old"), { mode: 0o755 });
	const world: UpdateWorld = {
		...at.world,
		runtime: path,
		runtimeName: "bun-linux-x64",
		load: (name, to) => writeFile(to, name === "agent.js" ? next.text : served),
	};
	return { ...at, updates: await openUpdates(world), next };
}

test("the runtime that a program names comes along, and the one before is kept until the trial is over", async () => {
	const at = await machineWithRuntime(runtime("new"));
	at.updates.want(at.next.release);
	await at.quiet(/takes over/);
	expect([await at.text("bun"), await at.text("bun.old")]).toEqual([
		runtime("new"),
		runtime("old"),
	]);
	expect((await stat(join(at.lib, "bun"))).mode & 0o777).toBe(0o755);
	await (await openUpdates(at.world)).prove();
	expect((await readdir(at.lib)).sort()).toEqual(["agent.js", "agent.old.js", "bun"]);
});

const unable = "#!/bin/sh\nexit 127\n";

test.each([
	[
		"is not what the program names",
		runtime("another"),
		runtime("new"),
		/bun-linux-x64.*checksum differs/,
	],
	["does not start here", unable, unable, /exit 127/],
])("with a runtime that %s nothing is put in place", async (_name, served, promised, said) => {
	const at = await machineWithRuntime(served, promised);
	at.updates.want(at.next.release);
	await at.quiet(said);
	expect([await at.text("bun"), await at.text("agent.js")]).toEqual([runtime("old"), old.text]);
	expect(existsSync(join(at.lib, "bun.new"))).toBe(false);
});
