// Agents watch one another over the mesh, so that a dead peer is out of our tables long before anybody decides that
// it is down. Every agent asks each of its peers a few times a second; who leaves several questions open is silent.
//
// Says who is silent and no more: whether that is they or we, the reader decides. Either way we cannot reach them.

import type { Socket } from "node:dgram";
import type { Assignment, Peer } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";
import { watchPort } from "../../model/protocol.ts";
import { isIntact } from "./apply.ts";
import { bindTo } from "./bind.ts";

const askMs = 300;
/** In large clusters less often: each agent sends at most one question every so often. */
const mostOftenMs = 3;
/** Questions left open before a peer is silent: four, which takes 1.2 s. A lost packet or two is no news. */
const patience = 4;
/** Answers in a row before a silent peer is back, lest a flapping link be in and out of the tables. */
const trust = 3;
/** A peer that we have never heard may still be shaking hands, which WireGuard tries every five seconds. */
const firstMs = 6_000;

export interface Watch {
	readonly peers: ReadonlyMap<NodeId, Watched>;
	readonly tickMs: number;
}

export interface Watched {
	/** Of the last answer, or of the moment when we began to ask. */
	readonly heardMs: number;
	readonly met: boolean;
	readonly silent: boolean;
	/** Answers in a row while silent. */
	readonly streak: number;
}

export type WatchEvent =
	| { readonly kind: "tick"; readonly peers: readonly NodeId[] }
	/** An answer to a question that is not older than the patience. */
	| { readonly kind: "heard"; readonly peer: NodeId };

export const nobody: Watch = { peers: new Map(), tickMs: 0 };

export function intervalFor(peers: number): number {
	return Math.max(askMs, peers * mostOftenMs);
}

export function observe(state: Watch, event: WatchEvent, nowMs: number): Watch {
	switch (event.kind) {
		case "heard": {
			const known = state.peers.get(event.peer);
			return known
				? { ...state, peers: new Map(state.peers).set(event.peer, heard(known, nowMs)) }
				: state;
		}
		case "tick": {
			const everyMs = intervalFor(event.peers.length);
			// While we slept or stood still nobody could be heard: that time counts against nobody.
			const missedMs = state.tickMs === 0 ? 0 : Math.max(0, nowMs - state.tickMs - 2 * everyMs);
			const peers = event.peers.map((peer): [NodeId, Watched] => {
				const known = state.peers.get(peer) ?? unknown(nowMs);
				return [peer, waited({ ...known, heardMs: known.heardMs + missedMs }, nowMs, everyMs)];
			});
			return { peers: new Map(peers), tickMs: nowMs };
		}
	}
}

export function silentOf({ peers }: Watch): ReadonlySet<NodeId> {
	return new Set([...peers].filter(([, { silent }]) => silent).map(([peer]) => peer));
}

const unknown = (nowMs: number): Watched => ({
	heardMs: nowMs,
	met: false,
	silent: false,
	streak: 0,
});

function heard(known: Watched, nowMs: number): Watched {
	const streak = known.silent ? known.streak + 1 : 0;
	// A stranger that is late needs no trust: it never flapped.
	const back = !known.silent || !known.met || streak >= trust;
	return { heardMs: nowMs, met: true, silent: !back, streak: back ? 0 : streak };
}

function waited(known: Watched, nowMs: number, everyMs: number): Watched {
	const quietMs = nowMs - known.heardMs;
	const limitMs = known.met ? patience * everyMs : firstMs;
	const silent = known.silent || quietMs >= limitMs;
	return { ...known, silent, streak: quietMs >= 2 * everyMs ? 0 : known.streak };
}

// From here on, sockets.

const question = 1;
const answer = 2;
const messageLength = 5;
const rebindMs = 500;
/** A wireguard-go that died costs its containers this long at most. */
const guardMs = 1_000;

/**
 * Watches the peers of whatever assignment there is, until the signal. `changed` tells of the silent whenever they
 * change, and every second while interfaces of ours are missing: in either case the tables want another look.
 */
export async function watchPeers(
	assignment: () => Pick<Assignment, "self" | "peers" | "networks"> | undefined,
	changed: (silent: ReadonlySet<NodeId>) => void,
	signal: AbortSignal,
): Promise<void> {
	let state = nobody;
	let round = 0;
	const guard = setInterval(() => {
		const current = assignment();
		if (current && !isIntact(current.networks)) changed(silentOf(state));
	}, guardMs);
	signal.addEventListener("abort", () => clearInterval(guard));
	const told = (next: Watch) => {
		const [before, after] = [silentOf(state), silentOf(next)];
		state = next;
		if (before.symmetricDifference(after).size > 0) changed(after);
	};
	while (!signal.aborted) {
		const own = assignment()?.self.meshAddress;
		const socket = own ? await bindTo(watchPort, own) : undefined;
		if (!own || !socket) {
			// No address yet, or none any more: the mesh is being made. We cannot hear, so we say nothing.
			await Bun.sleep(rebindMs);
			continue;
		}
		const byAddress = new Map<string, NodeId>();
		socket.on("message", (message, { address, port }) => {
			if (message.length !== messageLength) return;
			if (message[0] === question) {
				const reply = Buffer.from(message);
				reply[0] = answer;
				send(socket, reply, port, address);
				return;
			}
			const peer = byAddress.get(address);
			const age = (round - message.readUInt32BE(1)) >>> 0;
			if (peer === undefined || message[0] !== answer || age >= patience) return;
			told(observe(state, { kind: "heard", peer }, performance.now()));
		});
		// A peer whose agent is dead says so by ICMP: no more than silence, and no reason to stop hearing the others.
		socket.on("error", () => {});
		while (!signal.aborted) {
			const current = assignment();
			if (current?.self.meshAddress !== own) break;
			const { peers } = current;
			byAddress.clear();
			for (const { meshAddress, node } of peers) byAddress.set(meshAddress, node);
			told(
				observe(state, { kind: "tick", peers: peers.map(({ node }) => node) }, performance.now()),
			);
			round = (round + 1) >>> 0;
			ask(socket, peers, round);
			await Bun.sleep(intervalFor(peers.length));
		}
		socket.close();
	}
}

function ask(socket: Socket, peers: readonly Peer[], round: number): void {
	const message = Buffer.alloc(messageLength);
	message[0] = question;
	message.writeUInt32BE(round, 1);
	for (const { meshAddress } of peers) send(socket, message, watchPort, meshAddress);
}

/** What cannot be sent is not answered, which is all there is to know. */
function send(socket: Socket, message: Buffer, port: number, address: string): void {
	try {
		socket.send(message, port, address, () => {});
	} catch {
		// The interface is gone for the moment.
	}
}
