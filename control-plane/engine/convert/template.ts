// A task's template, from Docker's `TaskTemplate`: what a container is made from, and where it may run.
//
// Refuses what Docker's manager refuses, in its words; what we cannot act on is convert/warnings.ts's to say.

import { parseAddress } from "../../../model/cidr.ts";
import type { NetworkId } from "../../../model/id.ts";
import type {
	ContainerSpec,
	Mount,
	Placement,
	Resources,
	RestartPolicy,
	TaskTemplate,
} from "../../../model/service.ts";
import { parseConstraint } from "../../manager/scheduler/constraint.ts";
import { badArgument, unimplemented } from "../errors.ts";
import { parseReference } from "../reference.ts";
import type {
	ContainerDocument,
	MountDocument,
	ResourcesDocument,
	TemplateDocument,
} from "./document.ts";
import { msOf } from "./time.ts";

/** The shortest time that Docker takes for anything about health checks. */
const tickNs = 1e6;

export function templateOf(
	document: TemplateDocument,
	networks: TaskTemplate["networks"],
): TaskTemplate {
	const { ContainerSpec: container, Resources: resources, Placement: placement } = document;
	if (document.PluginSpec || document.NetworkAttachmentSpec || document.Runtime === "plugin") {
		throw unimplemented("RuntimeUnsupported: only the container runtime is supported");
	}
	return {
		container: containerOf(container ?? {}),
		limits: resourcesOf(resources?.Limits),
		reservations: resourcesOf(resources?.Reservations),
		...genericOf(resources?.Reservations?.GenericResources ?? []),
		restart: restartOf(document.RestartPolicy),
		placement: placementOf(placement),
		networks,
		forceUpdate: document.ForceUpdate ?? 0,
		logDriver: document.LogDriver
			? { name: document.LogDriver.Name ?? "", options: document.LogDriver.Options ?? {} }
			: null,
	};
}

function containerOf(document: ContainerDocument): ContainerSpec {
	const image = document.Image ?? "";
	if (image === "") throw badArgument("ContainerSpec: image reference must be provided");
	if (typeof parseReference(image) === "string") {
		throw badArgument(`ContainerSpec: ${JSON.stringify(image)} is not a valid repository/tag`);
	}
	const stopGraceNs = document.StopGracePeriod ?? 10e9;
	if (stopGraceNs < 0) throw badArgument("ContainerSpec: stop-grace-period cannot be negative");
	return {
		image,
		command: document.Command ?? [],
		args: document.Args ?? [],
		env: document.Env ?? [],
		labels: document.Labels ?? {},
		dir: document.Dir ?? "",
		user: document.User ?? "",
		groups: document.Groups ?? [],
		hostname: document.Hostname ?? "",
		tty: document.TTY ?? false,
		openStdin: document.OpenStdin ?? false,
		readOnly: document.ReadOnly ?? false,
		init: document.Init ?? null,
		stopSignal: document.StopSignal ?? "",
		stopGraceMs: msOf(stopGraceNs),
		mounts: mountsOf(document.Mounts ?? []),
		healthcheck: healthcheckOf(document.Healthcheck),
		hosts: document.Hosts ?? [],
		dns: {
			nameservers: nameservers(document.DNSConfig?.Nameservers ?? []),
			search: document.DNSConfig?.Search ?? [],
			options: document.DNSConfig?.Options ?? [],
		},
		capabilityAdd: document.CapabilityAdd ?? [],
		capabilityDrop: document.CapabilityDrop ?? [],
		sysctls: document.Sysctls ?? {},
		ulimits: (document.Ulimits ?? []).map((limit) => ({
			name: limit.Name ?? "",
			soft: limit.Soft ?? 0,
			hard: limit.Hard ?? 0,
		})),
		noNewPrivileges: document.Privileges?.NoNewPrivileges ?? false,
		oomScoreAdj: document.OomScoreAdj ?? 0,
	};
}

function nameservers(addresses: readonly string[]): readonly string[] {
	for (const address of addresses) {
		if (parseAddress(address) === undefined && !address.includes(":")) {
			throw badArgument(`DNSConfig: ${JSON.stringify(address)} is no IP address`);
		}
	}
	return addresses;
}

function mountsOf(documents: readonly MountDocument[]): Mount[] {
	const mounts = documents.map(mountOf);
	const targets = new Set<string>();
	for (const { target } of mounts) {
		if (targets.has(target)) throw badArgument(`ContainerSpec: duplicate mount point: ${target}`);
		targets.add(target);
	}
	return mounts;
}

function mountOf(document: MountDocument): Mount {
	const { Type: type = "bind", Source: source = "", Target: target = "" } = document;
	const refuse = (why: string) =>
		badArgument(`invalid mount config for type ${JSON.stringify(type)}: ${why}`);
	if (type !== "bind" && type !== "volume" && type !== "tmpfs") {
		throw badArgument(`mount type unknown: ${JSON.stringify(type)}: use bind, volume or tmpfs`);
	}
	if (target === "") throw refuse("field Target must not be empty");
	if (!target.startsWith("/")) {
		throw refuse(`invalid mount path: '${target}' mount path must be absolute`);
	}
	if (type === "bind" && source === "") throw refuse("field Source must not be empty");
	if (type === "bind" && !source.startsWith("/") && !source.startsWith("{{")) {
		throw refuse(`invalid mount path: '${source}' mount path must be absolute`);
	}
	if (type === "tmpfs" && source !== "") throw refuse("field Source must not be specified");
	const { BindOptions: bind, VolumeOptions: volume, TmpfsOptions: tmpfs } = document;
	return {
		type,
		source,
		target,
		readOnly: document.ReadOnly ?? false,
		...(bind?.Propagation && { propagation: bind.Propagation }),
		...(type === "volume" &&
			volume && {
				volume: {
					driver: volume.DriverConfig?.Name ?? "",
					driverOptions: volume.DriverConfig?.Options ?? {},
					labels: volume.Labels ?? {},
					noCopy: volume.NoCopy ?? false,
				},
			}),
		...(type === "tmpfs" &&
			tmpfs && { tmpfs: { sizeBytes: tmpfs.SizeBytes ?? 0, mode: tmpfs.Mode ?? 0 } }),
	};
}

