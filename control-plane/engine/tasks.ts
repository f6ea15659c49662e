// Tasks: list and inspect. The list that progress bars poll is held for a moment, so that a `docker service create`
// costs a score of requests and not a hundred.

import { Hono } from "hono";
import { conflict } from "../../model/errors.ts";
import type { NodeId, ServiceId } from "../../model/id.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Task } from "../../model/task.ts";
import { taskStates } from "../../model/taskstate.ts";
import type { DoorEnv } from "../cluster.ts";
import { rolledBackBecause } from "./convert/rollout.ts";
import { shownDesired } from "./convert/state.ts";
import { inOrder, toEngine } from "./convert/task.ts";
import { clusterOf } from "./door.ts";
import { fault } from "./errors.ts";
import { anyOf, type Filters, hasLabels, idPrefix, isTrue, parseFilters } from "./filters.ts";
import { findNode, findService, findTask } from "./lookup.ts";

/** At most this long, or until something happens: bars stay lively, and an idle second is one request. */
const holdMs = 1000;

export function taskRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.get("/tasks", async (c) => {
			const cluster = clusterOf(c);
			const filters = parseFilters(c.req.query("filters"), [
				"id",
				"name",
				"service",
				"node",
				"label",
				"desired-state",
				"_up-to-date",
				"runtime",
			]);
			let snapshot = await cluster.snapshot();
			const seq = cluster.seq();
			if (filters.has("_up-to-date")) {
				await cluster.wait(seq, holdMs, c.req.raw.signal);
				snapshot = await cluster.snapshot();
				for (const asked of filters.get("service") ?? []) {
					const service = snapshot.services.get(serviceId(snapshot, asked));
					const reason = service && rolledBackBecause(service);
					if (reason) throw conflict(reason);
				}
			}
			return c.json(select(snapshot, filters).map((task) => toEngine(task, snapshot, Date.now())));
		})
		.get("/tasks/:id", async (c) => {
			const snapshot = await clusterOf(c).snapshot();
			return c.json(toEngine(findTask(snapshot, c.req.param("id")), snapshot, Date.now()));
		});
}

export function select(snapshot: Snapshot, filters: Filters): Task[] {
	for (const state of filters.get("desired-state") ?? []) checkDesired(state);
	const ofServices = idsOf(filters, "service", (asked) => serviceId(snapshot, asked));
	const ofNodes = idsOf<NodeId | null>(filters, "node", (asked) => findNode(snapshot, asked).id);
	const found = among(snapshot, ofServices, ofNodes).filter((task) => {
		const service = snapshot.services.get(task.service);
		return (
			idPrefix(filters, task.id) &&
			anyOf(filters, "name", (prefix) => (service?.spec.name ?? "").startsWith(prefix)) &&
			(ofServices?.has(task.service) ?? true) &&
			(ofNodes?.has(task.node) ?? true) &&
			hasLabels(filters, service?.spec.labels ?? {}) &&
			anyOf(filters, "desired-state", (state) => state === shownDesired(task)) &&
			anyOf(filters, "runtime", (runtime) => runtime === "container") &&
			anyOf(
				filters,
				"_up-to-date",
				(wanted) => isTrue(wanted) === (service !== undefined && isUpToDate(service, task)),
			)
		);
	});
	return inOrder(found);
}

/** A schedule starts a run with the template that there is, of which older runs have tasks too. */
function isUpToDate({ templateVersion, job }: Service, task: Task): boolean {
	return task.templateVersion === templateVersion && task.iteration === job?.iteration;
}

/** Few tasks to look at where a service or node is named. */
function among(
	snapshot: Snapshot,
	ofServices: ReadonlySet<ServiceId> | undefined,
	ofNodes: ReadonlySet<NodeId | null> | undefined,
): Task[] {
	if (ofServices) return [...ofServices].flatMap((id) => [...snapshot.tasksOfService(id).values()]);
	if (ofNodes) {
		return [...ofNodes].flatMap((id) => (id ? [...snapshot.tasksOfNode(id).values()] : []));
	}
	return [...snapshot.tasks.values()];
}

function idsOf<Id>(
	filters: Filters,
	key: string,
	find: (asked: string) => Id,
): ReadonlySet<Id> | undefined {
	const asked = filters.get(key);
	return asked && new Set(asked.map(find));
}

/** Tasks of a service that is being removed are still asked for by its id. */
function serviceId(snapshot: Snapshot, asked: string): ServiceId {
	if (snapshot.services.has(asked as ServiceId)) return asked as ServiceId;
	return findService(snapshot, asked).id;
}

function checkDesired(state: string): void {
	// Docker has one state more than we do.
	if (state === "allocated" || taskStates.some((known) => known === state)) return;
	throw fault(`Invalid desired-state filter: '${state}'`);
}
