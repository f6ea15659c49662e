// What a stack leaves behind when its services go: its networks, secrets and configs. A preview's go, too. Pure.

import type { Application } from "../../model/application.ts";
import type { Material } from "../../model/material.ts";
import type { Network } from "../../model/network.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { stackLabel } from "../../model/stack.ts";
import { attachedTo } from "../engine/convert/network.ts";
import type { Draft } from "../manager/draft.ts";

/** All that the preview's deployments were named: the pattern may name them otherwise by now. */
export function stacksOf(
	snapshot: Snapshot,
	{ id }: Pick<Application, "id">,
	number: number,
): readonly string[] {
	const names = new Set<string>();
	for (const { application, preview, build, stack } of snapshot.deployments.values()) {
		if (application !== id || preview?.number !== number) continue;
		const ordered = build === null ? undefined : snapshot.builds.get(build)?.stack;
		for (const each of [stack, ordered]) if (each) names.add(each.name);
	}
	return [...names];
}

/**
 * False while services that go have yet to stop: no network is taken from under a container. What somebody else uses stays,
 * and so does all of a stack that has services of somebody else's.
 */
export function removeLeft(draft: Draft, stacks: readonly string[]): boolean {
	const services = [...draft.services.values()];
	const [going, staying] = [true, false].map((isGoing) =>
		services.filter(({ removing }) => removing === isGoing),
	) as [Service[], Service[]];
	const others = new Set(staying.map(({ spec }) => spec.labels[stackLabel]));
	const isTheirs = ({ labels }: Pick<Network | Material, "labels">) =>
		stacks.some((name) => labels[stackLabel] === name && !others.has(name));
	const networks = [...draft.networks.values()].filter(isTheirs);
	const materials = [...draft.materials.values()].filter(isTheirs);
	const waitedFor = new Set(going.flatMap(usesOf));
	if ([...networks, ...materials].some(({ id }) => waitedFor.has(id))) return false;
	const kept = new Set(staying.flatMap(usesOf));
	for (const network of networks) {
		if (kept.has(network.id) || attachedTo(network, draft).length > 0) continue;
		draft.put({ kind: "remove-network", id: network.id });
	}
	for (const { id } of materials) if (!kept.has(id)) draft.put({ kind: "remove-material", id });
	return true;
}

const usesOf = ({ spec, previous }: Service): string[] =>
	[spec, ...(previous ? [previous.spec] : [])].flatMap(({ template }) => [
		...template.networks.map(({ network }) => network),
		...(template.container.files ?? []).map(({ material }) => material),
	]);
