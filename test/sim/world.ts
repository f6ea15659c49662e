// One run: a small cluster, a seed's worth of faults and wishes, then peace, in which everything must converge.

import { assign } from "../../control-plane/manager/assign.ts";
import {
	cluster,
	node as nodeOf,
} from "../../control-plane/manager/scheduler/schedule.test-data.ts";
import type { Assignment } from "../../model/assignment.ts";
import type { Change } from "../../model/change.ts";
import type { NetworkId, NodeId, TaskId } from "../../model/id.ts";
import type { Network } from "../../model/network.ts";
import { type Clock, clock as newClock } from "./clock.ts";
import { type ControlPlane, controlPlane, hashOf } from "./control-plane.ts";
import { type Machine, machine } from "./machine.ts";
import { diceOf } from "./random.ts";
import { store as newStore, type Store } from "./store.ts";
import { anyCommand, tidyUp } from "./user.ts";
import { broken, unconverged, unexplained, watcher } from "./watch.ts";

export interface Run {
	readonly seed: number;
	readonly revisions: number;
	readonly tasks: number;
	/** From the last fault until everything was as asked. */
	readonly convergedMs: number;
	/** What happened, in order. */
	readonly story: readonly string[];
}

/** What a run ends with when a promise breaks; `cause` is what broke. */
export class Failed extends Error {
	readonly story: readonly string[];

	constructor(
		message: string,
		options: { readonly cause: unknown; readonly story: readonly string[] },
	) {
		super(message, options);
		this.name = "Failed";
		this.story = options.story;
	}
}

const troubleMs = 45_000;
/** Restart delays of 5 s, updates one task at a time with 5 s of watching each, a node that is down for 30 s first. */
const peaceMs = 300_000;

export function run(seed: number): Run {
	const story: string[] = [];
	try {
		return play(seed, story);
	} catch (cause) {
		const what = cause instanceof Error ? cause.message : String(cause);
		throw new Failed(`seed ${seed}: ${what}`, { cause, story });
	}
}

