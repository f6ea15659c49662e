// Services: list, create, inspect, update, roll back, remove.
//
// Every change is one commit, decided on the snapshot that it lands on, so that two people who take the same name or
// port get one service and one refusal.

import { Hono } from "hono";
import type { Moment } from "../../model/change.ts";
import type { ServiceId } from "../../model/id.ts";
import type { Service, ServiceSpec, TemplateVersion } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { ClusterEvent, Decision, DoorEnv } from "../cluster.ts";
import { portConflict } from "../manager/allocator/ports.ts";
import { readBody } from "./body.ts";
import { type ServiceDocument, serviceSchema } from "./convert/document.ts";
import { fromEngine, hostPorts, type ReadSpec, taskMeaning, toEngine } from "./convert/service.ts";
import { clusterOf, created, done, type EngineContext, versionOf } from "./door.ts";
import {
	alreadyExists,
	badArgument,
	failedPrecondition,
	outOfSequence,
	unimplemented,
} from "./errors.ts";
import { anyOf, hasLabels, idPrefix, isTrue, namePrefix, parseFilters } from "./filters.ts";
import { findNetwork, findService, isSameName, services } from "./lookup.ts";
import { credentialsOf } from "./registry.ts";

type Event = Omit<ClusterEvent, "timeMs">;

export function serviceRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.get("/services", async (c) => {
			const filters = parseFilters(c.req.query("filters"), [
				"id",
				"name",
				"label",
				"mode",
				"runtime",
			]);
			const snapshot = await clusterOf(c).snapshot();
			const found = services(snapshot)
				.filter(
					({ id, spec }) =>
						idPrefix(filters, id) &&
						namePrefix(filters, spec.name) &&
						hasLabels(filters, spec.labels) &&
						anyOf(filters, "mode", (mode) => mode === spec.mode.kind) &&
						anyOf(filters, "runtime", (runtime) => runtime === "container"),
				)
				.sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
			const shown = {
				insertDefaults: isTrue(c.req.query("insertDefaults")),
				status: isTrue(c.req.query("status")),
			};
			return c.json(found.map((service) => toEngine(service, snapshot, shown)));
		})
		.get("/services/:id", async (c) => {
			const snapshot = await clusterOf(c).snapshot();
			const service = findService(snapshot, c.req.param("id"));
			const insertDefaults = isTrue(c.req.query("insertDefaults"));
			return c.json(toEngine(service, snapshot, { insertDefaults }));
		})
		.post("/services/create", async (c) => {
			const cluster = clusterOf(c);
			const body = await readBody(c.req.raw, serviceSchema, "ServiceSpec");
			const { result } = await cluster.commit((snapshot, moment) => {
				const id = moment.newId() as ServiceId;
				return createService(id, fromEngine(body, around(snapshot, id)), snapshot, moment);
			});
			const warnings = [...result.warnings, ...credentialWarnings(c)];
			return created(c, { ID: result.id, ...(warnings.length > 0 && { Warnings: warnings }) });
		})
		.post("/services/:id/update", async (c) => {
			const cluster = clusterOf(c);
			const version = versionOf(c, "service");
			const rollback = c.req.query("rollback") ?? "";
			const body = await readBody(c.req.raw, serviceSchema, "ServiceSpec");
			const { result } = await cluster.commit((snapshot, moment) => {
				const service = findService(snapshot, c.req.param("id"));
				if (rollback === "previous") return rollBack(service, version, snapshot, moment);
				const named: ServiceDocument = {
					...body.value,
					Name: body.value.Name || service.spec.name,
				};
				const read = fromEngine({ ...body, value: named }, around(snapshot, service.id));
				return updateService(service, version, read, snapshot, moment);
			});
			const warnings = [...result.warnings, ...credentialWarnings(c)];
			return c.json({ Warnings: warnings.length > 0 ? warnings : null });
		})
		.delete("/services/:id", async (c) => {
			await clusterOf(c).commit((snapshot, moment) => {
				const service = findService(snapshot, c.req.param("id"));
				return {
					changes: [
						{
							kind: "put-service",
							service: { ...service, removing: true, updatedMs: moment.nowMs },
						},
					],
					result: undefined,
					events: [event(service, "remove", {})],
				};
			});
			return done(c);
		});
}

function around(snapshot: Snapshot, id: ServiceId) {
	return {
		id,
		findNetwork: (asked: string) => findNetwork(snapshot, asked),
		isNameTaken: (name: string) =>
			services(snapshot).some(({ spec }) => isSameName(spec.name, name)),
	};
}

interface Answer {
	readonly id: ServiceId;
	readonly warnings: readonly string[];
}

function createService(
	id: ServiceId,
	{ spec, document, warnings }: ReadSpec,
	snapshot: Snapshot,
	{ nowMs }: Moment,
): Decision<Answer> {
	if (services(snapshot).some((other) => isSameName(other.spec.name, spec.name))) {
		throw alreadyExists("service", spec.name);
	}
	checkPorts(snapshot, id, spec);
	const service: Service = {
		id,
		spec,
		document,
		specVersion: 1,
		templateVersion: 1,
		previous: null,
		ports: spec.ports,
		updateStatus: null,
		createdMs: nowMs,
		updatedMs: nowMs,
		removing: false,
	};
	return {
		changes: [
			{ kind: "put-service", service },
			{ kind: "put-template", template: templateVersion(service, 1) },
		],
		result: { id, warnings },
		events: [event(service, "create", {})],
	};
}

