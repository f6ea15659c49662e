// Which node is asking: its credential says so, and only the hash of that is known here.

import { Refusal } from "../../model/errors.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import type { Node } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { tokenOf } from "../accounts/auth.ts";
import { nodeOfCredential, sha256 } from "../accounts/tokens.ts";
import type { Directory } from "../store/directory.ts";

export interface Identity {
	readonly node: NodeId;
	readonly cluster: ClusterId;
	readonly credential: string;
}

/**
 * What HTTP has a status of its own for. 401: nobody we know. 410: somebody we knew, who is to wind down. 426: somebody
 * whose language we do not speak.
 */
export class AgentRefusal extends Refusal {
	readonly status: 401 | 410 | 413 | 426;

	constructor(status: AgentRefusal["status"], message: string) {
		super("forbidden", message);
		this.name = "AgentRefusal";
		this.status = status;
	}
}

/**
 * Undefined when there is no credential at all. A credential never changes its meaning (a removed node is missing from
 * the snapshot, its credential stays known), so what was found once is kept in `known`.
 */
export async function identify(
	request: Request,
	directory: Pick<Directory, "findCredential">,
	known: Map<string, Identity>,
): Promise<Identity | undefined> {
	const credential = tokenOf(request.headers.get("Authorization") ?? "");
	if (credential === undefined) return undefined;
	const hash = await sha256(credential);
	const cached = known.get(hash);
	if (cached) return cached;
	const node = nodeOfCredential(credential);
	const row = node && (await directory.findCredential(node));
	if (!node || !row) throw unknownNode();
	if (row.sha256 !== hash) {
		throw new AgentRefusal(401, `this is not the credential of node ${node}: ${remedy}`);
	}
	if (known.size > 100_000) known.clear();
	const identity = { node, cluster: row.cluster, credential };
	known.set(hash, identity);
	return identity;
}

const remedy =
	"install the agent again with the line that `docker swarm join-token worker` leads to";

export const unknownNode = () =>
	new AgentRefusal(401, `no node with this credential is known here: ${remedy}`);

export const clusterErased = () =>
	new AgentRefusal(410, "the cluster that this node belonged to was erased");

/** The node as the cluster knows it; a removed one learns that it was. */
export function nodeOf(snapshot: Snapshot, id: NodeId): Node {
	const node = snapshot.nodes.get(id);
	if (node) return node;
	throw new AgentRefusal(
		410,
		`node ${id} was removed from the cluster. To bring this machine back, ${remedy}`,
	);
}
