// Bad input at every route: no answer says that we broke, nothing is logged as a fault, memory stays bounded.
//
// The routes are the app's own list, so a new one is in it. What is thrown at them is drawn from a seed, which a failure
// prints; SKEIN_FUZZ_SEED draws another hand.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:net";
import { app } from "../../control-plane/app.ts";
import { listen } from "../../control-plane/connection/listen.ts";
import { describeMachine } from "./agent.ts";
import { type Here, startHere } from "./here.ts";

const seed = Number(process.env["SKEIN_FUZZ_SEED"] ?? 20_261_128);
const deepest = 20_000;
const patienceMs = 40;
/** Of a whole round; what a leak of bodies would exceed by far. */
const growthBytes = 200 * 2 ** 20;

let here: Here;
let credential = "";
beforeAll(async () => {
	here = await startHere();
	const swarm = (await (await here.ask("/swarm")).json()) as { JoinTokens: { Worker: string } };
	const joined = await here.ask("/agent/join", {
		method: "POST",
		body: JSON.stringify({ token: swarm.JoinTokens.Worker, description: describeMachine(1) }),
	});
	credential = ((await joined.json()) as { credential: string }).credential;
	const service = { Name: "web", TaskTemplate: { ContainerSpec: { Image: "nginx" } } };
	await here.ask("/services/create", { method: "POST", body: JSON.stringify(service) });
	await here.ask("/networks/create", { method: "POST", body: `{"Name":"net","Driver":"overlay"}` });
	await here.ask("/secrets/create", { method: "POST", body: `{"Name":"s","Data":"YQ=="}` });
});
afterAll(() => here.stop());

/** From 0 to 1, the same every time. */
function dice(): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}

const next = dice();
const pick = <Item>(items: readonly Item[]): Item =>
	items[Math.floor(next() * items.length)] as Item;

const names = [
	...[
		"web",
		"net",
		"s",
		"default",
		"nosuch",
		".",
		"..",
		"%2e%2e",
		"%00",
		"%ff",
		"%",
		"a%2fb",
		"%0d%0a",
	],
	...[
		"web'--",
		"*",
		"__proto__",
		"constructor",
		"é",
		"☃",
		"a".repeat(5_000),
		"-1",
		"1e999",
		"null",
	],
];

const texts = [
	"",
	"\0",
	"\ud800",
	"__proto__",
	"x".repeat(70_000),
	"'; drop table node; --",
	"../../etc",
];
const odd = [null, true, -1, 0, 1e308, -0.5, 2 ** 53 + 2, [], {}, [[]], [null], { a: 1 }];

const fields = [
	...[
		"Name",
		"Labels",
		"Spec",
		"Data",
		"TaskTemplate",
		"ContainerSpec",
		"Image",
		"Mode",
		"Replicated",
	],
	...[
		"Replicas",
		"Networks",
		"EndpointSpec",
		"Ports",
		"IPAM",
		"Config",
		"Driver",
		"Options",
		"Version",
	],
	...[
		"Role",
		"Availability",
		"token",
		"description",
		"tasks",
		"applied",
		"attached",
		"names",
		"task",
	],
	...[
		"hash",
		"email",
		"password",
		"name",
		"role",
		"scopes",
		"organization",
		"username",
		"expiresMs",
	],
	...[
		"Cmd",
		"AttachStdin",
		"Detach",
		"Env",
		"Mounts",
		"Placement",
		"Constraints",
		"Resources",
		"Limits",
	],
];

function value(depth = 0): unknown {
	const roll = next();
	if (depth > 3 || roll < 0.3) return pick(odd);
	if (roll < 0.55) return pick(texts);
	if (roll < 0.7) return Array.from({ length: 1 + Math.floor(next() * 3) }, () => value(depth + 1));
	const entries = Array.from({ length: 1 + Math.floor(next() * 6) }, () => [
		pick(fields),
		value(depth + 1),
	]);
	return Object.fromEntries(entries);
}

