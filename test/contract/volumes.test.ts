// Volumes of tasks over a cluster in memory: what nodes' engines say is put together, and nothing in use is removed.

import { afterEach, describe, expect, test } from "bun:test";
import type { AskNode } from "../../control-plane/cluster.ts";
import type { NodeId } from "../../model/id.ts";
import { answering, type Door, openDoor } from "./door.ts";

let door: Door;
afterEach(() => {
	door.close();
	expect(door.faults).toEqual([]);
});

/** Two machines' engines: `data` on both, `cache` on the second, `held` there too, which a container has. */
const onNodes: Record<string, Set<string>> = {};
let removed: string[] = [];

const nameOf = (id: NodeId) => door.cluster().facts.nodes.get(id)?.description.hostname ?? "";

const engine: AskNode = async (node, { asked, task, build }) => {
	if (task !== undefined || build !== undefined) throw new Error("only volumes are asked about");
	const host = nameOf(node);
	const there = onNodes[host] ?? new Set();
	const volume = (Name: string) => ({
		Name,
		Driver: "local",
		Mountpoint: `/var/lib/docker/volumes/${Name}/_data`,
		Labels: { "skein.cluster": asked.cluster, tier: Name },
		Options: null,
		Scope: "local",
		CreatedAt: "2026-11-28T00:00:00Z",
	});
	if (asked.kind === "volume-list") {
		const free = [...there].filter((name) => asked.dangling === "" || name !== "held");
		return answering({ Volumes: free.map(volume), Warnings: null });
	}
	const none = { message: `get ${asked.volume}: no such volume` };
	if (!there.has(asked.volume)) return answering(none, { status: 404 });
	if (asked.kind === "volume-inspect") return answering(volume(asked.volume));
	if (asked.volume === "held") {
		const message = `remove held: volume is in use - [${"f".repeat(64)}]`;
		return answering({ message }, { status: 409 });
	}
	removed.push(`${host}/${asked.volume}`);
	there.delete(asked.volume);
	return answering([], { status: 204 });
};

async function open(askNode: AskNode = engine) {
	onNodes["h1"] = new Set(["data"]);
	onNodes["h2"] = new Set(["data", "cache", "held"]);
	removed = [];
	door = await openDoor({ nodes: ["h1", "h2"], askNode });
}

const filtered = (filters: object) => `?filters=${encodeURIComponent(JSON.stringify(filters))}`;
const listed = async (query = "") => {
	const { body } = await door.ask("GET", `/volumes${query}`);
	return (body.Volumes as { Name: string; Labels: Record<string, string> }[]).map(
		({ Name, Labels }) => `${Labels["skein.node"]}/${Name}`,
	);
};

/** A service whose only task is on the node and has the volume. */
async function use(source: string, host: string) {
	await door.ask("POST", "/services/create", {
		Name: "db",
		TaskTemplate: {
			ContainerSpec: {
				Image: "nginx:1.22",
				Mounts: [{ Type: "volume", Source: source, Target: "/data" }],
			},
			Placement: { Constraints: [`node.hostname==${host}`] },
		},
	});
	await door.settle();
}

describe("the list", () => {
	test("is that of all nodes, each volume with its node", async () => {
		await open();
		expect(await listed()).toEqual(["h1/data", "h2/data", "h2/cache", "h2/held"]);
	});

	test.each([
		[{ name: ["dat"] }, ["h1/data", "h2/data"]],
		[{ node: ["h1"] }, ["h1/data"]],
		[{ label: ["skein.node=h2", "tier=cache"] }, ["h2/cache"]],
		[{ driver: ["nfs"] }, []],
		[{ dangling: ["true"] }, ["h1/data", "h2/data", "h2/cache"]],
	])("filtered by %j", async (filters, want) => {
		await open();
		expect(await listed(filtered(filters))).toEqual(want);
	});

	test("says whose volumes it lacks", async () => {
		await open((node, ...asked) =>
			nameOf(node) === "h2" ? Promise.reject(new Error("it is away")) : engine(node, ...asked),
		);
		const { body } = await door.ask("GET", "/volumes");
		expect(body.Volumes).toHaveLength(1);
		expect(body.Warnings).toEqual(["node h2: it is away: its volumes are not shown"]);
	});

	test("is empty where there is no cluster", async () => {
		door = await openDoor({ init: false });
		expect((await door.ask("GET", "/volumes")).body.Volumes).toEqual([]);
	});
});

