// Asks web servers without a pause and counts, exactly, what was not answered. Run where the question is to come from:
//
//     bun requests.ts URL...
//
// Two callers for each URL open a connection for each request, two keep one for as long as the server does. Nothing is
// tried a second time. A line on stdin ends it; the sum is then one line of JSON.

import { connect, type Socket } from "node:net";

export interface Lost {
	readonly at: string;
	readonly url: string;
	/** On a connection that had been answered before. */
	readonly kept: boolean;
	/** Since the connection was opened. */
	readonly ageMs: number;
	readonly why: string;
}

export interface Sum {
	readonly asked: number;
	/** Of them, on a connection that had been answered before. */
	readonly kept: number;
	readonly connections: number;
	readonly lost: readonly Lost[];
	readonly longestMs: number;
}

const callers = 2;
/** What a person waits for. */
const patienceMs = 10_000;
const pauseMs = 10;

const sum = { asked: 0, kept: 0, connections: 0, lost: [] as Lost[], longestMs: 0 };
let over = false;

if (import.meta.main) {
	const urls = process.argv.slice(2).map((text) => new URL(text));
	const calls = urls.flatMap((url) =>
		Array.from({ length: callers }, () => [callAnew(url), callKept(url)]).flat(),
	);
	for await (const _line of console) break;
	over = true;
	await Promise.all(calls);
	console.log(JSON.stringify(sum satisfies Sum));
	process.exit(0);
}

async function callAnew(url: URL): Promise<void> {
	while (!over) {
		await call(url, undefined, false);
		await Bun.sleep(pauseMs);
	}
}

async function callKept(url: URL): Promise<void> {
	let line: Line | undefined;
	while (!over) {
		line = await call(url, line?.isOpen() ? line : undefined, true);
		await Bun.sleep(pauseMs);
	}
	line?.close();
}

/** The line, if it may be used again. */
async function call(url: URL, held: Line | undefined, keep: boolean): Promise<Line | undefined> {
	const startedMs = performance.now();
	sum.asked++;
	if (held) sum.kept++;
	else sum.connections++;
	const line = held ?? new Line(url);
	try {
		const head = await line.ask(
			`GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\n${keep ? "" : "Connection: close\r\n"}\r\n`,
		);
		sum.longestMs = Math.max(sum.longestMs, Math.round(performance.now() - startedMs));
		if (keep && !/^connection: close/im.test(head)) return line;
	} catch (error) {
		const why = error instanceof Error ? error.message : String(error);
		const at = new Date().toISOString();
		sum.lost.push({ at, url: url.href, kept: held !== undefined, ageMs: line.ageMs(), why });
		console.error(`${at} ${url.href} ${held ? "kept" : "new"}: ${why}`);
	}
	line.close();
	return undefined;
}

class Line {
	readonly #socket: Socket;
	readonly #openedMs = performance.now();
	#text = "";
	#failed: Error | undefined;
	#news = () => {};

	constructor({ hostname, port }: URL) {
		this.#socket = connect({ host: hostname, port: Number(port || 80) });
		this.#socket.on("data", (data) => {
			this.#text += data.toString("latin1");
			this.#news();
		});
		this.#socket.on("error", (error) => this.#fail(error));
		this.#socket.on("close", () => this.#fail(new Error("closed before the answer was whole")));
		this.#socket.on("end", () => this.#fail(new Error("ended before the answer was whole")));
	}

	ageMs(): number {
		return Math.round(performance.now() - this.#openedMs);
	}

	isOpen(): boolean {
		return this.#failed === undefined;
	}

	/** The answer's head, once all of the answer is here. */
	async ask(request: string): Promise<string> {
		this.#text = "";
		this.#socket.write(request);
		const untilMs = performance.now() + patienceMs;
		for (;;) {
			const [head = "", ...rest] = this.#text.split("\r\n\r\n");
			const length = /^content-length: (\d+)/im.exec(head)?.[1];
			if (length !== undefined && rest.join("\r\n\r\n").length >= Number(length)) {
				if (/^HTTP\/1\.1 200/.test(head)) return head;
				throw new Error(head.split("\r\n")[0]);
			}
			if (this.#failed) throw this.#failed;
			const leftMs = untilMs - performance.now();
			if (leftMs <= 0) throw new Error(`no answer within ${patienceMs} ms`);
			await new Promise<void>((resolve) => {
				const timer = setTimeout(resolve, leftMs);
				this.#news = () => {
					clearTimeout(timer);
					resolve();
				};
			});
		}
	}

	close(): void {
		this.#socket.destroy();
	}

	#fail(error: Error): void {
		this.#failed ??= error;
		this.#news();
	}
}
