// Proves the way to each peer with packets like those of tasks: whole ones, over the mesh and through every overlay
// that we share. That a peer is alive (watch.ts) says nothing of packets of full size or of forwarding entries.
//
// Pure: which question is due, and what the answers mean. Sockets are prober.ts's; who is silent is not asked here.

import type { Assignment } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";
import { bridgeName, meshInterface, vxlanName } from "../../model/mesh.ts";
import { vxlanPort } from "../../model/protocol.ts";

/** One way to one peer. Its address is its name: of the peer in the mesh, or of its bridge in an overlay. */
export interface Way {
	readonly node: NodeId;
	readonly address: string;
	/** Null for the mesh itself. */
	readonly overlay: { readonly name: string; readonly vni: number } | null;
	/** The largest packet that it promises to carry, with its headers. */
	readonly whole: number;
}

export interface Question {
	readonly way: Way;
	readonly round: number;
	/** Of packets with their headers, in bytes, smallest first. */
	readonly sizes: readonly number[];
}

/** `arrived`: a small answer to a question of that size. `returned`: an answer as large as the question. */
export interface Answer {
	readonly address: string;
	readonly round: number;
	readonly size: number;
	readonly kind: "arrived" | "returned";
}

export interface Probe {
	/** By address. */
	readonly paths: ReadonlyMap<string, Path>;
	readonly tickMs: number;
}

interface Path {
	readonly way: Way;
	readonly open: Open | null;
	readonly round: number;
	readonly dueMs: number;
	/** The end of the last round that was whole. */
	readonly soundMs: number;
	/** Rounds without a whole answer since then, and the beginning of the first of them. */
	readonly misses: number;
	readonly missedMs: number;
	readonly found: Found;
	/** Another look before `found` is believed. */
	readonly believed: boolean;
}

interface Open {
	readonly question: Question;
	readonly askedMs: number;
	readonly arrived: number;
	readonly returned: number;
}

/**
 * `mute`: not even small packets are answered. `narrow`: those are, and larger ones no further than `carries`, which is
 * lost on the way `back` or on the way there.
 */
type Found =
	| { readonly kind: "whole" }
	| { readonly kind: "mute" }
	| {
			readonly kind: "narrow";
			readonly look: number;
			readonly carries: number;
			readonly back: boolean;
	  };

export const nothingProbed: Probe = { paths: new Map(), tickMs: 0 };

export const tickMs = 1_000;
const everyMs = 15_000;
/** In large clusters less often: each agent begins at most a hundred rounds in a second. */
const mostOftenMs = 10;
const mostAtOnce = tickMs / mostOftenMs;
/** Later than this an answer is none. A satellite's takes 0.7 s. */
const answerMs = 900;
/** What was not answered is asked again soon, until it is sure. */
const againMs = 2_000;
/** A lost packet is no news; three rounds of them are. */
const patience = 3;
/** A peer may be told of a network seconds after us, and its engine may be slow to make it. */
const overlayPatienceMs = 15_000;

/** What any path carries, and a question is no smaller. */
export const smallest = 64;
/**
 * Where to look for what a narrow path carries: MTUs that are met, less WireGuard's 60 bytes. In sixteens, as WireGuard
 * fills up packets to those.
 */
const ladder = [
	640, 896, 1024, 1088, 1152, 1200, 1232, 1264, 1280, 1296, 1312, 1328, 1344, 1360, 1376, 1392,
	1408,
];
const vxlanOverhead = 50;

/** The ways to all peers that are not silent, given what the mesh's interface carries. */
export function waysOf(
	{ peers, networks }: Pick<Assignment, "peers" | "networks">,
	silent: ReadonlySet<NodeId>,
	meshMtu: number,
	narrow: ReadonlyMap<NodeId, number>,
): Way[] {
	return peers
		.filter(({ node }) => !silent.has(node))
		.flatMap(({ node, meshAddress }) => [
			{ node, address: meshAddress, overlay: null, whole: meshMtu },
			...networks.flatMap(({ name, vni, gateways }) =>
				gateways
					.filter((gateway) => gateway.node === node)
					.map(({ address }) => ({
						node,
						address,
						overlay: { name, vni },
						whole: Math.min(meshMtu, narrow.get(node) ?? meshMtu) - vxlanOverhead,
					})),
			),
		]);
}

