// Questions and answers as bytes. Reading is dns-packet's, which has met every malformed packet there is; writing is
// ours, since it does not compress names: with pointers 30 addresses fit where else 18 would.

import { Buffer } from "node:buffer";
import { decode } from "dns-packet";
import type { Answer, Query } from "./answer.ts";

export interface Question extends Query {
	readonly id: number;
	/** The largest answer that the asker takes by UDP. */
	readonly limit: number;
	/** The question section as it came: repeated as it is, its capitals too. */
	readonly section: Uint8Array;
	readonly isExtended: boolean;
	readonly wantsRecursion: boolean;
}

/** Response codes of RFC 1035 and 6895. */
export const responseCodes = {
	NOERROR: 0,
	FORMERR: 1,
	SERVFAIL: 2,
	NXDOMAIN: 3,
	NOTIMP: 4,
	REFUSED: 5,
} as const;
export type ResponseCode = keyof typeof responseCodes;

/**
 * How long others may remember an answer. Asking again costs them a tenth of a millisecond; remembering longer than
 * it takes to replace a failed task would lead them to where nobody is any more.
 */
export const ttlSeconds = 2;

const headerBytes = 12;
/** An OPT record without options: root name, type, size, code and flags, length. */
const optBytes = 11;
/** What passes every path without fragments: DNS flag day 2020's. */
const largestDatagram = 1232;

/** The one question of a query; the code to answer with where it is none that we understand; undefined for no query. */
export function parseQuery(bytes: Uint8Array): Question | ResponseCode | undefined {
	if (bytes.length < headerBytes) return undefined;
	const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
	const isResponse = (buffer[2] ?? 0) & 0x80;
	if (isResponse) return undefined;
	if (((buffer[2] ?? 0) >> 3) & 15) return "NOTIMP";
	if (buffer.readUInt16BE(4) !== 1) return "FORMERR";
	try {
		const packet = decode(buffer);
		const [question] = packet.questions ?? [];
		if (!question) return "FORMERR";
		const opt = packet.additionals?.find((record) => record.type === "OPT");
		const end = endOfName(buffer, headerBytes) + 4;
		return {
			id: buffer.readUInt16BE(0),
			name: question.name,
			// dns-packet says UNKNOWN_65 of what it does not know.
			type: question.type.replace("UNKNOWN_", "TYPE"),
			limit: opt ? Math.min(Math.max(opt.udpPayloadSize, 512), largestDatagram) : 512,
			section: Uint8Array.prototype.slice.call(buffer, headerBytes, end),
			isExtended: opt !== undefined,
			wantsRecursion: packet.flag_rd,
		};
	} catch {
		return "FORMERR";
	}
}

/** With as many records as fit in the limit, and a mark that some are missing when they do not all. */
export function writeReply(
	question: Question,
	code: ResponseCode,
	records: readonly Answer[],
	limit: number,
): Uint8Array {
	const datas = records.map(dataOf);
	const room = limit - headerBytes - question.section.length - (question.isExtended ? optBytes : 0);
	const fitting: Buffer[] = [];
	let used = 0;
	for (const data of datas) {
		// A pointer to the question's name, type, class, time to live and length come before the data.
		if (used + 12 + data.length > room) break;
		used += 12 + data.length;
		fitting.push(data);
	}
	const isCut = fitting.length < datas.length;
	const buffer = Buffer.alloc(limit - room + used);
	buffer.writeUInt16BE(question.id, 0);
	// A response, from an authority, to whom recursion is available.
	const flags = 0x8480 | (isCut ? 0x200 : 0) | (question.wantsRecursion ? 0x100 : 0);
	buffer.writeUInt16BE(flags | responseCodes[code], 2);
	buffer.writeUInt16BE(1, 4);
	buffer.writeUInt16BE(fitting.length, 6);
	buffer.writeUInt16BE(question.isExtended ? 1 : 0, 10);
	buffer.set(question.section, headerBytes);
	let at = headerBytes + question.section.length;
	for (const [index, data] of fitting.entries()) {
		buffer.writeUInt16BE(0xc000 | headerBytes, at);
		buffer.writeUInt16BE(records[index]?.type === "PTR" ? 12 : 1, at + 2);
		buffer.writeUInt16BE(1, at + 4);
		buffer.writeUInt32BE(ttlSeconds, at + 6);
		buffer.writeUInt16BE(data.length, at + 10);
		buffer.set(data, at + 12);
		at += 12 + data.length;
	}
	if (question.isExtended) {
		buffer.writeUInt16BE(41, at + 1);
		buffer.writeUInt16BE(largestDatagram, at + 3);
	}
	return buffer;
}

/** The header of the query sent back with a code, for what we cannot read any further. */
export function writeError(bytes: Uint8Array, code: ResponseCode): Uint8Array {
	const buffer = Buffer.alloc(headerBytes);
	buffer.set(bytes.subarray(0, 2));
	const operation = (bytes[2] ?? 0) & 0x79;
	buffer.writeUInt16BE((0x80 << 8) | (operation << 8) | 0x80 | responseCodes[code], 2);
	return buffer;
}

function dataOf(record: Answer): Buffer {
	if (record.type === "A") return Buffer.from(record.address.split(".").map(Number));
	const labels = record.name.split(".").map((label) => Buffer.from(label.slice(0, 63)));
	return Buffer.concat([
		...labels.flatMap((label) => [Buffer.from([label.length]), label]),
		Buffer.from([0]),
	]);
}

/** Nothing stands before the question's name that it could point to, so a pointer in it is nonsense. */
function endOfName(buffer: Buffer, start: number): number {
	let at = start;
	for (let length = buffer[at] ?? 0; length > 0; length = buffer[at] ?? 0) {
		if (length > 63) throw new Error("a pointer in a question");
		at += length + 1;
	}
	return at + 1;
}
