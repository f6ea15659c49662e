import { expect, test } from "bun:test";
import type { ClusterId, NodeId } from "../../model/id.ts";
import { sampleCluster } from "../../test/store/sample.ts";
import { tokenOf } from "./auth.ts";
import {
	currentJoinToken,
	importJoinKey,
	joinToken,
	joinTokenForm,
	newCredential,
	nextTokens,
	nodeOfCredential,
	sha256,
} from "./tokens.ts";

const id = "c".repeat(25) as ClusterId;

test("a join token depends on key, cluster, role and epoch, and on nothing else", async () => {
	const key = await importJoinKey("one");
	const all = [
		await joinToken(key, id, "worker", 1),
		await joinToken(key, id, "manager", 1),
		await joinToken(key, id, "worker", 2),
		await joinToken(key, "d".repeat(25) as ClusterId, "worker", 1),
		await joinToken(await importJoinKey("two"), id, "worker", 1),
	];
	expect(new Set(all).size).toBe(all.length);
	expect(all.every((token) => joinTokenForm.test(token))).toBe(true);
	expect(await joinToken(await importJoinKey("one"), id, "worker", 1)).toBe(all[0] ?? "");
	// The cluster's part stays through a rotation, as Docker's does.
	expect(all[2]?.split("-")[2]).toBe(all[0]?.split("-")[2] ?? "");
});

test("rotating one role leaves the other's token alone", async () => {
	const key = await importJoinKey("one");
	const before = sampleCluster(id);
	const tokens = await nextTokens(key, id, before.tokens, ["worker"]);
	expect(tokens.manager).toEqual(before.tokens.manager);
	expect(tokens.worker).toEqual({
		epoch: 2,
		sha256: await sha256(await joinToken(key, id, "worker", 2)),
	});
	const shown = await currentJoinToken(key, { ...before, tokens }, "worker");
	expect(await sha256(shown)).toBe(tokens.worker.sha256);
});

test("with another key the tokens can not be shown, and the remedy is said", async () => {
	const tokens = await nextTokens(await importJoinKey("one"), id, sampleCluster(id).tokens, [
		"worker",
	]);
	const shown = currentJoinToken(
		await importJoinKey("two"),
		{ ...sampleCluster(id), tokens },
		"worker",
	);
	expect(shown).rejects.toThrow(/--rotate worker/);
	await shown.catch(() => undefined);
});

test("a credential names its node", () => {
	const node = "n0d3".padEnd(25, "x") as NodeId;
	expect(nodeOfCredential(newCredential(node))).toBe(node);
	expect(nodeOfCredential(`SKEIN-NODE.${node}.short`)).toBeUndefined();
});

test.each([
	["Bearer abc", "abc"],
	["bearer  abc ", "abc"],
	[`Basic ${btoa("anyone:a:b")}`, "a:b"],
	[`Basic ${btoa("nocolon")}`, undefined],
	["Basic !!!", undefined],
	["Digest abc", undefined],
	["abc", undefined],
	["", undefined],
])("Authorization: %s", (header, token) => {
	expect(tokenOf(header)).toBe(token as string);
});
