// The registry's door, in the words of the OCI distribution specification: what an engine says to push and to pull, and
// a peer to fetch.
//
// An engine shows the credential that this agent made at its start: images may be private, and not every program of the
// machine is to read them. A peer shows the proof that belongs to its address, and gets what is here. There are no tags:
// a manifest that is pushed under one is found by its digest alone.

import { timingSafeEqual } from "node:crypto";
import { messageOf } from "../../model/errors.ts";
import { type Blobs, DiskFull, type Half, type Kind, WrongDigest } from "./blobs.ts";
import { type Download, NoHolder } from "./holders.ts";
import { digestPattern, parseManifest } from "./manifest.ts";

export interface Registry {
	readonly blobs: Blobs;
	/** The header that an engine must send. */
	readonly authorization: string;
	/** The header that a peer at this address must send; undefined where there is none. */
	proofOf(address: string): string | undefined;
	/** From a peer. */
	fetch(kind: Kind, repository: string, digest: string): Promise<Download>;
	/** A whole image came. */
	pushed(): Promise<void>;
	/** What was told of before is here. */
	ready(): Promise<void>;
}

/** Pushes that go on, by their half's id. */
export type Pushes = Map<string, Half>;

/** As specified: `web`, `team/web`. */
const route = /^\/v2\/([a-z0-9][a-z0-9._/-]*)\/(blobs\/uploads|blobs|manifests)\/([^/]*)$/;
const largestManifest = 4 * 1024 * 1024;

export async function answerEngine(
	registry: Registry,
	pushes: Pushes,
	request: Request,
): Promise<Response> {
	if (!isSame(request.headers.get("authorization"), registry.authorization)) {
		return refuse(401, "UNAUTHORIZED", "only this node's agent pushes and pulls here", {
			"www-authenticate": 'Basic realm="skein"',
		});
	}
	const { pathname, searchParams } = new URL(request.url);
	if (pathname === "/v2/") return Response.json({});
	const [, repository = "", what, reference = ""] = route.exec(pathname) ?? [];
	const { method } = request;
	try {
		if (what === "blobs/uploads") {
			const at = `/v2/${repository}/blobs/uploads/`;
			if (method === "POST") return await begin(registry, pushes, at, searchParams);
			return await goOn(registry, pushes, at, reference, request, searchParams);
		}
		if (what === "manifests" && method === "PUT") {
			return await putManifest(registry, repository, request);
		}
		if (what !== undefined && (method === "GET" || method === "HEAD")) {
			return await read(registry, what as Kind, repository, reference, request);
		}
		return refuse(405, "UNSUPPORTED", `${method} ${pathname}: nothing of the kind here`);
	} catch (error) {
		// Engines say a push that failed again and again, but for one that was denied.
		if (error instanceof DiskFull) return refuse(403, "DENIED", error.message);
		if (error instanceof WrongDigest) return refuse(400, "DIGEST_INVALID", error.message);
		if (error instanceof NoHolder) return refuse(404, unknown[what as Kind], error.message);
		return refuse(500, "UNKNOWN", messageOf(error));
	}
}

/** Only what is here, and only to be read. */
export async function answerPeer(
	registry: Registry,
	address: string,
	request: Request,
): Promise<Response> {
	const proof = registry.proofOf(address);
	if (proof === undefined || !isSame(request.headers.get("authorization"), `Bearer ${proof}`)) {
		return refuse(403, "DENIED", "only nodes of the cluster read here");
	}
	const [, , what, digest = ""] = route.exec(new URL(request.url).pathname) ?? [];
	const isRead = request.method === "GET" && (what === "blobs" || what === "manifests");
	if (!isRead || !digestPattern.test(digest)) return refuse(405, "UNSUPPORTED", "only to be read");
	await registry.ready();
	const here = await file(registry.blobs, what, digest);
	return here ?? refuse(404, unknown[what], `${digest} is not here`);
}

const unknown = { blobs: "BLOB_UNKNOWN", manifests: "MANIFEST_UNKNOWN" } as const;

async function begin(
	{ blobs }: Registry,
	pushes: Pushes,
	at: string,
	query: URLSearchParams,
): Promise<Response> {
	const mounted = query.get("mount") ?? "";
	if (digestPattern.test(mounted) && (await blobs.size("blobs", mounted)) !== undefined) {
		await blobs.touch("blobs", mounted);
		return created(at.replace(/uploads\/$/, mounted), mounted);
	}
	const half = await blobs.begin();
	pushes.set(half.id, half);
	return accepted(at, half);
}

async function goOn(
	{ blobs }: Registry,
	pushes: Pushes,
	at: string,
	id: string,
	request: Request,
	query: URLSearchParams,
): Promise<Response> {
	const half = pushes.get(id);
	if (!half) return refuse(404, "BLOB_UPLOAD_UNKNOWN", `${id}: no such upload`);
	switch (request.method) {
		case "GET":
			return accepted(at, half, 204);
		case "DELETE":
			pushes.delete(id);
			await half.abandon();
			return new Response(null, { status: 204 });
		case "PATCH":
		case "PUT":
			break;
		default:
			return refuse(405, "UNSUPPORTED", `${request.method} of an upload`);
	}
	try {
		for await (const bytes of request.body ?? []) await half.write(bytes);
		if (request.method === "PATCH") return accepted(at, half);
		const digest = query.get("digest") ?? "";
		if (!digestPattern.test(digest)) throw new WrongDigest(`digest ${digest}: sha256:… is needed`);
		await half.keep("blobs", digest);
		await blobs.touch("blobs", digest);
		pushes.delete(id);
		return created(at.replace(/uploads\/$/, digest), digest);
	} catch (error) {
		pushes.delete(id);
		await half.abandon();
		throw error;
	}
}

