import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DecodedPacket, decode, encode, RECURSION_DESIRED } from "dns-packet";
import { DnsServer } from "./server.ts";
import { Frames, framed, parseResolvConf } from "./upstream.ts";
import { assignment } from "./zone.test-data.ts";
import { zone } from "./zone.ts";

const names = zone(assignment);

function query(name: string, id = 4711): Buffer {
	const questions = [{ name, type: "A" as const }];
	return encode({ type: "query", id, flags: RECURSION_DESIRED, questions });
}

async function askUdp(
	bytes: Uint8Array,
	port: number,
	address = "127.0.0.1",
): Promise<DecodedPacket> {
	const socket = createSocket("udp4");
	const { promise, resolve } = Promise.withResolvers<Buffer>();
	socket.on("message", resolve);
	socket.send(bytes, port, address);
	return decode(await promise.finally(() => socket.close()));
}

async function askTcp(bytes: Uint8Array, port: number): Promise<DecodedPacket> {
	const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
	const frames = new Frames();
	const socket = connect({ host: "127.0.0.1", port });
	socket.on("error", reject);
	socket.on("data", (chunk) => frames.push(Buffer.from(chunk)).forEach(resolve));
	// In pieces, as a network may bring it.
	const whole = framed(bytes);
	socket.write(whole.subarray(0, 5));
	setTimeout(() => socket.write(whole.subarray(5)), 20);
	return decode(Buffer.from(await promise.finally(() => socket.destroy())));
}

const first = (packet: DecodedPacket) => (packet.answers?.[0] as { data?: unknown })?.data;
const codeOf = (packet: DecodedPacket) => (packet as unknown as { rcode: string }).rcode;

/** A name server of the machine's: answers each question with its own address, `refused.` with a refusal. */
async function startUpstream(address: string, port: number) {
	const asked: string[] = [];
	const reply = (bytes: Uint8Array) => {
		const packet = decode(Buffer.from(bytes));
		const name = packet.questions?.[0]?.name ?? "";
		asked.push(name);
		const isRefused = name === `refused.${address}`;
		return encode({
			type: "response",
			id: packet.id ?? 0,
			flags: isRefused ? 5 : 0,
			questions: packet.questions ?? [],
			answers: isRefused ? [] : [{ type: "A", name, data: address }],
		});
	};
	const udp = createSocket("udp4");
	udp.on("message", (bytes, from) => udp.send(reply(bytes), from.port, from.address));
	await new Promise<void>((resolve) => udp.bind(port, address, resolve));
	const tcp = createServer((socket) => {
		const frames = new Frames();
		socket.on("data", (chunk) => {
			for (const query of frames.push(Buffer.from(chunk))) socket.write(framed(reply(query)));
		});
	});
	await new Promise<void>((resolve) => tcp.listen(udp.address().port, address, resolve));
	return { udp, tcp, asked, port: udp.address().port };
}

