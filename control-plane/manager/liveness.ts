// Who is there: nodes go down when they are silent, and come up when they are heard.
//
// Silence counts from when we could hear. A node that its peers cannot reach either is given up sooner. What becomes
// of a lost node's tasks is the orchestrator's; here they are only written off, once they are not wanted there.

import type { Moment } from "../../model/change.ts";
import type { NodeId } from "../../model/id.ts";
import { type Node, nodeName } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { Draft } from "./draft.ts";
import { setStatus } from "./orchestrator/slot.ts";

/**
 * After so long without a word, the peers' word is taken for it. Agents poll every four seconds at the latest; three
 * more are for a machine that is merely busy, whose peers may well call it silent too.
 */
const silenceMs = 7_000;
/** Once told to, an agent loads its new program, tries it, and is started once or twice. */
const excusedMs = 60_000;

/** True if a node went down or came up: others' votes may count differently then. */
export function watchNodes(draft: Draft, moment: Moment): boolean {
	const before = draft.edits;
	const votes = countVotes(draft);
	for (const node of [...draft.nodes.values()]) {
		const verdict = judge(draft, moment, node, votes);
		if (verdict === undefined) continue;
		const { state, message } = verdict;
		if (node.status.state === state && node.status.message === message) continue;
		draft.put({
			kind: "put-node",
			node: { ...node, status: { state, message, sinceMs: moment.nowMs } },
		});
	}
	return draft.edits > before;
}

/** When silence alone would change the status of one of the nodes, should it last. */
export function nextVerdictMs(
	snapshot: Snapshot,
	moment: Moment,
	nodes: Iterable<NodeId>,
): number | null {
	const votes = countVotes(snapshot);
	let next: number | null = null;
	// Peers' words come with their own reports, not with those of the node that they speak of.
	for (const id of new Set([...nodes, ...votes.accused()])) {
		const node = snapshot.nodes.get(id);
		if (node?.status.state !== "ready") continue;
		const { nodeTimeoutMs } = snapshot.cluster;
		const atMs = votes.isOutvoted(node)
			? silentAtMs(snapshot, moment, node)
			: Math.max(node.leaseUntilMs, moment.listeningSinceMs + nodeTimeoutMs, excusedUntilMs(node));
		if (next === null || atMs < next) next = atMs;
	}
	return next;
}

/** Undefined where nothing changes. */
function judge(
	snapshot: Snapshot,
	moment: Moment,
	node: Node,
	votes: Votes,
): Pick<Node["status"], "state" | "message"> | undefined {
	const { nowMs, listeningSinceMs } = moment;
	const { nodeTimeoutMs } = snapshot.cluster;
	const { status, leaseUntilMs, description } = node;
	const isHeard = leaseUntilMs > nowMs;
	const [problem] = description.problems;
	if (status.state === "ready") {
		const isExcused = nowMs < Math.max(listeningSinceMs + nodeTimeoutMs, excusedUntilMs(node));
		if (!isHeard && !isExcused) {
			return { state: "down", message: `not heard for ${nodeTimeoutMs / 1000} s` };
		}
		if (problem !== undefined) return { state: "down", message: problem };
		if (votes.isOutvoted(node) && silentAtMs(snapshot, moment, node) <= nowMs) {
			return {
				state: "down",
				message: `not heard for ${silenceMs / 1000} s, and its peers cannot reach it`,
			};
		}
		return undefined;
	}
	// A lease from before it went down says nothing.
	const isBack = isHeard && leaseUntilMs - nodeTimeoutMs >= status.sinceMs;
	if (status.state === "down" && !isBack) return undefined;
	if (!isHeard) return undefined;
	return problem === undefined
		? { state: "ready", message: "" }
		: { state: "down", message: problem };
}

function silentAtMs({ cluster }: Snapshot, { listeningSinceMs }: Moment, node: Node): number {
	const silentMs =
		Math.max(node.leaseUntilMs - cluster.nodeTimeoutMs, listeningSinceMs) + silenceMs;
	return Math.max(silentMs, excusedUntilMs(node));
}

/** An agent that goes to another program ends, and perhaps falls back: its tasks run on. */
function excusedUntilMs({ agentUpdate }: Node): number {
	return agentUpdate?.state === "told" ? agentUpdate.sinceMs + excusedMs : 0;
}

interface Votes {
	/** Most of the other live nodes cannot reach it. */
	isOutvoted(node: Node): boolean;
	/** Those that some peer cannot reach. */
	accused(): Iterable<NodeId>;
}

function countVotes(snapshot: Snapshot): Votes {
	const against = new Map<NodeId, number>();
	let ready = 0;
	for (const node of snapshot.nodes.values()) {
		if (node.status.state !== "ready") continue;
		ready++;
		if (node.unreachable.length === 0) continue;
		for (const id of new Set(node.unreachable)) {
			if (id !== node.id) against.set(id, (against.get(id) ?? 0) + 1);
		}
	}
	return {
		accused: () => against.keys(),
		isOutvoted({ id, status }) {
			const others = ready - (status.state === "ready" ? 1 : 0);
			return (against.get(id) ?? 0) * 2 > others;
		},
	};
}

/** What runs, or not, on a node that is lost: nobody will ever say. When the node is back, its containers must stop. */
export function writeOff(draft: Draft, moment: Moment, id: NodeId): void {
	const node = draft.nodes.get(id);
	if (node && node.status.state !== "down") return;
	const message = node
		? `node ${nodeName(node)} is down: ${node.status.message}`
		: "its node was removed";
	for (const task of [...draft.tasksOfNode(id).values()]) {
		if (isMeantToRun(task) || isTerminal(task.status.state)) continue;
		setStatus(draft, moment, task, { state: "orphaned", message, error: "" });
	}
}
