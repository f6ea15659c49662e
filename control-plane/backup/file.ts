// A cluster as one file: gzipped lines of JSON. The first says what it is, the last proves that all of it is there and
// that nobody without the passphrase changed it. Between them are pages of rows.
//
// Knows nothing of what the rows mean. Reading is done twice: once to the end, which refuses what is not whole, and
// then page by page.

import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { z } from "zod";
import { invalid, messageOf, Refusal } from "../../model/errors.ts";
import type { Page } from "../store/copy.ts";
import { type FileKeys, fileKeys, kdfSchema } from "./passphrase.ts";

export const format = 1;

const headerSchema = z.object({
	skein: z.literal("cluster"),
	format: z.number(),
	/** Of the program that wrote it. */
	version: z.string(),
	/** The database's last migration then. */
	schema: z.string(),
	createdMs: z.number(),
	cluster: z.object({
		id: z.string().regex(/^[0-9a-z]{25}$/),
		name: z.string(),
		revision: z.number().int().nonnegative(),
	}),
	kdf: kdfSchema,
	/** What join tokens are derived from, sealed. Opens only with the right passphrase, so it is tried first. */
	keys: z.string(),
});

export type Header = z.infer<typeof headerSchema>;

const pageSchema = z.object({
	table: z.string(),
	columns: z.array(z.string()),
	rows: z.array(z.array(z.union([z.string(), z.number(), z.null()]))),
});

const endSchema = z.object({
	end: z.literal(true),
	lines: z.number(),
	/** Of all lines before: whoever has no passphrase can still see whether the file is whole. */
	sha256: z.string(),
	mac: z.string(),
});

/** The file. Errors when `pages` does: then what came of it is no backup, and does not open. */
export function writeBackup(
	header: Header,
	keys: FileKeys,
	pages: AsyncIterable<Page>,
): ReadableStream<Uint8Array> {
	const lines = linesOf(header, keys, pages);
	const text = new ReadableStream<Uint8Array<ArrayBuffer>>({
		async pull(controller) {
			const { done, value } = await lines.next();
			if (done) controller.close();
			else controller.enqueue(value);
		},
		cancel: async () => void (await lines.return(undefined)),
	});
	return text.pipeThrough(new CompressionStream("gzip"));
}

async function* linesOf(
	header: Header,
	{ mac }: FileKeys,
	pages: AsyncIterable<Page>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, undefined> {
	const proof = proofOf();
	const line = (value: unknown) =>
		Uint8Array.from(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
	const proved = (bytes: Uint8Array<ArrayBuffer>) => {
		proof.add(bytes);
		return bytes;
	};
	yield proved(line(header));
	for await (const { table, columns, rows } of pages) {
		yield proved(line({ table, columns, rows }));
	}
	const whole = proof.end();
	yield line({ end: true, ...whole, mac: sign(mac, whole) });
	return undefined;
}

/** What the last line says of those before it. */
function proofOf() {
	const sum = sha256.create();
	let lines = 0;
	return {
		add(line: Uint8Array) {
			lines++;
			sum.update(line);
		},
		end: () => ({ lines, sha256: bytesToHex(sum.digest()) }),
	};
}

/** Whoever alters the lines can make their sum anew, and not this. */
const sign = (mac: Uint8Array, { lines, sha256: sum }: { lines: number; sha256: string }) =>
	bytesToHex(hmac(sha256, mac, new TextEncoder().encode(`${lines} ${sum}`)));

export interface Backup {
	readonly header: Header;
	readonly keys: FileKeys;
	/** Again from the first, at each call. */
	pages(): AsyncGenerator<Page>;
}

/** As it came, in the pieces in which it came: a tenth of what is in it, and all that is held of it. */
export async function receive(
	body: ReadableStream<Uint8Array> | null,
	mostBytes: number,
): Promise<Blob> {
	const parts: Uint8Array<ArrayBuffer>[] = [];
	let bytes = 0;
	for await (const part of body ?? []) {
		bytes += part.byteLength;
		if (bytes > mostBytes) {
			throw invalid(
				`the file is larger than ${mostBytes / 1024 ** 2} MiB, which is all that a control plane takes: remove secrets and configs that the cluster needs no more, and export it again`,
			);
		}
		parts.push(Uint8Array.from(part));
	}
	return new Blob(parts);
}

/** Refuses what is not whole, or altered, or not of this passphrase, before anything is done with it. */
export async function openBackup(
	file: Blob,
	passphrase: string,
	opens: (header: Header, keys: FileKeys) => Promise<void>,
): Promise<Backup> {
	let header: Header | undefined;
	let end: z.infer<typeof endSchema> | undefined;
	const proof = proofOf();
	for await (const line of linesFrom(file)) {
		if (end) throw damaged("there is more after its end");
		if (!header) header = readHeader(line);
		else if (line.startsWith('{"end"')) {
			end = read(endSchema, line);
			continue;
		} else read(pageSchema, line);
		proof.add(new TextEncoder().encode(`${line}\n`));
	}
	if (!header) throw damaged("it is empty");
	if (!end) throw damaged("its end is missing: it was not received or written whole");
	const found = proof.end();
	if (found.lines !== end.lines || found.sha256 !== end.sha256) {
		throw damaged("its checksum is another: it was altered on the way");
	}
	// Last, because it costs the most.
	const keys = await fileKeys(passphrase, header.kdf);
	await opens(header, keys);
	if (sign(keys.mac, found) !== end.mac) {
		throw damaged("it was altered, and its checksum with it, by somebody who has no passphrase");
	}
	return {
		header,
		keys,
		async *pages() {
			let first = true;
			for await (const line of linesFrom(file)) {
				if (!first && !line.startsWith('{"end"')) yield read(pageSchema, line);
				first = false;
			}
		},
	};
}

function readHeader(line: string): Header {
	const loose = z.object({ skein: z.literal("cluster"), format: z.number() });
	const { format: theirs } = read(loose, line);
	if (theirs !== format) {
		throw invalid(
			`the file has format ${theirs}, and this version of Skein reads ${format}: import it with the version that wrote it, or a newer one`,
		);
	}
	return read(headerSchema, line);
}

function read<Shape>(schema: z.ZodType<Shape>, line: string): Shape {
	let value: unknown;
	try {
		value = JSON.parse(line);
	} catch (error) {
		throw damaged(messageOf(error), error);
	}
	const result = schema.safeParse(value);
	if (result.success) return result.data;
	const [issue] = result.error.issues;
	throw damaged(`${issue?.path.join(".") || "a line"}: ${issue?.message}`);
}

/** A page has half a megabyte, or one row that is larger. */
const mostLineChars = 32_000_000;

async function* linesFrom(file: Blob): AsyncGenerator<string> {
	const text = file
		.stream()
		.pipeThrough(new DecompressionStream("gzip"))
		.pipeThrough(new TextDecoderStream("utf-8", { fatal: true }));
	let rest = "";
	try {
		for await (const part of text) {
			const lines = (rest + part).split("\n");
			rest = lines.pop() ?? "";
			if (rest.length > mostLineChars) throw damaged("a line does not end");
			yield* lines;
		}
	} catch (error) {
		if (error instanceof Refusal) throw error;
		throw damaged(messageOf(error), error);
	}
	if (rest !== "") throw damaged("its last line has no end");
}

const damaged = (what: string, cause?: unknown) =>
	invalid(`this is no whole backup of a cluster: ${what}. Nothing was written`, { cause });
