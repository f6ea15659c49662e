// Services: list, create, inspect, update, roll back, remove.
//
// Every change is one commit, decided on the snapshot that it lands on, so that two people who take the same name or
// port get one service and one refusal.

import { Hono } from "hono";
import type { Moment } from "../../model/change.ts";
import type { ServiceId } from "../../model/id.ts";
import {
	isJob,
	type Service,
	type ServiceSpec,
	type TemplateVersion,
} from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { ClusterEvent, Decision, DoorEnv } from "../cluster.ts";
import { portConflict } from "../manager/allocator/ports.ts";
import { specNews } from "../manager/news.ts";
import { firstRun, runAfterUpdate } from "../manager/orchestrator/run.ts";
import { same } from "../manager/same.ts";
import { readBody } from "./body.ts";
import { type ServiceDocument, serviceSchema } from "./convert/document.ts";
import { type FindMaterial, withKeptContents } from "./convert/files.ts";
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
import { hasCredentials } from "./registry.ts";

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
			const registryAuth = await sealedAuth(c, undefined);
			const { result } = await cluster.commit((snapshot, moment) => {
				const id = moment.newId() as ServiceId;
				const read = withAuth(fromEngine(body, around(snapshot, id, moment)), registryAuth);
				return createService(id, read, snapshot, moment);
			});
			const { warnings } = result;
			return created(c, { ID: result.id, ...(warnings.length > 0 && { Warnings: warnings }) });
		})
		.post("/services/:id/update", async (c) => {
			const cluster = clusterOf(c);
			const version = versionOf(c, "service");
			const rollback = c.req.query("rollback") ?? "";
			const body = await readBody(c.req.raw, serviceSchema, "ServiceSpec");
			const before = findService(await cluster.snapshot(), c.req.param("id"));
			const fresh = await sealedAuth(c, before.spec.registryAuth);
			const { result } = await cluster.commit((snapshot, moment) => {
				const service = findService(snapshot, before.id);
				if (rollback === "previous") return rollBack(service, version, snapshot, moment);
				const named: ServiceDocument = {
					...body.value,
					Name: body.value.Name || service.spec.name,
				};
				const from = c.req.query("registryAuthFrom") === "previous-spec" ? "previous" : "spec";
				const kept = (from === "previous" ? service.previous?.spec : service.spec)?.registryAuth;
				const read = fromEngine({ ...body, value: named }, around(snapshot, service.id, moment));
				const next = withAuth(read, fresh ?? kept, service.spec.loginOf);
				return updateService(service, version, next, snapshot, moment);
			});
			const { warnings } = result;
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

export function around(snapshot: Snapshot, id: ServiceId, { nowMs }: Moment) {
	return {
		id,
		nowMs,
		findNetwork: (asked: string) => findNetwork(snapshot, asked),
		isNameTaken: (name: string) =>
			services(snapshot).some(({ spec }) => isSameName(spec.name, name)),
		findMaterial: materialsIn(snapshot),
	};
}

/** Clients send both, and mean the pair; whoever sends one of them means that. */
function materialsIn(snapshot: Snapshot): FindMaterial {
	return (kind, { id, name }) =>
		[...snapshot.materials.values()].find(
			(each) =>
				each.kind === kind && (id === "" || each.id === id) && (name === "" || each.name === name),
		);
}

interface Answer {
	readonly id: ServiceId;
	readonly warnings: readonly string[];
}

export function createService(
	id: ServiceId,
	{ spec, document, warnings }: ReadSpec,
	snapshot: Snapshot,
	{ nowMs }: Moment,
): Decision<Answer> {
	if (services(snapshot).some((other) => isSameName(other.spec.name, spec.name))) {
		throw alreadyExists("service", spec.name);
	}
	checkPorts(snapshot, id, spec);
	const job = firstRun(spec, nowMs);
	const service: Service = {
		id,
		spec,
		document,
		specVersion: 1,
		templateVersion: 1,
		previous: null,
		ports: spec.ports,
		updateStatus: null,
		...(job && { job }),
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
	const next = withKeptContents(spec, service.spec);
	return {
		...putSpec(service, { spec: next.spec, document }, null, snapshot, moment),
		result: { id: service.id, warnings: [...warnings, ...next.warnings] },
	};
}

function rollBack(
	service: Service,
	version: number,
	snapshot: Snapshot,
	moment: Moment,
): Decision<Answer> {
	if (isJob(service.spec.mode)) {
		throw failedPrecondition(
			"a job has no roll-back: run what it was before with docker service update, which starts a new run",
		);
	}
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
export function putSpec(
	service: Service,
	next: { readonly spec: ServiceSpec; readonly document: Service["document"] },
	updateStatus: Service["updateStatus"],
	snapshot: Snapshot,
	{ nowMs }: Moment,
): Pick<Decision<Answer>, "changes" | "events"> {
	const version = templateVersionFor(service, next.spec, snapshot);
	const job = runAfterUpdate(service, next.spec, nowMs);
	// `stack deploy` sends every service again: one that stays as it is keeps what it can be rolled back to, and the
	// update that it is in the middle of.
	const isNews =
		!same(service.document, next.document) ||
		!same({ ...service.spec, registryAuth: "" }, { ...next.spec, registryAuth: "" });
	const isUnderway = service.updateStatus?.state === "updating";
	// It sends changed contents before the services: until they have rolled, both are one step, to be taken back as one.
	const isOneStep = isUnderway && isRotated(service);
	const updated: Service = {
		...service,
		...next,
		specVersion: service.specVersion + 1,
		templateVersion: version,
		previous:
			isNews && !isOneStep ? { spec: service.spec, document: service.document } : service.previous,
		ports: keptPorts(service, next.spec),
		...(job && { job }),
		updateStatus: updateStatus ?? (isNews || !isUnderway ? null : service.updateStatus),
		updatedMs: nowMs,
	};
	return {
		changes: [
			{ kind: "put-service", service: updated },
			{ kind: "put-template", template: templateVersion(updated, version) },
		],
		events: [event(updated, "update", specNews(service.spec, next.spec))],
	};
}

/** Its last change was one of contents, of which the user's own words know nothing. */
function isRotated({ spec, document, previous }: Service): boolean {
	return previous !== null && same(previous.document, document) && !same(previous.spec, spec);
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

function checkPorts(snapshot: Snapshot, id: ServiceId, spec: ServiceSpec): void {
	const conflict = portConflict(snapshot, spec, id);
	if (conflict) throw badArgument(conflict);
}

/**
 * The request's registry credentials, sealed; undefined where it has none. The same ones as before stay as they are
 * sealed, so that a spec which is sent again is the same spec.
 */
async function sealedAuth(
	c: EngineContext,
	known: string | undefined,
): Promise<string | undefined> {
	const header = c.req.header("X-Registry-Auth");
	if (!header || !hasCredentials(header)) return undefined;
	const { credentials } = clusterOf(c);
	const before = known && (await credentials.open(known).catch(() => undefined));
	return before === header ? known : credentials.seal(header);
}

function withAuth(
	read: ReadSpec,
	registryAuth: string | undefined,
	loginOf?: ServiceSpec["loginOf"],
): ReadSpec {
	const logins = { ...(registryAuth && { registryAuth }), ...(loginOf && { loginOf }) };
	return { ...read, spec: { ...read.spec, ...logins } };
}
