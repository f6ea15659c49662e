// Clusters of many nodes, put into a database before a control plane begins on it: to join, each would ask for a commit
// of its own.

import { importMasterKeys } from "../control-plane/accounts/master.ts";
import { newCredential, sha256 } from "../control-plane/accounts/tokens.ts";
import { hostClusters, randomId } from "../control-plane/clusters.ts";
import { plan, planAfter } from "../control-plane/manager/plan.ts";
import type { Database } from "../control-plane/store/client.ts";
import { openDirectory } from "../control-plane/store/directory.ts";
import { openShards } from "../control-plane/store/shards.ts";
import type { NodeId } from "../model/id.ts";
import { describeMachine } from "../test/app/agent.ts";
import { testWorld } from "../test/store/planner.ts";
import { sampleNode } from "../test/store/sample.ts";
import type { Joined } from "./crowd.ts";

export interface Size {
	readonly clusters: number;
	/** In each. */
	readonly nodes: number;
}

/** Named `c0`, `c1`, …; their machines after them. `key` is the control plane's. */
export async function seed(
	database: Database,
	key: string,
	{ clusters, nodes }: Size,
	nodeTimeoutMs: number,
): Promise<Joined[]> {
	const directory = openDirectory(database);
	const hosted = hostClusters({
		directory,
		shards: openShards(database, []),
		masters: await importMasterKeys(key),
		world: testWorld({ plan, planAfter }),
		snapshots: new Map(),
		meshRange: "10.200.0.0/16",
		nodeTimeoutMs,
	});
	const all: Joined[] = [];
	for (let at = 0; at < clusters; at++) {
		const { id } = await hosted.of("owner").create({ name: `c${at}` });
		const host = await hosted.host(id);
		const credentials = Array.from({ length: nodes }, () => newCredential(randomId() as never));
		const descriptions = credentials.map((_, n) =>
			describeMachine(n + 1, { hostname: `c${at}-n${n}` }),
		);
		const hashes = await Promise.all(credentials.map(sha256));
		const ids = credentials.map((credential) => credential.split(".")[1] as NodeId);
		await database.write([
			{
				sql: "insert into credential (node, cluster, sha256) select value->>0, ?2, value->>1 from json_each(?1)",
				args: [JSON.stringify(ids.map((node, n) => [node, hashes[n]])), id],
			},
		]);
		await host.commit((_snapshot, { nowMs }) => ({
			changes: descriptions.map((description, n) => ({
				kind: "put-node",
				node: {
					...sampleNode(n + 1),
					id: ids[n] as NodeId,
					description,
					status: { state: "ready", message: "", sinceMs: nowMs },
					leaseUntilMs: nowMs + 24 * 3_600_000,
				},
			})),
			result: undefined,
		}));
		all.push({ credentials, descriptions });
	}
	await hosted.close();
	return all;
}
