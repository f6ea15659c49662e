// Services between Docker's JSON and ours.
//
// `fromEngine` gives the spec that we act on and the document that is shown and sent back; `toEngine` is the inverse,
// with what we know of the service besides.

import { invalid } from "../../../model/errors.ts";
import type { NetworkId, ServiceId } from "../../../model/id.ts";
import { type Network, vipHolder } from "../../../model/network.ts";
import { type Node, nodeName } from "../../../model/node.ts";
import {
	type Document,
	isJob,
	type Mode,
	type PortSpec,
	type Protocol,
	type Service,
	type ServiceSpec,
	type UpdatePolicy,
} from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import { isTerminal } from "../../../model/taskstate.ts";
import type { Body } from "../body.ts";
import { badArgument } from "../errors.ts";
import type { PortDocument, ServiceDocument, UpdateDocument } from "./document.ts";
import { type FindMaterial, filesOf, refuseSharedTargets } from "./files.ts";
import { checkJob, jobModeOf, showJob, showJobStatus, tallyOf } from "./job.ts";
import { checkOwnLabels } from "./labels.ts";
import { nameFor } from "./names.ts";
import { showPort } from "./port.ts";
import { isRolloutLabel, rolloutLabels } from "./rollout.ts";
import { shownState } from "./state.ts";
import { networksOf, templateOf } from "./template.ts";
import { msOf, timestamp } from "./time.ts";
import { warningsOf } from "./warnings.ts";

/** What a spec is read against. */
export interface Surroundings {
	readonly id: ServiceId;
	/** Throws where there is none of that name or id. */
	findNetwork(asked: string): Network;
	isNameTaken(name: string): boolean;
	readonly nowMs: number;
	readonly findMaterial: FindMaterial;
}

export interface ReadSpec {
	readonly spec: ServiceSpec;
	readonly document: Document;
	readonly warnings: readonly string[];
}

export function fromEngine(body: Body<ServiceDocument>, around: Surroundings): ReadSpec {
	const asked = body.value;
	if (!asked.TaskTemplate?.ContainerSpec && !isForeign(asked)) {
		throw invalid("mismatched Runtime and *Spec fields");
	}
	const name = asked.Name || nameFor(around.id, around.isNameTaken);
	checkName(name);
	const mode = modeOf(asked.Mode);
	const resolve = (text: string): NetworkId => attachable(around.findNetwork(text));
	const networkDocuments = asked.TaskTemplate?.Networks ?? asked.Networks;
	const networks = networksOf(networkDocuments, resolve);
	const plain = templateOf(asked.TaskTemplate ?? {}, networks);
	const files = filesOf(asked.TaskTemplate?.ContainerSpec ?? {}, around.findMaterial);
	refuseSharedTargets(files, plain.container.mounts);
	const template =
		files.length > 0 ? { ...plain, container: { ...plain.container, files } } : plain;
	const endpointMode = endpointModeOf(asked.EndpointSpec?.Mode);
	const ports = portsOf(asked.EndpointSpec?.Ports ?? [], endpointMode);
	if (ports.some((port) => port.mode === "ingress")) refuseInternalOnly(networks, around);
	const labels = withoutShown(asked.Labels);
	checkOwnLabels(labels);
	checkJob(mode, labels, asked.UpdateConfig, around.nowMs);
	const spec: ServiceSpec = {
		name,
		labels,
		mode,
		template,
		endpointMode,
		ports,
		update: policyOf(asked.UpdateConfig, "update"),
		rollback: policyOf(asked.RollbackConfig, "rollback"),
		...rebalanceOf(labels, mode),
	};
	const { Networks: _moved, ...rest } = asked;
	const document: ServiceDocument = {
		...rest,
		...withoutBlanks(rest),
		Name: name,
		Labels: labels,
		TaskTemplate: {
			...asked.TaskTemplate,
			ContainerSpec: { Isolation: "default", ...asked.TaskTemplate?.ContainerSpec },
			...(networkDocuments && {
				Networks: networkDocuments.map((network) => ({
					...network,
					Target: resolve(network.Target ?? ""),
				})),
			}),
			ForceUpdate: template.forceUpdate,
			Runtime: "container",
		},
		Mode: showMode(mode),
	};
	return { spec, document, warnings: warningsOf(document, body.unknown) };
}

/** Of what is there, Docker fills in what is chosen by a word; clients wait for some of these. */
function withoutBlanks(asked: ServiceDocument): ServiceDocument {
	const { UpdateConfig: update, RollbackConfig: rollback, EndpointSpec: endpoint } = asked;
	const policy = (document: UpdateDocument) => ({
		...document,
		FailureAction: document.FailureAction || "pause",
		Order: document.Order || "stop-first",
	});
	return {
		...(update && { UpdateConfig: policy(update) }),
		...(rollback && { RollbackConfig: policy(rollback) }),
		...(endpoint && { EndpointSpec: { ...endpoint, Mode: endpoint.Mode || "vip" } }),
	};
}

