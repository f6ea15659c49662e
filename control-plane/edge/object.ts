// A cluster's object: the one process in which all of its requests meet, so that what waits can be rung (held polls,
// agents' bells, `docker events`), what is asked of a node finds its answer (logs, exec), and what is due has a clock.
//
// It holds no state that the database does not have. Evicted, moved or there twice for a moment, it loses what was
// under way in its memory and nothing else: the snapshot is read again, and the revision keeps every commit honest.
// While nothing happens it is not in memory at all: the runtime keeps the bells' sockets and the alarm.

import { DurableObject } from "cloudflare:workers";
import { Refusal } from "../../model/errors.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import { handleRest } from "../deployments/deliver.ts";
import { lookEveryMs, lookForPushes } from "../deployments/lookout.ts";
import { tellForges, type Why } from "../deployments/tell.ts";
import { hashFor } from "../dispatcher/assignments.ts";
import { ProcessRelay } from "../dispatcher/relay.ts";
import type { ClusterHost } from "../reconcile.ts";
import { migrate } from "../store/migrate.ts";
import { refsWithin } from "../webhooks/refs.ts";
import { unheardAcknowledgements } from "./acknowledge.ts";
import { admittedOf } from "./admitted.ts";
import { Bells, leaseOf } from "./bells.ts";
import { hear, type Leases, longLeaseMs, lookMsOf, pingMsOf, settleMsOf } from "./hearing.ts";
import { peerOf } from "./peer.ts";
import { upgrade } from "./upgrade.ts";
import { type Edge, nodeTimeoutMs, openEdge, report, routes, type Settings } from "./world.ts";

/** An agent whose bell is open calls anyway, now and then: so a lost ring is late, and never lost. */
const pollMs = 3_600_000;
/** So many writes make a cluster worth pruning. */
const writesPerPrune = 512;
const never = Number.POSITIVE_INFINITY;

/** What outlives the object's memory besides the alarm: hints, which the database could give as well. */
interface Kept {
	/** When the alarm is to make a plan. */
	readonly planAtMs: number;
	/** A bell's line was lost, and nobody has looked at what that means yet. */
	readonly isLost: boolean;
	/** The agents' program that is served here, and since when: a new life of the object is no news. */
	readonly agent?: { readonly sha256: string; readonly sinceMs: number };
}

const nothing: Kept = { planAtMs: never, isLost: false };

export class ClusterObject extends DurableObject<Settings> {
	readonly #bells = new Bells(this.ctx);
	readonly #relay = new ProcessRelay((node) => this.#bells.ring(node));
	#edge: Promise<Edge> | undefined;
	#host: ClusterHost | undefined;
	#kept = nothing;
	#lookAtMs = never;
	#armedMs = never;
	#prunedSeq: number | undefined;
	/** Leases of nodes whose line is not here: see hear(). */
	#missed: Leases = new Map();
	#rungSeq = -1;
	#ringing = false;
	/** When repositories were last asked for pushes that nobody told of. */
	#lookedMs = 0;

	constructor(state: DurableObjectState, settings: Settings) {
		super(state, settings);
		void state.blockConcurrencyWhile(async () => {
			this.#kept = { ...this.#kept, ...(await state.storage.get<Partial<Kept>>("kept")) };
		});
	}

	/** A request to the cluster's doors, as it came to the worker. */
	override async fetch(request: Request): Promise<Response> {
		const { world } = await this.#opened();
		const admitted = admittedOf(request);
		return routes.fetch(request, {
			world,
			via: "tcp",
			upgrade,
			...(admitted && { admitted }),
			...peerOf(request, Date.now()),
		});
	}

