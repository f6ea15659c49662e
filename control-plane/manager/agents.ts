// The agents' own program, rolled out ring by ring: one node, then a tenth of them, then the rest.
//
// A ring is told once every node before it has run the new program for a while, ready and without problems. One that
// fell back to its old program, or does not come back, stops the rollout until it is mended or another program is served.
// Which program that is comes in the Moment; how a node goes there is the agent's (edge-agent/update.ts).

import type { AgentRelease } from "../../model/assignment.ts";
import type { Moment, Scope } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import { agentUpdateLabel } from "../../model/labels.ts";
import { type AgentUpdate, type Node, nodeName } from "../../model/node.ts";
import type { Draft } from "./draft.ts";

/** To be told, load the program, start it and be heard: a minute at most, and the patience of a slow line. */
export const patienceMs = 300_000;

/** When time alone would change what is decided here; null when only news can. */
export function updateAgents(draft: Draft, moment: Moment, scope: Scope): number | null {
	const release = releaseFor(draft, moment);
	if (!release || isDone(draft, release, scope)) return null;
	const soakMs = moment.agent?.soakMs ?? 0;
	const nodes = [...draft.nodes.values()].filter((node) => isMeant(node, draft.cluster, release));
	const told = nodes
		.filter((node) => node.agentUpdate?.sha256 === release.sha256)
		.map((node) => follow(draft, moment, node, soakMs));
	const stopped = told.flatMap((node) => troubleOf(node, moment.nowMs) ?? [])[0];
	const going = told.filter(({ agentUpdate }) => agentUpdate?.state !== "proved");
	const waiting = nodes.filter((node) => isWaiting(node, release));
	if (stopped === undefined && going.length === 0) {
		const ring = ringAfter(told.length, nodes.length) - told.length;
		for (const node of waiting.slice(0, ring)) put(draft, moment, node, release, "told");
	}
	const settled = stopped === undefined && going.length === 0 && waiting.length === 0;
	const { version, sha256, sinceMs } = release;
	const how = { settled, ...(stopped !== undefined && { stopped }) };
	putRelease(draft, { version, sha256, sinceMs, ...how });
	return nextMs([...draft.nodes.values()], release, moment.nowMs, soakMs);
}

/** How many nodes are told altogether, once so many have proved it. */
export function ringAfter(proved: number, of: number): number {
	if (proved === 0) return 1;
	const tenth = Math.ceil(of / 10);
	return proved < tenth ? tenth : of;
}

/**
 * The program that the cluster goes to: the one that a control plane began to serve last. Where two of different releases
 * run at once, the earlier one leaves it alone, however often it is started anew.
 */
function releaseFor(draft: Draft, { agent }: Moment): Cluster["agent"] {
	const known = draft.cluster.agent;
	if (!agent) return undefined;
	if (known?.sha256 === agent.sha256) return known;
	if (known && known.sinceMs >= agent.sinceMs) return undefined;
	const { version, sha256, sinceMs } = agent;
	return { version, sha256, sinceMs, settled: false };
}

/** So that a plan for one task does not look at every node. */
function isDone(draft: Draft, release: NonNullable<Cluster["agent"]>, scope: Scope): boolean {
	if (!release.settled || scope === "all") return false;
	return [...scope.nodes].every((id) => {
		const node = draft.nodes.get(id);
		if (!node || !isMeant(node, draft.cluster, release)) return true;
		const { agentUpdate } = node;
		return agentUpdate?.sha256 === release.sha256
			? agentUpdate.state === "proved"
			: !isWaiting(node, release);
	});
}

/** It can go there by itself, and nobody said that it must not. */
function isMeant(node: Node, { document }: Cluster, release: AgentRelease): boolean {
	const labels = document["Labels"] as Readonly<Record<string, string>> | null | undefined;
	const wish = node.spec.labels[agentUpdateLabel] ?? labels?.[agentUpdateLabel];
	const isWished = wish === undefined || wish === "yes" || wish === release.version;
	return isWished && node.description.agentProgram !== undefined;
}

/** Not told, though it runs another program. A node that is down is told when it is back. */
function isWaiting({ agentUpdate, description, status }: Node, { sha256 }: AgentRelease): boolean {
	if (agentUpdate?.sha256 === sha256 || status.state !== "ready") return false;
	return description.agentProgram?.sha256 !== sha256;
}

/** How far a node that was told has got. */
function follow(draft: Draft, moment: Moment, node: Node, soakMs: number): Node {
	const { agentUpdate: update, description } = node;
	if (!update || update.state === "proved") return node;
	const runs = description.agentProgram?.sha256 === update.sha256;
	if (update.state === "told" && runs) return put(draft, moment, node, update, "reached");
	if (update.state === "reached" && !runs) return put(draft, moment, node, update, "told");
	const isProved = update.state === "reached" && healthySinceMs(node) + soakMs <= moment.nowMs;
	return isProved ? put(draft, moment, node, update, "proved") : node;
}

function troubleOf(node: Node, nowMs: number): string | undefined {
	const { agentUpdate: update, description, status } = node;
	if (!update || update.state === "proved") return undefined;
	const { failed } = description.agentProgram ?? {};
	if (failed?.sha256 === update.sha256) return `${nodeName(node)}: ${failed.reason}`;
	if (status.state === "down" && status.sinceMs >= update.sinceMs) {
		return `${nodeName(node)}: down since it was told to go there (${status.message})`;
	}
	if (update.state === "told" && update.sinceMs + patienceMs <= nowMs) {
		return `${nodeName(node)}: told ${patienceMs / 60_000} minutes ago to go there, and did not`;
	}
	return undefined;
}

function healthySinceMs({ agentUpdate, status }: Node): number {
	if (status.state !== "ready") return Number.POSITIVE_INFINITY;
	return Math.max(agentUpdate?.sinceMs ?? 0, status.sinceMs);
}

function put(
	draft: Draft,
	{ nowMs }: Moment,
	node: Node,
	{ version, sha256 }: AgentRelease,
	state: AgentUpdate["state"],
): Node {
	const next = { ...node, agentUpdate: { version, sha256, state, sinceMs: nowMs } };
	draft.put({ kind: "put-node", node: next });
	return next;
}

function putRelease(draft: Draft, agent: NonNullable<Cluster["agent"]>): void {
	const { cluster } = draft;
	if (JSON.stringify(cluster.agent) === JSON.stringify(agent)) return;
	draft.put({ kind: "put-cluster", cluster: { ...cluster, agent } });
}

function nextMs(
	nodes: readonly Node[],
	{ sha256 }: AgentRelease,
	nowMs: number,
	soakMs: number,
): number | null {
	const times = nodes.flatMap((node) => {
		const { agentUpdate: update } = node;
		if (update?.sha256 !== sha256) return [];
		if (update.state === "told") return [update.sinceMs + patienceMs];
		return update.state === "reached" ? [healthySinceMs(node) + soakMs] : [];
	});
	const later = times.filter((atMs) => atMs > nowMs && Number.isFinite(atMs));
	return later.length === 0 ? null : later.reduce((least, atMs) => Math.min(least, atMs));
}
