// Blobs and manifests that other nodes have: fetched over the mesh, reckoned while they come, given to all who wait.
//
// Whoever reads a download reads it as it comes, but for its last byte: that is given out only when all of it has the
// digest that was asked for, so nobody ever has a whole wrong blob. Where one holder ends, the next goes on.

import { type FileHandle, open } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { messageOf } from "../../model/errors.ts";
import { imagePort } from "../../model/image.ts";
import { type Blobs, DiskFull, type Half, type Kind, WrongDigest } from "./blobs.ts";

/** A node that says it has the image. */
export interface Holder {
	readonly name: string;
	readonly address: string;
	/** What we show it, so that it knows us. */
	readonly proof: string;
}

export interface Wanted {
	readonly kind: Kind;
	readonly repository: string;
	readonly digest: string;
	/** Best first. */
	readonly holders: readonly Holder[];
	/** Our address, as they know it. */
	readonly self: string;
	/** Afterwards it is here. */
	readonly keep: boolean;
}

/** Nobody gave it: what each of them said. */
export class NoHolder extends Error {}

/** Who says nothing for so long is left for the next. */
const silenceMs = 10_000;

export class Holders {
	readonly #blobs: Blobs;
	readonly #port: number;
	readonly #downloads = new Map<string, Download>();
	/** Holders of whom a blob came wrong, with its digest: asked last. */
	readonly #wrong = new Set<string>();

	constructor(blobs: Blobs, port = imagePort) {
		this.#blobs = blobs;
		this.#port = port;
	}

	/**
	 * The download of it that goes on, or a new one, once its length is known; to be released. Throws `NoHolder`,
	 * `DiskFull`.
	 */
	async get(wanted: Wanted): Promise<Download> {
		const known = this.#downloads.get(wanted.digest);
		const download = known ?? new Download(this.#blobs, this.#sorted(wanted), this.#port);
		download.hold();
		if (wanted.keep) download.keep();
		if (!known) {
			this.#downloads.set(wanted.digest, download);
			const forget = () => this.#downloads.delete(wanted.digest);
			download.done.then(forget, (error) => {
				forget();
				if (!(error instanceof WrongDigest)) return;
				for (const address of download.sources) this.#wrong.add(`${address} ${wanted.digest}`);
			});
		}
		try {
			await download.begun;
			return download;
		} catch (error) {
			await download.release();
			throw error;
		}
	}

	#sorted(wanted: Wanted): Wanted {
		const isWrong = ({ address }: Holder) => this.#wrong.has(`${address} ${wanted.digest}`);
		const { holders } = wanted;
		const sound = holders.filter((holder) => !isWrong(holder));
		return { ...wanted, holders: [...sound, ...holders.filter(isWrong)] };
	}
}

export class Download {
	/** Whom it came from, in parts. */
	readonly sources: string[] = [];
	/** Resolves with its length. */
	readonly begun: Promise<number>;
	/** Resolves when all of it came and was right; rejects with why not. */
	readonly done: Promise<void>;
	readonly #blobs: Blobs;
	readonly #wanted: Wanted;
	readonly #port: number;
	readonly #begin = Promise.withResolvers<number>();
	#keep = false;
	#half: Half | undefined;
	#size = -1;
	/** How much of it may be read. */
	#given = 0;
	#holds = 0;
	#state: "comes" | "kept" | "here" | "failed" = "comes";
	#news = Promise.withResolvers<void>();

