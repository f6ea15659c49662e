import { describe, expect, test } from "bun:test";
import type { Assignment, AssignmentReply } from "../model/assignment.ts";
import type { NodeId, TaskId } from "../model/id.ts";
import type { NodeDescription } from "../model/node.ts";
import type { Report } from "../model/report.ts";
import { unstarted } from "../model/task.ts";
import { after } from "./bell.ts";
import { type Dispatcher, DispatcherError, NodeGone } from "./dispatcher.ts";
import type { EngineListener } from "./host/engine.ts";
import { type Accepted, judge, type Ledger } from "./ledger.ts";
import { type Applied, runLoop, type World } from "./loop.ts";

const at = (revision: number, hash = `h${revision}`): Accepted => ({
	revision,
	hash,
	assignment: { cluster: "c1", revision, protocol: 1, peers: [], networks: [], tasks: [] } as never,
});
const news = (accepted: Accepted): AssignmentReply => ({ ...accepted, pollMs: 0 });

/** A world in which nothing takes time: what happens is written down, and answers are what the test says. */
function worldOf(start: { held?: Accepted; freshBoot?: boolean } = {}) {
	const done: string[] = [];
	const reports: Report[] = [];
	const replies: (AssignmentReply | Error)[] = [];
	const ending = new AbortController();
	let held = start.held ?? null;
	let wake = () => {};
	let ring = () => {};
	let listener: EngineListener | undefined;
	let watched: (silent: ReadonlySet<NodeId>) => void = () => {};
	const problemsSeen: string[][] = [];
	const polls: string[] = [];
	const it = {
		polls,
		bell: undefined as { rung(): void; hangUp(): void; refuse(): void } | undefined,
		done,
		reports,
		problemsSeen,
		result: { kernel: true, networks: new Map(), attached: [], problems: [] } as Applied,
		refuseReports: undefined as Error | undefined,
		statuses: [] as { id: TaskId; status: typeof unstarted }[],
		say(...next: (AssignmentReply | Error)[]) {
			replies.push(...next);
			wake();
		},
		changeTask(id: string, state: "running" | "failed") {
			it.statuses.push({ id: id as TaskId, status: { ...unstarted, state } });
			ring();
		},
		silence: (...nodes: string[]) => watched(new Set(nodes as NodeId[])),
		engine: () => listener as EngineListener,
		stop: () => ending.abort(),
		get held() {
			return held;
		},
		run: (): Promise<string> => runLoop(world, ending.signal),
	};
	const ledger: Ledger = {
		get accepted() {
			return held;
		},
		remembered: {},
		unwritten: null,
		start: 7,
		async accept(offered) {
			const acceptance = judge(held, offered);
			if (acceptance.kind !== "refused") held = offered;
			return acceptance;
		},
		remember() {},
		async flush() {},
	};
	const dispatcher: Dispatcher = {
		contents: async () => [],
		bell: (_pingMs, rung, signal) =>
			new Promise((resolve, reject) => {
				it.bell = { rung, hangUp: resolve, refuse: () => reject(new Error("no bells here")) };
				signal.addEventListener("abort", () => resolve());
			}),
		async poll({ atOnce = false }, signal) {
			polls.push(atOnce ? "at once" : "held");
			while (replies.length === 0) {
				await new Promise<void>((resolve, reject) => {
					wake = resolve;
					signal.addEventListener("abort", () => reject(new Error("aborted")));
				});
			}
			const reply = replies.shift();
			if (reply instanceof Error) throw reply;
			return reply as AssignmentReply;
		},
		async report(report) {
			if (it.refuseReports) throw it.refuseReports;
			reports.push(report);
		},
		async stream(id, body) {
			done.push(`stream ${id} ${await new Response(body).text()}`);
		},
		input: async (id) => new Blob([`for ${id}`]).stream(),
		async registryAuth() {
			return null;
		},
		async buildSecrets() {
			return { secrets: {}, registries: {} };
		},
		async buildLog() {},
		buildStack: async () => ({ warnings: [] }),
		async leave() {},
	};
	const world: World = {
		dispatcher,
		ledger,
		tables: {
			async apply(assignment, silent) {
				done.push(`tables ${[assignment.revision, ...silent].join(" ")}`);
				return it.result;
			},
			async heed() {},
			async containersChanged() {
				return it.result.attached;
			},
		},
		tasks: {
			async assign({ revision }: Assignment) {
				done.push(`tasks ${revision}`);
			},
			event() {},
			take: () => it.statuses.splice(0),
			putBack: (back) => it.statuses.unshift(...(back as typeof it.statuses)),
			onChange(bell) {
				ring = bell;
			},
		},
		engine: {
			async listen(given, signal) {
				listener = given;
				await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
			},
		},
		async watch(changed) {
			watched = changed;
		},
		async describe({ problems, warnings }) {
			problemsSeen.push([...problems, ...warnings]);
			return { hostname: "h1", problems, warnings } as unknown as NodeDescription;
		},
		answer: ({ containerId }) => new Blob([`log of ${containerId}`]).stream(),
		freshBoot: start.freshBoot ?? false,
		after,
		sleep: () => Bun.sleep(1),
		random: () => 0.5,
		log() {},
	};
	return it;
}

