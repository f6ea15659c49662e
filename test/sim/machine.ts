// A machine: its disk, its kernel, its engine, and the agent that runs on it.
//
// The agent is the real one: its loop, its rules of the ledger, its keeper of tasks, its judgement of silent peers.
// What is played here is what it stands on: a disk that outlives the agent, a kernel that outlives neither power cut
// nor reboot, an engine (engine.ts), and a network that loses things (network.ts).

import { sleep as sleepOf } from "../../edge-agent/bell.ts";
import type { Dispatcher } from "../../edge-agent/dispatcher.ts";
import { keeperOf } from "../../edge-agent/keeper.ts";
import { type Acceptance, type Accepted, judge, type Ledger } from "../../edge-agent/ledger.ts";
import { type Applied, runLoop, type Tables, type World } from "../../edge-agent/loop.ts";
import { intervalFor, nobody, observe, silentOf } from "../../edge-agent/mesh/watch.ts";
import { type Remembered, Tasks } from "../../edge-agent/task/tasks.ts";
import { reachable } from "../../edge-agent/vip/reachable.ts";
import type { Assignment } from "../../model/assignment.ts";
import type { NodeId, TaskId } from "../../model/id.ts";
import type { NodeDescription } from "../../model/node.ts";
import type { JoinReply } from "../../model/report.ts";
import type { Clock } from "./clock.ts";
import { type Container, simulatedEngine } from "./engine.ts";
import { type Process, startProcess } from "./process.ts";
import type { Dice } from "./random.ts";

export interface Machine {
	readonly name: string;
	/** Undefined until it has joined. */
	node(): NodeId | undefined;
	/** What its agent last had to say of it. */
	described(): NodeDescription | undefined;
	/** What its kernel was brought to; none after a reboot, until the agent is back. */
	tables(): Assignment | undefined;
	/** Its agent answers its peers. */
	isAwake(): boolean;
	/** Tasks whose containers run, as the engine has it. */
	running(): ReadonlySet<TaskId>;
	/** Tasks whose containers ended by themselves, whether or not the agent knows. */
	broke(): ReadonlySet<TaskId>;
	/** Since when nothing was done to it; undefined while the agent does not run. */
	calmSinceMs(): number | undefined;
	/** Nothing is under way: no container being made or stopped. */
	isIdle(): boolean;
	/** The agent dies, whatever it was in the middle of, and starts again. */
	restartAgent(downMs: number): void;
	restartEngine(downMs: number): void;
	/** Power off and on: every container ends, the kernel forgets. */
	reboot(downMs: number): void;
	/** Power off, for good. */
	destroy(): void;
	/** A container dies by itself, or turns unhealthy. */
	breakContainer(how: "exit" | "unhealthy"): void;
	/** Somebody installs the agent. */
	install(): void;
}

export interface MachineWorld {
	readonly clock: Clock;
	readonly dice: Dice;
	readonly description: NodeDescription;
	/** Containers go on while their engine is away. */
	readonly liveRestore: boolean;
	/** False while the user's wish alone counts: nothing fails of itself any more. */
	faulty(): boolean;
	happened(what: string): void;
	tell(what: string): void;
	dispatcher(process: Process, node: NodeId): Dispatcher;
	join(process: Process): Promise<JoinReply>;
	/** The peer would answer a question now. */
	answers(peer: NodeId): boolean;
	joined(node: NodeId): void;
	applied(node: NodeId, tables: Assignment): void;
	/** A container runs from now on. */
	started(node: NodeId, task: TaskId, image: string): void;
	/** A container that runs is asked to stop; `keeps` when its agent was told to run it. */
	stopping(node: NodeId, task: TaskId, keeps: boolean): void;
	/** Bugs to be found: the agent begins without what it knew; takes whatever comes; says what is not so yet. */
	readonly forgetsLedger: boolean;
	readonly takesAnything: boolean;
	readonly acknowledgesEarly: boolean;
	/** A bug to be found: what was cut off starts again, jobs too. */
	readonly repeatsJobs: boolean;
}

const rejoinMs = 500;

