// What this node has of images, each thing under its digest: blobs, and the manifests that name them.
//
// Nothing stands under a digest that was not reckoned from its bytes. What is half here lies apart, and goes with the
// agent's next start. When something was last needed is the time of its file, so that it outlives restarts.

import { randomUUID } from "node:crypto";
import {
	type FileHandle,
	mkdir,
	open,
	readdir,
	readFile,
	rename,
	rm,
	stat,
	statfs,
	utimes,
} from "node:fs/promises";
import { join } from "node:path";
import { type Manifest, parseManifest } from "./manifest.ts";

export type Kind = "blobs" | "manifests";

export interface Blobs {
	/** In bytes; undefined where it is not here. */
	size(kind: Kind, digest: string): Promise<number | undefined>;
	path(kind: Kind, digest: string): string;
	/** Undefined where it is not here. */
	manifest(digest: string): Promise<StoredManifest | undefined>;
	/** Begins what will be a blob or a manifest. */
	begin(): Promise<Half>;
	/** It is needed: its time begins anew. */
	touch(kind: Kind, digest: string): Promise<void>;
	list(kind: Kind): Promise<readonly Stored[]>;
	remove(kind: Kind, digest: string): Promise<void>;
}

export interface StoredManifest extends Manifest {
	readonly bytes: Uint8Array;
}

export interface Stored {
	readonly digest: string;
	readonly touchedMs: number;
}

/** Something that comes in. */
export interface Half {
	readonly id: string;
	readonly path: string;
	readonly size: number;
	/** Throws `DiskFull`. */
	write(bytes: Uint8Array): Promise<void>;
	/** Puts it under its digest; throws `WrongDigest` and abandons it where that is another one. */
	keep(kind: Kind, digest: string): Promise<void>;
	/** The digest of what came so far. Nothing may be written after it. */
	digest(): string;
	/** Leaves nothing of it. */
	abandon(): Promise<void>;
}

export class WrongDigest extends Error {}
export class DiskFull extends Error {}

/** The last of a disk is left to others: an engine, an agent's ledger. */
const reserveBytes = 64 * 1024 * 1024;
const lookEveryBytes = 16 * 1024 * 1024;

export async function openBlobs(dir: string): Promise<Blobs> {
	const halves = join(dir, "half");
	await rm(halves, { recursive: true, force: true });
	for (const folder of ["blobs", "manifests", "half"]) {
		await mkdir(join(dir, folder), { recursive: true, mode: 0o700 });
	}
	const path = (kind: Kind, digest: string) => join(dir, kind, digest.replace("sha256:", ""));
	return {
		path,
		async size(kind, digest) {
			const found = await stat(path(kind, digest)).catch(() => undefined);
			return found?.size;
		},
		async manifest(digest) {
			const bytes = await readFile(path("manifests", digest)).catch(() => undefined);
			return bytes && { ...parseManifest(bytes), bytes };
		},
		async begin() {
			const id = randomUUID();
			const half = join(halves, id);
			const file = await open(half, "wx", 0o600).catch(saidPlainly(dir));
			return halfOf(id, half, file, dir, path);
		},
		async touch(kind, digest) {
			const now = new Date();
			await utimes(path(kind, digest), now, now).catch(() => undefined);
		},
		async list(kind) {
			const names = await readdir(join(dir, kind));
			const all = names.map(async (name) => {
				const found = await stat(join(dir, kind, name)).catch(() => undefined);
				return found ? [{ digest: `sha256:${name}`, touchedMs: found.mtimeMs }] : [];
			});
			return (await Promise.all(all)).flat();
		},
		remove: (kind, digest) => rm(path(kind, digest), { force: true }),
	};
}

function halfOf(
	id: string,
	half: string,
	file: FileHandle,
	dir: string,
	pathOf: Blobs["path"],
): Half {
	const hash = new Bun.CryptoHasher("sha256");
	let size = 0;
	let nextLook = 0;
	let reckoned: string | undefined;
	const abandon = async () => {
		await file.close().catch(() => undefined);
		await rm(half, { force: true });
	};
	const digest = () => {
		reckoned ??= `sha256:${hash.digest("hex")}`;
		return reckoned;
	};
	return {
		id,
		path: half,
		get size() {
			return size;
		},
		async write(bytes) {
			if (size >= nextLook) {
				nextLook = size + lookEveryBytes;
				const { bavail, bsize } = await statfs(dir);
				if (bavail * bsize < reserveBytes) throw fullDisk(dir);
			}
			await file.writeFile(bytes).catch(saidPlainly(dir));
			hash.update(bytes);
			size += bytes.length;
		},
		async keep(kind, wanted) {
			if (digest() !== wanted) {
				await abandon();
				throw new WrongDigest(`the digest of these ${size} bytes is ${digest()}, not ${wanted}`);
			}
			await file.sync().catch(saidPlainly(dir));
			await file.close();
			await rename(half, pathOf(kind, wanted));
		},
		digest,
		abandon,
	};
}

const fullDisk = (dir: string) =>
	new DiskFull(`the disk of ${dir} is full: docker system prune makes room`);

function saidPlainly(dir: string) {
	return (error: NodeJS.ErrnoException): never => {
		throw error.code === "ENOSPC" ? fullDisk(dir) : error;
	};
}
