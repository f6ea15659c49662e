// A service: what the user wants run. Its spec is the user's; the rest is what we know of it.

import type { ApplicationId, NetworkId, ServiceId } from "./id.ts";
import type { FileReference } from "./material.ts";
import type { Rollout } from "./rollout.ts";

export type Mode =
	| { readonly kind: "replicated"; readonly replicas: number }
	| { readonly kind: "global" }
	| JobMode;

/** What is run to its end, and not again. */
export type JobMode =
	| {
			readonly kind: "replicated-job";
			readonly totalCompletions: number;
			readonly maxConcurrent: number;
	  }
	| { readonly kind: "global-job" };

/** CPUs in billionths of one (NanoCPUs), memory in bytes, pids a count; 0 means none asked or no limit. */
export interface Resources {
	readonly nanoCpus: number;
	readonly memoryBytes: number;
	readonly pids: number;
}

export interface RestartPolicy {
	readonly condition: "none" | "on-failure" | "any";
	readonly delayMs: number;
	/** 0 is without bound. */
	readonly maxAttempts: number;
	/** Attempts are counted within this window; 0 is since ever. */
	readonly windowMs: number;
}

export interface Placement {
	/** As typed: `node.labels.zone==east`. */
	readonly constraints: readonly string[];
	/** Spread descriptors, outermost first: `node.labels.rack`. */
	readonly spreads: readonly string[];
	/** 0 is without bound. */
	readonly maxReplicasPerNode: number;
	/** Empty means any. */
	readonly platforms: readonly { readonly os: string; readonly architecture: string }[];
}

export interface Mount {
	readonly type: "bind" | "volume" | "tmpfs";
	readonly source: string;
	readonly target: string;
	readonly readOnly: boolean;
	readonly propagation?: string;
	readonly volume?: {
		readonly driver: string;
		readonly driverOptions: Readonly<Record<string, string>>;
		readonly labels: Readonly<Record<string, string>>;
		readonly noCopy: boolean;
	};
	readonly tmpfs?: { readonly sizeBytes: number; readonly mode: number };
}

export interface Healthcheck {
	/** Docker's form: ["NONE"], ["CMD", …], ["CMD-SHELL", …] or [] for the image's own. */
	readonly test: readonly string[];
	readonly intervalMs: number;
	readonly timeoutMs: number;
	readonly startPeriodMs: number;
	readonly retries: number;
}

export interface ContainerSpec {
	/** With its digest, where the registry gave one. */
	readonly image: string;
	/** Replaces the image's entry point; empty keeps it. */
	readonly command: readonly string[];
	readonly args: readonly string[];
	readonly env: readonly string[];
	readonly labels: Readonly<Record<string, string>>;
	readonly dir: string;
	readonly user: string;
	readonly groups: readonly string[];
	readonly hostname: string;
	readonly tty: boolean;
	readonly openStdin: boolean;
	readonly readOnly: boolean;
	readonly init: boolean | null;
	readonly stopSignal: string;
	readonly stopGraceMs: number;
	readonly mounts: readonly Mount[];
	/** Secrets and configs; absent for none. */
	readonly files?: readonly FileReference[];
	readonly healthcheck: Healthcheck | null;
	/** "IP name [alias…]", as in a hosts file. */
	readonly hosts: readonly string[];
	readonly dns: {
		readonly nameservers: readonly string[];
		readonly search: readonly string[];
		readonly options: readonly string[];
	};
	readonly capabilityAdd: readonly string[];
	readonly capabilityDrop: readonly string[];
	readonly sysctls: Readonly<Record<string, string>>;
	readonly ulimits: readonly {
		readonly name: string;
		readonly soft: number;
		readonly hard: number;
	}[];
	readonly noNewPrivileges: boolean;
	readonly oomScoreAdj: number;
}

export interface TaskTemplate {
	readonly container: ContainerSpec;
	readonly limits: Resources;
	readonly reservations: Resources;
	/** How many of each kind a task takes of its node's generic resources; absent for none. */
	readonly genericReservations?: Readonly<Record<string, number>>;
	readonly restart: RestartPolicy;
	readonly placement: Placement;
	/** Ids, never names; the ingress network is not listed here, it follows from the ports. */
	readonly networks: readonly {
		readonly network: NetworkId;
		readonly aliases: readonly string[];
	}[];
	/** Counts `docker service update --force`; any change of it makes tasks dirty. */
	readonly forceUpdate: number;
	readonly logDriver: {
		readonly name: string;
		readonly options: Readonly<Record<string, string>>;
	} | null;
}

