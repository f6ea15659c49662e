// The agent's loop: observe, plan, apply, report, each at its own pace.
//
// An assignment is kept, then made so in the order in which things lean on each other: mesh, overlays, the engine's
// networks, VIPs, names; that is acknowledged, and then come the tasks. Slow work on tasks never holds up tables. What
// goes wrong in one part is a problem in the node's description and is tried again; the rest goes on.

import type { Assignment, StreamRequest } from "../model/assignment.ts";
import { messageOf } from "../model/errors.ts";
import type { NetworkId, NodeId } from "../model/id.ts";
import type { AttachedContainer, NodeDescription } from "../model/node.ts";
import { protocolVersion } from "../model/protocol.ts";
import type { Report, TaskReport } from "../model/report.ts";
import { bell } from "./bell.ts";
import { type Dispatcher, DispatcherError, NodeGone } from "./dispatcher.ts";
import type { DockerEvent } from "./host/docker.ts";
import type { EngineListener } from "./host/engine.ts";
import type { Accepted, Ledger } from "./ledger.ts";

/** Everything the loop touches. `main.ts` builds the real one, tests and the simulator theirs. */
export interface World {
	readonly dispatcher: Dispatcher;
	readonly ledger: Ledger;
	readonly tables: Tables;
	readonly tasks: TaskKeeper;
	readonly engine: { listen(listener: EngineListener, signal: AbortSignal): Promise<void> };
	/** Tells which peers are silent, when that changes or the tables want a look. Ends with the signal. */
	watch(changed: (silent: ReadonlySet<NodeId>) => void, signal: AbortSignal): Promise<void>;
	describe(complaints: Complaints): Promise<NodeDescription>;
	/** What a stream's reader asked for, as the engine gives it. */
	logs(request: StreamRequest, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
	/** The machine was started since the agent last ran: nothing of ours runs yet. */
	readonly freshBoot: boolean;
	sleep(ms: number, signal: AbortSignal): Promise<void>;
	/** From 0 to 1: keeps a thousand agents from coming back in one instant. */
	random(): number;
	log(line: string): void;
}

export interface Complaints {
	/** What takes the node out of service. */
	readonly problems: readonly string[];
	readonly warnings: readonly string[];
}

export interface Tables {
	/** Makes all of it so, whatever it finds. Never rejects. */
	apply(assignment: Assignment, silent: ReadonlySet<NodeId>): Promise<Applied>;
	/** Each event as soon as it comes: some of it is a race against a container's first process. */
	heed(event: DockerEvent): Promise<void>;
	/** A container was started or stopped, or joined or left a network: a look at all of them. */
	containersChanged(): Promise<readonly AttachedContainer[]>;
}

export interface Applied {
	/** The kernel has the tables: the revision may be acknowledged. */
	readonly kernel: boolean;
	/** The engine's ids of the networks that tasks can be attached to. */
	readonly networks: ReadonlyMap<NetworkId, string>;
	readonly attached: readonly AttachedContainer[];
	readonly problems: readonly string[];
}

export interface TaskKeeper {
	assign(assignment: Assignment, networks: ReadonlyMap<NetworkId, string>): Promise<void>;
	sweep(): Promise<void>;
	event(event: DockerEvent): void;
	take(which: "new" | "all"): TaskReport[];
	putBack(reports: readonly TaskReport[]): void;
	/** Rung whenever a task's status changes. */
	onChange(ring: () => void): void;
}

/** Whoever broke our tables, it lasts no longer than this. */
const repairMs = 10_000;
/** What happens together is told together; short enough to be at once for people. */
const batchMs = 30;
const describeMs = 30_000;
/** An engine away for longer takes its node out of service; as long as Swarm gives a node. */
const engineGraceMs = 15_000;
/** After a start of the machine the control plane gets this long to say what has moved elsewhere meanwhile. */
const firstNewsMs = 3_000;
const firstRetryMs = 250;
const longestRetryMs = 10_000;

export type End = "stopped" | "removed";

/** Until the signal, or until the control plane says that this node was removed. */
export async function runLoop(world: World, signal: AbortSignal): Promise<End> {
	const { dispatcher, ledger, tables, tasks, log } = world;
	const ending = new AbortController();
	const over = AbortSignal.any([signal, ending.signal]);
	let end: End = "stopped";

	const tablesBell = bell();
	const reportBell = bell();
	const firstNews = bell();
	let silent: ReadonlySet<NodeId> = new Set();
	let engineAway: AbortController | undefined;
	const complaints = new Map<
		string,
		{ readonly found: readonly string[]; readonly grave: boolean }
	>();
	const news: { -readonly [Field in keyof Report]?: Report[Field] } = {};
	let tellAll = true;
	let applied = { revision: 0, hash: "" };
	let attached: readonly AttachedContainer[] = [];
	const streams = new Set<string>();

	const tell = (report: Report) => {
		Object.assign(news, report);
		reportBell.ring();
	};
	/** `grave` takes the node out of service; the rest is for people to know. */
	const complain = (part: string, found: readonly string[], grave = false) => {
		const known = complaints.get(part) ?? { found: [], grave: false };
		const isSame = known.found.join("\n") === found.join("\n");
		if (isSame && known.grave === grave) return;
		complaints.set(part, { found, grave });
		if (!isSame) for (const complaint of found) log(`${part}: ${complaint}`);
		void describeNow();
	};
	const complaintsThat = (grave: boolean) =>
		[...complaints.values()].filter((each) => each.grave === grave).flatMap(({ found }) => found);
	const setAttached = (found: readonly AttachedContainer[]) => {
		if (JSON.stringify(found) === JSON.stringify(attached)) return false;
		attached = found;
		tell({ attached });
		return true;
	};
	const acknowledge = (accepted: Accepted) => {
		if (applied.revision === accepted.revision && applied.hash === accepted.hash) return;
		applied = { revision: accepted.revision, hash: accepted.hash };
		tell({ applied });
	};

	let description = "";
	async function describeNow() {
		try {
			const fresh = await world.describe({
				problems: complaintsThat(true),
				warnings: complaintsThat(false),
			});
			if (JSON.stringify(fresh) === description) return;
			description = JSON.stringify(fresh);
			tell({ description: fresh });
		} catch (error) {
			log(`describing this machine: ${messageOf(error)}`);
		}
	}

	/** Tries until it works, the signal comes, or the node is gone; what is worth a word is logged once. */
	async function persist<Result>(what: string, work: () => Promise<Result>) {
		let retryMs = firstRetryMs;
		let said = "";
		while (!over.aborted) {
			try {
				const result = await work();
				if (said) log(`${what}: works again`);
				return result;
			} catch (error) {
				if (over.aborted) return undefined;
				if (error instanceof NodeGone) {
					log(`the control plane: ${error.message}`);
					end = "removed";
					ending.abort();
					return undefined;
				}
				// A token that is refused, a gateway's error page: silence or noise, neither changes anything here.
				const text = wordsFor(error);
				if (text !== said) log(`${what}: ${text}`);
				said = text;
				await world.sleep(retryMs * (0.5 + world.random()), over);
				retryMs = Math.min(retryMs * 2, longestRetryMs);
			}
		}
		return undefined;
	}

	async function poll() {
		while (!over.aborted) {
			const held = ledger.accepted;
			const asked = { revision: held?.revision ?? 0, hash: held?.hash ?? "" };
			const reply = await persist("asking for news", () => dispatcher.poll(asked, over));
			if (!reply) return;
			for (const request of reply.streams ?? []) void send(request);
			const fresh = await take(reply.revision, reply.hash, reply.assignment);
			firstNews.ring();
			// A control plane that cannot hold the line answers at once and says how long to wait.
			const restMs = fresh === "refused" ? longestRetryMs : reply.pollMs;
			if (fresh !== "news") await world.sleep(restMs * (0.75 + world.random() / 2), over);
		}
	}

	async function take(
		revision: number,
		hash: string,
		assignment: Assignment | null,
	): Promise<"news" | "known" | "refused"> {
		const held = ledger.accepted;
		if (!assignment) {
			if (!held || held.hash !== hash || revision <= held.revision) return "known";
			// Others' news: the tables of the later revision are those we have.
			await ledger.accept({ ...held, revision });
			if (applied.hash === hash) acknowledge({ ...held, revision });
			return "known";
		}
		if (assignment.protocol > protocolVersion) {
			complain("agent", [
				`the control plane speaks protocol ${assignment.protocol}, this agent ${protocolVersion}: run the install line again`,
			]);
			return "refused";
		}
		const acceptance = await ledger.accept({ revision, hash, assignment });
		if (acceptance.kind === "refused") {
			complain("assignment", [acceptance.reason]);
			return "refused";
		}
		complain("assignment", []);
		if (acceptance.kind === "known" && applied.hash === hash) {
			acknowledge({ revision, hash, assignment });
		} else tablesBell.ring();
		return "news";
	}

	async function apply() {
		if (world.freshBoot || !ledger.accepted) {
			await firstNews.wait(ledger.accepted ? firstNewsMs : Number.POSITIVE_INFINITY, over);
		}
		for (; !over.aborted; await tablesBell.wait(repairMs, over)) {
			const accepted = ledger.accepted;
			if (!accepted) continue;
			tablesBell.hush();
			const result = await tables.apply(accepted.assignment, silent);
			if (over.aborted) return;
			complain("tables", result.problems, !result.kernel);
			setAttached(result.attached);
			if (result.kernel) acknowledge(accepted);
			await tasks
				.assign(accepted.assignment, result.networks)
				.catch((error) => log(`tasks: ${messageOf(error)}`));
		}
	}

	async function report() {
		while (!over.aborted) {
			await reportBell.wait(Number.POSITIVE_INFINITY, over);
			await world.sleep(batchMs, over);
			await persist("reporting", sendNews);
		}
	}

	async function sendNews() {
		const statuses = tasks.take(tellAll ? "all" : "new");
		const report: Report = { ...news, ...(statuses.length > 0 && { tasks: statuses }) };
		const sent = { ...news };
		for (const field of Object.keys(news)) delete news[field as keyof Report];
		if (Object.keys(report).length === 0) return;
		try {
			await dispatcher.report(report);
			tellAll = false;
		} catch (error) {
			if (error instanceof DispatcherError && error.status === 400) {
				// Said again it would be refused again, and hold up all that is still to be said.
				log(`the control plane refuses a report: ${error.message}`);
				return;
			}
			// What became known meanwhile is newer than what could not be told.
			Object.assign(news, { ...sent, ...news });
			tasks.putBack(statuses);
			throw error;
		}
	}

	async function describeNowAndThen() {
		for (; !over.aborted; await world.sleep(describeMs, over)) await describeNow();
	}

	async function send(request: StreamRequest) {
		if (streams.has(request.id)) return;
		streams.add(request.id);
		const ended = new AbortController();
		const until = AbortSignal.any([over, ended.signal]);
		try {
			await dispatcher.stream(request.id, await world.logs(request, until), until);
		} catch (error) {
			if (!over.aborted) log(`sending the log of ${request.task}: ${messageOf(error)}`);
		} finally {
			ended.abort();
			streams.delete(request.id);
		}
	}

	/** Several events, one look; a look that is going on is followed by another. */
	const containersBell = bell();
	async function followContainers() {
		while (!over.aborted) {
			await containersBell.wait(Number.POSITIVE_INFINITY, over);
			await world.sleep(batchMs, over);
			if (!ledger.accepted || over.aborted) continue;
			try {
				if (setAttached(await tables.containersChanged())) tablesBell.ring();
			} catch (error) {
				log(`containers: ${messageOf(error)}`);
				tablesBell.ring();
			}
		}
	}

	const listener: EngineListener = {
		event(event) {
			tables.heed(event).catch((error) => log(`containers: ${messageOf(error)}`));
			if (event.Type === "container") tasks.event(event);
			if (event.Type === "network" || event.Action === "start") containersBell.ring();
		},
		back() {
			engineAway?.abort();
			complain("engine", []);
			containersBell.ring();
			tablesBell.ring();
			void describeNow();
		},
		gone(complaint) {
			const found = [`Docker does not answer: systemctl start docker (${complaint})`];
			complain("engine", found);
			// Its containers go on while an engine is upgraded; what stays away is a reason to move them.
			engineAway?.abort();
			const away = new AbortController();
			engineAway = away;
			void world.sleep(engineGraceMs, AbortSignal.any([over, away.signal])).then(() => {
				if (!away.signal.aborted && !over.aborted) complain("engine", found, true);
			});
		},
	};
	tasks.onChange(reportBell.ring);
	const watched = (fresh: ReadonlySet<NodeId>) => {
		if (fresh.symmetricDifference(silent).size > 0) tell({ unreachable: [...fresh].sort() });
		silent = fresh;
		tablesBell.ring();
	};

	await Promise.all([
		poll(),
		apply(),
		report(),
		describeNowAndThen(),
		followContainers(),
		world.engine.listen(listener, over),
		world.watch(watched, over),
	]);
	return end;
}

function wordsFor(error: unknown): string {
	if (error instanceof DispatcherError && error.status === 401) {
		return `${error.message}: this node's identity is not accepted; everything goes on as it is. To join anew, run the install line with a fresh token`;
	}
	return messageOf(error);
}
