// For which architectures an image is to be made, and what makes one image of several. Pure.

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import type { Application, Environment } from "../../model/application.ts";
import type { Build } from "../../model/build.ts";
import type { ImageIndex } from "../../model/image.ts";
import { isToBeEmptied, type Node } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { ServiceDocument } from "../engine/convert/document.ts";
import { architectureOf } from "../manager/images.ts";
import { compareText } from "../manager/orchestrator/slot.ts";
import { parseConstraint, satisfies } from "../manager/scheduler/constraint.ts";

/**
 * At least one: those that the application names, or of the nodes that its service may run on; the one that most nodes
 * have is the first. `isOne`: an image for several cannot be had.
 */
export function architecturesFor(
	{ nodes, services }: Snapshot,
	{ spec: { platforms } }: Pick<Application, "spec">,
	environment: Environment,
	isOne: boolean,
): readonly string[] {
	const all = [...nodes.values()];
	if (platforms) return isOne ? platforms.slice(0, 1) : platforms;
	const [most = "amd64", ...others] = byCount(all);
	if (isOne || others.length === 0) return [most];
	const known = [...services.values()].find(
		({ spec, removing }) => spec.name === environment.service && !removing,
	);
	const document = environment.create as ServiceDocument | null;
	const words =
		known?.spec.template.placement.constraints ??
		document?.TaskTemplate?.Placement?.Constraints ??
		[];
	const constraints = words.map(parseConstraint).filter((each) => each.kind === "constraint");
	const able = byCount(
		all.filter(
			(node) =>
				node.status.state === "ready" &&
				!isToBeEmptied(node) &&
				constraints.every((constraint) => satisfies(node, constraint)),
		),
	);
	return able.length > 0 ? able : [most];
}

function byCount(nodes: readonly Node[]): readonly string[] {
	const counts = Map.groupBy(nodes, ({ description }) => architectureOf(description));
	return [...counts]
		.toSorted(([a, one], [b, other]) => other.length - one.length || compareText(a, b))
		.map(([architecture]) => architecture);
}

/** Of builds that are complete, the same whatever their order; undefined where a node said too little of one. */
export function indexOf(parts: readonly Build[]): ImageIndex | undefined {
	const sorted = parts.toSorted((a, b) => compareText(a.architecture, b.architecture));
	const manifests = sorted.flatMap(({ architecture, status: { digest, manifest } }) =>
		manifest
			? [
					{
						mediaType: manifest.mediaType,
						digest,
						size: manifest.size,
						platform: { architecture, os: "linux" },
					},
				]
			: [],
	);
	if (manifests.length < parts.length) return undefined;
	const text = JSON.stringify({
		schemaVersion: 2,
		mediaType: "application/vnd.oci.image.index.v1+json",
		manifests,
	});
	return {
		digest: `sha256:${bytesToHex(sha256(utf8ToBytes(text)))}`,
		text,
		manifests: Object.fromEntries(
			sorted.map(({ architecture, status }) => [architecture, status.digest]),
		),
	};
}
