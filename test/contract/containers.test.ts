// The containers API over a cluster in memory: what is listed, what a name means, what is passed on and what is refused.

import { afterEach, describe, expect, test } from "bun:test";
import type { AskNode } from "../../control-plane/cluster.ts";
import type { EngineRequest } from "../../model/relay.ts";
import type { Task } from "../../model/task.ts";
import { answering, type Door, openDoor } from "./door.ts";

let door: Door;
afterEach(() => {
	door.close();
	expect(door.faults).toEqual([]);
});

const spec = (name: string, more: object = {}, container: object = {}) => ({
	Name: name,
	TaskTemplate: {
		ContainerSpec: {
			Image: "nginx:1.22",
			Args: ["sleep", "1"],
			Labels: { tier: "front" },
			...container,
		},
	},
	...more,
});

/** Answers what an engine would, and keeps what it was asked. */
function engine() {
	const asked: EngineRequest[] = [];
	const askNode: AskNode = async (_node, request) => {
		if (request.task === undefined) return answering([], { status: 204 });
		asked.push(request.asked);
		switch (request.asked.kind) {
			case "inspect":
				return answering({ Id: request.containerId, State: { Status: "running" }, Config: {} });
			case "exec-create":
				return answering({ Id: "e".repeat(64) }, { status: 201 });
			case "exec-start":
				return answering([1, 0, 0, 0, 0, 0, 0, 1, 120], { status: 101 });
			case "exec-inspect":
				return answering({ ID: request.asked.exec, ExitCode: 3, Running: false });
			case "top":
				return answering({ Titles: ["PID"], Processes: [["1"]] });
			case "logs":
				return answering(
					{ message: "configured logging driver does not support reading" },
					{ status: 501 },
				);
			default:
				return answering([], { status: 204 });
		}
	};
	return { asked, askNode };
}

async function open(askNode?: AskNode) {
	door = await openDoor({ nodes: ["h1", "h2"], ...(askNode && { askNode }) });
	const mode = { Mode: { Replicated: { Replicas: 2 } } };
	await door.ask("POST", "/services/create", spec("web", mode));
	await door.settle();
	const tasks = [...door.cluster().facts.tasks.values()].sort((a, b) => a.slot - b.slot);
	return tasks as [Task, Task];
}

const names = async (query = "") => {
	const { body } = await door.ask("GET", `/containers/json${query}`);
	return (body as { Names: string[] }[])
		.map(({ Names }) => Names[0]?.replace(/\.\w{25}$/, ""))
		.sort();
};

describe("the list", () => {
	test("shows what nodes reported", async () => {
		const [one] = await open();
		const { body } = await door.ask("GET", "/containers/json");
		const found = body.find(({ Id }: { Id: string }) => Id === one.status.containerId);
		expect(found).toMatchObject({
			Names: [`/web.1.${one.id}`],
			Image: "nginx:1.22",
			Command: "sleep 1",
			State: "running",
			Status: "Up Less than a second",
			Labels: {
				tier: "front",
				"com.docker.swarm.task.id": one.id,
				"com.docker.swarm.service.name": "web",
				"skein.node": expect.stringMatching(/^h[12]$/),
			},
		});
	});

	test("keeps the last of each slot that ended, for -a", async () => {
		await open();
		const brief = spec("brief", {}, { Args: ["exit 7"] });
		const once = { ...brief.TaskTemplate, RestartPolicy: { Condition: "none" } };
		await door.ask("POST", "/services/create", { ...brief, TaskTemplate: once });
		await door.settle();
		expect(await names()).toEqual(["/web.1", "/web.2"]);
		expect(await names("?all=1")).toEqual(["/brief.1", "/web.1", "/web.2"]);
		expect(await names('?filters={"exited":["7"]}')).toEqual(["/brief.1"]);
		const [first] = (await door.ask("GET", '/containers/json?filters={"status":["exited"]}')).body;
		expect(first.Status).toBe("Exited (7) Less than a second ago");
	});

	test.each([
		['{"name":["web.1"]}', ["/web.1"]],
		['{"name":["^/web"]}', ["/web.1", "/web.2"]],
		['{"name":{"nope":true}}', []],
		['{"label":["tier=front"]}', ["/web.1", "/web.2"]],
		['{"label":["com.docker.swarm.service.name=other"]}', []],
		['{"ancestor":["nginx"]}', ["/web.1", "/web.2"]],
		['{"ancestor":["nginx:1.23"]}', []],
		['{"status":["exited"]}', []],
		['{"health":["none"]}', ["/web.1", "/web.2"]],
		['{"is-task":["true"]}', ["/web.1", "/web.2"]],
		['{"is-task":["false"]}', []],
		['{"node":["h1","h2"]}', ["/web.1", "/web.2"]],
		['{"node":["h3"]}', []],
		['{"network":["nope"]}', []],
		['{"publish":["8080"]}', []],
		['{"volume":["/data"]}', []],
	])("filtered by %s", async (filters, want) => {
		await open();
		expect(await names(`?filters=${encodeURIComponent(filters)}`)).toEqual(want);
	});

	test.each([
		['{"bogus":["x"]}', "Invalid filter 'bogus'"],
		['{"status":["asleep"]}', "invalid filter 'status=asleep'"],
	])("refuses %s", async (filters, message) => {
		await open();
		const { status, body } = await door.ask("GET", `/containers/json?filters=${filters}`);
		expect([status, body.message]).toEqual([400, message]);
	});

	test("is empty where there is no cluster", async () => {
		door = await openDoor({ init: false });
		expect((await door.ask("GET", "/containers/json?all=1")).body).toEqual([]);
	});
});

