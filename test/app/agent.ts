// An agent for tests: speaks to the agents' door as the real one does, and does what it is told by hand.

import type { AssignmentReply } from "../../model/assignment.ts";
import type { NodeDescription } from "../../model/node.ts";
import type { JoinReply, Report } from "../../model/report.ts";
import { sampleDescription } from "../store/sample.ts";

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
