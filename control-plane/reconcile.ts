// The host of a cluster: keeps its snapshot in memory, commits what doors decide together with what the planner makes
// of it, and plans for what agents reported. On a stale snapshot: again.
//
// Several processes may host one cluster. Nothing here depends on being the only one: the database lets a decision in
// only as the next revision, and reports merge. A short lease in the cluster's row keeps them from planning the same
// burst twice. What a change means is the planner's (manager/), how it is written the store's.

import type { Change, Moment, Plan, Scope } from "../model/change.ts";
import { Refusal, unavailable } from "../model/errors.ts";
import type { ClusterId, NodeId, ServiceId } from "../model/id.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type { AgentsDoor, ClusterEvent, Decision, Reported } from "./cluster.ts";
import type { ClusterStore } from "./store/cluster.ts";
import { clusterGone, mergeReports, StaleSnapshot, type Wake } from "./store/commit.ts";
import { applyCommit, applyReports, forgetPlanned, type Held } from "./store/snapshot.ts";

export interface Planner {
	plan(snapshot: Snapshot, moment: Moment, scope: Scope): Plan;
	/** What the planner adds to changes that are about to be made. */
	planAfter(snapshot: Snapshot, changes: readonly Change[], moment: Moment, scope: Scope): Plan;
}

/** What a host needs of the world around it. */
export interface HostWorld {
	readonly planner: Planner;
	/** This process's name among those that plan. */
	readonly name: string;
	nowMs(): number;
	newId(): string;
	/** Since when agents can reach this process; null where processes come and go, and the database has to know. */
	listeningSinceMs(): number | null;
	/** Work that outlives the request it came from; an edge runtime has to be told. */
	background(work: Promise<unknown>): void;
	/** Whether timers outlive a request. Where not, polls and a cron look whether a wake is due. */
	readonly timers: boolean;
	log(message: string): void;
}

/** A leader that died is replaced after this. */
const planningLeaseMs = 5_000;
/** While somebody waits for news, how often we look whether another process wrote. */
const lookMs = 300;
/** Lets the reports of one burst come together, so that they are planned once. */
const burstMs = 5;
const retryPlanMs = 1_000;
const alarmGraceMs = 2_000;
const togetherMs = 50;
const endTries = 10;
/** Without a write for this long, we count as having been deaf: longer than the edge's cron, which writes. */
const outageMs = 90_000;
const maxAttempts = 60;

