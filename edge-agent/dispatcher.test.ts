import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { isKnown, openDispatcher } from "./dispatcher.ts";

// The proxy of a company network, as far as its first line.
let proxy: Bun.TCPSocketListener;
const asked: string[] = [];
beforeAll(() => {
	proxy = Bun.listen({
		hostname: "127.0.0.1",
		port: 0,
		socket: {
			data(socket, bytes) {
				asked.push(bytes.toString().split("\r\n")[0] ?? "");
				socket.end("HTTP/1.1 502 nobody there\r\n\r\n");
			},
		},
	});
});
afterAll(() => proxy.stop(true));

/** What a process with this environment does when its agent calls the control plane. */
async function call(url: string, environment: Record<string, string>): Promise<string[]> {
	asked.length = 0;
	const dispatcher = join(import.meta.dir, "dispatcher.ts");
	const script = `import { openDispatcher } from ${JSON.stringify(dispatcher)};
		await openDispatcher(${JSON.stringify(url)}, "credential").leave().catch(() => undefined);`;
	const child = Bun.spawn([process.execPath, "-e", script], {
		env: { PATH: process.env["PATH"] ?? "", ...environment },
		stdout: "ignore",
	});
	await child.exited;
	return [...asked];
}

test("the control plane is called through the proxy that the environment names", async () => {
	const address = `http://127.0.0.1:${proxy.port}`;
	const tunnelled = await call("https://control.invalid", { HTTPS_PROXY: address });
	expect(tunnelled).toEqual(["CONNECT control.invalid:443 HTTP/1.1"]);
	const passed = await call("http://control.invalid", { HTTP_PROXY: address });
	expect(passed).toEqual(["POST http://control.invalid/agent/leave HTTP/1.1"]);
});

test("and not where the environment leaves it out", async () => {
	const address = `http://127.0.0.1:${proxy.port}`;
	expect(await call("http://127.0.0.1:1", { HTTP_PROXY: address, NO_PROXY: "127.0.0.1" })).toEqual(
		[],
	);
});

test("only the control plane's own word makes a node unknown, not its silence", async () => {
	const answers: number[] = [];
	using server = Bun.serve({
		hostname: "127.0.0.1",
		port: 0,
		fetch: () => new Response(null, { status: answers.shift() ?? 500 }),
	});
	const known = (...statuses: number[]) => {
		answers.push(...statuses);
		return isKnown(openDispatcher(`http://127.0.0.1:${server.port}`, "credential"));
	};
	expect(await known(503, 200)).toBe(true);
	expect(await known(401)).toBe(false);
	expect(await known(410)).toBe(false);
});
