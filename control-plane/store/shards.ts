// The databases on which clusters lie, by name, each opened when it is first needed and brought up to date then.
//
// The directory's own database is the shard `main`: where nothing else is said, one file or one server holds all.

import { unavailable } from "../../model/errors.ts";
import { type Database, openDatabase } from "./client.ts";
import { migrate } from "./migrate.ts";

export interface Shards {
	/** Where new clusters go. */
	readonly names: readonly string[];
	/** Where any may lie. */
	readonly all: readonly string[];
	/** Unavailable when no shard has the name. */
	open(name: string): Promise<Database>;
	/** All but the directory's, which is its opener's. */
	close(): void;
}

export interface ShardConfig {
	readonly name: string;
	readonly url: string;
	readonly authToken?: string;
}

export const directoryShard = "main";

/** `name=url[#token]`, in lines or with commas between them. Throws what is wrong with it. */
export function parseShards(text: string | undefined): ShardConfig[] {
	return (text ?? "")
		.split(/[\s,]+/)
		.filter(Boolean)
		.map((entry) => {
			const [, name, url, authToken] = /^([a-z0-9-]+)=([^#]+)(?:#(.*))?$/.exec(entry) ?? [];
			if (!name || !url || !/^(file:|https?:|libsql:|wss?:)/.test(url)) {
				throw new Error(
					`SKEIN_SHARDS: ${entry.replace(/#.*/, "#…")} is no NAME=URL or NAME=URL#TOKEN such as eu1=libsql://eu1.example.com#TOKEN`,
				);
			}
			return { name, url, ...(authToken && { authToken }) };
		});
}

export interface ShardOptions {
	/** URLs of shards whose tables are known to be up to date: outlives clients, where requests do not share them. */
	readonly prepared?: Set<string>;
	/** Whoever counts what is asked of a database. */
	readonly watched?: (database: Database) => Database;
}

export function openShards(
	directory: Database,
	configs: readonly ShardConfig[],
	{ prepared = new Set(), watched = (database) => database }: ShardOptions = {},
): Shards {
	const opened = new Map<string, Promise<Database>>();

	async function open(config: ShardConfig): Promise<Database> {
		const database = watched(await openDatabase(config));
		if (prepared.has(config.url)) return database;
		await migrate(database);
		prepared.add(config.url);
		return database;
	}

	return {
		names: configs.length > 0 ? configs.map(({ name }) => name) : [directoryShard],
		all: [...new Set([directoryShard, ...configs.map(({ name }) => name)])],
		async open(name) {
			const known = opened.get(name);
			if (known !== undefined) return known;
			const config = configs.find((each) => each.name === name);
			if (!config && name === directoryShard) return directory;
			if (!config) {
				throw unavailable(
					`SKEIN_SHARDS names no shard ${name}, on which this cluster lies: add it`,
				);
			}
			const opening = open(config);
			opened.set(name, opening);
			opening.catch(() => opened.delete(name));
			return opening;
		},
		close() {
			for (const each of opened.values()) {
				each.then(
					(database) => database.close(),
					() => undefined,
				);
			}
			opened.clear();
		},
	};
}
