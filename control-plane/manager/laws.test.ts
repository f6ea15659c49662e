// The laws of planning, whatever happened before.

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Change, Moment, Scope } from "../../model/change.ts";
import { slotHolder } from "../../model/network.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isMeantToRun } from "../../model/task.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { Little } from "../../test/build.ts";
import { befall, begin, type Event, event, history } from "./arbitrary.test-data.ts";
import { check } from "./checks.ts";
import { Draft } from "./draft.ts";
import { plan } from "./plan.ts";
import { showChanges, showSnapshot } from "./show.ts";

const runs = { numRuns: 200 };

function after(past: readonly Event[]): Little {
	const little = begin();
	for (const each of past) befall(little, each);
	return little;
}

/** Ids in order, the same for everybody who asks anew. */
function momentOf(little: Little): Moment {
	let count = 0;
	return { ...little.moment(), newId: () => `fresh-${String(++count).padStart(4, "0")}` };
}

function landed(snapshot: Snapshot, changes: readonly Change[]): Draft {
	const draft = new Draft(snapshot);
	for (const change of changes) draft.put(change);
	return draft;
}

test("a plan settles: planning the planned changes nothing", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = after(past);
			const moment = momentOf(little);
			const { changes } = plan(little.facts, moment);
			const again = plan(landed(little.facts, changes), moment);
			expect(showChanges(little.facts, again.changes)).toEqual([]);
		}),
		runs,
	);
});

test("a plan depends on nothing but what it is given", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = after(past);
			const [first, second] = [
				plan(little.facts, momentOf(little)),
				plan(little.facts, momentOf(little)),
			];
			expect(second).toEqual(first);
		}),
		runs,
	);
});

test("a plan for what was touched equals a plan for all", () => {
	fc.assert(
		fc.property(history, event, (past, last) => {
			const little = after(past);
			little.plan();
			const before = snapshotOf(little);
			befall(little, last);
			const scope = touchedSince(before, little);
			const whole = plan(little.facts, momentOf(little), "all");
			const part = plan(little.facts, momentOf(little), scope);
			const show = (changes: readonly Change[]) => showSnapshot(landed(little.facts, changes));
			expect(show(part.changes)).toEqual(show(whole.changes));
			expect(part.changes).toHaveLength(whole.changes.length);
		}),
		runs,
	);
});

interface Before {
	readonly tasks: ReadonlyMap<unknown, unknown>;
	readonly nodes: ReadonlyMap<unknown, unknown>;
	readonly services: ReadonlyMap<unknown, unknown>;
}

const snapshotOf = ({ facts }: Little): Before => ({
	tasks: new Map(facts.tasks),
	nodes: new Map(facts.nodes),
	services: new Map(facts.services),
});

/** As the host of a cluster reckons it: services and nodes of what is another object now. */
function touchedSince(before: Before, { facts }: Little): Scope {
	const tasks = [...facts.tasks.values()].filter((task) => before.tasks.get(task.id) !== task);
	const nodes = [...facts.nodes.values()].filter((node) => before.nodes.get(node.id) !== node);
	const services = [...facts.services.values()].filter(
		(service) => before.services.get(service.id) !== service,
	);
	return {
		services: new Set([...tasks.map(({ service }) => service), ...services.map(({ id }) => id)]),
		nodes: new Set([
			...nodes.map(({ id }) => id),
			...tasks.flatMap(({ node }) => (node ? [node] : [])),
		]),
	};
}

test("what has been planned is sound, at every step", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = begin();
			for (const each of past) {
				befall(little, each);
				little.plan();
				expect(check(little.facts)).toEqual([]);
			}
		}),
		runs,
	);
});

test("a slot keeps its address, but for updates that start first", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = begin();
			const addresses = new Map<string, string>();
			for (const each of past) {
				befall(little, each.kind === "update" ? { ...each, order: "stop-first" } : each);
				little.plan();
				const there = new Set<string>();
				for (const task of little.facts.tasks.values()) {
					if (isTerminal(task.status.state) || !isMeantToRun(task)) continue;
					for (const { network, address } of task.attachments) {
						const key = `${network} ${slotHolder(task)}`;
						there.add(key);
						expect(address).toBe(addresses.get(key) ?? address);
						addresses.set(key, address);
					}
				}
				for (const key of addresses.keys()) {
					const [network = "", holder = ""] = key.split(" ");
					if (!there.has(key) && !little.facts.leaseOf(network as never, holder)) {
						addresses.delete(key);
					}
				}
			}
		}),
		runs,
	);
});

test("once misfortune ends, everything comes to what was asked for", () => {
	fc.assert(
		fc.property(history, (past) => {
			const little = after(past.filter(({ kind }) => kind !== "forget"));
			little.silent.clear();
			little.lagging.clear();
			for (const node of little.facts.nodes.values()) little.availability(node.index, "active");
			for (const task of little.facts.tasks.values()) {
				if (task.status.health === "unhealthy" && !isTerminal(task.status.state)) {
					little.report(task, { health: "healthy" });
				}
			}
			little.settle(600_000);
			expect(check(little.facts)).toEqual([]);
			for (const service of little.facts.services.values()) {
				const { mode } = service.spec;
				const { condition } = service.spec.template.restart;
				expect(service.removing).toBe(false);
				if (condition !== "any" || isCramped(little, service.id)) continue;
				const wanted = mode.kind === "global" ? little.facts.nodes.size : mode.replicas;
				const serving = little.running(service.spec.name).filter((task) => task.serving);
				if (service.updateStatus?.state !== "paused") expect(serving).toHaveLength(wanted);
			}
		}),
		{ numRuns: 100 },
	);
});

/** Some task waits for an address of the tiny network, and says so. */
function isCramped(little: Little, service: Parameters<Snapshot["tasksOfService"]>[0]): boolean {
	return [...little.facts.tasksOfService(service).values()].some(({ status }) =>
		status.error.includes("no free address"),
	);
}
