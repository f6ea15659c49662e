// Whether a cluster would come to have more than its organization may. Pure: a snapshot and changes in, a refusal out.
//
// Only growth is refused: whoever is over a limit, because it was lowered, may go on and take away.

import type { Change } from "../../model/change.ts";
import { forbidden, type Refusal } from "../../model/errors.ts";
import type { MaterialId, NodeId, ServiceId } from "../../model/id.ts";
import { type Limits, showAmount, type Usage } from "../../model/limits.ts";
import type { Material } from "../../model/material.ts";
import type { Node } from "../../model/node.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { Overlay } from "./overlay.ts";

/** What counts. */
interface Counted {
	readonly nodes: ReadonlyMap<NodeId, Node>;
	readonly services: ReadonlyMap<ServiceId, Service>;
	readonly materials: ReadonlyMap<MaterialId, Material>;
}

export function usageOf({ nodes, services, materials }: Counted): Usage {
	const wanted = [...services.values()].filter(({ removing }) => !removing);
	return {
		nodes: nodes.size,
		services: wanted.length,
		tasks: sum(wanted, (service) => tasksOf(service, nodes.size)),
		contents: sum([...materials.values()], bytesOf),
	};
}

/** What the changes would make of it; undefined where they take no more of anything, which costs what changed. */
export function usageAfter(snapshot: Snapshot, changes: readonly Change[]): Usage | undefined {
	if (!changes.some((change) => takesMore(snapshot, change))) return undefined;
	const nodes = new Overlay(snapshot.nodes);
	const services = new Overlay(snapshot.services);
	const materials = new Overlay(snapshot.materials);
	for (const change of changes) {
		if (change.kind === "put-node") nodes.set(change.node.id, change.node);
		else if (change.kind === "remove-node") nodes.delete(change.id);
		else if (change.kind === "put-service") services.set(change.service.id, change.service);
		else if (change.kind === "remove-service") services.delete(change.id);
		else if (change.kind === "put-material") materials.set(change.material.id, change.material);
		else if (change.kind === "remove-material") materials.delete(change.id);
	}
	return usageOf({ nodes, services, materials });
}

/** @param before of a cluster that is only now made: nothing */
export function refusalOf(limits: Limits, before: Usage, after: Usage): Refusal | undefined {
	for (const name of ["nodes", "services", "tasks", "contents"] as const) {
		const most = limits[name];
		if (most === null || after[name] <= most || after[name] <= before[name]) continue;
		const [limit, has, asked] = [most, before[name], after[name]].map((each) =>
			showAmount(name, each),
		);
		return forbidden(
			`${name}: this organization may have ${limit} ${of[name].what} in a cluster; there are ${has}, and this would make it ${asked}. ` +
				`${of[name].remedy}, or ask whoever runs this control plane for a higher limit`,
		);
	}
	return undefined;
}

const of = {
	nodes: { what: "nodes", remedy: "Remove one that is gone for good (docker node rm)" },
	services: { what: "services", remedy: "Remove one (docker service rm)" },
	tasks: {
		what: "tasks",
		remedy: "Ask for fewer replicas (docker service scale), or remove a service",
	},
	contents: {
		what: "of secrets and configs",
		remedy: "Remove some (docker secret rm, docker config rm)",
	},
} as const satisfies Readonly<Record<keyof Usage, unknown>>;

export const nothingUsed: Usage = { nodes: 0, services: 0, tasks: 0, contents: 0 };

function takesMore(snapshot: Snapshot, change: Change): boolean {
	switch (change.kind) {
		case "put-node":
			return !snapshot.nodes.has(change.node.id);
		case "put-service": {
			const known = snapshot.services.get(change.service.id);
			const nodes = snapshot.nodes.size;
			return !known || known.removing || tasksOf(change.service, nodes) > tasksOf(known, nodes);
		}
		case "put-material": {
			const known = snapshot.materials.get(change.material.id);
			return bytesOf(change.material) > (known ? bytesOf(known) : 0);
		}
		default:
			return false;
	}
}

/** As its spec asks, whatever of it runs. A global one asks for one on each node. */
function tasksOf({ spec: { mode } }: Service, nodes: number): number {
	switch (mode.kind) {
		case "replicated":
			return mode.replicas;
		case "replicated-job":
			return Math.min(mode.maxConcurrent || mode.totalCompletions, mode.totalCompletions);
		case "global":
		case "global-job":
			return nodes;
	}
}

const bytesOf = ({ versions }: Material) => sum(versions, ({ bytes = 0 }) => bytes);

const sum = <Each>(all: readonly Each[], amount: (each: Each) => number) =>
	all.reduce((total, each) => total + amount(each), 0);
