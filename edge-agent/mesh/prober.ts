// The sockets of probe.ts: asks, answers, and tells when something else is found.
//
// A question comes back twice: a small answer says that it arrived, one of its own size that such packets return. So
// nobody gets more out of us than he sent, but for a few bytes; and only peers are answered.

import type { Socket } from "node:dgram";
import { readFileSync } from "node:fs";
import type { Assignment } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";
import { meshInterface } from "../../model/mesh.ts";
import { probePort } from "../../model/protocol.ts";
import { bindTo } from "./bind.ts";
import {
	answered,
	complaintsOf,
	narrowOf,
	nothingProbed,
	type Question,
	smallest,
	tick,
	tickMs,
	waysOf,
} from "./probe.ts";
import { openWholeSender, type WholeSender } from "./whole.ts";

export interface Proof {
	/** What the mesh carries to peers whose path is narrow. */
	readonly narrow: ReadonlyMap<NodeId, number>;
	readonly complaints: readonly string[];
}

export const nothingFound: Proof = { narrow: new Map(), complaints: [] };

const question = 1;
const arrived = 2;
const returned = 3;
/** Kind, round, and the size of the question's packet. */
const headLength = 7;
/** IPv4's and UDP's. */
const headers = 28;

/** Probes the peers of whatever assignment there is, until the signal. `changed` tells of every other finding. */
export async function probePeers(
	assignment: () => Pick<Assignment, "self" | "peers" | "networks"> | undefined,
	silent: () => ReadonlySet<NodeId>,
	changed: (proof: Proof) => void,
	signal: AbortSignal,
): Promise<void> {
	const sender = openWholeSender();
	const ears = new Map<string, Socket>();
	let peers: ReadonlySet<string> = new Set();
	let state = nothingProbed;
	let told = nothingFound;

	function hear(message: Buffer, address: string): void {
		if (message.length < headLength || !peers.has(address)) return;
		const size = message.length + headers;
		const round = message.readUInt32BE(1);
		if (message[0] === question) {
			// The small answer to a small question is its whole one.
			if (size > smallest) {
				const short = Buffer.alloc(headLength);
				short[0] = arrived;
				short.writeUInt32BE(round, 1);
				short.writeUInt16BE(size, 5);
				sender.send(short, probePort, address);
			}
			const whole = Buffer.from(message);
			whole[0] = returned;
			sender.send(whole, probePort, address);
		} else if (message[0] === arrived) {
			state = answered(state, { address, round, size: message.readUInt16BE(5), kind: "arrived" });
		} else if (message[0] === returned) {
			state = answered(state, { address, round, size, kind: "returned" });
		}
	}

	while (!signal.aborted) {
		const current = assignment();
		const mtu = mtuOf(meshInterface);
		if (current && mtu !== undefined) {
			const { self, networks } = current;
			await listen(ears, [self.meshAddress, ...networks.map(({ gateway }) => gateway)], hear);
			const everybody = waysOf(current, new Set(), mtu, new Map());
			peers = new Set(everybody.map(({ address }) => address));
			const ways = waysOf(current, silent(), mtu, narrowOf(state));
			const turn = tick(state, ways, performance.now(), Math.random);
			state = turn.state;
			for (const asked of turn.questions) ask(sender, asked);
			const proof = { narrow: narrowOf(state), complaints: complaintsOf(state, current) };
			if (!isSame(proof, told)) changed(proof);
			told = proof;
		}
		await Bun.sleep(tickMs);
	}
	for (const ear of ears.values()) ear.close();
	sender.close();
}

function ask(sender: WholeSender, { way, round, sizes }: Question): void {
	for (const size of sizes) {
		const message = Buffer.alloc(size - headers);
		message[0] = question;
		message.writeUInt32BE(round, 1);
		sender.send(message, probePort, way.address);
	}
}

/** An ear for each address that is ours, and none for the others. What is not there yet has one with the next tick. */
async function listen(
	ears: Map<string, Socket>,
	addresses: readonly string[],
	hear: (message: Buffer, address: string) => void,
): Promise<void> {
	for (const [address, ear] of ears) {
		if (addresses.includes(address)) continue;
		ear.close();
		ears.delete(address);
	}
	for (const address of addresses) {
		if (ears.has(address)) continue;
		const ear = await bindTo(probePort, address);
		if (!ear) continue;
		ear.on("message", (message, from) => hear(message, from.address));
		ear.on("error", () => {});
		ears.set(address, ear);
	}
}

function mtuOf(name: string): number | undefined {
	try {
		return Number(readFileSync(`/sys/class/net/${name}/mtu`, "utf8"));
	} catch {
		return undefined;
	}
}

function isSame(a: Proof, b: Proof): boolean {
	return (
		a.complaints.join("\n") === b.complaints.join("\n") &&
		a.narrow.size === b.narrow.size &&
		[...a.narrow].every(([node, mtu]) => b.narrow.get(node) === mtu)
	);
}