// Elsewhere than on Linux 127.0.0.1 is the only address of its kind.
describe.skipIf(process.platform !== "linux")("the name server", () => {
	const folder = mkdtempSync(join(tmpdir(), "dns-"));
	const resolvConf = join(folder, "resolv.conf");
	const servers: DnsServer[] = [];
	const upstreams: { udp: Socket; tcp: Server; asked: string[]; port: number }[] = [];
	let port: number;

	const start = (upstreamPort: number) => {
		const server = new DnsServer({
			port,
			upstream: { resolvConf, port: upstreamPort, timeoutMs: 200 },
		});
		server.serve(names);
		servers.push(server);
		return server;
	};

	beforeAll(async () => {
		const taken = createSocket("udp4");
		await new Promise<void>((resolve) => taken.bind(0, "127.0.0.1", resolve));
		port = taken.address().port;
		taken.close();
		upstreams.push(await startUpstream("127.0.0.3", 0));
		upstreams.push(await startUpstream("127.0.0.4", upstreams[0]?.port ?? 0));
		writeFileSync(resolvConf, "nameserver 127.0.0.3\nnameserver 127.0.0.4\n");
		expect(await start(upstreams[0]?.port ?? 0).ensureListening(["127.0.0.1"])).toEqual([]);
	});
	afterAll(() => {
		rmSync(folder, { recursive: true });
		for (const server of servers) server.close();
		for (const { udp, tcp } of upstreams) {
			udp.close();
			tcp.close();
		}
	});

	test.each([askUdp, askTcp])("answers what it knows, and forwards the rest (%p)", async (ask) => {
		expect(first(await ask(query("web"), port))).toBe("10.0.5.2");
		const forwarded = await ask(query("example.com", 815), port);
		expect(first(forwarded)).toBe("127.0.0.3");
		expect(forwarded.id).toBe(815);
	});

	test("forwards to another server what one refuses, and to itself nothing", async () => {
		expect(first(await askUdp(query("refused.127.0.0.3"), port))).toBe("127.0.0.4");
		writeFileSync(
			resolvConf,
			"nameserver 127.0.0.1\nnameserver 10.200.0.2\nnameserver 127.0.0.4\n",
		);
		expect(first(await askUdp(query("other.com"), port))).toBe("127.0.0.4");
	});

	test("a server that is gone costs one question its patience, not every one", async () => {
		writeFileSync(resolvConf, "nameserver 127.0.0.9\nnameserver 127.0.0.3\n");
		const times: number[] = [];
		for (let turn = 0; turn < 4; turn++) {
			const startedNs = Bun.nanoseconds();
			expect(first(await askUdp(query(`gone${turn}.com`), port))).toBe("127.0.0.3");
			times.push((Bun.nanoseconds() - startedNs) / 1e6);
		}
		const slow = times.filter((ms) => ms >= 190);
		expect(slow.length).toBeLessThanOrEqual(1);
	});

	test("says so when nobody answers, and goes on", async () => {
		writeFileSync(resolvConf, "nameserver 127.0.0.9\n");
		expect(codeOf(await askUdp(query("example.com"), port))).toBe("SERVFAIL");
		expect(codeOf(await askTcp(query("example.com"), port))).toBe("SERVFAIL");
		writeFileSync(resolvConf, "");
		expect(codeOf(await askUdp(query("example.com"), port))).toBe("SERVFAIL");
		expect(first(await askUdp(query("web"), port))).toBe("10.0.5.2");
		writeFileSync(resolvConf, "nameserver 127.0.0.3\n");
	});

	test("a machine whose own resolver asks us back does not go round for ever", async () => {
		let asked = 0;
		const circle = createSocket("udp4");
		circle.on("message", async (bytes, from) => {
			asked += 1;
			const answer = await askUdp(bytes, port);
			circle.send(encode(answer), from.port, from.address);
		});
		const upstreamPort = upstreams[0]?.port ?? 0;
		await new Promise<void>((resolve) => circle.bind(upstreamPort, "127.0.0.5", resolve));
		writeFileSync(resolvConf, "nameserver 127.0.0.5\n");
		expect(codeOf(await askUdp(query("circle.com"), port))).toBe("SERVFAIL");
		expect(asked).toBeLessThanOrEqual(3);
		circle.close();
		writeFileSync(resolvConf, "nameserver 127.0.0.3\n");
	});

	test("noise, and askers who hang up, are survived", async () => {
		for (const bytes of [
			new Uint8Array(3),
			new Uint8Array(600).fill(255),
			query("web").subarray(0, 20),
		]) {
			const socket = createSocket("udp4");
			await new Promise((sent) => socket.send(bytes, port, "127.0.0.1", sent));
			socket.close();
		}
		for (let turn = 0; turn < 20; turn++) {
			const socket = createSocket("udp4");
			await new Promise((sent) => socket.send(query("web"), port, "127.0.0.1", sent));
			// The answer meets a closed port, and the refusal comes back to the server.
			socket.close();
			const tcp = connect({ host: "127.0.0.1", port }, () => tcp.destroy());
			tcp.on("error", () => {});
		}
		await Bun.sleep(50);
		expect(first(await askUdp(query("web"), port))).toBe("10.0.5.2");
		expect(first(await askTcp(query("web"), port))).toBe("10.0.5.2");
	});

	test("a second server takes over from the first without a gap", async () => {
		const [old] = servers;
		const young = start(upstreams[0]?.port ?? 0);
		expect(await young.ensureListening(["127.0.0.1"])).toEqual([]);
		old?.close();
		for (let turn = 0; turn < 20; turn++) {
			expect(first(await askUdp(query("web"), port))).toBe("10.0.5.2");
		}
		expect(first(await askTcp(query("web"), port))).toBe("10.0.5.2");
	});

	test("listens where it is told, and says where it cannot", async () => {
		const [, young] = servers;
		const holder = createSocket("udp4");
		await new Promise<void>((resolve) => holder.bind(port, "127.0.0.6", resolve));
		const problems = await young?.ensureListening([
			"127.0.0.1",
			"127.0.0.2",
			"127.0.0.6",
			"192.0.2.1",
		]);
		expect(problems).toHaveLength(2);
		expect(problems?.[0]).toMatch(/127\.0\.0\.6.*EADDRINUSE.*find the program.*ss -lntup/);
		expect(problems?.[1]).toMatch(/192\.0\.2\.1.*EADDRNOTAVAIL.*again by itself/);
		expect(first(await askUdp(query("web"), port, "127.0.0.2"))).toBe("10.0.5.2");
		holder.close();
		expect(await young?.ensureListening(["127.0.0.6"])).toEqual([]);
		expect(first(await askUdp(query("web"), port, "127.0.0.6"))).toBe("10.0.5.2");
	});
});

test("resolv.conf as people write it", () => {
	const text =
		"# nameserver 1.1.1.1\nsearch a.b\nnameserver 127.0.0.53\n nameserver\t8.8.8.8  \nnameserver ::1\n";
	expect(parseResolvConf(text)).toEqual(["127.0.0.53", "8.8.8.8"]);
});
