// A cluster's keys in use: opened when first needed, wrapped anew when the master key has changed, made for clusters
// that are older than keyrings, rotated, and what was sealed under retired ones sealed anew.
//
// What a keyring is and how it is wrapped is accounts/'s; where it lies is store/keyrings.ts.

import { conflict, messageOf, notFound, Refusal } from "../model/errors.ts";
import type { ClusterId } from "../model/id.ts";
import { contentKey } from "../model/material.ts";
import type { Service, ServiceSpec } from "../model/service.ts";
import { beforeKeyrings } from "./accounts/before-keyrings.ts";
import {
	hasRetired,
	type Keyring,
	newKeyring,
	parseKeyring,
	rotated,
	showKeyring,
	withoutRetired,
} from "./accounts/keyring.ts";
import { type MasterKeys, unwrap, wrap } from "./accounts/master.ts";
import { type Seal, sealFor } from "./accounts/seal.ts";
import type { ClusterDoor } from "./cluster.ts";
import type { KeyringRow, KeyringStore, MasterUse } from "./store/keyrings.ts";

/** What a registry's login is sealed to: it moves with the service's spec, which has no other key. */
export const loginsBelongTo = "service";

/** Another process that rotated is believed after this long, also where nothing forces a look. */
const believedMs = 60_000;
/** What is being sealed while a key retires has landed by then, in every process. */
const keepRetiredMs = 3_600_000;
/** Contents have up to 1.4 MB sealed, and a server answers with 10 MB at most. */
const contentsAtOnce = 5;
const clustersAtOnce = 100;

export interface ClusterKeys {
	/** Given a version, the keyring as it is now, unless the one at hand has that. */
	ring(version?: number): Promise<Keyring>;
	contents: Seal;
	logins: Seal;
	/** A new data key seals from now on; what is sealed already follows with `reseal`. */
	rotate(): Promise<Keyring>;
	/** For when the master key is lost for good: new keys, and what the old ones sealed opens no more. */
	replace(): Promise<Keyring>;
	/** Seals anew what older data keys sealed, and drops those that nothing needs. Goes on where it was stopped. */
	reseal(door: Pick<ClusterDoor, "commit" | "snapshot">): Promise<void>;
}

export interface KeysWorld {
	readonly store: KeyringStore;
	readonly masters: MasterKeys;
	nowMs(): number;
}