function healthcheckOf(document: ContainerDocument["Healthcheck"]): ContainerSpec["healthcheck"] {
	if (!document) return null;
	const duration = (name: "Interval" | "Timeout" | "StartPeriod") => {
		const value = document[name] ?? 0;
		if (value !== 0 && value < tickNs) {
			throw badArgument(`ContainerSpec: ${name} in HealthConfig cannot be less than 1ms`);
		}
		return msOf(value);
	};
	const retries = document.Retries ?? 0;
	if (retries < 0) {
		throw badArgument("ContainerSpec: Retries in HealthConfig cannot be negative");
	}
	return {
		test: document.Test ?? [],
		intervalMs: duration("Interval"),
		timeoutMs: duration("Timeout"),
		startPeriodMs: duration("StartPeriod"),
		retries,
	};
}

function resourcesOf(document: ResourcesDocument | undefined): Resources {
	const { NanoCPUs: nanoCpus = 0, MemoryBytes: memoryBytes = 0, Pids: pids = 0 } = document ?? {};
	if (nanoCpus !== 0 && nanoCpus < 1e6) {
		throw badArgument(`invalid cpu value ${nanoCpus / 1e9}: Must be at least 0.001`);
	}
	if (memoryBytes !== 0 && memoryBytes < 4 * 1024 * 1024) {
		throw badArgument(`invalid memory value ${memoryBytes}: Must be at least 4MiB`);
	}
	// Docker takes -1 for "no limit" here.
	return { nanoCpus, memoryBytes, pids: Math.max(pids, 0) };
}

/** By count only, as in Docker: which ones a task gets is the scheduler's to choose. */
function genericOf(
	documents: NonNullable<ResourcesDocument["GenericResources"]>,
): Pick<TaskTemplate, "genericReservations"> {
	const wanted: Record<string, number> = {};
	for (const { NamedResourceSpec: named, DiscreteResourceSpec: discrete } of documents) {
		const { Kind: kind = "", Value: value = 0 } = discrete ?? {};
		if (named || kind === "" || value < 1) {
			const what = named ? `${named.Kind}=${named.Value}` : `${kind}=${value}`;
			throw badArgument(
				`invalid Reservations.GenericResources: ${JSON.stringify(what)}: a kind and how many of it, as in "gpu=2"`,
			);
		}
		if (wanted[kind] !== undefined) {
			throw badArgument(`invalid Reservations.GenericResources: ${kind} stands there twice`);
		}
		wanted[kind] = value;
	}
	return Object.keys(wanted).length > 0 ? { genericReservations: wanted } : {};
}

function restartOf(document: TemplateDocument["RestartPolicy"]): RestartPolicy {
	const { Condition: condition, Delay: delay = 5e9, Window: window = 0 } = document ?? {};
	if (delay < 0) throw badArgument("TaskSpec: restart-delay cannot be negative");
	if (window < 0) throw badArgument("TaskSpec: restart-window cannot be negative");
	return {
		condition: conditionOf(condition ?? ""),
		delayMs: msOf(delay),
		maxAttempts: document?.MaxAttempts ?? 0,
		windowMs: msOf(window),
	};
}

function conditionOf(text: string): RestartPolicy["condition"] {
	if (text === "") return "any";
	if (text === "any" || text === "none" || text === "on-failure") return text;
	throw badArgument(`invalid RestartPolicy: ${JSON.stringify(text)}: use any, none or on-failure`);
}

function placementOf(document: TemplateDocument["Placement"]): Placement {
	const constraints = document?.Constraints ?? [];
	for (const text of constraints) {
		const parsed = parseConstraint(text);
		if (parsed.kind === "malformed") throw badArgument(parsed.message);
	}
	return {
		constraints,
		spreads: (document?.Preferences ?? []).flatMap(
			(preference) => preference.Spread?.SpreadDescriptor ?? [],
		),
		maxReplicasPerNode: document?.MaxReplicas ?? 0,
		platforms: (document?.Platforms ?? []).map((platform) => ({
			os: platform.OS ?? "",
			architecture: platform.Architecture ?? "",
		})),
	};
}

/** By name or id: the CLI sends ids, compose files and SDKs send names. */
export function networksOf(
	documents: TemplateDocument["Networks"],
	resolve: (asked: string) => NetworkId,
): TaskTemplate["networks"] {
	const networks = (documents ?? []).map((document) => ({
		network: resolve(document.Target ?? ""),
		aliases: document.Aliases ?? [],
	}));
	const seen = new Set<NetworkId>();
	return networks.filter(({ network }) => !seen.has(network) && seen.add(network));
}
