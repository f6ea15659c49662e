import { describe, expect, test } from "bun:test";
import type { BuildId, ClusterId, TaskId } from "../model/id.ts";
import type {
	ContainerQuestion,
	EngineRequest,
	NodeRequest,
	VolumeRequest,
} from "../model/relay.ts";
import type { RawEngine } from "./host/raw.ts";
import { answerTo, type BuildLogs, callOf, volumeCallOf } from "./relay.ts";

const ours = "c".repeat(64);
const theirs = "d".repeat(64);
const exec = "e".repeat(64);

/** An engine with a container of ours, one of somebody's, and an exec in each. */
function engine(): RawEngine & { readonly done: string[] } {
	const done: string[] = [];
	const found: Record<string, unknown> = {
		[`/containers/${ours}/json`]: { Id: ours, Config: { Labels: { "skein.task": "t1" } } },
		[`/containers/${theirs}/json`]: { Id: theirs, Config: { Labels: {} } },
		[`/exec/${exec}/json`]: { ContainerID: ours },
		"/volumes/data": { Name: "data", Labels: { "skein.cluster": "c1" } },
		"/volumes/theirs": { Name: "theirs", Labels: null },
		[`/exec/${"f".repeat(64)}/json`]: { ContainerID: theirs },
	};
	return {
		done,
		async exchange(method, path, _signal, body) {
			const known = found[path];
			if (method === "GET" && known) return Response.json(known);
			if (method === "GET") return Response.json({ message: "none" }, { status: 404 });
			const sent = body instanceof ReadableStream ? await new Response(body).text() : "";
			done.push(`${method} ${path} ${sent}`.trim());
			return new Response(null, { status: 204 });
		},
		async upgrade(path, _signal) {
			done.push(`upgrade ${path}`);
			const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
			return {
				status: 101,
				type: "application/vnd.docker.raw-stream",
				body: readable,
				send: (input) => input.pipeTo(writable),
			};
		},
	};
}

async function ask(
	asked: EngineRequest,
	more: Partial<Omit<ContainerQuestion, "asked"> & { readonly sends: boolean }> = {},
	at = engine(),
) {
	const request = {
		id: "r1",
		task: "t1" as TaskId,
		containerId: ours,
		sends: false,
		asked,
		...more,
	};
	return tell(request, at);
}

const logs: BuildLogs = (build, follow) =>
	build === "b1" ? new Blob([`of b1${follow ? ", and on" : ""}\n`]).stream() : undefined;

async function tell(request: NodeRequest, at = engine()) {
	const input = async () => new Blob(["typed"]).stream();
	const whole = await new Response(
		answerTo(at, logs, request, input, new AbortController().signal),
	).text();
	const [empty, head = "", ...rest] = whole.split("\n");
	expect(empty).toBe("");
	return { head: JSON.parse(head), body: rest.join("\n"), done: at.done };
}

const kill: EngineRequest = { kind: "kill", signal: "HUP" };
const resize = (id: string): EngineRequest => ({
	kind: "exec-resize",
	exec: id,
	height: "1",
	width: "2",
});

test("the engine's answer goes on after a line that says how it began", async () => {
	const { head, done } = await ask(kill);
	expect(head.status).toBe(204);
	expect(done).toEqual([`POST /containers/${ours}/kill?signal=HUP`]);
});

test("what the asker sends is a body, or the other half of the connection", async () => {
	const put = { path: "/tmp", noOverwriteDirNonDir: "true", copyUidGid: "" };
	const { done } = await ask({ kind: "archive-put", ...put }, { sends: true });
	expect(done).toEqual([
		`PUT /containers/${ours}/archive?path=%2Ftmp&noOverwriteDirNonDir=true typed`,
	]);
	const start = { kind: "exec-start", exec, detach: false, tty: true, consoleSize: null } as const;
	const { head, body } = await ask(start, { sends: true });
	expect([head.status, body]).toEqual([101, "typed"]);
});

