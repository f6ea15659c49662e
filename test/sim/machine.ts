// A machine: its disk, its kernel, its engine, and the agent that runs on it.
//
// What becomes of a task is decided by the agent's real `step`. What is played here is the rest: containers that take
// their time and break, a disk that outlives the agent, a kernel that outlives neither power cut nor reboot.

import { type Accepted, judge } from "../../edge-agent/ledger.ts";
import { type Memory, type Said, type Seen, step, unseen } from "../../edge-agent/task/step.ts";
import type { Assignment, AssignmentReply, TaskAssignment } from "../../model/assignment.ts";
import type { NodeId, TaskId } from "../../model/id.ts";
import type { Report } from "../../model/report.ts";
import type { TaskStatus } from "../../model/task.ts";
import type { Clock } from "./clock.ts";
import type { Dice } from "./random.ts";

export interface Machine {
	readonly node: NodeId;
	/** The tables in its kernel; none after a reboot, until the agent is back. */
	tables(): Assignment | undefined;
	/** Tasks whose containers run, as the engine has it. */
	running(): ReadonlySet<TaskId>;
	/** Tasks whose containers ended by themselves, whether or not the agent knows. */
	broke(): ReadonlySet<TaskId>;
	/** What the agent says of its tasks, as far as it has tables. */
	statuses(): ReadonlyMap<TaskId, TaskStatus>;
	/** Since when the agent runs without a break; undefined while it does not. */
	upSinceMs(): number | undefined;
	/** Nothing is under way: no container being made or stopped. */
	isIdle(): boolean;
	/** The agent dies, whatever it was in the middle of, and starts again. */
	restartAgent(downMs: number): void;
	/** Power off and on: every container ends, the kernel forgets. */
	reboot(downMs: number): void;
	/** Power off, for good. */
	destroy(): void;
	/** A container dies by itself, or turns unhealthy. */
	breakContainer(how: "exit" | "unhealthy"): void;
	start(): void;
}

export interface MachineWorld {
	readonly clock: Clock;
	/** How long things take here, and which of them fail. */
	readonly dice: Dice;
	/** False while the user's wish alone counts: nothing fails of itself any more. */
	readonly faulty: () => boolean;
	readonly poll: (node: NodeId, hash: string, answer: (reply: AssignmentReply) => void) => void;
	/** `heard` when the control plane's answer came back. */
	readonly report: (node: NodeId, report: Report, heard: () => void) => void;
	readonly applied: (node: NodeId, tables: Assignment) => void;
	readonly stopping: (node: NodeId, task: TaskId) => void;
}

interface Container {
	readonly id: string;
	readonly task: TaskId;
	readonly addresses: readonly string[];
	readonly healthcheck: boolean;
	/** Whoever asked for one attempt and no more gets no second one after a reboot. */
	readonly restarts: boolean;
	kind: "created" | "running" | "ended";
	exitCode: number;
	health: "none" | "starting" | "healthy" | "unhealthy";
	/** It ended with the machine. */
	interrupted: boolean;
}

/** The agent's own memory of a task; of it, only the status is on disk. */
interface Entry {
	status: TaskStatus;
	trouble: Memory["trouble"];
	busy: boolean;
}

const firstNewsMs = 3000;

