import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Assignment, TaskAssignment } from "../../model/assignment.ts";
import type { NetworkId, TaskId } from "../../model/id.ts";
import { type Docker, DockerError } from "../host/docker.ts";
import type { Site } from "./container.ts";
import type { FilesProblem } from "./files.ts";
import { type Remembered, Tasks } from "./tasks.ts";
import { taskOf } from "./template.test-data.ts";

const front = "n1" as NetworkId;

const site: Site = {
	cluster: "c1",
	node: {
		id: "node1",
		hostname: "h1",
		os: "linux",
		architecture: "x86_64",
		address: "192.168.77.1",
	},
	networks: [],
	networkNames: new Map([[front, "engine-id-of-front"]]),
	resolvFiles: new Map(),
	nameservers: ["10.200.0.1"],
	severalNetworks: true,
	gatewayPriority: true,
};

interface FakeContainer {
	readonly Id: string;
	readonly Name: string;
	readonly Created: number;
	readonly Labels: Record<string, string>;
	Status: string;
	ExitCode: number;
}

/** An engine small and whole: a map of containers. */
class FakeEngine implements Pick<Docker, "apiVersion" | "request" | "stream"> {
	readonly apiVersion = "1.51";
	readonly containers = new Map<string, FakeContainer>();
	readonly images = new Set(["lab/busybox:1"]);
	readonly log: string[] = [];
	/** Holds stops back, and pulls of `nope`, until it resolves. */
	gate: Promise<void> = Promise.resolve();
	startError = "";
	/** What every container has written, in the engine's frames. */
	readonly output: Uint8Array<ArrayBuffer>[] = [];
	#count = 0;

	add(name: string, labels: Record<string, string>, Status: string, ExitCode = 0): FakeContainer {
		const Id = `c${++this.#count}`;
		const made = { Id, Name: name, Created: this.#count, Labels: labels, Status, ExitCode };
		this.containers.set(Id, made);
		return made;
	}

	named(name: string): FakeContainer | undefined {
		return [...this.containers.values()].find((each) => each.Name === name);
	}

	async request<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
		return (await this.#answer(method, new URL(path, "http://d"), body)) as Answer;
	}

	async stream(_method: string, path: string): Promise<ReadableStream<Uint8Array>> {
		if (path.includes("/logs")) return new Blob(this.output).stream();
		if (path.includes("nope")) await this.gate;
		throw new DockerError(404, "pull access denied");
	}

	async *events() {}

	async #answer(method: string, { pathname, searchParams }: URL, body: unknown): Promise<unknown> {
		if (pathname === "/containers/json") return this.#list(searchParams.get("filters") ?? "{}");
		if (pathname.startsWith("/images/")) {
			if (this.images.has(decodeURI(pathname.slice(8, -5)))) return {};
			throw new DockerError(404, "no such image");
		}
		if (pathname === "/containers/create") {
			const { Labels } = body as { Labels: Record<string, string> };
			return this.add(searchParams.get("name") ?? "", Labels, "created");
		}
		const [, , id = "", verb = ""] = pathname.split("/");
		const found = this.containers.get(id);
		if (!found) throw new DockerError(404, `No such container: ${id}`);
		if (method === "DELETE") this.containers.delete(id);
		if (verb === "json") return inspected(found);
		if (verb === "start") {
			if (this.startError) throw new DockerError(500, this.startError);
			found.Status = "running";
		}
		if (verb === "stop") {
			await this.gate;
			found.Status = "exited";
			found.ExitCode = 143;
		}
		this.log.push(`${method === "DELETE" ? "remove" : verb} ${found.Name}`);
		return undefined;
	}

	#list(text: string) {
		const { label, status } = JSON.parse(text) as { label: string[]; status?: string[] };
		const [key = "", value] = label[0]?.split("=") ?? [];
		return [...this.containers.values()]
			.filter((each) => each.Labels[key] !== undefined)
			.filter((each) => value === undefined || each.Labels[key] === value)
			.filter((each) => !status || status.includes(each.Status))
			.map((each) => ({ ...each, State: each.Status, Names: [`/${each.Name}`] }));
	}
}

const inspected = ({ Id, Status, ExitCode }: FakeContainer) => ({
	Id,
	State: { Status, ExitCode, Pid: Status === "running" ? 7 : 0, Error: "", OOMKilled: false },
	NetworkSettings: { Ports: {} },
});

const labelsOf = (task: TaskAssignment, cluster = "c1") => ({
	"skein.task": task.id,
	"skein.cluster": cluster,
	"skein.slot": `${task.service.id}:${task.slot}`,
});

