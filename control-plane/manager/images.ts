// Which nodes have to do with the images that were built here: who keeps them, who runs them, and who has them.
//
// An image is kept for as long as its build is remembered.

import type { Build } from "../../model/build.ts";
import type { NodeId } from "../../model/id.ts";
import { type ImageAssignment, type ImageIndex, imageHost } from "../../model/image.ts";
import type { Node, NodeDescription } from "../../model/node.ts";
import type { Placement } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isBefore, isTerminal } from "../../model/taskstate.ts";
import { compareText } from "./orchestrator/slot.ts";
import { architectureOf as nameOf } from "./scheduler/constraint.ts";

/** So many nodes have each image whole, so that it outlives the one that built it. */
const copies = 2;

/** As images name it. */
export const architectureOf = ({ architecture }: Pick<NodeDescription, "architecture">): string =>
	nameOf(architecture);

/** Of an image that was built here; none of others, of which nobody here knows. */
export function platformsOf({ builds }: Snapshot, image: string): Placement["platforms"] {
	const [, digest] = image.split("@");
	if (digest === undefined) return [];
	for (const { architecture, index, made, status } of builds.values()) {
		const platform = (each: string) => ({ os: "linux", architecture: each });
		if (index?.digest === digest) return Object.keys(index.manifests).map(platform);
		const isIts = status.digest === digest || Object.values(made?.images ?? {}).includes(image);
		if (isIts) return [platform(architecture)];
	}
	return [];
}

interface Kept {
	readonly repository: string;
	readonly digest: string;
	readonly keepers: ReadonlySet<NodeId>;
	readonly holders: readonly NodeId[];
	/** Of an image for several architectures, whose manifests are images that are kept, too. */
	readonly index?: ImageIndex;
}

export function keptImages(snapshot: Snapshot): readonly Kept[] {
	const made = [...snapshot.builds.values()]
		.flatMap(madeBy)
		.filter(({ image }) => image.startsWith(`${imageHost}/`));
	if (made.length === 0) return [];
	const byDigest = new Map(made.map((each) => [each.digest, each]));
	const nodes = [...snapshot.nodes.values()].sort((a, b) => a.index - b.index);
	const kept = [...byDigest.values()].map((each) => keptOf(each, nodes));
	return [...kept, ...indexesOf(snapshot, kept)].sort((a, b) => compareText(a.digest, b.digest));
}

/** Every node that has to do with one of its manifests has the index. */
function indexesOf({ builds }: Snapshot, kept: readonly Kept[]): readonly Kept[] {
	const indexes = [...builds.values()].flatMap(({ image, index }) =>
		index ? [[index.digest, { image, index }] as const] : [],
	);
	return [...new Map(indexes).values()].map(({ image, index }) => {
		const digests = Object.values(index.manifests);
		const holders = kept
			.filter(({ digest }) => digests.includes(digest))
			.flatMap((each) => each.holders);
		return {
			repository: repositoryOf(image),
			digest: index.digest,
			keepers: new Set(),
			holders: [...new Set(holders)].sort(),
			index,
		};
	});
}

/** Without host and tag. */
const repositoryOf = (image: string) => image.slice(imageHost.length + 1).split(":")[0] ?? "";

interface MadeImage {
	/** Without its digest. */
	readonly image: string;
	readonly digest: string;
	readonly builder: NodeId | null;
}

/** One, or those of a compose file. */
function madeBy({ image, made, node: builder, status }: Build): readonly MadeImage[] {
	if (status.state !== "complete") return [];
	if (made) {
		return Object.values(made.images).map((each) => {
			const [name = "", digest = ""] = each.split("@");
			return { image: name, digest, builder };
		});
	}
	return [{ image, digest: status.digest, builder }];
}

function keptOf({ image, digest, builder }: MadeImage, nodes: readonly Node[]): Kept {
	const isUp = (node: Node) => node.status.state === "ready";
	const holders = nodes.filter((node) => isUp(node) && node.images.includes(digest));
	const has = new Set(holders);
	// Who has it keeps it; then whoever has room, the builder first.
	const others = nodes
		.filter((node) => isUp(node) && !has.has(node) && node.description.diskFull !== true)
		.toSorted((a, b) => Number(b.id === builder) - Number(a.id === builder));
	const keepers = [...holders, ...others].slice(0, copies);
	return {
		repository: repositoryOf(image),
		digest,
		keepers: new Set(keepers.map(({ id }) => id)),
		holders: holders.map(({ id }) => id).sort(),
	};
}

/** Those that the node keeps or runs. */
export function imagesFor(
	snapshot: Snapshot,
	node: NodeId,
	kept: readonly Kept[],
): readonly ImageAssignment[] {
	if (kept.length === 0) return [];
	const run = new Set<string>();
	for (const task of snapshot.tasksOfNode(node).values()) {
		if (isTerminal(task.status.state) || isBefore(task.status.state, "assigned")) continue;
		const image = snapshot.template(task.service, task.templateVersion)?.template.container.image;
		if (image) run.add(image.split("@")[1] ?? "");
	}
	const description = snapshot.nodes.get(node)?.description;
	const own = description && architectureOf(description);
	for (const { digest, index } of kept) {
		if (index && own !== undefined && run.has(digest)) run.add(index.manifests[own] ?? "");
	}
	const has = ({ digest, keepers }: Kept) => keepers.has(node) || run.has(digest);
	const mine = new Set(kept.filter(has).map(({ digest }) => digest));
	const isMine = ({ digest, index }: Kept) =>
		mine.has(digest) || Object.values(index?.manifests ?? {}).some((each) => mine.has(each));
	return kept.filter(isMine).map(({ repository, digest, keepers, holders, index }) => ({
		repository,
		digest,
		keep: keepers.has(node),
		holders,
		...(index && { index: index.text }),
	}));
}
