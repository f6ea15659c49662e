// An agent for tests: speaks to the agents' door as the real one does, and does what it is told by hand.

import type { AssignmentReply } from "../../model/assignment.ts";
import type { TaskId } from "../../model/id.ts";
import type { NodeDescription } from "../../model/node.ts";
import type { JoinReply, Report } from "../../model/report.ts";
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

/** Does at once whatever it is assigned, until the signal: a machine on which everything works. */
export async function obey(agent: TestAgent, signal: AbortSignal): Promise<void> {
	let held = { revision: 0, hash: "" };
	let observed = 1;
	const done = new Map<TaskId, TaskState>();
	while (!signal.aborted) {
		try {
			await turn();
		} catch (error) {
			if (signal.aborted || String(error).includes("410")) return;
			await Bun.sleep(100);
		}
	}

	async function turn() {
		const { revision, hash, assignment, streams } = await agent.poll(held, signal);
		for (const request of streams ?? []) {
			await agent.ask(`/stream/${request.id}`, { method: "POST", body: logOf(request.task) });
		}
		if (revision === held.revision && hash === held.hash) return;
		const tasks = (assignment?.tasks ?? []).filter(({ id, desired }) => done.get(id) !== desired);
		await agent.report({
			applied: { revision, hash },
			tasks: tasks.map(({ id, desired }) => ({
				id,
				status: {
					...sampleStatus(desired, ++observed),
					containerId: `container-${id}`,
					sinceMs: Date.now(),
				},
			})),
		});
		held = { revision, hash };
		for (const { id, desired } of tasks) done.set(id, desired);
	}
}

/** One line, in the framing of Docker's logs: where it went to, its length, itself. */
export function logOf(task: TaskId): Uint8Array<ArrayBuffer> {
	const line = new TextEncoder().encode(`2026-11-20T12:00:00.000000000Z hello from ${task}\n`);
	const frame = new Uint8Array(8 + line.length);
	frame.set([1, 0, 0, 0, 0, 0, 0, line.length]);
	frame.set(line, 8);
	return frame;
}
