// Why a task waits, node by node: everything that a node lacks for it, and the smallest change that would let it run.
//
// filters.ts says whether, and counts; this is for the person who asks what to do about it. Costs a look at every node,
// so it is asked only where no node will do.

import type { NodeId } from "../../../model/id.ts";
import { type Node, nodeName } from "../../../model/node.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Task } from "../../../model/task.ts";
import { satisfies } from "./constraint.ts";
import { type Demand, demandOf, type FilterName, missingPlugins, refusalsOf } from "./filters.ts";
import { countOf, type NodeInfo, type Roster, rosterOf } from "./nodeinfo.ts";
import { standingsOf } from "./spread.ts";

export interface Advice {
	readonly node: Node;
	/** In the filters' order. Never empty. */
	readonly lacks: readonly Lack[];
}

export interface Lack {
	/** `1.5 CPUs are reserved for a task, 0.5 are free` */
	readonly what: string;
	/** What would mend it: a command where there is one. */
	readonly change: string;
	/** How much a person has to do for that; only compared. */
	readonly effort: number;
}

/** For a task that waits: all nodes that will not do, as they are now. */
export function adviceFor(snapshot: Snapshot, task: Task): Advice[] {
	const demand = demandOf(snapshot, task.service, task.templateVersion);
	const { ofService } = standingsOf(snapshot, task.service, task.templateVersion);
	const advice = adviceOn(snapshot, rosterOf(snapshot), demand, ofService);
	return task.node === null ? advice : advice.filter(({ node }) => node.id === task.node);
}

/** In the order of the nodes' indexes. `ofService` counts the service's tasks that are meant to run there. */
export function adviceOn(
	snapshot: Snapshot,
	roster: Roster,
	demand: Demand,
	ofService: ReadonlyMap<NodeId, number>,
): Advice[] {
	return [...snapshot.nodes.values()]
		.toSorted((a, b) => a.index - b.index)
		.flatMap(({ id }) => {
			const info = roster.get(id);
			return info ? advise(demand, info, ofService.get(id) ?? 0) : [];
		});
}

/** Nothing if the node will do. */
export function advise(demand: Demand, info: NodeInfo, ofService: number): Advice[] {
	const lacks = refusalsOf(demand, info, ofService).flatMap(({ name }) =>
		lacking[name](demand, info, ofService),
	);
	return lacks.length > 0 ? [{ node: info.node, lacks }] : [];
}

/** On the node that needs least: `smallest change: docker node update --label-add zone=east h2`. */
export function smallestChange(advice: readonly Advice[]): string {
	let [best, least]: [Advice | undefined, number] = [undefined, Number.POSITIVE_INFINITY];
	for (const each of advice) {
		const effort = each.lacks.reduce((sum, lack) => sum + lack.effort, 0);
		if (effort < least) [best, least] = [each, effort];
	}
	if (!best) return "";
	return `smallest change: ${best.lacks.map(({ change }) => change).join(" and ")}`;
}

const lacking: Readonly<
	Record<FilterName, (demand: Demand, info: NodeInfo, ofService: number) => readonly Lack[]>
> = {
	ready: (_demand, { node }) => [availability(node)],
	disk: (_demand, { node }) => [
		{
			what: "the disk of its engine is full, and the image is not there",
			change: `make room on ${nodeName(node)}, whose disk is full (docker system df shows what is there)`,
			effort: 8,
		},
	],
	resources: resourcesLacking,
	plugins: (demand, { node }) =>
		missingPlugins(demand, node).map((plugin) => ({
			what: `it has no ${plugin}`,
			change: `install ${plugin} on ${nodeName(node)}`,
			effort: 3,
		})),
	constraints: ({ name, constraints }, { node }) =>
		constraints
			.filter((constraint) => !satisfies(node, constraint))
			.map(({ key, operator, value }) => {
				const [, label] = /^node\.labels\.(.+)$/i.exec(key) ?? [];
				const mend = operator === "==" ? `--label-add ${label}=${value}` : `--label-rm ${label}`;
				return {
					what: `${key}${operator}${value} does not hold`,
					change: label
						? `docker node update ${mend} ${nodeName(node)}`
						: `docker service update --constraint-rm "${key}${operator}${value}" ${name}`,
					effort: label ? 1 : 2,
				};
			}),
	platforms: ({ template }, { node }) => {
		const own = `${node.description.os}/${node.description.architecture}`;
		const wanted = template.placement.platforms.map((each) => `${each.os}/${each.architecture}`);
		return [
			{
				what: `it is ${own}, and the image is for ${wanted.join(", ")}`,
				change: `use an image for ${own}, which ${nodeName(node)} is`,
				effort: 8,
			},
		];
	},
	hostPorts: ({ hostPortKeys }, { node, holdings }) =>
		hostPortKeys
			.filter((key) => holdings.hostPorts.has(key))
			.map((key) => ({
				what: `port ${key} is taken by another task`,
				change: `publish another port than ${key}, which ${nodeName(node)} has in use`,
				effort: 4,
			})),
	maxReplicas: ({ name, template: { placement } }, _info, ofService) => [
		{
			what: `it has ${ofService} tasks of at most ${placement.maxReplicasPerNode}`,
			change: `docker service update --replicas-max-per-node ${ofService + 1} ${name}`,
			effort: 2,
		},
	],
};

function availability(node: Node): Lack {
	const { status, spec, description } = node;
	const [problem] = description.problems;
	if (spec.availability !== "active") {
		return {
			what: `its availability is ${spec.availability}`,
			change: `docker node update --availability active ${nodeName(node)}`,
			effort: 1,
		};
	}
	const why = problem ?? (status.message || "not heard yet");
	const mend = problem ? "mend" : "bring back";
	return {
		what: `it is ${status.state}: ${why}`,
		change: `${mend} ${nodeName(node)} (${why})`,
		effort: 16,
	};
}

function resourcesLacking(
	{ name, template: { reservations, genericReservations = {} } }: Demand,
	{ node, holdings }: NodeInfo,
): Lack[] {
	const lacks: Lack[] = [];
	const { nanoCpus, memoryBytes } = reservations;
	const { freeNanoCpus, freeMemoryBytes, freeGeneric } = holdings;
	const lack = (what: string, free: number, reserve: string) =>
		lacks.push({
			what,
			change:
				free > 0
					? `docker service update ${reserve} ${name}`
					: `make room on ${nodeName(node)} (${what})`,
			effort: free > 0 ? 4 : 8,
		});
	if (nanoCpus > freeNanoCpus) {
		const free = cpus(freeNanoCpus);
		lack(`a task reserves ${cpus(nanoCpus)} CPUs, ${free} are free`, free, `--reserve-cpu ${free}`);
	}
	if (memoryBytes > freeMemoryBytes) {
		const free = mebibytes(freeMemoryBytes);
		const what = `a task reserves ${Math.ceil(memoryBytes / 2 ** 20)} MiB, ${free} are free`;
		lack(what, free, `--reserve-memory ${free}M`);
	}
	for (const [kind, count] of Object.entries(genericReservations)) {
		const free = countOf(freeGeneric.get(kind));
		if (count <= free) continue;
		lacks.push({
			what: `a task reserves ${count} of ${kind}, ${free} are free`,
			change: `give ${nodeName(node)} ${count - free} more of ${kind}`,
			effort: 8,
		});
	}
	return lacks;
}

/** Two digits, never more than there are. */
const cpus = (nano: number) => Math.max(0, Math.floor(nano / 1e7) / 100);
const mebibytes = (bytes: number) => Math.max(0, Math.floor(bytes / 2 ** 20));
