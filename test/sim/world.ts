// One life: a small cluster, a seed's worth of faults and wishes, then peace, in which everything must converge.

import { assign, assignmentText } from "../../control-plane/manager/assign.ts";
import { type Planner, plan, planAfter } from "../../control-plane/manager/plan.ts";
import {
	cluster,
	node as nodeOf,
} from "../../control-plane/manager/scheduler/schedule.test-data.ts";
import type { Assignment } from "../../model/assignment.ts";
import type { Change } from "../../model/change.ts";
import type { NetworkId, NodeId, TaskId } from "../../model/id.ts";
import type { Network } from "../../model/network.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isTerminal } from "../../model/taskstate.ts";
import { broken } from "./broken.ts";
import { type Clock, clock as newClock } from "./clock.ts";
import { controlPlane } from "./control-plane.ts";
import { nextFault } from "./faults.ts";
import { type Machine, machine } from "./machine.ts";
import { network } from "./network.ts";
import { diceOf } from "./random.ts";
import { config } from "./specs.ts";
import { store as newStore, type Store } from "./store.ts";
import { anyCommand, endSchedules, mend, tidyUp } from "./user.ts";
import { unconverged, unexplained, watcher } from "./watch.ts";

export interface Run {
	readonly seed: number;
	readonly revisions: number;
	readonly tasks: number;
	/** From the last fault until everything was as asked. */
	readonly convergedMs: number;
	/** What happened, in order. */
	readonly story: readonly string[];
	/** How often what happened. */
	readonly counts: ReadonlyMap<string, number>;
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

/** Bugs to be found, each in place of what is right. */
export interface Bugs {
	readonly planner?: Planner;
	readonly mergesByArrival?: boolean;
	readonly describesByArrival?: boolean;
	readonly landsAnything?: boolean;
	readonly forgetsLedger?: boolean;
	readonly takesAnything?: boolean;
	readonly acknowledgesEarly?: boolean;
	readonly repeatsJobs?: boolean;
}

export function run(seed: number, bugs: Bugs = {}): Run {
	const story: string[] = [];
	const { digest } = crypto.subtle;
	// WebCrypto answers from threads of its own, in no order that a seed could decide. A life is over before anybody
	// else gets a turn, so nobody else sees this one.
	crypto.subtle.digest = async (_algorithm, data) =>
		new Bun.CryptoHasher("sha256").update(data as Uint8Array).digest().buffer as ArrayBuffer;
	try {
		return play(seed, story, bugs);
	} catch (cause) {
		const what = cause instanceof Error ? cause.message : String(cause);
		throw new Failed(`seed ${seed}: ${what}`, { cause, story });
	} finally {
		crypto.subtle.digest = digest;
	}
}

const troubleMs = 25_000;
/** Restart delays of 5 s, updates one task at a time with 5 s of watching each, a node that is down for 30 s first. */
const peaceMs = 300_000;

function play(seed: number, story: string[], bugs: Bugs): Run {
	const dice = {
		shape: diceOf(seed, "shape"),
		network: diceOf(seed, "network"),
		copies: diceOf(seed, "copies"),
		faults: diceOf(seed, "faults"),
		user: diceOf(seed, "user"),
		plane: diceOf(seed, "plane"),
	};
	const clock = newClock();
	const startMs = clock.nowMs();
	const tell = (what: string) =>
		story.push(`${String(clock.nowMs() - startMs).padStart(7)} ${what}`);
	const counts = new Map<string, number>();
	const happened = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
	let isFaulty = true;
	const faulty = () => isFaulty;

	// With Docker's own patience a node's peers have a say before its silence has; with less, never.
	const nodeTimeoutMs = dice.shape.pick([5000, 15_000]);
	const store: Store = newStore({
		cluster: { ...cluster(), nodeTimeoutMs, taskHistory: 2, createdMs: startMs },
		faulty,
		happened,
		landed(decision) {
			tell(`revision ${store.facts.revision}: ${decision.changes.map(show).join(", ")}`);
			for (const change of decision.changes) count(change, decision.before, happened);
			watch.landed(decision);
		},
		reported: () => watch.reported(),
		mergesByArrival: bugs.mergesByArrival ?? false,
		describesByArrival: bugs.describesByArrival ?? false,
		landsAnything: bugs.landsAnything ?? false,
	});
	const watch = watcher(store, clock.nowMs, happened);
	store.begin([
		...networks().map((network) => ({ kind: "put-network", network }) as const),
		{ kind: "put-material", material: config },
	]);

	const plane = controlPlane({
		seed,
		clock,
		dice: dice.plane,
		store,
		planner: bugs.planner ?? { plan, planAfter },
		processes: dice.shape.between(1, 3),
		heard: watch.heard,
		happened,
		log: tell,
	});
	const net = network({
		clock,
		dice: dice.network,
		copies: dice.copies,
		plane: () => plane,
		faulty,
		happened,
	});
	const tables = new Map<NodeId, Assignment>();
	const machines: Machine[] = Array.from({ length: dice.shape.pick([2, 2, 3, 3, 4]) }, (_, at) => {
		const name = `m${at + 1}`;
		const key = `${name}${"A".repeat(43 - name.length)}=`;
		const addresses = [`192.168.77.${at + 1}`];
		const { description } = nodeOf({
			index: at + 1,
			description: { hostname: name, publicKey: key, addresses },
		});
		return machine(name, {
			clock,
			dice: diceOf(seed, `machine ${name}`),
			description,
			liveRestore: dice.shape.chance(0.5),
			faulty,
			happened,
			tell,
			dispatcher: (process, node) => net.dispatcher(name, process, node),
			join: (process) => net.join(name, process, description),
			answers: (peer) => {
				const other = machines.find((each) => each.node() === peer);
				return other?.isAwake() === true && net.areConnected(name, other.name);
			},
			joined(node) {
				tell(`${name} is node ${node}`);
				happened("a node joins");
			},
			applied(node, applied) {
				tables.set(node, applied);
				watch.applied(node, applied);
			},
			started(node, task, image) {
				watch.started(node, task, image);
			},
			stopping(node, task, keeps) {
				tell(`${name} stops ${task}`);
				watch.stopping(node, task, keeps, tables);
			},
			forgetsLedger: bugs.forgetsLedger ?? false,
			takesAnything: bugs.takesAnything ?? false,
			acknowledgesEarly: bugs.acknowledgesEarly ?? false,
			repeatsJobs: bugs.repeatsJobs ?? false,
		});
	});
	plane.start();
	for (const each of machines) {
		// Some are there from the beginning, others come in the middle of a life.
		clock.after(dice.shape.chance(0.7) ? 0 : dice.shape.between(1000, 15_000), each.install);
	}

	const dead = new Set<Machine>();
	const forgetKernels = () => {
		for (const each of machines) {
			const node = each.node();
			if (node && !each.tables()) tables.delete(node);
		}
	};
	let lastFaultEndsMs = 0;
	// The faults, one after the other, each undone in its own time.
	const trouble = () => {
		if (clock.nowMs() > startMs + troubleMs) return;
		const fault = nextFault({
			dice: dice.faults,
			clock,
			machines,
			plane,
			network: net,
			silence: () => silence(machines, clock),
			returned() {
				for (const each of machines) {
					const node = each.node();
					if (node) watch.heard(node);
				}
			},
			mayDie: (each) => dead.size === 0 && machines.length > 2 && dead.add(each).size > 0,
		});
		if (fault) {
			tell(fault.words);
			happened(fault.kind);
			lastFaultEndsMs = Math.max(lastFaultEndsMs, clock.nowMs() + fault.ms);
		}
		forgetKernels();
		clock.after(dice.faults.between(200, 4000), trouble);
	};
	clock.after(2000, trouble);
	const wish = () => {
		if (clock.nowMs() > startMs + troubleMs) return;
		const command = anyCommand(dice.user, store.facts);
		tell(`$ ${command.words}`);
		happened(`docker ${command.kind}`);
		plane.command(command);
		clock.after(dice.user.between(100, 4000), wish);
	};
	clock.after(100, wish);

	while (clock.step(startMs + troubleMs));
	isFaulty = false;
	tell("peace");
	const endMs = Math.max(clock.nowMs(), lastFaultEndsMs) + 100;
	while (clock.step(endMs));
	const drainedToo = dice.user.chance(0.5);
	for (const command of [...tidyUp(store.facts, drainedToo), ...endSchedules(store.facts)])
		plane.command(command);
	const peaceAtMs = clock.nowMs();
	for (;;) {
		const untilMs = clock.nowMs() + 1000;
		while (clock.step(untilMs));
		const alive = machines.filter((each) => !dead.has(each));
		const left = [...unconverged(store.facts, nodesOf(dead, store)), ...unapplied(alive, store)];
		if (left.length === 0) break;
		for (const command of mend(dice.user, store.facts)) plane.command(command);
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
		counts,
	};
}

/**
 * I6: what runs when the control plane falls silent runs when it is back, but for what broke or ended by itself; and
 * the tables are the same. Both also on a machine that was rebooted meanwhile, given the time to boot.
 */
function silence(machines: readonly Machine[], clock: Clock): () => void {
	/** What was told just before may still be on its way, eight seconds late, and then through the agent. */
	const calmMs = 10_000;
	/** The first news are waited for three seconds, then come tables, then containers, two seconds for one to stop. */
	const bootMs = 7_000;
	const before = new Map<
		Machine,
		{ running: ReadonlySet<TaskId>; tables: Assignment | undefined }
	>();
	let isOver = false;
	clock.after(calmMs, () => {
		if (isOver) return;
		for (const each of machines) {
			const calmSinceMs = each.calmSinceMs();
			if (!each.isIdle() || calmSinceMs === undefined) continue;
			if (clock.nowMs() - calmSinceMs < bootMs) continue;
			before.set(each, { running: each.running(), tables: each.tables() });
		}
	});
	return () => {
		isOver = true;
		for (const [each, { running, tables }] of before) {
			const calmSinceMs = each.calmSinceMs();
			if (calmSinceMs === undefined || clock.nowMs() - calmSinceMs < bootMs) continue;
			const now = each.tables();
			if (tables && (!now || assignmentText(now) !== assignmentText(tables))) {
				broken("I6", `${each.name} changed its tables in the silence`);
			}
			for (const task of running) {
				if (each.running().has(task) || each.broke().has(task)) continue;
				broken("I6", `${each.name} lost ${task} in the silence`);
			}
		}
	};
}

/**
 * Tables and containers that are not yet what the newest revision says. That a task has ended as it was told to is no
 * news to anybody: it leaves the assignments with the next decision.
 */
function unapplied(machines: readonly Machine[], store: Store): string[] {
	return machines.flatMap((each) => {
		const node = each.node();
		if (!node || !store.facts.nodes.has(node)) return [`${each.name} is no node`];
		const wanted = assign(store.facts, node);
		const found: string[] = [];
		const tables = each.tables();
		const isEnded = (id: TaskId) =>
			isTerminal(store.facts.tasks.get(id)?.status.state ?? "orphaned");
		const told = tables?.tasks.filter(({ id, desired }) => desired !== "shutdown" || !isEnded(id));
		const described = store.facts.nodes.get(node)?.description;
		if (JSON.stringify(described) !== JSON.stringify(each.described()))
			found.push(`${each.name} is described as ${JSON.stringify(described?.problems)}`);
		if (!tables || assignmentText({ ...tables, tasks: told ?? [] }) !== assignmentText(wanted))
			found.push(`${each.name} has old tables`);
		const asked = new Set(
			wanted.tasks.filter(({ desired }) => desired === "running").map(({ id }) => id),
		);
		for (const id of each.running())
			if (!asked.has(id)) found.push(`${each.name} still runs ${id}`);
		return found;
	});
}

/** Also of one that was lost before it heard that it is a node. */
function nodesOf(dead: ReadonlySet<Machine>, { facts }: Store): Set<NodeId> {
	const names = new Set([...dead].map(({ name }) => name));
	return new Set(
		[...facts.nodes.values()]
			.filter(({ description }) => names.has(description.hostname))
			.map(({ id }) => id),
	);
}

/** What decisions come to, for those who ask whether anything happens here at all. */
function count(change: Change, before: Snapshot, happened: (what: string) => void): void {
	switch (change.kind) {
		case "put-service": {
			const { id, job, updateStatus } = change.service;
			const run = before.services.get(id)?.job;
			if (job && (job.state !== run?.state || job.iteration !== run.iteration))
				happened(`a job's run is ${job.state}`);
			const state = updateStatus?.state;
			if (state === undefined) return;
			const known = before.services.get(change.service.id)?.updateStatus?.state;
			if (state !== known) happened(`a rollout is ${state}`);
			if (
				state === "rollback_started" &&
				known === "updating" &&
				updateStatus?.message.startsWith("update rolled back")
			)
				happened("a rollout fails and is rolled back");
			return;
		}
		case "put-task": {
			const known = before.tasks.get(change.task.id);
			if (!known) happened("a task is made");
			else if (change.task.serving && !known.serving) happened("a task serves");
			else if (change.task.released && !known.released) happened("a stop is let through");
			return;
		}
		case "put-node": {
			const { state, message } = change.node.status;
			if (state === before.nodes.get(change.node.id)?.status.state) return;
			if (state === "down" && message.includes("peers"))
				happened("a node is down by its peers' word");
			else happened(`a node is ${state}`);
			return;
		}
		case "task-status":
			if (change.status.state === "orphaned") happened("a task is written off");
			return;
		case "put-lease":
			if (change.lease.releasedMs > 0) happened("an address is given up");
			return;
		default:
			return;
	}
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
