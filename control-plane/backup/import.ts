// A cluster out of a file: what its rows become where they go to. Pure but for the sealing; who writes them is clusters.ts.
//
// With the id that it had it is the same cluster, in another place or back: its agents and its join tokens are known. With
// another id it is a copy: services, networks, secrets and configs, and no machine yet.

import type { Cluster } from "../../model/cluster.ts";
import { invalid, Refusal } from "../../model/errors.ts";
import type { ClusterId } from "../../model/id.ts";
import { joinKeyOf, type Keyring, newKeyring } from "../accounts/keyring.ts";
import { sealFor } from "../accounts/seal.ts";
import { joinToken, sha256 } from "../accounts/tokens.ts";
import type { Cell, Page } from "../store/copy.ts";
import { migrations } from "../store/migrate.ts";
import { keysBelongTo } from "./export.ts";
import { type Backup, type Header, openBackup } from "./file.ts";
import type { FileKeys } from "./passphrase.ts";
import { resealPage, sealsOf } from "./sealed.ts";

export interface Imported {
	readonly id: ClusterId;
	readonly ring: Keyring;
	readonly tokens: Cluster["tokens"];
	/** The cluster's own row first. */
	pages(): AsyncGenerator<Page>;
	/** Agents' credentials and join tokens, as hashes, for the directory. */
	access(): AsyncGenerator<Page>;
}

/** Refuses a file that is not whole or not of this passphrase, before anything is written. */
export function openFile(file: Blob, passphrase: string): Promise<Backup> {
	return openBackup(file, passphrase, async (header, keys) => {
		if (!migrations.some(([name]) => name === header.schema)) {
			throw invalid(
				`the file was written by Skein ${header.version}, whose tables this version does not know: import it with that version or a newer one`,
			);
		}
		await joinOf(header, keys);
	});
}

/**
 * Its agents may have seen later revisions where it was, and go back to no lower one. Nobody commits so often between a
 * backup and its use.
 */
const revisionsAhead = 1_000_000;
/** Within this time after an import agents come over, or their nodes count as down. */
export const arrivalMs = 15 * 60_000;

export async function prepareImport(
	{ header, keys, pages }: Backup,
	to: {
		readonly id: ClusterId;
		readonly organization: string;
		readonly nowMs: number;
	},
): Promise<Imported> {
	const { id, nowMs } = to;
	const isSame = id === header.cluster.id;
	const ring = isSame ? await ringOf(header, keys) : newKeyring();
	const rings = async () => ring;
	const tokens = isSame ? undefined : await firstTokens(ring, id);
	const [from, into] = [sealsOf(keys.rings, header.cluster.id), sealsOf(rings, id)];
	// Where it was may have sent its machines here.
	const ofCluster = ({ movedTo: _here, ...decided }: Cluster): Cluster => ({
		...decided,
		id,
		...(tokens && { tokens }),
	});
	const head = await headOf(pages());
	const before = JSON.parse(String(cellOf(head, "decided"))) as Cluster;

	return {
		id,
		ring,
		tokens: tokens ?? before.tokens,
		async *pages() {
			for await (const page of pages()) {
				if (page.table === "cluster") {
					yield withCells(page, {
						id,
						account: to.organization,
						decided: JSON.stringify(ofCluster(before)),
						revision: Number(cellOf(page, "revision")) + revisionsAhead,
						wake_at_ms: null,
						alive_ms: nowMs,
						listening_since_ms: nowMs,
					});
				} else if (page.table === "node") {
					if (isSame) yield withCells(page, { lease_until_ms: nowMs + arrivalMs });
				} else if (isOfCluster(page.table, isSame)) {
					yield resealPage(page, from, into);
				}
			}
		},
		async *access() {
			if (!isSame) return;
			for await (const page of pages()) if (ofDirectory.has(page.table)) yield page;
		},
	};
}

const ofDirectory = new Set(["credential", "join_token"]);
/** What a copy does not take along: machines are of one cluster, and so is what runs on them. */
const ofMachines = new Set(["node", "task", "gone", "event"]);

const isOfCluster = (table: string, isSame: boolean) =>
	!ofDirectory.has(table) && (isSame || !ofMachines.has(table));

async function headOf(pages: AsyncGenerator<Page>): Promise<Page> {
	for await (const page of pages) {
		if (page.table === "cluster" && page.rows.length === 1) return page;
		break;
	}
	throw invalid("the file does not begin with the cluster's own row");
}

const cellOf = ({ columns, rows }: Page, column: string): Cell =>
	rows[0]?.[columns.indexOf(column)] ?? null;

/** In every row. */
function withCells(page: Page, cells: Readonly<Record<string, Cell>>): Page {
	const values = page.columns.map((column) => cells[column]);
	const rows = page.rows.map((row) =>
		row.map((cell, at) => (values[at] === undefined ? cell : (values[at] ?? null))),
	);
	return { ...page, rows };
}

async function joinOf({ cluster, keys: sealed }: Header, { rings }: FileKeys) {
	const seal = sealFor(rings, cluster.id, "keyring");
	const text = await seal.open(keysBelongTo, sealed).catch((error: unknown) => {
		if (!(error instanceof Refusal)) throw error;
		throw invalid("the passphrase is not the one that the file was written with");
	});
	return JSON.parse(new TextDecoder().decode(text)) as {
		readonly join: string;
		readonly said: Readonly<Record<string, string>>;
	};
}

async function ringOf(header: Header, keys: FileKeys): Promise<Keyring> {
	const { join, said } = await joinOf(header, keys);
	return { ...newKeyring(1, { seals: {}, said }), join };
}

async function firstTokens(ring: Keyring, id: ClusterId): Promise<Cluster["tokens"]> {
	const key = await joinKeyOf(ring);
	const first = async (role: "worker" | "manager") => ({
		epoch: 1,
		sha256: await sha256(await joinToken(key, id, role, 1)),
	});
	return { worker: await first("worker"), manager: await first("manager") };
}
