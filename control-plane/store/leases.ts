// Ending leases before their time: the one thing said of a node that makes a written value smaller.

import type { ClusterId, NodeId } from "../../model/id.ts";
import type { Database } from "./client.ts";
import { clusterGone } from "./commit.ts";

/** Each ends then, or when it would have anyway. Returns the seq it landed at. */
export async function endLeases(
	database: Database,
	id: ClusterId,
	ends: ReadonlyMap<NodeId, number>,
): Promise<number> {
	const byTime = Map.groupBy(ends, ([, untilMs]) => untilMs);
	const [head] = await database.write([
		{ sql: "update cluster set seq = seq + 1 where id = ? returning seq", args: [id] },
		...[...byTime].map(([untilMs, nodes]) => ({
			sql: `update node set lease_until_ms = min(lease_until_ms, ?2),
				seq = (select seq from cluster where id = ?1)
				where cluster = ?1 and id in (select value from json_each(?3))`,
			args: [id, untilMs, JSON.stringify(nodes.map(([node]) => node))],
		})),
	]);
	const row = head?.rows[0];
	if (!row) throw clusterGone();
	return Number(row["seq"]);
}
