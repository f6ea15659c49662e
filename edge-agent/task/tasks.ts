// All tasks of this node: finds their containers, steps each at its own pace, and says what became of them.
//
// One task's pull or slow stop never holds up another. Containers that bear our label and that nobody asked for are
// stopped and removed; all others are not ours and never touched. Networks must be there before (loop.ts sees to it).

import type { Assignment, TaskAssignment } from "../../model/assignment.ts";
import { messageOf } from "../../model/errors.ts";
import type { TaskId } from "../../model/id.ts";
import type { TaskReport } from "../../model/report.ts";
import type { TaskStatus } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { Docker, DockerEvent } from "../host/docker.ts";
import { label, type Site, slotOf } from "./container.ts";
import {
	look,
	type Outcome,
	prepare,
	Registries,
	remove,
	type Stock,
	start,
	stop,
} from "./controller.ts";
import { type DrainWorld, drainLookMs, isDraining } from "./drain.ts";
import { gather } from "./evidence.ts";
import type { TaskFiles } from "./files.ts";
import { type Memory, type Said, type Seen, step, unseen } from "./step.ts";

const keptPerService = 5;

/** More than any engine says; a report holds no longer texts. */
const longestError = 4_000;

export interface TasksWorld extends DrainWorld {
	/** Undefined while the engine does not answer. */
	docker(): Docker | undefined;
	/**
	 * Changes when the machine was restarted, or the engine where that ends its containers: what has ended since,
	 * ended with it.
	 */
	era(): string;
	/** Keeps what is remembered of the tasks for the next start of the agent. */
	save(remembered: Remembered): void;
	readonly images: Stock;
	/** Secrets and configs. */
	readonly files: TaskFiles;
	/** What the registry of the task's image wants to see, from the control plane. */
	registryAuth(task: TaskId): Promise<string | null>;
	/** And what this node's own registry wants to see. */
	readonly ownRegistryAuth: string;
}

export type Remembered = Readonly<
	Record<string, { readonly status: TaskStatus; readonly era: string }>
>;

interface Entry {
	task: TaskAssignment;
	containerId: string;
	status: TaskStatus;
	/** When it was last seen running. */
	era: string;
	trouble: Memory["trouble"];
	/** Since when it is to stop; null while it is not. */
	stopSinceMs: number | null;
	/** A look at its last connections is due. */
	draining: boolean;
	/** A turn is being taken. */
	busy: boolean;
	/** Something happened since the turn looked. */
	again: boolean;
	/** Ends a pull that nobody waits for any more. */
	readonly preparing: Set<AbortController>;
}

/** What a list of containers says of one of ours. */
interface Listed {
	readonly Id: string;
	readonly Created: number;
	readonly State: string;
	readonly Labels: Readonly<Record<string, string>>;
}

export class Tasks {
	readonly #world: TasksWorld;
	readonly #remembered: Remembered;
	readonly #entries = new Map<TaskId, Entry>();
	readonly #unreported = new Set<TaskId>();
	readonly #leaving = new Set<string>();
	#listed: readonly Listed[] = [];
	#assignment: Assignment | undefined;
	#site: Site | undefined;
	#observed = 0;
	readonly #turns = new Set<Promise<void>>();
	readonly #registries: Registries;
	#ring = () => {};

	constructor(world: TasksWorld, remembered: Remembered) {
		this.#world = world;
		this.#remembered = remembered;
		this.#registries = new Registries(world.nowMs);
		this.#observed = Math.max(0, ...Object.values(remembered).map(({ status }) => status.observed));
	}

