// The control plane: two processes that plan at once over one store, and the doors for users and agents.
//
// The planner is the real one. What is played here is what surrounds it: the time a round trip takes, the process
// that dies between reading and writing, the poll that is held until there is news.

import { compiler } from "../../control-plane/manager/assign.ts";
import { plan, planAfter } from "../../control-plane/manager/plan.ts";
import { forgetPlanned, type Touched } from "../../control-plane/store/snapshot.ts";
import type { Assignment, AssignmentReply } from "../../model/assignment.ts";
import type { Change, Moment, Scope } from "../../model/change.ts";
import type { NodeId, ServiceId } from "../../model/id.ts";
import type { Report } from "../../model/report.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Clock } from "./clock.ts";
import type { Dice } from "./random.ts";
import type { Store } from "./store.ts";
import type { Command } from "./user.ts";

interface Compiled {
	readonly assignment: Assignment;
	readonly hash: string;
}

export interface ControlPlane {
	isUp(): boolean;
	/** All processes die: what they had read and not yet written is gone, and so are the polls they held. */
	crash(): void;
	start(): void;
	/** Commits the command with what the planner makes of it, again on a newer snapshot if it came second. */
	command(command: Command): void;
	/** Answered when there is news, or nothing new for a while; never, if the process dies meanwhile. */
	poll(node: NodeId, hash: string, answer: (reply: AssignmentReply) => void): void;
	report(node: NodeId, report: Report): void;
	/** Of the assignment that a poll would be answered with now. */
	hashFor(node: NodeId): string;
}

/** What the watcher wants to see of each plan, before it lands. */
export interface Planned {
	readonly before: Snapshot;
	readonly scope: Scope;
	readonly changes: readonly Change[];
}

