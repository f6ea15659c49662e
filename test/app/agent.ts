// An agent for tests: speaks to the agents' door as the real one does, and does what it is told by hand.

import type { AssignmentReply, TaskAssignment } from "../../model/assignment.ts";
import type { TaskId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import type { NodeDescription } from "../../model/node.ts";
import type { NodeRequest } from "../../model/relay.ts";
import type { JoinReply, Report, TaskReport } from "../../model/report.ts";
import type { TaskState } from "../../model/taskstate.ts";
import { sampleDescription, sampleStatus } from "../store/sample.ts";

export interface TestAgent extends JoinReply {
	poll(held?: { revision: number; hash: string }, signal?: AbortSignal): Promise<AssignmentReply>;
	report(report: Report): Promise<Response>;
	/** Any path of the agents' door, with this agent's credential. */
	ask(path: string, init?: RequestInit): Promise<Response>;
}

export function describeMachine(n: number, extra: Partial<NodeDescription> = {}): NodeDescription {
	const key = `${String(n).padStart(4, "0")}${"B".repeat(39)}=`;
	return { ...sampleDescription(n), publicKey: key, ...extra };
}

export function askToJoin(
	url: string,
	token: string,
	description: NodeDescription,
	credential?: string,
): Promise<Response> {
	return fetch(`${url}/agent/join`, {
		method: "POST",
		headers: credential ? { Authorization: `Bearer ${credential}` } : {},
		body: JSON.stringify({ token, description }),
	});
}

export async function joinAgent(
	url: string,
	token: string,
	description: NodeDescription,
): Promise<TestAgent> {
	const reply = await askToJoin(url, token, description);
	if (!reply.ok) throw new Error(`join: ${reply.status} ${await reply.text()}`);
	return agentOf(url, (await reply.json()) as JoinReply);
}

export function agentOf(url: string, joined: JoinReply): TestAgent {
	const ask = (path: string, init: RequestInit = {}) =>
		fetch(`${url}/agent${path}`, {
			...init,
			headers: { Authorization: `Bearer ${joined.credential}`, ...init.headers },
		});
	return {
		...joined,
		ask,
		async poll(held = { revision: 0, hash: "" }, signal) {
			const reply = await ask(
				`/assignment?revision=${held.revision}&hash=${held.hash}`,
				signal ? { signal } : {},
			);
			if (!reply.ok) throw new Error(`poll: ${reply.status} ${await reply.text()}`);
			return (await reply.json()) as AssignmentReply;
		},
		report: (report) => ask("/report", { method: "POST", body: JSON.stringify(report) }),
	};
}

/** Of an answer to the control plane. */
export type Content = Blob | ReadableStream<Uint8Array>;

/** What becomes of the tasks that a node is assigned: report by report, at least one; goes on when one was heard. */
export type Work = (tasks: readonly TaskAssignment[]) => Iterable<readonly TaskReport[]>;

/** Does whatever it is assigned, until the signal: a machine on which everything works, and at once unless told. */
export async function obey(
	agent: TestAgent,
	signal: AbortSignal,
	answer: (request: NodeRequest) => Content | Promise<Content> = ({ task }) =>
		answerOf(must(task, "containers are asked about here")),
	work: Work = atOnce(),
): Promise<void> {
	let held = { revision: 0, hash: "" };
	while (!signal.aborted) {
		try {
			await turn();
		} catch (error) {
			if (signal.aborted || String(error).includes("410")) return;
			await Bun.sleep(100);
		}
	}

	async function turn() {
		const { revision, hash, assignment, requests } = await agent.poll(held, signal);
		for (const request of requests ?? []) {
			const body = await answer(request);
			const answered = agent.ask(`/stream/${request.id}`, { method: "POST", body });
			// What goes both ways takes as long as the caller likes.
			if (request.sends) answered.catch(() => undefined);
			else await answered;
		}
		if (revision === held.revision && hash === held.hash) return;
		const applied = { revision, hash };
		for (const tasks of work(assignment?.tasks ?? [])) {
			const reply = await agent.report({ applied, tasks });
			if (!reply.ok) throw new Error(`report: ${reply.status}`);
		}
		held = applied;
	}
}

/** Each is at once what it is wanted to be. */
function atOnce(): Work {
	let observed = 1;
	const done = new Map<TaskId, TaskState>();
	return function* (tasks) {
		const fresh = tasks.filter(({ id, desired }) => done.get(id) !== desired);
		observed++;
		yield fresh.map(({ id, desired }) => ({
			id,
			status: {
				...sampleStatus(desired, observed),
				containerId: `container-${id}`,
				pid: 1,
				sinceMs: Date.now(),
			},
		}));
		// Whoever is not heard says it again.
		for (const { id, desired } of fresh) done.set(id, desired);
	};
}

/** What an engine says when it is asked for a log: how it begins, and one line. */
export function answerOf(task: TaskId): Blob {
	const type = "application/vnd.docker.multiplexed-stream";
	return new Blob([`${JSON.stringify({ status: 200, type })}\n`, logOf(task)]);
}

function logOf(task: TaskId): Uint8Array<ArrayBuffer> {
	return framed(new TextEncoder().encode(`2026-11-20T12:00:00.000000000Z hello from ${task}\n`));
}

/** As Docker frames what a program says without a terminal: where it went to, its length, itself. */
function framed(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
	const frame = new Uint8Array(8 + bytes.length);
	frame[0] = 1;
	new DataView(frame.buffer).setUint32(4, bytes.length);
	frame.set(bytes, 8);
	return frame;
}

/** What an engine says of an exec whose program gives back what it is given, and ends with 7. */
export async function echo(agent: TestAgent, { id, asked, task }: NodeRequest): Promise<Content> {
	if (asked.kind === "logs") return answerOf(must(task, "a log is a task's"));
	const head = (status: number, type: string) =>
		new TextEncoder().encode(`${JSON.stringify({ status, type })}\n`);
	const said: Partial<Record<typeof asked.kind, readonly [number, object]>> = {
		inspect: [200, { Id: "c".repeat(64), State: { Running: true }, Config: {} }],
		"exec-create": [201, { Id: "e".repeat(64) }],
		"exec-inspect": [200, { Running: false, ExitCode: 7 }],
	};
	const [status, answer] = said[asked.kind] ?? [];
	if (status) return new Blob([head(status, "application/json"), JSON.stringify(answer)]);
	const { body } = await agent.ask(`/stream/${id}`);
	const input = body?.getReader();
	return new ReadableStream<Uint8Array>({
		start: (to) => to.enqueue(head(101, "application/vnd.docker.raw-stream")),
		async pull(to) {
			const { done = true, value } = (await input?.read()) ?? {};
			if (value) to.enqueue("tty" in asked && asked.tty ? value : framed(value));
			if (done) to.close();
		},
	});
}