function play(seed: number, story: string[]): Run {
	const dice = {
		shape: diceOf(seed, "shape"),
		network: diceOf(seed, "network"),
		faults: diceOf(seed, "faults"),
		user: diceOf(seed, "user"),
		planner: diceOf(seed, "planner"),
	};
	const clock = newClock();
	const startMs = clock.nowMs();
	const tell = (what: string) =>
		story.push(`${String(clock.nowMs() - startMs).padStart(7)} ${what}`);

	const store = newStore({ ...cluster(), nodeTimeoutMs: 5000, taskHistory: 2, createdMs: startMs });
	const watch = watcher(store, clock.nowMs);
	const tables = new Map<NodeId, Assignment>();
	let faulty = true;

	const plane = controlPlane({
		clock,
		dice: dice.planner,
		store,
		landed(planned) {
			tell(`revision ${store.facts.revision}: ${planned.changes.map(show).join(", ")}`);
			watch.landed(planned);
		},
	});

	const cut = new Set<NodeId>();
	/** A message on its way: lost, late, or in time. */
	const travel = (node: NodeId, arrive: () => void) => {
		if (cut.has(node) || (faulty && dice.network.chance(0.03))) return;
		const lateMs = faulty && dice.network.chance(0.08) ? dice.network.between(500, 8000) : 0;
		clock.after(dice.network.between(1, 20) + lateMs, () => {
			if (!cut.has(node)) arrive();
		});
	};
	const nodes = Array.from({ length: dice.shape.between(2, 4) }, (_, at) =>
		nodeOf({ index: at + 1 }),
	);
	const machines: Machine[] = nodes.map(({ id }) =>
		machine(id, {
			clock,
			dice: diceOf(seed, `machine ${id}`),
			faulty: () => faulty,
			poll: (node, hash, answer) =>
				travel(node, () => {
					if (plane.isUp()) watch.heard(node);
					plane.poll(node, hash, (reply) => travel(node, () => answer(reply)));
				}),
			report(node, report, heard) {
				const times = faulty && dice.network.chance(0.05) ? 2 : 1;
				for (let time = 0; time < times; time++) {
					travel(node, () => {
						if (!plane.isUp()) return;
						watch.heard(node);
						plane.report(node, report);
						travel(node, heard);
					});
				}
			},
			applied(node, applied) {
				tables.set(node, applied);
				tell(`${node} applied revision ${applied.revision}`);
				watch.applied(node, applied);
			},
			stopping(node, task) {
				tell(`${node} stops ${task}`);
				watch.stopping(node, task, tables);
			},
		}),
	);

	store.commit(0, [
		...networks().map((network) => ({ kind: "put-network", network }) as const),
		...nodes.map((node) => ({ kind: "put-node", node: { ...node, createdMs: startMs } }) as const),
	]);
	plane.start();
	for (const each of machines) each.start();

	// The faults, one after the other, each undone in its own time.
	const trouble = () => {
		if (clock.nowMs() > startMs + troubleMs) return;
		const victim = dice.faults.pick(machines);
		const turn = dice.faults.next();
		if (turn < 0.25) {
			tell(`a container breaks on ${victim.node}`);
			victim.breakContainer(dice.faults.pick(["exit", "exit", "unhealthy"]));
		} else if (turn < 0.4) {
			const downMs = dice.faults.between(100, 3000);
			tell(`the agent of ${victim.node} restarts, ${downMs} ms`);
			victim.restartAgent(downMs);
		} else if (turn < 0.5) {
			const downMs = dice.faults.between(1000, 20_000);
			tell(`${victim.node} reboots, ${downMs} ms`);
			tables.delete(victim.node);
			victim.reboot(downMs);
		} else if (turn < 0.75) {
			const silentMs = dice.faults.between(500, 20_000);
			tell(`${victim.node} is cut off, ${silentMs} ms`);
			cut.add(victim.node);
			clock.after(silentMs, () => cut.delete(victim.node));
		} else if (plane.isUp()) {
			const downMs = dice.faults.between(200, 25_000);
			tell(`the control plane dies, ${downMs} ms`);
			if (downMs > 20_000 && dice.faults.chance(0.5)) {
				clock.after(11_000, () => {
					tell(`${victim.node} reboots in the silence`);
					tables.delete(victim.node);
					victim.reboot(1000);
				});
			}
			const endSilence = silence(machines, clock);
			plane.crash();
			clock.after(downMs, () => {
				tell("the control plane is back");
				endSilence();
				for (const each of machines) watch.heard(each.node);
				plane.start();
			});
		}
		clock.after(dice.faults.between(200, 6000), trouble);
	};
	clock.after(2000, trouble);
	const dead = new Set<NodeId>();
	const doomed = machines.at(-1);
	if (machines.length > 2 && doomed && dice.shape.chance(0.25)) {
		clock.after(dice.shape.between(5000, troubleMs), () => {
			tell(`${doomed.node} is gone for good`);
			dead.add(doomed.node);
			tables.delete(doomed.node);
			doomed.destroy();
		});
	}
	const wish = () => {
		if (clock.nowMs() > startMs + troubleMs) return;
		const command = anyCommand(dice.user, store.facts);
		tell(`$ ${command.words}`);
		plane.command(command);
		clock.after(dice.user.between(100, 8000), wish);
	};
	clock.after(100, wish);

	while (clock.step(startMs + troubleMs));
	faulty = false;
	tell("peace");
	// Whatever fault still lasts ends in its own time: within 25 s.
	while (clock.step(startMs + troubleMs + 26_000));
	cut.clear();
	for (const command of tidyUp(store.facts, dice.user.chance(0.5))) plane.command(command);
	const peaceAtMs = clock.nowMs();
	for (;;) {
		const untilMs = clock.nowMs() + 1000;
		while (clock.step(untilMs));
		const alive = machines.filter(({ node }) => !dead.has(node));
		const left = [...unconverged(store.facts, dead), ...unapplied(alive, store, plane)];
		if (left.length === 0) break;
		if (clock.nowMs() > peaceAtMs + peaceMs) broken("I5", left.join("\n"));
	}
	const silent = unexplained(store.facts);
	if (silent.length > 0) broken("I8", silent.join("\n"));
	return {
		seed,
		revisions: store.facts.revision,
		tasks: store.facts.tasks.size,
		convergedMs: clock.nowMs() - peaceAtMs,
		story,
	};
}

