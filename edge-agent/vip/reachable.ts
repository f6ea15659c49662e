// The assignment as seen from a node that cannot reach some of its peers.
//
// Agents watch one another over the mesh. A peer that does not answer is out of this node's own tables and names within
// seconds, long before the control plane decides that it is down; when it answers again it is back as fast.

import type { Assignment } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";

/**
 * Without the members and backends that live on the silent nodes. For VIPs, ports and names; the mesh keeps its
 * entries, or nobody could ever notice that the peer is back.
 */
export function reachable(assignment: Assignment, silent: ReadonlySet<NodeId>): Assignment {
	if (silent.size === 0) return assignment;
	return {
		...assignment,
		networks: assignment.networks.map((network) => {
			const lost = new Set(
				network.members.filter(({ node }) => silent.has(node)).map(({ address }) => address),
			);
			if (lost.size === 0) return network;
			return {
				...network,
				members: network.members.filter(({ address }) => !lost.has(address)),
				endpoints: network.endpoints.map((endpoint) => ({
					...endpoint,
					backends: without(endpoint.backends, lost),
				})),
			};
		}),
	};
}

/**
 * A service never loses its last backends by silence: a peer that is merely slow to answer still serves, and where it is
 * gone indeed, refusing at once is no better than trying.
 */
function without(backends: readonly string[], lost: ReadonlySet<string>): readonly string[] {
	const left = backends.filter((address) => !lost.has(address));
	return left.length > 0 ? left : backends;
}