export function machine(node: NodeId, world: MachineWorld): Machine {
	const { clock, dice } = world;

	// The disk: outlives everything.
	const disk = { accepted: null as Accepted | null, statuses: new Map<TaskId, TaskStatus>() };
	// The engine's, which keeps its containers over a reboot, ended.
	const containers = new Map<TaskId, Container>();
	const broke = new Set<TaskId>();
	// The kernel's.
	let tables: Assignment | undefined;

	// The agent's own, gone with it.
	let life = 0;
	let isDestroyed = false;
	let up = false;
	let startedMs = 0;
	let polls = 0;
	let accepted: Accepted | null = null;
	let entries = new Map<TaskId, Entry>();
	let leaving = new Set<TaskId>();
	let observed = 0;
	let unsaid = new Map<TaskId, TaskStatus>();
	let saidApplied = 0;
	let appliedRevision = 0;
	let reporting = false;

	const soon = (delayMs: number, event: () => void) => {
		const born = life;
		clock.after(delayMs, () => {
			if (up && born === life) event();
		});
	};
	/** The engine goes on with what it was asked for, whether or not who asked is still there. */
	const engineDoes = (delayMs: number, event: () => void) => {
		const born = boots;
		clock.after(delayMs, () => {
			if (born === boots) event();
		});
	};
	let boots = 0;

	function start() {
		life++;
		up = true;
		startedMs = clock.nowMs();
		accepted = disk.accepted;
		[entries, leaving, unsaid, observed] = [new Map(), new Set(), new Map(), 0];
		[saidApplied, appliedRevision, reporting] = [0, 0, false];
		for (const { observed: each } of disk.statuses.values()) observed = Math.max(observed, each);
		const known = accepted;
		// After a boot, nothing of ours runs: there is time to hear what moved elsewhere meanwhile.
		if (known && tables) apply(known);
		else if (known) soon(firstNewsMs, () => !tables && accepted === known && apply(known));
		poll();
		sweep();
	}

	function poll() {
		const [mine, born] = [++polls, life];
		world.poll(node, accepted?.hash ?? "", (reply) => {
			if (!up || born !== life) return;
			// Also one that was given up and comes all the same: what it is worth is the ledger's to say.
			accept(reply);
			if (mine === polls) soon(dice.between(0, 20), poll);
		});
		// An answer that does not come is not waited for for ever.
		soon(4000, () => {
			if (mine === polls) poll();
		});
	}

	function accept({ revision, hash, assignment }: AssignmentReply) {
		const kept = hash === accepted?.hash ? accepted.assignment : undefined;
		const content = assignment ?? kept;
		if (!content) return;
		const offered = { revision, hash, assignment: content };
		const { kind } = judge(accepted, offered);
		if (kind === "refused") return;
		accepted = offered;
		if (kind === "accepted") disk.accepted = offered;
		if (tables === content) {
			appliedRevision = revision;
			return flush();
		}
		soon(dice.between(1, 30), () => {
			if (accepted?.assignment === content) apply(accepted);
		});
	}

	function apply({ assignment, revision }: Accepted) {
		const news = tables !== assignment;
		tables = assignment;
		appliedRevision = revision;
		if (news) world.applied(node, { ...assignment, revision });
		for (const id of entries.keys()) {
			if (!assignmentOf(id)) {
				entries.delete(id);
				disk.statuses.delete(id);
				unsaid.delete(id);
			}
		}
		lookAround();
		flush();
	}

	/** The engine's events may be missed; a look around now and then makes up for it. */
	function sweep() {
		soon(dice.between(2000, 4000), () => {
			if (tables) lookAround();
			flush();
			sweep();
		});
	}

	function lookAround() {
		for (const task of tables?.tasks ?? []) advance(task.id);
		for (const id of containers.keys()) if (!assignmentOf(id)) dismiss(id);
	}

	/** Tasks are stepped toward what is in the tables, not toward what is on its way there. */
	function assignmentOf(id: TaskId): TaskAssignment | undefined {
		return tables?.tasks.find((task) => task.id === id);
	}

	function entryOf(id: TaskId): Entry {
		const known = entries.get(id);
		if (known) return known;
		const remembered = disk.statuses.get(id);
		const entry = {
			status: remembered ?? { ...unseen.status, ...tick() },
			trouble: null,
			busy: false,
		};
		entries.set(id, entry);
		unsaid.set(id, entry.status);
		return entry;
	}

	function advance(id: TaskId) {
		const task = assignmentOf(id);
		if (!task) return;
		const entry = entryOf(id);
		if (entry.busy) return;
		const container = containers.get(id);
		const { status, action } = step(task, seenOf(container), {
			status: entry.status,
			trouble: entry.trouble,
			interrupted: container?.kind === "ended" && container.interrupted,
		});
		say(id, entry, status);
		if (action === "none") {
			entry.trouble = null;
			return;
		}
		entry.busy = true;
		const done = (trouble: Memory["trouble"]) =>
			soon(dice.between(0, 5), () => {
				entry.busy = false;
				entry.trouble = trouble;
				if (trouble?.kind !== "waiting") advance(id);
			});
		if (action === "prepare") return prepare(task, done);
		if (action === "start") return begin(task, done);
		if (task.desired === "shutdown") world.stopping(node, id);
		halt(id, () => done(null));
	}

	function prepare(task: TaskAssignment, done: (trouble: Memory["trouble"]) => void) {
		engineDoes(dice.between(20, 400), () => {
			if (world.faulty() && dice.chance(0.05)) {
				return done(
					dice.chance(0.5)
						? { kind: "rejected", error: `No such image: ${task.template.container.image}` }
						: { kind: "waiting", error: "the registry does not answer" },
				);
			}
			if (!containers.has(task.id)) {
				containers.set(task.id, {
					id: dice.id(),
					task: task.id,
					addresses: task.attachments.map(({ address }) => address),
					healthcheck: task.template.container.healthcheck !== null,
					restarts: task.template.restart.condition !== "none",
					kind: "created",
					exitCode: 0,
					health: "none",
					interrupted: false,
				});
			}
			done(null);
		});
	}

	function begin(task: TaskAssignment, done: (trouble: Memory["trouble"]) => void) {
		const before = [...containers.values()].find(
			({ kind, task: id, addresses }) =>
				kind === "running" &&
				id !== task.id &&
				task.attachments.some(({ address }) => addresses.includes(address)),
		);
		if (before) {
			return done({ kind: "waiting", error: `waiting for ${before.task} to stop` });
		}
		engineDoes(dice.between(10, 200), () => {
			const container = containers.get(task.id);
			if (!container) return done({ kind: "failed", error: "No such container" });
			if (world.faulty() && dice.chance(0.03)) {
				broke.add(task.id);
				return done({ kind: "failed", error: "starting container failed" });
			}
			container.kind = "running";
			container.interrupted = false;
			container.health = container.healthcheck ? "starting" : "none";
			if (container.healthcheck) {
				engineDoes(dice.between(200, 1500), () => {
					if (container.kind !== "running" || container.health !== "starting") return;
					container.health = "healthy";
					noticed(task.id);
				});
			}
			done(null);
		});
	}

	function halt(id: TaskId, done: () => void) {
		engineDoes(dice.between(10, 2000), () => {
			const container = containers.get(id);
			if (container?.kind === "running") {
				container.kind = "ended";
				container.exitCode = 143;
				for (const [other, { trouble }] of entries) if (trouble) noticed(other);
			}
			done();
		});
	}

	/** Nobody asks for it any more. */
	function dismiss(id: TaskId) {
		if (leaving.has(id)) return;
		leaving.add(id);
		if (containers.get(id)?.kind === "running") world.stopping(node, id);
		halt(id, () => {
			containers.delete(id);
			soon(0, () => leaving.delete(id));
		});
	}

	function noticed(id: TaskId) {
		// One event in ten is missed.
		if (!up || !tables || (world.faulty() && dice.chance(0.1))) return;
		soon(dice.between(0, 20), () => advance(id));
	}

	function tick() {
		observed = Math.max(observed + 1, clock.nowMs());
		return { sinceMs: clock.nowMs(), observed };
	}

	function say(id: TaskId, entry: Entry, said: Said) {
		const { sinceMs, observed: _, ...known } = entry.status;
		if (Bun.deepEquals(known, said)) return;
		const now = tick();
		const since = known.state === said.state ? sinceMs : now.sinceMs;
		entry.status = { ...said, sinceMs: since, observed: now.observed };
		disk.statuses.set(id, entry.status);
		unsaid.set(id, entry.status);
		soon(dice.between(0, 30), flush);
	}

	/** What was not heard is said again. */
	function flush() {
		if (reporting || (unsaid.size === 0 && saidApplied === appliedRevision)) return;
		reporting = true;
		const said = new Map(unsaid);
		const revision = appliedRevision;
		const report: Report = {
			...(tables ? { applied: { revision, hash: accepted?.hash ?? "" } } : {}),
			tasks: [...said].map(([id, status]) => ({ id, status })),
		};
		let over = false;
		const finish = (heard: boolean) => {
			if (over) return;
			over = true;
			reporting = false;
			if (heard) {
				saidApplied = revision;
				for (const [id, status] of said) if (unsaid.get(id) === status) unsaid.delete(id);
			}
			flush();
		};
		const born = life;
		world.report(node, report, () => {
			if (up && born === life) finish(true);
		});
		soon(3000, () => finish(false));
	}

	function kill() {
		up = false;
		life++;
	}

	return {
		node,
		tables: () => tables,
		broke: () => broke,
		statuses: () => new Map([...entries].map(([id, { status }]) => [id, status])),
		upSinceMs: () => (up ? startedMs : undefined),
		isIdle: () =>
			up &&
			leaving.size === 0 &&
			![...entries.values()].some(({ busy, trouble }) => busy || trouble),
		running: () =>
			new Set(
				[...containers.values()].filter(({ kind }) => kind === "running").map(({ task }) => task),
			),
		start,
		restartAgent(downMs) {
			if (!up) return;
			kill();
			const born = boots;
			clock.after(downMs, () => {
				if (born === boots && !up) start();
			});
		},
		reboot(downMs) {
			if (isDestroyed) return;
			kill();
			boots++;
			tables = undefined;
			for (const container of containers.values()) {
				if (container.kind !== "running") continue;
				container.kind = "ended";
				container.exitCode = 137;
				container.interrupted = true;
				if (!container.restarts) broke.add(container.task);
			}
			const born = boots;
			clock.after(downMs, () => {
				if (born === boots) start();
			});
		},
		destroy() {
			kill();
			boots++;
			isDestroyed = true;
			tables = undefined;
			containers.clear();
		},
		breakContainer(how) {
			const alive = [...containers.values()].filter(({ kind }) => kind === "running");
			if (alive.length === 0) return;
			const victim = dice.pick(alive);
			broke.add(victim.task);
			if (how === "unhealthy" && victim.health === "healthy") victim.health = "unhealthy";
			else {
				victim.kind = "ended";
				victim.exitCode = dice.pick([0, 1, 137]);
			}
			noticed(victim.task);
		},
	};
}

function seenOf(container: Container | undefined): Seen {
	if (!container) return { kind: "none" };
	return {
		kind: container.kind,
		containerId: container.id,
		pid: container.kind === "running" ? 4711 : 0,
		exitCode: container.exitCode,
		error: "",
		oomKilled: false,
		health: container.health,
		ports: [],
	};
}
