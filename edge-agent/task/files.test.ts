// On a real folder; the tmpfs itself is the lab's to show.

import { afterEach, beforeEach, expect, test } from "bun:test";
import { lstat, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MaterialId, TaskId } from "../../model/id.ts";
import { contentKey, type FileReference } from "../../model/material.ts";
import { taskFiles } from "./files.ts";
import { taskOf } from "./template.test-data.ts";

let root: string;
const ran: string[] = [];
const contents = new Map<string, Uint8Array>();
beforeEach(async () => {
	root = await mkdtemp(join(tmpdir(), "skein-files-"));
	ran.length = 0;
	contents.clear();
});
afterEach(() => rm(root, { recursive: true, force: true }));

const open = () =>
	taskFiles(
		async (command, args) => {
			ran.push([command, ...args].join(" "));
			return "";
		},
		async (name) => contents.get(contentKey(name)),
		root,
	);
const site = {
	node: { id: "node1", hostname: "h1", os: "linux", architecture: "x86_64", address: "" },
	networks: [],
};
const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
const file = (name: string, text: string | Uint8Array, more: Partial<FileReference> = {}) => {
	const material = `${name}0` as MaterialId;
	contents.set(contentKey({ material, version: 1 }), Buffer.from(text));
	return {
		kind: "secret" as const,
		material,
		version: 1,
		name,
		target: `/run/secrets/${name}`,
		uid,
		gid,
		mode: 0o440,
		templating: false,
		...more,
	};
};
const task = (id: string, ...files: FileReference[]) =>
	taskOf({ id: id as TaskId, container: { files } });

test("files lie in a folder of their task, with the mode asked for, in a tmpfs that only root enters", async () => {
	const files = [file("pw", "hunter2"), file("run.sh", "#!/bin/sh\n", { mode: 0o755 })];
	expect(await open().write(task("t1", ...files), site)).toBeNull();
	expect(ran).toEqual([`mount -t tmpfs -o mode=0700,nosuid,nodev,noswap skein-files ${root}`]);
	expect(await readFile(join(root, "t1/0"), "utf8")).toBe("hunter2");
	const modes = await Promise.all(
		["t1", "t1/0", "t1/1"].map(async (path) => (await lstat(join(root, path))).mode & 0o7777),
	);
	expect(modes).toEqual([0o700, 0o440, 0o755]);
	expect((await readdir(join(root, "t1"))).sort()).toEqual(["0", "1"]);
});

test("a task without any asks for nothing", async () => {
	expect(await open().write(task("t1"), site)).toBeNull();
	expect([ran, await readdir(root)]).toEqual([[], []]);
});

test("a content that is not here yet is waited for, and nothing is written", async () => {
	const lacking = file("pw", "x", { version: 2 });
	expect(await open().write(task("t1", lacking), site)).toEqual({
		kind: "waiting",
		error: "waiting for the content of secret pw",
	});
	expect(await readdir(root)).toEqual([]);
});

test("without a tmpfs nothing is written: a disk is no place for it", async () => {
	const files = taskFiles(
		() => Promise.reject(new Error("mount: permission denied")),
		async (name) => contents.get(contentKey(name)),
		root,
	);
	expect(await files.write(task("t1", file("pw", "hunter2")), site)).toEqual({
		kind: "waiting",
		error: "secrets and configs: mount: permission denied",
	});
	expect(await readdir(root)).toEqual([]);
});

test("templates are expanded, bytes that are no text come through", async () => {
	const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
	const template = Buffer.concat([
		bytes,
		Buffer.from(' {{.Node.Hostname}} {{secret "pw"}} {{env "A"}}'),
	]);
	const files = [
		file("pw", "pä{{x}}"),
		file("conf", template, { kind: "config", target: "/conf", templating: true }),
	];
	const made = taskOf({ id: "t1" as TaskId, container: { files, env: ["A=1"] } });
	expect(await open().write(made, site)).toBeNull();
	const written = await readFile(join(root, "t1/1"));
	expect(written.subarray(0, 256)).toEqual(Buffer.from(bytes));
	expect(written.subarray(256).toString()).toBe(" h1 pä{{x}} 1");
	expect(await readFile(join(root, "t1/0"), "utf8")).toBe("pä{{x}}");
});

test("a template that asks for what there is not rejects the task and tells nothing of the text", async () => {
	const secret = file("conf", "hunter2 {{.Hunter3}}", { templating: true });
	expect(await open().write(task("t1", secret), site)).toEqual({
		kind: "rejected",
		error: "expanding secret conf failed: no such template field",
	});
});

test("the files of other tasks go", async () => {
	const files = open();
	await files.write(task("t1", file("pw", "a")), site);
	await files.write(task("t2", file("pw", "a")), site);
	await files.keepOnly(new Set(["t2"]));
	expect(await readdir(root)).toEqual(["t2"]);
	await files.keepOnly(new Set());
	expect(await readdir(root)).toEqual([]);
});
