// The planner: tasks placed a second, and what one failing task costs in a small and in a large cluster.

import { plan } from "../control-plane/manager/plan.ts";
import { facts, nodeId, serviceId } from "../control-plane/manager/scheduler/schedule.test-data.ts";
import { schedule } from "../control-plane/manager/scheduler/schedule.ts";
import type { Change, Moment, Scope } from "../model/change.ts";
import type { NetworkId } from "../model/id.ts";
import { must } from "../model/invariant.ts";
import type { Network } from "../model/network.ts";
import type { Facts } from "../model/snapshot.ts";
import type { Task } from "../model/task.ts";
import { medianUs, type Row } from "./row.ts";

export const name = "planner";

export async function run(): Promise<Row[]> {
	return [
		await placing(100, 10_000),
		await placing(5000, 10_000),
		...(await failing(5, 100)),
		...(await failing(5000, 100_000)),
	].flat();
}

let ids = 0;
const moment: Moment = {
	nowMs: 1_000_000,
	listeningSinceMs: 0,
	newId: () => `id${String(ids++).padStart(23, "0")}`,
};

/** From the spec to tasks with their places: slots, addresses, nodes, and the changes to be written. */
async function placing(nodes: number, tasks: number): Promise<Row[]> {
	const replicas = tasks / 20;
	const fresh = () => clusterOf(nodes, 20, replicas);
	const clusters = Array.from({ length: 3 }, fresh);
	let placed = 0;
	const us = await medianUs(3, () => {
		const { changes } = plan(must(clusters.pop(), "one cluster for each run"), moment, "all");
		placed = changes.filter((change) => change.kind === "put-task" && change.task.node).length;
	});
	const all = fresh();
	const waiting = plan(all, moment, "all").changes.flatMap((change) =>
		change.kind === "put-task" ? [{ ...change.task, node: null }] : [],
	);
	const scheduleUs = await medianUs(3, () => schedule(all, waiting));
	const where = `${nodes} nodes`;
	return [
		{
			what: `tasks placed, ${where}`,
			value: (placed * 1e6) / us,
			unit: "tasks/s",
			note: `${placed} tasks of 20 services in one plan`,
		},
		{
			what: `of which the scheduler alone, ${where}`,
			value: (tasks * 1e6) / scheduleUs,
			unit: "tasks/s",
		},
	];
}

/** The report that a task failed, planned for by itself: it leaves the tables, its slot gets the next one. */
async function failing(nodes: number, tasks: number): Promise<Row[]> {
	const all = clusterOf(nodes, tasks / 50, 50);
	settle(all);
	const costs: number[] = [];
	const start = [...all.tasks.values()];
	for (let run = 0; run < 200; run++) {
		const victim = must(start[(run * 7919) % start.length], "somebody fails");
		report(all, victim, "failed");
		const scope: Scope = {
			services: new Set([victim.service]),
			nodes: new Set([must(victim.node, "it ran")]),
		};
		let changes: readonly Change[] = [];
		costs.push(
			await medianUs(1, () => {
				changes = plan(all, moment, scope).changes;
			}),
		);
		apply(all, changes);
		for (const task of [...all.unsettled.tasks.values()]) report(all, task, "running");
		apply(all, plan(all, moment, scope).changes);
	}
	const middle = must(costs.sort((a, b) => a - b)[costs.length >> 1], "there were runs");
	return [
		{
			what: `one task fails among ${tasks}`,
			value: middle,
			unit: "µs",
			note: `${nodes} nodes, ${tasks / 50} services`,
		},
	];
}

const network: Network = {
	id: "net" as NetworkId,
	name: "net",
	vni: 4097,
	subnet: "10.0.0.0/8",
	internal: false,
	attachable: false,
	ingress: false,
	labels: {},
	options: {},
	document: {},
	createdMs: 1,
};
const onOneNetwork = {
	networks: [{ network: network.id, aliases: [] }],
	restart: { condition: "any", delayMs: 0, maxAttempts: 0, windowMs: 0 },
} as const;

function clusterOf(nodes: number, services: number, replicas: number): Facts {
	const names = Array.from({ length: services }, (_, at) => `${at}`);
	const all = facts({
		nodes: Array.from({ length: nodes }, (_, at) => ({ index: at + 1 })),
		services: names.map((each) => ({ name: each })),
	});
	for (const each of names) {
		const service = must(all.services.get(serviceId(each)), "it was just made");
		const template = { ...service.spec.template, ...onOneNetwork };
		const mode = { kind: "replicated", replicas } as const;
		all.apply({
			kind: "put-service",
			service: { ...service, spec: { ...service.spec, mode, template } },
		});
		const version = must(all.template(service.id, 1), "it was just made");
		all.apply({ kind: "put-template", template: { ...version, template } });
	}
	all.apply({ kind: "put-network", network });
	for (let index = 1; index <= nodes; index++) {
		const node = must(all.nodes.get(nodeId(index)), "it was just made");
		all.setNode({ ...node, leaseUntilMs: moment.nowMs + 15_000, appliedRevision: 1_000_000 });
	}
	return all;
}

/** Until nothing is left to do: every task placed, running, and a backend. */
function settle(all: Facts): void {
	for (let round = 0; round < 3; round++) {
		apply(all, plan(all, moment, "all").changes);
		for (const task of [...all.tasks.values()]) report(all, task, "running");
	}
}

function report(all: Facts, task: Task, state: "running" | "failed"): void {
	const observed = task.status.observed + 1;
	const status = { ...task.status, state, observed, sinceMs: moment.nowMs };
	all.apply({ kind: "task-status", id: task.id, status });
}

function apply(all: Facts, changes: readonly Change[]): void {
	for (const change of changes) all.apply(change);
	all.revision++;
}
