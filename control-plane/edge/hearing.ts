// Who is alive, where agents keep a line open instead of calling again and again: pure.
//
// A node whose bell is open has a long lease, written once and renewed when half of it is used up; so an idle node
// costs no write, and whoever else plans leaves it alone. The object that has the line looks at the time of the last
// ping now and then. A line that is lost, or silent, ends the lease: what follows is the planner's (manager/liveness.ts).

import type { NodeId } from "../../model/id.ts";
import type { Snapshot } from "../../model/snapshot.ts";

/** A lease that an open line stands for. */
export const longLeaseMs = 24 * 3_600_000;
/** Peers' word counts against a node that has been silent for so long after its ping was due. */
const silenceMs = 7_000;
/** One ping may get lost before a node counts as down. */
export const pingMsOf = (nodeTimeoutMs: number) => nodeTimeoutMs / 3;

/** When they end. */
export type Leases = ReadonlyMap<NodeId, number>;

export interface Heard {
	/** Leases to end, and when. */
	readonly ends: ReadonlyMap<NodeId, number>;
	/** Nodes that are to have a long lease from now on. */
	readonly renews: readonly NodeId[];
	/** Leases for which no line is open here, as they are. */
	readonly absent: Leases;
	/** Most peers cannot reach somebody whose line is open: look again soon. */
	readonly isDisputed: boolean;
}

/**
 * `lines`: the open ones, each with the time of its last sign of life. `missed`: the leases whose line is known to be lost,
 * or was absent before. Another lease without a line is young, and may stand for one that is open elsewhere: where the
 * cluster's object is there twice for a moment, the one that loses the agents must not end what they began with the other.
 */
export function hear(
	{ nodes, cluster }: Pick<Snapshot, "nodes" | "cluster">,
	lines: ReadonlyMap<NodeId, number>,
	nowMs: number,
	missed: Leases,
): Heard {
	const { nodeTimeoutMs } = cluster;
	const accused = outvoted(nodes);
	const ends = new Map<NodeId, number>();
	const renews: NodeId[] = [];
	const absent = new Map<NodeId, number>();
	for (const { id, leaseUntilMs } of nodes.values()) {
		const isLong = leaseUntilMs > nowMs + nodeTimeoutMs;
		const heardMs = lines.get(id);
		if (heardMs === undefined) {
			if (!isLong) continue;
			absent.set(id, leaseUntilMs);
			// Its line was lost, perhaps by us: from now on it has the time that any silent node has.
			if (missed.get(id) === leaseUntilMs) ends.set(id, nowMs + nodeTimeoutMs);
			continue;
		}
		const patienceMs = accused.has(id) ? pingMsOf(nodeTimeoutMs) + silenceMs : nodeTimeoutMs;
		if (heardMs + patienceMs < nowMs) {
			if (isLong) ends.set(id, heardMs + nodeTimeoutMs);
		} else if (leaseUntilMs < nowMs + longLeaseMs / 2) renews.push(id);
	}
	return { ends, renews, absent, isDisputed: [...accused].some((id) => lines.has(id)) };
}

/** Those that most of the other live nodes cannot reach. */
function outvoted(nodes: Snapshot["nodes"]): Set<NodeId> {
	const ready = [...nodes.values()].filter(({ status }) => status.state === "ready");
	const against = new Map<NodeId, number>();
	for (const { id, unreachable } of ready) {
		for (const peer of unreachable)
			if (peer !== id) against.set(peer, (against.get(peer) ?? 0) + 1);
	}
	const isMost = (votes: number) => votes * 2 > ready.length - 1;
	return new Set([...against].filter(([, votes]) => isMost(votes)).map(([id]) => id));
}

/** How often lines are looked at. Where several nodes watch one another, their word comes sooner than any look. */
export const lookMsOf = (nodeTimeoutMs: number, lines: number) =>
	nodeTimeoutMs * (lines < 3 ? 2.5 : 12.5);

/** A line that was lost is given so long to be opened again before anything is made of it. */
export const settleMsOf = (nodeTimeoutMs: number) => nodeTimeoutMs / 4;
