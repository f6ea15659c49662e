// What users ask for: specs of services and jobs, as the door reads them.

import { template } from "../../control-plane/manager/scheduler/schedule.test-data.ts";
import type { MaterialId, NetworkId } from "../../model/id.ts";
import { deadlineLabel } from "../../model/labels.ts";
import { type FileReference, filesOf, type Material } from "../../model/material.ts";
import { scheduleLabel } from "../../model/schedule.ts";
import {
	type Document,
	isJob,
	type Mode,
	type PortSpec,
	type RestartPolicy,
	type ServiceSpec,
	type UpdatePolicy,
} from "../../model/service.ts";
import { badImage, goodImage } from "./images.ts";
import type { Dice } from "./random.ts";

export function anySpec(dice: Dice, name: string): ServiceSpec {
	const mode: Mode = dice.chance(0.2)
		? { kind: "global" }
		: { kind: "replicated", replicas: dice.between(0, 5) };
	const ports: PortSpec[] = [];
	if (dice.chance(0.4)) {
		const published = dice.chance(0.5) ? 0 : dice.between(8000, 8999);
		ports.push({ name: "", protocol: "tcp", target: 80, published, mode: "ingress" });
	}
	if (dice.chance(0.1)) {
		const published = dice.between(9000, 9002);
		ports.push({ name: "", protocol: "tcp", target: 81, published, mode: "host" });
	}
	return {
		name,
		labels: dice.chance(0.1) ? { [deadlineLabel]: "15s" } : {},
		mode,
		template: anyTemplate(dice, name, mode, {
			condition: dice.pick(["any", "any", "any", "on-failure", "none"]),
			delayMs: dice.pick([0, 1000, 5000]),
			maxAttempts: dice.chance(0.1) ? 3 : 0,
			windowMs: dice.chance(0.5) ? 0 : 30_000,
		}),
		endpointMode: dice.chance(0.2) && ports.length === 0 ? "dnsrr" : "vip",
		ports,
		update: anyPolicy(dice),
		rollback: anyPolicy(dice),
	};
}

export function anyJob(dice: Dice, name: string): ServiceSpec {
	const totalCompletions = dice.between(1, 4);
	const mode: Mode = dice.chance(0.35)
		? { kind: "global-job" }
		: { kind: "replicated-job", totalCompletions, maxConcurrent: dice.between(1, 3) };
	const isScheduled = dice.chance(0.15);
	return {
		name,
		labels: isScheduled
			? {
					[scheduleLabel]: dice.pick(["*/10 * * * * *", "*/7 * * * * *"]),
					[`${scheduleLabel}.overlap`]: dice.pick(["skip", "replace"]),
					[`${scheduleLabel}.catchup`]: dice.pick(["none", "latest"]),
				}
			: {},
		mode,
		template: anyTemplate(dice, name, mode, {
			condition: dice.pick(["any", "on-failure", "none"]),
			delayMs: dice.pick([0, 1000]),
			maxAttempts: dice.pick([0, 0, 1, 3]),
			windowMs: 0,
		}),
		endpointMode: "vip",
		ports: [],
		update: anyPolicy(dice),
		rollback: anyPolicy(dice),
	};
}

/** The one config there is; some services have it as a file. */
export const config: Material = {
	kind: "config",
	id: "config" as MaterialId,
	name: "settings",
	labels: {},
	versions: [{ number: 1, templating: false, createdMs: 1 }],
	specVersion: 1,
	document: {},
	createdMs: 1,
	updatedMs: 1,
};

/** Stands for Docker's JSON: says what the user said, which is nothing of the versions of contents. */
export function documentOf(spec: ServiceSpec): Document {
	const { template, mode, labels, update } = spec;
	const Configs = filesOf(template).map(({ name }) => name);
	const ContainerSpec = { ...template.container, files: Configs };
	return {
		TaskTemplate: { ...template, container: ContainerSpec },
		Mode: mode,
		Labels: labels,
		UpdateConfig: update,
	};
}

const configFile: FileReference = {
	kind: config.kind,
	name: config.name,
	material: config.id,
	version: 1,
	target: "/etc/settings",
	uid: 0,
	gid: 0,
	mode: 0o444,
	templating: false,
};

export function anyImage(dice: Dice, spec: Pick<ServiceSpec, "mode">, badness: number): string {
	return dice.chance(badness) ? badImage(dice, spec) : goodImage(dice, spec);
}

export function anyPolicy(dice: Dice): UpdatePolicy {
	return {
		parallelism: dice.between(0, 2),
		delayMs: dice.pick([0, 0, 2000]),
		failureAction: dice.pick(["pause", "pause", "continue", "rollback", "rollback"]),
		monitorMs: dice.pick([0, 5000]),
		maxFailureRatio: dice.pick([0, 0, 0.3]),
		order: dice.pick(["stop-first", "stop-first", "start-first"]),
	};
}

function anyTemplate(
	dice: Dice,
	name: string,
	mode: Mode,
	restart: RestartPolicy,
): ServiceSpec["template"] {
	const networks = (["net-a", "net-b"] as NetworkId[]).filter(() => dice.chance(0.5));
	const base = template({
		name,
		placement: {
			constraints: dice.chance(0.2) ? ["node.labels.zone==a"] : [],
			spreads: dice.chance(0.2) ? ["node.labels.zone"] : [],
			maxReplicasPerNode: dice.chance(0.15) && !isJob(mode) ? dice.between(1, 2) : 0,
		},
		nanoCpus: dice.chance(0.2) ? dice.between(1, 2) * 1e9 : 0,
	});
	const health = {
		test: ["CMD", "true"],
		intervalMs: 1000,
		timeoutMs: 1000,
		startPeriodMs: 0,
		retries: 3,
	};
	return {
		...base,
		container: {
			...base.container,
			image: anyImage(dice, { mode }, 0.05),
			healthcheck: !isJob(mode) && dice.chance(0.4) ? health : null,
			...(dice.chance(0.3) && { files: [configFile] }),
		},
		networks: networks.map((network) => ({ network, aliases: [] })),
		restart,
	};
}
