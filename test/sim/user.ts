// The user: creates, scales, updates and removes services, drains and labels nodes, at random and without patience.
//
// Writes what the Engine API's door would write for the same command, and nothing that the planner decides.

import { template } from "../../control-plane/manager/scheduler/schedule.test-data.ts";
import type { Change } from "../../model/change.ts";
import type { NetworkId, ServiceId } from "../../model/id.ts";
import type { PortSpec, Service, ServiceSpec, UpdatePolicy } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Dice } from "./random.ts";

export interface Command {
	/** As one would type it. */
	readonly words: string;
	changes(snapshot: Snapshot, nowMs: number): readonly Change[];
}

/** What the user may think of next. */
export function anyCommand(dice: Dice, snapshot: Snapshot): Command {
	const services = [...snapshot.services.values()].filter(({ removing }) => !removing);
	const service = services.length > 0 ? dice.pick(services) : undefined;
	if (!service || (services.length < 4 && dice.chance(0.3))) return create(dice);
	const turn = dice.next();
	if (turn < 0.3) return scale(dice, service);
	if (turn < 0.55) return update(dice, service);
	if (turn < 0.65) return remove(service);
	return nodeUpdate(dice, snapshot);
}

/** Ends what the user left half done, so that everything can converge: paused nodes run tasks again, drained ones perhaps. */
export function tidyUp(snapshot: Snapshot, drainedToo: boolean): Command[] {
	const left = [...snapshot.nodes.values()].filter(
		({ spec }) => drainedToo || spec.availability === "pause",
	);
	return left.map((node) => ({
		words: `docker node update --availability active ${node.description.hostname}`,
		changes: (now) => {
			const known = now.nodes.get(node.id);
			if (!known || known.spec.availability === "active") return [];
			return [
				{ kind: "put-node", node: { ...known, spec: { ...known.spec, availability: "active" } } },
			];
		},
	}));
}

function create(dice: Dice): Command {
	const id = dice.id() as ServiceId;
	const spec = anySpec(dice, `web-${id.slice(0, 4)}`);
	return {
		words: `docker service create --name ${spec.name}`,
		changes: (snapshot, nowMs) => {
			// The door refuses a port that is taken.
			const taken = [...snapshot.services.values()].flatMap(({ ports }) => ports.map(portKey));
			if (spec.ports.map(portKey).some((key) => key && taken.includes(key))) return [];
			const service: Service = {
				id,
				spec,
				document: {},
				specVersion: 1,
				templateVersion: 1,
				previous: null,
				ports: spec.ports,
				updateStatus: null,
				createdMs: nowMs,
				updatedMs: nowMs,
				removing: false,
			};
			return [{ kind: "put-service", service }, ...templateOf(service)];
		},
	};
}

const portKey = ({ mode, published }: PortSpec) =>
	mode === "ingress" && published > 0 ? published : undefined;

function scale(dice: Dice, { id, spec }: Service): Command {
	const replicas = dice.between(0, 5);
	return {
		words: `docker service scale ${spec.name}=${replicas}`,
		changes: (snapshot, nowMs) => {
			const service = snapshot.services.get(id);
			if (!service || service.removing || service.spec.mode.kind === "global") return [];
			return changed(service, { ...service.spec, mode: { kind: "replicated", replicas } }, nowMs);
		},
	};
}

function update(dice: Dice, { id, spec }: Service): Command {
	const force = dice.chance(0.3);
	const image = `image:${dice.between(1, 99)}`;
	const policy = anyPolicy(dice);
	return {
		words: `docker service update ${force ? "--force" : `--image ${image}`} ${spec.name}`,
		changes: (snapshot, nowMs) => {
			const service = snapshot.services.get(id);
			if (!service || service.removing) return [];
			const { template } = service.spec;
			const next = force
				? { ...template, forceUpdate: template.forceUpdate + 1 }
				: { ...template, container: { ...template.container, image } };
			return changed(service, { ...service.spec, template: next, update: policy }, nowMs);
		},
	};
}

