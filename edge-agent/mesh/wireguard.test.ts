import { describe, expect, test } from "bun:test";
import type { NodeId } from "../../model/id.ts";
import type { Mesh } from "./topology.ts";
import { diagnose, isSame, nextEndpoint, parseDump, showConf } from "./wireguard.ts";

const dump = [
	"PRIVATE\tPUBLIC\t51820\toff",
	"keyB\t(none)\t192.168.77.2:51820\t10.200.0.2/32\t1700000000\t92\t180\t25",
	"keyC\t(none)\t(none)\t(none)\t0\t0\t0\toff",
].join("\n");

test("reads what wg says", () => {
	const seen = parseDump(`${dump}\n`);
	expect([seen.privateKey, seen.port]).toEqual(["PRIVATE", 51820]);
	expect(Object.fromEntries(seen.peers)).toEqual({
		keyB: {
			endpoint: "192.168.77.2:51820",
			allowedIps: "10.200.0.2/32",
			handshakeMs: 1_700_000_000_000,
			keepaliveS: 25,
		},
		keyC: { endpoint: null, allowedIps: "", handshakeMs: 0, keepaliveS: 0 },
	});
});

test("an interface without peers is one line", () => {
	expect(parseDump("(none)\t(none)\t0\toff\n").peers.size).toBe(0);
});

describe("which endpoint to set", () => {
	const nowMs = 1_000_000;
	const two = ["10.0.0.1:51820", "192.0.2.1:51820"];
	const fresh = nowMs - 60_000;
	const stale = nowMs - 150_000;
	test.each([
		["the best, for a peer that is new", two, undefined, {}, "10.0.0.1:51820"],
		["the best, for one that has none", two, [null, 0], {}, "10.0.0.1:51820"],
		["none, for one that can only call us", [], undefined, {}, null],
		["none, while it works", two, [two[0], fresh], {}, null],
		["none, while it works, wherever it has moved", two, ["203.0.113.9:4711", fresh], {}, null],
		["the next, when nobody answers there", two, [two[0], stale], {}, two[1]],
		["the next, round and round", two, [two[1], stale], {}, two[0]],
		["the first, when it moved away and went silent", two, ["203.0.113.9:4711", stale], {}, two[0]],
		["the next, at once, when the watch says so", two, [two[0], fresh], { silent: true }, two[1]],
		["none yet, so soon after the last", two, [two[0], 0], { rotatedMs: nowMs - 5_000 }, null],
		["none, where there is no other", two.slice(0, 1), [two[0], stale], {}, null],
		[
			"the new one, when the only one has changed",
			["10.0.0.7:51820"],
			[two[0], stale],
			{},
			"10.0.0.7:51820",
		],
	] as const)("%s", (_, endpoints, seen, facts, want) => {
		const found = seen && { endpoint: seen[0] ?? null, handshakeMs: seen[1] };
		expect(
			nextEndpoint({ endpoints }, found, { nowMs, rotatedMs: 0, silent: false, ...facts }),
		).toBe(want ?? null);
	});
});

const mesh: Mesh = {
	address: "10.200.0.1",
	prefix: 24,
	port: 51820,
	mtu: 1420,
	peers: [
		{
			node: "b" as NodeId,
			hostname: "h2",
			down: false,
			publicKey: "keyB",
			meshAddress: "10.200.0.2",
			endpoints: ["h:1"],
			mtu: null,
		},
	],
};

describe("whether there is anything to set", () => {
	const only = (line: string) => parseDump(`${dump.split("\n")[0]}\n${line}\n`);
	const peer = "keyB\t(none)\th:1\t10.200.0.2/32\t0\t0\t0\t25";
	test.each([
		["nothing", peer, true],
		["a peer's endpoint is its own affair", peer.replace("h:1", "elsewhere:9"), true],
		["a peer is missing", "", false],
		["a peer is surplus", `${peer}\n${peer.replace("keyB", "keyD")}`, false],
		["a peer has another address", peer.replace("10.200.0.2", "10.200.0.3"), false],
		["a peer has two addresses", peer.replace("/32", "/32,10.9.0.0/16"), false],
		["no keepalive", peer.replace("25", "off"), false],
	])("%s", (_, line, want) => {
		expect(isSame(mesh, "PRIVATE", only(line))).toBe(want);
	});
	test("another key, or another port", () => {
		expect(isSame(mesh, "OTHER", only(peer))).toBe(false);
		expect(isSame({ ...mesh, port: 1 }, "PRIVATE", only(peer))).toBe(false);
	});
});

test("names an endpoint only where it is to be set", () => {
	expect(showConf(mesh, "PRIVATE", new Map())).not.toContain("Endpoint");
	expect(showConf(mesh, "PRIVATE", new Map([["keyB", "h:1"]]))).toBe(
		[
			"[Interface]",
			"PrivateKey = PRIVATE",
			"ListenPort = 51820",
			"",
			"[Peer]",
			"PublicKey = keyB",
			"AllowedIPs = 10.200.0.2/32",
			"PersistentKeepalive = 25",
			"Endpoint = h:1",
			"",
		].join("\n"),
	);
});

describe("why a peer is silent", () => {
	const nowMs = 1_700_000_100_000;
	const [peer] = mesh.peers;
	const silent = new Set(["keyB"]);
	const seen = parseDump(dump);
	const said = (over: object, at = nowMs, who: ReadonlySet<string> = silent) =>
		diagnose({ ...mesh, peers: peer ? [{ ...peer, ...over }] : [] }, seen, at, who).join();
	test.each([
		["WireGuard works, so it is what is above it", {}, nowMs, "answers WireGuard and not the mesh"],
		["no handshake, so it is what is below", {}, nowMs + 200_000, "does not answer at h:1"],
		["nowhere to call", { endpoints: [] }, nowMs, "--advertise-addr"],
	])("%s", (_, over, at, want) => {
		expect(said(over, at)).toContain(want);
	});
	test("nothing of those that answer, or that are known to be down", () => {
		expect(said({}, nowMs, new Set())).toBe("");
		expect(said({ down: true })).toBe("");
	});
});