/**
 * I6: what runs when the control plane falls silent runs when it is back, but for what broke or ended by itself; and
 * the tables are the same. Both also on a machine that was rebooted meanwhile, given the time to boot.
 */
function silence(machines: readonly Machine[], clock: Clock): () => void {
	/** What was told just before may still be on its way, eight seconds late, and then through the agent. */
	const calmMs = 10_000;
	const before = new Map<
		Machine,
		{ running: ReadonlySet<TaskId>; tables: Assignment | undefined }
	>();
	clock.after(calmMs, () => {
		for (const each of machines) {
			if (!each.isIdle()) continue;
			before.set(each, { running: each.running(), tables: each.tables() });
		}
	});
	return () => {
		for (const [each, { running, tables }] of before) {
			const upSinceMs = each.upSinceMs();
			if (upSinceMs === undefined || clock.nowMs() - upSinceMs < 4500) continue;
			const now = each.tables();
			if (tables && (!now || hashOf(now) !== hashOf(tables))) {
				broken("I6", `${each.node} changed its tables in the silence`);
			}
			const statuses = each.statuses();
			for (const task of running) {
				if (each.running().has(task) || each.broke().has(task)) continue;
				broken("I6", `${each.node} lost ${task}, ${statuses.get(task)?.state}, in the silence`);
			}
		}
	};
}

/**
 * Tables and containers that are not yet what the newest revision says. That a task has ended as it was told to is no
 * news to anybody: it leaves the assignments with the next decision.
 */
function unapplied(machines: readonly Machine[], store: Store, plane: ControlPlane): string[] {
	return machines.flatMap((each) => {
		const wanted = assign(store.facts, each.node);
		const found: string[] = [];
		const tables = each.tables();
		if (!tables || hashOf(tables) !== plane.hashFor(each.node))
			found.push(`${each.node} has old tables`);
		const asked = new Set(
			wanted.tasks.filter(({ desired }) => desired === "running").map(({ id }) => id),
		);
		for (const id of each.running())
			if (!asked.has(id)) found.push(`${each.node} still runs ${id}`);
		return found;
	});
}

/** The ingress network, and two that services may ask for. */
function networks(): Network[] {
	return ["ingress", "net-a", "net-b"].map((name, at) => ({
		id: name as NetworkId,
		name,
		vni: 4096 + at,
		subnet: "",
		internal: false,
		attachable: name === "net-b",
		ingress: name === "ingress",
		labels: {},
		options: {},
		document: {},
		createdMs: 1,
	}));
}

/** `put-task web.1 running/failed` */
function show(change: Change): string {
	switch (change.kind) {
		case "put-task": {
			const { id, slot, node, desired, serving, released, generation } = change.task;
			const flags = `${serving ? " serving" : ""}${released ? " released" : ""}`;
			return `task ${id.slice(0, 5)} slot ${slot} gen ${generation} on ${node} -> ${desired}${flags}`;
		}
		case "task-status":
			return `status ${change.id.slice(0, 5)} ${change.status.state} ${change.status.error}`;
		case "put-service":
			return `service ${change.service.spec.name} v${change.service.specVersion} ${change.service.updateStatus?.state ?? ""}`;
		case "put-node":
			return `node ${change.node.id} ${change.node.status.state} ${change.node.spec.availability}`;
		case "put-lease":
			return `lease ${change.lease.address} ${change.lease.holder} ${change.lease.releasedMs || ""}`;
		case "remove-task":
			return `remove-task ${change.id.slice(0, 5)}`;
		default:
			return change.kind;
	}
}
