// The images that were built in the cluster, as far as this node has them: says which it has whole, fetches those that it
// is to keep, and forgets what nobody names any more.
//
// Serves them on loopback to its engine and on the mesh to its peers (serve.ts).

import type { Assignment, Peer } from "../../model/assignment.ts";
import { messageOf } from "../../model/errors.ts";
import { type ImageAssignment, imagePort } from "../../model/image.ts";
import { registryAuth } from "../host/docker.ts";
import { type Blobs, type Kind, openBlobs } from "./blobs.ts";
import { type Holder, Holders } from "./holders.ts";
import { answerEngine, answerPeer, type Pushes, type Registry } from "./serve.ts";

export interface ImageKeeper {
	/** Again and again, with what is known already too. The mesh is up before. Returns at once. */
	assign(assignment: Assignment): void;
	/** The digests of all images that are here whole. Sorted. */
	whole(): readonly string[];
	/** Rung whenever those are others. */
	onChange(ring: () => void): void;
	/** What the engine must show to push and pull, as `X-Registry-Auth`. */
	readonly registryAuth: string;
	/** Of an image that is here: what its parts take, in bytes. */
	sizeOf(digest: string): Promise<number>;
	/** Of a manifest that is here. */
	formOf(
		digest: string,
	): Promise<{ readonly mediaType: string; readonly size: number } | undefined>;
	/** For the node's description. */
	readonly warnings: readonly string[];
	stop(): Promise<void>;
}

export interface KeeperWorld {
	readonly dir: string;
	nowMs(): number;
	/** What this node and that of the public key know, and nobody else. */
	proofFor(publicKey: string): string;
	log(line: string): void;
}

/** What is named no more may be named again soon: by a rollback, by a control plane that was put back. */
const graceMs = 3_600_000;
const sweepMs = 300_000;
const retryMs = 30_000;

