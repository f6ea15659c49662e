// The control plane: processes that host the cluster at once over one database, and the doors for users and agents.
//
// Hosts, planner and the agents' door are the real ones. What is played here is what surrounds them: processes that
// are killed at whatever they wait for, requests that reach one or another of them, and the time that a call takes.

import type { AgentsDoor } from "../../control-plane/cluster.ts";
import { holdPoll } from "../../control-plane/dispatcher/assignments.ts";
import { join } from "../../control-plane/dispatcher/join.ts";
import { ProcessRelay } from "../../control-plane/dispatcher/relay.ts";
import { takeReport } from "../../control-plane/dispatcher/reports.ts";
import type { Planner } from "../../control-plane/manager/plan.ts";
import { ClusterHost } from "../../control-plane/reconcile.ts";
import type { AssignmentReply } from "../../model/assignment.ts";
import { messageOf } from "../../model/errors.ts";
import type { NodeId } from "../../model/id.ts";
import type { NodeDescription } from "../../model/node.ts";
import { protocolVersion } from "../../model/protocol.ts";
import type { JoinReply, Report } from "../../model/report.ts";
import { nothingSealed } from "../store/planner.ts";
import type { Clock } from "./clock.ts";
import { type Process, startProcess } from "./process.ts";
import { type Dice, diceOf } from "./random.ts";
import type { Store } from "./store.ts";
import type { Command } from "./user.ts";

/** As `main.ts` has it. */
const sweepMs = 2_000;
const sayAliveMs = 60_000;
/** After so long a process that was killed is there again. */
const reloadMs = 200;

/** One process, as those see it who reached it. Its answers never come once it is killed. */
export interface Reached {
	readonly process: Process;
	poll(node: NodeId, hash: string): Promise<AssignmentReply>;
	report(node: NodeId, report: Report): Promise<unknown>;
	join(description: NodeDescription): Promise<JoinReply>;
}

export interface ControlPlane {
	isUp(): boolean;
	/** Any that is up; undefined when none is. */
	reach(): Reached | undefined;
	start(): void;
	/** One of them dies in the middle of whatever it does. */
	kill(downMs: number): void;
	/** All of them; what they had read and not yet written is gone, and so are the polls they held. */
	crash(): void;
	/** Through one of them; what it could not do because it was killed is lost. */
	command(command: Command): void;
}

export interface ControlPlaneWorld {
	readonly seed: number;
	readonly clock: Clock;
	readonly dice: Dice;
	readonly store: Store;
	readonly planner: Planner;
	readonly processes: number;
	/** A word of the node was taken. */
	heard(node: NodeId): void;
	happened(what: string): void;
	log(line: string): void;
}

interface Hosting extends Reached {
	readonly host: ClusterHost;
}

export function controlPlane(world: ControlPlaneWorld): ControlPlane {
	const { clock, dice, store } = world;
	const places = Array.from({ length: world.processes }, (_, at) => ({
		name: `host ${at + 1}`,
		process: undefined as Process | undefined,
		hosting: undefined as Hosting | undefined,
		dice: diceOf(world.seed, `host ${at + 1}`),
	}));
	type Place = (typeof places)[number];
	let starts = 0;
	let isOut = false;

	function start(place: Place): void {
		const process = startProcess(clock);
		place.process = process;
		void open(place, process, `${place.name}/${++starts}`);
	}

	async function open(place: Place, process: Process, name: string): Promise<void> {
		const database = store.openFor(process, place.dice);
		const again = () => process.after(reloadMs, () => void open(place, process, name));
		const held = await database.load().catch(again);
		if (typeof held !== "object") return;
		const host = new ClusterHost(
			database,
			held,
			{
				planner: world.planner,
				name,
				nowMs: clock.nowMs,
				after: process.after,
				random: place.dice.next,
				newId: place.dice.id,
				listeningSinceMs: () => process.startedMs,
				background: (work) => void work.catch(() => undefined),
				log: (line) => world.log(`${place.name}: ${line}`),
			},
			nothingSealed,
			() => {},
		);
		host.planIfDue();
		const every = (ms: number, work: () => Promise<void>) => {
			process.after(ms, () => {
				work().catch((error) => world.log(`${place.name}: ${messageOf(error)}`));
				every(ms, work);
			});
		};
		every(sweepMs, () => host.sweep());
		every(sayAliveMs, () => host.sayAlive());
		place.hosting = hostingOf(host, process, place.dice);
	}

	function hostingOf(host: ClusterHost, process: Process, ids: Dice): Hosting {
		const door: AgentsDoor = {
			id: host.id,
			snapshot: () => host.snapshot(),
			commit: (decide) => host.commit(decide),
			wait: (...asked) => host.wait(...asked),
			seq: () => host.seq(),
			assignedSeq: () => host.assignedSeq(),
			events: (...asked) => host.events(...asked),
			contents: host.contents,
			credentials: host.credentials,
			inbox: host.inbox,
			report: (reported) => host.report(reported).then(() => world.heard(reported.node)),
		};
		const relay = new ProcessRelay();
		const signal = new AbortController().signal;
		return {
			host,
			process,
			poll: (node, hash) => {
				const of = { node, hash, protocol: protocolVersion };
				return holdPoll(door, relay, { ...of, signal, nowMs: clock.nowMs });
			},
			report: (node, report) => takeReport(door, node, report as never, clock.nowMs()),
			join: (description) =>
				join({
					door,
					token: { cluster: host.id, role: "worker", epoch: 0 },
					description,
					known: undefined,
					directory: { putCredential: () => process.ask(5, () => undefined, 5) },
					newId: ids.id,
					nowMs: clock.nowMs(),
				}),
		};
	}

	function end(place: Place): void {
		place.process?.kill();
		place.process = undefined;
		place.hosting = undefined;
	}

	const reach = () => {
		const up = places.flatMap(({ hosting }) => hosting ?? []);
		return up.length > 0 ? dice.pick(up) : undefined;
	};
	return {
		isUp: () => places.some(({ hosting }) => hosting),
		reach,
		start() {
			isOut = false;
			for (const place of places) if (!place.process) start(place);
		},
		kill(downMs) {
			const place = dice.pick(places);
			end(place);
			clock.after(downMs, () => {
				if (!place.process && !isOut) start(place);
			});
		},
		crash() {
			isOut = true;
			for (const place of places) end(place);
		},
		command(command) {
			const at = reach();
			if (!at) return;
			at.host
				.commit((snapshot, moment) => ({
					changes: command.changes(snapshot, moment),
					result: null,
				}))
				.catch((error) => world.log(`$ ${command.words}: ${messageOf(error)}`));
		},
	};
}
