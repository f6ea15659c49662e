// Hollow agents: the real loop and the real line to the control plane, on machines that are not there. Reads who they are
// from standard input, a line for each cluster, and begins with each at once; says four times a second what they met.
//
// A program of its own, so that what it needs is not counted as the control plane's; more than one agent may speak for a
// node.

import { after, sleep } from "../../edge-agent/bell.ts";
import { type Dispatcher, DispatcherError, openDispatcher } from "../../edge-agent/dispatcher.ts";
import { type Accepted, judge, type Ledger } from "../../edge-agent/ledger.ts";
import { runLoop, type World } from "../../edge-agent/loop.ts";
import type { Assignment } from "../../model/assignment.ts";
import type { NodeDescription } from "../../model/node.ts";

export interface Wanted {
	readonly url: string;
	readonly credentials: readonly string[];
	readonly descriptions: readonly NodeDescription[];
	/** How many agents speak for each. */
	readonly each: number;
	/** For how long the control plane holds a poll without news. */
	readonly holdMs: number;
}

export interface Tick {
	readonly atMs: number;
	/** Polls answered since the last tick. */
	readonly answers: number;
	/** Everything that was sent since then: polls, reports, bells opened. */
	readonly requests: number;
	/** Assignments that were new to their agents. */
	readonly news: number;
	/** Assignments in which a node stood that is not of the agent's own cluster. */
	readonly strange: number;
	/** Agents that were cut off. */
	readonly cut: number;
	/** When each agent was taken up that had been refused or cut off before, or was new. */
	readonly backMs: readonly number[];
	/** What went wrong, by status or code. */
	readonly errors: Readonly<Record<string, number>>;
}

const tickMs = 250;

if (import.meta.main) {
	const nothing = () => ({ answers: 0, requests: 0, news: 0, strange: 0, cut: 0 });
	let count = nothing();
	let backMs: number[] = [];
	let errors: Record<string, number> = {};
	process.on("SIGTERM", () => process.exit(0));
	setInterval(() => {
		console.log(JSON.stringify({ atMs: Date.now(), ...count, backMs, errors } satisfies Tick));
		count = nothing();
		backMs = [];
		errors = {};
	}, tickMs);
	for await (const line of console) {
		const { credentials, descriptions, each, ...at }: Wanted = JSON.parse(line);
		for (const [n, credential] of credentials.entries()) {
			const description = descriptions[n];
			if (!description) throw new Error("a description for each credential");
			for (let agent = 0; agent < each; agent++) void hollow(at, credential, description);
		}
	}

	async function hollow(
		{ url, holdMs }: Pick<Wanted, "url" | "holdMs">,
		credential: string,
		description: NodeDescription,
	) {
		const line = openDispatcher(url, credential);
		let isAway = true;
		const isBack = (atMs: number) => {
			if (isAway) backMs.push(atMs);
			isAway = false;
		};
		const isCut = () => {
			if (!isAway) count.cut++;
			isAway = true;
		};
		const failed = (error: unknown) => {
			const what = wordFor(error);
			errors[what] = (errors[what] ?? 0) + 1;
			throw error;
		};
		const counting: Dispatcher = {
			...line,
			async poll(asked, signal) {
				count.requests++;
				const askedMs = Date.now();
				try {
					const reply = await line.poll(asked, signal);
					count.answers++;
					const wasHeldMs = reply.assignment || asked.atOnce ? 0 : holdMs;
					isBack(Math.max(askedMs, Date.now() - wasHeldMs));
					if (reply.assignment) {
						count.news++;
						if (!isOf(reply.assignment, description)) count.strange++;
					}
					return reply;
				} catch (error) {
					isCut();
					return failed(error);
				}
			},
			report(report) {
				count.requests++;
				return line.report(report).catch(failed);
			},
			async bell(pingMs, rung, signal) {
				count.requests++;
				const heard = () => {
					isBack(Date.now());
					rung();
				};
				await line.bell(pingMs, heard, signal).catch(failed);
				isCut();
			},
		};
		await runLoop(worldOf(counting, description), new AbortController().signal);
	}
}

/** Machines are named after their clusters: `c7-n12`. */
function isOf({ self, peers }: Assignment, { hostname }: NodeDescription): boolean {
	const [cluster] = hostname.split("-");
	return (
		self.hostname === hostname && peers.every((peer) => peer.hostname.startsWith(`${cluster}-`))
	);
}

function wordFor(error: unknown): string {
	if (error instanceof DispatcherError) return `${error.status}`;
	if (!(error instanceof Error)) return "unknown";
	return "code" in error && typeof error.code === "string" ? error.code : error.name;
}

function forEver(signal: AbortSignal): Promise<void> {
	return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

/** A machine on which all is well, and nothing runs. */
function worldOf(dispatcher: Dispatcher, description: NodeDescription): World {
	let held: Accepted | null = null;
	const ledger: Ledger = {
		get accepted() {
			return held;
		},
		remembered: {},
		unwritten: null,
		start: Date.now(),
		async accept(offered) {
			const acceptance = judge(held, offered);
			if (acceptance.kind !== "refused") held = offered;
			return acceptance;
		},
		remember: () => undefined,
		flush: async () => undefined,
	};
	return {
		dispatcher,
		ledger,
		tables: {
			apply: async () => ({ kernel: true, networks: new Map(), attached: [], problems: [] }),
			heed: async () => undefined,
			containersChanged: async () => [],
		},
		tasks: {
			assign: async () => undefined,
			event: () => undefined,
			take: () => [],
			putBack: () => undefined,
			onChange: () => undefined,
		},
		engine: { listen: (_listener, signal) => forEver(signal) },
		watch: (_changed, signal) => forEver(signal),
		describe: async () => description,
		answer: () => new Blob([]).stream(),
		freshBoot: false,
		after,
		sleep,
		random: Math.random,
		log: () => undefined,
	};
}
