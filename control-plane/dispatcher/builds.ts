// For the node that builds: what its build must know, and where its log goes. For no other node, and for no longer.

import { z } from "zod";
import { type Build, type BuildSecrets, hasEnded, longestLogBytes } from "../../model/build.ts";
import { notFound } from "../../model/errors.ts";
import type { BuildId, NodeId } from "../../model/id.ts";
import type { StackReply } from "../../model/stack.ts";
import type { ClusterDoor } from "../cluster.ts";
import { readSecrets, secretsFor } from "../deployments/secrets.ts";
import { takeStack } from "../deployments/takestack.ts";

export const buildSchema = z.object({ build: z.string().max(64) });

export async function buildSecretsFor(
	door: ClusterDoor,
	node: NodeId,
	id: string,
): Promise<BuildSecrets> {
	const build = await buildOf(door, node, id);
	const snapshot = await door.snapshot();
	const application = snapshot.applications.get(build.application);
	if (!application || hasEnded(build.status.state)) throw gone();
	return secretsFor(build, await readSecrets(door.contents, application), snapshot);
}

export async function keepBuildLog(
	door: ClusterDoor,
	node: NodeId,
	id: string,
	text: string,
): Promise<void> {
	const build = await buildOf(door, node, id);
	await door.inbox.keepLog(build.id, text.slice(-longestLogBytes));
}

/** Before the build is complete. Told again, it is kept again, with no new contents. */
export async function keepBuildStack(
	door: ClusterDoor,
	node: NodeId,
	id: string,
	text: string,
): Promise<StackReply> {
	const build = await buildOf(door, node, id);
	if (hasEnded(build.status.state)) throw gone();
	return { warnings: await takeStack(door, build, text) };
}

async function buildOf(door: ClusterDoor, node: NodeId, id: string): Promise<Build> {
	const build = (await door.snapshot()).builds.get(id as BuildId);
	if (build?.node !== node) throw gone();
	return build;
}

const gone = () => notFound("this node has no such build");