const one = taskOf({ id: "t1" as TaskId, name: "web.1.t1" });
const two = taskOf({ id: "t2" as TaskId, name: "web.2.t2", slot: 2 });
/** After `one`, in its slot. */
const next = taskOf({ id: "t3" as TaskId, name: "web.1.t3", generation: 2 });

let engine: FakeEngine;
let saved: Remembered;
let nowMs: number;
/** That somebody has to whatever task. */
let connections: number;
let era: string;
let tasks: Tasks;
/** Tasks whose secrets and configs are there. */
const files = new Set<string>();
let noFiles: FilesProblem | null = null;

const assignmentOf = (...assigned: TaskAssignment[]) =>
	({ cluster: "c1", tasks: assigned, networks: [] }) as unknown as Assignment;

function begin(remembered: Remembered = {}): void {
	const world = {
		docker: () => engine as Docker,
		nowMs: () => nowMs,
		era: () => era,
		connections: async () => connections,
		sleep: async () => {
			await Bun.sleep(0);
			nowMs += 250;
		},
	};
	tasks = new Tasks(
		{
			...world,
			save(next) {
				saved = next;
			},
			images: { pulled: () => {}, makeRoom: async () => false },
			files: {
				async write({ id }) {
					if (noFiles) return noFiles;
					files.add(id);
					return null;
				},
				async keepOnly(ids) {
					for (const id of files) if (!ids.has(id)) files.delete(id);
				},
			},
			registryAuth: async () => null,
			ownRegistryAuth: "own",
		},
		remembered,
	);
}

async function assign(...assigned: TaskAssignment[]): Promise<Record<string, string>> {
	await tasks.assign(assignmentOf(...assigned), site);
	await tasks.settled();
	return states();
}

const states = () =>
	Object.fromEntries(tasks.take("all").map(({ id, status }) => [id, status.state]));

async function dies(name: string, ExitCode: number): Promise<void> {
	const found = engine.named(name);
	if (!found) throw new Error(`no ${name}`);
	Object.assign(found, { Status: "exited", ExitCode });
	tasks.event({
		Type: "container",
		Action: "die",
		Actor: { ID: found.Id, Attributes: found.Labels },
		timeNano: 0,
	});
	await tasks.settled();
}

beforeEach(() => {
	engine = new FakeEngine();
	era = "era1";
	noFiles = null;
	files.clear();
	nowMs = 1_000;
	connections = 0;
	begin();
});
afterEach(() => tasks.settled());

describe("a task that is to stop", () => {
	const attached = { ...one, attachments: [{ network: front, address: "10.0.1.2" }] };
	const shutdown = { ...attached, desired: "shutdown", drainMs: 1e6 } as const;

	test("is not told while somebody is connected", async () => {
		await assign(attached);
		connections = 2;
		await tasks.assign(assignmentOf(shutdown), site);
		for (let count = 0; count < 10; count++) await Bun.sleep(0);
		expect(engine.log).not.toContain("stop web.1.t1");
		connections = 0;
		while (states()["t1"] !== "shutdown") await Bun.sleep(1);
		expect(nowMs).toBeLessThan(1e6);
		expect(engine.log).toContain("stop web.1.t1");
	});

	test("is told in the end", async () => {
		await assign(attached);
		connections = 2;
		await tasks.assign(assignmentOf({ ...shutdown, drainMs: 5_000 }), site);
		while (states()["t1"] !== "shutdown") await Bun.sleep(1);
		expect(nowMs).toBeGreaterThanOrEqual(6_000);
	});

	test("and dies meanwhile, is waited for no longer", async () => {
		await assign(attached);
		connections = 2;
		await tasks.assign(assignmentOf(shutdown), site);
		await dies("web.1.t1", 1);
		expect(states()).toEqual({ t1: "shutdown" });
	});
});

test("a task that fails leaves its last lines, and whether its memory ran out", async () => {
	await assign(one);
	engine.output.push(frame(1, "starting\n"), frame(2, `boom\n${"x".repeat(999)}\n`));
	await dies("web.1.t1", 3);
	const [report] = tasks.take("all");
	expect(report?.status).toMatchObject({ state: "failed", exitCode: 3 });
	expect(report?.status.evidence).toEqual({
		oomKilled: false,
		health: "",
		lines: ["starting", "boom", "x".repeat(400)],
	});
});

