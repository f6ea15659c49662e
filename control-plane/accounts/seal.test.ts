import { expect, test } from "bun:test";
import { newKeyring, rotated } from "./keyring.ts";
import { sealFor } from "./seal.ts";

const plain = new TextEncoder().encode("hunter2");
const ring = newKeyring();
const rings = async () => ring;
const contents = sealFor(rings, "cluster1", "contents");

test("what was sealed opens to the same bytes, and never seals to the same text twice", async () => {
	const [one, two] = [await contents.seal("a 1", plain), await contents.seal("a 1", plain)];
	expect(one).not.toBe(two);
	expect(one).toStartWith("2.1.");
	expect(atob(one.split(".")[3] ?? "")).not.toContain("hunter2");
	expect(await contents.open("a 1", one)).toEqual(Uint8Array.from(plain));
});

test("a million bytes seal and open", async () => {
	const large = new Uint8Array(1_000_000).map((_, index) => index % 251);
	expect(await contents.open("a 1", await contents.seal("a 1", large))).toEqual(large);
});

test.each([
	["another version's row", contents, "a 2"],
	["another secret's row", contents, "b 1"],
	["another cluster", sealFor(rings, "cluster2", "contents"), "a 1"],
	["another purpose", sealFor(rings, "cluster1", "credentials"), "a 1"],
	["another keyring", sealFor(async () => newKeyring(), "cluster1", "contents"), "a 1"],
])("does not open in %s, and says what to do", async (_where, seal, belongsTo) => {
	const sealed = await contents.seal("a 1", plain);
	const refused = await seal.open(belongsTo, sealed).catch((error: unknown) => error);
	expect(String(refused)).toContain("anew");
	expect(String(refused)).not.toContain("hunter2");
});

test("a format that is not known is named", async () => {
	const sealed = (await contents.seal("a 1", plain)).replace(/^2/, "3");
	expect(contents.open("a 1", sealed)).rejects.toThrow("format 3");
});

test("a rotated keyring seals under its newest key and opens what the older ones sealed", async () => {
	const before = await contents.seal("a 1", plain);
	const after = rotated(ring, 1);
	const seal = sealFor(async () => after, "cluster1", "contents");
	expect(await seal.open("a 1", before)).toEqual(Uint8Array.from(plain));
	expect(await seal.isNewest(before)).toBe(false);
	const sealed = await seal.seal("a 1", plain);
	expect(sealed).toStartWith("2.2.");
	expect(await seal.isNewest(sealed)).toBe(true);
	expect(contents.open("a 1", sealed)).rejects.toThrow("anew");
});
