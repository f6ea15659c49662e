// The clusters that this process hosts, and how one is made and erased.
//
// Where requests share a process, a host is kept and shared; at the edge every request makes its own over snapshots
// that outlive it, because nothing that waits may pass from one request to another.

import type { Cluster } from "../model/cluster.ts";
import { conflict } from "../model/errors.ts";
import { type ClusterId, idFromBytes, type NetworkId } from "../model/id.ts";
import type { Network } from "../model/network.ts";
import { Facts } from "../model/snapshot.ts";
import {
	currentJoinToken,
	joinToken,
	nextTokens,
	type ServerKey,
	sha256,
} from "./accounts/tokens.ts";
import type { Clusters, NewCluster } from "./cluster.ts";
import { ClusterHost, type HostWorld } from "./reconcile.ts";
import type { Accounts } from "./store/accounts.ts";
import type { Database } from "./store/client.ts";
import { openCluster } from "./store/cluster.ts";
import type { Held } from "./store/snapshot.ts";

export interface HostedClusters {
	host(id: ClusterId): Promise<ClusterHost>;
	/** What an account may do with clusters as such. */
	of(account: string): Clusters;
	/** Those that are open now. */
	open(): Promise<readonly ClusterHost[]>;
	close(): Promise<void>;
}

export interface HostingOptions {
	readonly database: Database;
	readonly accounts: Accounts;
	readonly key: ServerKey;
	readonly world: HostWorld;
	/** Snapshots that outlive this; shared by several at the edge. */
	readonly snapshots: Map<ClusterId, Held>;
	readonly meshRange: string;
	readonly nodeTimeoutMs: number;
}

export function hostClusters(options: HostingOptions): HostedClusters {
	const { database, accounts, key, world, snapshots } = options;
	const hosts = new Map<ClusterId, Promise<ClusterHost>>();

	async function open(id: ClusterId): Promise<ClusterHost> {
		const store = openCluster(database, id);
		let held = snapshots.get(id);
		if (!held) {
			held = await store.load();
			snapshots.set(id, held);
		}
		const host = new ClusterHost(store, held, world, () => {
			hosts.delete(id);
			snapshots.delete(id);
		});
		if (world.timers) host.planIfDue();
		return host;
	}

	function host(id: ClusterId): Promise<ClusterHost> {
		const known = hosts.get(id);
		if (known) return known;
		const opening = open(id);
		hosts.set(id, opening);
		opening.catch(() => hosts.delete(id));
		return opening;
	}

	return {
		host,
		of: (account) => ({
			async create(asked) {
				if (await accounts.clusterOf(account)) {
					throw conflict("there is a cluster already: `docker info` shows it");
				}
				const cluster = await newCluster(asked, options);
				const put = { kind: "put-network", network: ingressNetwork(cluster, world) } as const;
				const moment = {
					nowMs: cluster.createdMs,
					listeningSinceMs: cluster.createdMs,
					newId: world.newId,
				};
				const plan = world.planner.planAfter(new Facts(cluster), [put], moment, "all");
				await accounts.createCluster({
					account,
					cluster,
					changes: [put, ...plan.changes],
					nowMs: cluster.createdMs,
				});
				return host(cluster.id);
			},
			async erase(id) {
				const opened = await host(id);
				await accounts.eraseCluster(id);
				opened.erased();
				await opened.settled();
			},
			async joinTokens(cluster) {
				return {
					worker: await currentJoinToken(key, cluster, "worker"),
					manager: await currentJoinToken(key, cluster, "manager"),
				};
			},
			rotateTokens: (cluster, roles) => nextTokens(key, cluster.id, cluster.tokens, roles),
		}),
		open: () => Promise.all(hosts.values()),
		async close() {
			for (const opened of await Promise.all(hosts.values())) await opened.close();
			hosts.clear();
		},
	};
}

async function newCluster(
	asked: NewCluster,
	{ key, world, meshRange, nodeTimeoutMs }: HostingOptions,
): Promise<Cluster> {
	const id = world.newId() as ClusterId;
	const firstToken = async (role: "worker" | "manager") => ({
		epoch: 1,
		sha256: await sha256(await joinToken(key, id, role, 1)),
	});
	const nowMs = world.nowMs();
	return {
		id,
		document: asked.document ?? { Name: "default", Labels: {} },
		specVersion: 1,
		addressPools: asked.addressPools ?? ["10.0.0.0/8"],
		subnetPrefix: asked.subnetPrefix ?? 24,
		meshRange,
		taskHistory: asked.taskHistory ?? 5,
		nodeTimeoutMs,
		tokens: { worker: await firstToken("worker"), manager: await firstToken("manager") },
		createdMs: nowMs,
		updatedMs: nowMs,
	};
}

/** Docker's overlays begin here too; 1 to 4095 are left to what people set up by hand. */
const ingressVni = 4096;

/** Every cluster has one, as Docker's do; the allocator chooses its subnet. */
function ingressNetwork(cluster: Cluster, world: HostWorld): Network {
	return {
		id: world.newId() as NetworkId,
		name: "ingress",
		vni: ingressVni,
		subnet: "",
		internal: false,
		attachable: false,
		ingress: true,
		labels: {},
		options: {},
		document: {},
		createdMs: cluster.createdMs,
	};
}

export const randomId = () => idFromBytes<ClusterId>(crypto.getRandomValues(new Uint8Array(25)));
