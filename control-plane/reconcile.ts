// The host of a cluster: keeps its snapshot in memory, commits what doors decide together with what the planner makes
// of it, and plans for what agents reported. On a stale snapshot: again.
//
// Several processes may host one cluster. Nothing here depends on being the only one: the database lets a decision in
// only as the next revision, and reports merge. A short lease in the cluster's row keeps them from planning the same
// burst twice. What a change means is the planner's (manager/), how it is written the store's.

import type { AgentOffer, Change, Moment, Plan, Scope } from "../model/change.ts";
import { Refusal, unavailable } from "../model/errors.ts";
import type { ClusterId, NodeId, ServiceId } from "../model/id.ts";
import type { Limits } from "../model/limits.ts";
import type { Node } from "../model/node.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type {
	AgentsDoor,
	ClusterEvent,
	Contents,
	Credentials,
	Decision,
	Inbox,
	Reported,
} from "./cluster.ts";
import { newsOf } from "./manager/news.ts";
import type { Planner } from "./manager/plan.ts";
import { refusalOf, usageAfter, usageOf } from "./manager/quota.ts";
import type { Metrics } from "./operations/metrics.ts";
import type { ClusterStore } from "./store/cluster.ts";
import { clusterGone, mergeReports, StaleSnapshot, type Wake } from "./store/commit.ts";
import { applyCommit, applyReports, forgetPlanned, type Held } from "./store/snapshot.ts";

/** What a host needs of the world around it. */
export interface HostWorld {
	readonly planner: Planner;
	/** This process's name among those that plan. */
	readonly name: string;
	nowMs(): number;
	/** Calls once, later; what it returns calls that off. */
	after(ms: number, event: () => void): () => void;
	/** From 0 to 1: keeps those who lost a race from running the next one side by side. */
	random(): number;
	newId(): string;
	/** Since when agents can reach this process; null where processes come and go, and the database has to know. */
	listeningSinceMs(): number | null;
	/** Something of the cluster is new. */
	readonly changed?: () => void;
	/** A revision of this process's landed. */
	readonly landed?: (host: ClusterHost) => void;
	/** Work that outlives the request it came from; an edge runtime has to be told. */
	background(work: Promise<unknown>): void;
	/**
	 * An alarm clock outside of this process, which calls `sweep` then; a later call replaces an earlier one. Given to
	 * the one process that is meant to host the cluster: others are rare, so they are looked for seldom, and may
	 * learn late what it hears. Absent where this process is its own clock.
	 */
	readonly alarm?: (atMs: number) => void;
	readonly metrics?: Metrics;
	/** The agents' program that is served here, once it is known. */
	readonly agent?: () => AgentOffer | undefined;
	log(message: string): void;
}

/** A leader that died is replaced after this. */
const planningLeaseMs = 5_000;
/** While somebody waits for news, how often we look whether another process wrote; and where others are rare. */
const lookMs = 300;
const rareLookMs = 10_000;
/** Lets the reports of one burst come together, so that they are planned once. */
const burstMs = 5;
const retryPlanMs = 1_000;
const alarmGraceMs = 2_000;
const togetherMs = 50;
const endTries = 10;
/**
 * What one process heard and the others cannot know. Peers' word against a node counts after 7 s of silence, of which
 * its next poll may take five.
 */
const mostUnwrittenMs = 1_000;
/** Without a write for this long, we count as having been deaf: longer than the edge's cron, which writes. */
const outageMs = 90_000;
const maxAttempts = 60;

export interface HostDeps extends Pick<AgentsDoor, "contents" | "credentials" | "inbox"> {
	/** What the cluster's organization may have, as of now; asked only when a decision takes more of something. */
	readonly limits?: () => Promise<Limits>;
}

export class ClusterHost implements AgentsDoor {
	readonly id: ClusterId;
	readonly contents: Contents;
	readonly credentials: Credentials;
	readonly inbox: Inbox;
	readonly #store: ClusterStore;
	readonly #world: HostWorld;
	readonly #held: Held;
	readonly #limits: HostDeps["limits"];
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
	#waitingSinceMs: number | null = null;
	#hearingSinceMs = 0;
	#lastEventMs = 0;
	#callOff: () => void = () => {};
	#closed = false;
	#gone = false;

