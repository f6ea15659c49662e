// A task that asks for nothing special, for tests to change.

import type { TaskAssignment } from "../../model/assignment.ts";
import type { ServiceId, TaskId } from "../../model/id.ts";
import type { ContainerSpec, TaskTemplate } from "../../model/service.ts";

const container: ContainerSpec = {
	image: "lab/busybox:1",
	command: [],
	args: [],
	env: [],
	labels: {},
	dir: "",
	user: "",
	groups: [],
	hostname: "",
	tty: false,
	openStdin: false,
	readOnly: false,
	init: null,
	stopSignal: "",
	stopGraceMs: 10_000,
	mounts: [],
	healthcheck: null,
	hosts: [],
	dns: { nameservers: [], search: [], options: [] },
	capabilityAdd: [],
	capabilityDrop: [],
	sysctls: {},
	ulimits: [],
	noNewPrivileges: false,
	oomScoreAdj: 0,
};

export function templateOf(
	changes: Partial<Omit<TaskTemplate, "container">> & {
		readonly container?: Partial<ContainerSpec>;
	} = {},
): TaskTemplate {
	return {
		limits: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
		reservations: { nanoCpus: 0, memoryBytes: 0, pids: 0 },
		restart: { condition: "any", delayMs: 5_000, maxAttempts: 0, windowMs: 0 },
		placement: { constraints: [], spreads: [], maxReplicasPerNode: 0, platforms: [] },
		networks: [],
		forceUpdate: 0,
		logDriver: null,
		...changes,
		container: { ...container, ...changes.container },
	};
}

export function taskOf(
	changes: Partial<Omit<TaskAssignment, "template">> & {
		readonly container?: Partial<ContainerSpec>;
		readonly template?: Parameters<typeof templateOf>[0];
	} = {},
): TaskAssignment {
	const { container: spec, template, ...rest } = changes;
	return {
		id: "task1" as TaskId,
		name: "web.1.task1",
		service: { id: "service1" as ServiceId, name: "web", labels: { tier: "front" } },
		slot: 1,
		generation: 1,
		desired: "running",
		attachments: [],
		hostPorts: [],
		...rest,
		template: templateOf({ ...template, ...(spec && { container: spec }) }),
	};
}
