import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Assignment, AssignmentReply } from "../model/assignment.ts";
import type { MaterialId, TaskId } from "../model/id.ts";
import { contentKey, type DeliveredContent, type FileReference } from "../model/material.ts";
import { openContents, withContents } from "./contents.ts";
import type { Dispatcher } from "./dispatcher.ts";
import { taskOf } from "./task/template.test-data.ts";

let dir: string;
beforeEach(async () => {
	dir = await mkdtemp(join(tmpdir(), "skein-contents-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const name = (material: string, version: number) => ({ material: material as MaterialId, version });
const delivered = (material: string, version: number, text: string): DeliveredContent => ({
	...name(material, version),
	data: Buffer.from(text).toString("base64"),
});
const file = (material: string, version: number): FileReference => ({
	...name(material, version),
	kind: "secret",
	name: material,
	target: `/run/secrets/${material}`,
	uid: 0,
	gid: 0,
	mode: 0o444,
	templating: false,
});
const assignmentOf = (revision: number, ...files: FileReference[]) =>
	({
		revision,
		tasks: [taskOf({ id: "t1" as TaskId, container: { files } })],
	}) as unknown as Assignment;
const read = async (
	keeper: Awaited<ReturnType<typeof openContents>>,
	material: string,
	version: number,
) => Buffer.from((await keeper.read(name(material, version))) ?? []).toString();

test("what is kept is there after a restart, and nowhere in the clear", async () => {
	const keeper = await openContents(dir);
	await keeper.add([delivered("pw", 1, "hunter2"), delivered("key", 3, "correct horse")]);
	const again = await openContents(dir);
	expect(await read(again, "pw", 1)).toBe("hunter2");
	expect(again.lacking(assignmentOf(1, file("pw", 1), file("pw", 2)))).toEqual([name("pw", 2)]);
	for (const each of await readdir(dir)) {
		const bytes = await readFile(join(dir, each));
		expect(bytes.includes("hunter2")).toBeFalse();
		expect(bytes.includes(Buffer.from("hunter2").toString("base64"))).toBeFalse();
		expect((await stat(join(dir, each))).mode & 0o777).toBe(0o600);
	}
});

test("what nothing names any more is forgotten, on disk too", async () => {
	const keeper = await openContents(dir);
	await keeper.add([delivered("pw", 1, "a"), delivered("pw", 2, "b")]);
	await keeper.keepOnly([assignmentOf(1, file("pw", 2))]);
	const again = await openContents(dir);
	expect([again.has(name("pw", 1)), again.has(name("pw", 2))]).toEqual([false, true]);
});

test.each([
	["another key", "contents.key", new Uint8Array(32)],
	["a short key", "contents.key", new Uint8Array(3)],
	["half a file", "contents.json", Buffer.from('{"format":1,"sea')],
])("with %s it counts as lacking, and is asked for again", async (_what, spoilt, bytes) => {
	await (await openContents(dir)).add([delivered("pw", 1, "a")]);
	await writeFile(join(dir, spoilt), bytes);
	const keeper = await openContents(dir);
	expect(keeper.lacking(assignmentOf(1, file("pw", 1)))).toEqual([name("pw", 1)]);
	await keeper.add([delivered("pw", 1, "a")]);
	expect(await read(await openContents(dir), "pw", 1)).toBe("a");
});

/** A control plane that has some contents, and counts what it was asked for. */
async function dispatcherOf(has: readonly DeliveredContent[], replies: (Assignment | null)[]) {
	const asked: string[] = [];
	const keeper = await openContents(dir);
	let held: Assignment | undefined;
	const real = {
		async poll(): Promise<AssignmentReply> {
			return { revision: 1, hash: "h", assignment: replies.shift() ?? null, pollMs: 0 };
		},
		async contents(names: readonly ReturnType<typeof name>[]) {
			asked.push(names.map(contentKey).join());
			return has.filter((each) => names.some((one) => contentKey(one) === contentKey(each)));
		},
	} as unknown as Dispatcher;
	const dispatcher = withContents(real, keeper, () => held);
	return {
		asked,
		keeper,
		async poll() {
			const { assignment } = await dispatcher.poll(
				{ revision: 0, hash: "" },
				new AbortController().signal,
			);
			held = assignment ?? held;
		},
	};
}

test("an assignment comes with what it needs, once; what the last one needed goes", async () => {
	const one = assignmentOf(1, file("pw", 1), file("key", 1));
	const two = assignmentOf(2, file("pw", 2), file("key", 1));
	const has = [delivered("pw", 1, "a"), delivered("pw", 2, "b"), delivered("key", 1, "k")];
	const { asked, keeper, poll } = await dispatcherOf(has, [one, two, null]);
	await poll();
	expect(asked).toEqual(["pw 1,key 1"]);
	await poll();
	expect(asked).toEqual(["pw 1,key 1", "pw 2"]);
	// The tasks of the one before were still there to be started while this one was on its way.
	expect(keeper.has(name("pw", 1))).toBeTrue();
	await poll();
	expect([keeper.has(name("pw", 1)), keeper.has(name("pw", 2))]).toEqual([false, true]);
	expect(asked).toHaveLength(2);
});

test("what is gone on the way is not asked for again and again, and holds up nothing", async () => {
	const { asked, poll } = await dispatcherOf([], [assignmentOf(1, file("pw", 1)), null, null]);
	for (let turn = 0; turn < 3; turn++) await poll();
	expect(asked).toEqual(["pw 1"]);
});
