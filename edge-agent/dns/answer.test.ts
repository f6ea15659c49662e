import { describe, expect, test } from "bun:test";
import { answer } from "./answer.ts";
import { assignment } from "./zone.test-data.ts";
import { zone } from "./zone.ts";

const names = zone(assignment);

/** `A` and `PTR` data, sorted; the code where there is none; `forward`. */
function said(name: string, from: string, type = "A"): string {
	const reply = answer({ name, type }, names, from, () => 0.5);
	if (reply === "forward") return reply;
	const data = reply.records.map((record) => (record.type === "A" ? record.address : record.name));
	return data.length === 0 ? reply.code : data.sort().join(" ");
}

const inBlue = "10.0.5.12";
const inRed = "10.0.6.21";
/** One task, three addresses. */
const inAll = ["10.0.10.11", "10.0.5.11", "10.0.6.11"];

describe("what a name means", () => {
	test.each([
		["a service", "web", inBlue, "10.0.5.2"],
		["in capitals, with a dot", "WeB.", inBlue, "10.0.5.2"],
		["an alias", "www", inBlue, "10.0.5.2"],
		["an alias given in capitals", "shop", inBlue, "10.0.5.2"],
		["with its network", "web.blue", inBlue, "10.0.5.2"],
		["its tasks", "tasks.web", inBlue, "10.0.5.11 10.0.5.12"],
		["its tasks by alias and network", "tasks.shop.blue", inBlue, "10.0.5.11 10.0.5.12"],
		["one task", "web.2", inBlue, "10.0.5.12"],
		["one task, whole", "web.2.def", inBlue, "10.0.5.12"],
		["one task, with its network", "web.2.blue", inBlue, "10.0.5.12"],
		["a service without tasks", "idle", inBlue, "10.0.5.3"],
		["the tasks it does not have", "tasks.idle", inBlue, "NOERROR"],
		["a container that somebody attached", "tool", inBlue, "10.0.5.161"],
		["its alias", "hammer", inBlue, "10.0.5.161"],
		["a service without VIP", "redis", inRed, "10.0.6.21 10.0.6.22"],
		["a service without VIP and tasks", "lonely", inRed, "NOERROR"],
		["tasks of nobody", "tasks.nobody", inBlue, "NXDOMAIN"],
		["a stranger", "example.com", inBlue, "forward"],
		["a single word that nobody has", "nobody", inBlue, "forward"],
		["a stranger under a network's name", "nobody.blue", inBlue, "forward"],
	])("%s", (_, name, from, want) => expect(said(name, from)).toBe(want));

	test.each(["AAAA", "MX", "TXT", "SRV", "TYPE65"])(
		"of type %s there is none, without error",
		(type) => {
			expect(said("web", inBlue, type)).toBe("NOERROR");
			expect(said("example.com", inBlue, type)).toBe("forward");
		},
	);

	test("ANY gives the addresses", () => expect(said("web", inBlue, "ANY")).toBe("10.0.5.2"));
});

describe("who sees what", () => {
	test.each([
		["another network's service", "web", inRed, "NXDOMAIN"],
		["with the network's name too", "web.blue", inRed, "NXDOMAIN"],
		["a task in that network", "redis", inBlue, "NXDOMAIN"],
		...inAll.flatMap((from) => [
			["a task in both sees the one", "web", from, "10.0.5.2"] as const,
			["and the other", "redis", from, "10.0.6.21 10.0.6.22"] as const,
		]),
		["a container in both, too", "redis", "10.0.5.161", "10.0.6.21 10.0.6.22"],
		["a name in both means the first network's", "web.1", "10.0.5.11", "10.0.5.11"],
		["unless it says which", "web.1.red", "10.0.5.11", "10.0.6.11"],
		["one that started a moment ago", "web", "10.0.5.170", "10.0.5.2"],
		["sees its network only", "redis", "10.0.5.170", "NXDOMAIN"],
		["the node", "redis", "127.0.0.1", "10.0.6.21 10.0.6.22"],
		["the node, by the mesh", "web", "10.200.0.1", "10.0.5.2"],
		["another node's containers, by that node", "web", "10.200.0.2", "10.0.5.2"],
		["as far as it has any", "web", "10.200.0.3", "NXDOMAIN"],
		["somebody else's container", "web", "172.17.0.5", "forward"],
	])("%s (%s from %s)", (_, name, from, want) => expect(said(name, from)).toBe(want));
});

describe("whose an address is", () => {
	test.each([
		["a VIP", "2.5.0.10", inBlue, "web.blue"],
		["a task", "12.5.0.10", inBlue, "web.2.blue"],
		["a container", "161.5.0.10", inBlue, "tool.blue"],
		["a task, by the network of published ports", "11.10.0.10", "10.0.10.11", "web.1.ingress"],
		["nobody's", "77.5.0.10", inBlue, "NXDOMAIN"],
		["a network out of sight", "21.6.0.10", inBlue, "NXDOMAIN"],
		["the world's", "8.8.8.8", inBlue, "forward"],
		["no address", "1.2.3", inBlue, "forward"],
	])("%s", (_, reversed, from, want) => {
		expect(said(`${reversed}.in-addr.arpa`, from, "PTR")).toBe(want);
	});

	test("and what it gives can be asked", () => {
		for (const address of ["10.0.5.2", "10.0.5.12", "10.0.5.161"]) {
			const reversed = address.split(".").toReversed().join(".");
			expect(said(said(`${reversed}.in-addr.arpa`, inBlue, "PTR"), inBlue)).toBe(address);
		}
	});
});

test("the network of published ports gives nobody a name", () => {
	const ingressOnly = { ...assignment, networks: assignment.networks.slice(0, 1) };
	const reply = answer({ name: "web", type: "A" }, zone(ingressOnly), "10.0.10.11", () => 0.5);
	expect(reply).toBe("forward");
});

test("each of several addresses comes first as often", () => {
	const firsts = [0, 0.99].map((draw) => {
		const reply = answer({ name: "redis", type: "A" }, names, inRed, () => draw);
		return reply === "forward" ? reply : reply.records[0];
	});
	expect(firsts).toEqual([
		{ type: "A", address: "10.0.6.22" },
		{ type: "A", address: "10.0.6.21" },
	]);
});