export function openKeys(id: ClusterId, { store, masters, nowMs }: KeysWorld): ClusterKeys {
	let held: { readonly row: KeyringRow; readonly ring: Keyring; readonly atMs: number } | undefined;
	let looking: Promise<Keyring> | undefined;

	async function look(): Promise<Keyring> {
		const row = (await store.read(id)) ?? (await make());
		const ring = parseKeyring(await unwrap(masters, id, row));
		held = { row, ring, atMs: nowMs() };
		if (row.master !== masters.current.id) await put(row, ring);
		return ring;
	}

	async function make(): Promise<KeyringRow> {
		const cluster = await store.cluster(id);
		if (!cluster) throw notFound("the cluster has no keys: it was erased");
		const ring = newKeyring(1, await beforeKeyrings(masters, cluster));
		await store.insert(id, await rowOf(id, ring, masters, false));
		const row = await store.read(id);
		if (row) return row;
		throw notFound("the cluster has no keys: it was erased");
	}

	/** Whoever else wrote first is right; the next look shows what. */
	async function put(before: KeyringRow, ring: Keyring): Promise<boolean> {
		const row = await rowOf(id, ring, masters, hasRetired(ring) && ring.version > 1);
		const done = await store.replace(id, before, row);
		held = done ? { row, ring, atMs: nowMs() } : undefined;
		return done;
	}

	async function ring(version?: number): Promise<Keyring> {
		const lacks = version !== undefined && held?.ring.data[version] === undefined;
		if (held && !lacks && nowMs() - held.atMs < believedMs) return held.ring;
		looking ??= look().finally(() => {
			looking = undefined;
		});
		return looking;
	}

	async function change(next: (ring: Keyring) => Keyring): Promise<Keyring> {
		for (let attempt = 0; attempt < 5; attempt++) {
			await look();
			const before = held;
			if (!before) continue;
			const changed = next(before.ring);
			if (await put(before.row, changed)) return changed;
		}
		throw conflict("the cluster's keys are being changed by somebody else: try again");
	}

	const contents = sealFor(ring, id, "contents");
	const logins = sealFor(ring, id, "registries");
	return {
		ring,
		contents,
		logins,
		rotate: () => change((before) => rotated(before, nowMs())),
		async replace() {
			const row = await store.read(id);
			const usable = await look().catch((error: unknown) => {
				if (error instanceof Refusal) return undefined;
				throw error;
			});
			if (usable) {
				throw conflict(
					"the cluster's keys are not lost: this control plane has their master key. To replace them, rotate them",
				);
			}
			const fresh = newKeyring((row?.version ?? 0) + 1);
			const next = await rowOf(id, fresh, masters, false);
			const done = row ? await store.replace(id, row, next) : await store.insert(id, next);
			if (!done) throw conflict("the cluster's keys were changed meanwhile: look again");
			held = undefined;
			return fresh;
		},
		async reseal(door) {
			const { version } = await ring();
			await resealContents(id, store, version, contents);
			await resealLogins(door, logins);
			const now = await ring();
			if (now.version !== version || !hasRetired(now)) return;
			const beforeMs = nowMs() - keepRetiredMs;
			const next = withoutRetired(now, beforeMs);
			if (showKeyring(next) === showKeyring(now)) return;
			await change((before) =>
				before.version === version ? withoutRetired(before, beforeMs) : before,
			);
		},
	};
}

export async function rowOf(
	id: ClusterId,
	ring: Keyring,
	masters: MasterKeys,
	resealing: boolean,
): Promise<KeyringRow> {
	return { ...(await wrap(masters, id, ring.version, showKeyring(ring))), resealing };
}

async function resealContents(
	id: ClusterId,
	store: KeyringStore,
	version: number,
	seal: Seal,
): Promise<void> {
	let after: Parameters<KeyringStore["olderContents"]>[2];
	for (;;) {
		const page = await store.olderContents(id, version, after, contentsAtOnce);
		const anew = await Promise.all(
			page.map(async (before) => {
				const plain = await openable(seal, contentKey(before), before.sealed);
				return plain ? [{ before, sealed: await seal.seal(contentKey(before), plain) }] : [];
			}),
		);
		await store.reseal(id, anew.flat());
		after = page.at(-1);
		if (page.length < contentsAtOnce) return;
	}
}

/** Logins stand in services' specs: those that are still what was read are replaced, in one commit. */
async function resealLogins(
	door: Pick<ClusterDoor, "commit" | "snapshot">,
	seal: Seal,
): Promise<void> {
	const anew = new Map<string, string>();
	for (const service of (await door.snapshot()).services.values()) {
		for (const sealed of loginsOf(service)) {
			if (await seal.isNewest(sealed)) continue;
			const plain = await openable(seal, loginsBelongTo, sealed);
			if (plain) anew.set(sealed, await seal.seal(loginsBelongTo, plain));
		}
	}
	if (anew.size === 0) return;
	await door.commit((snapshot) => ({
		changes: [...snapshot.services.values()]
			.filter((service) => loginsOf(service).some((sealed) => anew.has(sealed)))
			.map((service) => ({ kind: "put-service", service: withLogins(service, anew) })),
		result: undefined,
	}));
}

export function loginsOf({ spec, previous }: Service): string[] {
	return [spec.registryAuth, previous?.spec.registryAuth].filter((each) => each !== undefined);
}

export function withLogins(service: Service, anew: ReadonlyMap<string, string>): Service {
	const renew = (spec: ServiceSpec): ServiceSpec => {
		const registryAuth = anew.get(spec.registryAuth ?? "");
		return registryAuth ? { ...spec, registryAuth } : spec;
	};
	const { spec, previous } = service;
	return {
		...service,
		spec: renew(spec),
		previous: previous && { ...previous, spec: renew(previous.spec) },
	};
}

