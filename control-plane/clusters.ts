// The clusters that this process hosts, and how one is made, moved and erased.
//
// A host is kept and shared by all requests of its process.

import type { Change } from "../model/change.ts";
import type { Cluster } from "../model/cluster.ts";
import { invalid, messageOf, notFound, Refusal, unavailable } from "../model/errors.ts";
import { type ClusterId, idFromBytes, type MaterialId, type NetworkId } from "../model/id.ts";
import { must } from "../model/invariant.ts";
import { type Limits, noLimits } from "../model/limits.ts";
import { contentKey } from "../model/material.ts";
import type { Network } from "../model/network.ts";
import { Facts } from "../model/snapshot.ts";
import type { LimitsOf } from "./accounts/door.ts";
import { joinKeyOf, type Keyring, newKeyring } from "./accounts/keyring.ts";
import type { MasterKeys } from "./accounts/master.ts";
import { currentJoinToken, joinToken, nextTokens, sha256 } from "./accounts/tokens.ts";
import { exportCluster } from "./backup/export.ts";
import { openFile } from "./backup/import.ts";
import { type Restored, restoreCluster } from "./backup/restore.ts";
import { reservedNames } from "./choice.ts";
import type {
	Clusters,
	Contents,
	Credentials,
	FoundClusters,
	Inbox,
	NewCluster,
} from "./cluster.ts";
import { type ClusterKeys, type KeysWorld, loginsBelongTo, openKeys, rowOf } from "./keys.ts";
import { ClusterHost, type HostWorld } from "./reconcile.ts";
import { type ClusterStore, insertCluster } from "./store/cluster.ts";
import { eraseRows } from "./store/copy.ts";
import { openInbox } from "./store/deliveries.ts";
import { type Directory, isBeingMade, isThere, type Placement } from "./store/directory.ts";
import { type KeyringRow, openKeyrings } from "./store/keyrings.ts";
import { mend, moveCluster } from "./store/move.ts";
import { openPlaced, type PlacedStore } from "./store/placed.ts";
import type { Shards } from "./store/shards.ts";
import type { Held } from "./store/snapshot.ts";

export interface HostedClusters {
	host(id: ClusterId): Promise<ClusterHost>;
	keys(id: ClusterId): ClusterKeys;
	/** Those of all clusters. */
	readonly keyrings: Pick<KeysWorld, "store" | "masters">;
	/** What an organization may do with clusters as such. */
	of(organization: string): Clusters;
	/** Where the organization never had a cluster it gets one. False while another process makes it. */
	makeFirst(organization: string): Promise<boolean>;
	/** As one file (docs/backup.md). `version` is this program's. */
	export(id: ClusterId, passphrase: string, version: string): Promise<ReadableStream<Uint8Array>>;
	/** A cluster of the organization's out of such a file. Refused before anything is written when it is not whole. */
	import(file: Blob, passphrase: string, to: ImportTo): Promise<Restored>;
	readonly limits: LimitsOf;
	/** To another shard; see move.ts. Invalid where there is none of that name. */
	move(id: ClusterId, shard: string): Promise<void>;
	/** Goes on with what a process began and did not end, so long ago that it must be dead. */
	mend(abandonedMs?: number): Promise<void>;
	/** Those that are open now. */
	open(): Promise<readonly ClusterHost[]>;
	close(): Promise<void>;
}

export interface HostingOptions {
	readonly directory: Directory;
	readonly shards: Shards;
	readonly masters: MasterKeys;
	readonly world: HostWorld;
	/** Snapshots that outlive this; shared by several at the edge. */
	readonly snapshots: Map<ClusterId, Held>;
	readonly meshRange: string;
	readonly nodeTimeoutMs: number;
	/** Of organizations that have none of their own. */
	readonly limits?: Limits;
}

export interface ImportTo {
	readonly organization: string;
	/** The one that it had otherwise. */
	readonly name: string | undefined;
}

/** Whoever makes, moves or erases a cluster is done long before, or dead. */
const diedMs = 60_000;

