// Three agents' registries on one machine's loopback addresses, and engines that are HTTP requests.

import { afterEach, describe, expect, test } from "bun:test";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Assignment } from "../../model/assignment.ts";
import type { NodeId } from "../../model/id.ts";
import type { ImageAssignment } from "../../model/image.ts";
import { type ImageKeeper, openImageKeeper } from "./keeper.ts";

const port = 14_788;
const hour = 3_600_000;
const sha256 = (bytes: Uint8Array) =>
	`sha256:${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}`;
const random = (size: number) => {
	const bytes = new Uint8Array(size);
	for (let at = 0; at < size; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
	return bytes;
};

interface Machine {
	readonly index: number;
	readonly keeper: ImageKeeper;
	readonly dir: string;
	readonly clock: { nowMs: number };
	readonly url: string;
	readonly headers: { readonly authorization: string };
}

const machines: Machine[] = [];
const servers: Server[] = [];
afterEach(async () => {
	for (const { keeper, dir } of machines.splice(0)) {
		await keeper.stop();
		await rm(dir, { recursive: true });
	}
	for (const server of servers.splice(0)) server.close();
});

const mesh = (index: number) => `127.0.1.${index}`;
const nodeId = (index: number) => `n${index}` as NodeId;

async function machine(index: number): Promise<Machine> {
	const dir = await mkdtemp(join(tmpdir(), "skein-registry-"));
	const loopback = `127.0.2.${index}`;
	const clock = { nowMs: Date.now() };
	const world = {
		dir,
		nowMs: () => clock.nowMs,
		proofFor: (publicKey: string) => [`key${index}`, publicKey].sort().join("+"),
		log() {},
	};
	const keeper = await openImageKeeper(world, { loopback, port });
	const { username, password } = JSON.parse(
		Buffer.from(keeper.registryAuth, "base64url").toString(),
	);
	const made: Machine = {
		index,
		keeper,
		dir,
		clock,
		url: `http://${loopback}:${port}/v2`,
		headers: { authorization: `Basic ${btoa(`${username}:${password}`)}` },
	};
	machines.push(made);
	return made;
}

function tell({ keeper, index }: Machine, images: readonly ImageAssignment[], peers = [1, 2, 3]) {
	const self = { node: nodeId(index), index, meshAddress: mesh(index) };
	keeper.assign({
		self,
		images,
		peers: peers
			.filter((other) => other !== index)
			.map((other) => ({
				node: nodeId(other),
				hostname: `h${other}`,
				index: other,
				meshAddress: mesh(other),
				publicKey: `key${other}`,
				down: false,
			})),
	} as unknown as Assignment);
}

async function pushBlob({ url, headers }: Machine, bytes: Uint8Array, digest = sha256(bytes)) {
	const begun = await fetch(`${url}/web/blobs/uploads/`, { method: "POST", headers });
	const at = new URL(begun.headers.get("location") ?? "", url);
	await fetch(at, { method: "PATCH", headers, body: Uint8Array.from(bytes) });
	return fetch(`${at}?digest=${digest}`, { method: "PUT", headers });
}

async function pushImage(on: Machine, layer: Uint8Array): Promise<ImageAssignment> {
	const config = new TextEncoder().encode("{}");
	for (const bytes of [config, layer]) expect((await pushBlob(on, bytes)).status).toBe(201);
	const part = (bytes: Uint8Array) => ({ digest: sha256(bytes), size: bytes.length });
	const manifest = JSON.stringify({
		schemaVersion: 2,
		mediaType: "application/vnd.docker.distribution.manifest.v2+json",
		config: part(config),
		layers: [part(layer)],
	});
	const pushed = await fetch(`${on.url}/web/manifests/1`, {
		method: "PUT",
		headers: on.headers,
		body: manifest,
	});
	const digest = pushed.headers.get("docker-content-digest") ?? "";
	expect([pushed.status, digest]).toEqual([201, sha256(new TextEncoder().encode(manifest))]);
	return { repository: "web", digest, keep: true, holders: [nodeId(on.index)] };
}

const changed = ({ keeper }: Machine) => new Promise<void>((resolve) => keeper.onChange(resolve));
const halves = ({ dir }: Machine) => readdir(join(dir, "half"));
const fileOf = ({ dir }: Machine, digest: string) => join(dir, "blobs", digest.slice(7));

test("only who shows the credential pushes or pulls", async () => {
	const one = await machine(1);
	const refused = await fetch(`${one.url}/`);
	expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([
		401,
		'Basic realm="skein"',
	]);
	expect((await fetch(`${one.url}/`, { headers: one.headers })).status).toBe(200);
});

test("what does not have the digest it should have is refused, and leaves nothing", async () => {
	const one = await machine(1);
	const reply = await pushBlob(one, random(1000), sha256(random(10)));
	expect(reply.status).toBe(400);
	expect(await reply.text()).toContain("DIGEST_INVALID");
	expect(await halves(one)).toEqual([]);
	const manifest = { config: { digest: sha256(random(3)), size: 3 }, layers: [] };
	const without = await fetch(`${one.url}/web/manifests/1`, {
		method: "PUT",
		headers: one.headers,
		body: JSON.stringify(manifest),
	});
	expect([without.status, await without.text()]).toEqual([
		400,
		expect.stringContaining("was not pushed"),
	]);
});

test("a node that is to keep an image fetches all of it, and says so", async () => {
	const [one, two] = [await machine(1), await machine(2)];
	const image = await pushImage(one, random(3_000_000));
	expect(one.keeper.whole()).toEqual([image.digest]);
	tell(one, [image]);
	const whole = changed(two);
	tell(two, [image]);
	await whole;
	expect(two.keeper.whole()).toEqual([image.digest]);
	expect(await two.keeper.sizeOf(image.digest)).toBe(await one.keeper.sizeOf(image.digest));
});

test("peers alone read on the mesh address, by what the two of them know", async () => {
	const one = await machine(1);
	const image = await pushImage(one, random(10));
	tell(one, [image]);
	const url = `http://${mesh(1)}:${port}/v2/web/manifests/${image.digest}`;
	const ask = (authorization: string) => fetch(url, { headers: { authorization } });
	// From 127.0.0.1, which is no peer's.
	expect((await ask("Bearer key1+key2")).status).toBe(403);
	expect((await ask(one.headers.authorization)).status).toBe(403);
});

test("what is not to be kept is passed on, once for all who ask, and leaves nothing", async () => {
	const [one, two] = [await machine(1), await machine(2)];
	const layer = random(5_000_000);
	const image = await pushImage(one, layer);
	tell(one, [image]);
	tell(two, [{ ...image, keep: false }]);
	const get = async (range?: string) => {
		const reply = await fetch(`${two.url}/web/blobs/${sha256(layer)}`, {
			headers: { ...two.headers, ...(range && { range }) },
		});
		return [reply.status, new Uint8Array(await reply.arrayBuffer())] as const;
	};
	const replies = await Promise.all([get(), get(), get("bytes=1000000-")]);
	expect(replies.map(([status, bytes]) => [status, sha256(bytes)])).toEqual([
		[200, sha256(layer)],
		[200, sha256(layer)],
		[206, sha256(layer.subarray(1_000_000))],
	]);
	expect(await halves(two)).toEqual([]);
	expect(two.keeper.whole()).toEqual([]);
});

test("a holder that breaks off is followed by the next, from where it was", async () => {
	const [two, three] = [await machine(2), await machine(3)];
	const layer = random(4_000_000);
	const image = await pushImage(two, layer);
	tell(two, [image]);
	// Asked first, it has some of the layer and nothing else.
	const broken = createServer((socket) => {
		socket.on("error", () => {});
		socket.once("data", (asked) => {
			if (!asked.toString().includes(sha256(layer))) socket.end("HTTP/1.1 404 None\r\n\r\n");
			else {
				socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${layer.length}\r\n\r\n`);
				socket.end(layer.subarray(0, 1_500_000));
			}
		});
	});
	servers.push(broken);
	await new Promise<void>((resolve) => broken.listen(port, mesh(1), resolve));
	const whole = changed(three);
	tell(three, [{ ...image, holders: [nodeId(1), nodeId(2)] }]);
	await whole;
	expect(three.keeper.whole()).toEqual([image.digest]);
	expect(three.keeper.warnings).toEqual([]);
});

test("a wrong blob is given to nobody whole, and not kept", async () => {
	const [one, two] = [await machine(1), await machine(2)];
	const layer = random(100_000);
	const image = await pushImage(one, layer);
	await writeFile(fileOf(one, sha256(layer)), random(layer.length));
	tell(one, [image]);
	tell(two, [{ ...image, keep: false }]);
	const got = await fetch(`${two.url}/web/blobs/${sha256(layer)}`, { headers: two.headers })
		.then((reply) => reply.arrayBuffer())
		.then(
			(bytes) => bytes.byteLength,
			() => "broken off",
		);
	expect(got).toBe("broken off");
	expect(await halves(two)).toEqual([]);
	expect(await readdir(join(two.dir, "blobs"))).toEqual([]);
	// Another that has it is asked before the one whose was wrong.
	const three = await machine(3);
	const same = await pushImage(three, layer);
	tell(three, [same]);
	tell(two, [{ ...image, keep: false, holders: [nodeId(1), nodeId(3)] }]);
	const again = await fetch(`${two.url}/web/blobs/${sha256(layer)}`, { headers: two.headers });
	expect(sha256(new Uint8Array(await again.arrayBuffer()))).toBe(sha256(layer));
});

test("what is named no more goes after an hour; what nobody else has stays", async () => {
	const one = await machine(1);
	const layers = [random(10), random(20), random(30)];
	const [gone, only, fresh] = [
		await pushImage(one, layers[0] as Uint8Array),
		await pushImage(one, layers[1] as Uint8Array),
		await pushImage(one, layers[2] as Uint8Array),
	];
	for (const { digest } of [gone, only]) {
		const long = new Date(Date.now() - 2 * hour);
		await utimes(join(one.dir, "manifests", digest.slice(7)), long, long);
	}
	one.clock.nowMs += 600_000;
	const swept = changed(one);
	tell(one, [{ ...only, keep: false }]);
	await swept;
	expect(one.keeper.whole()).toEqual([only.digest, fresh.digest].sort());
});

describe("an image for several architectures", () => {
	const type = "application/vnd.oci.image.index.v1+json";
	/** One machine has made it for the one, another for the other. */
	async function made() {
		const [one, two] = [await machine(1), await machine(2)];
		const layers = [random(100_000), random(200_000)] as const;
		const parts = [await pushImage(one, layers[0]), await pushImage(two, layers[1])] as const;
		const manifests = parts.map(({ digest }, at) => ({
			mediaType: "application/vnd.docker.distribution.manifest.v2+json",
			digest,
			size: 1,
			platform: { architecture: at === 0 ? "amd64" : "arm64", os: "linux" },
		}));
		const index = JSON.stringify({ schemaVersion: 2, mediaType: type, manifests });
		const digest = sha256(new TextEncoder().encode(index));
		const holders = [nodeId(1), nodeId(2)];
		const image = { repository: "web", digest, keep: false, holders, index };
		tell(one, [image, parts[0]]);
		tell(two, [image, parts[1]]);
		return { one, two, layers, parts, image };
	}
	const get = (on: Machine, kind: "manifests" | "blobs", digest: string) =>
		fetch(`${on.url}/web/${kind}/${digest}`, { headers: on.headers });

	test("is served where it is told, and each node fetches what it is to run", async () => {
		const { layers, parts, image } = await made();
		const three = await machine(3);
		tell(three, [image, { ...parts[1], keep: false }]);
		const index = await get(three, "manifests", image.digest);
		expect([index.status, index.headers.get("content-type")]).toEqual([200, type]);
		expect(await index.text()).toBe(image.index);
		const manifest = await get(three, "manifests", parts[1].digest);
		expect(manifest.status).toBe(200);
		const layer = await get(three, "blobs", sha256(layers[1]));
		expect(sha256(new Uint8Array(await layer.arrayBuffer()))).toBe(sha256(layers[1]));
		expect(three.keeper.whole()).toEqual([]);
		expect(three.keeper.warnings).toEqual([]);
		expect(await three.keeper.formOf(parts[1].digest)).toEqual({
			mediaType: "application/vnd.docker.distribution.manifest.v2+json",
			size: (await manifest.arrayBuffer()).byteLength,
		});
	});

	test("comes from its holders where an older agent does not read it", async () => {
		const { parts, image } = await made();
		const { index, ...older } = image;
		const three = await machine(3);
		tell(three, [older, { ...parts[0], keep: false }]);
		expect(await (await get(three, "manifests", image.digest)).text()).toBe(index);
	});

	test("that is not what its digest says is not kept", async () => {
		const { image } = await made();
		const three = await machine(3);
		tell(three, [{ ...image, index: `${image.index} `, holders: [] }]);
		expect((await get(three, "manifests", image.digest)).status).toBe(404);
		expect(await halves(three)).toEqual([]);
	});

	test("stays while it is told of, without what it names", async () => {
		const { one, two, parts, image } = await made();
		await get(one, "manifests", image.digest);
		const long = new Date(Date.now() - 2 * hour);
		for (const digest of [image.digest, parts[0].digest]) {
			await utimes(join(one.dir, "manifests", digest.slice(7)), long, long);
		}
		one.clock.nowMs += 600_000;
		const swept = changed(one);
		tell(one, [image]);
		await swept;
		expect(one.keeper.whole()).toEqual([]);
		expect(await readdir(join(one.dir, "manifests"))).toEqual([image.digest.slice(7)]);
		expect(two.keeper.whole()).toEqual([parts[1].digest]);
	});
});