	/** `onGone` is called once the cluster turns out to be erased, or this host is closed. */
	constructor(
		store: ClusterStore,
		held: Held,
		world: HostWorld,
		{ contents, credentials, inbox, limits }: HostDeps,
		onGone: () => void,
	) {
		this.id = store.id;
		this.#limits = limits;
		this.contents = contents;
		this.credentials = credentials;
		this.inbox = inbox;
		this.#onGone = onGone;
		this.#store = store;
		this.#held = held;
		this.#world = world;
	}

	async snapshot(): Promise<Snapshot> {
		await this.#refresh();
		return this.#held.facts;
	}

	/** What is known here, without a look at the database. */
	held(): Snapshot {
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
				const { planner } = this.#world;
				const plan = this.#timed(() => planner.planAfter(facts, decision.changes, moment, scope));
				const changes = [...decision.changes, ...plan.changes];
				const { seq } = this.#held;
				await this.#checkLimits(facts, changes);
				// What came in meanwhile was not decided from.
				if (this.#held.seq !== seq) continue;
				const news = newsOf(facts, decision.changes, plan.changes);
				const events = this.#stamp([...(decision.events ?? []), ...news]);
				try {
					await this.#land(changes, events, null, plan, scope);
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

	/** Nodes that are not heard any more, and until when that may last. */
	endLeases(ends: ReadonlyMap<NodeId, number>): Promise<void> {
		return this.#inTurn(async () => {
			const base = this.#held.seq;
			const seq = await this.#store.endLeases(ends);
			const { facts, touched } = this.#held;
			for (const [id, untilMs] of ends) {
				const node = facts.nodes.get(id);
				if (!node) continue;
				facts.setNode({ ...node, leaseUntilMs: Math.min(node.leaseUntilMs, untilMs) });
				this.#writtenLeases.set(id, untilMs);
				touched.nodes.set(id, seq);
			}
			if (seq === base + 1 && this.#held.seq === base) this.#held.seq = seq;
			else await this.#refresh(true);
			this.#ring();
			this.#planSoon();
		});
	}

	wait(seq: number, timeoutMs: number, signal?: AbortSignal): Promise<void> {
		if (this.#held.seq > seq || signal?.aborted || this.#closed || timeoutMs <= 0) {
			return Promise.resolve();
		}
		return new Promise((resolve) => {
			const done = () => {
				callOff();
				signal?.removeEventListener("abort", done);
				this.#waiters.delete(ring);
				resolve();
			};
			const ring = () => {
				if (this.#held.seq > seq || this.#closed) done();
			};
			const callOff = this.#world.after(timeoutMs, done);
			signal?.addEventListener("abort", done);
			this.#waiters.add(ring);
			if (!this.#store.exclusive) this.#world.background(this.#look());
		});
	}

	async events(sinceMs: number, untilMs: number): Promise<readonly ClusterEvent[]> {
		return this.#store.events(sinceMs, untilMs);
	}

	/** Before the first request: whatever was due while nobody hosted the cluster. */
	async begin(): Promise<void> {
		await this.#mindDeafness();
		if (!this.#world.alarm) await this.#endLongLeases();
		this.planIfDue();
	}

	/** A cluster that comes from the edge: its agents' lines are not ours, so from now on they are to call. */
	async #endLongLeases(): Promise<void> {
		const { nodes, cluster } = this.#held.facts;
		const untilMs = this.#world.nowMs() + cluster.nodeTimeoutMs;
		const long = [...nodes.values()].filter(({ leaseUntilMs }) => leaseUntilMs > untilMs);
		if (long.length > 0) await this.endLeases(new Map(long.map(({ id }) => [id, untilMs])));
	}

	/** Plans for what waits, and for what time has changed. The net under lost timers and dead leaders. */
	async sweep(): Promise<void> {
		await this.#refresh();
		await this.#mindDeafness();
		this.planIfDue();
		await this.#planning;
		const next = this.#nextAlarm();
		if (this.#world.alarm && next !== null) this.#arm(next);
	}

	/** Tells the database that we live: agents that are silent then have nobody but themselves to blame. */
	async sayAlive(): Promise<void> {
		const nobody = { nodes: new Map(), statuses: new Map(), builds: new Map() };
		await this.#inTurn(async () => {
			await this.#store.report(nobody, this.#world.nowMs(), outageMs);
			await this.#refresh(true);
		});
	}

	/** Where hosts come and go, a silent node may be one that nobody was there to hear: the database knows since when. */
	async #mindDeafness(): Promise<void> {
		const nowMs = this.#world.nowMs();
		const isSilent = (node: Node) => node.status.state === "ready" && node.leaseUntilMs <= nowMs;
		if (this.#world.alarm && [...this.#held.facts.nodes.values()].some(isSilent)) {
			await this.sayAlive();
		}
	}

	prune(): Promise<void> {
		return this.#store.prune(this.#world.nowMs());
	}

	planIfDue(): void {
		const nowMs = this.#world.nowMs();
		this.#ringAlarms(nowMs);
		const { wakeAtMs, plannerUntilMs } = this.#held;
		// Whoever set that alarm should have woken up by now; with a clock outside, that is us.
		const graceMs = this.#world.alarm ? 0 : alarmGraceMs;
		if (!this.#store.exclusive && wakeAtMs !== null && wakeAtMs + graceMs <= nowMs) this.#ringAll();
		if (this.#servesNewAgent()) this.#ringAll();
		// With a clock outside, the lease that stands in the way may be our own, of an earlier life.
		const isFree = this.#store.exclusive || this.#world.alarm || plannerUntilMs < nowMs;
		if (this.#waiting() && isFree) this.#planSoon();
	}

	/** Since when something waits to be planned; null while nothing does. */
	waitingSinceMs(): number | null {
		return this.#waiting() ? this.#waitingSinceMs : null;
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
		this.#callOff();
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
			this.#world.metrics?.add("commits");
			this.#world.landed?.(this);
		} catch (error) {
			if (error instanceof StaleSnapshot) this.#world.metrics?.add("conflicts");
			this.#doubtful = true;
			throw error;
		}
		this.#ring();
	}

	async #checkLimits(facts: Snapshot, changes: readonly Change[]): Promise<void> {
		if (!this.#limits) return;
		const after = usageAfter(facts, changes);
		if (!after) return;
		const before = usageOf(facts);
		const refusal = refusalOf(await this.#limits(), before, after);
		if (refusal) throw refusal;
	}

	#timed(work: () => Plan): Plan {
		const begun = performance.now();
		const plan = work();
		this.#world.metrics?.observe("planTime", {}, (performance.now() - begun) / 1000);
		return plan;
	}

	async #afterStale(error: unknown, attempt: number): Promise<void> {
		if (!(error instanceof StaleSnapshot)) throw error;
		if (attempt === maxAttempts) {
			throw unavailable("too many others change this cluster at once: try again", { cause: error });
		}
		await this.#sleep(this.#world.random() * Math.min(200, 4 * 2 ** attempt));
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
	 * A sign of life and nothing else. It counts at once, and is written for those who plan too, since they know only
	 * what is written. After a restart nobody's silence counts before they had time to be heard (manager/liveness.ts).
	 */
	#isHeardOnly(reported: Reported): boolean {
		const { node: id, leaseUntilMs, ...news } = reported;
		const { facts } = this.#held;
		const node = facts.nodes.get(id);
		if (!node || leaseUntilMs === undefined || Object.keys(news).length > 0) return false;
		if (node.status.state !== "ready") return false;
		const { nodeTimeoutMs } = facts.cluster;
		const shortMs = this.#world.nowMs() + nodeTimeoutMs;
		// That one stands for an open line (edge/hearing.ts): written as it is, and good for all that is said on it.
		if (leaseUntilMs > shortMs) return false;
		if (node.leaseUntilMs > shortMs) return true;
		if (leaseUntilMs > node.leaseUntilMs) facts.setNode({ ...node, leaseUntilMs });
		if (this.#store.exclusive) return true;
		const written = this.#writtenLeases.get(id) ?? 0;
		// Others are rare where this one is meant to host the cluster.
		const unwrittenMs = this.#world.alarm ? nodeTimeoutMs / 2 : mostUnwrittenMs;
		if (written - this.#world.nowMs() > nodeTimeoutMs - unwrittenMs) return true;
		this.#writtenLeases.set(id, leaseUntilMs);
		return false;
	}

	#planSoon(): void {
		if (this.#planning || this.#closed) return;
		this.#waitingSinceMs ??= this.#world.nowMs();
		this.#planning = this.#planAll().finally(() => {
			this.#planning = undefined;
		});
		this.#world.background(this.#planning);
	}

	/** Plans until nothing waits. What fails stays touched, and is tried again: a report is never lost by a failed plan. */
	async #planAll(): Promise<void> {
		try {
			await this.#sleep(burstMs);
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
			// Somebody else is at it; should that one die, nobody but the clock brings us back.
			if (this.#world.alarm) this.#arm(this.#world.nowMs() + planningLeaseMs);
		} catch (error) {
			if (this.#closed) return;
			this.#due = true;
			this.#world.metrics?.add("planFailures");
			// While the cluster is moved nobody writes, and that is as it should be.
			const isForAWhile = error instanceof Refusal && error.retryAfterSeconds !== undefined;
			if (!isForAWhile) {
				this.#world.log(`planning cluster ${this.id} failed, again soon: ${show(error)}`);
			}
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
			if (!this.#waiting()) {
				this.#waitingSinceMs = null;
				return { atMs: this.#nextAlarm(), whole: false };
			}
			const scope = touchedScope(touched);
			this.#due = false;
			const plan = this.#timed(() => this.#world.planner.plan(facts, this.#moment(), scope));
			try {
				if (plan.changes.length > 0) {
					const events = this.#stamp(newsOf(facts, [], plan.changes));
					await this.#land(plan.changes, events, seq, plan, scope);
				}
				forgetPlanned(touched, seq);
				if (!this.#waiting()) this.#waitingSinceMs = null;
				return this.#setAlarms(scope, plan.wakeAtMs);
			} catch (error) {
				await this.#afterStale(error, attempt);
			}
		}
	}

	/**
	 * A plan says when time alone changes what it planned; earlier alarms of the same things are void.
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

	#servesNewAgent(): boolean {
		const offered = this.#world.agent?.();
		const { agent: known } = this.#held.facts.cluster;
		if (!offered || offered.sha256 === known?.sha256) return false;
		return !known || known.sinceMs < offered.sinceMs;
	}

	#arm(atMs: number): void {
		if (this.#closed) return;
		if (this.#world.alarm) {
			this.#world.alarm(atMs + togetherMs);
			return;
		}
		this.#callOff();
		// Alarms that are close together ring together. A timer beyond 2^31 ms would fire at once.
		const delayMs = Math.min(Math.max(0, atMs - this.#world.nowMs()) + togetherMs, 86_400_000);
		this.#callOff = this.#world.after(delayMs, () => {
			this.planIfDue();
			const next = this.#nextAlarm();
			if (next !== null) this.#arm(next);
		});
	}

	/** Looks for what other processes wrote, for as long as somebody here waits for it. */
	async #look(): Promise<void> {
		if (this.#looking) return;
		this.#looking = true;
		try {
			while (this.#waiters.size > 0 && !this.#closed) {
				await this.#sleep(this.#world.alarm ? rareLookMs : lookMs);
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
		this.#world.changed?.();
		for (const ring of [...this.#waiters]) ring();
	}

	#sleep(ms: number): Promise<void> {
		return new Promise((resolve) => this.#world.after(ms, resolve));
	}

	#moment(): Moment {
		return {
			nowMs: this.#world.nowMs(),
			listeningSinceMs: Math.max(
				this.#world.listeningSinceMs() ?? this.#held.listeningSinceMs,
				this.#hearingSinceMs,
			),
			agent: this.#world.agent?.(),
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
			case "put-material":
			case "remove-material":
			case "put-content":
			case "put-application":
			case "remove-application":
			case "put-deployment":
			case "remove-deployment":
			case "put-build":
			case "build-status":
			case "remove-build":
				break;
		}
	}
	return { services, nodes };
}

const show = (error: unknown) =>
	error instanceof Error ? (error.stack ?? error.message) : `${error}`;
