// Which versions of secrets and configs are still needed: a rollback, and a task that starts again, find the very
// content they had.
//
// A version is kept while a service's spec, the spec it can be rolled back to, any template that is kept, or a stack that
// was deployed or is about to be names it; the newest always. Contents themselves never come by here: the store drops them with their version.

import { contentKey, filesOf, type Material } from "../../model/material.ts";
import type { ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Draft } from "./draft.ts";

export function forgetContents(draft: Draft): void {
	const several = [...draft.materials.values()].filter(({ versions }) => versions.length > 1);
	if (several.length === 0) return;
	const named = namedContents(draft);
	for (const material of several) {
		const { id, versions } = material;
		const [newest, ...older] = versions.toReversed() as [Version, ...Version[]];
		const kept = older.filter(({ number }) =>
			named.has(contentKey({ material: id, version: number })),
		);
		if (kept.length === older.length) continue;
		const left = [newest, ...kept].toReversed() as unknown as Material["versions"];
		draft.put({ kind: "put-material", material: { ...material, versions: left } });
	}
}

type Version = Material["versions"][number];

function namedContents(snapshot: Snapshot): Set<string> {
	const named = new Set<string>();
	for (const service of snapshot.services.values()) {
		const templates = [
			service.spec.template,
			...(service.previous ? [service.previous.spec.template] : []),
			...snapshot.templatesOfService(service.id).map(({ template }) => template),
		];
		for (const file of templates.flatMap(filesOf)) named.add(contentKey(file));
	}
	const { deployments, builds } = snapshot;
	const stacks = [
		...[...deployments.values()].map(({ stack }) => stack),
		...[...builds.values()].map(({ made }) => made),
	];
	for (const file of stacks.flatMap((stack) => stack?.files ?? [])) named.add(contentKey(file));
	return named;
}

/** The contents that a spec names and that are not there. */
export function lackingContents(snapshot: Snapshot, { template }: ServiceSpec) {
	return filesOf(template).filter(
		({ material, version }) =>
			!snapshot.materials.get(material)?.versions.some(({ number }) => number === version),
	);
}