/** Closes rounds that are over and opens those that are due. `random`, from 0 to 1, spreads them. */
export function tick(
	state: Probe,
	ways: readonly Way[],
	nowMs: number,
	random: () => number,
): { readonly state: Probe; readonly questions: readonly Question[] } {
	// While we slept nobody could answer: that round does not count.
	const slept = state.tickMs !== 0 && nowMs - state.tickMs > 3 * tickMs;
	const roundMs = Math.max(everyMs, ways.length * mostOftenMs);
	const questions: Question[] = [];
	const paths = ways.map((way): [string, Path] => {
		const known = state.paths.get(way.address) ?? unknown(way, nowMs);
		// A wider promise or a narrower one: what was found under the other says nothing.
		const kept = known.way.whole === way.whole ? { ...known, way } : unknown(way, nowMs);
		const waiting = slept ? { ...kept, open: null, dueMs: nowMs } : kept;
		const path = closed(waiting, nowMs, roundMs * (0.75 + random() / 2));
		if (path.open || path.dueMs > nowMs || questions.length >= mostAtOnce)
			return [way.address, path];
		const question = { way, round: (path.round + 1) >>> 0, sizes: sizesFor(path) };
		questions.push(question);
		const open = { question, askedMs: nowMs, arrived: 0, returned: 0 };
		return [way.address, { ...path, round: question.round, open }];
	});
	return { state: { paths: new Map(paths), tickMs: nowMs }, questions };
}

export function answered(state: Probe, answer: Answer): Probe {
	const path = state.paths.get(answer.address);
	if (!path?.open || path.round !== answer.round) return state;
	const open = {
		...path.open,
		arrived: Math.max(path.open.arrived, answer.size),
		returned:
			answer.kind === "returned" ? Math.max(path.open.returned, answer.size) : path.open.returned,
	};
	return { ...state, paths: new Map(state.paths).set(answer.address, { ...path, open }) };
}

/** What the mesh may send to each peer whose path carries less than it promises. */
export function narrowOf({ paths }: Probe): ReadonlyMap<NodeId, number> {
	return new Map(
		[...paths.values()].flatMap(({ way, found, believed }) =>
			way.overlay === null && believed && found.kind === "narrow" && bears(found)
				? [[way.node, found.carries] as const]
				: [],
		),
	);
}

/** In words for people: between whom, which layer, what to do. */
export function complaintsOf(
	{ paths }: Probe,
	{ self, peers }: Pick<Assignment, "self" | "peers">,
): string[] {
	const names = new Map(peers.map(({ node, hostname }) => [node, hostname]));
	const meshes = new Map(
		[...paths.values()]
			.filter(({ way }) => way.overlay === null)
			.map((path): [NodeId, Path] => [path.way.node, path]),
	);
	return [...paths.values()].flatMap((path) => {
		const peer = names.get(path.way.node);
		const isSure = path.believed && (path.way.overlay === null || isBorne(path, meshes));
		return peer && isSure ? (complaintOf(path.way, path.found, self.hostname, peer) ?? []) : [];
	});
}

/**
 * An overlay is blamed for what the mesh below it was seen to carry since. An agent of before these questions answers
 * none of them, which is no fault of the network.
 */
function isBorne({ way, missedMs }: Path, meshes: ReadonlyMap<NodeId, Path>): boolean {
	const mesh = meshes.get(way.node);
	if (!mesh?.believed || !bears(mesh.found)) return false;
	return mesh.found.kind === "narrow"
		? way.whole <= mesh.found.carries - vxlanOverhead
		: mesh.soundMs >= missedMs;
}

function bears(found: Found): boolean {
	return found.kind === "whole" || (found.kind === "narrow" && found.carries > smallest);
}

