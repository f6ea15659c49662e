// The log of a build: bounded, on disk for an agent that is started again, and in memory for whoever reads or follows it.
//
// On disk it is two files, so that the oldest part goes without the rest being written anew. What must not be read by
// anybody is taken out of each line before it is kept.

import { appendFile, mkdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { buildBounds, longestLogBytes } from "../../model/build.ts";

export interface BuildLog {
	/** One line. */
	add(line: string): void;
	/** These words stand in no line from now on. */
	hide(words: readonly string[]): void;
	/** The newest lines, oldest first, for the status. */
	last(): readonly string[];
	/** All that is kept. */
	text(): string;
	/** What is kept, and with `follow` what comes until it is closed. */
	read(follow: boolean, signal: AbortSignal): ReadableStream<Uint8Array>;
	/** No more comes. On disk when it returns. */
	close(): Promise<void>;
}

const longestLine = 8 * 1024;
const hidden = "•••";
/** Shorter ones stand in every second word. */
const shortestHidden = 4;

/** Goes on where an agent before left it. */
export async function openBuildLog(dir: string): Promise<BuildLog> {
	await mkdir(dir, { recursive: true, mode: 0o700 });
	const [older, newer] = [join(dir, "log.old"), join(dir, "log")];
	const [first, second] = await Promise.all([older, newer].map(textOf));
	const kept = linesOf(`${first}${second}`);
	let bytes = kept.reduce((sum, line) => sum + sizeOf(line), 0);
	let newerBytes = Buffer.byteLength(second ?? "");
	let secrets: readonly string[] = [];
	let isClosed = false;
	let writing: Promise<unknown> = Promise.resolve();
	const followers = new Set<(line: string | undefined) => void>();

	const write = async (line: string) => {
		const size = sizeOf(line);
		if (newerBytes + size > longestLogBytes / 2) {
			await rename(newer, older);
			newerBytes = 0;
		}
		await appendFile(newer, `${line}\n`, { mode: 0o600 });
		newerBytes += size;
	};
	const text = () => kept.map((line) => `${line}\n`).join("");
	return {
		add(said) {
			const clean = secrets.reduce(
				(line, secret) => line.replaceAll(secret, hidden),
				Bun.stripANSI(said),
			);
			const line = clean.slice(0, longestLine);
			kept.push(line);
			bytes += sizeOf(line);
			while (bytes > longestLogBytes) bytes -= sizeOf(kept.shift() ?? "");
			// A full disk costs lines, and nothing else.
			writing = writing.then(() => write(line)).catch(() => undefined);
			for (const follower of followers) follower(line);
		},
		hide(words) {
			const parts = words.flatMap((word) => [word, ...word.split("\n")]);
			secrets = [...new Set(parts.map((part) => part.trim()))]
				.filter((part) => part.length >= shortestHidden)
				.toSorted((a, b) => b.length - a.length);
		},
		last: () => kept.slice(-buildBounds.lines).map((line) => line.slice(0, buildBounds.lineLength)),
		text,
		read(follow, signal) {
			let leave = () => {};
			return new ReadableStream<Uint8Array>({
				start(to) {
					const encoder = new TextEncoder();
					to.enqueue(encoder.encode(text()));
					if (!follow || isClosed) {
						to.close();
						return;
					}
					const follower = (line: string | undefined) => {
						if (line === undefined) to.close();
						else to.enqueue(encoder.encode(`${line}\n`));
					};
					followers.add(follower);
					leave = () => followers.delete(follower);
					signal.addEventListener("abort", leave);
				},
				cancel: () => leave(),
			});
		},
		async close() {
			isClosed = true;
			for (const follower of followers) follower(undefined);
			followers.clear();
			await writing;
		},
	};
}

const sizeOf = (line: string) => Buffer.byteLength(line) + 1;

const textOf = (path: string) => readFile(path, "utf8").catch(() => "");

function linesOf(text: string): string[] {
	const lines = text.split("\n");
	if (lines.at(-1) === "") lines.pop();
	return lines;
}
