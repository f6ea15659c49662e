import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { keepOpen } from "./line.ts";

let answersPings = true;
const heard: string[] = [];
const server = Bun.serve({
	port: 0,
	hostname: "127.0.0.1",
	fetch: (request, self) =>
		new URL(request.url).pathname === "/bell" && self.upgrade(request, { data: undefined })
			? undefined
			: new Response("no", { status: 404 }),
	websocket: {
		open: (socket) => void socket.send("news"),
		message(socket, message) {
			heard.push(String(message));
			if (answersPings) socket.send("pong");
		},
	},
});
afterAll(() => server.stop(true));
beforeEach(() => {
	answersPings = true;
	heard.length = 0;
});

function open(path: string, pingMs: number) {
	const off = new AbortController();
	let rings = 0;
	const over = keepOpen(
		new WebSocket(`ws://127.0.0.1:${server.port}${path}`),
		pingMs,
		() => rings++,
		off.signal,
	);
	return { over, off, rings: () => rings };
}

const until = async (so: () => boolean) => {
	while (!so()) await Bun.sleep(1);
};

describe("a line", () => {
	test("rings when it opens and at each word, pings, and closes with the signal", async () => {
		const { over, off, rings } = open("/bell", 5);
		await until(() => rings() === 2 && heard.length > 3);
		expect(new Set(heard)).toEqual(new Set(["ping"]));
		off.abort();
		await over;
		expect(rings()).toBe(2);
	});

	test("on which no ping is answered ends", async () => {
		answersPings = false;
		await open("/bell", 20).over;
		expect(heard.length).toBeGreaterThan(0);
	});

	test("that is refused says so", async () => {
		expect(open("/other", 1_000).over).rejects.toThrow("cannot be opened");
	});
});
