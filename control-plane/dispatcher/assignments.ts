// What a node must run and know, once it differs from what the node has: a held poll.
//
// The poll is also the sign of life that renews the node's lease.

import type { AssignmentReply } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";
import type { NodeRequest } from "../../model/relay.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { sha256 } from "../accounts/tokens.ts";
import type { AgentsDoor } from "../cluster.ts";
import { assign, assignmentText } from "../manager/assign.ts";
import { nodeOf } from "./identity.ts";
import { inVersion } from "./protocol.ts";
import type { Relay } from "./relay.ts";

export interface Poll {
	readonly node: NodeId;
	/** Of the assignment that the node has; empty for none. */
	readonly hash: string;
	/** Not held: the agent's bell is open. */
	readonly atOnce?: boolean;
	/** In which version it is answered. */
	readonly protocol: number;
	readonly signal: AbortSignal;
	nowMs(): number;
}

export async function holdPoll(
	door: AgentsDoor,
	relay: Relay,
	poll: Poll,
): Promise<AssignmentReply> {
	let snapshot = await door.snapshot();
	nodeOf(snapshot, poll.node);
	const startedMs = poll.nowMs();
	const { nodeTimeoutMs } = snapshot.cluster;
	const renewal = door.report({ node: poll.node, leaseUntilMs: startedMs + nodeTimeoutMs });
	// Not awaited before the end, so that a failure does not go unheard meanwhile.
	renewal.catch(() => undefined);
	// A third of the time after which a node counts as down: one poll may get lost.
	const untilMs = poll.atOnce ? startedMs : startedMs + nodeTimeoutMs / 3;
	for (;;) {
		nodeOf(snapshot, poll.node);
		const seq = door.seq();
		const { revision } = snapshot;
		const hash = await hashFor(door, snapshot, poll);
		const asked = relay.take(poll.node);
		const leftMs = untilMs - poll.nowMs();
		const news = hash !== poll.hash;
		if (news || asked.length > 0 || leftMs <= 0 || poll.signal.aborted) {
			await renewal;
			return reply(snapshot, poll, news ? undefined : { revision, hash }, asked);
		}
		await either(
			(signal) => door.wait(seq, leftMs, signal),
			(signal) => relay.wait(poll.node, signal),
			poll.signal,
		);
		snapshot = await door.snapshot();
	}
}

/** Compiled anew, from the snapshot as it is now: what is sent and its hash must be of one moment. */
async function reply(
	snapshot: Snapshot,
	{ node, protocol }: Poll,
	unchanged: { readonly revision: number; readonly hash: string } | undefined,
	asked: readonly NodeRequest[],
): Promise<AssignmentReply> {
	// We held the line as long as we wanted to: the node may call again at once.
	const rest = { pollMs: 0, ...(asked.length > 0 && { requests: asked }) };
	if (unchanged) return { ...unchanged, assignment: null, ...rest };
	nodeOf(snapshot, node);
	const assignment = inVersion(assign(snapshot, node), protocol);
	const hash = await sha256(assignmentText(assignment));
	return { revision: assignment.revision, hash, assignment, ...rest };
}

/**
 * Hashes by snapshot, so that all polls of a node between two changes compile once. The assignments themselves are not
 * kept: in a large cluster they are as many as large.
 */
const hashes = new WeakMap<Snapshot, Map<NodeId, Hashed>>();

interface Hashed {
	readonly at: number;
	readonly protocol: number;
	readonly hash: string;
}

export async function hashFor(
	door: AgentsDoor,
	snapshot: Snapshot,
	{ node, protocol }: Pick<Poll, "node" | "protocol">,
): Promise<string> {
	const at = door.assignedSeq();
	const ofNodes = hashes.get(snapshot) ?? new Map<NodeId, Hashed>();
	hashes.set(snapshot, ofNodes);
	const known = ofNodes.get(node);
	if (known?.at === at && known.protocol === protocol) return known.hash;
	const hash = await sha256(assignmentText(inVersion(assign(snapshot, node), protocol)));
	ofNodes.set(node, { at, protocol, hash });
	return hash;
}

/** Until one of the two is over; the other one is told to end. */
async function either(
	first: (signal: AbortSignal) => Promise<void>,
	second: (signal: AbortSignal) => Promise<void>,
	outer: AbortSignal,
): Promise<void> {
	const over = new AbortController();
	const signal = AbortSignal.any([outer, over.signal]);
	try {
		await Promise.race([first(signal), second(signal)]);
	} finally {
		over.abort();
	}
}
