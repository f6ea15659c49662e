// All builds of this node: one at a time, each from a commit to an image that nodes can get, and what became of it.
//
// A build whose agent was started again begins anew; whose agent was so twice has failed, since it may be the build that
// ends the machine. What it made on the way is gone when it has ended: its checkout, its secrets, its programs.

import { mkdir, readdir, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import {
	type BuildAssignment,
	type BuildSecrets,
	type BuildState,
	type BuildStatus,
	buildRankOf,
	hasEnded,
} from "../../model/build.ts";
import { messageOf } from "../../model/errors.ts";
import type { BuildId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import type { Builder } from "../../model/node.ts";
import type { BuildReport } from "../../model/report.ts";
import type { ReportedStack, StackOrder, StackReply } from "../../model/stack.ts";
import type { Docker } from "../host/docker.ts";
import type { Exec } from "../host/exec.ts";
import { ensureMemory } from "../host/memory.ts";
import { endMarked, runProgram } from "../host/program.ts";
import { gatherSteps, limitBuilds } from "./cgroup.ts";
import { placeholder } from "./compose.ts";
import { BuildFailure } from "./failure.ts";
import { fetchCommit } from "./fetch.ts";
import { buildImage } from "./image.ts";
import { type BuildLog, openBuildLog } from "./log.ts";
import { imageNameOf, readStack, reportOf, type StackWorld } from "./stack.ts";
import { manifestOf, type OwnRegistry, storeImage } from "./store.ts";

export interface BuildsWorld {
	readonly exec: Exec;
	/** For checkouts and logs. */
	readonly dir: string;
	/** The engine's, for the docker CLI. */
	readonly socket: string;
	/** Undefined while the engine does not answer. */
	docker(): Docker | undefined;
	/** Undefined where this machine cannot build. */
	builder(): Promise<Builder | undefined>;
	readonly registry: OwnRegistry;
	/** This node's engine has it from now on, under the name in full. */
	made(image: string): void;
	secrets(build: BuildId): Promise<BuildSecrets>;
	sendLog(build: BuildId, text: string): Promise<void>;
	/** What a compose file came to. */
	sendStack(build: BuildId, stack: ReportedStack): Promise<StackReply>;
	/** Keeps what is remembered for the next start of the agent. */
	save(remembered: RememberedBuilds): void;
	nowMs(): number;
	sleep(ms: number): Promise<void>;
	/** Of memory, for what is secret; another in tests. */
	readonly memory?: string;
}

export type RememberedBuilds = Readonly<
	Record<
		string,
		{ readonly status: BuildStatus; readonly begun: number; readonly isLogSent: boolean }
	>
>;

interface Entry {
	assignment: BuildAssignment;
	status: BuildStatus;
	/** How often it was begun. */
	begun: number;
	isLogSent: boolean;
	log: BuildLog | undefined;
	readonly ending: AbortController;
}

/** What the programs of builds bear, so that those of an agent that was killed are found. */
const mark = "SKEIN_BUILD";
const mostBegun = 2;
/** With less room on its disk a checkout is given up: others live there, too. */
const reserveBytes = 128 * 1024 * 1024;
/** The API of the engines whose BuildKit makes its groups where it likes. */
const ignoresGroups = "1.41";
const lookMs = 1_000;
const retryMs = 5_000;
/** Each image of a compose file that a registry outside has: so long for its digest. */
const registryMs = 20_000;
export const buildMemory = "/run/skein-agent/build";

/** Not a failure of the build's: somebody's wish. */
class Cancelled extends Error {}

export class Builds {
	readonly #world: BuildsWorld;
	readonly #memory: string;
	readonly #remembered: RememberedBuilds;
	readonly #entries = new Map<BuildId, Entry>();
	readonly #unreported = new Set<BuildId>();
	readonly #ready: Promise<void>;
	#observed: number;
	#running: Promise<void> | undefined;
	#isStopped = false;
	#ring = () => {};

	constructor(world: BuildsWorld, remembered: RememberedBuilds) {
		this.#world = world;
		this.#memory = world.memory ?? buildMemory;
		this.#remembered = remembered;
		this.#observed = Math.max(0, ...Object.values(remembered).map(({ status }) => status.observed));
		this.#ready = this.#cleanUp();
	}

	/** What this node must build from now on. Returns at once; the work goes on by itself. */
	assign(builds: readonly BuildAssignment[]): void {
		const wanted = new Set(builds.map(({ id }) => id));
		for (const id of this.#entries.keys()) if (!wanted.has(id)) this.#forget(id);
		for (const assignment of builds) {
			const entry = this.#entries.get(assignment.id) ?? this.#begin(assignment);
			entry.assignment = assignment;
			if (assignment.desired === "cancelled" && !hasEnded(entry.status.state)) {
				entry.ending.abort(new Cancelled("cancelled"));
				if (entry.log === undefined) this.#say(entry, { state: "cancelled" });
			}
			if (hasEnded(entry.status.state) && !entry.isLogSent) void this.#sendLog(entry);
		}
		this.#next();
	}

	take(which: "new" | "all"): BuildReport[] {
		const ids = which === "all" ? [...this.#entries.keys()] : [...this.#unreported];
		this.#unreported.clear();
		return ids.flatMap((id) => {
			const entry = this.#entries.get(id);
			return entry ? [{ id, status: entry.status }] : [];
		});
	}

	putBack(reports: readonly BuildReport[]): void {
		for (const { id } of reports) this.#unreported.add(id);
	}

	onChange(ring: () => void): void {
		this.#ring = ring;
	}

	/** What a build said, and with `follow` what it says; undefined for one that is not here, or has not begun. */
	log(id: BuildId, follow: boolean, signal: AbortSignal): ReadableStream<Uint8Array> | undefined {
		return this.#entries.get(id)?.log?.read(follow, signal);
	}

	/** Ends what is going on, and begins nothing any more; it is begun anew with the agent's next start. */
	async stop(): Promise<void> {
		this.#isStopped = true;
		for (const { ending } of this.#entries.values()) ending.abort(new Error("the agent ends"));
		await this.#running;
	}

	#begin(assignment: BuildAssignment): Entry {
		const { id } = assignment;
		const known = this.#remembered[id];
		const entry: Entry = {
			assignment,
			status: known?.status ?? { ...unseen, ...this.#tick() },
			begun: known?.begun ?? 0,
			isLogSent: known?.isLogSent ?? false,
			log: undefined,
			ending: new AbortController(),
		};
		this.#entries.set(id, entry);
		this.#unreported.add(id);
		this.#ring();
		return entry;
	}

	#forget(id: BuildId): void {
		const entry = this.#entries.get(id);
		this.#entries.delete(id);
		this.#unreported.delete(id);
		entry?.ending.abort(new Cancelled("no longer assigned"));
		this.#save();
		void this.#running?.then(() => this.#removeFolder(id));
		if (!this.#running) void this.#removeFolder(id);
	}

	#next(): void {
		if (this.#running || this.#isStopped) return;
		const entry = [...this.#entries.values()].find(
			({ status, ending }) => !hasEnded(status.state) && !ending.signal.aborted,
		);
		if (!entry) return;
		this.#running = this.#run(entry).finally(() => {
			this.#running = undefined;
			this.#next();
		});
	}

	async #run(entry: Entry): Promise<void> {
		await this.#ready;
		const { id, timeoutMs } = entry.assignment;
		const late = AbortSignal.timeout(timeoutMs);
		const signal = AbortSignal.any([entry.ending.signal, late]);
		entry.begun++;
		this.#save();
		try {
			const log = await openBuildLog(this.#folder(id));
			entry.log = log;
			if (entry.begun > mostBegun) {
				throw new BuildFailure(`the agent was started anew ${mostBegun} times while it was built`);
			}
			if (entry.begun > 1) log.add("the agent was started anew: from the beginning");
			const made = await this.#make(entry, log, signal);
			this.#say(entry, { state: "complete", ...made });
		} catch (error) {
			if (this.#isStopped) return;
			this.#say(entry, this.#endOf(entry, signal.aborted ? signal.reason : error, late.aborted));
		} finally {
			await rm(this.#checkout(id), { recursive: true, force: true });
			await rm(this.#secretDir(id), { recursive: true, force: true });
			await entry.log?.close();
		}
		void this.#sendLog(entry);
	}

	#endOf(entry: Entry, reason: unknown, isLate: boolean): Partial<BuildStatus> {
		if (reason instanceof Cancelled) {
			entry.log?.add(reason.message);
			return { state: "cancelled" };
		}
		const { state } = entry.status;
		const minutes = Math.round(entry.assignment.timeoutMs / 6_000) / 10;
		const error = isLate ? `not done within ${minutes} minutes, while ${state}` : messageOf(reason);
		const lines = entry.log?.last() ?? [];
		entry.log?.add(`failed: ${error}`);
		return { state: "failed", error: error.slice(0, 4000), lines };
	}

	async #make(entry: Entry, log: BuildLog, signal: AbortSignal) {
		const { assignment } = entry;
		const { id } = assignment;
		this.#say(entry, { state: "fetching" });
		const builder = await this.#world.builder();
		if (!builder)
			throw new BuildFailure("this node has no git, or no docker command line: install them");
		const secrets = await this.#persist(signal, () => this.#world.secrets(id));
		log.hide(wordsOf(secrets));
		await ensureMemory(this.#world.exec, this.#memory);
		await mkdir(this.#secretDir(id), { recursive: true, mode: 0o700 });
		const checkout = this.#checkout(id);
		await rm(checkout, { recursive: true, force: true });
		const cgroup = await limitBuilds(assignment.limits);
		if (cgroup === undefined) log.add("no control group to be had: this build has no limits");
		const guard = guardDisk(this.#folder(id), signal);
		const isDeaf = this.#world.docker()?.apiVersion === ignoresGroups;
		const steps = cgroup !== undefined && isDeaf ? gatherSteps() : undefined;
		const world: StackWorld = {
			secretDir: this.#secretDir(id),
			signal: guard.signal,
			socket: this.#world.socket,
			builder: builder.builder,
			cgroup,
			line: (text: string) => log.add(text),
			run: (command: string, args: readonly string[], { env, ...place }: Place) =>
				runProgram(command, args, {
					...place,
					env: { ...inherited(), ...env, [mark]: id },
					signal: guard.signal,
				}),
			askRegistry: (path, auth) => this.#askRegistry(path, auth, log),
		};
		const store = async (image: string) => {
			const docker = await this.#persist(signal, async () =>
				must(this.#world.docker(), "a build is stored while Docker answers"),
			);
			const stored = await storeImage(docker, image, {
				own: this.#world.registry,
				registries: secrets.registries,
				signal,
				line: (text) => log.add(text),
			});
			this.#world.made(`${image}@${stored.digest}`);
			return stored;
		};
		try {
			await fetchCommit(world, assignment, secrets, checkout);
			this.#say(entry, { state: "building" });
			const { stack } = assignment;
			if (stack) return await this.#makeStack(entry, { world, secrets, checkout, store, stack });
			await buildImage(world, assignment, secrets, checkout);
		} finally {
			guard.end();
			steps?.end();
		}
		this.#say(entry, { state: "storing" });
		const stored = await store(assignment.image);
		if (!assignment.isPart) return stored;
		return { ...stored, manifest: await manifestOf(this.#world.registry, stored.digest) };
	}

	/** Each image once, however many services it is for. */
	async #makeStack(entry: Entry, { world, secrets, checkout, store, stack }: StackParts) {
		const { assignment } = entry;
		const { builds, recorded } = await readStack(
			world,
			{ recipe: assignment.recipe, stack },
			secrets,
			checkout,
		);
		const byRecipe = new Map<string, string>();
		const images: Record<string, string> = {};
		for (const [service, recipe] of builds) {
			const key = JSON.stringify(recipe);
			const known = stack.images ? promoted(stack.images, service) : byRecipe.get(key);
			const image = known ?? imageNameOf(assignment.image, service, new Set(byRecipe.values()));
			images[service] = image;
			if (known !== undefined) continue;
			byRecipe.set(key, image);
			world.line(`services.${service}: ${image}`);
			await buildImage(world, { ...assignment, recipe, image }, secrets, checkout).catch(
				(error: unknown) => {
					if (!(error instanceof BuildFailure)) throw error;
					throw new BuildFailure(`${service}: ${error.message}`, { cause: error });
				},
			);
		}
		this.#say(entry, { state: "storing" });
		let bytes = 0;
		for (const image of byRecipe.values()) {
			const stored = await store(image);
			bytes += stored.bytes;
			for (const [service, of] of Object.entries(images)) {
				if (of === image) images[service] = `${image}@${stored.digest}`;
			}
		}
		const { warnings } = await this.#persist(world.signal, () =>
			this.#world.sendStack(assignment.id, reportOf(stack.name, recorded, images)),
		);
		for (const warning of warnings) world.line(warning);
		return { bytes };
	}

	/** By the engine, which has the ways and the certificates. What it cannot say in time goes by its tag. */
	async #askRegistry(path: string, auth: string | null, log: BuildLog): Promise<Response> {
		const docker = path.includes(placeholder) ? undefined : this.#world.docker();
		if (!docker) return Response.json({ message: "no registry has it" }, { status: 404 });
		const headers = auth ? { "X-Registry-Auth": auth } : undefined;
		const asked = docker.request<unknown>("GET", path, undefined, headers);
		const late = this.#world.sleep(registryMs).then(() => {
			throw new Error("the registry does not answer");
		});
		return Promise.race([asked, late]).then(
			(answer) => Response.json(answer),
			(error: unknown) => {
				const image = decodeURIComponent(path).replace(/^\/distribution\/(.*)\/json$/, "$1");
				log.add(`${image} goes by its tag, its digest is not known: ${messageOf(error)}`);
				return Response.json({ message: messageOf(error) }, { status: 404 });
			},
		);
	}

	/** Until it works: a control plane, or an engine, that is away for a moment is no fault of the build's. */
	async #persist<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
		for (;;) {
			signal.throwIfAborted();
			try {
				return await work();
			} catch (error) {
				if (isRefusal(error)) throw error;
				await this.#world.sleep(retryMs);
			}
		}
	}

	async #sendLog(entry: Entry): Promise<void> {
		const { id } = entry.assignment;
		entry.log ??= await openBuildLog(this.#folder(id));
		await entry.log.close();
		try {
			await this.#world.sendLog(id, entry.log.text());
		} catch (error) {
			// With the next assignment again; one that the control plane refuses is of no use to it.
			if (!isRefusal(error)) return;
		}
		entry.isLogSent = true;
		this.#save();
	}

	#say(entry: Entry, said: Partial<BuildStatus>): void {
		const known = entry.status;
		const rank = (state: BuildState) => buildRankOf[state];
		// One that was begun anew is as far as it was.
		const state = said.state && rank(said.state) > rank(known.state) ? said.state : known.state;
		const tick = this.#tick();
		entry.status = {
			...known,
			...said,
			state,
			observed: tick.observed,
			...(state !== known.state && {
				sinceMs: tick.sinceMs,
				times: [...known.times, [known.state, known.sinceMs]],
			}),
		};
		this.#unreported.add(entry.assignment.id);
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
			([id, { status, begun, isLogSent }]) => [id, { status, begun, isLogSent }] as const,
		);
		this.#world.save(Object.fromEntries(remembered));
	}

	/** What an agent before us left: its programs, its checkouts, the logs of builds that nobody asks about. */
	async #cleanUp(): Promise<void> {
		await endMarked(mark);
		for (const id of await readdir(this.#world.dir).catch(() => [])) {
			const known = id in this.#remembered;
			const path = known ? this.#checkout(id as BuildId) : this.#folder(id as BuildId);
			await rm(path, { recursive: true, force: true });
		}
		for (const id of await readdir(this.#memory).catch(() => [])) {
			await rm(join(this.#memory, id), { recursive: true, force: true });
		}
	}

	#folder = (id: BuildId) => join(this.#world.dir, id);
	#checkout = (id: BuildId) => join(this.#folder(id), "checkout");
	#secretDir = (id: BuildId) => join(this.#memory, id);
	#removeFolder = (id: BuildId) => rm(this.#folder(id), { recursive: true, force: true });
}

const unseen = {
	state: "assigned",
	error: "",
	lines: [],
	digest: "",
	bytes: 0,
	times: [],
} as const;

interface StackParts {
	readonly world: StackWorld;
	readonly secrets: BuildSecrets;
	readonly checkout: string;
	readonly stack: StackOrder;
	store(image: string): Promise<{ readonly digest: string; readonly bytes: number }>;
}

/** Of the deployment that is promoted: no other is built. */
function promoted(images: Readonly<Record<string, string>>, service: string): string {
	const image = Object.hasOwn(images, service) ? images[service] : undefined;
	if (image !== undefined) return image;
	throw new BuildFailure(`${service}: what is promoted has no image of it: deploy the commit`);
}

interface Place {
	readonly cwd: string;
	readonly env: Readonly<Record<string, string>>;
	line(text: string): void;
}

/** What programs need of ours: their path, and the way out. */
function inherited(): Record<string, string> {
	const names = [
		"PATH",
		"HTTP_PROXY",
		"HTTPS_PROXY",
		"NO_PROXY",
		"http_proxy",
		"https_proxy",
		"no_proxy",
	];
	return Object.fromEntries(
		names.flatMap((name) => {
			const value = process.env[name];
			return value === undefined ? [] : [[name, value]];
		}),
	);
}

function wordsOf({ login, ssh, secrets, registries }: BuildSecrets): string[] {
	return [
		...Object.values(secrets),
		...Object.values(registries).map(({ password }) => password),
		...(login ? [login.password] : []),
		...(ssh ? [ssh.key] : []),
	];
}

/** The control plane understood, and says no. */
const isRefusal = (error: unknown) =>
	error instanceof BuildFailure ||
	(error instanceof Error &&
		"status" in error &&
		Number(error.status) >= 400 &&
		Number(error.status) < 500);

/** The same signal, which also ends when the disk is nearly full. */
function guardDisk(dir: string, signal: AbortSignal) {
	const full = new AbortController();
	const look = () =>
		void statfs(dir)
			.then(({ bavail, bsize }) => {
				if (bavail * bsize >= reserveBytes) return;
				full.abort(
					new BuildFailure(`the disk of ${dir} is nearly full: docker system prune makes room`),
				);
			})
			.catch(() => undefined);
	look();
	const timer = setInterval(look, lookMs);
	return { signal: AbortSignal.any([signal, full.signal]), end: () => clearInterval(timer) };
}
