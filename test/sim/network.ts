// The way between machines and the control plane: what is said on it is lost, late, said twice, or answered from
// before; and machines are cut off, from the control plane or from each other.

import { AgentRefusal } from "../../control-plane/dispatcher/identity.ts";
import { type Dispatcher, DispatcherError, NodeGone } from "../../edge-agent/dispatcher.ts";
import type { AssignmentReply } from "../../model/assignment.ts";
import { messageOf, Refusal } from "../../model/errors.ts";
import type { NodeId } from "../../model/id.ts";
import type { NodeDescription } from "../../model/node.ts";
import type { JoinReply, Report } from "../../model/report.ts";
import type { Clock } from "./clock.ts";
import type { ControlPlane, Reached } from "./control-plane.ts";
import type { Process } from "./process.ts";
import type { Dice } from "./random.ts";

export interface Network {
	/** By machine. */
	cutFromPlane(machine: string, ms: number): void;
	cutFromPeers(machine: string, ms: number): void;
	areConnected(one: string, other: string): boolean;
	dispatcher(machine: string, process: Process, node: NodeId): Dispatcher;
	join(machine: string, process: Process, description: NodeDescription): Promise<JoinReply>;
}

/** As the agent's `fetch` has it. */
const callTimeoutMs = 20_000;

export function network(world: {
	readonly clock: Clock;
	readonly dice: Dice;
	/** For copies of what nodes say of themselves. */
	readonly copies: Dice;
	readonly plane: () => ControlPlane;
	faulty(): boolean;
	happened(what: string): void;
}): Network {
	const { clock, dice, copies, happened } = world;
	const cuts = { plane: new Map<string, number>(), peers: new Map<string, number>() };
	const isCut = (from: "plane" | "peers", machine: string) =>
		(cuts[from].get(machine) ?? 0) > clock.nowMs();
	const replies = new Map<NodeId, AssignmentReply>();

	/** A message on its way: in time, late, or lost. */
	function travel(machine: string, arrive: () => void, lost: () => void): void {
		if (isCut("plane", machine)) {
			lost();
			return;
		}
		const luck = world.faulty() ? dice.next() : 1;
		if (luck < 0.025) {
			happened("a message is lost");
			lost();
			return;
		}
		if (luck < 0.1) happened("a message is late");
		const lateMs = luck < 0.1 ? dice.between(500, 8000) : 0;
		clock.after(dice.between(1, 20) + lateMs, () => {
			if (isCut("plane", machine)) lost();
			else arrive();
		});
	}

	/** A question and its answer, as an agent's `fetch` sees them: `times` it arrives, the first answer counts. */
	function call<Answer>(
		machine: string,
		process: Process,
		work: (plane: Reached) => Promise<Answer>,
		times = 1,
	): Promise<Answer> {
		const { promise, resolve, reject } = Promise.withResolvers<Answer>();
		let isOver = false;
		const finish = (settle: () => void) => {
			if (isOver) return;
			isOver = true;
			settle();
		};
		// A connection that breaks is mostly noticed; now and then nobody says a word any more.
		const lost = () => {
			const afterMs = dice.chance(0.9) ? dice.between(50, 3000) : callTimeoutMs;
			process.after(afterMs, () => finish(() => reject(new Error("the connection was reset"))));
		};
		process.after(callTimeoutMs, () => finish(() => reject(new Error("The operation timed out."))));
		const arrive = () => {
			const plane = world.plane().reach();
			if (!plane) {
				lost();
				return;
			}
			const forget = plane.process.onKill(lost);
			const answer = (settle: () => void) => {
				forget();
				travel(machine, () => process.isAlive() && finish(settle), lost);
			};
			work(plane).then(
				(value) => answer(() => resolve(value)),
				(error) => answer(() => reject(asTheAgentSees(error))),
			);
		};
		for (let time = 0; time < times; time++) travel(machine, arrive, lost);
		return promise;
	}

	/** A proxy says it once more, when the node has said other things since. */
	function copyLate(node: NodeId, report: Report): void {
		clock.after(copies.between(100, 20_000), () => {
			const plane = world.plane().reach();
			if (!plane) return;
			happened("an old description comes again");
			plane.report(node, report).catch(() => undefined);
		});
	}

	return {
		cutFromPlane: (machine, ms) => cuts.plane.set(machine, clock.nowMs() + ms),
		cutFromPeers: (machine, ms) => cuts.peers.set(machine, clock.nowMs() + ms),
		areConnected: (one, other) => !isCut("peers", one) && !isCut("peers", other),
		dispatcher: (machine, process, node) => ({
			bell: () => Promise.reject(new Error("no bell was offered")),
			async poll({ hash }) {
				const stale = replies.get(node);
				if (stale && world.faulty() && dice.chance(0.01)) {
					happened("a poll is answered from before");
					return process.ask(dice.between(1, 20), () => stale, 1);
				}
				const reply = await call(machine, process, (plane) => plane.poll(node, hash));
				if (reply.assignment && (!stale || dice.chance(0.3))) replies.set(node, reply);
				return reply;
			},
			async report(report) {
				const isNode = report.description !== undefined;
				const twice = world.faulty() && dice.chance(0.05) && !isNode;
				if (twice) happened("a report comes twice");
				if (isNode && world.faulty() && copies.chance(0.5)) copyLate(node, report);
				await call(machine, process, (plane) => plane.report(node, report), twice ? 2 : 1);
			},
			contents: async () => [],
			stream: async () => {},
			input: async () => new Blob([]).stream(),
			registryAuth: async () => null,
			buildSecrets: () => Promise.reject(new Error("nothing is built here")),
			buildStack: () => Promise.reject(new Error("nothing is built here")),
			buildLog: () => Promise.reject(new Error("nothing is built here")),
			leave: async () => {},
		}),
		join: (machine, process, description) =>
			call(machine, process, (plane) => plane.join(description)),
	};
}

/** What comes back over HTTP, as `edge-agent/dispatcher.ts` reads it. */
function asTheAgentSees(error: unknown): Error {
	if (error instanceof AgentRefusal && error.status === 410) return new NodeGone(error.message);
	if (error instanceof AgentRefusal) return new DispatcherError(error.status, error.message);
	if (error instanceof Refusal) return new DispatcherError(503, error.message);
	return new DispatcherError(500, messageOf(error));
}
