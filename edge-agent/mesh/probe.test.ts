import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Assignment } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";
import {
	answered,
	complaintsOf,
	narrowOf,
	nothingProbed,
	type Probe,
	type Question,
	tick,
	type Way,
	waysOf,
} from "./probe.ts";

const b = "b" as NodeId;
const assignment = {
	self: { hostname: "h1" },
	peers: [{ node: b, hostname: "h2", meshAddress: "10.200.0.2" }],
	networks: [{ name: "web", vni: 5, gateways: [{ node: b, address: "10.0.5.242" }] }],
} as unknown as Pick<Assignment, "self" | "peers" | "networks">;

/** What becomes of a question's packet of that size: lost there, lost on its way back, or answered whole. */
type Fate = "lost" | "arrives" | "returns";
type Network = (way: Way, size: number, second: number) => Fate;

const sound: Network = () => "returns";
const mute: Network = () => "lost";
const upTo =
	(most: number, beyond: Fate = "lost"): Network =>
	({ overlay }, size) =>
		size + (overlay ? 50 : 0) <= most ? "returns" : beyond;
/** The mesh sound, the overlay not. */
const overlay =
	(network: Network): Network =>
	(way, size, second) =>
		way.overlay ? network(way, size, second) : "returns";

interface Past {
	readonly state: Probe;
	readonly second: number;
	readonly told: readonly (readonly string[])[];
	readonly asked: readonly (readonly Question[])[];
}
const beginning: Past = { state: nothingProbed, second: 1, told: [], asked: [] };

const evenly = () => 0.5;
/** So that the mesh and the overlay are asked at other moments. */
function unevenly(seed: number): () => number {
	let drawn = seed;
	return () => {
		drawn = (drawn * 73 + 41) % 101;
		return drawn / 101;
	};
}

/** A tick a second; answers come at once. */
function run(
	past: Past,
	seconds: number,
	network: Network,
	{ silent = [], random = evenly }: { silent?: readonly NodeId[]; random?: () => number } = {},
): Past {
	let { state } = past;
	const told: string[][] = [];
	const asked: (readonly Question[])[] = [];
	for (let second = past.second; second < past.second + seconds; second++) {
		const ways = waysOf(assignment, new Set(silent), 1420, narrowOf(state));
		const turn = tick(state, ways, second * 1000, random);
		state = turn.state;
		asked.push(turn.questions);
		for (const { way, round, sizes } of turn.questions) {
			for (const size of sizes) {
				const fate = network(way, size, second);
				const answer = { address: way.address, round, size };
				if (fate !== "lost") state = answered(state, { ...answer, kind: "arrived" });
				if (fate === "returns") state = answered(state, { ...answer, kind: "returned" });
			}
		}
		told.push(complaintsOf(state, assignment));
	}
	return { state, second: past.second + seconds, told, asked };
}
const whole = run(beginning, 20, sound);

