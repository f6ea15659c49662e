import { describe, expect, test } from "bun:test";
import { type Docker, DockerError } from "../host/docker.ts";
import { networkId } from "./assignment.test-data.ts";
import {
	createBody,
	createNetworks,
	type EngineNetwork,
	isSame,
	removeNetworks,
} from "./networks.ts";
import type { DockerNetwork } from "./topology.ts";

const blue: DockerNetwork = {
	id: networkId("blue"),
	name: "blue",
	bridge: "sk-5",
	subnet: "10.0.5.0/24",
	gateway: "10.0.5.241",
	range: "10.0.5.144/28",
	internal: false,
	mtu: 1370,
};

/** An engine that has networks, some with containers on them. */
function engine(
	there: readonly EngineNetwork[],
	used: readonly string[] = [],
	labels: Readonly<Record<string, string>> = {},
) {
	let networks = [...there];
	let made = 0;
	const request = async (method: string, path: string, body?: unknown) => {
		const [, , id] = path.split("/");
		if (path.startsWith("/containers")) return [{ Names: ["/guest"], Labels: labels }];
		if (method === "GET") {
			const ours = path.includes("filters");
			return networks.filter(({ Labels }) => !ours || Labels?.["skein.network"] !== undefined);
		}
		if (method === "DELETE") {
			if (used.includes(id ?? "")) throw new DockerError(403, "has active endpoints");
			networks = networks.filter(({ Id }) => Id !== id);
			return undefined;
		}
		const network = { ...(body as EngineNetwork), Id: `new${++made}` };
		networks.push(network);
		return { Id: network.Id };
	};
	const docker = { apiVersion: "1.41", request } as unknown as Docker;
	return { docker, names: () => networks.map(({ Name, Id }) => `${Name} ${Id}`) };
}

const seen = (over: Partial<DockerNetwork> = {}, Id = "old"): EngineNetwork => ({
	...createBody({ ...blue, ...over }),
	Id,
});
const foreign: EngineNetwork = { ...seen({}, "foreign0123456789"), Labels: {} };

async function ensure(wanted: readonly DockerNetwork[], fake: ReturnType<typeof engine>) {
	const removed = await removeNetworks(fake.docker, wanted);
	const created = await createNetworks(fake.docker, wanted);
	return {
		names: fake.names(),
		ready: [...created.ready.values()].map(({ engineId }) => engineId),
		lingering: [...removed.lingering],
		changed: removed.changed || created.changed,
		problems: [...removed.problems, ...created.problems].join("\n"),
	};
}

describe("networks of the engine", () => {
	test.each([
		["one is missing", [blue], [], [], { names: ["blue new1"], ready: ["new1"], changed: true }],
		["all is well", [blue], [seen()], [], { names: ["blue old"], ready: ["old"], changed: false }],
		["one is not ours any more", [], [seen()], [], { names: [], ready: [], changed: true }],
		[
			"one has another slice now",
			[{ ...blue, range: "10.0.5.160/28" }],
			[seen()],
			[],
			{ names: ["blue new1"], ready: ["new1"], changed: true },
		],
		[
			"a stranger's is left alone",
			[],
			[foreign],
			[],
			{ names: ["blue foreign0123456789"], changed: false },
		],
	] as const)("%s", async (_, wanted, there, used, want) => {
		expect(await ensure(wanted, engine(there, used))).toMatchObject({ ...want, problems: "" });
	});

	test("one that people use stays, and its bridge, and it is said what to do", async () => {
		const ensured = await ensure([], engine([seen()], ["old"]));
		expect(ensured).toMatchObject({ names: ["blue old"], lingering: ["sk-5"], changed: false });
		expect(ensured.problems).toContain("docker network disconnect -f blue guest");
	});

	test("one that a task is about to leave stays without a word", async () => {
		const ensured = await ensure([], engine([seen()], ["old"], { "skein.task": "t" }));
		expect(ensured).toMatchObject({ names: ["blue old"], lingering: ["sk-5"], problems: "" });
	});

	test("another MTU is had where nobody is in the way, and done without where somebody is", async () => {
		const other = [{ ...blue, mtu: 1330 }];
		expect(await ensure(other, engine([seen()]))).toMatchObject({ ready: ["new1"], problems: "" });
		expect(await ensure(other, engine([seen()], ["old"]))).toMatchObject({
			ready: ["old"],
			problems: "",
		});
	});

	test("one that people use is not ready with what it was before", async () => {
		const ensured = await ensure([{ ...blue, range: "10.0.5.160/28" }], engine([seen()], ["old"]));
		expect(ensured).toMatchObject({ ready: [], names: ["blue old"] });
	});

	test("a name that is taken is named, with the remedy, and not touched", async () => {
		const ensured = await ensure([blue], engine([foreign]));
		expect(ensured).toMatchObject({ ready: [], names: ["blue foreign0123456789"], changed: false });
		expect(ensured.problems).toContain("docker network rm foreign01234");
	});
});

test.each([
	["name", { name: "red" }],
	["bridge", { bridge: "sk-6" }],
	["subnet", { subnet: "10.0.6.0/24" }],
	["gateway", { gateway: "10.0.5.242" }],
	["range", { range: "10.0.5.160/28" }],
	["internal", { internal: true }],
	["mtu", { mtu: 1400 }],
] as const)("another %s is another network", (_, over) => {
	expect(isSame(blue, seen())).toBe(true);
	expect(isSame(blue, seen(over))).toBe(false);
});