/** What no key opens any more is left as it is: whoever asks for it is told. */
export async function openable(seal: Seal, belongsTo: string, sealed: string) {
	try {
		return await seal.open(belongsTo, sealed);
	} catch (error) {
		if (error instanceof Refusal) return undefined;
		throw error;
	}
}

/** How keys stand: what `GET /api/keys`, the log and the metrics say. */
export interface KeysStatus {
	/** The master key that wraps. */
	readonly current: string;
	/** Every master key that was given. */
	readonly given: readonly string[];
	/** Clusters by the master key that their keys are wrapped under. */
	readonly wrapped: readonly (MasterUse & { readonly given: boolean })[];
	/** Clusters older than keyrings, which the next sweep gives one. */
	readonly unwrapped: number;
}

export async function keysStatus({
	store,
	masters,
}: Pick<KeysWorld, "store" | "masters">): Promise<KeysStatus> {
	const census = await store.census();
	const given = masters.all.map(({ id }) => id);
	return {
		current: masters.current.id,
		given,
		wrapped: census
			.filter(({ master }) => master !== "")
			.map((use) => ({ ...use, given: given.includes(use.master) })),
		unwrapped: census.find(({ master }) => master === "")?.clusters ?? 0,
	};
}

/**
 * Brings every cluster's keys under the current master key, and goes on with what is being sealed anew; `thorough` also
 * gives keyrings to clusters that are older. False: there was nothing to do.
 */
export async function sweepKeys(
	clusters: Hosting,
	log: (message: string) => void,
	thorough: boolean,
): Promise<boolean> {
	const { store, masters } = clusters.keyrings;
	let after = "";
	for (;;) {
		const page = { after, limit: clustersAtOnce, thorough };
		const due = await store.due(masters.current.id, page);
		for (const { id, resealing } of due) {
			try {
				const keys = clusters.keys(id);
				await keys.ring();
				if (resealing) await keys.reseal(await clusters.host(id));
			} catch (error) {
				// Whose master key is missing is counted below, all in one line.
				if (!(error instanceof Refusal)) log(`keys of cluster ${id}: ${messageOf(error)}`);
			}
		}
		if (due.length < clustersAtOnce) return after !== "" || due.length > 0;
		after = due.at(-1)?.id ?? "";
	}
}

export interface Hosting {
	keys(id: ClusterId): ClusterKeys;
	host(id: ClusterId): Promise<Pick<ClusterDoor, "commit" | "snapshot">>;
	readonly keyrings: Pick<KeysWorld, "store" | "masters">;
}

/** Sweeps, and says in the log how keys stand unless all is as it should be. */
export async function followKeys(
	clusters: Hosting,
	log: (message: string) => void,
	thorough: boolean,
): Promise<void> {
	try {
		if (!(await sweepKeys(clusters, log, thorough))) return;
		const line = showKeys(await keysStatus(clusters.keyrings));
		if (line) log(line);
	} catch (error) {
		log(`keys: not looked after, again soon: ${messageOf(error)}`);
	}
}

/** One line for the log; undefined where all is as it should be. */
export function showKeys({ current, wrapped, unwrapped }: KeysStatus): string | undefined {
	const others = wrapped.filter(({ master }) => master !== current);
	const missing = others.filter(({ given }) => !given);
	if (others.length === 0 && unwrapped === 0) return undefined;
	const counted = [...others.map(({ clusters, master }) => `${clusters} under ${master}`)];
	if (unwrapped > 0) counted.push(`${unwrapped} without keys of their own yet`);
	const remedy = missing.map(
		({ master, clusters }) =>
			`; master key ${master} was not given: secrets and join tokens of ${clusters} clusters wait for it (SKEIN_OLD_KEYS, docs/runbooks/keys.md)`,
	);
	return `keys: clusters not under the current master key ${current}: ${counted.join(", ")}${remedy.join("")}`;
}