describe("what is not this task's is not there, and nothing is done to it", () => {
	test.each([
		["somebody's container", kill, { containerId: theirs }, "No such container"],
		["another task's", kill, { task: "t2" as TaskId }, "No such container"],
		["one that is gone", kill, { containerId: "a".repeat(64) }, "No such container"],
		["a path", kill, { containerId: "../images" }, "No such container"],
		["an exec in another container", resize("f".repeat(64)), {}, "No such exec instance"],
		["an exec that is none", resize("../x"), {}, "No such exec instance"],
	])("%s", async (_name, asked, more, words) => {
		const { head, body, done } = await ask(asked, more);
		expect([head.status, done]).toEqual([404, []]);
		expect(JSON.parse(body).message).toStartWith(words);
	});
});

test.each([
	["b1", true, 200, "of b1, and on\n"],
	["b1", false, 200, "of b1\n"],
	["b2", true, 404, '{"message":"build b2: this node has no log of it"}'],
])("the log of build %s, followed: %p", async (build, follow, status, words) => {
	const asked = { kind: "build-log", follow } as const;
	const { head, body, done } = await tell({
		id: "r1",
		sends: false,
		build: build as BuildId,
		asked,
	});
	expect([head.status, body, done]).toEqual([status, words, []]);
});

describe("volumes", () => {
	const cluster = "c1" as ClusterId;
	const about = (asked: VolumeRequest) => tell({ id: "r1", sends: false, asked });

	test("are listed by the cluster's label", () => {
		const paths = ["", "true"].map((dangling) => {
			const { method, path } = volumeCallOf({ kind: "volume-list", cluster, dangling });
			return `${method} ${decodeURIComponent(path)}`;
		});
		expect(paths).toEqual([
			'GET /volumes?filters={"label":["skein.cluster=c1"]}',
			'GET /volumes?filters={"label":["skein.cluster=c1"],"dangling":["true"]}',
		]);
	});

	test("of ours are shown and removed", async () => {
		const { body } = await about({ kind: "volume-inspect", cluster, volume: "data" });
		expect(JSON.parse(body).Name).toBe("data");
		const removed = await about({ kind: "volume-remove", cluster, volume: "data" });
		expect([removed.head.status, removed.done]).toEqual([204, ["DELETE /volumes/data"]]);
	});

	test.each([
		["somebody's", "theirs", cluster],
		["another cluster's", "data", "c2" as ClusterId],
		["a path", "../containers/x", cluster],
	])("%s are not there", async (_name, volume, asker) => {
		const { head, done } = await about({ kind: "volume-remove", cluster: asker, volume });
		expect([head.status, done]).toEqual([404, []]);
	});
});

test("an engine that is away is said to be", async () => {
	const away = { ...engine(), exchange: () => Promise.reject(new Error("connection refused")) };
	const { head, body } = await ask(kill, {}, away);
	expect([head.status, body]).toEqual([
		503,
		`{"message":"the node's Docker engine does not answer: connection refused"}`,
	]);
});

test.each<[EngineRequest, string]>([
	[{ kind: "inspect", size: false }, "GET /containers/c/json?size=false"],
	[{ kind: "top", arguments: "-ef" }, "GET /containers/c/top?ps_args=-ef"],
	[{ kind: "top", arguments: "" }, "GET /containers/c/top"],
	[
		{ kind: "stats", stream: true, oneShot: false },
		"GET /containers/c/stats?stream=true&one-shot=false",
	],
	[{ kind: "stop", signal: "", seconds: "3" }, "POST /containers/c/stop?t=3"],
	[{ kind: "resize", height: "1", width: "2" }, "POST /containers/c/resize?h=1&w=2"],
	[{ kind: "archive-stat", path: "/a b" }, "HEAD /containers/c/archive?path=%2Fa+b"],
	[{ kind: "exec-inspect", exec: "e" }, "GET /exec/e/json"],
])("%j is %s", (asked, want) => {
	const { method, path } = callOf("c", asked);
	expect(`${method} ${path}`).toBe(want);
});