	/** What this node must run from now on. Its networks are there. Returns at once; the work goes on by itself. */
	async assign(assignment: Assignment, site: Site): Promise<void> {
		this.#assignment = assignment;
		this.#site = site;
		const wanted = new Set(assignment.tasks.map(({ id }) => id));
		for (const id of this.#entries.keys()) if (!wanted.has(id)) this.#forget(id);
		for (const task of assignment.tasks) {
			const entry = this.#entries.get(task.id);
			if (!entry) this.#entries.set(task.id, this.#begin(task));
			else {
				if (task.desired === "shutdown") for (const each of entry.preparing) each.abort();
				if (task.desired === "shutdown") entry.stopSinceMs ??= this.#world.nowMs();
				entry.task = task;
			}
		}
		await this.sweep();
	}

	/** Looks at everything: what was missed, what is left over, what is worth another try. */
	async sweep(): Promise<void> {
		const docker = this.#world.docker();
		if (!docker || !this.#assignment) return;
		const filters = encodeURIComponent(JSON.stringify({ label: [label.task] }));
		this.#listed = await docker.request<Listed[]>(
			"GET",
			`/containers/json?all=1&filters=${filters}`,
		);
		for (const listed of this.#listed) {
			const entry = this.#entryOf(listed);
			if (entry) entry.containerId = listed.Id;
		}
		for (const entry of this.#entries.values()) this.#turn(entry);
		await this.#world.files.keepOnly(this.#alive());
		for (const listed of this.#surplus()) this.#dismiss(docker, listed);
	}

	/** Something happened to a container. */
	event(event: DockerEvent): void {
		const id = event.Actor.Attributes[label.task] as TaskId | undefined;
		if (id === undefined) return;
		const entry = this.#entries.get(id);
		if (entry) this.#turn(entry);
		if (event.Action !== "die" && event.Action !== "destroy") return;
		// Somebody may have waited for just this address, or this name.
		for (const other of this.#entries.values()) if (other.trouble) this.#turn(other);
	}

	/** Statuses not yet taken, or all of them. */
	take(which: "new" | "all"): TaskReport[] {
		const ids = which === "all" ? [...this.#entries.keys()] : [...this.#unreported];
		this.#unreported.clear();
		return ids.flatMap((id) => {
			const entry = this.#entries.get(id);
			return entry ? [{ id, status: entry.status }] : [];
		});
	}

	/** Rung whenever there is something new to take. */
	onChange(ring: () => void): void {
		this.#ring = ring;
	}

	/** Puts back what could not be delivered. */
	putBack(reports: readonly TaskReport[]): void {
		for (const { id } of reports) this.#unreported.add(id);
	}

	/** Begins nothing any more, and gives up what waits for a registry: the node leaves. */
	stop(): void {
		this.#assignment = undefined;
		for (const id of [...this.#entries.keys()]) this.#forget(id);
	}

	/** Until every turn that was begun has ended: for an orderly end, and for tests. */
	async settled(): Promise<void> {
		while (this.#turns.size > 0) await Promise.all(this.#turns);
	}

	#begin(task: TaskAssignment): Entry {
		const known = this.#remembered[task.id];
		const status = known?.status ?? { ...unseen.status, ...this.#tick() };
		this.#unreported.add(task.id);
		this.#ring();
		return {
			task,
			containerId: status.containerId,
			status,
			era: known?.era ?? this.#world.era(),
			trouble: null,
			stopSinceMs: task.desired === "shutdown" ? this.#world.nowMs() : null,
			draining: false,
			busy: false,
			again: false,
			preparing: new Set(),
		};
	}

	/** Tasks that may need their files yet. */
	#alive(): Set<string> {
		const alive = [...this.#entries].filter(([, { status }]) => !isTerminal(status.state));
		return new Set(alive.map(([id]) => id));
	}

	#forget(id: TaskId): void {
		for (const each of this.#entries.get(id)?.preparing ?? []) each.abort();
		this.#entries.delete(id);
		this.#unreported.delete(id);
		this.#save();
	}

	#turn(entry: Entry): void {
		entry.again = true;
		if (entry.busy) return;
		entry.busy = true;
		const turn = this.#takeTurns(entry).finally(() => {
			entry.busy = false;
			this.#turns.delete(turn);
		});
		this.#turns.add(turn);
	}

	async #takeTurns(entry: Entry): Promise<void> {
		while (entry.again && this.#entries.get(entry.task.id) === entry) {
			entry.again = false;
			const docker = this.#world.docker();
			if (!docker) return;
			try {
				await this.#takeTurn(docker, entry);
			} catch (error) {
				// The engine went away in the middle of it: the next sweep finds out how far it got.
				entry.trouble = { kind: "waiting", error: `Docker: ${messageOf(error)}` };
			}
		}
	}

	async #takeTurn(docker: Docker, entry: Entry): Promise<void> {
		const seen = await this.#look(docker, entry);
		const era = this.#world.era();
		const interrupted =
			seen.kind === "ended" && entry.era !== era && !isTerminal(entry.status.state);
		const { sinceMs: _since, observed: _observed, ...said } = entry.status;
		const { status, action } = step(entry.task, seen, {
			status: said,
			trouble: entry.trouble,
			interrupted,
		});
		if (seen.kind === "running") this.#ranIn(entry, era);
		const fails = status.state === "failed" && entry.status.state !== "failed";
		if (fails && seen.kind !== "none") {
			const { tty } = entry.task.template.container;
			this.#say(entry, { ...status, evidence: await gather(docker, seen, tty) });
		} else this.#say(entry, status);
		if (action === "none") {
			entry.trouble = null;
			return;
		}
		const outcome = await this.#act(docker, entry, action);
		if (outcome.kind === "created") entry.containerId = outcome.containerId;
		const well = outcome.kind === "done" || outcome.kind === "created";
		entry.trouble = well ? null : outcome;
		if (well && action === "start") this.#ranIn(entry, era);
		if (outcome.kind !== "waiting") entry.again = true;
	}

	async #look(docker: Docker, entry: Entry): Promise<Seen> {
		if (entry.containerId === "") return { kind: "none" };
		const seen = await look(docker, entry.containerId);
		if (seen.kind === "none") entry.containerId = "";
		return seen;
	}

	async #act(docker: Docker, entry: Entry, action: "prepare" | "start" | "stop"): Promise<Outcome> {
		const { task, containerId } = entry;
		switch (action) {
			case "prepare": {
				if (!this.#site) return { kind: "waiting", error: "no assignment yet" };
				const problem = await this.#world.files.write(task, this.#site);
				if (problem) return problem;
				const abort = new AbortController();
				entry.preparing.add(abort);
				try {
					const { images, registryAuth, ownRegistryAuth } = this.#world;
					const sources = { registries: this.#registries, images, registryAuth, ownRegistryAuth };
					return await prepare(docker, task, this.#site, sources, abort.signal);
				} finally {
					entry.preparing.delete(abort);
				}
			}
			case "start": {
				const before = await this.#predecessor(docker, task);
				if (before) return { kind: "waiting", error: `waiting for ${before} to stop` };
				if (!this.#site) return { kind: "waiting", error: "no assignment yet" };
				// Memory is empty after a start of the machine; the container still looks there.
				const problem = await this.#world.files.write(task, this.#site);
				if (problem) return problem;
				return start(docker, containerId);
			}
			case "stop": {
				const { stopSinceMs } = entry;
				if (stopSinceMs !== null && (await isDraining(this.#world, task, stopSinceMs))) {
					this.#lookAgain(entry);
					return { kind: "waiting", error: "" };
				}
				return stop(docker, containerId, task);
			}
		}
	}

	#lookAgain(entry: Entry): void {
		if (entry.draining) return;
		entry.draining = true;
		void this.#world.sleep(drainLookMs).then(() => {
			entry.draining = false;
			this.#turn(entry);
		});
	}

	/**
	 * The slot's address is held by another task's container as long as that runs. In an update that starts first, the
	 * two have an address each, and the older one waits for this one.
	 */
	async #predecessor(docker: Docker, task: TaskAssignment): Promise<string | undefined> {
		if (task.attachments.length === 0) return undefined;
		const filters = encodeURIComponent(
			JSON.stringify({ label: [`${label.slot}=${slotOf(task)}`], status: ["running", "paused"] }),
		);
		const running = await docker.request<(Listed & { Names: string[] })[]>(
			"GET",
			`/containers/json?filters=${filters}`,
		);
		const mine = new Set(task.attachments.map(({ address }) => address));
		const other = running.find((each) => {
			const id = each.Labels[label.task];
			if (id === task.id) return false;
			const known = this.#entries.get(id as TaskId);
			return !known || known.task.attachments.some(({ address }) => mine.has(address));
		});
		return other?.Names[0]?.slice(1);
	}

	#ranIn(entry: Entry, era: string): void {
		if (entry.era === era) return;
		entry.era = era;
		this.#save();
	}

	#say(entry: Entry, words: Said): void {
		const said = { ...words, error: words.error.slice(0, longestError) };
		const { sinceMs, observed, ...known } = entry.status;
		if (Bun.deepEquals(known, said)) return;
		const tick = this.#tick();
		entry.status = {
			...said,
			sinceMs: known.state === said.state ? sinceMs : tick.sinceMs,
			observed: tick.observed,
		};
		this.#unreported.add(entry.task.id);
		this.#save();
		this.#ring();
	}

	/** Ever rising, also past a restart of the agent whose memory was lost. */
	#tick() {
		const nowMs = this.#world.nowMs();
		this.#observed = Math.max(this.#observed + 1, nowMs);
		return { sinceMs: nowMs, observed: this.#observed };
	}

	#save(): void {
		const remembered = [...this.#entries].map(
			([id, { status, era }]) => [id, { status, era }] as const,
		);
		this.#world.save(Object.fromEntries(remembered));
	}