describe("a container is found", () => {
	test("by id, name, task and slot, and by the beginning of an id", async () => {
		const { askNode } = engine();
		const [one] = await open(askNode);
		const { containerId } = one.status;
		const ways = [
			containerId,
			containerId.slice(0, 12),
			`web.1.${one.id}`,
			`/web.1.${one.id}`,
			"web.1",
			one.id,
			one.id.slice(0, 12),
		];
		for (const way of ways) {
			const { status, body } = await door.ask("GET", `/containers/${encodeURIComponent(way)}/json`);
			expect([way, status, body.Id]).toEqual([way, 200, containerId]);
		}
	});

	test("with its node's name, and with the task where the task was named", async () => {
		const { askNode } = engine();
		const [one] = await open(askNode);
		const byName = (await door.ask("GET", "/containers/web.1/json")).body;
		expect(byName.Config.Labels["skein.node"]).toMatch(/^h[12]$/);
		expect(byName.ServiceID).toBeUndefined();
		const byTask = (await door.ask("GET", `/containers/${one.id}/json`)).body;
		expect([byTask.ServiceID, byTask.Id]).toEqual([one.service, one.status.containerId]);
	});

	test("not by what is a service, a node, or nothing", async () => {
		await open();
		for (const name of ["web", "h1", "nope", "web.3"]) {
			const { status, body } = await door.ask("GET", `/containers/${name}/json`);
			expect([status, body.message]).toEqual([404, `No such container: ${name}`]);
		}
	});

	test("not yet, and why", async () => {
		await open();
		const waits = spec("waits").TaskTemplate;
		const placed = { ...waits, Placement: { Constraints: ["node.labels.a==b"] } };
		await door.ask("POST", "/services/create", { Name: "waits", TaskTemplate: placed });
		await door.settle();
		const { status, body } = await door.ask("GET", "/containers/waits.1/json");
		expect([status, body.message]).toEqual([
			404,
			expect.stringMatching(/^No such container: waits\.1 \(its task is pending: no suitable node/),
		]);
	});
});

describe("a node that does not answer", () => {
	test("costs the truth of now, not what it last reported", async () => {
		const [one] = await open();
		const { status, body } = await door.ask("GET", "/containers/web.1/json");
		expect([status, body.Id, body.State.Status]).toEqual([200, one.status.containerId, "running"]);
		expect(body.State.Error).toMatch(/^node h[12]: nobody answers; this is what it last reported$/);
	});

	test("is named", async () => {
		await open();
		const { status, body } = await door.ask("POST", "/containers/web.1/kill");
		expect([status, body.message]).toEqual([
			503,
			expect.stringMatching(/^node h[12]: nobody answers$/),
		]);
	});

	test("is not asked while it is down, and its containers say so", async () => {
		const { asked, askNode } = engine();
		const [one] = await open(askNode);
		await door.agents.powerOff(one.node as never);
		door.cluster().replan();
		const { body } = await door.ask("POST", `/containers/${one.status.containerId}/kill`);
		expect(body.message).toMatch(/^node h[12]: it is down$/);
		expect(asked).toEqual([]);
	});
});

describe("passed on to the container's engine", () => {
	test.each([
		["POST", "/kill?signal=HUP", { kind: "kill", signal: "HUP" }],
		["POST", "/stop?t=3", { kind: "stop", signal: "", seconds: "3" }],
		["POST", "/restart?t=3", { kind: "stop", signal: "", seconds: "3" }],
		["POST", "/resize?h=10&w=20", { kind: "resize", height: "10", width: "20" }],
		["GET", "/top?ps_args=-ef", { kind: "top", arguments: "-ef" }],
		["GET", "/stats?stream=0&one-shot=1", { kind: "stats", stream: false, oneShot: true }],
		["GET", "/archive?path=/etc", { kind: "archive-get", path: "/etc" }],
		["GET", "/changes", { kind: "changes" }],
	])("%s %s", async (method, path, want) => {
		const { asked, askNode } = engine();
		await open(askNode);
		await door.app.request(`/containers/web.1${path}`, { method });
		expect(asked).toEqual([want as EngineRequest]);
	});

	test("with its refusals", async () => {
		await open(engine().askNode);
		const { status, body } = await door.ask("GET", "/containers/web.1/logs?stdout=1");
		expect([status, body.message]).toEqual([
			501,
			"configured logging driver does not support reading",
		]);
		const none = await door.ask("GET", "/containers/web.1/logs");
		expect(none.body.message).toBe("Bad parameters: you must choose at least one stream");
	});
});

describe("exec", () => {
	test("is made, started, measured and asked for its end, each by its id alone", async () => {
		const { asked, askNode } = engine();
		const [one] = await open(askNode);
		const options = { Cmd: ["sh"], Tty: true, AttachStdout: true };
		const made = await door.ask("POST", "/containers/web.1/exec", options);
		expect([made.status, made.body.Id]).toEqual([201, `${one.id}${"e".repeat(64)}`]);
		const at = `/exec/${made.body.Id}`;
		const started = await door.app.request(`${at}/start`, {
			method: "POST",
			body: JSON.stringify({ Detach: false, Tty: true }),
		});
		expect(new Uint8Array(await started.arrayBuffer()).at(-1)).toBe(120);
		await door.ask("POST", `${at}/resize?h=1&w=2`);
		const ended = await door.ask("GET", `${at}/json`);
		expect(ended.body).toEqual({ ID: made.body.Id, ExitCode: 3, Running: false });
		const exec = "e".repeat(64);
		expect(asked).toEqual([
			{ kind: "exec-create", body: options },
			{ kind: "exec-start", exec, detach: false, tty: true, consoleSize: null },
			{ kind: "exec-resize", exec, height: "1", width: "2" },
			{ kind: "exec-inspect", exec },
		]);
	});

	test("of nobody is not there", async () => {
		await open(engine().askNode);
		for (const id of ["abc", "z".repeat(89)]) {
			const { status, body } = await door.ask("GET", `/exec/${id}/json`);
			expect([status, body.message]).toEqual([404, `No such exec instance: ${id}`]);
		}
	});

	test("has no more rights than its service", async () => {
		const { asked, askNode } = engine();
		await open(askNode);
		const options = { Cmd: ["sh"], Privileged: true };
		const { status, body } = await door.ask("POST", "/containers/web.1/exec", options);
		expect([status, body.message]).toEqual([403, expect.stringContaining("exec --privileged")]);
		expect(asked).toEqual([]);
	});
});

describe("what belongs to the service is refused with the remedy", () => {
	test.each([
		[
			"DELETE",
			"/containers/web.1?force=1",
			409,
			"docker service scale web=N or docker service rm web",
		],
		["POST", "/containers/web.1/start", 501, "docker service update --force web"],
		["POST", "/containers/web.1/pause", 501, "docker service update web"],
		["POST", "/containers/web.1/rename?name=x", 501, "docker service update web"],
		["POST", "/containers/create", 501, "docker service create"],
		["DELETE", "/containers/nope", 404, "No such container: nope"],
	])("%s %s", async (method, path, status, words) => {
		await open(engine().askNode);
		const answer = await door.ask(method, path);
		expect([answer.status, answer.body.message]).toEqual([status, expect.stringContaining(words)]);
	});

	test("a restart that would be none", async () => {
		const { asked, askNode } = engine();
		await open(askNode);
		const once = { ...spec("once").TaskTemplate, RestartPolicy: { Condition: "none" } };
		await door.ask("POST", "/services/create", { Name: "once", TaskTemplate: once });
		await door.settle();
		const { status, body } = await door.ask("POST", "/containers/once.1/restart");
		expect([status, body.message]).toEqual([
			501,
			expect.stringContaining("service update --force once"),
		]);
		expect(asked).toEqual([]);
	});
});

test("wait tells the exit code when the task has ended", async () => {
	await open();
	const once = {
		...spec("brief", {}, { Args: ["exit 7"] }).TaskTemplate,
		RestartPolicy: { Condition: "none" },
	};
	await door.ask("POST", "/services/create", { Name: "brief", TaskTemplate: once });
	await door.agents.turn();
	await door.agents.turn();
	const waiting = door.ask("POST", "/containers/brief.1/wait");
	await door.settle();
	expect((await waiting).body).toEqual({ StatusCode: 7 });
});
