// The agent's loop: observe, plan, apply, report, each at its own pace.
//
// An assignment is kept, then made so in the order in which things lean on each other: mesh, overlays, the engine's
// networks, VIPs, names; that is acknowledged, and then come the tasks. Slow work on tasks never holds up tables. What
// goes wrong in one part is a problem in the node's description and is tried again; the rest goes on.

import type { AgentRelease, Assignment, AssignmentReply } from "../model/assignment.ts";
import { messageOf } from "../model/errors.ts";
import type { NetworkId, NodeId } from "../model/id.ts";
import type { AttachedContainer, NodeDescription } from "../model/node.ts";
import { protocolVersion } from "../model/protocol.ts";
import type { NodeRequest } from "../model/relay.ts";
import type { BuildReport, Report, TaskReport } from "../model/report.ts";
import { type After, bell } from "./bell.ts";
import { type Dispatcher, DispatcherError, NodeGone } from "./dispatcher.ts";
import type { DockerEvent } from "./host/docker.ts";
import type { EngineListener } from "./host/engine.ts";
import type { Accepted, Ledger } from "./ledger.ts";
import type { Input } from "./relay.ts";
import { retryInMs } from "./retry.ts";

/** Everything the loop touches. `main.ts` builds the real one, tests and the simulator theirs. */
export interface World {
	readonly dispatcher: Dispatcher;
	readonly ledger: Ledger;
	readonly tables: Tables;
	readonly tasks: TaskKeeper;
	/** Absent where nothing is built, and no image but those of registries is had. */
	readonly builds?: BuildKeeper;
	readonly images?: ImageKeeper;
	readonly engine: { listen(listener: EngineListener, signal: AbortSignal): Promise<void> };
	/** Tells which peers are silent, when that changes or the tables want a look. Ends with the signal. */
	watch(changed: (silent: ReadonlySet<NodeId>) => void, signal: AbortSignal): Promise<void>;
	describe(complaints: Complaints): Promise<NodeDescription>;
	/** What somebody asked of this node's engine. */
	answer(request: NodeRequest, input: Input, signal: AbortSignal): ReadableStream<Uint8Array>;
	/** The machine was started since the agent last ran: nothing of ours runs yet. */
	readonly freshBoot: boolean;
	readonly after: After;
	/** The program that this agent is to be; absent while it is to stay what it is. */
	become?(release: AgentRelease | undefined): void;
	/** The machine goes down: to be told at once. */
	readonly goingDown?: AbortSignal;
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
	/** Again and again, with what is known already too: what went wrong meanwhile is found and mended. */
	assign(assignment: Assignment, networks: ReadonlyMap<NetworkId, string>): Promise<void>;
	event(event: DockerEvent): void;
	take(which: "new" | "all"): TaskReport[];
	putBack(reports: readonly TaskReport[]): void;
	/** Rung whenever a task's status changes. */
	onChange(ring: () => void): void;
}

/** What this node builds. */
export interface BuildKeeper {
	/** Again and again, as for tasks. Returns at once. */
	assign(assignment: Assignment): void;
	take(which: "new" | "all"): BuildReport[];
	putBack(reports: readonly BuildReport[]): void;
	/** Rung whenever a build's status changes. */
	onChange(ring: () => void): void;
}