const json = () => JSON.stringify(value());

const bodies: readonly (() => string | Uint8Array<ArrayBuffer>)[] = [
	json,
	json,
	json,
	() => json().slice(0, -1),
	() => "",
	() => "\ufeff{}",
	() => `${"[".repeat(deepest)}${"]".repeat(deepest)}`,
	() => `${'{"Labels":'.repeat(deepest)}1${"}".repeat(deepest)}`,
	() => `{"Name":${"9".repeat(5_000)}}`,
	() => `{"Name":"${"x".repeat(2_000_000)}"}`,
	() => new Uint8Array([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]),
	() => new Uint8Array(Array.from({ length: 300 }, () => Math.floor(next() * 256))),
	() => `{"__proto__":{"x":1},"constructor":{"prototype":{}}}`,
];

const queries = [
	...["", "?filters={", "?filters=[]", '?filters={"name":{"x":1}}', '?filters={"label":["=",""]}'],
	...["?version=-1", "?version=1e9", "?version=99999999999999999999", "?tail=-1&since=x&until=%ff"],
	...[
		"?follow=2&stdout=1",
		"?since=1e400",
		"?revision=NaN&hash=%00",
		"?force=%25",
		`?x=${"y".repeat(20_000)}`,
	],
	...["?limit=-5", "?limit=1e9&before=zz", "?a=1&a=2&a=3", "?&&==&?", "?path=../../../etc&path=\\"],
];

const headers: readonly Record<string, string>[] = [
	{},
	{ "Content-Type": "text/xml" },
	{ "Content-Type": "application/json; charset=utf-16" },
	{ "Content-Encoding": "gzip", "Content-Type": "application/json" },
	{ "X-Registry-Auth": "%%%not-base64" },
	{ "X-Registry-Auth": btoa("[".repeat(1_000)) },
	{ "skein-protocol": "1e3" },
	{ "X-Forwarded-For": "x".repeat(2_000), "X-Forwarded-Proto": "gopher" },
	{ Upgrade: "tcp", Connection: "Upgrade" },
	{ Cookie: `session=${"a".repeat(3_000)}; =; ;;` },
	{ "If-None-Match": "*", Range: "bytes=9-1" },
];

const routes = app({ version: "0", insecureRegistries: [] })
	.routes.filter(({ path, method }) => method !== "ALL" && !path.startsWith("/:version"))
	.map(({ path, method }) => ({ path, method }));

/** Would end what the others are tried on. */
const spared =
	/^DELETE \/api\/(account|clusters)|^POST \/(swarm\/leave|agent\/leave)|sign-out|\/move/;

/** An answer may go on for ever: its beginning will do. */
async function thrown(path: string, init: RequestInit): Promise<number | "held"> {
	const over = new AbortController();
	const signal = over.signal;
	const asked = here.ask(path, { ...init, signal }).then(async (reply) => {
		await reply.body?.cancel().catch(() => undefined);
		return reply.status;
	});
	const late = Promise.withResolvers<"held">();
	const timer = setTimeout(() => late.resolve("held"), patienceMs);
	const found = await Promise.race([asked, late.promise]);
	clearTimeout(timer);
	over.abort();
	return found;
}