	#entryOf(listed: Listed): Entry | undefined {
		const entry = this.#entries.get(listed.Labels[label.task] as TaskId);
		return listed.Labels[label.cluster] === this.#assignment?.cluster ? entry : undefined;
	}

	/**
	 * Containers of ours that nobody needs: of tasks that are not assigned, and ended ones but for the last of each
	 * slot, which is kept for its log while we hear of its service; slots that were scaled away are such, too, so
	 * there is a bound. Those that the assignment tells us to keep are kept besides.
	 */
	#surplus(): Listed[] {
		const services = servicesOf(this.#assignment);
		const ended = this.#listed.filter((listed) => {
			const entry = this.#entryOf(listed);
			return entry ? isTerminal(entry.status.state) : isEnded(listed);
		});
		const history: ReadonlySet<unknown> = new Set(this.#assignment?.ended);
		const kept = new Set<string>();
		const seats = new Set<string>();
		const counts = new Map<string, number>();
		for (const listed of ended.toSorted((a, b) => b.Created - a.Created)) {
			const seat = listed.Labels[label.slot] ?? "";
			const service = seat.split(":")[0] ?? "";
			const ours = listed.Labels[label.cluster] === this.#assignment?.cluster;
			if (ours && history.has(listed.Labels[label.task])) {
				kept.add(listed.Id);
				continue;
			}
			const count = counts.get(service) ?? 0;
			if (!ours || seats.has(seat) || !services.has(service) || count >= keptPerService) continue;
			seats.add(seat);
			counts.set(service, count + 1);
			kept.add(listed.Id);
		}
		return this.#listed.filter((listed) => {
			if (kept.has(listed.Id)) return false;
			const entry = this.#entryOf(listed);
			return !entry || isTerminal(entry.status.state);
		});
	}

	async #stopAndRemove(docker: Docker, listed: Listed): Promise<void> {
		if (!isEnded(listed)) await stop(docker, listed.Id);
		const ended = listed.State === "created" ? listed : { ...listed, State: "exited" };
		this.#listed = this.#listed.map((each) => (each.Id === listed.Id ? ended : each));
		// Now it may be the last of its slot.
		if (!this.#surplus().includes(ended)) return;
		await remove(docker, listed.Id);
		this.#listed = this.#listed.filter((each) => each.Id !== listed.Id);
	}

	/** Stopped with its own grace, then removed; a failure is found again by the next sweep. */
	#dismiss(docker: Docker, listed: Listed): void {
		if (this.#leaving.has(listed.Id)) return;
		this.#leaving.add(listed.Id);
		const gone = this.#stopAndRemove(docker, listed)
			.catch(() => undefined)
			.finally(() => {
				this.#leaving.delete(listed.Id);
				this.#turns.delete(gone);
			});
		this.#turns.add(gone);
	}
}

/** Stops and removes every container that bears our label. */
export async function removeOurs(docker: Docker): Promise<void> {
	const filters = encodeURIComponent(JSON.stringify({ label: [label.task] }));
	const path = `/containers/json?all=1&filters=${filters}`;
	const listed = await docker.request<Listed[]>("GET", path);
	await Promise.all(
		listed.map(async (each) => {
			if (!isEnded(each)) await stop(docker, each.Id);
			await remove(docker, each.Id);
		}),
	);
}

/** Services with a task here, or of which a network of this node tells. */
function servicesOf(assignment: Assignment | undefined): Set<string> {
	return new Set([
		...(assignment?.tasks ?? []).map((task) => task.service.id),
		...(assignment?.networks ?? []).flatMap(({ endpoints }) =>
			endpoints.map((endpoint) => endpoint.service),
		),
	]);
}

const isEnded = (listed: Listed) => listed.State === "exited" || listed.State === "dead";