export function controlPlane(world: {
	readonly clock: Clock;
	readonly dice: Dice;
	readonly store: Store;
	readonly landed: (planned: Planned) => void;
}): ControlPlane {
	const { clock, dice, store } = world;
	/** Counts starts: what belongs to an earlier one is dead. */
	let life = 0;
	let up = false;
	let listeningSinceMs = clock.nowMs();
	const held = new Set<{ look: () => void }>();

	const moment = (): Moment => ({ nowMs: clock.nowMs(), listeningSinceMs, newId: dice.id });
	/** The event happens only if the process that asked for it still lives. */
	const soon = (delayMs: number, event: () => void) => {
		const born = life;
		clock.after(delayMs, () => {
			if (up && born === life) event();
		});
	};

	/** One that is eager, and one that wakes now and then in the middle of the other's work. */
	function planner(isEager: boolean) {
		// As the host of a cluster keeps them: what waits to be planned, and when time alone will change what.
		const touched: Touched = { services: new Map(), nodes: new Map(), all: 0 };
		const alarms = new Map<ServiceId | NodeId | "all", number>();
		let [seen, pending] = [0, false];

		const poke = () => {
			if (pending) return;
			pending = true;
			soon(isEager || dice.chance(0.2) ? dice.between(1, 40) : dice.between(200, 1500), think);
		};
		const setAlarms = (scope: Scope, wakeAtMs: number | null) => {
			if (scope === "all") alarms.clear();
			for (const id of scope === "all" ? (["all"] as const) : [...scope.services, ...scope.nodes]) {
				if (wakeAtMs === null) alarms.delete(id);
				else alarms.set(id, wakeAtMs);
			}
			if (wakeAtMs === null) return;
			soon(wakeAtMs - clock.nowMs(), () => {
				for (const [id, atMs] of alarms) {
					if (atMs > clock.nowMs()) continue;
					alarms.delete(id);
					if (id === "all") touched.all = store.seq();
					else if (store.facts.services.has(id as ServiceId)) {
						touched.services.set(id as ServiceId, store.seq());
					} else touched.nodes.set(id as NodeId, store.seq());
				}
				poke();
			});
		};
		const think = () => {
			const seq = store.seq();
			store.addTouched(seen, touched);
			seen = seq;
			const waits = touched.all !== null || touched.services.size > 0 || touched.nodes.size > 0;
			if (!waits) {
				pending = false;
				return;
			}
			const scope: Scope =
				touched.all === null
					? { services: new Set(touched.services.keys()), nodes: new Set(touched.nodes.keys()) }
					: "all";
			const { changes, wakeAtMs } = plan(store.facts, moment(), scope);
			if (changes.length === 0) {
				pending = false;
				forgetPlanned(touched, seq);
				setAlarms(scope, wakeAtMs);
				return;
			}
			// What it was planned from, as it was: the store goes on.
			const before = store.read();
			soon(dice.between(1, 30), () => {
				pending = false;
				if (store.commit(before.revision, changes)) {
					forgetPlanned(touched, seq);
					setAlarms(scope, wakeAtMs);
					world.landed({ before, scope, changes });
				}
				poke();
			});
		};
		return { poke, setAlarms };
	}

	let planners: ReturnType<typeof planner>[] = [];
	store.watch(() => {
		if (!up) return;
		for (const each of planners) each.poke();
		for (const each of [...held]) each.look();
	});

	let compilation = { seq: -1, of: new Map<NodeId, Compiled>(), compiler: compiler(store.facts) };
	/** Compiled once for all polls between two writes. */
	const compiled = (node: NodeId): Compiled => {
		if (compilation.seq !== store.assignedSeq()) {
			compilation = { seq: store.assignedSeq(), of: new Map(), compiler: compiler(store.facts) };
		}
		const known = compilation.of.get(node);
		if (known) return known;
		const assignment = compilation.compiler.assign(node);
		const fresh = { assignment, hash: hashOf(assignment) };
		compilation.of.set(node, fresh);
		return fresh;
	};

	return {
		isUp: () => up,
		crash() {
			up = false;
			life++;
			planners = [];
			held.clear();
		},
		start() {
			up = true;
			life++;
			listeningSinceMs = clock.nowMs();
			planners = [planner(true), planner(false)];
			for (const each of planners) each.poke();
		},
		command(command) {
			const attempt = () => {
				const snapshot = store.read();
				const asked = command.changes(snapshot, clock.nowMs());
				if (asked.length === 0) return;
				const scope = scopeOf(asked, snapshot);
				const made = planAfter(snapshot, asked, moment(), scope);
				soon(dice.between(1, 30), () => {
					const changes = [...asked, ...made.changes];
					if (!store.commit(snapshot.revision, changes)) return attempt();
					dice.pick(planners).setAlarms(scope, made.wakeAtMs);
					world.landed({ before: snapshot, scope, changes });
				});
			};
			if (up) attempt();
		},
		hashFor: (node) => compiled(node).hash,
		poll(node, hash, answer) {
			const known = store.facts.nodes.get(node);
			if (!up || !known) return;
			const timeoutMs = store.facts.cluster.nodeTimeoutMs;
			if (known.status.state !== "ready" || known.leaseUntilMs - clock.nowMs() < timeoutMs / 2) {
				store.report({ node, leaseUntilMs: clock.nowMs() + timeoutMs });
			}
			const poll = {
				look() {
					if (compiled(node).hash !== hash) finish();
				},
			};
			const finish = () => {
				if (!held.delete(poll) || !store.facts.nodes.has(node)) return;
				const made = compiled(node);
				const assignment = made.hash === hash ? null : made.assignment;
				answer({ revision: store.facts.revision, hash: made.hash, assignment, pollMs: 0 });
			};
			held.add(poll);
			soon(timeoutMs / 3, finish);
			poll.look();
		},
		report(node, report) {
			if (!up || !store.facts.nodes.has(node)) return;
			const { tasks = [], ...rest } = report;
			const own = tasks.filter(({ id }) => store.facts.tasks.get(id)?.node === node);
			const leaseUntilMs = clock.nowMs() + store.facts.cluster.nodeTimeoutMs;
			store.report({ node, leaseUntilMs, ...rest, tasks: own });
		},
	};
}

/** What a user's changes may lead to, as the host of a cluster reckons it. */
function scopeOf(changes: readonly Change[], snapshot: Snapshot): Scope {
	const services = new Set<ServiceId>();
	const nodes = new Set<NodeId>();
	for (const change of changes) {
		if (change.kind === "put-service") services.add(change.service.id);
		else if (change.kind === "put-template") services.add(change.template.service);
		else if (change.kind === "put-node") nodes.add(change.node.id);
		else if (change.kind === "remove-node") {
			nodes.add(change.id);
			for (const task of snapshot.tasksOfNode(change.id).values()) services.add(task.service);
		} else return "all";
	}
	return { services, nodes };
}

export function hashOf({ revision: _, ...rest }: Assignment): string {
	return Bun.hash(JSON.stringify(rest)).toString(36);
}
