import { beforeAll, describe, expect, test } from "bun:test";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Page } from "../store/copy.ts";
import { format, type Header, openBackup, receive, writeBackup } from "./file.ts";
import { type FileKeys, fileKeys, type Kdf, parsePassphrase } from "./passphrase.ts";

const passphrase = "a long enough passphrase";
/** The least that is taken, so that trying it often is quick. */
const kdf: Kdf = { name: "scrypt", salt: btoa("s".repeat(16)), N: 2 ** 14, r: 8, p: 1 };
const header: Header = {
	skein: "cluster",
	format,
	version: "0.1.0",
	schema: "0000_tables",
	createdMs: 1,
	cluster: { id: "c".repeat(25), name: "default", revision: 7 },
	kdf,
	keys: "2.1..",
};
const pages: Page[] = [
	{ table: "cluster", columns: ["id", "revision"], rows: [["c".repeat(25), 7]] },
	{
		table: "task",
		columns: ["id", "decided"],
		rows: [
			["a", '{"x":"ü\\n"}'],
			["b", null],
		],
	},
	{ table: "task", columns: ["id", "decided"], rows: [["c", "{}"]] },
];

let keys: FileKeys;
let file: Uint8Array<ArrayBuffer>;
let lines: string[];
beforeAll(async () => {
	keys = await fileKeys(passphrase, kdf);
	file = await bytesOf(writeBackup(header, keys, from(pages)));
	lines = gunzipSync(file).toString().trimEnd().split("\n");
});

async function* from(all: readonly Page[]) {
	yield* all;
}
const bytesOf = async (stream: ReadableStream<Uint8Array>) =>
	new Uint8Array(await new Response(stream).arrayBuffer());
const open = (bytes: Uint8Array<ArrayBuffer>, words = passphrase) =>
	openBackup(new Blob([bytes]), words, async () => undefined);
const zipped = (all: readonly string[]) =>
	new Uint8Array(gzipSync(all.map((line) => `${line}\n`).join("")));

test("what was written is read, as often as it is asked for", async () => {
	const backup = await open(file);
	expect(backup.header).toEqual(header);
	for (let times = 0; times < 2; times++) {
		expect(await Array.fromAsync(backup.pages())).toEqual(pages);
	}
	// As docs/backup.md has it: anybody can see whether it is whole.
	const sum = new Bun.CryptoHasher("sha256").update(
		lines
			.slice(0, -1)
			.map((each) => `${each}\n`)
			.join(""),
	);
	expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ lines: 4, sha256: sum.digest("hex") });
});

describe("is refused", () => {
	test("cut off anywhere", async () => {
		for (let length = 0; length < file.length; length += 29) {
			await expect(open(file.slice(0, length))).rejects.toThrow("no whole backup");
		}
	});

	test("with any byte changed, unless it says the same all the same", async () => {
		let refused = 0;
		for (let at = 0; at < file.length; at += 29) {
			const changed = file.slice();
			changed[at] = (changed[at] ?? 0) ^ 0x10;
			const opened = await open(changed).catch(() => undefined);
			if (opened) expect(await Array.fromAsync(opened.pages())).toEqual(pages);
			else refused++;
		}
		expect(refused).toBeGreaterThan(file.length / 29 / 2);
	});

	test.each([
		["a line left out", (all: string[]) => all.toSpliced(2, 1), "checksum"],
		["lines exchanged", (all: string[]) => [all[0], all[2], all[1], ...all.slice(3)], "checksum"],
		["a line twice", (all: string[]) => all.toSpliced(2, 0, all[2] ?? ""), "checksum"],
		["no end", (all: string[]) => all.slice(0, -1), "end is missing"],
		["more after its end", (all: string[]) => [...all, all[1]], "after its end"],
		["no header", (all: string[]) => all.slice(1), "no whole backup"],
		["no JSON", (all: string[]) => all.with(1, "{"), "no whole backup"],
		["no page", (all: string[]) => all.with(1, '{"table":"task"}'), "columns"],
		["nothing at all", () => [], "empty"],
	] as const)("%s", async (_what, change, words) => {
		await expect(open(zipped(change([...lines]) as string[]))).rejects.toThrow(words);
	});

	test("altered by somebody who made the checksum anew", async () => {
		const altered = lines.with(2, (lines[2] ?? "").replace('"a"', '"z"'));
		const sum = new Bun.CryptoHasher("sha256").update(
			altered
				.slice(0, -1)
				.map((each) => `${each}\n`)
				.join(""),
		);
		const end = { ...JSON.parse(altered.at(-1) ?? ""), sha256: sum.digest("hex") };
		await expect(open(zipped(altered.with(-1, JSON.stringify(end))))).rejects.toThrow(
			"no passphrase",
		);
	});

	test("of another passphrase, another format, keys that cost too much", async () => {
		await expect(open(file, "another passphrase")).rejects.toThrow("no passphrase");
		const withHead = (change: object) =>
			zipped(lines.with(0, JSON.stringify({ ...header, ...change })));
		await expect(open(withHead({ format: 2 }))).rejects.toThrow("format 2");
		await expect(open(withHead({ kdf: { ...kdf, N: 2 ** 20 } }))).rejects.toThrow("kdf.N");
		await expect(open(withHead({ kdf: { ...kdf, p: 99 } }))).rejects.toThrow("kdf.p");
	});

	test("too large, before it is all here", async () => {
		let sent = 0;
		const endless = new ReadableStream<Uint8Array>({
			pull(controller) {
				sent++;
				controller.enqueue(new Uint8Array(1024 * 1024));
			},
		});
		await expect(receive(endless, 10 * 1024 * 1024)).rejects.toThrow("larger than 10 MiB");
		expect(sent).toBeLessThan(20);
	});
});

test("a page that fails breaks the file off: what came of it does not open", async () => {
	async function* failing() {
		yield* pages.slice(0, 2);
		throw new Error("the database is away");
	}
	const parts: Uint8Array<ArrayBuffer>[] = [];
	const reading = (async () => {
		for await (const part of writeBackup(header, keys, failing()))
			parts.push(Uint8Array.from(part));
	})();
	await expect(reading).rejects.toThrow("away");
	const half = new Uint8Array(await new Blob(parts).arrayBuffer());
	await expect(open(half)).rejects.toThrow("no whole backup");
});

test.each([
	["absent", undefined, /12 characters/],
	["short", btoa("short"), /12 characters/],
	["no base64", "%%%", /base64/],
	["no UTF-8", btoa("\xff\xfe\xfd twelve more"), /base64/],
])("a passphrase that is %s is refused", (_what, value, words) => {
	expect(() => parsePassphrase(value)).toThrow(words);
});

test("a passphrase may have any letters", () => {
	const words = "pässwörter, zwölf 🔑";
	expect(parsePassphrase(Buffer.from(words).toString("base64"))).toBe(words);
});
