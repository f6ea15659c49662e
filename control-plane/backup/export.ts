// A cluster out of its databases and into a file: rows of one moment, then the contents that they name, then who may
// speak for its nodes. All of it sealed under a passphrase where it is sealed at all.

import type { Application } from "../../model/application.ts";
import type { ClusterId, MaterialId } from "../../model/id.ts";
import { contentKey, type Material } from "../../model/material.ts";
import { type Rings, sealFor } from "../accounts/seal.ts";
import { readAccess } from "../store/access.ts";
import type { Database } from "../store/client.ts";
import { openCluster } from "../store/cluster.ts";
import { type Page, readCluster } from "../store/copy.ts";
import { migrations } from "../store/migrate.ts";
import { format, type Header, writeBackup } from "./file.ts";
import { fileKeys, newKdf } from "./passphrase.ts";
import { resealPage, sealsOf } from "./sealed.ts";

export interface Exporting {
	readonly id: ClusterId;
	readonly name: string;
	/** On which its rows lie. */
	readonly database: Database;
	readonly directory: Database;
	readonly rings: Rings;
	/** Of this program. */
	readonly version: string;
	readonly nowMs: number;
}

/** What is sealed to the cluster as such. */
export const keysBelongTo = "cluster";

/** Contents have up to 1.4 MB sealed. */
const contentsAtOnce = 5;

export async function exportCluster(
	{ id, name, database, directory, rings, version, nowMs }: Exporting,
	passphrase: string,
): Promise<ReadableStream<Uint8Array>> {
	// A cluster's host has as much in memory. Contents may be far more, and never change: they follow one by one.
	const rows = await readCluster(database, id, ["content", "revision"]);
	const kdf = newKdf();
	const keys = await fileKeys(passphrase, kdf);
	const { join, before } = await rings();
	const sealed = JSON.stringify({ join, said: before?.said ?? {} });
	const header: Header = {
		skein: "cluster",
		format,
		version,
		schema: migrations.at(-1)?.[0] ?? "",
		createdMs: nowMs,
		cluster: { id, name, revision: revisionOf(rows) },
		kdf,
		keys: await sealFor(keys.rings, id, "keyring").seal(
			keysBelongTo,
			new TextEncoder().encode(sealed),
		),
	};
	const [from, to] = [sealsOf(rings, id), sealsOf(keys.rings, id)];
	return writeBackup(header, keys, pages());

	async function* pages(): AsyncGenerator<Page> {
		for (const page of rows) yield resealPage(page, from, to);
		const store = openCluster(database, id);
		for (const names of inParts(contentNames(rows), contentsAtOnce)) {
			const found = await store.contents(names);
			const page = {
				table: "content",
				columns: ["cluster", "material", "version", "sealed"],
				rows: found.map((each) => [id, each.material, each.version, each.sealed]),
			};
			yield resealPage(page, from, to);
			const there = new Set(found.map(contentKey));
			const gone = names.find((each) => !there.has(contentKey(each)));
			// What was forgotten meanwhile, the rows that we wrote may still name.
			if (gone)
				throw new Error(`content ${contentKey(gone)} went while it was written: begin anew`);
		}
		yield* readAccess(directory, id);
	}
}

function revisionOf(rows: readonly Page[]): number {
	const head = rows.find(({ table }) => table === "cluster");
	return Number(head?.rows[0]?.[head.columns.indexOf("revision")] ?? 0);
}

/** Of secrets and configs, and of applications, which have one each. */
function contentNames(rows: readonly Page[]) {
	const ofMaterials = decidedOf<Material>(rows, "material").flatMap(({ id, versions }) =>
		versions.map(({ number }) => ({ material: id, version: number })),
	);
	const ofApplications = decidedOf<Application>(rows, "application").map(
		({ id, secretsVersion }) => ({ material: id as string as MaterialId, version: secretsVersion }),
	);
	return [...ofMaterials, ...ofApplications];
}

function decidedOf<Each>(rows: readonly Page[], kind: string): readonly Each[] {
	return rows
		.filter(({ table }) => table === kind)
		.flatMap(({ columns, rows: each }) =>
			each.map((row) => JSON.parse(String(row[columns.indexOf("decided")])) as Each),
		);
}

function* inParts<Value>(all: readonly Value[], size: number): Generator<readonly Value[]> {
	for (let from = 0; from < all.length; from += size) yield all.slice(from, from + size);
}
