// A machine joins: its token in, its node's identity out. And leaves.

import type { Change } from "../../model/change.ts";
import {
	overlaps,
	parseRange,
	type Range,
	showAddress,
	showRange,
	size,
} from "../../model/cidr.ts";
import { conflict, forbidden, invalid } from "../../model/errors.ts";
import type { NodeId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import type { Node, NodeDescription, Role } from "../../model/node.ts";
import type { JoinReply } from "../../model/report.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { joinTokenForm, newCredential, sha256 } from "../accounts/tokens.ts";
import type { AgentsDoor } from "../cluster.ts";
import type { Directory, JoinTokenRow } from "../store/directory.ts";
import type { Identity } from "./identity.ts";

export interface Joining {
	readonly door: AgentsDoor;
	readonly token: JoinTokenRow;
	readonly description: NodeDescription;
	/** Who the machine says it is already. */
	readonly known: Identity | undefined;
	readonly directory: Pick<Directory, "putCredential">;
	readonly newId: () => string;
	readonly nowMs: number;
}

/** The machine that has joined before keeps its node; any other gets one. */
export async function join(joining: Joining): Promise<JoinReply> {
	const { door, token, description, known, directory, nowMs } = joining;
	const before = await door.snapshot();
	checkEpoch(before, token);
	checkRoutes(before, description);
	if (known && known.cluster === door.id && before.nodes.has(known.node)) {
		const leaseUntilMs = nowMs + before.cluster.nodeTimeoutMs;
		await door.report({ node: known.node, description, leaseUntilMs });
		return { node: known.node, credential: known.credential };
	}
	const node = joining.newId() as NodeId;
	const credential = newCredential(node);
	// First the credential: one without a node is harmless, a node that nobody can speak for is not.
	await directory.putCredential(node, door.id, await sha256(credential));
	await door.commit((snapshot, moment) => {
		checkEpoch(snapshot, token);
		checkRoutes(snapshot, description);
		const replaced = twinOf(snapshot, description);
		const made = newNode(snapshot, node, token.role, description, moment.nowMs);
		const changes: Change[] = [
			...(replaced ? [{ kind: "remove-node", id: replaced.id } as const] : []),
			{ kind: "put-node", node: made },
		];
		return {
			changes,
			result: made,
			events: [
				{
					type: "node",
					action: "create",
					id: node,
					attributes: { name: description.hostname },
				},
			],
		};
	});
	return { node, credential };
}

/** The agent was uninstalled: its tasks go elsewhere at once. */
export async function leave(door: AgentsDoor, id: NodeId): Promise<void> {
	await door.commit((snapshot) => {
		const node = snapshot.nodes.get(id);
		if (!node) return { changes: [], result: null };
		return {
			changes: [{ kind: "remove-node", id }],
			result: null,
			events: [
				{
					type: "node",
					action: "remove",
					id,
					attributes: { name: node.description.hostname },
				},
			],
		};
	});
}

export async function findJoinToken(
	directory: Pick<Directory, "findJoinToken">,
	token: string,
): Promise<JoinTokenRow> {
	if (!joinTokenForm.test(token)) {
		throw invalid(
			"token: not a join token, which looks like SWMTKN-1-…-…: `docker swarm join-token worker` prints one",
		);
	}
	const row = await directory.findJoinToken(await sha256(token));
	if (row) return row;
	throw forbidden(
		"token: not a join token of any cluster here: `docker swarm join-token worker` prints the right one",
	);
}

function checkEpoch({ cluster }: Snapshot, { role, epoch }: JoinTokenRow): void {
	if (cluster.tokens[role].epoch === epoch) return;
	throw forbidden(
		`token: this join token was replaced by a newer one: \`docker swarm join-token ${role}\` prints it`,
	);
}

/** Two things would answer to one address: the machine would lose either its own network or ours. */
function checkRoutes({ cluster, networks }: Snapshot, { routes, hostname }: NodeDescription): void {
	const ours = [
		{
			what: "the cluster's mesh",
			range: cluster.meshRange,
			remedy: "or make the cluster anew with another SKEIN_MESH_RANGE",
		},
		...[...networks.values()]
			.filter((network) => network.ingress && network.subnet !== "")
			.map((network) => ({
				what: `the network ${network.name}`,
				range: network.subnet,
				remedy: `or give ${network.name} another subnet: \`docker network rm ${network.name}\`, then \`docker network create --ingress --driver overlay --subnet RANGE ${network.name}\``,
			})),
	];
	for (const { what, range, remedy } of ours) {
		const clash = routes.find((route) => clashes(parseRange(range), parseRange(route)));
		if (clash === undefined) continue;
		throw conflict(
			`${what} uses ${range}, which overlaps ${clash}, a range that ${hostname} has a route to (\`ip route\` shows it). ` +
				`Take that route off the machine, ${remedy}`,
		);
	}
}

/** A default route leads everywhere and claims nothing. */
function clashes(ours: Range | undefined, theirs: Range | undefined): boolean {
	return ours !== undefined && theirs !== undefined && theirs.prefix > 0 && overlaps(ours, theirs);
}

/** WireGuard knows a machine by its key, so one key is one node: a machine whose disk was lost or copied. */
function twinOf(snapshot: Snapshot, { publicKey }: NodeDescription): Node | undefined {
	const twin = [...snapshot.nodes.values()].find(
		(node) => node.description.publicKey === publicKey,
	);
	if (twin?.status.state === "ready") {
		throw conflict(
			`description.publicKey: node ${twin.id} (${twin.description.hostname}) has this WireGuard key and is up. ` +
				"If this machine is a copy of that one, run the install line here with --uninstall first, which removes the key",
		);
	}
	return twin;
}

function newNode(
	snapshot: Snapshot,
	id: NodeId,
	role: Role,
	description: NodeDescription,
	nowMs: number,
): Node {
	const { cluster } = snapshot;
	const mesh = must(parseRange(cluster.meshRange), "a cluster's mesh range was checked");
	const index = freeIndex(snapshot);
	// The last address of the range is its broadcast's.
	if (index >= size(mesh) - 1) {
		throw conflict(`the mesh ${showRange(mesh)} is full: remove nodes that are gone for good`);
	}
	return {
		id,
		index,
		meshAddress: showAddress(mesh.base + index),
		spec: { name: "", role, availability: "active", labels: {} },
		specVersion: 1,
		status: { state: "unknown", message: "", sinceMs: nowMs },
		createdMs: nowMs,
		updatedMs: nowMs,
		said: { start: 0, count: 0 },
		description,
		attached: [],
		appliedRevision: 0,
		appliedHash: "",
		leaseUntilMs: nowMs + cluster.nodeTimeoutMs,
		unreachable: [],
		images: [],
	};
}

function freeIndex({ nodes }: Snapshot): number {
	const taken = new Set([...nodes.values()].map((node) => node.index));
	let index = 1;
	while (taken.has(index)) index++;
	return index;
}
