// A registry's credentials, for the node that is about to pull a task's image, and for no other. Never kept there.

import { z } from "zod";
import type { NodeId, TaskId } from "../../model/id.ts";
import type { ClusterDoor } from "../cluster.ts";
import { registryAuthOf } from "../deployments/secrets.ts";
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
	const service = task && snapshot.services.get(task.service);
	if (!service) return null;
	const { loginOf, registryAuth: sealed } = service.spec;
	const application = loginOf && snapshot.applications.get(loginOf);
	const image = snapshot.template(service.id, task.templateVersion)?.template.container.image;
	const theirs =
		application && image !== undefined && (await registryAuthOf(door.contents, application, image));
	if (theirs) return theirs;
	return sealed ? door.credentials.open(sealed) : null;
}
