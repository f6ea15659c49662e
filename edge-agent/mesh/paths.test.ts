import { expect, test } from "bun:test";
import { compareRoutes } from "./paths.ts";

const own = { dst: "10.200.0.0/24", protocol: "kernel", scope: "link" };
const narrow = (address: string, mtu: number) => ({
	dst: address,
	scope: "link",
	metrics: [{ mtu }],
});

test.each([
	["nothing is narrow", {}, [own], []],
	[
		"a path becomes narrow",
		{ "10.200.0.2": 1280 },
		[own],
		["route replace 10.200.0.2/32 dev skein0 mtu 1280"],
	],
	["it is known", { "10.200.0.2": 1280 }, [own, narrow("10.200.0.2", 1280)], []],
	[
		"it is narrower still",
		{ "10.200.0.2": 1088 },
		[own, narrow("10.200.0.2", 1280)],
		["route replace 10.200.0.2/32 dev skein0 mtu 1088"],
	],
	["it is mended", {}, [own, narrow("10.200.0.2", 1280)], ["route del 10.200.0.2/32 dev skein0"]],
])("%s", (_, wanted, there, lines) => {
	const asked = new Map(Object.entries(wanted));
	expect(compareRoutes(asked, JSON.stringify(there))).toEqual(lines);
});