export type Protocol = "tcp" | "udp" | "sctp";

export interface PortSpec {
	readonly name: string;
	readonly protocol: Protocol;
	readonly target: number;
	/** 0 asks the allocator for one. */
	readonly published: number;
	readonly mode: "ingress" | "host";
}

export interface UpdatePolicy {
	/** 0 is all at once. */
	readonly parallelism: number;
	readonly delayMs: number;
	readonly failureAction: "pause" | "continue" | "rollback";
	readonly monitorMs: number;
	readonly maxFailureRatio: number;
	readonly order: "stop-first" | "start-first";
}

export interface ServiceSpec {
	readonly name: string;
	readonly labels: Readonly<Record<string, string>>;
	readonly mode: Mode;
	readonly template: TaskTemplate;
	readonly endpointMode: "vip" | "dnsrr";
	readonly ports: readonly PortSpec[];
	readonly update: UpdatePolicy;
	readonly rollback: UpdatePolicy;
	/** What the image's registry wants to see, sealed: for the doors to open, opaque to all else. Absent for none. */
	readonly registryAuth?: string;
	/** Whose login at the image's registry comes before `registryAuth`: with the application's its services' changes. */
	readonly loginOf?: ApplicationId;
	/** `skein.rebalance`: tasks move to nodes that come back, in this order; absent, they stay where they are. */
	readonly rebalance?: UpdatePolicy["order"];
}

export interface UpdateStatus {
	readonly state:
		| "updating"
		| "paused"
		| "completed"
		| "rollback_started"
		| "rollback_paused"
		| "rollback_completed";
	readonly startedMs: number;
	readonly completedMs: number | null;
	readonly message: string;
}

/** One run of a job, Docker's job iteration: all that follows from its being started once. */
export interface JobRun {
	/** Counts the runs, from 0. */
	readonly iteration: number;
	/** `scheduled`: there was none yet. `complete` and `failed` are for good: what has ended so is not started again. */
	readonly state: "scheduled" | "running" | "complete" | "failed";
	/** 0 while there was none. */
	readonly startedMs: number;
	/** Why it failed, or why a run that was due was left out. */
	readonly message: string;
	/** When the next is due; null where no schedule says so. */
	readonly nextMs: number | null;
}

/** The user's own words: Docker's JSON, whole, opaque to all but the Engine API's door, so that specs round-trip. */
export type Document = Readonly<Record<string, unknown>>;

export interface Service {
	readonly id: ServiceId;
	readonly spec: ServiceSpec;
	readonly document: Document;
	/** Counts changes of the spec, and only those: what clients send back as `version`. */
	readonly specVersion: number;
	/** Counts changes of `spec.template` (and of host ports): a task of another version is dirty. */
	readonly templateVersion: number;
	readonly previous: { readonly spec: ServiceSpec; readonly document: Document } | null;
	/** The ports as published, the ones we chose filled in; same order as `spec.ports`. */
	readonly ports: readonly PortSpec[];
	readonly updateStatus: UpdateStatus | null;
	/** Of jobs only. */
	readonly job?: JobRun;
	/** Newest first; absent until the first. */
	readonly rollouts?: readonly Rollout[];
	readonly createdMs: number;
	readonly updatedMs: number;
	/** Set by `docker service rm`: the tasks wind down, then the service is forgotten. */
	readonly removing: boolean;
}

/** Neither an update nor a removal is under way. */
export function isSettled({ removing, updateStatus }: Service): boolean {
	return (
		!removing && updateStatus?.state !== "updating" && updateStatus?.state !== "rollback_started"
	);
}

/** Its slots are nodes. */
export function isGlobal({ kind }: Mode): boolean {
	return kind === "global" || kind === "global-job";
}

export function isJob(mode: Mode): mode is JobMode {
	return mode.kind === "replicated-job" || mode.kind === "global-job";
}

/** Time alone will start its next run. */
export function isScheduled({ job, removing }: Service): boolean {
	return !removing && job !== undefined && job.nextMs !== null;
}

/** One version of a service's template, kept while a task runs it. */
export interface TemplateVersion {
	readonly service: ServiceId;
	readonly version: number;
	readonly template: TaskTemplate;
	readonly hostPorts: readonly PortSpec[];
	readonly document: Document;
}