test("every route bears what is thrown at it", async () => {
	expect(routes.length).toBeGreaterThan(60);
	const before = process.memoryUsage.rss();
	const broken: string[] = [];
	const statuses = new Map<number | "held", number>();
	for (const { path, method } of routes) {
		if (spared.test(`${method} ${path}`)) continue;
		for (let time = 0; time < 6; time++) {
			const filled = path.replaceAll(/:\w+(\{[^}]*\})?\??|\*/g, () => pick(names));
			const isAgents = path.startsWith("/agent");
			const body = method === "GET" || method === "HEAD" ? undefined : pick(bodies)();
			const init: RequestInit = {
				method,
				headers: {
					...pick(headers),
					...(isAgents && next() < 0.8 && { Authorization: `Bearer ${credential}` }),
				},
				...(body !== undefined && { body }),
			};
			here.logged.length = 0;
			const prefix = pick(["", "", "", "/v1.41"]);
			const status = await thrown(`${prefix}${filled}${pick(queries)}`, init);
			statuses.set(status, (statuses.get(status) ?? 0) + 1);
			// Docker says some of its refusals with 500, and its clients know those; a fault of ours is in the log.
			const faults = here.logged.filter(({ level }) => level === "error");
			if (faults.length > 0) {
				const shown = String(body ?? "").slice(0, 200);
				broken.push(`${method} ${path} ${status} ${shown}: ${faults[0]?.message}`);
			}
		}
	}
	console.log(
		`seed ${seed}: ${[...statuses].map(([status, times]) => `${status} ×${times}`).join(", ")}`,
	);
	expect(broken).toEqual([]);
	Bun.gc(true);
	expect(process.memoryUsage.rss() - before).toBeLessThan(growthBytes);
	expect((await here.ask("/info")).status).toBe(200);
}, 60_000);

test("bodies that are too long, too slow or broken off, and paths with tricks, over a real connection", async () => {
	const listener = await listen({ host: "127.0.0.1", port: 0 }, (request) => here.fetch(request));
	const say = (text: string, more?: (write: (text: string) => boolean) => Promise<void>) =>
		new Promise<string>((resolve) => {
			const socket = connect(listener.port, "127.0.0.1", async () => {
				socket.write(text);
				await more?.((each) => !socket.destroyed && socket.write(each));
				if (more) socket.destroy();
			});
			let heard = "";
			socket.on("data", (bytes) => {
				heard += bytes;
				if (!more) socket.end();
			});
			socket.on("error", () => undefined);
			socket.on("close", () => resolve(heard));
		});
	const head = (first: string, ...rest: string[]) =>
		[
			`${first} HTTP/1.1`,
			"Host: x",
			`Authorization: Bearer ${here.token}`,
			"Connection: close",
			...rest,
		]
			.join("\r\n")
			.concat("\r\n\r\n");
	here.logged.length = 0;
	const said = await Promise.all([
		say(head("GET /../../etc/passwd")),
		say(head("GET //services")),
		say(head("GET /services/%2e%2e%2fswarm")),
		say(head("GET /services\\..\\nodes")),
		say(head("GET http://other.example/services")),
		say(head("GET *")),
		say(head("GET /\x7f\xff")),
		say(head("FROB /services")),
		say(head("POST /services/create", "Content-Length: -1")),
		say(head("POST /services/create", "Content-Length: 5", "Transfer-Encoding: chunked")),
		say(`${head("POST /services/create", "Transfer-Encoding: chunked")}zz\r\n{}\r\n`),
		say(head("GET /services", `X-Long: ${"x".repeat(100_000)}`)),
	]);
	expect(said.filter((text) => / 500 /.test(text.split("\r\n")[0] ?? ""))).toEqual([]);
	// A byte now and then, and gone in the middle; somebody who never stops.
	await say(head("POST /services/create", "Content-Length: 1000"), async (write) => {
		for (let sent = 0; sent < 20; sent++) {
			write("{");
			await Bun.sleep(5);
		}
	});
	const before = process.memoryUsage.rss();
	let sent = 0;
	await say(head("POST /agent/report", "Content-Length: 4000000000"), async (write) => {
		const chunk = " ".repeat(2 ** 20);
		for (; sent < 100 && write(chunk); sent++) await Bun.sleep(1);
	});
	expect(process.memoryUsage.rss() - before).toBeLessThan(growthBytes);
	expect((await fetch(`http://127.0.0.1:${listener.port}/_ping`)).status).toBe(200);
	expect(here.logged.filter(({ level }) => level === "error")).toEqual([]);
	await listener.stop();
}, 30_000);
