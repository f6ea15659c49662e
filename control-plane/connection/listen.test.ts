import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, type NetConnectOpts } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Listener, listen, type Serve } from "./listen.ts";

const folder = mkdtempSync(join(tmpdir(), "skein-listen-"));
let listener: Listener;
afterEach(async () => {
	await listener.stop();
	rmSync(folder, { recursive: true, force: true });
});

/** `/echo` goes on in raw bytes and says back what it hears; `/refuse` does not. */
const serve: Serve = async (request, stdin) => {
	const { pathname } = new URL(request.url);
	if (pathname === "/refuse") return Response.json({ message: "no" }, { status: 409 });
	const said = request.method === "POST" ? await request.text() : "";
	if (!stdin) return new Response(`plain ${said}`);
	return new Response(stdin, { headers: { Upgrade: "tcp", "X-Said": said } });
};

const ways = ["a socket", "TCP"] as const;

async function open(way: (typeof ways)[number], given = serve): Promise<NetConnectOpts> {
	const path = join(folder, "skein.sock");
	await Bun.$`mkdir -p ${folder}`;
	listener = await listen(way === "TCP" ? { host: "127.0.0.1", port: 0 } : { path }, given);
	return way === "TCP" ? { host: "127.0.0.1", port: listener.port } : { path };
}

/** Sends a request that asks to go on, then `then`, then no more; gives all that came. */
function goOn(
	at: NetConnectOpts,
	path: string,
	then: Uint8Array,
	host = "skein",
): Promise<{ head: string; body: Buffer }> {
	return new Promise((resolve, reject) => {
		const socket = connect({ ...at, allowHalfOpen: true });
		let all = Buffer.alloc(0);
		let isOn = false;
		const headEnd = () => all.indexOf("\r\n\r\n");
		socket.write(
			`POST ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 5\r\n\r\nhello`,
		);
		socket.on("data", (bytes: Buffer) => {
			all = Buffer.concat([all, bytes]);
			if (isOn || headEnd() < 0) return;
			isOn = true;
			socket.end(then);
		});
		socket.on("error", reject);
		socket.on("end", () => {
			socket.end();
			resolve({ head: all.toString("latin1", 0, headEnd()), body: all.subarray(headEnd() + 4) });
		});
	});
}

describe.each(ways)("over %s", (way) => {
	test("requests are answered", async () => {
		const at = await open(way);
		const init = "path" in at ? { unix: at.path } : {};
		const url = "path" in at ? "http://skein/x" : `http://127.0.0.1:${listener.port}/x`;
		const reply = await fetch(url, { ...init, method: "POST", body: "hello" } as RequestInit);
		expect(await reply.text()).toBe("plain hello");
	});

	test("a connection goes on in raw bytes, megabytes of them, until its client has said all", async () => {
		const at = await open(way);
		const sent = new Uint8Array(5_000_011).map((_, at) => at % 251);
		const { head, body } = await goOn(at, "/echo", sent);
		expect(head).toStartWith("HTTP/1.1 101 UPGRADED\r\n");
		expect(head).toContain("\r\nConnection: Upgrade\r\nUpgrade: tcp");
		expect(head.toLowerCase()).toContain("x-said: hello");
		expect(Bun.hash(body)).toBe(Bun.hash(sent));
	});

	test("a client that names the socket's path as its host is understood", async () => {
		const at = await open(way);
		const { body } = await goOn(at, "/echo", Buffer.from("hi"), "/run/skein.sock");
		expect(body.toString()).toBe("hi");
	});

	test("a refusal is a plain answer, and the end", async () => {
		const at = await open(way);
		const { head, body } = await goOn(at, "/refuse", new Uint8Array());
		expect(head).toStartWith("HTTP/1.1 409 ");
		expect(JSON.parse(body.toString())).toEqual({ message: "no" });
	});

	test("a client that is gone is noticed, and what it was sent ends", async () => {
		const gone = Promise.withResolvers<void>();
		const cancelled = Promise.withResolvers<void>();
		const at = await open(way, (request) => {
			request.signal.addEventListener("abort", () => gone.resolve());
			// Over TCP a client that is gone and one that has said all look the same, until it is written to.
			const endless = new ReadableStream<Uint8Array>({
				async pull(to) {
					await Bun.sleep(20);
					to.enqueue(new Uint8Array(8));
				},
				cancel: () => cancelled.resolve(),
			});
			return new Response(endless, { headers: { Upgrade: "tcp" } });
		});
		const socket = connect(at);
		socket.write("POST /x HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
		await new Promise((resolve) => socket.once("data", resolve));
		socket.destroy();
		await Promise.all([gone.promise, cancelled.promise]);
	});
});

test("silence is no reason to end an answer", async () => {
	const at = await open("TCP", () => {
		const late = new ReadableStream<Uint8Array>({
			async start(to) {
				// Bun's own server would have given up after ten seconds.
				await Bun.sleep(12_000);
				to.enqueue(new TextEncoder().encode("at last"));
				to.close();
			},
		});
		return new Response(late);
	});
	const port = "port" in at ? at.port : 0;
	expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("at last");
}, 30_000);