function frame(fd: number, text: string): Uint8Array<ArrayBuffer> {
	const payload = new TextEncoder().encode(text);
	const framed = new Uint8Array(8 + payload.length);
	framed[0] = fd;
	new DataView(framed.buffer).setUint32(4, payload.length);
	framed.set(payload, 8);
	return framed;
}

describe("tasks", () => {
	test("run, side by side", async () => {
		expect(await assign(one, two)).toEqual({ t1: "running", t2: "running" });
		expect([...engine.containers.values()].map(({ Name }) => Name).sort()).toEqual([
			"web.1.t1",
			"web.2.t2",
		]);
	});

	test("have their secrets before they start, and again after a start of the machine", async () => {
		noFiles = { kind: "waiting", error: "waiting for the content of secret pw" };
		expect(await assign(one)).toEqual({ t1: "preparing" });
		expect(engine.containers.size).toBe(0);
		noFiles = null;
		expect(await assign(one)).toEqual({ t1: "running" });
		expect([...files]).toEqual(["t1"]);
		// Memory is empty, and the container that is there looks for them.
		files.clear();
		era = "era2";
		await dies("web.1.t1", 137);
		expect([states(), [...files]]).toEqual([{ t1: "running" }, ["t1"]]);
	});

	test("whose template fails are rejected before there is a container", async () => {
		noFiles = { kind: "rejected", error: "expanding secret pw failed: no such template field" };
		expect(await assign(one)).toEqual({ t1: "rejected" });
		expect(engine.containers.size).toBe(0);
	});

	test("that ended or went leave no file", async () => {
		await assign(one, two);
		expect([...files].sort()).toEqual(["t1", "t2"]);
		await dies("web.1.t1", 1);
		await tasks.sweep();
		expect([...files]).toEqual(["t2"]);
		await assign();
		expect([...files]).toEqual([]);
	});

	test("one's pull does not hold up another", async () => {
		const gate = Promise.withResolvers<void>();
		engine.gate = gate.promise;
		const slow = taskOf({ id: "t9" as TaskId, name: "web.9.t9", container: { image: "nope:1" } });
		await tasks.assign(assignmentOf(slow, one), site);
		while (states()["t1"] !== "running") await Bun.sleep(1);
		expect(states()["t9"]).toBe("preparing");
		gate.resolve();
		await tasks.settled();
		expect(states()["t9"]).toBe("rejected");
	});

	test("are stopped when they are assigned no more, and removed with their service", async () => {
		await assign(one, two);
		await assign(two);
		expect(engine.log).toContain("stop web.1.t1");
		expect(engine.named("web.2.t2")?.Status).toBe("running");
		await assign();
		expect(engine.containers.size).toBe(0);
	});

	test("tell of their end, once, and keep to it", async () => {
		await assign(one);
		tasks.take("new");
		await dies("web.1.t1", 3);
		expect(tasks.take("new").map(({ status }) => [status.state, status.error])).toEqual([
			["failed", "task: non-zero exit (3)"],
		]);
		await tasks.sweep();
		await tasks.settled();
		expect(tasks.take("new")).toEqual([]);
		expect(engine.named("web.1.t1")?.Status).toBe("exited");
	});

	test("do not start while the one before them still runs in their slot", async () => {
		const attachments = [{ network: front, address: "10.0.1.5" }];
		const old = { ...one, attachments };
		const young = { ...next, attachments };
		await assign(old);
		const gate = Promise.withResolvers<void>();
		engine.gate = gate.promise;
		await tasks.assign(assignmentOf({ ...old, desired: "shutdown" }, young), site);
		while (!tasks.take("all").some(({ status }) => /web\.1\.t1 to stop/.test(status.error))) {
			await tasks.sweep();
			await Bun.sleep(1);
		}
		expect(engine.named("web.1.t3")?.Status).toBe("created");
		gate.resolve();
		await tasks.settled();
		await tasks.sweep();
		await tasks.settled();
		expect(states()).toEqual({ t1: "shutdown", t3: "running" });
	});

	test("start beside the one before them where each has an address of its own", async () => {
		const old = { ...one, attachments: [{ network: front, address: "10.0.1.5" }] };
		const young = { ...next, attachments: [{ network: front, address: "10.0.1.6" }] };
		await assign(old);
		await assign(old, young);
		expect(states()).toEqual({ t1: "running", t3: "running" });
	});
});

