// What a node with a bell need not say: pure.
//
// The ack barrier (manager/serving.ts) waits until nodes have the tables of a revision. Where that revision left a
// node's assignment as it was, nobody rings, so nobody asks and nobody acknowledges: we know that its kernel has those
// tables, since it has acknowledged the same assignment already.

import type { NodeId } from "../../model/id.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Reported } from "../cluster.ts";

/** A node's assignment, and since which revision it has been that one. */
export interface Known {
	readonly node: NodeId;
	readonly told: string;
	readonly sinceRevision: number;
}

/** In the name of those that somebody waits for. */
export function unheardAcknowledgements(
	{ nodes, unsettled }: Pick<Snapshot, "nodes" | "unsettled">,
	revision: number,
	known: readonly Known[],
): Reported[] {
	const awaited = Math.max(
		0,
		...[...unsettled.tasks.values()].map(({ tablesRevision }) => tablesRevision),
	);
	return known.flatMap(({ node: id, told, sinceRevision }) => {
		const node = nodes.get(id);
		if (!node || node.appliedRevision >= awaited || revision < awaited) return [];
		// An assignment that was another in between may be on its way back into the kernel.
		const isThere = node.appliedHash === told && node.appliedRevision >= sinceRevision;
		return isThere ? [{ node: id, applied: { revision, hash: told } }] : [];
	});
}