/** The images that were built, as far as they are here. */
export interface ImageKeeper {
	/** The mesh is up before. Returns at once. */
	assign(assignment: Assignment): void;
	/** The digests of those that are here whole. */
	whole(): readonly string[];
	/** Rung whenever those are others. */
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
/** What was refused here would be refused again at once. */
const refusedMs = 10_000;

export type End = "stopped" | "removed";

/** An agent whose bell fell silent is one of many: they come back one after the other. */
const spreadMs = 5_000;
/** Where a bell cannot be opened, or not so soon, held polls do as well. */
const firstBellMs = 5_000;
const longestBellMs = 600_000;

/** Until the signal, or until the control plane says that this node was removed. */
export async function runLoop(world: World, signal: AbortSignal): Promise<End> {
	const { dispatcher, ledger, tables, tasks, builds, images, log } = world;
	const ending = new AbortController();
	const over = AbortSignal.any([signal, ending.signal]);
	let end: End = "stopped";

	const tablesBell = bell(world.after);
	const reportBell = bell(world.after);
	const firstNews = bell(world.after);
	/** Rung by the control plane, where it offers that. */
	const newsBell = bell(world.after);
	const offerBell = bell(world.after);
	let offer: AssignmentReply["bell"];
	let isBellOpen = false;
	let silent: ReadonlySet<NodeId> = new Set();
	let engineAway: AbortController | undefined;
	const complaints = new Map<
		string,
		{ readonly found: readonly string[]; readonly grave: boolean }
	>();
	// Nobody is known to be silent yet: whatever an agent before us said of its peers is over.
	const news: { -readonly [Field in keyof Report]?: Report[Field] } = {
		unreachable: [],
		...(images && { images: images.whole() }),
	};
	let reports = 0;
	let tellAll = true;
	let applied = { revision: 0, hash: "" };
	let attached: readonly AttachedContainer[] | undefined;
	const answering = new Set<string>();

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
		let said = "";
		for (let failures = 1; !over.aborted; failures++) {
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
				await world.sleep(retryInMs(failures, world.random()), over);
			}
		}
		return undefined;
	}

	async function poll() {
		while (!over.aborted) {
			const held = ledger.accepted;
			const atOnce = isBellOpen;
			if (atOnce) newsBell.hush();
			const asked = { revision: held?.revision ?? 0, hash: held?.hash ?? "", atOnce };
			const reply = await persist("asking for news", () => dispatcher.poll(asked, over));
			if (!reply) return;
			for (const request of reply.requests ?? []) void answer(request);
			const fresh = await take(reply.revision, reply.hash, reply.assignment);
			firstNews.ring();
			offer = reply.bell;
			if (offer) offerBell.ring();
			if (offer && atOnce && fresh !== "refused") {
				await newsBell.wait(offer.pollMs * (0.75 + world.random() / 2), over);
				continue;
			}
			// A control plane that cannot hold the line answers at once and says how long to wait.
			const restMs = fresh === "refused" ? refusedMs : reply.pollMs;
			if (fresh !== "news") await world.sleep(restMs * (0.75 + world.random() / 2), over);
		}
	}

	/** While it is open nobody polls without reason; where it cannot be opened, polls are held. */
	async function keepBell() {
		let retryMs = firstBellMs;
		while (!over.aborted) {
			// With every answer: where nobody answers there is no bell to open either.
			await offerBell.wait(Number.POSITIVE_INFINITY, over);
			if (!offer || over.aborted) continue;
			const callOff = world.after(firstBellMs, newsBell.ring);
			const rung = () => {
				callOff();
				isBellOpen = true;
				retryMs = firstBellMs;
				newsBell.ring();
			};
			await dispatcher.bell(offer.pingMs, rung, over).catch(() => undefined);
			callOff();
			if (isBellOpen) {
				// One of many that were lost together, and the first thing to do is to open another.
				isBellOpen = false;
				await world.sleep(spreadMs * world.random(), over);
				offerBell.ring();
				continue;
			}
			offerBell.hush();
			newsBell.ring();
			await world.sleep(retryMs * (0.5 + world.random()), over);
			retryMs = Math.min(retryMs * 2, longestBellMs);
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
			sayUnwritten();
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
		sayUnwritten();
		if (acceptance.kind === "known" && applied.hash === hash) {
			acknowledge({ revision, hash, assignment });
		} else tablesBell.ring();
		return "news";
	}

	function sayUnwritten() {
		const { unwritten } = ledger;
		const found = unwritten && [
			`${unwritten}: what this node is told is in force, and would be forgotten when the agent starts again; make room on its disk`,
		];
		complain("ledger", found || []);
	}

	async function apply() {
		if (world.freshBoot || !ledger.accepted) {
			await firstNews.wait(ledger.accepted ? firstNewsMs : Number.POSITIVE_INFINITY, over);
		}
		for (; !over.aborted; await tablesBell.wait(repairMs, over)) {
			const accepted = ledger.accepted;
			if (!accepted) continue;
			tablesBell.hush();
			if (ledger.unwritten) {
				await ledger.flush();
				sayUnwritten();
			}
			const result = await tables.apply(accepted.assignment, silent);
			if (over.aborted) return;
			complain("tables", result.problems, !result.kernel);
			setAttached(result.attached);
			if (result.kernel) acknowledge(accepted);
			await tasks
				.assign(accepted.assignment, result.networks)
				.catch((error) => log(`tasks: ${messageOf(error)}`));
			images?.assign(accepted.assignment);
			builds?.assign(accepted.assignment);
			world.become?.(accepted.assignment.agent);
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
		const built = builds?.take(tellAll ? "all" : "new") ?? [];
		const report: Report = {
			...news,
			...(statuses.length > 0 && { tasks: statuses }),
			...(built.length > 0 && { builds: built }),
		};
		const sent = { ...news };
		for (const field of Object.keys(news)) delete news[field as keyof Report];
		if (Object.keys(report).length === 0) return;
		try {
			await dispatcher.report({ said: { start: ledger.start, count: ++reports }, ...report });
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
			builds?.putBack(built);
			throw error;
		}
	}

	async function describeNowAndThen() {
		for (; !over.aborted; await world.sleep(describeMs, over)) await describeNow();
	}

	async function answer(request: NodeRequest) {
		if (answering.has(request.id)) return;
		answering.add(request.id);
		const ended = new AbortController();
		const until = AbortSignal.any([over, ended.signal]);
		try {
			const input = () => dispatcher.input(request.id, until);
			await dispatcher.stream(request.id, world.answer(request, input, until), until);
		} catch (error) {
			// Who asked has gone before we came.
			const gone = error instanceof DispatcherError && error.status === 404;
			if (!over.aborted && !gone)
				log(
					`${request.asked.kind} of ${request.task ?? request.build ?? "this node"}: ${messageOf(error)}`,
				);
		} finally {
			// What still goes on for it in the engine ends here.
			ended.abort();
			answering.delete(request.id);
		}
	}

	/** Several events, one look; a look that is going on is followed by another. */
	const containersBell = bell(world.after);
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
	builds?.onChange(reportBell.ring);
	images?.onChange(() => tell({ images: images.whole() }));
	world.goingDown?.addEventListener("abort", () => void describeNow());
	const watched = (fresh: ReadonlySet<NodeId>) => {
		if (fresh.symmetricDifference(silent).size > 0) tell({ unreachable: [...fresh].sort() });
		silent = fresh;
		tablesBell.ring();
	};

	await Promise.all([
		poll(),
		keepBell(),
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
