// The containers of tasks, on whatever node: which there are, which one a name means, and how its node is asked.

import { invalid, messageOf, notFound, unavailable } from "../../model/errors.ts";
import type { NodeId, TaskId } from "../../model/id.ts";
import { nodeName } from "../../model/node.ts";
import type { EngineRequest, NodeQuestion } from "../../model/relay.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { slotKey, type Task, taskName } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { AskNode, ClusterDoor, NodeAnswer } from "../cluster.ts";
import { services } from "./lookup.ts";

/** A task that has a container, and so a node. */
export type Held = Task & { readonly node: NonNullable<Task["node"]> };

/**
 * Newest first. Of what has ended, a node keeps the last of each slot, for its log and for whoever wants to know why;
 * the rest is removed.
 */
export function containersOf(snapshot: Snapshot): Held[] {
	const newestFirst = [...snapshot.tasks.values()]
		.filter(isHeld)
		.sort((a, b) => b.createdMs - a.createdMs || (a.id < b.id ? 1 : -1));
	const seats = new Set<string>();
	return newestFirst.filter((task) => {
		if (!isTerminal(task.status.state)) return true;
		const seat = `${slotKey(task)} ${task.node}`;
		if (seats.has(seat)) return false;
		seats.add(seat);
		return true;
	});
}

function isHeld(task: Task): task is Held {
	return task.node !== null && task.status.containerId !== "";
}

export function containerName(snapshot: Snapshot, task: Task): string {
	return taskName(snapshot.services.get(task.service)?.spec.name ?? task.service, task);
}

/** What `docker service ps` shows of an id is enough; less of one could be a word that means something else. */
const shortId = 12;

/**
 * By container id, container name, task id, or `web.1`: the slot's newest task that runs, else its newest. `web.h1`
 * where the slot is the node. By the beginning of an id, unless something else is called just so.
 */
export function findContainer(snapshot: Snapshot, asked: string): Held {
	const name = asked.replace(/^\//, "");
	const all = containersOf(snapshot);
	const exact =
		all.find(({ status }) => status.containerId === name) ??
		all.find((task) => containerName(snapshot, task) === name) ??
		[...snapshot.tasks.values()].filter(isHeld).find((task) => task.id === name) ??
		ofSlot(snapshot, all, name);
	if (exact) return exact;
	const found = isTaken(snapshot, name)
		? []
		: all.filter(
				({ id, status }) => status.containerId.startsWith(name) || isTaskId(id as TaskId, name),
			);
	const [first, ...more] = name === "" ? [] : found;
	if (more.length > 0) throw invalid(`multiple IDs found with provided prefix: ${name}`);
	if (first) return first;
	throw notFound(`No such container: ${asked}${whyNone(snapshot, name)}`);
}

/** The task's id, or as much of it as people see. */
export function isTaskId(id: TaskId, asked: string): boolean {
	return asked.length >= shortId && id.startsWith(asked);
}

function ofSlot(snapshot: Snapshot, newestFirst: readonly Held[], name: string): Held | undefined {
	const ofName = newestFirst.filter((task) => slotNames(snapshot, task).includes(name));
	return ofName.find(({ status }) => status.state === "running") ?? ofName[0];
}

function slotNames(snapshot: Snapshot, task: Task): string[] {
	const service = snapshot.services.get(task.service)?.spec.name;
	if (service === undefined) return [];
	if (task.slot > 0) return [`${service}.${task.slot}`];
	const node = task.node && snapshot.nodes.get(task.node);
	return node ? [`${service}.${node.id}`, `${service}.${nodeName(node)}`] : [];
}

/** A service called `cafe` is not the container whose id begins so. */
function isTaken(snapshot: Snapshot, name: string): boolean {
	return (
		services(snapshot).some(({ spec }) => spec.name === name) ||
		[...snapshot.nodes.values()].some((node) => nodeName(node) === name) ||
		[...snapshot.networks.values()].some((network) => network.name === name)
	);
}

/** A task that is known, and has no container yet. */
function whyNone(snapshot: Snapshot, name: string): string {
	const task = [...snapshot.tasks.values()].find(
		(each) =>
			each.id === name ||
			(!isTerminal(each.status.state) && slotNames(snapshot, each).includes(name)),
	);
	if (!task) return "";
	const { state, error, message } = task.status;
	return ` (its task is ${state}: ${error || message})`;
}

export interface Asking {
	readonly cluster: ClusterDoor;
	readonly askNode: AskNode;
	readonly signal: AbortSignal;
	readonly stdin?: ReadableStream<Uint8Array> | undefined;
}

export function askContainer(
	asking: Asking,
	task: Held,
	asked: EngineRequest,
): Promise<NodeAnswer> {
	const question = { task: task.id, containerId: task.status.containerId, asked };
	return askEngine(asking, task.node, question);
}

/** The engine's answer, whatever its status. Ends when the node goes down. Rejects with an `Unheard`. */
export async function askEngine(
	{ cluster, askNode, signal, stdin }: Asking,
	id: NodeId,
	question: NodeQuestion,
): Promise<NodeAnswer> {
	const down = new AbortController();
	const over = new AbortController();
	const node = (await cluster.snapshot()).nodes.get(id);
	const name = node ? nodeName(node) : id;
	if (!node || node.status.state === "down") throw new Unheard(name, "it is down");
	void endsWithNode(cluster, id, over.signal).then(() => {
		if (!over.signal.aborted) down.abort(new Unheard(name, "it went down"));
	});
	try {
		const going = { signal: AbortSignal.any([signal, down.signal]), ...(stdin && { stdin }) };
		const answer = await askNode(id, question, going);
		void answer.over.then(() => over.abort());
		return answer;
	} catch (error) {
		over.abort();
		throw error instanceof Unheard ? error : new Unheard(name, messageOf(error), error);
	}
}

/** The node could not be asked. `why` is said after its name. */
export class Unheard extends Error {
	readonly node: string;
	readonly why: string;

	constructor(node: string, why: string, cause?: unknown) {
		super(`node ${node}: ${why}`, { cause });
		this.name = "Unheard";
		this.node = node;
		this.why = why;
	}
}

/** For whom nothing else is left to say. */
export function unheard(error: unknown): unknown {
	return error instanceof Unheard ? unavailable(error.message, { cause: error }) : error;
}

/** Long enough to cost nothing; news of the cluster wakes it anyhow. */
const lookMs = 5_000;

/** Until the node is down or gone, or the signal. Never rejects. */
async function endsWithNode(cluster: ClusterDoor, node: NodeId, signal: AbortSignal) {
	while (!signal.aborted) {
		const seq = cluster.seq();
		const state = await cluster.snapshot().then(
			(snapshot) => snapshot.nodes.get(node)?.status.state ?? "down",
			() => "unknown",
		);
		if (state === "down") return;
		await cluster.wait(seq, lookMs, signal);
	}
}
