// A database by its URL, and the only two ways to it: one batch of reads, one batch of writes.
//
// Both are one transaction each and one round trip. There is no interactive transaction: over the network it holds the
// write lock for as long as we think. Runs under Bun (embedded file, or any libSQL URL) and under workerd (URL only).

import { type Client, createClient, LibsqlError, type ResultSet } from "@libsql/client";
import pRetry from "p-retry";
import { messageOf, Refusal } from "../../model/errors.ts";

export interface Statement {
	readonly sql: string;
	readonly args: readonly (string | number | null)[];
}

export interface Database {
	/** No other process writes: what this one knows is what there is. */
	readonly exclusive: boolean;
	/** All of one moment. Tried again until answered or hopeless. */
	read(statements: readonly Statement[]): Promise<readonly ResultSet[]>;
	/** All or nothing, behind `BEGIN IMMEDIATE`. Tried again only where nothing can have landed. */
	write(statements: readonly Statement[]): Promise<readonly ResultSet[]>;
	close(): void;
}

export interface DatabaseConfig {
	/** `file:…`, or `libsql:`, `https:`, `http:` of a server. */
	readonly url: string;
	readonly authToken?: string;
	/** A request that takes longer counts as lost. The client itself would wait for ever. */
	readonly timeoutMs?: number;
}

/** The server did not answer in SQL's terms: nothing is known of what was asked. */
class NoAnswer extends Refusal {
	constructor(cause: unknown) {
		super("unavailable", `the database does not answer (${messageOf(cause)}): is it up?`, {
			cause,
		});
		this.name = "NoAnswer";
	}
}

/** The write may have landed or not. */
export class OutcomeUnknown extends Refusal {
	constructor(cause: unknown) {
		super(
			"unavailable",
			`the database's answer to a write got lost (${messageOf(cause)}): see whether it was done, then try again`,
			{ cause },
		);
		this.name = "OutcomeUnknown";
	}
}

export async function openDatabase(config: DatabaseConfig): Promise<Database> {
	return config.url.startsWith("file:") ? openFile(config.url) : openRemote(config);
}

/**
 * One connection, because a batch on it is one synchronous tick and so can not meet another one. That no other process
 * writes is for the caller to make sure (lock.ts). Every commit is synced to disk, the default: agents never go back to a
 * lower revision, so a power cut must not take one away.
 */
async function openFile(url: string): Promise<Database> {
	const client = createClient({ url, concurrency: 1, timeout: 200 });
	await client.execute("pragma journal_mode = wal");
	/** A connection that met SQLITE_BUSY once keeps its old snapshot: it reads stale rows until it is opened anew. */
	const healing = async <Result>(ask: () => Promise<Result>): Promise<Result> =>
		pRetry(ask, {
			...retries,
			shouldRetry: ({ error }) => isBusy(error),
			async onFailedAttempt({ error }) {
				if (!isBusy(error)) return;
				await client.reconnect();
			},
		});
	return {
		exclusive: true,
		read: (statements) => healing(() => batch(client, statements, "read")),
		write: (statements) => healing(() => batch(client, statements, "write")),
		close: () => client.close(),
	};
}

function openRemote(config: DatabaseConfig): Database {
	const timeoutMs = config.timeoutMs ?? 10_000;
	const client = createClient({
		url: config.url,
		...(config.authToken ? { authToken: config.authToken } : {}),
		fetch: (request: Request) => fetchWithin(timeoutMs, request),
	});
	return {
		exclusive: false,
		read: (statements) =>
			pRetry(() => batch(client, statements, "read"), {
				...retries,
				shouldRetry: ({ error }) => isBusy(error) || error instanceof NoAnswer,
			}),
		write: (statements) =>
			pRetry(
				async () => {
					try {
						return await batch(client, statements, "write");
					} catch (error) {
						throw error instanceof NoAnswer ? new OutcomeUnknown(error.cause) : error;
					}
				},
				{ ...retries, shouldRetry: ({ error }) => isBusy(error) },
			),
		close: () => client.close(),
	};
}

/** Leaves no timer behind, which would keep an idle object at the edge in memory. */
async function fetchWithin(timeoutMs: number, request: Request): Promise<Response> {
	const late = new AbortController();
	const timer = setTimeout(() => late.abort(new Error("it took too long")), timeoutMs);
	try {
		const { status, statusText, headers, body } = await fetch(request, { signal: late.signal });
		const whole = body && (await new Response(body).arrayBuffer());
		return new Response(whole, { status, statusText, headers });
	} finally {
		clearTimeout(timer);
	}
}

/** 20, 40, … 640 ms, each with jitter: about a second and a half in all, less than anybody's patience with a CLI. */
const retries = { retries: 6, minTimeout: 20, factor: 2, randomize: true };

async function batch(
	client: Client,
	statements: readonly Statement[],
	mode: "read" | "write",
): Promise<ResultSet[]> {
	try {
		return await client.batch(
			statements.map(({ sql, args }) => ({ sql, args: [...args] })),
			mode,
		);
	} catch (error) {
		throw isLost(error) ? new NoAnswer(error) : error;
	}
}

function isBusy(error: unknown): boolean {
	return (
		error instanceof LibsqlError &&
		(error.code.startsWith("SQLITE_BUSY") ||
			/database (table )?is locked|SQLITE_BUSY/.test(error.message))
	);
}

function isLost(error: unknown): boolean {
	if (!(error instanceof LibsqlError)) return true;
	return (
		!error.code.startsWith("SQLITE") && !/SQLITE_|constraint|REVISION_CONFLICT/.test(error.message)
	);
}