/** `at` is another in tests, which have several nodes on one machine. */
export async function openImageKeeper(
	world: KeeperWorld,
	at = { loopback: "127.0.0.1", port: imagePort },
): Promise<ImageKeeper> {
	const { loopback, port } = at;
	const blobs = await openBlobs(world.dir);
	const holders = new Holders(blobs, port);
	const password = crypto.randomUUID();
	const user = "agent";
	let assignment: Assignment | undefined;
	let whole: readonly string[] = await wholeImages(blobs);
	let ring = () => {};
	let sweptMs = world.nowMs();
	let triedMs = Number.NEGATIVE_INFINITY;
	let busy: Promise<void> | undefined;
	let indexed: Promise<void> = Promise.resolve();
	const trouble = new Map<string, string>();

	const look = async () => {
		const found = await wholeImages(blobs);
		if (found.join() === whole.join()) return;
		whole = found;
		ring();
	};
	const images = () => assignment?.images ?? [];
	const registry: Registry = {
		blobs,
		authorization: `Basic ${btoa(`${user}:${password}`)}`,
		proofOf(address) {
			const peer = assignment?.peers.find(({ meshAddress }) => meshAddress === address);
			return peer && world.proofFor(peer.publicKey);
		},
		async fetch(kind, repository, digest) {
			const named = await imagesOf(blobs, images(), repository, digest);
			// A manifest says what else there is, so it stays for a while in any case.
			const keep = kind === "manifests" || named.some((image) => image.keep);
			const peers = assignment ? holdersOf(named, assignment, world.proofFor) : [];
			const self = assignment?.self.meshAddress ?? "";
			return holders.get({ kind, repository, digest, keep, self, holders: peers });
		},
		pushed: look,
		ready: () => indexed,
	};
	const servers = new Servers(registry, at, (address, said) => {
		if (said) trouble.set(address, said);
		else trouble.delete(address);
	});
	servers.listen(loopback);

	/** What comes with the assignment itself. */
	const keepIndexes = async () => {
		for (const { repository, digest, index } of images()) {
			if (index === undefined || (await blobs.size("manifests", digest)) !== undefined) continue;
			try {
				const half = await blobs.begin();
				await half.write(new TextEncoder().encode(index));
				await half.keep("manifests", digest);
				await look();
			} catch (error) {
				world.log(`image ${repository}@${digest.slice(0, 19)}: ${messageOf(error)}`);
			}
		}
	};
	/** Everything that the image names; the rest of it is tried though one part fails. */
	const complete = async (image: ImageAssignment) => {
		const fetchIn = async (kind: Kind, digest: string) => {
			if ((await blobs.size(kind, digest)) !== undefined) return;
			const download = await registry.fetch(kind, image.repository, digest);
			try {
				download.keep();
				await download.done;
			} finally {
				await download.release();
			}
		};
		const queue = [image.digest];
		for (let digest = queue.pop(); digest; digest = queue.pop()) {
			await fetchIn("manifests", digest);
			const manifest = await blobs.manifest(digest);
			queue.push(...(manifest?.manifests ?? []));
			for (const blob of manifest?.blobs ?? []) await fetchIn("blobs", blob.digest);
		}
	};
	const completeAll = async () => {
		const missing = images().filter(({ keep, digest }) => keep && !whole.includes(digest));
		if (missing.length === 0) trouble.delete("copies");
		if (missing.length === 0 || world.nowMs() - triedMs < retryMs) return;
		triedMs = world.nowMs();
		const failed: string[] = [];
		for (const image of missing) {
			try {
				await complete(image);
				await look();
				// What is named meanwhile need not wait.
				triedMs = Number.NEGATIVE_INFINITY;
			} catch (error) {
				failed.push(`image ${image.repository}@${image.digest.slice(0, 19)}: ${messageOf(error)}`);
			}
		}
		if (failed.length === 0) return;
		triedMs = world.nowMs();
		const said = failed.join("; ");
		if (trouble.get("copies") !== said) world.log(said);
		trouble.set("copies", said);
	};
	/** Only where it is known what is named. */
	const sweep = async () => {
		if (!assignment?.images || world.nowMs() - sweptMs < sweepMs) return;
		sweptMs = world.nowMs();
		for (const { kind, digest } of await leftOver(blobs, keptOf(assignment), world.nowMs())) {
			await blobs.remove(kind, digest);
		}
		await look();
	};
	return {
		assign(next) {
			assignment = next;
			servers.listen(next.self.meshAddress);
			indexed = indexed.then(keepIndexes);
			busy ??= (async () => {
				await completeAll();
				await sweep();
			})()
				.catch((error) => world.log(`images: ${messageOf(error)}`))
				.finally(() => {
					busy = undefined;
				});
		},
		whole: () => whole,
		onChange(fresh) {
			ring = fresh;
		},
		registryAuth: registryAuth({ username: user, password }),
		async sizeOf(digest) {
			const parts = await partsOf(blobs, digest);
			return parts.reduce((sum, { size }) => sum + size, 0);
		},
		async formOf(digest) {
			const manifest = await blobs.manifest(digest);
			return manifest && { mediaType: manifest.mediaType, size: manifest.bytes.length };
		},
		get warnings() {
			return [...trouble.values()];
		},
		async stop() {
			await servers.stop();
			await indexed;
			await busy;
		},
	};
}

/** What this node keeps: what it is told to, what nobody else has, and indexes, but not what they name. */
function keptOf({ images = [], self }: Assignment): ImageAssignment[] {
	return images.filter(
		({ keep, holders, index }) =>
			keep || index !== undefined || holders.every((node) => node === self.node),
	);
}

/** Not of those, and not needed for a while. Touches what is. */
async function leftOver(blobs: Blobs, kept: readonly ImageAssignment[], nowMs: number) {
	const parts = await Promise.all(
		kept.map(({ digest, index }) => (index === undefined ? partsOf(blobs, digest) : [{ digest }])),
	);
	const named = new Set(parts.flat().map(({ digest }) => digest));
	const found: { readonly kind: Kind; readonly digest: string }[] = [];
	for (const kind of ["blobs", "manifests"] as const) {
		for (const { digest, touchedMs } of await blobs.list(kind)) {
			if (named.has(digest)) await blobs.touch(kind, digest);
			else if (nowMs - touchedMs > graceMs) found.push({ kind, digest });
		}
	}
	return found;
}

