// Containers behind the relay, the same in every place the control plane runs: what a list, an inspection, a log, figures and
// copies are, and `docker exec` where no raw bytes pass.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { lineOver, type WebSocketLike } from "../../control-plane/connection/websocket.ts";
import type { TaskId } from "../../model/id.ts";
import type { NodeRequest } from "../../model/relay.ts";
import { type Runtime, runtimes } from "../runtimes.ts";
import { sampleStatus } from "../store/sample.ts";
import { type Content, describeMachine, echo, joinAgent, obey, type TestAgent } from "./agent.ts";

for (const { name, there, start } of runtimes) {
	describe.skipIf(!there)(name, () => {
		let at: Runtime;
		let machine: TestAgent;
		const off = new AbortController();
		beforeAll(async () => {
			at = await start();
			const { JoinTokens } = await json<{ JoinTokens: { Worker: string } }>("/swarm");
			const agent = await joinAgent(at.url, JoinTokens.Worker, describeMachine(1));
			machine = agent;
			void obey(agent, off.signal, (request) => engine(agent, request));
			const made = await ask("/services/create", {
				Name: "web",
				Mode: { Replicated: { Replicas: 1 } },
				TaskTemplate: { ContainerSpec: { Image: `nginx@sha256:${"a".repeat(64)}` } },
			});
			if (made.status !== 201) throw new Error(await made.text());
			const isRunning = async () =>
				(await json<{ Status: { State: string } }[]>("/tasks"))[0]?.Status.State === "running";
			while (!(await isRunning())) await Bun.sleep(50);
		}, 30_000);
		afterAll(async () => {
			off.abort();
			await at.stop();
		}, 15_000);

		const ask = (path: string, body?: object) =>
			fetch(`${at.url}${path}`, {
				headers: { Authorization: `Bearer ${at.token}`, "Content-Type": "application/json" },
				...(body && { method: "POST", body: JSON.stringify(body) }),
			});
		const json = async <Body>(path: string, body?: object) =>
			(await (await ask(path, body)).json()) as Body;
		const tunnel = async (path: string, body: object, token = at.token) => {
			const url = `${at.url.replace("http", "ws")}/api/tunnel?path=${encodeURIComponent(path)}`;
			const socket = new WebSocket(url, { headers: { Authorization: `Bearer ${token}` } });
			socket.binaryType = "arraybuffer";
			const line = lineOver(socket as WebSocketLike);
			await new Promise((resolve) => socket.addEventListener("open", resolve));
			const headers = { "Content-Type": "application/json" };
			line.say(JSON.stringify({ headers, body: JSON.stringify(body) }));
			return { line, head: JSON.parse(await line.first) };
		};

		const containersOf = (filters: object) =>
			json<{ Id: string; State: string }[]>(
				`/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify(filters))}`,
			);

		test("are listed as their node reported them, and inspected by its engine's word", async () => {
			const [task] = await json<{ ID: string }[]>("/tasks");
			const running = { Id: `container-${task?.ID}`, State: "running" };
			expect(await containersOf({ name: ["web.1"], status: ["running"] })).toMatchObject([running]);
			expect(await containersOf({ status: ["exited"] })).toEqual([]);
			expect((await ask("/containers/json?filters={%22bogus%22:[%22x%22]}")).status).toBe(400);
			const inspected = await json<object>("/containers/web.1/json");
			expect(inspected).toMatchObject({
				Id: "c".repeat(64),
				Config: { Labels: { "skein.node": "vm1" } },
			});
			expect((await ask("/containers/nope/json")).status).toBe(404);
		});

		test("say their logs, their processes and how much they use", async () => {
			const log = await (await ask("/containers/web.1/logs?stdout=1")).text();
			expect(log).toContain("hello from ");
			expect(await json<object>("/containers/web.1/top?ps_args=-ef")).toEqual({
				Titles: ["PID"],
				Processes: [["-ef"]],
			});
			const stats = await (await ask("/containers/web.1/stats")).text();
			expect(stats.trim().split("\n")).toEqual(['{"read":1}', '{"read":2}']);
			expect((await ask("/containers/web.1/kill?signal=HUP", {})).status).toBe(204);
		});

		test("are copied out of and into, whole", async () => {
			const out = await ask("/containers/web.1/archive?path=/etc");
			expect(out.headers.get("X-Docker-Container-Path-Stat")).toBe(pathStat);
			expect(Bun.hash(await out.arrayBuffer())).toBe(Bun.hash(archive));
			const put = await fetch(`${at.url}/containers/web.1/archive?path=/tmp`, {
				method: "PUT",
				headers: { Authorization: `Bearer ${at.token}` },
				body: archive,
			});
			expect([put.status, await put.text()]).toEqual([200, `${Bun.hash(archive)}`]);
		});

		test("an exec is reached, its input and output are what was sent, and it ends with its input", async () => {
			const exec = { AttachStdin: true, AttachStdout: true, Cmd: ["cat"] };
			const { Id } = await json<{ Id: string }>("/containers/web.1/exec", exec);
			const { line, head } = await tunnel(`/v1.51/exec/${Id}/start`, { Detach: false, Tty: true });
			expect(head.status).toBe(101);
			expect(head.headers["content-type"]).toBe("application/vnd.docker.raw-stream");
			const sent = new Uint8Array(3_000_017).map((_, index) => index % 251);
			const [, heard] = await Promise.all([
				line.send(new Blob([sent]).stream()),
				new Response(line.bytes).arrayBuffer(),
			]);
			expect(heard.byteLength).toBe(sent.length);
			expect(Bun.hash(heard)).toBe(Bun.hash(sent));
		}, 60_000);

		test("a refusal is said as it would be without a tunnel", async () => {
			const { line, head } = await tunnel("/exec/nothing/start", {});
			expect(head.status).toBe(404);
			expect(head.headers["content-type"]).toBe("application/json");
			expect(await new Response(line.bytes).json()).toEqual({
				message: "No such exec instance: nothing",
			});
		});

		test("who waits for one hears how it ended", async () => {
			const [task] = await json<{ ID: TaskId }[]>("/tasks");
			const waiting = await ask("/containers/web.1/wait", {});
			const status = { ...sampleStatus("failed", 1_000), exitCode: 7 };
			const tasks = task ? [{ id: task.ID, status }] : [];
			expect((await machine.report({ tasks })).status).toBe(200);
			expect(await waiting.json()).toEqual({ StatusCode: 7 });
		});
	});
}

const archive = new Uint8Array(300_017).map((_, index) => index % 249);
const pathStat = btoa('{"name":"etc"}');

/** What an engine says, beside its execs. */
async function engine(agent: TestAgent, request: NodeRequest): Promise<Content> {
	const { asked, id } = request;
	const saying = (body: string | Uint8Array<ArrayBuffer>, type = "application/json", more = {}) =>
		new Blob([`${JSON.stringify({ status: 200, type, ...more })}\n`, body]);
	switch (asked.kind) {
		case "top":
			return saying(JSON.stringify({ Titles: ["PID"], Processes: [[asked.arguments]] }));
		case "stats":
			return saying('{"read":1}\n{"read":2}\n');
		case "kill":
			return saying("", "", { status: 204 });
		case "archive-get":
			return saying(archive, "application/x-tar", { pathStat });
		case "archive-put":
			return saying(`${Bun.hash(await (await agent.ask(`/stream/${id}`)).arrayBuffer())}`, "");
		default:
			return echo(agent, request);
	}
}
