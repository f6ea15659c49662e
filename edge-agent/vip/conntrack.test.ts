import { describe, expect, test } from "bun:test";
import { departed, endFlows, parseFlows, strays } from "./conntrack.ts";
import { assignmentOf, type SceneService } from "./scene.test-data.ts";

/** Network blue with these backends behind its VIP; 11 to 13 live in it, unless told. */
function networks(backends: readonly number[], here: readonly number[] = [11, 12, 13]) {
	const address = (last: number) => `10.0.5.${last}`;
	const web: SceneService = {
		name: "web",
		vip: "10.0.5.2",
		backends: backends.map(address),
		ports: [{ protocol: "udp", published: 8091, target: 80 }],
	};
	const at = Object.fromEntries(here.map((last) => [address(last), 1]));
	const blue = { name: "blue", vni: 5, ingress: true, at, services: [web] };
	return assignmentOf({ nodes: 2, networks: [blue] }, 1).networks;
}

describe("whose flows end", () => {
	test.each([
		["nobody's, when somebody joins", networks([11]), networks([11, 12]), [], []],
		["UDP's, while a task drains", networks([11, 12]), networks([12]), ["10.0.5.11"], []],
		[
			"all, when it is gone",
			networks([11, 12]),
			networks([12], [12, 13]),
			["10.0.5.11"],
			["10.0.5.11"],
		],
		["all, when the network is", networks([11]), [], ["10.0.5.11"], ["10.0.5.11"]],
		["nobody's, when one leaves who never served", networks([11]), networks([11], [11]), [], []],
	])("%s", (_, before, after, udp, tcp) => expect(departed(before, after)).toEqual({ udp, tcp }));
});

/** As `conntrack -L` prints: the question, then the answer that is expected. */
const flow = (protocol: string, asked: string, port: number, backend: string) =>
	protocol === "tcp"
		? `tcp      6 431999 ESTABLISHED src=10.0.5.13 dst=${asked} sport=4000 dport=${port} src=${backend} dst=10.0.5.13 sport=80 dport=4000 [ASSURED] mark=0 use=1`
		: `udp      17 29 src=10.0.5.13 dst=${asked} sport=4000 dport=${port} [UNREPLIED] src=${backend} dst=10.0.5.13 sport=80 dport=4000 mark=0 use=1`;

test("a flow is read as the kernel has it", () => {
	expect(parseFlows(`${flow("tcp", "10.0.5.2", 80, "10.0.5.11")}\nnoise\n`)).toEqual([
		{ protocol: "tcp", asked: "10.0.5.2", port: "80", backend: "10.0.5.11" },
	]);
});

test("what the agent before us left: only what went through us to somebody who does not serve", async () => {
	const flows = [
		flow("udp", "10.0.5.2", 53, "10.0.5.11"),
		flow("udp", "10.0.5.2", 53, "10.0.5.12"),
		flow("udp", "192.168.79.1", 8091, "10.0.5.77"),
		flow("tcp", "10.0.5.2", 80, "10.0.5.12"),
		flow("tcp", "10.0.5.2", 80, "10.0.5.78"),
		// Not through us: a port that somebody's own container has from the engine.
		flow("udp", "192.168.79.1", 9999, "172.17.0.2"),
		flow("tcp", "192.168.79.1", 8091, "172.17.0.2"),
	].join("\n");
	const found = await strays(async () => flows, networks([11]));
	expect(found).toEqual({ udp: ["10.0.5.12", "10.0.5.77"], tcp: ["10.0.5.78"] });
});

test("where many left, only those with flows are looked for", async () => {
	const ran: string[] = [];
	const address = (last: number) => `10.0.5.${last}`;
	await endFlows(
		async (_, args) => {
			ran.push(args.join(" "));
			return args[0] === "-L" ? flow("udp", "10.0.5.2", 53, address(12)) : "";
		},
		{ udp: [11, 12, 13].map(address), tcp: [11, 12].map(address) },
	);
	expect(ran).toEqual(["-L --dst-nat", "-D -p udp --dst-nat 10.0.5.12"]);
});
