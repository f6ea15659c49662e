import { describe, expect, test } from "bun:test";
import { decode, encode, RECURSION_DESIRED, type RecordType } from "dns-packet";
import fc from "fast-check";
import type { Answer } from "./answer.ts";
import { parseQuery, type Question, ttlSeconds, writeError, writeReply } from "./wire.ts";

function query(name: string, type: RecordType = "A", udpPayloadSize?: number): Uint8Array {
	return encode({
		type: "query",
		id: 4711,
		flags: RECURSION_DESIRED,
		questions: [{ name, type }],
		additionals: udpPayloadSize
			? [
					{
						type: "OPT",
						name: ".",
						udpPayloadSize,
						extendedRcode: 0,
						ednsVersion: 0,
						flags: 0,
						flag_do: false,
						options: [],
					},
				]
			: [],
	});
}

function parsed(bytes: Uint8Array): Question {
	const question = parseQuery(bytes);
	if (typeof question !== "object") throw new Error(`no question: ${question}`);
	return question;
}

const addresses = (count: number): Answer[] =>
	Array.from({ length: count }, (_, at) => ({ type: "A", address: `10.0.${at >> 8}.${at & 255}` }));

const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,30}$/);
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join("."));

test("a question is read as it was asked", () => {
	fc.assert(
		fc.property(name, fc.constantFrom("A", "AAAA", "PTR", "SRV"), (name, type) => {
			expect(parsed(query(name, type as RecordType))).toMatchObject({ id: 4711, name, type });
		}),
	);
});

test("an answer is what a resolver reads in it", () => {
	const answers = fc.array(
		fc.oneof(
			fc.ipV4().map((address): Answer => ({ type: "A", address })),
			name.map((name): Answer => ({ type: "PTR", name })),
		),
		{ maxLength: 20 },
	);
	fc.assert(
		fc.property(name, answers, (name, records) => {
			const reply = decode(
				Buffer.from(writeReply(parsed(query(name)), "NOERROR", records, 65_535)),
			);
			expect(reply).toMatchObject({ id: 4711, flag_qr: true, flag_aa: true, flag_rd: true });
			expect(reply.questions).toEqual([{ name, type: "A", class: "IN" }]);
			expect(reply.answers as unknown[]).toEqual(
				records.map((record) => ({
					name,
					type: record.type,
					class: "IN",
					ttl: ttlSeconds,
					flush: false,
					data: record.type === "A" ? record.address : record.name,
				})),
			);
		}),
	);
});

describe("as many addresses as fit", () => {
	test.each([
		["without EDNS", undefined, 512],
		["a small wish", 100, 512],
		["a usual wish", 1232, 1232],
		["a wish beyond what passes everywhere", 4096, 1232],
	])("%s", (_, wish, limit) => {
		const question = parsed(query("tasks.web", "A", wish));
		const bytes = writeReply(question, "NOERROR", addresses(200), question.limit);
		const reply = decode(Buffer.from(bytes));
		expect(reply.flag_tc).toBe(true);
		expect(bytes.length).toBeLessThanOrEqual(limit);
		// Another record would not have fitted.
		expect(bytes.length).toBeGreaterThan(limit - 16);
		expect(reply.answers?.length).toBeGreaterThanOrEqual(29);
		expect(reply.additionals?.map(({ type }) => type)).toEqual(wish ? ["OPT"] : []);
	});

	test("all of them by TCP, unmarked", () => {
		const bytes = writeReply(parsed(query("tasks.web")), "NOERROR", addresses(200), 65_535);
		const reply = decode(Buffer.from(bytes));
		expect(reply.flag_tc).toBe(false);
		expect(reply.answers).toHaveLength(200);
	});
});

describe("what is no question of ours", () => {
	test.each([
		["nothing", new Uint8Array(0), undefined],
		["noise", new Uint8Array(5).fill(255), undefined],
		[
			"an answer",
			encode({ type: "response", id: 1, questions: [{ name: "web", type: "A" }] }),
			undefined,
		],
		["an update", withByte(query("web"), 2, 0x28), "NOTIMP"],
		["no question", encode({ type: "query", id: 1 }), "FORMERR"],
		["half a name", query("web").slice(0, 15), "FORMERR"],
		["a name that points to itself", withByte(query("web"), 12, 0xc0, 12), "FORMERR"],
	])("%s", (_, bytes, want) => expect(parseQuery(bytes)).toBe(want as undefined));

	test("whatever comes, nothing breaks", () => {
		fc.assert(
			fc.property(fc.uint8Array({ minLength: 10, maxLength: 80 }), (bytes) => {
				const question = parseQuery(bytes);
				if (typeof question === "string") expect(writeError(bytes, question)).toHaveLength(12);
				if (typeof question === "object") {
					expect(writeReply(question, "NOERROR", addresses(3), question.limit)).toBeDefined();
				}
			}),
			{ numRuns: 2000 },
		);
	});

	test("gets its id and kind back, with the reason", () => {
		const bytes = withByte(query("web"), 2, 0x28);
		expect(decode(Buffer.from(writeError(bytes, "NOTIMP")))).toMatchObject({
			id: 4711,
			opcode: "UPDATE",
			rcode: "NOTIMP",
			flag_qr: true,
		} as object);
	});
});

function withByte(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
	const changed = Uint8Array.from(bytes);
	changed.set(values, at);
	return changed;
}
