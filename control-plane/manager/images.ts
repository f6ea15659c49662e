// Which nodes have to do with the images that were built here: who keeps them, who runs them, and who has them.
//
// An image is kept for as long as its build is remembered.

import type { Build } from "../../model/build.ts";
import type { NodeId } from "../../model/id.ts";
import { type ImageAssignment, imageHost } from "../../model/image.ts";
import type { Node, NodeDescription } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isBefore, isTerminal } from "../../model/taskstate.ts";
import { compareText } from "./orchestrator/slot.ts";

/** So many nodes have each image whole, so that it outlives the one that built it. */
const copies = 2;

const architectures: Readonly<Record<string, string>> = {
	x86_64: "amd64",
	aarch64: "arm64",
	armv7l: "arm",
};

/** As images name it. */
export function architectureOf({ architecture }: Pick<NodeDescription, "architecture">): string {
	return architectures[architecture] ?? architecture;
}

interface Kept {
	readonly repository: string;
	readonly digest: string;
	readonly keepers: ReadonlySet<NodeId>;
	readonly holders: readonly NodeId[];
}

export function keptImages(snapshot: Snapshot): readonly Kept[] {
	const made = [...snapshot.builds.values()]
		.flatMap(madeBy)
		.filter(({ image }) => image.startsWith(`${imageHost}/`));
	if (made.length === 0) return [];
	const byDigest = new Map(made.map((each) => [each.digest, each]));
	const nodes = [...snapshot.nodes.values()].sort((a, b) => a.index - b.index);
	return [...byDigest.values()]
		.map((each) => keptOf(each, nodes))
		.sort((a, b) => compareText(a.digest, b.digest));
}

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
		repository: image.slice(imageHost.length + 1).split(":")[0] ?? "",
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
	return kept
		.filter(({ digest, keepers }) => keepers.has(node) || run.has(digest))
		.map(({ repository, digest, keepers, holders }) => ({
			repository,
			digest,
			keep: keepers.has(node),
			holders,
		}));
}
