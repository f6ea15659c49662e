// What secrets and configs say, for the node whose tasks use them, and for no other.
//
// Apart from the assignment, which names exact versions and nothing else: so it can be hashed, kept and compared
// without anybody learning a secret, and what a node has it is not sent again.

import { z } from "zod";
import type { NodeId } from "../../model/id.ts";
import {
	type ContentName,
	contentKey,
	type DeliveredContent,
	filesOf,
} from "../../model/material.ts";
import { toBase64 } from "../accounts/base64.ts";
import type { ClusterDoor } from "../cluster.ts";
import { assign } from "../manager/assign.ts";
import { nodeOf } from "./identity.ts";

export const contentsSchema = z.object({
	names: z
		.array(
			z.object({
				material: z.string().max(64) as unknown as z.ZodType<ContentName["material"]>,
				version: z.number().int().nonnegative(),
			}),
		)
		.max(64),
});

/** Those of them that a task on the node uses; others are left out without a word, there or not. */
export async function contentsFor(
	door: ClusterDoor,
	node: NodeId,
	names: readonly ContentName[],
): Promise<readonly DeliveredContent[]> {
	const snapshot = await door.snapshot();
	nodeOf(snapshot, node);
	const used = new Set(
		assign(snapshot, node).tasks.flatMap(({ template }) => filesOf(template).map(contentKey)),
	);
	const allowed = names.filter((name) => used.has(contentKey(name)));
	const found = await door.contents.read(allowed);
	return allowed.flatMap(({ material, version }) => {
		const content = found.get(contentKey({ material, version }));
		return content ? [{ material, version, data: toBase64(content) }] : [];
	});
}
