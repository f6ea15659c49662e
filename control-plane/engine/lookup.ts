// What `{id}` in a path means: a full id, else an exact name, else the beginning of an id.

import { invalid, notFound } from "../../model/errors.ts";
import type { Material, MaterialKind } from "../../model/material.ts";
import type { Network } from "../../model/network.ts";
import { type Node, nodeName } from "../../model/node.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Task } from "../../model/task.ts";

export function findService(snapshot: Snapshot, asked: string): Service {
	return find("service", services(snapshot), asked, (service) => service.spec.name);
}

/** Names are names in DNS too, where case makes no difference. */
export function isSameName(a: string, b: string): boolean {
	return a.toLowerCase() === b.toLowerCase();
}

/** One that is being removed is gone for its user: only its tasks are still seen winding down. */
export function services(snapshot: Snapshot): Service[] {
	return [...snapshot.services.values()].filter((service) => !service.removing);
}

export function findNode(snapshot: Snapshot, asked: string): Node {
	return find("node", [...snapshot.nodes.values()], asked, nodeName);
}

export function findNetwork(snapshot: Snapshot, asked: string): Network {
	return find("network", [...snapshot.networks.values()], asked, (network) => network.name);
}

export function findMaterial(kind: MaterialKind, snapshot: Snapshot, asked: string): Material {
	const all = [...snapshot.materials.values()].filter((each) => each.kind === kind);
	return find(kind, all, asked, ({ name }) => name);
}

/** Tasks have no names of their own here, as in Docker. */
export function findTask(snapshot: Snapshot, asked: string): Task {
	return find("task", [...snapshot.tasks.values()], asked, () => undefined);
}

function find<Item extends { readonly id: string }>(
	kind: string,
	items: readonly Item[],
	asked: string,
	nameOf: (item: Item) => string | undefined,
): Item {
	const exact = items.find((item) => item.id === asked);
	if (exact) return exact;
	const named = items.filter((item) => nameOf(item) === asked);
	const found = named.length > 0 || asked === "" ? named : items.filter(startsWith(asked));
	const [first, ...more] = found;
	if (!first) throw notFound(`${kind} ${asked} not found`);
	if (more.length > 0)
		throw invalid(`${kind} ${asked} is ambiguous (${found.length} matches found)`);
	return first;
}

const startsWith =
	(prefix: string) =>
	({ id }: { readonly id: string }) =>
		id.startsWith(prefix);
