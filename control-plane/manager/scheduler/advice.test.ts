import { describe, expect, test } from "bun:test";
import type { Task } from "../../../model/task.ts";
import { adviceFor, smallestChange } from "./advice.ts";
import {
	facts,
	gigabyte,
	type NodeWords,
	nodeId,
	type ServiceWords,
	task,
} from "./schedule.test-data.ts";

const east = { placement: { constraints: ["node.labels.zone==east"] } };
const waits = task("web", "waits");

function adviceIn(nodes: NodeWords[], web: Omit<ServiceWords, "name">, there: Task[] = []) {
	const db = { name: "db", nanoCpus: 3e9, memoryBytes: 7 * gigabyte, hostPorts: [8080] };
	const services = [{ name: "web", ...web }, db];
	return adviceFor(facts({ nodes, services, tasks: [...there, waits] }), waits);
}
const db = (index: number) => task("db", `db${index}`, { node: nodeId(index) });

describe("what a node lacks, and what would mend it", () => {
	test.each<[string, NodeWords, Omit<ServiceWords, "name">, Task[], string[]]>([
		[
			"a label",
			{ index: 1 },
			east,
			[],
			["node.labels.zone==east does not hold → docker node update --label-add zone=east host-1"],
		],
		[
			"a label too much",
			{ index: 1, labels: { zone: "east" } },
			{ placement: { constraints: ["node.labels.zone!=east"] } },
			[],
			["node.labels.zone!=east does not hold → docker node update --label-rm zone host-1"],
		],
		[
			"being another machine",
			{ index: 1 },
			{ placement: { constraints: ["node.hostname==h7"] } },
			[],
			[
				'node.hostname==h7 does not hold → docker service update --constraint-rm "node.hostname==h7" web',
			],
		],
		[
			"availability",
			{ index: 1, availability: "drain" },
			{},
			[],
			["its availability is drain → docker node update --availability active host-1"],
		],
		[
			"room on its disk",
			{ index: 1, description: { diskFull: true } },
			{},
			[],
			[
				"the disk of its engine is full, and the image is not there → make room on host-1, whose disk is full (docker system df shows what is there)",
			],
		],
		[
			"room: what there is can be had",
			{ index: 1 },
			{ nanoCpus: 2e9, memoryBytes: 2 * gigabyte },
			[db(1)],
			[
				"a task reserves 2 CPUs, 1 are free → docker service update --reserve-cpu 1 web",
				"a task reserves 2048 MiB, 1024 are free → docker service update --reserve-memory 1024M web",
			],
		],
		[
			"a port",
			{ index: 1 },
			{ hostPorts: [8080] },
			[db(1)],
			[
				"port tcp/8080 is taken by another task → publish another port than tcp/8080, which host-1 has in use",
			],
		],
		[
			"a place",
			{ index: 1 },
			{ placement: { maxReplicasPerNode: 1 } },
			[task("web", "x", { node: nodeId(1) })],
			["it has 1 tasks of at most 1 → docker service update --replicas-max-per-node 2 web"],
		],
		[
			"generic resources",
			{ index: 1, description: { genericResources: { gpu: 1 } } },
			{ template: { genericReservations: { gpu: 3 } } },
			[],
			["a task reserves 3 of gpu, 1 are free → give host-1 2 more of gpu"],
		],
		[
			"a platform",
			{ index: 1 },
			{ placement: { platforms: [{ os: "linux", architecture: "arm64" }] } },
			[],
			[
				"it is linux/x86_64, and the image is for linux/arm64 → use an image for linux/x86_64, which host-1 is",
			],
		],
		[
			"several things at once",
			{ index: 1, availability: "pause" },
			east,
			[],
			[
				"its availability is pause → docker node update --availability active host-1",
				"node.labels.zone==east does not hold → docker node update --label-add zone=east host-1",
			],
		],
		["nothing", { index: 1, labels: { zone: "east" } }, east, [], []],
	])("%s", (_name, node, web, there, want) => {
		const lacks = adviceIn([node], web, there).flatMap((advice) => advice.lacks);
		expect(lacks.map(({ what, change }) => `${what} → ${change}`)).toEqual(want);
	});
});

test("the smallest change is that of the node that needs least", () => {
	const advice = adviceIn(
		[{ index: 1, state: "down" }, { index: 2, availability: "pause" }, { index: 3 }],
		east,
	);
	expect(advice.map(({ node }) => node.id)).toEqual([1, 2, 3].map(nodeId));
	expect(smallestChange(advice)).toBe(
		"smallest change: docker node update --label-add zone=east host-3",
	);
});
