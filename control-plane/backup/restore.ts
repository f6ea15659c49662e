// Makes a cluster of a file: its place in the directory first, its rows behind a fence, the fence away at last. What
// fails on the way leaves nothing; a process that dies leaves what the directory's sweep takes away (store/move.ts).

import { conflict, invalid, messageOf, Refusal } from "../../model/errors.ts";
import type { ClusterId } from "../../model/id.ts";
import type { Limits } from "../../model/limits.ts";
import type { MasterKeys } from "../accounts/master.ts";
import { rowOf } from "../keys.ts";
import { nothingUsed, refusalOf, usageOf } from "../manager/quota.ts";
import { dropAccess, writeAccess } from "../store/access.ts";
import { openCluster } from "../store/cluster.ts";
import { countRows, eraseRows, insertPage, liftFence, type Page } from "../store/copy.ts";
import type { Directory, Placement } from "../store/directory.ts";
import type { KeyringStore } from "../store/keyrings.ts";
import type { Shards } from "../store/shards.ts";
import type { Backup } from "./file.ts";
import { type Imported, prepareImport } from "./import.ts";

export interface RestoreWorld {
	readonly directory: Directory;
	readonly shards: Shards;
	readonly keyrings: { readonly store: KeyringStore; readonly masters: MasterKeys };
	nowMs(): number;
	newId(): string;
}

export interface Restored {
	readonly id: ClusterId;
	readonly name: string;
	/** It has the id that it had: its machines are let in. Otherwise it is a copy, without any. */
	readonly same: boolean;
}

export async function restoreCluster(
	world: RestoreWorld,
	backup: Backup,
	to: Pick<Placement, "organization" | "name" | "shard"> & { readonly limits: Limits },
): Promise<Restored> {
	const { directory, shards } = world;
	const { limits, ...at } = to;
	const theirs = backup.header.cluster.id as ClusterId;
	const same = await isFree(directory, theirs, at.organization);
	const id = same ? theirs : (world.newId() as ClusterId);
	const imported = await prepareImport(backup, {
		id,
		organization: at.organization,
		nowMs: world.nowMs(),
	});
	const database = await shards.open(at.shard);
	const asked = { cluster: id, ...at };
	const placement = await directory.reserve(asked, limits.clusters, world.nowMs());
	try {
		await write(world, imported, placement, limits);
	} catch (error) {
		await eraseRows(database, id);
		await dropAccess(directory.database, id);
		await directory.forget(placement, world.nowMs());
		if (error instanceof Refusal) throw error;
		throw invalid(`the file's rows are none of a cluster: ${messageOf(error)}. Nothing was kept`, {
			cause: error,
		});
	}
	return { id, name: at.name, same };
}

async function write(
	world: RestoreWorld,
	imported: Imported,
	placement: Placement,
	limits: Limits,
): Promise<void> {
	const { directory, shards, keyrings } = world;
	const { id } = imported;
	// By this fence the directory's sweep knows what an import that died has left.
	const { shard, move } = placement;
	const database = await shards.open(shard);
	const given: Record<string, number> = {};
	let contents = 0;
	for await (const page of imported.pages()) {
		await insertPage(database, id, page, move);
		given[page.table] = (given[page.table] ?? 0) + page.rows.length;
		contents += contentBytes(page);
	}
	for (const [table, rows] of Object.entries(await countRows(database, id))) {
		if (rows === (given[table] ?? 0)) continue;
		throw invalid(`the file has ${given[table]} rows of ${table}, of which ${rows} could be kept`);
	}
	for await (const page of imported.access()) await writeAccess(directory.database, id, page);
	await directory.putJoinTokens(id, imported.tokens);
	await keyrings.store.insert(id, await rowOf(id, imported.ring, keyrings.masters, false));
	// As its host will: rows that do not read are found before anybody is led to them.
	const { facts } = await openCluster(database, id).load();
	// What a file says of its contents' sizes is its writer's word: these were counted.
	const refusal = refusalOf(limits, nothingUsed, { ...usageOf(facts), contents });
	if (refusal) throw refusal;
	await liftFence(database, id, move);
	if (!(await directory.turn(placement, { state: "active" }, world.nowMs()))) {
		throw conflict("importing the cluster took too long, and was taken for given up: try again");
	}
}

function contentBytes({ table, columns, rows }: Page): number {
	if (table !== "content") return 0;
	const at = columns.indexOf("sealed");
	return rows.reduce((total, row) => total + String(row[at]).length, 0);
}

/** An erased one of the organization's own comes back; one of another's, there or erased, is not touched. */
async function isFree(directory: Directory, id: ClusterId, organization: string) {
	const known = await directory.placementOf(id);
	return !known || (known.state === "erased" && known.organization === organization);
}
