import { describe, expect, test } from "bun:test";
import { proxyFor } from "./proxy.ts";

describe("the proxy", () => {
	const environment = {
		HTTPS_PROXY: "http://p:1",
		http_proxy: "http://q:2",
		NO_PROXY: ".in, a.org",
	};
	test.each([
		["https://control.example", "http://p:1"],
		["http://control.example", "http://q:2"],
		["https://c.in", undefined],
		["https://a.org:8443", undefined],
		["https://b.a.org", undefined],
		["https://ba.org", "http://p:1"],
	])("for %s", (url, proxy) => {
		expect(proxyFor(new URL(url), environment)).toBe(proxy);
	});
	test("is none where none is named, or all are excepted", () => {
		expect(proxyFor(new URL("https://x.org"), {})).toBeUndefined();
		expect(proxyFor(new URL("https://x.org"), { ...environment, NO_PROXY: "*" })).toBeUndefined();
	});
});
