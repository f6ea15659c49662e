// A registry's credentials, for the node that is about to pull a task's image, and for no other. Never kept there.

import { z } from "zod";
import type { NodeId, TaskId } from "../../model/id.ts";
import type { ClusterDoor } from "../cluster.ts";
import { nodeOf } from "./identity.ts";

export const credentialsSchema = z.object({
	task: z.string().max(64) as unknown as z.ZodType<TaskId>,
});

/** As `X-Registry-Auth` wants them; null for a task that has none or is not the node's. */
export async function credentialsFor(
	door: ClusterDoor,
	node: NodeId,
	id: TaskId,
): Promise<string | null> {
	const snapshot = await door.snapshot();
	nodeOf(snapshot, node);
	const task = snapshot.tasksOfNode(node).get(id);
	const sealed = task && snapshot.services.get(task.service)?.spec.registryAuth;
	return sealed ? door.credentials.open(sealed) : null;
}
