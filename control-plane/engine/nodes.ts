// Nodes: list, inspect, change availability, role and labels, remove.
//
// A machine becomes a node by the install line alone (dispatcher/join.ts). The control plane answers as a manager node
// by its id, for clients that ask whom they talk to, and stands in no list: see convert/node.ts.

import { Hono } from "hono";
import { forbidden } from "../../model/errors.ts";
import { type Node, nodeName } from "../../model/node.ts";
import type { ClusterEvent, DoorEnv } from "../cluster.ts";
import { readBody } from "./body.ts";
import { fromEngine, managerId, managerToEngine, nodeSchema, toEngine } from "./convert/node.ts";
import { clusterOf, done, type EngineDeps, versionOf } from "./door.ts";
import { failedPrecondition, outOfSequence } from "./errors.ts";
import { anyOf, hasLabels, idPrefix, isTrue, namePrefix, parseFilters } from "./filters.ts";
import { findNode } from "./lookup.ts";

export function nodeRoutes({ version }: EngineDeps): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.get("/nodes", async (c) => {
			const filters = parseFilters(c.req.query("filters"), [
				"id",
				"name",
				"role",
				"membership",
				"label",
				"node.label",
			]);
			const snapshot = await clusterOf(c).snapshot();
			const found = [...snapshot.nodes.values()]
				.filter(
					(node) =>
						idPrefix(filters, node.id) &&
						namePrefix(filters, nodeName(node)) &&
						anyOf(filters, "role", (role) => role === node.spec.role) &&
						anyOf(filters, "membership", (membership) => membership === "accepted") &&
						hasLabels(filters, node.description.engineLabels) &&
						hasLabels(filters, node.spec.labels, "node.label"),
				)
				.sort((a, b) => a.index - b.index);
			return c.json(found.map(toEngine));
		})
		.get("/nodes/:id", async (c) => {
			const snapshot = await clusterOf(c).snapshot();
			if (c.req.param("id") === managerId(snapshot.cluster)) {
				return c.json(managerToEngine(snapshot.cluster, c.get("publicUrl"), version));
			}
			return c.json(toEngine(findNode(snapshot, c.req.param("id"))));
		})
		.post("/nodes/:id/update", async (c) => {
			const cluster = clusterOf(c);
			const asked = versionOf(c, "node");
			const body = await readBody(c.req.raw, nodeSchema, "NodeSpec");
			const spec = fromEngine(body.value);
			await cluster.commit((snapshot, moment) => {
				refuseManager(c.req.param("id"), managerId(snapshot.cluster));
				const node = findNode(snapshot, c.req.param("id"));
				if (asked !== node.specVersion) throw outOfSequence();
				const updated: Node = {
					...node,
					spec,
					specVersion: node.specVersion + 1,
					updatedMs: moment.nowMs,
				};
				return {
					changes: [{ kind: "put-node", node: updated }],
					result: undefined,
					events: [event(updated, "update", differences(node, updated))],
				};
			});
			return done(c);
		})
		.delete("/nodes/:id", async (c) => {
			const force = isTrue(c.req.query("force"));
			await clusterOf(c).commit((snapshot) => {
				refuseManager(c.req.param("id"), managerId(snapshot.cluster));
				const node = findNode(snapshot, c.req.param("id"));
				if (!force && node.status.state !== "down") {
					throw failedPrecondition(
						`node ${node.id} is not down and can't be removed: uninstall its agent first, or use --force`,
					);
				}
				return {
					changes: [{ kind: "remove-node", id: node.id }],
					result: undefined,
					events: [event(node, "remove", {})],
				};
			});
			return done(c);
		});
}

function refuseManager(asked: string, manager: string): void {
	if (asked !== manager) return;
	throw forbidden("this is the control plane itself: it runs no tasks and can not be changed");
}

function event(
	node: Node,
	action: ClusterEvent["action"],
	attributes: Readonly<Record<string, string>>,
): Omit<ClusterEvent, "timeMs"> {
	return { type: "node", action, id: node.id, attributes: { name: nodeName(node), ...attributes } };
}

function differences(old: Node, next: Node): Record<string, string> {
	const { availability: before, role: roleBefore } = old.spec;
	const { availability: after, role: roleAfter } = next.spec;
	return {
		...(before !== after && { "availability.old": before, "availability.new": after }),
		...(roleBefore !== roleAfter && { "role.old": roleBefore, "role.new": roleAfter }),
	};
}