describe("containers nobody asked for", () => {
	test("of ours are stopped and removed; others are never touched", async () => {
		engine.add("gone.1.x", { ...labelsOf(two), "skein.slot": "service2:1" }, "running");
		engine.add("older.1.x", labelsOf(one, "another cluster"), "running");
		engine.add("theirs", { "com.docker.swarm.task": "" }, "running");
		await assign(one);
		expect([...engine.containers.values()].map(({ Name }) => Name).sort()).toEqual([
			"theirs",
			"web.1.t1",
		]);
		expect(engine.log.filter((line) => line.includes("theirs"))).toEqual([]);
	});

	test("nothing is touched before there is an assignment", async () => {
		engine.add("web.2.t2", labelsOf(two), "running");
		await tasks.sweep();
		expect(engine.containers.size).toBe(1);
	});

	test("the last that ended in each slot is kept for its log, while the service is here", async () => {
		await assign(one);
		await dies("web.1.t1", 1);
		await assign(next);
		expect(engine.named("web.1.t1")?.Status).toBe("exited");
		await dies("web.1.t3", 1);
		await assign(taskOf({ id: "t4" as TaskId, name: "web.1.t4", generation: 3 }));
		expect([...engine.containers.values()].map(({ Name }) => Name).sort()).toEqual([
			"web.1.t3",
			"web.1.t4",
		]);
		await assign();
		expect(engine.containers.size).toBe(0);
	});

	test("those that the assignment names are kept, though nothing else of their service is here", async () => {
		await assign(one);
		await dies("web.1.t1", 0);
		const ended = { cluster: "c1", networks: [], tasks: [], ended: [one.id] };
		await tasks.assign(ended as unknown as Assignment, site);
		await tasks.settled();
		expect(engine.named("web.1.t1")?.Status).toBe("exited");
		await assign();
		expect(engine.containers.size).toBe(0);
	});

	test("of many slots that were scaled away only some logs are kept", async () => {
		for (let slot = 2; slot < 20; slot++) {
			const other = taskOf({ id: `old${slot}` as TaskId, slot });
			engine.add(`web.${slot}.old`, labelsOf(other), "exited");
		}
		await assign(one);
		expect(engine.containers.size).toBe(1 + 5);
	});
});

test("one that is written off while it runs is stopped, and kept for its log like any other", async () => {
	await assign(one, two);
	await assign(two);
	expect(engine.named("web.1.t1")?.Status).toBe("exited");
	const elsewhere = { networks: [{ endpoints: [{ service: one.service.id }] }], tasks: [] };
	const assignment = { cluster: "c1", ...elsewhere } as unknown as Assignment;
	await tasks.assign(assignment, site);
	await tasks.settled();
	expect([...engine.containers.values()].map(({ Status }) => Status)).toEqual(["exited", "exited"]);
});

describe("after a restart", () => {
	test("of the agent, what runs goes on untouched", async () => {
		await assign(one);
		engine.log.length = 0;
		begin(saved);
		expect(await assign(one)).toEqual({ t1: "running" });
		expect(engine.log).toEqual([]);
	});

	test("of the agent, what ended is not begun again, though its container is gone", async () => {
		await assign(one);
		await dies("web.1.t1", 1);
		engine.containers.clear();
		begin(saved);
		expect(await assign(one)).toEqual({ t1: "failed" });
		expect(engine.containers.size).toBe(0);
	});

	test("of the machine, the same container is started again", async () => {
		await assign(one);
		const before = engine.named("web.1.t1");
		if (before) Object.assign(before, { Status: "exited", ExitCode: 255 });
		era = "era2";
		begin(saved);
		expect(await assign(one)).toEqual({ t1: "running" });
		expect(engine.named("web.1.t1")).toMatchObject({ Id: before?.Id, Status: "running" });
		// And only for that reason: what ends now, ends.
		await dies("web.1.t1", 255);
		expect(states()).toEqual({ t1: "failed" });
	});
});

test("observations only ever rise, also when the clock stands still or the agent is restarted", async () => {
	await assign(one);
	const [first] = tasks.take("all");
	await dies("web.1.t1", 1);
	const [second] = tasks.take("all");
	begin(saved);
	await assign(one, two);
	const third = tasks.take("all").find(({ id }) => id === two.id);
	const counts = [first, second, third].map((each) => each?.status.observed ?? 0);
	expect(counts.toSorted((a, b) => a - b)).toEqual(counts);
	expect(new Set(counts).size).toBe(3);
});

test("an engine's refusal to start is told in its own words, whole", async () => {
	engine.startError = "driver failed programming external connectivity: port is already allocated";
	expect(await assign(one)).toEqual({ t1: "failed" });
	const [report] = tasks.take("all");
	expect(report?.status.error).toBe(`starting container failed: ${engine.startError}`);
});
