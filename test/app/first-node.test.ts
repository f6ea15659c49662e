// The end of `npm start`, as far as it goes without making this machine a node.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { importMasterKeys } from "../../control-plane/accounts/master.ts";
import { hostClusters } from "../../control-plane/clusters.ts";
import { type FirstNode, makeFirstNode, nextSteps } from "../../control-plane/first-node.ts";
import type { Database } from "../../control-plane/store/client.ts";
import { openDirectory } from "../../control-plane/store/directory.ts";
import { openShards } from "../../control-plane/store/shards.ts";
import { startFile, type TestDatabase } from "../store/databases.ts";
import { testPlanner, testWorld } from "../store/planner.ts";

let at: TestDatabase;
let database: Database;
beforeAll(async () => {
	at = await startFile();
	database = await at.open();
});
afterAll(async () => {
	database.close();
	await at.stop();
});

async function firstNode(): Promise<FirstNode & { readonly said: string[] }> {
	const hosted = hostClusters({
		directory: openDirectory(database),
		shards: openShards(database, []),
		masters: await importMasterKeys("a key"),
		world: testWorld(testPlanner()),
		snapshots: new Map(),
		meshRange: "10.200.0.0/16",
		nodeTimeoutMs: 12_000,
	});
	const clusters = hosted.of("owner");
	const { id } = await clusters.create({});
	const said: string[] = [];
	return {
		host: await hosted.host(id),
		clusters,
		install: { script: async () => "", files: async () => [], open: async () => undefined },
		url: "http://127.0.0.1:8787",
		wanted: true,
		isRoot: false,
		say: (line) => said.push(line),
		said,
	};
}

test("who is not root is given the line to type, and the lines that come next", async () => {
	const first = await firstNode();
	await makeFirstNode(first);
	const { cluster } = await first.host.snapshot();
	const { worker } = await first.clusters.joinTokens(cluster);
	const line = `curl -fsSL http://127.0.0.1:8787/install.sh | sudo sh -s -- --token ${worker}`;
	expect(first.said.join("\n")).toContain(line);
	const next = (await nextSteps(first, "/run/skein.sock")).join("\n");
	expect(next).toContain("docker -H unix:///run/skein.sock service create");
	expect(next).toContain("curl http://127.0.0.1:8080");
	expect(next).toContain("SKEIN_LISTEN=0.0.0.0:8787");
});
