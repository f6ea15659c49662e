// The machines of a transcript: they join by the agents' door, do at once what they are told, and answer for the
// engines of their containers, of which each does the same.

import { frame } from "../../control-plane/engine/logs.ts";
import type { TaskAssignment } from "../../model/assignment.ts";
import type { TaskId } from "../../model/id.ts";
import type { NodeRequest } from "../../model/relay.ts";
import { type TaskStatus, unstarted } from "../../model/task.ts";
import {
	type Content,
	describeMachine,
	joinAgent,
	obey,
	type TestAgent,
	type Work,
} from "../app/agent.ts";
import { machine, nextStatus } from "../machine.ts";
import type { Runtime } from "../runtimes.ts";

export class Machines {
	readonly #at: Runtime;
	readonly #running = new Map<string, AbortController>();
	#newsMs = 0;
	/** A client that has nothing to say keeps its side open. */
	#listens = false;

	constructor(at: Runtime) {
		this.#at = at;
	}

	async join(hostname: string, engineVersion = "28.5.1"): Promise<void> {
		const { JoinTokens } = await this.#ask<{ JoinTokens: { Worker: string } }>("/swarm");
		const index = this.#running.size + 1;
		const { publicKey } = describeMachine(index);
		const description = { ...machine(hostname, index), engineVersion, publicKey };
		const agent = await joinAgent(this.#at.url, JoinTokens.Worker, description);
		const off = new AbortController();
		this.#running.set(hostname, off);
		const answer = (request: NodeRequest) => this.#answer(agent, request);
		void obey(agent, off.signal, answer, this.#work());
		await this.#until(hostname, "ready");
	}

	/** They lose their power; known once they are missed. */
	async die(hostnames: readonly string[]): Promise<void> {
		for (const hostname of hostnames) this.#running.get(hostname)?.abort();
		for (const hostname of hostnames) await this.#until(hostname, "down");
	}

	/** Until there is no news for so long: nothing is left to do. */
	async settled(quietMs: number): Promise<void> {
		this.#newsMs = performance.now();
		for (let leftMs = quietMs; leftMs > 0; leftMs = this.#newsMs + quietMs - performance.now()) {
			await Bun.sleep(leftMs);
		}
	}

	stop(): void {
		for (const off of this.#running.values()) off.abort();
	}

	async #until(hostname: string, state: string): Promise<void> {
		const isSo = async () =>
			(
				await this.#ask<{ Description: { Hostname: string }; Status: { State: string } }[]>(
					"/nodes",
				)
			).some((node) => node.Description.Hostname === hostname && node.Status.State === state);
		while (!(await isSo())) await Bun.sleep(50);
	}

	async #ask<Body>(path: string): Promise<Body> {
		const headers = { Authorization: `Bearer ${this.#at.token}` };
		const reply = await fetch(`${this.#at.url}${path}`, { headers });
		if (!reply.ok) throw new Error(`${path}: ${await reply.text()}`);
		return (await reply.json()) as Body;
	}

	/** Every task one state further with each report, until none goes on by itself. */
	#work(): Work {
		let observed = 0;
		const statuses = new Map<TaskId, TaskStatus>();
		const statusOf = (id: TaskId) => statuses.get(id) ?? { ...unstarted, state: "assigned" };
		const next = (task: TaskAssignment) => {
			const status = nextStatus(task, statusOf(task.id), ++observed);
			return status ? [{ id: task.id, status }] : [];
		};
		const news = () => {
			this.#newsMs = performance.now();
		};
		return function* (tasks) {
			for (;;) {
				const reports = tasks.flatMap(next);
				news();
				yield reports;
				news();
				for (const { id, status } of reports) statuses.set(id, status);
				if (reports.length === 0) return;
			}
		};
	}

	async #answer(agent: TestAgent, { id, asked, containerId: Id }: NodeRequest): Promise<Content> {
		switch (asked.kind) {
			case "inspect": {
				const State = { Status: "running", Running: true, Pid: 4001, ExitCode: 0 };
				const Config = { Image: "nginx:1.22", Tty: false, Labels: {} };
				return saying(200, JSON.stringify({ Id, Name: "/as-on-the-node", State, Config }));
			}
			case "logs": {
				const lines = ["64 bytes from 127.0.0.1: seq=0\n", "64 bytes from 127.0.0.1: seq=1\n"];
				return new Blob([headOf(200, framed), ...lines.map((line) => frame(1, line))]);
			}
			case "top":
				return saying(
					200,
					JSON.stringify({ Titles: ["PID", "CMD"], Processes: [["4001", "nginx"]] }),
				);
			case "changes":
				return saying(200, JSON.stringify([{ Path: "/run/nginx.pid", Kind: 1 }]));
			case "exec-create":
				this.#listens = asked.body["AttachStdin"] === true;
				return saying(201, JSON.stringify({ Id: "e".repeat(64) }));
			case "exec-inspect":
				return saying(200, JSON.stringify({ ID: asked.exec, ExitCode: 3, Running: false }));
			case "exec-start":
				return asked.detach ? saying(200, "") : this.#exec(agent, id);
			default:
				return saying(204, "");
		}
	}

	#exec(agent: TestAgent, id: string): ReadableStream<Uint8Array> {
		const hear = async () => (await agent.ask(`/stream/${id}`)).text();
		const heard = this.#listens ? hear : async () => "nothing";
		return new ReadableStream<Uint8Array>({
			// The client sends nothing before it knows that the connection goes on.
			start: (to) => to.enqueue(new TextEncoder().encode(headOf(101, framed))),
			async pull(to) {
				to.enqueue(frame(1, `heard: ${(await heard()).trim()}\n`));
				to.enqueue(frame(2, "exit with 3\n"));
				to.close();
			},
		});
	}
}

const framed = "application/vnd.docker.multiplexed-stream";

const headOf = (status: number, type: string) => `${JSON.stringify({ status, type })}\n`;

const saying = (status: number, json: string) =>
	new Blob([headOf(status, "application/json"), json]);