describe("one", () => {
	test.each([
		["cache", "h2"],
		["h1/data", "h1"],
		["h2%2Fdata", "h2"],
	])("called %s is found on %s", async (asked, node) => {
		await open();
		const { status, body } = await door.ask("GET", `/volumes/${asked}`);
		expect([status, body.Labels["skein.node"]]).toEqual([200, node]);
	});

	test.each([
		["GET", "none", 404, "get none: no such volume"],
		["GET", "h1/cache", 404, "get h1/cache: no such volume"],
		["GET", "data", 409, "volume data is on 2 nodes: say which: h1/data, h2/data"],
		["DELETE", "data", 409, "volume data is on 2 nodes: say which: h1/data, h2/data"],
		["DELETE", "none", 404, "get none: no such volume"],
		[
			"DELETE",
			"held",
			409,
			`remove held: the volume on node h2 stays: remove held: volume is in use - [${"f".repeat(64)}]`,
		],
	])("%s %s is refused with %d", async (method, asked, status, message) => {
		await open();
		const answer = await door.ask(method, `/volumes/${asked}`);
		expect([answer.status, answer.body.message]).toEqual([status, message]);
		expect(removed).toEqual([]);
	});

	test("that nobody has is not there, though a node is silent: docker inspect asks on", async () => {
		await open((node, request, going) =>
			nameOf(node) === "h2"
				? Promise.reject(new Error("it is down"))
				: engine(node, request, going),
		);
		const { status, body } = await door.ask("GET", "/volumes/none");
		expect(status).toBe(404);
		expect(body.message).toBe(
			"get none: no such volume on the nodes that answer (node h2: it is down)",
		);
	});

	test("goes when it is asked to, by itself or of one node", async () => {
		await open();
		expect((await door.ask("DELETE", "/volumes/cache")).status).toBe(204);
		expect((await door.ask("DELETE", "/volumes/h1/data")).status).toBe(204);
		expect((await door.ask("DELETE", "/volumes/gone?force=1")).status).toBe(204);
		expect(removed).toEqual(["h2/cache", "h1/data"]);
	});

	test.each(["cache", "{{.Service.Name}}-cache"])(
		"that a task has, as %s, stays, before its engine is asked",
		async (source) => {
			await open();
			onNodes["h2"]?.add("db-cache");
			await use(source, "h2");
			const name = source.replace(/\{\{.*\}\}/, "db");
			const { status, body } = await door.ask("DELETE", `/volumes/${name}`);
			expect(status).toBe(409);
			expect(body.message).toMatch(
				new RegExp(`^remove ${name}: the volume on node h2 is in use by db\\.1\\.\\w{25}$`),
			);
			expect(removed).toEqual([]);
		},
	);

	test("that an ended task's container still has is said to", async () => {
		await open(async (node, question, going) => {
			if (question.asked.kind !== "volume-remove") return engine(node, question, going);
			const [task] = [...door.cluster().facts.tasks.values()];
			const message = `remove cache: volume is in use - [${task?.status.containerId}]`;
			return answering({ message }, { status: 409 });
		});
		await use("cache", "h2");
		const [task] = [...door.cluster().facts.tasks.values()];
		if (!task) throw new Error("there is a task");
		const status = { ...task.status, state: "failed" as const, observed: 99 };
		door.cluster().facts.apply({ kind: "task-status", id: task.id, status });
		const { body } = await door.ask("DELETE", "/volumes/cache");
		expect(body.message).toContain(", which has ended: its container is kept until another");
	});
});

describe("prune", () => {
	const pruned = async (path: string) => {
		const { status, body } = await door.ask("POST", path);
		expect(status).toBe(200);
		return body.VolumesDeleted;
	};

	test("removes what has a name only where that is asked for, and nothing in use", async () => {
		await open();
		await use("cache", "h2");
		expect(await pruned("/v1.51/volumes/prune")).toEqual([]);
		expect(removed).toEqual([]);
		const all = filtered({ all: ["true"] });
		expect(await pruned(`/v1.51/volumes/prune${all}`)).toEqual(["h1/data", "h2/data"]);
		expect(await listed()).toEqual(["h2/cache", "h2/held"]);
	});

	test("of a client that is older than that takes all that are free", async () => {
		await open();
		expect(await pruned("/v1.41/volumes/prune")).toEqual(["h1/data", "h2/data", "h2/cache"]);
	});

	test.each([
		[{ label: ["tier=cache"] }, ["h2/cache"]],
		[{ "label!": ["tier=data"] }, ["h2/cache"]],
		[{ label: ["skein.node=h1"] }, ["h1/data"]],
	])("is narrowed by %j", async (filters, want) => {
		await open();
		const query = filtered({ all: { true: true }, ...filters });
		expect(await pruned(`/volumes/prune${query}`)).toEqual(want);
	});
});

test("making one by hand is refused with the command that makes it", async () => {
	await open();
	const { status, body } = await door.ask("POST", "/volumes/create", { Name: "x" });
	expect([status, body.message]).toEqual([
		501,
		"a volume is made with the first task that uses it, on that task's node: use docker service create --mount type=volume,source=NAME,target=PATH",
	]);
});