/** Whole or not at all: all that it names must be here. */
async function putManifest(
	{ blobs, pushed }: Registry,
	repository: string,
	request: Request,
): Promise<Response> {
	if (Number(request.headers.get("content-length") ?? 0) > largestManifest) {
		return refuse(413, "MANIFEST_INVALID", `a manifest of more than ${largestManifest} bytes`);
	}
	const bytes = new Uint8Array(await request.arrayBuffer());
	try {
		const { manifests, blobs: named } = parseManifest(bytes);
		for (const digest of manifests) await mustBeHere(blobs, "manifests", digest);
		for (const { digest } of named) await mustBeHere(blobs, "blobs", digest);
	} catch (error) {
		return refuse(400, "MANIFEST_INVALID", messageOf(error));
	}
	const half = await blobs.begin();
	try {
		await half.write(bytes);
		const digest = half.digest();
		await half.keep("manifests", digest);
		await pushed();
		return created(`/v2/${repository}/manifests/${digest}`, digest);
	} catch (error) {
		await half.abandon();
		throw error;
	}
}

async function mustBeHere(blobs: Blobs, kind: Kind, digest: string): Promise<void> {
	if ((await blobs.size(kind, digest)) === undefined) throw new Error(`${digest} was not pushed`);
	await blobs.touch(kind, digest);
}

async function read(
	{ blobs, fetch, ready }: Registry,
	kind: Kind,
	repository: string,
	digest: string,
	request: Request,
): Promise<Response> {
	if (!digestPattern.test(digest)) {
		return refuse(404, unknown[kind], `${digest}: images are known by their digest`);
	}
	await ready();
	const here = await file(blobs, kind, digest);
	if (here) {
		if (request.method === "HEAD") await blobs.touch(kind, digest);
		return here;
	}
	// An engine asks so before it pushes, and is to push what is not here.
	if (request.method === "HEAD" && kind === "blobs") {
		return refuse(404, unknown[kind], `${digest} is not here`);
	}
	const download = await fetch(kind, repository, digest);
	if (kind === "manifests") {
		try {
			await download.done;
		} finally {
			await download.release();
		}
		return (await file(blobs, kind, digest)) ?? refuse(404, unknown[kind], `${digest} is not here`);
	}
	return passOn(download, digest, request.headers.get("range"), await download.begun);
}

/** Bun answers a range of a file by itself. */
async function file(blobs: Blobs, kind: Kind, digest: string): Promise<Response | undefined> {
	const manifest = kind === "manifests" ? await blobs.manifest(digest) : undefined;
	const isHere = kind === "manifests" ? manifest : await blobs.size(kind, digest);
	if (isHere === undefined) return undefined;
	const type = manifest?.mediaType ?? "application/octet-stream";
	return new Response(Bun.file(blobs.path(kind, digest)), {
		headers: { "content-type": type, "docker-content-digest": digest },
	});
}

/** An engine whose pull broke off asks for the rest. */
function passOn(download: Download, digest: string, range: string | null, size: number): Response {
	const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
	const bytes = download.read(from);
	const body = new ReadableStream<Uint8Array>(
		{
			async pull(to) {
				const { done, value } = await bytes.next().catch(async (error) => {
					await download.release();
					throw error;
				});
				if (value) to.enqueue(value);
				if (!done) return;
				to.close();
				await download.release();
			},
			async cancel() {
				await bytes.return(undefined);
				await download.release();
			},
		},
		{ highWaterMark: 0 },
	);
	return new Response(body, {
		status: from > 0 ? 206 : 200,
		headers: {
			"content-type": "application/octet-stream",
			"docker-content-digest": digest,
			...(from > 0 && { "content-range": `bytes ${from}-${size - 1}/${size}` }),
		},
	});
}

const accepted = (at: string, half: Half, status = 202) =>
	new Response(null, {
		status,
		headers: {
			location: `${at}${half.id}`,
			"docker-upload-uuid": half.id,
			range: `0-${Math.max(0, half.size - 1)}`,
		},
	});

const created = (location: string, digest: string) =>
	new Response(null, { status: 201, headers: { location, "docker-content-digest": digest } });

function refuse(
	status: number,
	code: string,
	message: string,
	headers: Readonly<Record<string, string>> = {},
): Response {
	return Response.json({ errors: [{ code, message }] }, { status, headers });
}

function isSame(given: string | null, wanted: string): boolean {
	const [one, other] = [given ?? "", wanted].map((text) => Buffer.from(text));
	return (
		one !== undefined &&
		other !== undefined &&
		one.length === other.length &&
		timingSafeEqual(one, other)
	);
}