export function machine(name: string, world: MachineWorld): Machine {
	const { clock, dice } = world;

	// The disk: outlives everything.
	const emptyDisk = () => ({
		node: undefined as NodeId | undefined,
		accepted: null as Accepted | null,
		remembered: {} as Remembered,
	});
	let disk = emptyDisk();
	let lastStart = 0;
	const broke = new Set<TaskId>();
	// The kernel's.
	let tables: Assignment | undefined;
	let boots = 1;
	let ranSinceBoot = false;
	let engineStarts = 1;
	// The agent's own, gone with it.
	let process: Process | undefined;
	let described: NodeDescription | undefined;
	let calmSinceMs = clock.nowMs();
	let isInstalled = false;
	let isDestroyed = false;

	const engine = simulatedEngine({
		clock,
		dice,
		faulty: world.faulty,
		happened: world.happened,
		started({ task, image }) {
			if (disk.node) world.started(disk.node, task, image);
		},
		failed: ({ task }) => broke.add(task),
		stopping({ task }) {
			if (!disk.node || broke.has(task)) return;
			const wanted = disk.accepted?.assignment.tasks.find(({ id }) => id === task);
			world.stopping(disk.node, task, wanted?.desired === "running");
		},
	});
	const running = () => engine.containers().filter(({ state }) => state === "running");

	function start(): void {
		const born = startProcess(clock);
		process = born;
		calmSinceMs = clock.nowMs();
		void (disk.node ? run(born, disk.node) : join(born));
	}

	async function join(born: Process): Promise<void> {
		try {
			const { node } = await world.join(born);
			disk = { ...emptyDisk(), node };
			world.joined(node);
			await run(born, node);
		} catch {
			born.after(rejoinMs + dice.between(0, 1000), () => void join(born));
		}
	}

	async function run(born: Process, node: NodeId): Promise<void> {
		const freshBoot = !ranSinceBoot;
		ranSinceBoot = true;
		const ledger = openLedger(born);
		const era = () => `boot ${boots}${world.liveRestore ? "" : ` engine ${engineStarts}`}`;
		const docker = () => engine.docker(born);
		// Somebody may be connected for a while to a task that is to stop.
		const connections = () => born.ask(1, () => (dice.chance(0.3) ? 1 : 0), dice.between(1, 5));
		const tasks = new Tasks(
			{
				docker,
				nowMs: clock.nowMs,
				era,
				save: ledger.remember,
				images,
				files: noFiles,
				registryAuth: async () => null,
				ownRegistryAuth: "",
				connections,
				sleep: (ms) => new Promise((resolve) => born.after(ms, resolve)),
			},
			ledger.remembered,
		);
		const keeper = keeperOf(tasks, images, { current: docker }, "/nowhere");
		const sleep: World["sleep"] = (ms, signal) => sleepOf(ms, signal, born.after);
		await runLoop(
			{
				dispatcher: world.dispatcher(born, node),
				ledger,
				tables: kernelOf(born, node),
				tasks: keeper,
				engine: {
					async listen(listener) {
						engine.listen(born, listener);
					},
				},
				watch: (changed, signal) => watch(born, ledger, changed, signal),
				describe: (complaints) =>
					born.ask(1, () => look({ ...world.description, ...complaints }), dice.between(1, 5)),
				answer: () => {
					throw new Error("nobody asks an engine here");
				},
				freshBoot,
				after: born.after,
				sleep,
				random: dice.next,
				log: (line) => world.tell(`${name}: ${line}`),
			},
			new AbortController().signal,
		);
		removed(born);
	}

	const look = (found: NodeDescription) => {
		described = found;
		return found;
	};

	/** The control plane knows the node no more: all of ours goes, and somebody installs the agent anew. */
	function removed(born: Process): void {
		world.tell(`${name} is a node no more`);
		born.kill();
		disk = emptyDisk();
		tables = undefined;
		for (const { Id } of engine.containers()) engine.remove(Id);
		clock.after(dice.between(500, 5000), () => {
			if (process === born && !isDestroyed) start();
		});
	}

	/** As `edge-agent/ledger.ts`, on this disk. */
	function openLedger(born: Process): Ledger {
		let accepted = world.forgetsLedger ? null : disk.accepted;
		let remembered = world.forgetsLedger ? {} : disk.remembered;
		let dirty = false;
		const start = Math.max(lastStart + 1, clock.nowMs());
		lastStart = start;
		return {
			get accepted() {
				return accepted;
			},
			get remembered() {
				return remembered;
			},
			unwritten: null,
			start,
			async accept(told) {
				const offered = world.repeatsJobs ? withoutJobs(told) : told;
				const acceptance: Acceptance = world.takesAnything
					? { kind: "accepted" }
					: judge(accepted, offered);
				if (acceptance.kind === "refused") world.happened("an assignment is refused as older");
				if (acceptance.kind === "refused") return acceptance;
				if (acceptance.kind === "accepted") {
					const write = () => {
						disk.accepted = offered;
					};
					await born.ask(dice.between(0, 4), write, 1);
				}
				accepted = offered;
				return acceptance;
			},
			remember(next) {
				remembered = next;
				if (dirty) return;
				dirty = true;
				born.after(dice.between(1, 10), () => {
					dirty = false;
					disk.remembered = remembered;
				});
			},
			flush: async () => {},
		};
	}

	function kernelOf(born: Process, node: NodeId): Tables {
		return {
			async apply(assignment, silent): Promise<Applied> {
				const fails = world.faulty() && dice.chance(0.003);
				if (fails) world.happened("a kernel refuses its tables");
				const write = () => {
					if (fails) return;
					const isNews = tables !== assignment;
					tables = assignment;
					if (isNews) world.tell(`${name} applied revision ${assignment.revision}`);
					world.applied(node, reachable(assignment, silent));
				};
				if (world.acknowledgesEarly) born.after(3000, write);
				else await born.ask(dice.between(1, 25), write, 1);
				return {
					kernel: !fails,
					networks: new Map(assignment.networks.map(({ id }) => [id, `engine-${id}`])),
					attached: [],
					problems: fails ? ["VIPs: nft: Device or resource busy"] : [],
				};
			},
			heed: async () => {},
			containersChanged: async () => [],
		};
	}

	/** As `watchPeers` does it: everybody is asked, and has answered by the next time or has not. */
	function watch(
		born: Process,
		ledger: Ledger,
		changed: (silent: ReadonlySet<NodeId>) => void,
		signal: AbortSignal,
	): Promise<void> {
		let state = nobody;
		const round = (asked: readonly NodeId[]) => {
			if (signal.aborted) return;
			const before = silentOf(state);
			for (const peer of asked) {
				const lost = world.faulty() && dice.chance(0.02);
				if (lost || !world.answers(peer)) continue;
				state = observe(state, { kind: "heard", peer }, clock.nowMs());
			}
			const peers = tables ? (ledger.accepted?.assignment.peers ?? []) : [];
			const ids = peers.map(({ node }) => node);
			state = observe(state, { kind: "tick", peers: ids }, clock.nowMs());
			const after = silentOf(state);
			if (before.symmetricDifference(after).size > 0) {
				world.happened("a node's view of its peers changes");
				changed(after);
			}
			born.after(intervalFor(ids.length), () => round(ids));
		};
		born.after(dice.between(1, 300), () => round([]));
		return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
	}

	function kill(): void {
		process?.kill();
	}

	return {
		name,
		node: () => disk.node,
		described: () => described,
		tables: () => tables,
		isAwake: () => process?.isAlive() === true && tables !== undefined,
		running: () => new Set(running().map(({ task }) => task)),
		broke: () => broke,
		calmSinceMs: () => (process?.isAlive() ? calmSinceMs : undefined),
		isIdle: () => process?.isAlive() === true && !engine.isBusy(),
		install() {
			if (isDestroyed) return;
			isInstalled = true;
			start();
		},
		restartAgent(downMs) {
			const dying = process;
			if (!dying?.isAlive()) return;
			kill();
			clock.after(downMs, () => {
				if (process === dying && !isDestroyed) start();
			});
		},
		restartEngine(downMs) {
			calmSinceMs = clock.nowMs() + downMs;
			if (!world.liveRestore) {
				engineStarts++;
				lose(running());
			}
			engine.restart(downMs, !world.liveRestore);
		},
		reboot(downMs) {
			if (isDestroyed || !isInstalled) return;
			kill();
			boots++;
			ranSinceBoot = false;
			tables = undefined;
			lose(running());
			engine.powerOff();
			const boot = boots;
			process = undefined;
			clock.after(downMs, () => {
				if (boot === boots && !isDestroyed) start();
			});
		},
		destroy() {
			kill();
			isDestroyed = true;
			engine.powerOff();
			tables = undefined;
		},
		breakContainer(how) {
			const alive = running();
			if (alive.length === 0) return;
			const victim = dice.pick(alive);
			broke.add(victim.task);
			if (how === "unhealthy" && victim.health === "healthy") engine.sicken(victim);
			else engine.exit(victim, dice.pick([0, 1, 137]));
		},
	};

	/** Jobs, and whoever asked for one attempt and no more, get no second one after a reboot. */
	function lose(lost: readonly Container[]): void {
		for (const { task } of lost) {
			const wanted = disk.accepted?.assignment.tasks.find(({ id }) => id === task);
			if (wanted?.job || wanted?.template.restart.condition === "none") broke.add(task);
		}
	}
}

function withoutJobs({ assignment, ...rest }: Accepted): Accepted {
	const tasks = assignment.tasks.map(({ job: _job, ...task }) => task);
	return { ...rest, assignment: { ...assignment, tasks } };
}

/** Its disk has room for all. */
const images = { want() {}, pulled() {}, async tend() {}, makeRoom: async () => false };

/** Nobody here uses secrets and configs. */
const noFiles = { write: async () => null, keepOnly: async () => {} };