function updateService(
	service: Service,
	version: number,
	{ spec, document, warnings }: ReadSpec,
	snapshot: Snapshot,
	moment: Moment,
): Decision<Answer> {
	if (spec.name !== service.spec.name) throw unimplemented("renaming services is not supported");
	if (spec.mode.kind !== service.spec.mode.kind) {
		throw unimplemented("service mode change is not allowed");
	}
	if (version !== service.specVersion) throw outOfSequence();
	checkPorts(snapshot, service.id, spec);
	return {
		...putSpec(service, { spec, document }, null, snapshot, moment),
		result: { id: service.id, warnings },
	};
}

function rollBack(
	service: Service,
	version: number,
	snapshot: Snapshot,
	moment: Moment,
): Decision<Answer> {
	if (!service.previous) {
		throw failedPrecondition(`service ${service.id} does not have a previous spec`);
	}
	if (version !== service.specVersion) throw outOfSequence();
	checkPorts(snapshot, service.id, service.previous.spec);
	const updateStatus: Service["updateStatus"] = {
		state: "rollback_started",
		startedMs: moment.nowMs,
		completedMs: null,
		message: "manually requested rollback",
	};
	return {
		...putSpec(service, service.previous, updateStatus, snapshot, moment),
		result: { id: service.id, warnings: [] },
	};
}

/** The update's status begins anew with the spec: progress bars that saw the last one's `completed` would stop at once. */
function putSpec(
	service: Service,
	next: { readonly spec: ServiceSpec; readonly document: Service["document"] },
	updateStatus: Service["updateStatus"],
	snapshot: Snapshot,
	{ nowMs }: Moment,
): Pick<Decision<Answer>, "changes" | "events"> {
	const version = templateVersionFor(service, next.spec, snapshot);
	const updated: Service = {
		...service,
		...next,
		specVersion: service.specVersion + 1,
		templateVersion: version,
		previous: { spec: service.spec, document: service.document },
		ports: keptPorts(service, next.spec),
		updateStatus,
		updatedMs: nowMs,
	};
	return {
		changes: [
			{ kind: "put-service", service: updated },
			{ kind: "put-template", template: templateVersion(updated, version) },
		],
		events: [event(updated, "update", differences(service.spec, next.spec))],
	};
}

/**
 * The same number where tasks mean the same, so that scaling makes nothing dirty; an older one where its tasks still
 * stand, so that a roll-back in mid-update leaves alone what was not updated yet; else one that no task ever had.
 */
function templateVersionFor(service: Service, spec: ServiceSpec, snapshot: Snapshot): number {
	const meaning = taskMeaning(spec);
	if (meaning === taskMeaning(service.spec)) return service.templateVersion;
	const ingress = (ports: ServiceSpec["ports"]) => ports.some((port) => port.mode === "ingress");
	const kept = snapshot.templatesOfService(service.id);
	const same = kept.find(
		(old) =>
			// Whether an older version hung on the ingress is not kept with it: only an unchanged answer is sure.
			ingress(spec.ports) === ingress(service.spec.ports) &&
			taskMeaning({
				...spec,
				template: old.template,
				ports: [...spec.ports.filter((port) => port.mode === "ingress"), ...old.hostPorts],
			}) === meaning,
	);
	if (same) return same.version;
	const used = [...snapshot.tasksOfService(service.id).values()].map(
		(task) => task.templateVersion,
	);
	return Math.max(service.templateVersion, ...kept.map((old) => old.version), ...used) + 1;
}

function templateVersion(service: Service, version: number): TemplateVersion {
	const { TaskTemplate: template } = service.document as ServiceDocument;
	// Docker's tasks do not say their runtime.
	const { Runtime: _runtime, ...document } = template ?? {};
	return {
		service: service.id,
		version,
		template: service.spec.template,
		hostPorts: hostPorts(service.spec),
		document,
	};
}

/** A port that we once chose stays the same through updates that do not touch it. */
function keptPorts(service: Service, spec: ServiceSpec): Service["ports"] {
	const chosen = service.ports.filter(
		(port, index) => port.published > 0 && service.spec.ports[index]?.published === 0,
	);
	return spec.ports.map((port) => {
		if (port.published > 0) return port;
		const known = chosen.findIndex(
			(old) =>
				old.target === port.target && old.protocol === port.protocol && old.mode === port.mode,
		);
		const [kept] = known < 0 ? [] : chosen.splice(known, 1);
		return kept ? { ...port, published: kept.published } : port;
	});
}

function event(
	service: Service,
	action: Event["action"],
	attributes: Readonly<Record<string, string>>,
): Event {
	return {
		type: "service",
		action,
		id: service.id,
		attributes: { name: service.spec.name, ...attributes },
	};
}

function differences(old: ServiceSpec, next: ServiceSpec): Record<string, string> {
	const [before, after] = [old.template.container.image, next.template.container.image];
	const replicas = (spec: ServiceSpec) =>
		spec.mode.kind === "replicated" ? `${spec.mode.replicas}` : "";
	return {
		...(before !== after && { "image.old": before, "image.new": after }),
		...(replicas(old) !== replicas(next) && {
			"replicas.old": replicas(old),
			"replicas.new": replicas(next),
		}),
	};
}

function checkPorts(snapshot: Snapshot, id: ServiceId, spec: ServiceSpec): void {
	const conflict = portConflict(snapshot, spec, id);
	if (conflict) throw badArgument(conflict);
}

function credentialWarnings(c: EngineContext): string[] {
	if (!credentialsOf(c.req.header("X-Registry-Auth"))) return [];
	return [
		"registry credentials are not handed to nodes yet: log in on each node that is to pull the image",
	];
}