const isForeign = ({ TaskTemplate: template }: ServiceDocument) =>
	Boolean(template?.PluginSpec ?? template?.NetworkAttachmentSpec);

const dnsName = /^[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*$/;

function checkName(name: string): void {
	if (!dnsName.test(name)) throw badArgument("name must be valid as a DNS name component");
	if (name.length > 63) throw badArgument("name must be 63 characters or fewer");
}

function modeOf(document: ServiceDocument["Mode"]): Mode {
	const { Replicated, Global, ReplicatedJob, GlobalJob } = document ?? {};
	if ([Replicated, Global, ReplicatedJob, GlobalJob].filter(Boolean).length > 1) {
		throw badArgument("must specify only one service mode");
	}
	if (Global) return { kind: "global" };
	return (
		jobModeOf({ ReplicatedJob, GlobalJob }) ?? {
			kind: "replicated",
			replicas: Replicated?.Replicas ?? 1,
		}
	);
}

function showMode(mode: Mode): ServiceDocument["Mode"] {
	if (isJob(mode)) return showJob(mode);
	return mode.kind === "global" ? { Global: {} } : { Replicated: { Replicas: mode.replicas } };
}

function attachable(network: Network): NetworkId {
	if (network.ingress) {
		throw badArgument(
			`Service cannot be explicitly attached to the ingress network ${JSON.stringify(network.name)}`,
		);
	}
	return network.id;
}

function endpointModeOf(text: string | undefined): ServiceSpec["endpointMode"] {
	if (text === undefined || text === "" || text === "vip") return "vip";
	if (text === "dnsrr") return "dnsrr";
	throw badArgument(`invalid EndpointSpec: ${JSON.stringify(text)}: Mode is vip or dnsrr`);
}

function portsOf(
	documents: readonly PortDocument[],
	mode: ServiceSpec["endpointMode"],
): readonly PortSpec[] {
	const ports = documents.map(portOf);
	const seen = new Set<string>();
	for (const port of ports) {
		if (mode === "dnsrr" && port.mode === "ingress") {
			throw badArgument(
				"EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
			);
		}
		if (port.published === 0) continue;
		const key = `${port.published}/${port.protocol}`;
		if (seen.has(key)) throw badArgument("EndpointSpec: duplicate published ports provided");
		seen.add(key);
	}
	return ports;
}

function portOf(document: PortDocument): PortSpec {
	const { TargetPort: target = 0, PublishedPort: published = 0 } = document;
	if (target < 1 || target > 65535) {
		throw badArgument(`EndpointSpec: invalid target port ${target}: 1 to 65535`);
	}
	if (published > 65535) {
		throw badArgument(`EndpointSpec: invalid published port ${published}: 0 to 65535`);
	}
	return {
		name: document.Name ?? "",
		protocol: protocolOf(document.Protocol),
		target,
		published,
		mode: publishModeOf(document.PublishMode),
	};
}

function protocolOf(text: string | undefined): Protocol {
	const lower = (text || "tcp").toLowerCase();
	if (lower === "tcp" || lower === "udp" || lower === "sctp") return lower;
	throw badArgument(`EndpointSpec: invalid protocol ${JSON.stringify(text)}: tcp, udp or sctp`);
}

function publishModeOf(text: string | undefined): PortSpec["mode"] {
	if (text === undefined || text === "" || text === "ingress") return "ingress";
	if (text === "host") return "host";
	throw badArgument(`EndpointSpec: invalid publish mode ${JSON.stringify(text)}: ingress or host`);
}

/** A published port needs a way in, and its answers a way out: an internal network gives neither. */
function refuseInternalOnly(
	networks: ServiceSpec["template"]["networks"],
	around: Surroundings,
): void {
	const all = networks.map(({ network }) => around.findNetwork(network));
	if (all.length === 0 || all.some((network) => !network.internal)) return;
	throw badArgument(
		`EndpointSpec: network ${all[0]?.name} is internal, so the service can not publish ports: ` +
			"attach it to a network that is not internal too, or drop the published ports",
	);
}

function policyOf(
	document: UpdateDocument | undefined,
	which: "update" | "rollback",
): UpdatePolicy {
	const ratio = document?.MaxFailureRatio ?? 0;
	if ((document?.Delay ?? 0) < 0) throw badArgument(`TaskSpec: ${which}-delay cannot be negative`);
	if ((document?.Monitor ?? 0) < 0) {
		throw badArgument(`TaskSpec: ${which}-monitor cannot be negative`);
	}
	if (ratio < 0 || ratio > 1) {
		throw badArgument(`TaskSpec: ${which}-maxfailureratio cannot be less than 0 or bigger than 1`);
	}
	return {
		parallelism: document?.Parallelism ?? (document ? 0 : 1),
		delayMs: msOf(document?.Delay ?? 0),
		failureAction: failureActionOf(document?.FailureAction, which),
		monitorMs: msOf(document?.Monitor || 5e9),
		maxFailureRatio: ratio,
		order: orderOf(document?.Order, which),
	};
}

function rebalanceOf(
	labels: Readonly<Record<string, string>>,
	mode: Mode,
): Pick<ServiceSpec, "rebalance"> {
	const { [rebalanceLabel]: order } = labels;
	if (order === undefined) return {};
	if (order !== "start-first" && order !== "stop-first") {
		throw badArgument(
			`label ${rebalanceLabel}: ${JSON.stringify(order)}: start-first (no gap, another address) or stop-first (a gap, the same address)`,
		);
	}
	if (mode.kind !== "replicated") {
		throw badArgument(`label ${rebalanceLabel}: only replicated services can be rebalanced`);
	}
	return { rebalance: order };
}

const rebalanceLabel = "skein.rebalance";

function failureActionOf(
	text: string | undefined,
	which: "update" | "rollback",
): UpdatePolicy["failureAction"] {
	if (text === undefined || text === "" || text === "pause") return "pause";
	if (text === "continue") return "continue";
	if (text === "rollback" && which === "update") return "rollback";
	throw badArgument(`unrecognized ${which} failure action ${text}`);
}

function orderOf(text: string | undefined, which: "update" | "rollback"): UpdatePolicy["order"] {
	if (text === undefined || text === "" || text === "stop-first") return "stop-first";
	if (text === "start-first") return "start-first";
	throw badArgument(`unrecognized ${which} order ${text}: stop-first or start-first`);
}

/** What makes a task of an older template dirty: the template, its host ports, and whether it hangs on the ingress. */
export function taskMeaning(spec: ServiceSpec): string {
	return JSON.stringify(
		sorted([spec.template, hostPorts(spec), spec.ports.some((port) => port.mode === "ingress")]),
	);
}

export function hostPorts(spec: ServiceSpec): readonly PortSpec[] {
	return spec.ports.filter((port) => port.mode === "host");
}

function sorted(value: unknown): unknown {
	if (Array.isArray(value)) return value.map(sorted);
	if (typeof value !== "object" || value === null) return value;
	const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
	return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

// --- and back

export interface Shown {
	readonly insertDefaults?: boolean;
	readonly status?: boolean;
}

export function toEngine(service: Service, snapshot: Snapshot, shown: Shown = {}): Document {
	const show = (document: Document) => (shown.insertDefaults ? withDefaults(document) : document);
	const spec = show(service.document) as ServiceDocument;
	const labels = shown.insertDefaults && {
		...backendLabels(service, snapshot),
		...rolloutLabels(service, snapshot),
	};
	return {
		ID: service.id,
		Version: { Index: service.specVersion },
		CreatedAt: timestamp(service.createdMs),
		UpdatedAt: timestamp(service.updatedMs),
		Spec: labels ? { ...spec, Labels: { ...spec.Labels, ...labels } } : spec,
		...(service.previous && { PreviousSpec: show(service.previous.document) }),
		Endpoint: endpointOf(service, snapshot),
		...(service.updateStatus && { UpdateStatus: updateStatusOf(service.updateStatus) }),
		...showJobStatus(service),
		...(shown.status && { ServiceStatus: statusOf(service, snapshot) }),
	};
}

function endpointOf(service: Service, snapshot: Snapshot): Document {
	const { spec } = service;
	const addresses = spec.template.networks.flatMap(({ network }) => {
		const lease = snapshot.leaseOf(network, vipHolder(service.id));
		return lease ? [{ NetworkID: network, Addr: inNetwork(snapshot, network, lease.address) }] : [];
	});
	const hasFace = spec.template.networks.length > 0 || spec.ports.length > 0;
	return {
		Spec: hasFace
			? {
					Mode: spec.endpointMode,
					...(spec.ports.length > 0 && { Ports: spec.ports.map(showPort) }),
				}
			: {},
		...(service.ports.length > 0 && { Ports: service.ports.map(showPort) }),
		...(addresses.length > 0 && { VirtualIPs: addresses }),
		...(hasFace && { Backends: backendsOf(service, snapshot) }),
	};
}

/** Ours, not Docker's: who answers behind the service's address. */
function backendsOf(service: Service, snapshot: Snapshot): Document[] {
	return [...snapshot.tasksOfService(service.id).values()]
		.filter((task) => task.serving && task.node !== null)
		.sort(bySlot)
		.map((task) => {
			const node = task.node === null ? undefined : snapshot.nodes.get(task.node);
			const at =
				task.attachments.find(({ network }) => !snapshot.networks.get(network)?.ingress) ??
				task.attachments[0];
			return {
				...(at && {
					Address: inNetwork(snapshot, at.network, at.address),
					NetworkID: at.network,
				}),
				Task: task.id,
				...(task.slot > 0 && { Slot: task.slot }),
				NodeID: task.node,
				Node: node ? nodeName(node) : task.node,
				State: task.status.state,
				Health: task.status.health,
			};
		});
}

/**
 * The same for `docker service inspect`, which drops what it does not know: as labels, in the answer that fills in
 * defaults and that no client sends back. Should one do so all the same, `fromEngine` takes them out again.
 */
function backendLabels(service: Service, snapshot: Snapshot): Readonly<Record<string, string>> {
	return Object.fromEntries(
		backendsOf(service, snapshot).map((backend) => [
			`${backendPrefix}${backend["Slot"] ?? backend["Node"]}`,
			`${backend["Address"] ?? "no address"} on ${backend["Node"]}, ${backend["State"]}${
				backend["Health"] === "none" ? "" : `, ${backend["Health"]}`
			}`,
		]),
	);
}

const backendPrefix = "skein.backend.";

function withoutShown(labels: Readonly<Record<string, string>> = {}): Record<string, string> {
	const own = Object.entries(labels).filter(
		([key]) => !key.startsWith(backendPrefix) && !isRolloutLabel(key),
	);
	return Object.fromEntries(own);
}

const bySlot = (a: Task, b: Task) => a.slot - b.slot || (a.id < b.id ? -1 : 1);

/** With the network's prefix, as Docker shows addresses. */
export function inNetwork(snapshot: Snapshot, network: NetworkId, address: string): string {
	const [, prefix = "32"] = (snapshot.networks.get(network)?.subnet ?? "").split("/");
	return `${address}/${prefix}`;
}

function updateStatusOf(status: NonNullable<Service["updateStatus"]>): Document {
	return {
		State: status.state,
		StartedAt: timestamp(status.startedMs),
		...(status.completedMs !== null && { CompletedAt: timestamp(status.completedMs) }),
		Message: status.message,
	};
}

function statusOf(service: Service, snapshot: Snapshot): Document {
	const tasks = [...snapshot.tasksOfService(service.id).values()];
	const wanted = tasks.filter((task) => !isTerminal(task.desired) && task.desired !== "shutdown");
	const running = wanted.filter(
		(task) => shownState(task) === "running" && !isDown(task, snapshot.nodes),
	);
	const { mode } = service.spec;
	return {
		RunningTasks: running.length,
		...(isJob(mode)
			? tallyOf(service, mode, tasks)
			: {
					DesiredTasks: mode.kind === "replicated" ? mode.replicas : wanted.length,
					CompletedTasks: 0,
				}),
	};
}

const isDown = (task: Task, nodes: ReadonlyMap<string, Node>) =>
	task.node !== null && nodes.get(task.node)?.status.state === "down";

/** What Docker fills in where the user said nothing, for `?insertDefaults=true` only. */
function withDefaults(document: Document): Document {
	const spec = document as ServiceDocument;
	const { TaskTemplate: template } = spec;
	const isOfJob = Boolean(spec.Mode?.ReplicatedJob ?? spec.Mode?.GlobalJob);
	return {
		...spec,
		TaskTemplate: {
			...template,
			ContainerSpec: { StopGracePeriod: 10e9, DNSConfig: {}, ...template?.ContainerSpec },
			Resources: template?.Resources ?? {},
			RestartPolicy: {
				Condition: isOfJob ? "on-failure" : "any",
				Delay: 5e9,
				MaxAttempts: 0,
				...template?.RestartPolicy,
			},
			Placement: template?.Placement ?? {},
		},
		// A job may have none, so that a client could not send it back.
		...(!isOfJob && {
			UpdateConfig: spec.UpdateConfig ?? defaultPolicy,
			RollbackConfig: spec.RollbackConfig ?? defaultPolicy,
		}),
		EndpointSpec: { Mode: "vip", ...spec.EndpointSpec },
	};
}

const defaultPolicy = {
	Parallelism: 1,
	FailureAction: "pause",
	Monitor: 5e9,
	MaxFailureRatio: 0,
	Order: "stop-first",
};
