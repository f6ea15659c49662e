// The agents' bells: a WebSocket per node that says only "news": that its assignment may be another, or somebody wants
// something of its engine. The agent then asks, as it always does.
//
// The runtime keeps the sockets and answers their pings while the object is not in memory; what we must know of each
// is attached to it.

import type { NodeId } from "../../model/id.ts";
import type { Leases } from "./hearing.ts";

interface Attached {
	readonly node: NodeId;
	/** The agent's version, which its assignments are made in. */
	readonly protocol: number;
	readonly openedMs: number;
	/** The assignment that the node has, or was rung for; and the revision at which it became that one. */
	readonly told: string;
	readonly sinceRevision: number;
	/** Of the node's long lease. */
	readonly leaseUntilMs: number;
}

export class Bells {
	readonly #state: DurableObjectState;

	constructor(state: DurableObjectState) {
		this.#state = state;
		state.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
	}

	/** The answer to the agent that wants one. */
	open(node: NodeId, protocol: number, leaseUntilMs: number): Response {
		// An earlier line of the node is one that it gave up.
		for (const socket of this.#state.getWebSockets(node)) close(socket);
		const { 0: theirs, 1: ours } = new WebSocketPair();
		this.#state.acceptWebSocket(ours, [node]);
		attach(ours, {
			node,
			protocol,
			openedMs: Date.now(),
			told: "",
			sinceRevision: 0,
			leaseUntilMs,
		});
		return new Response(null, { status: 101, webSocket: theirs });
	}

	/** The nodes whose line is open, each with the time of its last sign of life. */
	lines(): Map<NodeId, number> {
		const lines = new Map<NodeId, number>();
		for (const socket of this.#state.getWebSockets()) {
			const { node, openedMs } = attachedTo(socket);
			const pinged = this.#state.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0;
			lines.set(node, Math.max(lines.get(node) ?? 0, openedMs, pinged));
		}
		return lines;
	}

	/** When the first of the long leases ends. */
	leaseUntilMs(): number {
		const all = this.#state.getWebSockets().map((socket) => attachedTo(socket).leaseUntilMs);
		return Math.min(...all);
	}

	ring(node: NodeId): void {
		for (const socket of this.#state.getWebSockets(node)) send(socket);
	}

	/** Rings those whose assignment is not the one that they know. Gives what all of them know, or have been rung for. */
	async ringAll(
		revision: number,
		hashOf: (of: Pick<Attached, "node" | "protocol">) => Promise<string>,
	): Promise<readonly Pick<Attached, "node" | "told" | "sinceRevision">[]> {
		const known: Attached[] = [];
		for (const socket of this.#state.getWebSockets()) {
			const told = await hashOf(attachedTo(socket));
			if (told !== attachedTo(socket).told) {
				attach(socket, { ...attachedTo(socket), told, sinceRevision: revision });
				send(socket);
			}
			known.push(attachedTo(socket));
		}
		return known;
	}

	/** What the node was answered. */
	told(node: NodeId, told: string, sinceRevision: number): void {
		for (const socket of this.#state.getWebSockets(node)) {
			if (attachedTo(socket).told === told) continue;
			attach(socket, { ...attachedTo(socket), told, sinceRevision });
		}
	}

	renewed(node: NodeId, leaseUntilMs: number): void {
		for (const socket of this.#state.getWebSockets(node)) {
			attach(socket, { ...attachedTo(socket), leaseUntilMs });
		}
	}

	/** From the other side: the runtime wants to hear it from ours too. */
	closed(socket: WebSocket): void {
		close(socket);
	}

	/** Of a line that is silent: an agent that is there after all opens another. */
	close(node: NodeId): void {
		for (const socket of this.#state.getWebSockets(node)) close(socket);
	}
}

/** What a line stood for. */
export function leaseOf(socket: WebSocket): Leases {
	const { node, leaseUntilMs } = attachedTo(socket);
	return new Map([[node, leaseUntilMs]]);
}

const attachedTo = (socket: WebSocket) => socket.deserializeAttachment() as Attached;
const attach = (socket: WebSocket, attached: Attached) => socket.serializeAttachment(attached);

/** A line that breaks just now is heard of as a closed one. */
function send(socket: WebSocket): void {
	try {
		socket.send("news");
	} catch {
		close(socket);
	}
}

function close(socket: WebSocket): void {
	try {
		socket.close(1001);
	} catch {
		// It was closed already.
	}
}
