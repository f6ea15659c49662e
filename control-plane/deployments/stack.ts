// The services, networks and job of a stack, made of its documents by the same readers as the command line's requests.

import type { Application, Environment } from "../../model/application.ts";
import type { Change, Moment } from "../../model/change.ts";
import type { Deployment, RolledService } from "../../model/deployment.ts";
import { invalid } from "../../model/errors.ts";
import type { NetworkId, ServiceId } from "../../model/id.ts";
import type { Service, ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { type Stack, stackLabel } from "../../model/stack.ts";
import { jobDocument } from "../engine/convert/deployed.ts";
import type { ServiceDocument } from "../engine/convert/document.ts";
import { fromEngine as fromNetwork, type NetworkDocument } from "../engine/convert/network.ts";
import { fromEngine } from "../engine/convert/service.ts";
import { around, createService, putSpec } from "../engine/services.ts";
import { subnetClash } from "../manager/allocator/ipam.ts";
import { portConflict } from "../manager/allocator/ports.ts";
import { Draft } from "../manager/draft.ts";
import { isUnchanged, labelsOf, type Made, withLogin } from "./make.ts";

export interface MadeStack {
	readonly changes: readonly Change[];
	readonly services: readonly RolledService[];
}

/** All of it at once, and nothing where one of its services is refused (a `Refusal`). */
export function changeStack(
	snapshot: Snapshot,
	moment: Moment,
	application: Application,
	environment: Environment,
	stack: Stack,
): MadeStack {
	const draft = new Draft(snapshot);
	for (const change of missingNetworks(draft, moment, stack)) draft.put(change);
	// What goes anyway makes way for what takes its port; the rest stays until all is well.
	for (const service of vanishedOf(draft, application, environment, stack)) {
		if (standsInTheWay(service, stack)) draft.put(removal(service, moment));
	}
	const documents = stack.services as readonly ServiceDocument[];
	const readAll = (isKnown: boolean) =>
		documents
			.map((each) => ({ document: each, known: knownOf(draft, stack, each) }))
			.filter(({ known }) => (known !== undefined) === isKnown);
	const rolled: RolledService[] = [];
	for (const { document, known } of [...readAll(true), ...readAll(false)]) {
		const made = readOne(draft, moment, environment, {
			application,
			...{ stack, document, known },
		});
		const { name } = made.spec;
		if (known && isUnchanged(known, made)) {
			const { id: service, templateVersion: template } = known;
			rolled.push({ service, name, template, isNew: false, outcome: "unchanged" });
			continue;
		}
		const { changes } = known
			? putSpec(known, made, null, draft, moment)
			: createService(made.id, { ...made, warnings: [] }, draft, moment);
		for (const change of changes) draft.put(change);
		const { id: service, templateVersion: template } = draft.services.get(made.id) as Service;
		rolled.push({ service, name, template, isNew: !known, outcome: null });
	}
	// Now that each has what it is to have: two may have changed their ports.
	for (const { service, name } of rolled) {
		const spec = draft.services.get(service)?.spec;
		const conflict = spec && portConflict(draft, spec, service);
		if (conflict) throw invalid(`${name}: ${conflict}`);
	}
	return { changes: draft.changes(), services: rolled };
}

/** Of this application and environment, and no longer in the file. */
export function vanishedOf(
	snapshot: Snapshot,
	application: Application,
	environment: Environment,
	stack: Pick<Stack, "name" | "services">,
): readonly Service[] {
	const ours = Object.entries({
		...labelsOf(application, environment),
		[stackLabel]: stack.name,
	});
	const names = new Set(stack.services.map((each) => each["Name"]));
	return [...snapshot.services.values()].filter(
		({ spec, removing }) =>
			!removing &&
			!names.has(spec.name) &&
			ours.every(([name, value]) => spec.labels[name] === value),
	);
}

export const removal = (service: Service, { nowMs }: Moment): Change => ({
	kind: "put-service",
	service: { ...service, removing: true, updatedMs: nowMs },
});

/** What was changed goes back to what it was, since one of them did so by itself; what is new goes. */
export function takeBack(
	snapshot: Snapshot,
	moment: Moment,
	services: readonly RolledService[],
): readonly Change[] {
	return services.flatMap(({ service: id, template, isNew, outcome }) => {
		const service = snapshot.services.get(id);
		const isOurs = service?.templateVersion === template && !service.removing;
		if (!service || !isOurs || outcome === "unchanged") return [];
		if (isNew) return [removal(service, moment)];
		if (!service.previous) return [];
		const status: Service["updateStatus"] = {
			state: "rollback_started",
			startedMs: moment.nowMs,
			completedMs: null,
			message: "another service of the stack was rolled back",
		};
		return putSpec(service, service.previous, status, snapshot, moment).changes;
	});
}

/** One container of the named service's image, with all that it has but its ports, run to its end. */
export function stackJob(
	snapshot: Snapshot,
	moment: Moment,
	application: Application,
	environment: Environment,
	{ stack, number }: { readonly stack: Stack } & Pick<Deployment, "number">,
): { readonly id: ServiceId; readonly changes: readonly Change[] } {
	const { beforeService = "" } = environment;
	const document = (stack.services as readonly ServiceDocument[]).find(
		({ Name: name }) => name === `${stack.name}_${beforeService}`,
	);
	if (!document) {
		const names = stack.services.map((each) => `${each["Name"]}`.slice(stack.name.length + 1));
		throw invalid(
			`beforeService: the compose file has no service ${beforeService}: it has ${names.join(", ")}`,
		);
	}
	const draft = new Draft(snapshot);
	for (const change of missingNetworks(draft, moment, stack)) draft.put(change);
	const known = knownOf(draft, stack, document);
	const id = moment.newId() as ServiceId;
	const job = jobDocument(document, {
		name: `${stack.name}-before-${number}`,
		labels: labelsOf(application, environment),
		command: environment.before,
	});
	const made = readDocument(draft, moment, id, {
		application,
		...{ stack, document: job, known },
	});
	const { changes } = createService(id, { ...made, warnings: [] }, draft, moment);
	for (const change of changes) draft.put(change);
	return { id, changes: draft.changes() };
}

function missingNetworks(snapshot: Snapshot, { nowMs, newId }: Moment, stack: Stack): Change[] {
	const asked = stack.networks.map((each) => fromNetwork(each as NetworkDocument));
	return asked.flatMap(({ warning: _warning, ...network }): Change[] => {
		const known = [...snapshot.networks.values()].find(({ name }) => name === network.name);
		if (known && known.labels[stackLabel] !== stack.name) {
			throw invalid(
				`network ${network.name} is there already, and none of the stack ${stack.name}: name it otherwise, or say that it is external`,
			);
		}
		if (known) return [];
		const clash = network.subnet === "" ? undefined : subnetClash(snapshot, network.subnet);
		if (clash) throw invalid(`network ${network.name}: ${clash}`);
		const id = newId() as NetworkId;
		const made = { ...network, id, vni: 0, ingress: false, createdMs: nowMs };
		return [{ kind: "put-network", network: made }];
	});
}

function standsInTheWay(service: Service, stack: Stack): boolean {
	const wanted = (stack.services as readonly ServiceDocument[]).flatMap(
		({ EndpointSpec: endpoint }) => endpoint?.Ports ?? [],
	);
	return service.ports.some(({ published }) =>
		wanted.some((port) => published > 0 && port.PublishedPort === published),
	);
}

function knownOf(
	snapshot: Snapshot,
	stack: Stack,
	{ Name: name }: ServiceDocument,
): Service | undefined {
	const known = [...snapshot.services.values()].find(
		({ spec, removing }) => spec.name === name && !removing,
	);
	if (!known || known.spec.labels[stackLabel] === stack.name) return known;
	throw invalid(
		`there is a service ${name} already, and it is none of the stack ${stack.name}: remove it (docker service rm ${name}), or name the stack otherwise (the environment's service)`,
	);
}

interface Part {
	readonly application: Application;
	readonly stack: Stack;
	readonly document: ServiceDocument;
	readonly known: Service | undefined;
}

function readOne(snapshot: Snapshot, moment: Moment, environment: Environment, part: Part): Made {
	const { application, document, known } = part;
	const ours = labelsOf(application, environment);
	const owner = known?.spec.labels["skein.application"];
	if (known && owner !== undefined && owner !== ours["skein.application"]) {
		throw invalid(`the service ${known.spec.name} is one of the application ${owner}`);
	}
	const id = known?.id ?? (moment.newId() as ServiceId);
	const labelled = { ...document, Labels: { ...document.Labels, ...ours } };
	const made = readDocument(snapshot, moment, id, { ...part, document: labelled });
	if (known && known.spec.mode.kind !== made.spec.mode.kind) {
		throw invalid(
			`${known.spec.name} is ${known.spec.mode.kind} and cannot become ${made.spec.mode.kind}: remove it first (docker service rm ${known.spec.name})`,
		);
	}
	return { known, id, ...made };
}

/** As `docker stack deploy` sends it, which keeps the count of forced updates; files at the stack's own contents. */
function readDocument(
	snapshot: Snapshot,
	moment: Moment,
	id: ServiceId,
	{ application, stack, document, known }: Part,
): Pick<Made, "spec" | "document"> {
	const value: ServiceDocument = {
		...document,
		TaskTemplate: {
			...document.TaskTemplate,
			ForceUpdate: known?.spec.template.forceUpdate ?? 0,
		},
	};
	const made = fromEngine({ value, unknown: [] }, around(snapshot, id, moment));
	const spec = withFiles(made.spec, stack);
	return {
		document: made.document,
		spec: stack.isStrangers ? spec : withLogin(spec, known, application),
	};
}

function withFiles(spec: ServiceSpec, stack: Stack): ServiceSpec {
	const { container } = spec.template;
	if (!container.files) return spec;
	const files = container.files.map((file) => {
		const own = stack.files.find(({ material }) => material === file.material);
		return own ? { ...file, version: own.version, templating: own.templating } : file;
	});
	return { ...spec, template: { ...spec.template, container: { ...container, files } } };
}