	/** Use Holders. */
	constructor(blobs: Blobs, wanted: Wanted, port: number) {
		this.#blobs = blobs;
		this.#wanted = wanted;
		this.#port = port;
		this.begun = this.#begin.promise;
		this.begun.catch(() => undefined);
		this.done = this.#run();
		this.done.catch(this.#begin.reject);
	}

	keep(): void {
		this.#keep = true;
	}

	/** What is not kept stays for as long as somebody holds it. */
	hold(): void {
		this.#holds++;
	}

	async release(): Promise<void> {
		this.#holds--;
		await this.#cleanUp();
	}

	/** From this byte on, as it comes; throws where the download fails. */
	async *read(from: number): AsyncGenerator<Uint8Array> {
		await this.begun;
		const file = await this.#open();
		try {
			for (let at = from; at < this.#size; ) {
				const news = this.#news.promise;
				if (this.#state === "failed") await this.done;
				if (at >= this.#given) {
					await news;
					continue;
				}
				const bytes = Buffer.allocUnsafe(Math.min(this.#given - at, 256 * 1024));
				const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
				at += bytesRead;
				yield bytes.subarray(0, bytesRead);
			}
		} finally {
			await file.close();
		}
	}

	/** By one name or the other: it is put in its place while it is read. */
	#open(): Promise<FileHandle> {
		const { kind, digest } = this.#wanted;
		return open(this.#half?.path ?? "").catch(() => open(this.#blobs.path(kind, digest)));
	}

	async #run(): Promise<void> {
		try {
			const half = await this.#blobs.begin();
			this.#half = half;
			await this.#fill(half);
			const { kind, digest } = this.#wanted;
			if (half.digest() !== digest) throw new WrongDigest(`what came is ${half.digest()}`);
			if (this.#keep) await half.keep(kind, digest);
			this.#state = this.#keep ? "kept" : "here";
			this.#tell(this.#size);
		} catch (error) {
			this.#state = "failed";
			this.#tell(this.#given);
			throw error;
		} finally {
			await this.#cleanUp();
		}
	}

	async #fill(half: Half): Promise<void> {
		const { repository, digest, holders } = this.#wanted;
		const said: string[] = [];
		for (const holder of holders) {
			try {
				await this.#fillFrom(holder, half);
				return;
			} catch (error) {
				if (error instanceof DiskFull) throw error;
				said.push(`${holder.name} (${messageOf(error)})`);
			}
		}
		const asked = said.length > 0 ? `asked ${said.join(", ")}` : "no node has all of it";
		throw new NoHolder(`nobody gives ${repository}@${digest}: ${asked}`);
	}

	/** What is not here yet. */
	async #fillFrom(holder: Holder, half: Half): Promise<void> {
		const { reply, heard, end } = await ask(holder, this.#port, this.#wanted, half.size);
		try {
			const size = half.size + Number(reply.headers["content-length"]);
			if (half.size === 0) this.#size = size;
			if (size !== this.#size) throw new Error(`${size} bytes, and ${this.#size} elsewhere`);
			this.sources.push(holder.address);
			this.#begin.resolve(size);
			for await (const bytes of reply) {
				heard();
				await half.write(bytes as Buffer);
				this.#tell(Math.min(half.size, this.#size - 1));
			}
		} finally {
			end();
		}
		if (half.size < this.#size) throw new Error(`ended after ${half.size} of ${this.#size} bytes`);
	}

	#tell(given: number): void {
		this.#given = given;
		this.#news.resolve();
		this.#news = Promise.withResolvers<void>();
	}

	async #cleanUp(): Promise<void> {
		const isOver = this.#state === "failed" || this.#state === "here";
		if (isOver && this.#holds === 0) await this.#half?.abandon();
	}
}

interface Reply {
	readonly reply: IncomingMessage;
	/** It is not silent. */
	heard(): void;
	end(): void;
}

/** By node:http, since Bun's fetch would ask the proxy that the control plane is reached by. */
function ask(holder: Holder, port: number, wanted: Wanted, from: number): Promise<Reply> {
	const { promise, resolve, reject } = Promise.withResolvers<Reply>();
	const asking = request({
		host: holder.address,
		port,
		localAddress: wanted.self,
		path: `/v2/${wanted.repository}/${wanted.kind}/${wanted.digest}`,
		headers: {
			authorization: `Bearer ${holder.proof}`,
			...(from > 0 && { range: `bytes=${from}-` }),
		},
		agent: false,
	});
	const silent = new Error(`silent for ${silenceMs / 1000} s`);
	let timer: ReturnType<typeof setTimeout> | undefined;
	const heard = () => {
		clearTimeout(timer);
		timer = setTimeout(() => asking.destroy(silent), silenceMs);
	};
	const end = () => {
		clearTimeout(timer);
		asking.destroy();
	};
	heard();
	asking.on("error", (error) => {
		clearTimeout(timer);
		reject(error);
	});
	asking.on("response", (reply) => {
		heard();
		if (reply.statusCode === (from > 0 ? 206 : 200)) resolve({ reply, heard, end });
		else {
			reject(new Error(`answers ${reply.statusCode}`));
			end();
		}
	});
	asking.end();
	return promise;
}