/** Looks again and again; a test that waits for what never comes runs into its own limit. */
async function until(so: () => boolean): Promise<void> {
	while (!so()) await Bun.sleep(1);
}

const acknowledged = ({ reports }: ReturnType<typeof worldOf>) =>
	reports.flatMap(({ applied }) => applied?.revision ?? []);

describe("a bell", () => {
	const offered = (revision: number): AssignmentReply => ({
		...news(at(revision)),
		bell: { pingMs: 1_000, pollMs: 3_600_000 },
	});

	test("once open, is waited for instead of polling; what it rings for is asked at once", async () => {
		const world = worldOf();
		const running = world.run();
		world.say(offered(1));
		await until(() => world.bell !== undefined && world.polls.length === 2);
		expect(world.polls).toEqual(["held", "held"]);
		world.bell?.rung();
		world.say(offered(2), offered(3));
		await until(() => world.held?.revision === 3);
		await Bun.sleep(10);
		expect(world.polls).toEqual(["held", "held", "at once"]);
		world.say(offered(4));
		world.bell?.rung();
		await until(() => world.held?.revision === 4);
		expect(world.polls).toEqual(["held", "held", "at once", "at once"]);
		world.stop();
		await running;
	});

	const opened = async () => {
		const world = worldOf();
		const running = world.run();
		world.say(offered(1), offered(2));
		await until(() => world.bell !== undefined && world.held?.revision === 2);
		world.bell?.rung();
		world.say(offered(3), offered(4));
		await until(() => world.held?.revision === 4);
		expect(world.polls).toEqual(["held", "held", "held", "at once"]);
		const first = world.bell;
		first?.hangUp();
		await until(() => world.bell !== first);
		return { world, running };
	};

	test("that is lost is opened again, and nothing is asked before it is", async () => {
		const { world, running } = await opened();
		expect(world.polls.length).toBe(4);
		world.bell?.rung();
		world.say(offered(5));
		await until(() => world.held?.revision === 5);
		expect(world.polls.slice(4)).toEqual(["at once"]);
		world.stop();
		await running;
	});

	test("that cannot be opened gives way to held polls, and is tried again once they are answered", async () => {
		const { world, running } = await opened();
		const second = world.bell;
		second?.refuse();
		await until(() => world.polls.length === 5);
		await Bun.sleep(10);
		expect(world.bell).toBe(second);
		world.say(offered(5));
		await until(() => world.bell !== second && world.polls.length === 6);
		expect(world.polls.slice(4)).toEqual(["held", "held"]);
		world.stop();
		await running;
	});
});

describe("an assignment", () => {
	test("is kept, then made so, then acknowledged; tables before tasks", async () => {
		const world = worldOf();
		const running = world.run();
		world.say(news(at(1)));
		await until(() => acknowledged(world).includes(1));
		world.say(news(at(2)));
		await until(() => acknowledged(world).includes(2) && world.done.length >= 4);
		expect(world.done).toEqual(["tables 1", "tasks 1", "tables 2", "tasks 2"]);
		expect(world.held?.revision).toBe(2);
		world.stop();
		expect(await running).toBe("stopped");
	});

	test("comes from the ledger while the control plane is away", async () => {
		const world = worldOf({ held: at(7) });
		world.say(...Array.from({ length: 50 }, () => new Error("no route to host")));
		world.refuseReports = new Error("no route to host");
		const running = world.run();
		await until(() => world.done.includes("tasks 7"));
		world.refuseReports = undefined;
		await until(() => acknowledged(world).includes(7));
		world.stop();
		await running;
	});

	test("waits, after a start of the machine, for what has changed meanwhile", async () => {
		const world = worldOf({ held: at(7), freshBoot: true });
		const running = world.run();
		world.say(news(at(9)));
		await until(() => world.done.includes("tasks 9"));
		expect(world.done).not.toContain("tasks 7");
		world.stop();
		await running;
	});

	test("is not acknowledged before the kernel has it; the reason is told, and it is tried again", async () => {
		const world = worldOf();
		world.result = { ...world.result, kernel: false, problems: ["no VXLAN: modprobe vxlan"] };
		const running = world.run();
		world.say(news(at(1)));
		await until(() => world.reports.some(({ description }) => description?.problems.length === 1));
		expect(acknowledged(world)).toEqual([]);
		expect(world.done).toContain("tasks 1");
		world.result = { ...world.result, kernel: true, problems: [] };
		world.engine().back();
		await until(() => acknowledged(world).includes(1));
		await until(() => world.reports.some(({ description }) => description?.problems.length === 0));
		world.stop();
		await running;
	});

	test("with a complaint that the kernel's tables do not suffer from is acknowledged, and is a warning", async () => {
		const world = worldOf();
		world.result = { ...world.result, problems: ["port 80/tcp: nginx listens on it too"] };
		const running = world.run();
		world.say(news(at(1)));
		const told = () => world.reports.findLast(({ description }) => description)?.description;
		await until(() => told()?.warnings?.length === 1);
		expect(told()?.problems).toEqual([]);
		expect(acknowledged(world)).toEqual([1]);
		world.stop();
		await running;
	});

	test("of others' news only is acknowledged without work", async () => {
		const world = worldOf();
		const running = world.run();
		world.say(news(at(1, "same")));
		await until(() => acknowledged(world).includes(1));
		world.say({ revision: 5, hash: "same", assignment: null, pollMs: 0 });
		await until(() => acknowledged(world).includes(5));
		expect(world.done.filter((line) => line.startsWith("tables"))).toEqual(["tables 1"]);
		world.stop();
		await running;
	});

	test("that is older than the one here changes nothing, and is complained of", async () => {
		const world = worldOf({ held: at(7) });
		const running = world.run();
		world.say(news(at(6)));
		await until(() => world.problemsSeen.some((seen) => /older/.test(seen.join())));
		expect(world.held?.revision).toBe(7);
		expect(world.done).not.toContain("tables 6");
		world.stop();
		await running;
	});

	test("of a later protocol is left alone, with the remedy", async () => {
		const world = worldOf();
		const running = world.run();
		const later = at(1);
		world.say(news({ ...later, assignment: { ...later.assignment, protocol: 99 } }));
		await until(() => world.problemsSeen.some((seen) => /run the install line/.test(seen.join())));
		expect(world.done).toEqual([]);
		world.stop();
		await running;
	});
});

