// Whom a forwarded request is from: nobody becomes somebody else by writing a header.

import { expect, test } from "bun:test";
import { clientOf, parseTrusted } from "./proxies.ts";

const trusted = parseTrusted("10.0.0.0/24, 192.0.2.1\n2001:db8::1 fd00:1::/64, fd00:2::77/64");

test.each([
	["nothing said", "203.0.113.9", null, "203.0.113.9"],
	["a stranger's header is not read", "203.0.113.9", "198.51.100.1", "203.0.113.9"],
	["nor one that names a proxy of ours", "203.0.113.9", "10.0.0.5", "203.0.113.9"],
	["a proxy's word", "10.0.0.5", "203.0.113.9", "203.0.113.9"],
	["what the client wrote before it", "10.0.0.5", "198.51.100.1, 203.0.113.9", "203.0.113.9"],
	["the client writes our own proxy", "10.0.0.5", "10.0.0.7, 203.0.113.9", "203.0.113.9"],
	["two proxies", "10.0.0.5", "198.51.100.1, 203.0.113.9,192.0.2.1", "203.0.113.9"],
	["just outside of the range", "10.0.1.5", "203.0.113.9", "10.0.1.5"],
	["nobody but proxies", "10.0.0.5", "10.0.0.7, 192.0.2.1", "10.0.0.7"],
	["a proxy that says nothing", "10.0.0.5", null, "10.0.0.5"],
	["a hop without an address", "10.0.0.5", "203.0.113.9, unknown", "10.0.0.5"],
	["what is no address", "10.0.0.5", "'; drop table audit", "10.0.0.5"],
	["four numbers, and no address", "10.0.0.5", "1.2.3.999", "10.0.0.5"],
	["with a port", "10.0.0.5", "203.0.113.9:40000", "203.0.113.9"],
	["IPv6", "2001:DB8:0::1", "2001:db8:0:0::9", "2001:db8::9"],
	["an IPv6 range", "fd00:1::5", "fd00:1::1, 2001:db8::9, fd00:2::1", "2001:db8::9"],
	["just outside of it", "fd00:1:0:1::5", "203.0.113.9", "fd00:1:0:1::5"],
	["a peer that is no address", "", "203.0.113.9", ""],
	["IPv6 with a port", "10.0.0.5", "[2001:db8::9]:40000", "2001:db8::9"],
	["IPv4 at a socket of both kinds", "::ffff:10.0.0.5", "203.0.113.9", "203.0.113.9"],
	["and without a proxy", "::ffff:203.0.113.9", null, "203.0.113.9"],
])("%s", (_what, peer, header, client) => {
	expect(clientOf(peer, header, trusted)).toBe(client);
});

test("without trusted proxies no header counts", () => {
	for (const none of [parseTrusted(undefined), parseTrusted("")]) {
		expect(clientOf("127.0.0.1", "203.0.113.9", none)).toBe("127.0.0.1");
	}
});

const none = [
	"10.0.0.0/33",
	"proxy.example.com",
	"10.0.0",
	"2001:db8::/129",
	"::1/",
	"fd00::/x",
	"*",
];

test.each(none)("SKEIN_TRUSTED_PROXY=%s is refused with an example", (text) => {
	expect(() => parseTrusted(text)).toThrow(
		/SKEIN_TRUSTED_PROXY: .*10\.0\.0\.0\/24 or 2001:db8::\/32/,
	);
});