export class ClusterHost implements AgentsDoor {
	readonly id: ClusterId;
	readonly #store: ClusterStore;
	readonly #world: HostWorld;
	readonly #held: Held;
	readonly #onGone: () => void;
	readonly #waiters = new Set<() => void>();
	readonly #reports: {
		reported: Reported;
		resolve: () => void;
		reject: (error: unknown) => void;
	}[] = [];
	/** When silence alone would change a node's status; and when time alone moves anything else. */
	readonly #alarms = new Map<NodeId | "unsettled", number>();
	/** Leases as the database has them; in memory they are renewed more often. */
	readonly #writtenLeases = new Map<NodeId, number>();
	#turn: Promise<unknown> = Promise.resolve();
	#refreshing: { started: boolean; done: Promise<void> } | undefined;
	#planning: Promise<void> | undefined;
	#flushing = false;
	#looking = false;
	/** A write of ours may have landed without our knowing. */
	#doubtful = false;
	/** Time has come for something. */
	#due = false;
	#hearingSinceMs = 0;
	#lastEventMs = 0;
	#timer: ReturnType<typeof setTimeout> | null = null;
	#closed = false;
	#gone = false;

	/** `onGone` is called once the cluster turns out to be erased, or this host is closed. */
	constructor(store: ClusterStore, held: Held, world: HostWorld, onGone: () => void) {
		this.id = store.id;
		this.#onGone = onGone;
		this.#store = store;
		this.#held = held;
		this.#world = world;
	}

	async snapshot(): Promise<Snapshot> {
		await this.#refresh();
		if (!this.#world.timers) this.planIfDue();
		return this.#held.facts;
	}

	seq(): number {
		return this.#held.seq;
	}

	assignedSeq(): number {
		return this.#held.assignedSeq;
	}

	commit<Result>(
		decide: (snapshot: Snapshot, moment: Moment) => Decision<Result>,
	): Promise<{ readonly result: Result; readonly revision: number }> {
		return this.#inTurn(async () => {
			for (let attempt = 0; ; attempt++) {
				await this.#refresh();
				const { facts } = this.#held;
				const moment = this.#moment();
				const decision = decide(facts, moment);
				if (decision.changes.length === 0) {
					return { result: decision.result, revision: facts.revision };
				}
				const scope = scopeOf(decision.changes, facts);
				const plan = this.#world.planner.planAfter(facts, decision.changes, moment, scope);
				const changes = [...decision.changes, ...plan.changes];
				try {
					await this.#land(changes, this.#stamp(decision.events ?? []), null, plan, scope);
					return { result: decision.result, revision: this.#held.facts.revision };
				} catch (error) {
					await this.#afterStale(error, attempt);
				}
			}
		});
	}

	report(reported: Reported): Promise<void> {
		if (this.#isHeardOnly(reported)) return Promise.resolve();
		return new Promise((resolve, reject) => {
			this.#reports.push({ reported, resolve, reject });
			if (this.#flushing) return;
			this.#flushing = true;
			this.#world.background(this.#inTurn(() => this.#flushReports()));
		});
	}

	wait(seq: number, timeoutMs: number, signal?: AbortSignal): Promise<void> {
		if (this.#held.seq > seq || signal?.aborted || this.#closed || timeoutMs <= 0) {
			return Promise.resolve();
		}
		return new Promise((resolve) => {
			const done = () => {
				clearTimeout(timer);
				signal?.removeEventListener("abort", done);
				this.#waiters.delete(ring);
				resolve();
			};
			const ring = () => {
				if (this.#held.seq > seq || this.#closed) done();
			};
			const timer = setTimeout(done, timeoutMs);
			signal?.addEventListener("abort", done);
			this.#waiters.add(ring);
			if (!this.#store.exclusive) this.#world.background(this.#look());
		});
	}

	async events(sinceMs: number, untilMs: number): Promise<readonly ClusterEvent[]> {
		return this.#store.events(sinceMs, untilMs);
	}

	/** Plans for what waits, and for what time has changed. The net under lost timers and dead leaders. */
	async sweep(): Promise<void> {
		await this.#refresh();
		this.planIfDue();
		await this.#planning;
	}

	/** Tells the database that we live: agents that are silent then have nobody but themselves to blame. */
	async sayAlive(): Promise<void> {
		const nobody = { nodes: new Map(), statuses: new Map() };
		await this.#inTurn(async () => {
			await this.#store.report(nobody, this.#world.nowMs(), outageMs);
			await this.#refresh(true);
		});
	}

	prune(): Promise<void> {
		return this.#store.prune(this.#world.nowMs());
	}

	planIfDue(): void {
		const nowMs = this.#world.nowMs();
		this.#ringAlarms(nowMs);
		const { wakeAtMs, plannerUntilMs } = this.#held;
		// Whoever set that alarm should have woken up by now; where there are no timers, nobody ever does.
		const graceMs = this.#world.timers ? alarmGraceMs : 0;
		if (!this.#store.exclusive && wakeAtMs !== null && wakeAtMs + graceMs <= nowMs) this.#ringAll();
		if (this.#waiting() && (this.#store.exclusive || plannerUntilMs < nowMs)) this.#planSoon();
	}

	/** Until nothing is being written or planned. */
	async settled(): Promise<void> {
		for (;;) {
			const turn = this.#turn;
			await turn;
			await this.#planning;
			if (turn === this.#turn && !this.#planning && !this.#flushing) return;
		}
	}

	/** The cluster is no more: whoever waits or asks learns that. */
	erased(): void {
		this.#gone = true;
		this.#end();
	}

	/** Stops hosting; the cluster stays. */
	async close(): Promise<void> {
		this.#end();
		await this.settled();
	}

	#end(): void {
		if (this.#closed) return;
		this.#closed = true;
		if (this.#timer !== null) clearTimeout(this.#timer);
		this.#onGone();
		this.#ring();
	}

	/** One write at a time: within a process, nobody loses a race that a queue would spare it. */
	#inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
		const mine = this.#turn.then(work, work);
		this.#turn = mine.catch(() => undefined);
		return mine;
	}

	/** Where no one else writes there is nothing to catch up with. A call waits for a look that began after it. */
	async #refresh(always = false): Promise<void> {
		if (this.#gone) throw clusterGone();
		if (this.#closed) throw unavailable("the control plane is stopping: try again");
		if (this.#store.exclusive && !this.#doubtful && !always) return;
		while (this.#refreshing?.started) {
			// That one may have read before our caller's moment; wait for it, then share the next.
			await this.#refreshing.done.catch(() => undefined);
		}
		this.#refreshing ??= this.#startRefresh();
		await this.#refreshing.done;
	}

	#startRefresh(): { started: boolean; done: Promise<void> } {
		const refreshing = { started: false, done: Promise.resolve() };
		refreshing.done = Promise.resolve()
			.then(async () => {
				refreshing.started = true;
				const before = this.#held.seq;
				try {
					await this.#store.refresh(this.#held);
				} catch (error) {
					if (error instanceof Refusal && error.kind === "not-found") this.erased();
					throw error;
				}
				this.#doubtful = false;
				if (this.#held.seq > before) this.#ring();
			})
			.finally(() => {
				this.#refreshing = undefined;
			});
		return refreshing;
	}

	/** Writes the next revision and takes it over. Throws `StaleSnapshot` when somebody else made it. */
	async #land(
		changes: readonly Change[],
		events: readonly ClusterEvent[],
		planned: number | null,
		plan: Plan,
		scope: Scope,
	): Promise<void> {
		const base = this.#held.seq;
		try {
			const landed = await this.#store.commit({
				base: this.#held.facts.revision,
				writer: this.#world.newId(),
				nowMs: this.#world.nowMs(),
				changes,
				events,
				planned,
				wake: this.#setAlarms(scope, plan.wakeAtMs),
			});
			if (landed.seq === base + 1 && this.#held.seq === base) {
				applyCommit(this.#held, landed, changes);
			} else {
				await this.#refresh(true);
			}
		} catch (error) {
			this.#doubtful = true;
			throw error;
		}
		this.#ring();
	}

	async #afterStale(error: unknown, attempt: number): Promise<void> {
		if (!(error instanceof StaleSnapshot)) throw error;
		if (attempt === maxAttempts) {
			throw unavailable("too many others change this cluster at once: try again", { cause: error });
		}
		await sleep(Math.random() * Math.min(200, 4 * 2 ** attempt));
	}

	async #flushReports(): Promise<void> {
		this.#flushing = false;
		const batch = this.#reports.splice(0);
		if (batch.length === 0) return;
		try {
			const merged = mergeReports(batch.map((each) => each.reported));
			const base = this.#held.seq;
			const seq = await this.#store.report(merged, this.#world.nowMs(), outageMs);
			if (seq === base + 1 && this.#held.seq === base) applyReports(this.#held, seq, merged);
			else await this.#refresh(true);
			for (const { resolve } of batch) resolve();
			this.#ring();
			if (this.#waiting()) this.#planSoon();
		} catch (error) {
			// What was not heard counts against nobody.
			this.#hearingSinceMs = this.#world.nowMs();
			this.#doubtful = true;
			for (const { reject } of batch) reject(error);
		}
	}

	#waiting(): boolean {
		const { all, services, nodes } = this.#held.touched;
		return this.#due || all !== null || services.size > 0 || nodes.size > 0;
	}

	/**
	 * A sign of life and nothing else. It counts at once, but it is written only when half of what is written is used
	 * up; sooner where others plan too, since they know only what is written.
	 */
	#isHeardOnly(reported: Reported): boolean {
		const { node: id, leaseUntilMs, ...news } = reported;
		const { facts } = this.#held;
		const node = facts.nodes.get(id);
		if (!node || leaseUntilMs === undefined || Object.keys(news).length > 0) return false;
		if (node.status.state !== "ready") return false;
		if (leaseUntilMs > node.leaseUntilMs) facts.setNode({ ...node, leaseUntilMs });
		const written = this.#writtenLeases.get(id) ?? 0;
		const share = this.#store.exclusive ? 1 / 2 : 3 / 4;
		if (written - this.#world.nowMs() > facts.cluster.nodeTimeoutMs * share) return true;
		this.#writtenLeases.set(id, leaseUntilMs);
		return false;
	}

	#planSoon(): void {
		if (this.#planning || this.#closed) return;
		this.#planning = this.#planAll().finally(() => {
			this.#planning = undefined;
		});
		this.#world.background(this.#planning);
	}

	/** Plans until nothing waits. What fails stays touched, and is tried again: a report is never lost by a failed plan. */
	async #planAll(): Promise<void> {
		try {
			await sleep(burstMs);
			for (let tries = 0; await this.#mayPlan(); ) {
				const wake = await this.#inTurn(() => this.#planOnce());
				if (this.#closed) return;
				if (this.#waiting()) continue;
				if (this.#store.exclusive) return;
				// Others leave it to us for as long as we are the one, so we end only on what is known to be the newest.
				// Where heartbeats never pause long enough for that, the next sweep looks after what slipped through.
				const seq = ++tries < endTries ? this.#held.seq : null;
				if (await this.#store.endPlanning(this.#world.name, seq, wake)) return;
				await this.#refresh(true);
			}
		} catch (error) {
			if (this.#closed) return;
			this.#due = true;
			this.#world.log(`planning cluster ${this.id} failed, again soon: ${show(error)}`);
			this.#arm(this.#world.nowMs() + retryPlanMs);
		}
	}

	async #mayPlan(): Promise<boolean> {
		if (this.#store.exclusive) return true;
		const nowMs = this.#world.nowMs();
		return this.#store.takePlanning(this.#world.name, nowMs, nowMs + planningLeaseMs);
	}

	async #planOnce(): Promise<Wake> {
		for (let attempt = 0; ; attempt++) {
			await this.#refresh();
			const { facts, touched, seq } = this.#held;
			if (!this.#waiting()) return { atMs: this.#nextAlarm(), whole: false };
			const scope = touchedScope(touched);
			this.#due = false;
			const plan = this.#world.planner.plan(facts, this.#moment(), scope);
			try {
				if (plan.changes.length > 0) await this.#land(plan.changes, [], seq, plan, scope);
				forgetPlanned(touched, seq);
				return this.#setAlarms(scope, plan.wakeAtMs);
			} catch (error) {
				await this.#afterStale(error, attempt);
			}
		}
	}

	/** A plan says when time alone changes what it planned; earlier alarms of the same things are void. */
	/**
	 * Every plan looks at what is unsettled, and at the nodes of its scope, and says when time alone would change them.
	 */
	#setAlarms(scope: Scope, wakeAtMs: number | null): Wake {
		const { nodes } = this.#held.facts;
		const ids = scope === "all" ? nodes.keys() : scope.nodes;
		for (const id of [...ids, "unsettled"] as const) {
			if (wakeAtMs === null) this.#alarms.delete(id);
			else this.#alarms.set(id, wakeAtMs);
		}
		const next = this.#nextAlarm();
		if (next !== null) this.#arm(next);
		return { atMs: next, whole: scope === "all" || scope.nodes.size >= nodes.size };
	}

	#nextAlarm(): number | null {
		let next: number | null = null;
		for (const atMs of this.#alarms.values()) {
			if (next === null || atMs < next) next = atMs;
		}
		return next;
	}

	#ringAlarms(nowMs: number): void {
		for (const [id, atMs] of this.#alarms) {
			if (atMs > nowMs) continue;
			this.#alarms.delete(id);
			this.#due = true;
			if (id !== "unsettled") this.#held.touched.nodes.set(id, this.#held.seq);
		}
	}

	/** The database's alarm has no list of what it is for: all that time can move. */
	#ringAll(): void {
		this.#due = true;
		for (const id of this.#held.facts.nodes.keys()) {
			this.#held.touched.nodes.set(id, this.#held.seq);
		}
	}

	#arm(atMs: number): void {
		if (!this.#world.timers || this.#closed) return;
		if (this.#timer !== null) clearTimeout(this.#timer);
		// Alarms that are close together ring together. A timer beyond 2^31 ms would fire at once.
		const delayMs = Math.min(Math.max(0, atMs - this.#world.nowMs()) + togetherMs, 86_400_000);
		this.#timer = setTimeout(() => {
			this.planIfDue();
			const next = this.#nextAlarm();
			if (next !== null) this.#arm(next);
		}, delayMs);
	}

	/** Looks for what other processes wrote, for as long as somebody here waits for it. */
	async #look(): Promise<void> {
		if (this.#looking) return;
		this.#looking = true;
		try {
			while (this.#waiters.size > 0 && !this.#closed) {
				await sleep(lookMs);
				if (this.#waiters.size === 0) return;
				const seq = await this.#store.seq().catch(() => this.#held.seq);
				if (seq === undefined) this.erased();
				else if (seq > this.#held.seq) await this.#refresh().catch(() => undefined);
				// Whoever shares the facts with us may have caught up already.
				this.#ring();
			}
		} finally {
			this.#looking = false;
		}
	}

	#ring(): void {
		for (const ring of [...this.#waiters]) ring();
	}

	#moment(): Moment {
		return {
			nowMs: this.#world.nowMs(),
			listeningSinceMs: Math.max(
				this.#world.listeningSinceMs() ?? this.#held.listeningSinceMs,
				this.#hearingSinceMs,
			),
			newId: () => this.#world.newId(),
		};
	}

	/** Times that rise with every event, so that "since the last one" has an answer. */
	#stamp(events: readonly Omit<ClusterEvent, "timeMs">[]): ClusterEvent[] {
		return events.map((event) => {
			this.#lastEventMs = Math.max(this.#world.nowMs(), this.#lastEventMs + 1);
			return { ...event, timeMs: this.#lastEventMs };
		});
	}
}

function touchedScope(touched: Held["touched"]): Scope {
	if (touched.all !== null) return "all";
	return { services: new Set(touched.services.keys()), nodes: new Set(touched.nodes.keys()) };
}

/** What a door's changes may lead to. Networks and the cluster itself concern everything. */
function scopeOf(changes: readonly Change[], snapshot: Snapshot): Scope {
	const services = new Set<ServiceId>();
	const nodes = new Set<NodeId>();
	for (const change of changes) {
		switch (change.kind) {
			case "put-cluster":
			case "put-network":
			case "remove-network":
				return "all";
			case "put-node":
				nodes.add(change.node.id);
				break;
			case "remove-node":
				nodes.add(change.id);
				for (const task of snapshot.tasksOfNode(change.id).values()) services.add(task.service);
				break;
			case "put-service":
				services.add(change.service.id);
				break;
			case "remove-service":
				services.add(change.id);
				break;
			case "put-template":
				services.add(change.template.service);
				break;
			case "remove-template":
				services.add(change.service);
				break;
			case "put-task":
				services.add(change.task.service);
				if (change.task.node) nodes.add(change.task.node);
				break;
			case "task-status":
			case "remove-task": {
				const task = snapshot.tasks.get(change.id);
				if (task) services.add(task.service);
				if (task?.node) nodes.add(task.node);
				break;
			}
			case "put-lease":
			case "remove-lease":
				break;
		}
	}
	return { services, nodes };
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

const show = (error: unknown) =>
	error instanceof Error ? (error.stack ?? error.message) : `${error}`;