function remove({ id, spec }: Service): Command {
	return {
		words: `docker service rm ${spec.name}`,
		changes: (snapshot, nowMs) => {
			const service = snapshot.services.get(id);
			if (!service) return [];
			return [{ kind: "put-service", service: { ...service, removing: true, updatedMs: nowMs } }];
		},
	};
}

function nodeUpdate(dice: Dice, snapshot: Snapshot): Command {
	const { id, description } = dice.pick([...snapshot.nodes.values()]);
	const availability = dice.pick(["active", "active", "drain", "pause"] as const);
	const zone = dice.pick(["a", "b"]);
	const relabel = dice.chance(0.3);
	return {
		words: `docker node update ${relabel ? `--label-add zone=${zone}` : `--availability ${availability}`} ${description.hostname}`,
		changes: (now, nowMs) => {
			const node = now.nodes.get(id);
			if (!node) return [];
			const spec = relabel
				? { ...node.spec, labels: { ...node.spec.labels, zone } }
				: { ...node.spec, availability };
			return [
				{
					kind: "put-node",
					node: { ...node, spec, specVersion: node.specVersion + 1, updatedMs: nowMs },
				},
			];
		},
	};
}

function changed(service: Service, spec: ServiceSpec, nowMs: number): Change[] {
	const dirty = JSON.stringify(spec.template) !== JSON.stringify(service.spec.template);
	const next: Service = {
		...service,
		spec,
		specVersion: service.specVersion + 1,
		templateVersion: service.templateVersion + (dirty ? 1 : 0),
		previous: { spec: service.spec, document: service.document },
		updateStatus: dirty ? null : service.updateStatus,
		updatedMs: nowMs,
	};
	return [{ kind: "put-service", service: next }, ...(dirty ? templateOf(next) : [])];
}

function templateOf({ id, spec, templateVersion }: Service): Change[] {
	return [
		{
			kind: "put-template",
			template: {
				service: id,
				version: templateVersion,
				template: spec.template,
				hostPorts: spec.ports.filter(({ mode }) => mode === "host"),
				document: {},
			},
		},
	];
}

function anySpec(dice: Dice, name: string): ServiceSpec {
	const networks = (["net-a", "net-b"] as NetworkId[]).filter(() => dice.chance(0.5));
	const ports: PortSpec[] = [];
	if (dice.chance(0.4)) {
		const published = dice.chance(0.5) ? 0 : dice.between(8000, 8999);
		ports.push({ name: "", protocol: "tcp", target: 80, published, mode: "ingress" });
	}
	if (dice.chance(0.1)) {
		const published = dice.between(9000, 9002);
		ports.push({ name: "", protocol: "tcp", target: 81, published, mode: "host" });
	}
	const base = template({
		name,
		placement: {
			constraints: dice.chance(0.2) ? ["node.labels.zone==a"] : [],
			spreads: dice.chance(0.2) ? ["node.labels.zone"] : [],
			maxReplicasPerNode: dice.chance(0.15) ? dice.between(1, 2) : 0,
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
		name,
		labels: {},
		mode: dice.chance(0.2)
			? { kind: "global" }
			: { kind: "replicated", replicas: dice.between(0, 5) },
		template: {
			...base,
			container: { ...base.container, healthcheck: dice.chance(0.4) ? health : null },
			networks: networks.map((network) => ({ network, aliases: [] })),
			restart: {
				condition: dice.pick(["any", "any", "any", "on-failure", "none"]),
				delayMs: dice.pick([0, 1000, 5000]),
				maxAttempts: dice.chance(0.1) ? 3 : 0,
				windowMs: dice.chance(0.5) ? 0 : 30_000,
			},
		},
		endpointMode: dice.chance(0.2) && ports.length === 0 ? "dnsrr" : "vip",
		ports,
		update: anyPolicy(dice),
		rollback: anyPolicy(dice),
	};
}

function anyPolicy(dice: Dice): UpdatePolicy {
	return {
		parallelism: dice.between(0, 2),
		delayMs: dice.pick([0, 0, 2000]),
		failureAction: dice.pick(["pause", "continue", "rollback"]),
		monitorMs: dice.pick([0, 5000]),
		maxFailureRatio: dice.pick([0, 0.3]),
		order: dice.pick(["stop-first", "stop-first", "start-first"]),
	};
}