describe("what the answers mean", () => {
	test.each<[string, Network, number | undefined, RegExp[]]>([
		["all are answered", sound, undefined, []],
		[
			"large ones are lost there",
			upTo(1290),
			1280,
			[/^path MTU: packets over 1340 bytes are lost without a word from node h1 to h2; smaller/],
		],
		["large ones are lost on the way back", upTo(1290, "arrives"), 1280, [/from node h2 to h1/]],
		["all but the smallest are lost", upTo(300), undefined, [/over 124 bytes.* pass between/]],
		["none is answered, as by an agent of before", mute, undefined, []],
		[
			"the overlay answers nothing",
			overlay(mute),
			undefined,
			[/^network web: node h2 answers the mesh and not .*4790 on skein0.* sk-5.*ping 10.0.5.242/],
		],
		[
			"the overlay alone loses large ones",
			overlay(upTo(1000)),
			undefined,
			[/^network web: packets over \d+ bytes .*from node h1 to h2.*sk-5 and sx-5/],
		],
	])("%s", (_, network, narrow, words) => {
		for (const past of [beginning, whole]) {
			const { state, told } = run(past, 60, network);
			expect(narrowOf(state).get(b)).toBe(narrow);
			expect(told.at(-1)).toHaveLength(words.length);
			for (const [at, pattern] of words.entries()) expect(told.at(-1)?.[at]).toMatch(pattern);
		}
	});

	test("a narrow path is found within half a minute, and forgotten within as much", () => {
		const narrow = run(whole, 30, upTo(1290));
		expect(narrow.told.at(-1)).toHaveLength(1);
		const mended = run(narrow, 30, sound);
		expect(mended.told.at(-1)).toEqual([]);
		expect(narrowOf(mended.state).size).toBe(0);
	});

	test("a path that becomes narrower still is measured again", () => {
		const twice = run(run(whole, 40, upTo(1290)), 60, upTo(1100));
		expect(narrowOf(twice.state).get(b)).toBe(1088);
	});

	test("while the mesh's own fault is not sure yet, no overlay is blamed for it", () => {
		for (const seed of Array.from({ length: 50 }, (_, at) => at)) {
			const random = unevenly(seed);
			const { told } = run(run(beginning, 40, sound, { random }), 60, upTo(1290), { random });
			expect(told.at(-1)).toHaveLength(1);
			expect(told.flat().filter((complaint) => complaint.startsWith("network"))).toEqual([]);
		}
	});

	test("inside a narrow path the overlay is asked for what fits", () => {
		const { told, asked } = run(run(whole, 40, upTo(1290)), 40, upTo(1290));
		const sizes = asked
			.flat()
			.flatMap(({ way, sizes }) => (way.overlay ? (sizes.at(-1) ?? 0) : []));
		expect(new Set(sizes)).toEqual(new Set([1230]));
		expect(told.at(-1)?.join()).not.toContain("network web");
	});
});

describe("what is no news", () => {
	test.each<[string, Network]>([
		["two rounds lost", (_, __, second) => (second % 17 < 4 ? "lost" : "returns")],
		[
			"a network that the peer makes 12 s later",
			overlay((_, __, second) => (second < 12 ? "lost" : "returns")),
		],
	])("%s", (_, network) => {
		expect(run(beginning, 60, network).told.flat()).toEqual([]);
	});

	test("a silent peer: it is not asked, and that it was narrow is forgotten", () => {
		const { asked, told } = run(run(whole, 40, upTo(1290)), 20, mute, { silent: [b] });
		expect([...asked.flat(), ...told.flat()]).toEqual([]);
	});

	test("time that we slept", () => {
		const later = { ...whole, second: whole.second + 3600 };
		expect(run(later, 2, sound).told.flat()).toEqual([]);
	});
});

describe("when", () => {
	test("a peer is asked at once when it appears or comes back, then every 15 s", () => {
		const at = ({ asked }: Past) =>
			asked.flatMap((questions, second) => (questions.length > 0 ? [second] : []));
		expect(at(run(beginning, 40, sound))).toEqual([0, 15, 30]);
		const away = run(whole, 10, mute, { silent: [b] });
		expect(at(run(away, 10, sound))[0]).toBe(0);
	});

	test("of a thousand peers a hundred are asked in one second at most", () => {
		const ways = Array.from({ length: 1000 }, (_, at) => ({
			node: `n${at}` as NodeId,
			address: `10.200.${at >> 8}.${at & 255}`,
			overlay: null,
			whole: 1420,
		}));
		const { state, questions } = tick(nothingProbed, ways, 1000, () => 0.5);
		expect(questions).toHaveLength(100);
		expect(tick(state, ways, 2000, () => 0.5).questions).toHaveLength(100);
	});
});

test("whatever was lost before, a minute of a sound network and nobody complains", () => {
	const fates = fc.array(fc.constantFrom<Fate>("lost", "arrives", "returns"), { minLength: 40 });
	fc.assert(
		fc.property(fates, (fate) => {
			const past = run(
				beginning,
				60,
				(_, size, second) => fate[(size + second) % fate.length] ?? "lost",
			);
			const then = run(past, 60, sound);
			expect(then.told.at(-1)).toEqual([]);
			expect(narrowOf(then.state).size).toBe(0);
		}),
		{ numRuns: 100 },
	);
});