export function hostClusters(options: HostingOptions): HostedClusters {
	const { directory, shards, masters, world, snapshots } = options;
	const mover = { directory, shards, nowMs: world.nowMs };
	const hosts = new Map<ClusterId, Promise<ClusterHost>>();
	const opened = new Map<ClusterId, ClusterKeys>();

	const limits: LimitsOf = {
		async of(organization) {
			return { ...(options.limits ?? noLimits), ...(await directory.limitsOf(organization)) };
		},
		set: directory.setLimits,
	};
	function limitsOfCluster(id: ClusterId): () => Promise<Limits> {
		let organization: string | undefined;
		return async () => {
			organization ??= (await directory.placementOf(id))?.organization;
			return limits.of(organization ?? "");
		};
	}

	const stores = new Map<ClusterId, Promise<PlacedStore>>();
	function storeOf(id: ClusterId): Promise<PlacedStore> {
		const known = stores.get(id);
		if (known !== undefined) return known;
		const opening = openPlaced(directory, shards, id);
		stores.set(id, opening);
		opening.catch(() => stores.delete(id));
		return opening;
	}

	const keyrings = {
		store: openKeyrings(directory.database, async (id, ask) => (await storeOf(id)).on(ask)),
		masters,
	};
	function keys(id: ClusterId): ClusterKeys {
		const known = opened.get(id) ?? openKeys(id, { ...keyrings, nowMs: world.nowMs });
		opened.set(id, known);
		return known;
	}

	async function open(id: ClusterId): Promise<ClusterHost> {
		const store = await storeOf(id);
		let held = snapshots.get(id);
		if (!held) {
			held = await store.load();
			snapshots.set(id, held);
		}
		const sealed = {
			contents: contentsOf(store, keys(id), world),
			credentials: credentialsOf(keys(id)),
			inbox: placedInbox(store),
			limits: limitsOfCluster(id),
		};
		const host = new ClusterHost(store, held, world, sealed, () => {
			hosts.delete(id);
			stores.delete(id);
			snapshots.delete(id);
			opened.delete(id);
		});
		await host.begin();
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

	/** The placement first: what is made and led to by nothing, nobody would ever find. */
	async function place(
		cluster: Cluster,
		changes: readonly Change[],
		{
			keyring,
			...at
		}: Pick<Placement, "organization" | "name" | "shard"> & {
			readonly keyring: KeyringRow;
		},
	): Promise<void> {
		const nowMs = world.nowMs();
		const database = await shards.open(at.shard);
		const { clusters: most } = await limits.of(at.organization);
		const made = await directory.reserve({ cluster: cluster.id, ...at }, most, nowMs);
		await directory.putJoinTokens(cluster.id, cluster.tokens);
		await keyrings.store.insert(cluster.id, keyring);
		await insertCluster(database, { organization: at.organization, cluster, changes, nowMs });
		if (await directory.turn(made, { state: "active" }, nowMs)) return;
		// Whoever goes on with what was left finds the rows there, and is right.
		if ((await directory.placementOf(cluster.id))?.state === "active") return;
		// Whoever cleans up took us for dead.
		await eraseRows(database, cluster.id);
		throw unavailable("making the cluster took too long: try again");
	}

	async function find(organization: string): Promise<FoundClusters> {
		const found = await directory.clustersOf(organization);
		const shown = (placements: readonly Placement[]) =>
			placements.map(({ cluster, name }) => ({ id: cluster, name, organization }));
		return { there: shown(found.filter(isThere)), beingMade: shown(found.filter(isBeingMade)) };
	}

	async function emptiest(): Promise<string> {
		const load = await directory.load();
		const [first, ...others] = shards.names;
		return others.reduce(
			(best, name) => ((load.get(name) ?? 0) < (load.get(best) ?? 0) ? name : best),
			must(first, "there is a shard"),
		);
	}

	const of = (organization: string): Clusters => ({
		list: async () => (await find(organization)).there,
		found: () => find(organization),
		async create(asked) {
			const ring = newKeyring();
			const cluster = await newCluster(asked, ring, options);
			const put = { kind: "put-network", network: ingressNetwork(cluster, world) } as const;
			const moment = {
				nowMs: cluster.createdMs,
				listeningSinceMs: cluster.createdMs,
				newId: world.newId,
			};
			const plan = world.planner.planAfter(new Facts(cluster), [put], moment, "all");
			await place(cluster, [put, ...plan.changes], {
				organization,
				name: checkName(asked.name ?? "default"),
				shard: await emptiest(),
				keyring: await rowOf(cluster.id, ring, masters, false),
			});
			return host(cluster.id);
		},
		async erase(id) {
			const placement = await directory.placementOf(id);
			if (placement?.organization !== organization || !isThere(placement)) {
				throw notFound(`no such cluster: ${id}`);
			}
			const erasing: Placement = { ...placement, state: "erasing" };
			const isOurs = placement.state === "active";
			if (!isOurs || !(await directory.turn(placement, erasing, world.nowMs()))) {
				throw unavailable("the cluster is being moved: try again in a few seconds", {
					retryAfterSeconds: 5,
				});
			}
			await mend(mover, erasing);
			const hosting = await hosts.get(id);
			hosting?.erased();
			await hosting?.settled();
		},
		async joinTokens(cluster) {
			const key = await joinKeyOf(await keys(cluster.id).ring());
			return {
				worker: await currentJoinToken(key, cluster, "worker"),
				manager: await currentJoinToken(key, cluster, "manager"),
			};
		},
		async rotateTokens(cluster, roles) {
			if (roles.length === 0) return cluster.tokens;
			const key = await joinKeyOf(await keys(cluster.id).ring());
			const tokens = await nextTokens(key, cluster.id, cluster.tokens, roles);
			await directory.putJoinTokens(cluster.id, tokens);
			return tokens;
		},
	});

	return {
		host,
		keys,
		keyrings,
		limits,
		of,
		async makeFirst(organization) {
			if (await directory.everHadCluster(organization)) return true;
			try {
				await of(organization).create({});
				return true;
			} catch (error) {
				if (!(error instanceof Refusal && error.kind === "conflict")) throw error;
				return directory.everHadCluster(organization);
			}
		},
		async export(id, passphrase, version) {
			const placement = await directory.placementOf(id);
			if (!placement || !isThere(placement)) throw notFound(`no such cluster: ${id}`);
			const exporting = {
				...{ id, name: placement.name, version, nowMs: world.nowMs() },
				database: await shards.open(placement.shard),
				directory: directory.database,
				rings: keys(id).ring,
			};
			return exportCluster(exporting, passphrase);
		},
		async import(file, passphrase, { organization, name }) {
			const backup = await openFile(file, passphrase);
			const to = {
				organization,
				name: checkName(name ?? backup.header.cluster.name),
				shard: await emptiest(),
				limits: await limits.of(organization),
			};
			const restoring = { ...mover, keyrings, newId: world.newId };
			const restored = await restoreCluster(restoring, backup, to);
			await host(restored.id);
			return restored;
		},
		async move(id, shard) {
			if (!shards.all.includes(shard)) {
				throw invalid(
					`shard: there is no ${JSON.stringify(shard)}, there are ${shards.all.join(", ")}: SKEIN_SHARDS adds one`,
				);
			}
			await moveCluster(mover, id, shard);
		},
		async mend(abandonedMs = diedMs) {
			for (const placement of await directory.placements()) {
				if (placement.changedMs > world.nowMs() - abandonedMs) continue;
				await mend(mover, placement).catch((error: unknown) => {
					world.log(`cluster ${placement.cluster}, ${placement.state}: ${messageOf(error)}`);
				});
			}
		},
		open: () => Promise.all(hosts.values()),
		async close() {
			for (const each of await Promise.all(hosts.values())) await each.close();
			hosts.clear();
		},
	};
}

function contentsOf(store: ClusterStore, keys: ClusterKeys, world: HostWorld): Contents {
	const { seal, open } = keys.contents;
	return {
		newId: () => world.newId() as MaterialId,
		seal: async (name, plain) => ({ ...name, sealed: await seal(contentKey(name), plain) }),
		async read(names) {
			const found = await store.contents(names);
			const opened = found.map(
				async (each) => [contentKey(each), await open(contentKey(each), each.sealed)] as const,
			);
			return new Map(await Promise.all(opened));
		},
	};
}

/** Wherever the rows lie just then. */
function placedInbox({ id, on }: PlacedStore): Inbox {
	return {
		add: (delivery) => on((database) => openInbox(database, id).add(delivery)),
		list: (application) => on((database) => openInbox(database, id).list(application)),
		unhandled: () => on((database) => openInbox(database, id).unhandled()),
		settle: (delivery, outcome) =>
			on((database) => openInbox(database, id).settle(delivery, outcome)),
		log: (build) => on((database) => openInbox(database, id).log(build)),
		keepLog: (build, text) => on((database) => openInbox(database, id).keepLog(build, text)),
	};
}

function credentialsOf({ logins: { seal, open } }: ClusterKeys): Credentials {
	return {
		seal: (plain) => seal(loginsBelongTo, new TextEncoder().encode(plain)),
		open: async (sealed) => new TextDecoder().decode(await open(loginsBelongTo, sealed)),
	};
}

/** It becomes a label of a host name. */
function checkName(name: string): string {
	if (/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/.test(name) && !reservedNames.includes(name)) {
		return name;
	}
	throw invalid(
		`name: ${JSON.stringify(name)} is no name for a cluster: take up to 40 of a-z, 0-9 and -, with no - at either end`,
	);
}

async function newCluster(
	asked: NewCluster,
	ring: Keyring,
	{ world, meshRange, nodeTimeoutMs }: HostingOptions,
): Promise<Cluster> {
	const id = world.newId() as ClusterId;
	const key = await joinKeyOf(ring);
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

/** A host's timers. */
export function after(ms: number, event: () => void): () => void {
	const timer = setTimeout(event, ms);
	return () => clearTimeout(timer);
}

export const randomId = () => idFromBytes<ClusterId>(crypto.getRandomValues(new Uint8Array(25)));
