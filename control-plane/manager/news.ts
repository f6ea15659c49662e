// What the planner did, for who listens to `docker events`: an update that got further, a node that came or went.
//
// What people ask for is told by the door that took it. Attributes are Docker's: what was, what is.

import type { Change } from "../../model/change.ts";
import type { NodeId, ServiceId } from "../../model/id.ts";
import { type Node, nodeName } from "../../model/node.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";

export interface News {
	readonly type: "service" | "node";
	readonly action: "update";
	readonly id: string;
	readonly attributes: Readonly<Record<string, string>>;
}

/** `asked` are the changes that `planned` follow from and that land with them. */
export function newsOf(
	snapshot: Pick<Snapshot, "nodes" | "services">,
	asked: readonly Change[],
	planned: readonly Change[],
): News[] {
	const services = new Map<ServiceId, Service>();
	const nodes = new Map<NodeId, Node>();
	for (const change of asked) {
		if (change.kind === "put-service") services.set(change.service.id, change.service);
		if (change.kind === "put-node") nodes.set(change.node.id, change.node);
	}
	return planned.flatMap((change) => {
		if (change.kind === "put-service") {
			const { id } = change.service;
			return ofService(services.get(id) ?? snapshot.services.get(id), change.service);
		}
		if (change.kind === "put-node") {
			const { id } = change.node;
			return ofNode(nodes.get(id) ?? snapshot.nodes.get(id), change.node);
		}
		return [];
	});
}

function ofService(before: Service | undefined, after: Service): News[] {
	const news = {
		...difference("updatestate", before?.updateStatus?.state, after.updateStatus?.state),
		...specNews(before?.spec ?? after.spec, after.spec),
	};
	return telling("service", after.id, after.spec.name, news);
}

function ofNode(before: Node | undefined, after: Node): News[] {
	const news = difference("state", before?.status.state, after.status.state);
	return telling("node", after.id, nodeName(after), news);
}

function telling(
	type: News["type"],
	id: string,
	name: string,
	news: Readonly<Record<string, string>>,
): News[] {
	if (Object.keys(news).length === 0) return [];
	return [{ type, action: "update", id, attributes: { name, ...news } }];
}

/** What of a spec Docker tells apart. */
export function specNews(before: Service["spec"], after: Service["spec"]): Record<string, string> {
	const replicas = ({ mode }: Service["spec"]) =>
		mode.kind === "replicated" ? `${mode.replicas}` : undefined;
	return {
		...difference("image", before.template.container.image, after.template.container.image),
		...difference("replicas", replicas(before), replicas(after)),
	};
}

function difference(
	what: string,
	before: string | undefined,
	after: string | undefined,
): Record<string, string> {
	if (before === after || after === undefined) return {};
	return { ...(before !== undefined && { [`${what}.old`]: before }), [`${what}.new`]: after };
}
