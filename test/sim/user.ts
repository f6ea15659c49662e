// The user: creates, scales, updates, rolls back and removes services and jobs, drains and labels nodes, at random and
// without patience, and changes the config that some of them use.
//
// Writes what the Engine API's door would write for the same command, and nothing that the planner decides.

import { putSpec } from "../../control-plane/engine/services.ts";
import { firstRun } from "../../control-plane/manager/orchestrator/run.ts";
import type { Change, Moment } from "../../model/change.ts";
import type { ServiceId } from "../../model/id.ts";
import { filesOf, newestOf, withContent } from "../../model/material.ts";
import { isAboutSchedules } from "../../model/schedule.ts";
import { isJob, type PortSpec, type Service, type ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { goodImage, isHopeless } from "./images.ts";
import type { Dice } from "./random.ts";
import { anyImage, anyJob, anyPolicy, anySpec, config, documentOf } from "./specs.ts";

export interface Command {
	/** `service update`: what is counted. */
	readonly kind: string;
	/** As one would type it. */
	readonly words: string;
	changes(snapshot: Snapshot, moment: Moment): readonly Change[];
}

/** What the user may think of, and how often. Undefined where there is nothing to do it to. */
const actions: readonly {
	readonly weight: number;
	think(dice: Dice, snapshot: Snapshot): Command | undefined;
}[] = [
	{ weight: 16, think: (dice) => create(dice, anySpec) },
	{ weight: 15, think: (dice) => create(dice, anyJob) },
	{ weight: 20, think: (dice, snapshot) => toAny(dice, snapshot, scale) },
	{ weight: 35, think: (dice, snapshot) => toAny(dice, snapshot, update) },
	{ weight: 5, think: (dice, snapshot) => toAny(dice, snapshot, rollback) },
	{ weight: 8, think: (dice, snapshot) => toAny(dice, snapshot, remove) },
	{ weight: 22, think: nodeUpdate },
	{ weight: 4, think: nodeRemove },
	{ weight: 7, think: configUpdate },
];

/** What the user thinks of next. */
export function anyCommand(dice: Dice, snapshot: Snapshot): Command {
	let turn = dice.next() * actions.reduce((sum, { weight }) => sum + weight, 0);
	const action = actions.find(({ weight }) => {
		turn -= weight;
		return turn < 0;
	});
	return action?.think(dice, snapshot) ?? create(dice, anySpec);
}

function toAny(
	dice: Dice,
	snapshot: Snapshot,
	command: (dice: Dice, service: Service) => Command | undefined,
): Command | undefined {
	const services = [...snapshot.services.values()].filter(({ removing }) => !removing);
	return services.length > 0 ? command(dice, dice.pick(services)) : undefined;
}

/** Ends what the user left half done, so that everything can converge: paused nodes run tasks again, drained ones perhaps. */
export function tidyUp(snapshot: Snapshot, drainedToo: boolean): Command[] {
	const left = [...snapshot.nodes.values()].filter(
		({ spec }) => drainedToo || spec.availability === "pause",
	);
	return left.map((node) => ({
		kind: "node update",
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

/** What runs by the clock would never be at rest. */
export function endSchedules(snapshot: Snapshot): Command[] {
	const left = [...snapshot.services.values()].filter(
		({ spec, removing }) => !removing && Object.keys(spec.labels).some(isAboutSchedules),
	);
	return left.map(({ id, spec }) => ({
		kind: "service update",
		words: `docker service update --label-rm skein.schedule ${spec.name}`,
		changes: (now, moment) => withSpec(now, id, moment, (spec) => ({ ...spec, labels: {} })),
	}));
}

/** A better image for what can neither work nor come to an end by its own policies. */
export function mend(dice: Dice, snapshot: Snapshot): Command[] {
	return [...snapshot.services.values()].filter(isEndless).map(({ id, spec }) => {
		const image = goodImage(dice, spec);
		return {
			kind: "service mend",
			words: `docker service update --image ${image} ${spec.name}`,
			changes: (now, moment) => {
				const service = now.services.get(id);
				if (!service || !isEndless(service)) return [];
				return withSpec(now, id, moment, (spec) => withImage(spec, image));
			},
		};
	});
}

function isEndless({ spec, updateStatus, job, removing }: Service): boolean {
	if (removing || !isHopeless(spec)) return false;
	const { condition, maxAttempts } = spec.template.restart;
	if (job) return job.state === "running" && condition !== "none" && maxAttempts === 0;
	// A rollout that is under way comes to its end by itself, whatever it rolls.
	const isRolling =
		updateStatus?.state === "updating" || updateStatus?.state === "rollback_started";
	const isHalted = updateStatus?.state === "paused" || updateStatus?.state === "rollback_paused";
	return !isRolling && !isHalted;
}

function create(dice: Dice, any: (dice: Dice, name: string) => ServiceSpec): Command {
	const id = dice.id() as ServiceId;
	const asked = any(dice, `${any === anyJob ? "job" : "web"}-${id.slice(0, 4)}`);
	return {
		kind: any === anyJob ? "service create --mode job" : "service create",
		words: `docker service create --name ${asked.name} --mode ${asked.mode.kind}`,
		changes: (snapshot, { nowMs }) => {
			const spec = withContent(
				asked,
				config.id,
				newestOf(snapshot.materials.get(config.id) ?? config),
			);
			// The door refuses a port that is taken.
			const taken = [...snapshot.services.values()].flatMap(({ ports }) => ports.map(portKey));
			if (spec.ports.map(portKey).some((key) => key && taken.includes(key))) return [];
			const job = firstRun(spec, nowMs);
			const service: Service = {
				id,
				spec,
				document: documentOf(spec),
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
			const template = {
				service: id,
				version: 1,
				template: spec.template,
				hostPorts: spec.ports.filter(({ mode }) => mode === "host"),
				document: {},
			};
			return [
				{ kind: "put-service", service },
				{ kind: "put-template", template },
			];
		},
	};
}

const portKey = ({ mode, published }: PortSpec) =>
	mode === "ingress" && published > 0 ? published : undefined;

function scale(dice: Dice, { id, spec }: Service): Command {
	const replicas = dice.between(0, 5);
	return {
		kind: "service scale",
		words: `docker service scale ${spec.name}=${replicas}`,
		changes: (snapshot, moment) => {
			const mode = snapshot.services.get(id)?.spec.mode;
			if (mode?.kind === "replicated")
				return withSpec(snapshot, id, moment, (spec) => ({ ...spec, mode: { ...mode, replicas } }));
			if (mode?.kind !== "replicated-job") return [];
			const totalCompletions = Math.max(1, replicas);
			return withSpec(snapshot, id, moment, (spec) => ({
				...spec,
				mode: { ...mode, totalCompletions },
			}));
		},
	};
}

function update(dice: Dice, { id, spec }: Service): Command {
	const force = dice.chance(0.3);
	const image = anyImage(dice, spec, 0.45);
	const update = anyPolicy(dice);
	return {
		kind: force && isJob(spec.mode) ? "service update --force of a job" : "service update",
		words: `docker service update ${force ? "--force" : `--image ${image}`} ${spec.name}`,
		changes: (snapshot, moment) =>
			withSpec(snapshot, id, moment, (spec) => {
				const { template } = spec;
				const forced = { ...template, forceUpdate: template.forceUpdate + 1 };
				return { ...(force ? { ...spec, template: forced } : withImage(spec, image)), update };
			}),
	};
}

/** The door refuses it where there is nothing to go back to, and to jobs. */
function rollback(_dice: Dice, { id, spec }: Service): Command | undefined {
	if (isJob(spec.mode)) return undefined;
	return {
		kind: "service rollback",
		words: `docker service rollback ${spec.name}`,
		changes: (snapshot, moment) => {
			const service = snapshot.services.get(id);
			if (!service?.previous || service.removing) return [];
			const status = {
				state: "rollback_started",
				startedMs: moment.nowMs,
				completedMs: null,
				message: "manually requested rollback",
			} as const;
			return putSpec(service, service.previous, status, snapshot, moment).changes;
		},
	};
}

function remove(_dice: Dice, { id, spec }: Service): Command {
	return {
		kind: "service rm",
		words: `docker service rm ${spec.name}`,
		changes: (snapshot, { nowMs }) => {
			const service = snapshot.services.get(id);
			if (!service) return [];
			return [{ kind: "put-service", service: { ...service, removing: true, updatedMs: nowMs } }];
		},
	};
}

function nodeUpdate(dice: Dice, snapshot: Snapshot): Command | undefined {
	if (snapshot.nodes.size === 0) return undefined;
	const { id, description } = dice.pick([...snapshot.nodes.values()]);
	const availability = dice.pick(["active", "active", "drain", "pause"] as const);
	const zone = dice.pick(["a", "b"]);
	const relabel = dice.chance(0.3);
	return {
		kind: "node update",
		words: `docker node update ${relabel ? `--label-add zone=${zone}` : `--availability ${availability}`} ${description.hostname}`,
		changes: (now, { nowMs }) => {
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

/** As the door has it: whoever uses the config goes over to the new content, but a job that has run. */
function configUpdate(): Command {
	return {
		kind: "config update",
		words: `docker stack deploy, with another ${config.name}`,
		changes: (snapshot, moment) => {
			const known = snapshot.materials.get(config.id);
			if (!known) return [];
			const { nowMs } = moment;
			const version = { ...newestOf(known), number: newestOf(known).number + 1, createdMs: nowMs };
			const material = {
				...known,
				versions: [...known.versions, version] as const,
				specVersion: known.specVersion + 1,
				updatedMs: nowMs,
			};
			const users = [...snapshot.services.values()].filter(
				({ spec, removing }) => !removing && filesOf(spec.template).length > 0,
			);
			const rolled = users.flatMap((service) => {
				const spec = withContent(service.spec, config.id, version);
				const next = { spec, document: service.document };
				return putSpec(service, next, null, snapshot, moment).changes.map((change) =>
					change.kind === "put-service" && service.job
						? { ...change, service: { ...change.service, job: service.job } }
						: change,
				);
			});
			return [{ kind: "put-material", material }, ...rolled];
		},
	};
}

/** As the door has it: a node that is up is not removed. */
function nodeRemove(dice: Dice, snapshot: Snapshot): Command | undefined {
	const down = [...snapshot.nodes.values()].filter(({ status }) => status.state === "down");
	if (down.length === 0) return undefined;
	const { id, description } = dice.pick(down);
	return {
		kind: "node rm",
		words: `docker node rm ${description.hostname}`,
		changes: (now) =>
			now.nodes.get(id)?.status.state === "down" ? [{ kind: "remove-node", id }] : [],
	};
}

function withSpec(
	snapshot: Snapshot,
	id: ServiceId,
	moment: Moment,
	next: (spec: ServiceSpec) => ServiceSpec,
): readonly Change[] {
	const service = snapshot.services.get(id);
	if (!service || service.removing) return [];
	const spec = next(service.spec);
	return putSpec(service, { spec, document: documentOf(spec) }, null, snapshot, moment).changes;
}

function withImage(spec: ServiceSpec, image: string): ServiceSpec {
	const { template } = spec;
	return { ...spec, template: { ...template, container: { ...template.container, image } } };
}