test("an engine that is away is a problem until it is back", async () => {
	const world = worldOf();
	const running = world.run();
	const told = () =>
		world.reports.findLast(({ description }) => description)?.description?.problems;
	await until(() => told()?.length === 0);
	world.engine().gone("no such file");
	await until(() => told()?.[0]?.includes("systemctl start docker") === true);
	world.engine().back();
	await until(() => told()?.length === 0);
	world.stop();
	await running;
});

describe("the control plane", () => {
	test("may say that the node is gone, which ends the loop", async () => {
		const world = worldOf({ held: at(1) });
		const running = world.run();
		world.say(new NodeGone("node h1 was removed"));
		expect(await running).toBe("removed");
	});

	test("may refuse the node's identity, which changes nothing", async () => {
		const world = worldOf({ held: at(1) });
		const running = world.run();
		world.say(new DispatcherError(401, "who?"), new DispatcherError(403, "no"), news(at(2)));
		await until(() => world.done.includes("tasks 2"));
		world.stop();
		expect(await running).toBe("stopped");
	});

	test("is told again what it could not be told, and what became of it since", async () => {
		const world = worldOf();
		world.refuseReports = new Error("away");
		const running = world.run();
		world.changeTask("t1", "running");
		await Bun.sleep(5);
		world.changeTask("t2", "failed");
		world.refuseReports = undefined;
		const told = () => world.reports.flatMap(({ tasks }) => tasks?.map(({ id }) => id) ?? []);
		await until(() => told().includes("t2" as TaskId));
		expect(told().sort()).toEqual(["t1", "t2"] as TaskId[]);
		world.stop();
		await running;
	});

	test("hears of each report which it is, and from a new start all that an older one may have said", async () => {
		const world = worldOf();
		const running = world.run();
		world.say(news(at(1)));
		await until(() => acknowledged(world).includes(1));
		world.silence("h2");
		await until(() => world.reports.some(({ unreachable }) => unreachable?.length === 1));
		const places = world.reports.map(({ said }) => said);
		expect(places).toEqual(places.map((_, at) => ({ start: 7, count: at + 1 })));
		expect(world.reports[0]?.unreachable).toEqual([]);
		expect(world.reports.find(({ attached }) => attached)?.attached).toEqual([]);
		world.stop();
		await running;
	});

	test("may refuse one report, and hears the next", async () => {
		const world = worldOf();
		world.refuseReports = new DispatcherError(400, "tasks.0.id: too long");
		const running = world.run();
		world.changeTask("t1", "running");
		await until(() => world.statuses.length === 0);
		await Bun.sleep(5);
		world.refuseReports = undefined;
		world.changeTask("t2", "running");
		await until(() => world.reports.some(({ tasks }) => tasks?.[0]?.id === "t2"));
		world.stop();
		await running;
	});

	test("gets the logs it asks for", async () => {
		const world = worldOf();
		const running = world.run();
		world.say({
			revision: 0,
			hash: "",
			assignment: null,
			pollMs: 0,
			requests: [{ id: "s1", containerId: "c1" } as never],
		});
		await until(() => world.done.includes("stream s1 log of c1"));
		world.stop();
		await running;
	});
});

test("peers that fall silent leave the tables at once, and are told of", async () => {
	const world = worldOf({ held: at(3) });
	const running = world.run();
	await until(() => world.done.includes("tables 3"));
	world.silence("n2");
	await until(() => world.done.includes("tables 3 n2"));
	await until(() => world.reports.some(({ unreachable }) => unreachable?.[0] === "n2"));
	world.stop();
	await running;
});