/** All that an image is made of, its manifests included, as far as those are here. */
async function partsOf(blobs: Blobs, digest: string) {
	const parts: { readonly kind: Kind; readonly digest: string; readonly size: number }[] = [];
	const queue = [digest];
	for (let next = queue.pop(); next; next = queue.pop()) {
		const manifest = await blobs.manifest(next);
		parts.push({ kind: "manifests", digest: next, size: manifest?.bytes.length ?? 0 });
		queue.push(...(manifest?.manifests ?? []));
		parts.push(...(manifest?.blobs ?? []).map((blob) => ({ kind: "blobs" as const, ...blob })));
	}
	return parts;
}

async function wholeImages(blobs: Blobs): Promise<string[]> {
	const found: string[] = [];
	for (const { digest } of await blobs.list("manifests")) {
		const parts = await partsOf(blobs, digest);
		const sizes = await Promise.all(parts.map((part) => blobs.size(part.kind, part.digest)));
		if (!sizes.includes(undefined)) found.push(digest);
	}
	return found.sort();
}

/** Those that the digest may be of: by what their manifests say, or by the repository where those are not here yet. */
async function imagesOf(
	blobs: Blobs,
	images: readonly ImageAssignment[],
	repository: string,
	digest: string,
): Promise<ImageAssignment[]> {
	const candidates = images.filter((image) => image.repository === repository);
	const parts = await Promise.all(candidates.map((image) => partsOf(blobs, image.digest)));
	const named = candidates.filter((_, index) =>
		parts[index]?.some((part) => part.digest === digest),
	);
	// Who has it for one architecture need not have it for another.
	const narrow = named.filter(({ index }) => index === undefined);
	if (narrow.length > 0) return narrow;
	return named.length > 0 ? named : candidates;
}

/** Those that are heard first, and each node begins with the one after it, so that none is asked by all. */
function holdersOf(
	images: readonly ImageAssignment[],
	{ peers, self }: Assignment,
	proofFor: KeeperWorld["proofFor"],
): Holder[] {
	const nodes = new Set(images.flatMap(({ holders }) => holders));
	const turn = (peer: Peer) => [peer.down ? 1 : 0, peer.index > self.index ? 0 : 1, peer.index];
	return peers
		.filter(({ node }) => nodes.has(node))
		.map((peer) => ({ peer, turn: turn(peer) }))
		.toSorted((a, b) => compare(a.turn, b.turn))
		.map(({ peer }) => ({
			name: peer.hostname,
			address: peer.meshAddress,
			proof: proofFor(peer.publicKey),
		}));
}

function compare(one: readonly number[], other: readonly number[]): number {
	for (const [index, value] of one.entries()) {
		const difference = value - (other[index] ?? 0);
		if (difference !== 0) return difference;
	}
	return 0;
}

/** A server on each address, begun again where it could not be. */
class Servers {
	readonly #registry: Registry;
	readonly #at: { readonly loopback: string; readonly port: number };
	readonly #said: (address: string, trouble: string) => void;
	readonly #pushes: Pushes = new Map();
	readonly #servers = new Map<string, Bun.Server<undefined>>();

	constructor(
		registry: Registry,
		at: { readonly loopback: string; readonly port: number },
		said: (address: string, trouble: string) => void,
	) {
		this.#registry = registry;
		this.#at = at;
		this.#said = said;
	}

	/** On loopback and on one other address: one that was before is left. */
	listen(address: string): void {
		const { loopback } = this.#at;
		for (const [known, server] of this.#servers) {
			if (known === loopback || known === address) continue;
			void server.stop(true);
			this.#servers.delete(known);
		}
		for (const each of [loopback, address]) this.#begin(each);
	}

	async stop(): Promise<void> {
		await Promise.all([...this.#servers.values()].map((server) => server.stop(true)));
	}

	#begin(address: string): void {
		if (this.#servers.has(address)) return;
		const registry = this.#registry;
		const { loopback, port } = this.#at;
		try {
			const server = Bun.serve({
				hostname: address,
				port,
				// A layer may take longer than any request of ours.
				idleTimeout: 0,
				maxRequestBodySize: Number.MAX_SAFE_INTEGER,
				fetch: (request, server) =>
					address === loopback
						? answerEngine(registry, this.#pushes, request)
						: answerPeer(registry, server.requestIP(request)?.address ?? "", request),
			});
			this.#servers.set(address, server);
			this.#said(address, "");
		} catch (error) {
			this.#said(
				address,
				`TCP port ${port} of ${address}, where images are served, is not to be had: ${messageOf(error)}`,
			);
		}
	}
}