	/** Plans what is due, in this memory or by the database's word. Never mind when it is called, or how often. */
	async wake(): Promise<void> {
		const host = await this.#hosted();
		await host?.sweep();
		if (!host) return;
		const refsOf = refsWithin((await this.#opened()).world.forges);
		await handleRest(host, refsOf);
		this.ctx.waitUntil(this.#tell(host, "clock").catch(report));
		if (Date.now() - this.#lookedMs >= lookEveryMs) {
			this.#lookedMs = Date.now();
			await lookForPushes(host, report, refsOf);
		}
		await this.#pruneNowAndThen(host);
	}

	override async alarm(): Promise<void> {
		this.#armedMs = never;
		const { planAtMs } = this.#kept;
		if (planAtMs <= Date.now()) {
			// What fails stays due, and the runtime calls again.
			await this.wake();
			// Unless another time was set meanwhile.
			if (this.#kept.planAtMs === planAtMs) await this.#keep({ planAtMs: never });
		}
		await this.#look();
	}

	override async webSocketClose(socket: WebSocket): Promise<void> {
		this.#bells.closed(socket);
		await this.#lost(leaseOf(socket));
	}

	override async webSocketError(socket: WebSocket): Promise<void> {
		await this.#lost(leaseOf(socket));
	}

	get #cluster(): ClusterId {
		const { name } = this.ctx.id;
		if (name === undefined) throw new Error("a cluster's object is found by its cluster's id");
		return name as ClusterId;
	}

	get #nodeTimeoutMs(): number {
		const { SKEIN_NODE_TIMEOUT_MS } = this.env;
		return (
			this.#host?.held().cluster.nodeTimeoutMs ?? Number(SKEIN_NODE_TIMEOUT_MS ?? nodeTimeoutMs)
		);
	}

	/** What fails is tried again by the next request. */
	#opened(): Promise<Edge> {
		this.#edge ??= this.#open().catch((error: unknown) => {
			this.#edge = undefined;
			throw error;
		});
		return this.#edge;
	}

	async #open(): Promise<Edge> {
		const edge = await openEdge(this.env, {
			relay: this.#relay,
			bells: {
				offer: () => ({ pingMs: pingMsOf(this.#nodeTimeoutMs), pollMs }),
				open: (node, protocol) => this.#openBell(node, protocol),
				told: (node, { hash, revision }) => this.#bells.told(node, hash, revision),
			},
			alarm: (planAtMs) => this.ctx.waitUntil(this.#keep({ planAtMs })),
			changed: () => this.#ringSoon(),
			landed: (host) => this.ctx.waitUntil(this.#tell(host, "decided").catch(report)),
			servedSinceMs: (sha256) => this.#servedSinceMs(sha256),
			background: (work) => this.ctx.waitUntil(work),
		});
		// An alarm may be the first thing that a new version of the program sees.
		await migrate(edge.database);
		this.ctx.waitUntil(this.#takeUp().catch(report));
		return edge;
	}

	/** What is not taken has a time at which it is due again, of which the planner knows. */
	async #tell(host: ClusterHost, why: Why): Promise<void> {
		if (host.held().unsettled.untold.size === 0) return;
		const { forges: reach, publicUrl, nowMs } = (await this.#opened()).world;
		await tellForges(host, { reach, publicUrl, nowMs }, why);
	}

	#servedSinceMs(sha256: string): number {
		const { agent = { sha256: "", sinceMs: 0 } } = this.#kept;
		if (agent.sha256 === sha256) return agent.sinceMs;
		const sinceMs = Date.now();
		this.#kept = { ...this.#kept, agent: { sha256, sinceMs } };
		this.ctx.waitUntil(this.ctx.storage.put("kept", this.#kept));
		return sinceMs;
	}

	/** A new life: sockets may have been lost with the one before, and nobody was told. */
	async #takeUp(): Promise<void> {
		const host = await this.#hosted();
		if (!host) return;
		const { absent } = hear(host.held(), this.#bells.lines(), Date.now(), this.#missed);
		if (absent.size > 0) await this.#lost(absent);
		else if (this.#bells.lines().size > 0) await this.#lookIn(lookMsOf(this.#nodeTimeoutMs, 1));
		this.#ringSoon();
	}

	/** Undefined when the cluster is no more: then there is nothing left to wake up for. */
	async #hosted(): Promise<ClusterHost | undefined> {
		const { world } = await this.#opened();
		try {
			this.#host = await world.hosted.host(this.#cluster);
			return this.#host;
		} catch (error) {
			if (!(error instanceof Refusal && error.kind === "not-found")) throw error;
			this.#host = undefined;
			this.#lookAtMs = never;
			this.#kept = nothing;
			await this.ctx.storage.deleteAll();
			return undefined;
		}
	}

	async #openBell(node: NodeId, protocol: number): Promise<Response> {
		const leaseUntilMs = Date.now() + longLeaseMs;
		const host = await this.#hosted();
		await host?.report({ node, leaseUntilMs });
		const response = this.#bells.open(node, protocol, leaseUntilMs);
		await this.#lookIn(lookMsOf(this.#nodeTimeoutMs, this.#bells.lines().size));
		return response;
	}

	async #lost(leases: Leases): Promise<void> {
		this.#missed = new Map([...this.#missed, ...leases]);
		await this.#keep({ isLost: true });
		await this.#lookIn(settleMsOf(this.#nodeTimeoutMs));
	}

	/** Whether everybody is still there. While all lines are alive this asks nobody. */
	async #look(): Promise<void> {
		const nowMs = Date.now();
		const timeoutMs = this.#nodeTimeoutMs;
		const lines = this.#bells.lines();
		this.#lookAtMs = never;
		const isSilent = [...lines.values()].some((heardMs) => heardMs + timeoutMs < nowMs);
		const isRenewal = this.#bells.leaseUntilMs() < nowMs + longLeaseMs / 2;
		const isDisputed = this.#host && hear(this.#host.held(), lines, nowMs, this.#missed).isDisputed;
		if (!isSilent && !isRenewal && !this.#kept.isLost && !isDisputed) {
			await this.#lookIn(lines.size > 0 ? lookMsOf(timeoutMs, lines.size) : never);
			return;
		}
		const host = await this.#hosted();
		if (!host) return;
		const missed = this.#missed;
		this.#missed = new Map();
		const heard = hear(await host.snapshot(), lines, nowMs, missed);
		if (heard.ends.size > 0) await host.endLeases(heard.ends);
		for (const node of heard.ends.keys()) this.#bells.close(node);
		const leaseUntilMs = nowMs + longLeaseMs;
		await Promise.all(
			heard.renews.map(async (node) => {
				await host.report({ node, leaseUntilMs });
				this.#bells.renewed(node, leaseUntilMs);
			}),
		);
		// Others may be open elsewhere: there is one more look, by which their object is this one, or they are nowhere.
		const others = [...heard.absent].filter(([node]) => !heard.ends.has(node));
		this.#missed = new Map([...others, ...this.#missed]);
		const isLost = this.#missed.size > 0;
		await this.#keep({ isLost });
		const isOver = lines.size === 0 && !isLost;
		const soon = heard.isDisputed || heard.ends.size > 0;
		const nextMs = soon ? pingMsOf(timeoutMs) : lookMsOf(timeoutMs, isLost ? 1 : lines.size);
		await this.#lookIn(isOver ? never : nextMs);
	}

	/** Coalesced: a burst of writes is one look at everybody's assignment. */
	#ringSoon(): void {
		if (this.#ringing || !this.#host) return;
		this.#ringing = true;
		this.ctx.waitUntil(
			this.#ring(this.#host)
				.catch(report)
				.finally(() => {
					this.#ringing = false;
				}),
		);
	}

	async #ring(host: ClusterHost): Promise<void> {
		await Promise.resolve();
		while (this.#rungSeq !== host.seq()) {
			this.#rungSeq = host.seq();
			// A node that was removed is to hear so.
			const { revision } = host.held();
			const known = await this.#bells.ringAll(revision, async (of) =>
				host.held().nodes.has(of.node) ? hashFor(host, host.held(), of) : "",
			);
			const applied = unheardAcknowledgements(host.held(), revision, known);
			await Promise.all(applied.map((each) => host.report(each)));
		}
		const lines = this.#bells.lines();
		const { isDisputed, renews } = hear(host.held(), lines, Date.now(), this.#missed);
		// Also where somebody else, who has not the line, ended a lease that is ours.
		if (isDisputed || renews.length > 0) {
			await this.#lookIn(pingMsOf(this.#nodeTimeoutMs));
		}
	}

	async #keep(fresh: Partial<Kept>): Promise<void> {
		const known = this.#kept;
		const kept = { ...known, ...fresh };
		this.#kept = kept;
		if (kept.planAtMs !== known.planAtMs || kept.isLost !== known.isLost) {
			await this.ctx.storage.put("kept", kept);
		}
		await this.#arm();
	}

	async #lookIn(ms: number): Promise<void> {
		this.#lookAtMs = Math.min(this.#lookAtMs, Date.now() + ms);
		await this.#arm();
	}

	/** The runtime has one alarm for each object. */
	async #arm(): Promise<void> {
		const atMs = Math.min(this.#kept.planAtMs, this.#lookAtMs);
		if (atMs === this.#armedMs) return;
		this.#armedMs = atMs;
		if (atMs < never) await this.ctx.storage.setAlarm(atMs);
	}

	async #pruneNowAndThen(host: ClusterHost): Promise<void> {
		const before = this.#prunedSeq ?? host.seq();
		this.#prunedSeq = host.seq();
		const epoch = (seq: number) => Math.floor(seq / writesPerPrune);
		if (epoch(before) !== epoch(host.seq())) await host.prune();
	}
}
