// A task that asks for nothing special, for tests to change.

import type { ContainerSpec, TaskTemplate } from "./service.ts";

const nothing = { nanoCpus: 0, memoryBytes: 0, pids: 0 };

export function plainTemplate(image: string): TaskTemplate {
	return {
		container: plainContainer(image),
		limits: nothing,
		reservations: nothing,
		restart: { condition: "any", delayMs: 5_000, maxAttempts: 0, windowMs: 0 },
		placement: { constraints: [], spreads: [], maxReplicasPerNode: 0, platforms: [] },
		networks: [],
		forceUpdate: 0,
		logDriver: null,
	};
}

function plainContainer(image: string): ContainerSpec {
	return {
		image,
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
}