function complaintOf(
	{ overlay, address, whole }: Way,
	found: Found,
	self: string,
	peer: string,
): string | undefined {
	if (found.kind === "whole") return undefined;
	if (found.kind === "mute") return overlay ? muteOverlay(overlay, peer, address) : undefined;
	const direction = found.back ? `${peer} to ${self}` : `${self} to ${peer}`;
	return overlay
		? narrowOverlay(overlay, direction, found.carries)
		: narrowMesh(direction, found.carries, whole);
}

/** WireGuard's over IPv4. */
const outer = (inner: number) => inner + 60;

function narrowMesh(direction: string, carries: number, whole: number): string {
	const meanwhile =
		carries > smallest
			? `; smaller ones are sent there meanwhile (${carries - vxlanOverhead} bytes inside overlays)`
			: "";
	const remedy =
		carries > smallest
			? `, or set the MTU of the cloud's network and of both machines to ${outer(carries)}: ip link set dev DEVICE mtu ${outer(carries)}`
			: "";
	return (
		`path MTU: packets over ${outer(carries)} bytes are lost without a word from node ${direction}${meanwhile}; ` +
		`let packets of ${outer(whole)} bytes and ICMP "fragmentation needed" pass between the two${remedy}`
	);
}

function narrowOverlay(overlay: { name: string; vni: number }, direction: string, carries: number) {
	return (
		`network ${overlay.name}: packets over ${carries} bytes are lost in its VXLAN from node ${direction}, while the mesh ` +
		`carries them: somebody has changed an MTU; compare ip link show ${bridgeName(overlay.vni)} and ` +
		`${vxlanName(overlay.vni)} on both`
	);
}

function muteOverlay(overlay: { name: string; vni: number }, peer: string, address: string) {
	return (
		`network ${overlay.name}: node ${peer} answers the mesh and not through the network's VXLAN: a firewall on either ` +
		`node drops UDP ${vxlanPort} on ${meshInterface} or what comes in on ${bridgeName(overlay.vni)}, or ${peer} could ` +
		`not make the network; let it pass (ping ${address}), and see docker node inspect ${peer}`
	);
}

const unknown = (way: Way, nowMs: number): Path => ({
	way,
	open: null,
	round: 0,
	dueMs: nowMs,
	soundMs: 0,
	misses: 0,
	missedMs: 0,
	found: { kind: "whole" },
	believed: true,
});

function sizesFor({ way, found }: Path): readonly number[] {
	const between = found.kind === "narrow" ? ladder.filter((size) => size < way.whole) : [];
	return [smallest, ...between, way.whole];
}

/** The round that is over, if one is, and what is known by it. */
function closed(path: Path, nowMs: number, restMs: number): Path {
	const { open, way } = path;
	if (!open) return path;
	const whole = open.returned >= way.whole;
	if (!whole && nowMs - open.askedMs < answerMs) return path;
	if (whole) {
		return {
			...path,
			open: null,
			dueMs: open.askedMs + restMs,
			soundMs: nowMs,
			misses: 0,
			found: { kind: "whole" },
			believed: true,
		};
	}
	const misses = path.misses + 1;
	const missedMs = path.misses === 0 ? open.askedMs : path.missedMs;
	const known = path.believed && path.found.kind !== "whole";
	const believed =
		known ||
		(misses >= patience && (way.overlay === null || nowMs - missedMs >= overlayPatienceMs));
	return {
		...path,
		open: null,
		dueMs: believed && known ? open.askedMs + restMs : nowMs + againMs,
		misses,
		missedMs,
		found: foundIn(open, path.found),
		believed,
	};
}

function foundIn({ question, arrived, returned }: Open, before: Found): Found {
	// The whole silence of a peer is watch.ts's to notice.
	if (returned === 0) return before.kind === "narrow" ? before : { kind: "mute" };
	// A single lost packet of many does not make a path narrower: of two looks the wider one counts.
	const last = before.kind === "narrow" ? before.look : 0;
	return {
		kind: "narrow",
		look: returned,
		carries: Math.max(last, returned),
		back: arrived >= question.way.whole,
	};
}
