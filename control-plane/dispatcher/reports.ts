// What a node saw comes in: checked, stripped of what is not the node's to say, and merged. Later states win.

import type { z } from "zod";
import { isNodesToSay } from "../../model/build.ts";
import type { BuildId, NodeId, TaskId } from "../../model/id.ts";
import type { AttachedContainer } from "../../model/node.ts";
import type { Report, reportSchema } from "../../model/report.ts";
import { ownerOf } from "../../model/transitions.ts";
import type { AgentsDoor } from "../cluster.ts";
import { nodeOf } from "./identity.ts";

export interface ReportReply {
	/** The cluster's revision now: who has an older one may expect news. */
	readonly revision: number;
}

export async function takeReport(
	door: AgentsDoor,
	id: NodeId,
	report: z.output<typeof reportSchema>,
	nowMs: number,
): Promise<ReportReply> {
	const snapshot = await door.snapshot();
	const node = nodeOf(snapshot, id);
	// A task that has been moved, or never was here: an old agent speaks, or a false one.
	const tasks = report.tasks
		?.map((each) => ({ ...each, id: each.id as TaskId }))
		.filter((each) => snapshot.tasks.get(each.id)?.node === id)
		.filter((each) => ownerOf[each.status.state] === "agent");
	const builds = report.builds
		?.map((each) => ({ ...each, id: each.id as BuildId }))
		.filter((each) => snapshot.builds.get(each.id)?.node === id)
		.filter((each) => isNodesToSay(each.status.state));
	await door.report({
		node: node.id,
		leaseUntilMs: nowMs + snapshot.cluster.nodeTimeoutMs,
		...defined({
			said: report.said,
			applied: report.applied,
			description: report.description,
			attached: report.attached as readonly AttachedContainer[] | undefined,
			images: report.images,
			unreachable: report.unreachable as readonly NodeId[] | undefined,
			tasks,
			builds,
		} satisfies { [Field in keyof Report]: Report[Field] | undefined }),
	});
	return { revision: snapshot.revision };
}

function defined<Fields extends object>(
	fields: Fields,
): { [Field in keyof Fields]?: NonNullable<Fields[Field]> } {
	const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
	return Object.fromEntries(entries) as { [Field in keyof Fields]?: NonNullable<Fields[Field]> };
}
