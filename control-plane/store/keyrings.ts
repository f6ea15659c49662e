// Clusters' keyrings as rows, and the sealed contents that are to be sealed anew. Every write is guarded by what was
// read before: of several that rotate at once, one does, and the others look again.
//
// Keyrings lie in the directory, apart from what they open: a copy of a shard can not be read with the master key alone.

import type { Cluster } from "../../model/cluster.ts";
import type { ClusterId } from "../../model/id.ts";
import type { SealedContent } from "../../model/material.ts";
import type { Database, Statement } from "./client.ts";
import { writeUnfenced } from "./commit.ts";

export interface KeyringRow {
	readonly version: number;
	readonly master: string;
	readonly wrapped: string;
	readonly resealing: boolean;
}

/** How many clusters wait for which master key; an empty id is those that have no keyring yet. */
export interface MasterUse {
	readonly master: string;
	readonly clusters: number;
}

export interface Due {
	readonly id: ClusterId;
	readonly resealing: boolean;
}

export interface KeyringStore {
	read(id: ClusterId): Promise<KeyringRow | undefined>;
	/** The first one of a cluster. False: it has one, or is no more. */
	insert(id: ClusterId, row: KeyringRow): Promise<boolean>;
	/** False: somebody else was first. */
	replace(id: ClusterId, before: KeyringRow, next: KeyringRow): Promise<boolean>;
	census(): Promise<readonly MasterUse[]>;
	/**
	 * Clusters after `after` whose keyring is wrapped under another master key, or being resealed; `thorough` also those
	 * that have none, for which every cluster is looked at.
	 */
	due(
		current: string,
		page: { readonly after: string; readonly limit: number; readonly thorough: boolean },
	): Promise<readonly Due[]>;
	/** As it is now, for one that is older than its keyring. */
	cluster(id: ClusterId): Promise<Cluster | undefined>;
	/** Contents after `after` that are not sealed under that version, in order. */
	olderContents(
		id: ClusterId,
		version: number,
		after: Pick<SealedContent, "material" | "version"> | undefined,
		limit: number,
	): Promise<readonly SealedContent[]>;
	/** One batch: each row only if it still says what it said. */
	reseal(
		id: ClusterId,
		contents: readonly { readonly before: SealedContent; readonly sealed: string }[],
	): Promise<void>;
}

/** `onShard` asks the database on which the cluster's rows lie. */
export function openKeyrings(
	database: Database,
	onShard: <Result>(id: ClusterId, ask: (shard: Database) => Promise<Result>) => Promise<Result>,
): KeyringStore {
	const ask = async (sql: string, args: Statement["args"]) => {
		const [found] = await database.read([{ sql, args }]);
		return found?.rows ?? [];
	};
	const tell = async (sql: string, args: Statement["args"]) => {
		const [done] = await database.write([{ sql, args }]);
		return done?.rows.length === 1;
	};
	return {
		async read(id) {
			const [row] = await ask(
				"select version, master, wrapped, resealing from keyring where cluster = ?",
				[id],
			);
			if (!row) return undefined;
			return {
				version: Number(row["version"]),
				master: String(row["master"]),
				wrapped: String(row["wrapped"]),
				resealing: Number(row["resealing"]) === 1,
			};
		},
		insert: (id, row) =>
			tell(
				`insert into keyring (cluster, version, master, wrapped, resealing)
					select cluster, ?2, ?3, ?4, ?5 from placement
					where cluster = ?1 and state not in ('erasing', 'erased')
					on conflict do nothing returning cluster`,
				[id, ...columnsOf(row)],
			),
		replace: (id, before, next) =>
			tell(
				`update keyring set version = ?2, master = ?3, wrapped = ?4, resealing = ?5
					where cluster = ?1 and wrapped = ?6 returning cluster`,
				[id, ...columnsOf(next), before.wrapped],
			),
		async census() {
			const rows = await ask(
				`select master, count(*) as clusters from keyring group by master union all
					select '', count(*) from placement
						where state not in ('erasing', 'erased') and cluster not in (select cluster from keyring)`,
				[],
			);
			return rows
				.map((row) => ({ master: String(row["master"]), clusters: Number(row["clusters"]) }))
				.filter(({ clusters }) => clusters > 0);
		},
		async due(current, { after, limit, thorough }) {
			const without = `select cluster, 0 from placement where cluster > ?2
				and state not in ('erasing', 'erased') and cluster not in (select cluster from keyring)`;
			const rows = await ask(
				`select cluster, resealing from keyring where master < ?1 and cluster > ?2
					union select cluster, resealing from keyring where master > ?1 and cluster > ?2
					union select cluster, 1 from keyring where resealing = 1 and cluster > ?2
					${thorough ? `union ${without}` : ""} order by 1 limit ?3`,
				[current, after, limit],
			);
			return rows.map((row) => ({
				id: String(row["cluster"]) as ClusterId,
				resealing: Number(row["resealing"]) === 1,
			}));
		},
		async cluster(id) {
			const [found] = await onShard(id, (shard) =>
				shard.read([{ sql: "select decided from cluster where id = ?", args: [id] }]),
			);
			const row = found?.rows[0];
			return row && (JSON.parse(String(row["decided"])) as Cluster);
		},
		async olderContents(id, version, after, limit) {
			const [found] = await onShard(id, (shard) =>
				shard.read([
					{
						sql: `select material, version, sealed from content
							where cluster = ?1 and (material, version) > (?2, ?3) and sealed not like ?4
							order by material, version limit ?5`,
						args: [id, after?.material ?? "", after?.version ?? 0, `2.${version}.%`, limit],
					},
				]),
			);
			return (found?.rows ?? []).map((row) => ({
				material: String(row["material"]) as SealedContent["material"],
				version: Number(row["version"]),
				sealed: String(row["sealed"]),
			}));
		},
		async reseal(id, contents) {
			if (contents.length === 0) return;
			const writes = contents.map(({ before, sealed }) => ({
				sql: "update content set sealed = ?4 where cluster = ?1 and material = ?2 and version = ?3 and sealed = ?5",
				args: [id, before.material, before.version, sealed, before.sealed],
			}));
			await onShard(id, (shard) => writeUnfenced(shard, id, writes));
		},
	};
}

const columnsOf = ({ version, master, wrapped, resealing }: KeyringRow) =>
	[version, master, wrapped, resealing ? 1 : 0] as const;
