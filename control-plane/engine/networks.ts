// Overlay networks: list, create, inspect, remove. Other networks are the business of each machine.

import { Hono } from "hono";
import { conflict, forbidden } from "../../model/errors.ts";
import type { NetworkId } from "../../model/id.ts";
import type { Network } from "../../model/network.ts";
import { nodeName } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { ClusterDoor, ClusterEvent, DoorEnv } from "../cluster.ts";
import { subnetClash } from "../manager/allocator/ipam.ts";
import { readBody } from "./body.ts";
import { attachedTo, fromEngine, networkSchema, toEngine } from "./convert/network.ts";
import { clusterOf, created, type EngineContext } from "./door.ts";
import { badArgument, failedPrecondition } from "./errors.ts";
import { anyOf, hasLabels, idPrefix, isTrue, parseFilters } from "./filters.ts";
import { findNetwork, isSameName, services } from "./lookup.ts";

export function networkRoutes(): Hono<DoorEnv> {
	const list = async (c: EngineContext) => {
		const filters = parseFilters(c.req.query("filters"), [
			"id",
			"name",
			"driver",
			"scope",
			"type",
			"label",
			"dangling",
		]);
		const snapshot = await clusterOf(c).snapshot();
		const found = [...snapshot.networks.values()]
			.filter(
				(network) =>
					idPrefix(filters, network.id) &&
					anyOf(filters, "name", (part) => network.name.includes(part)) &&
					anyOf(filters, "driver", (driver) => driver === "overlay") &&
					anyOf(filters, "scope", (scope) => scope === "swarm") &&
					anyOf(filters, "type", (type) => (type === "builtin") === network.ingress) &&
					anyOf(
						filters,
						"dangling",
						(wanted) => isTrue(wanted) === (userOf(network, snapshot) === undefined),
					) &&
					hasLabels(filters, network.labels),
			)
			.sort((a, b) => (a.name < b.name ? -1 : 1));
		return c.json(found.map((network) => toEngine(network, snapshot, "listed")));
	};
	return new Hono<DoorEnv>()
		.get("/networks", list)
		.get("/networks/", list)
		.get("/networks/:id", async (c) => {
			const snapshot = await clusterOf(c).snapshot();
			const network = findNetwork(snapshot, c.req.param("id"));
			const detail = isTrue(c.req.query("verbose")) ? "verbose" : "inspected";
			return c.json(toEngine(network, snapshot, detail));
		})
		.post("/networks/create", async (c) => {
			const cluster = clusterOf(c);
			const body = await readBody(c.req.raw, networkSchema, "NetworkCreateRequest");
			const { warning, ...asked } = fromEngine(body.value);
			const { result } = await cluster.commit((snapshot, moment) => {
				if ([...snapshot.networks.values()].some(({ name }) => isSameName(name, asked.name))) {
					throw conflict(`network with name ${asked.name} already exists`);
				}
				const clash = asked.subnet === "" ? undefined : subnetClash(snapshot, asked.subnet);
				if (clash) throw badArgument(`invalid pool request: ${clash}`);
				const network: Network = {
					...asked,
					id: moment.newId() as NetworkId,
					// The allocator's to choose, as the subnet is where the user named none.
					vni: 0,
					ingress: false,
					createdMs: moment.nowMs,
				};
				return {
					changes: [{ kind: "put-network", network }],
					result: network.id,
					events: [event(network, "create")],
				};
			});
			return created(c, { Id: result, Warning: warning });
		})
		.delete("/networks/:id", async (c) => {
			const cluster = clusterOf(c);
			await untilVacated(cluster, c.req.param("id"), c.req.raw.signal);
			await cluster.commit((snapshot) => {
				const network = findNetwork(snapshot, c.req.param("id"));
				if (network.ingress) {
					throw badArgument(
						`network ${network.name} carries the published ports of all services and can not be removed`,
					);
				}
				const user = userOf(network, snapshot) ?? lastTask(network, snapshot);
				if (user) throw failedPrecondition(`network ${network.id} is in use by ${user}`);
				return {
					changes: [{ kind: "remove-network", id: network.id }],
					result: undefined,
					events: [event(network, "remove")],
				};
			});
			return c.body(null, 204);
		})
		.post("/networks/prune", async (c) => {
			const snapshot = await clusterOf(c).snapshot();
			const unused = [...snapshot.networks.values()].filter(
				(network) => !network.ingress && userOf(network, snapshot) === undefined,
			);
			if (unused.length === 0) return c.json({ NetworksDeleted: [] });
			throw forbidden(
				"overlay networks are shared by the whole cluster and are not pruned: " +
					`docker network rm ${unused.map(({ name }) => name).join(" ")}`,
			);
		});
}

/** Who needs the network, or undefined if nobody does for long. */
function userOf(network: Network, snapshot: Snapshot): string | undefined {
	const service = services(snapshot).find(({ spec }) =>
		spec.template.networks.some((each) => each.network === network.id),
	);
	if (service) return `service ${service.id}`;
	const [attached] = attachedTo(network, snapshot);
	return attached && `container ${attached.container.name} on node ${nodeName(attached.node)}`;
}

/** A task that has not stopped yet, although nothing wants it any more. */
function lastTask(network: Network, snapshot: Snapshot): string | undefined {
	const task = [...snapshot.tasks.values()].find(
		({ attachments, status, node }) =>
			node !== null &&
			!isTerminal(status.state) &&
			attachments.some((each) => each.network === network.id),
	);
	return task && `task ${task.id}, which has not stopped yet`;
}

/** Longer than the grace that most containers have. */
const windDownMs = 30_000;

/**
 * `docker stack rm` removes a network right after the services in it. Their containers are given the time to stop: taken
 * from under them, the network would be neither there nor gone.
 */
async function untilVacated(
	cluster: ClusterDoor,
	asked: string,
	signal: AbortSignal,
): Promise<void> {
	const untilMs = Date.now() + windDownMs;
	while (!signal.aborted) {
		const snapshot = await cluster.snapshot();
		const seq = cluster.seq();
		const network = findNetwork(snapshot, asked);
		const leftMs = untilMs - Date.now();
		if (leftMs <= 0 || network.ingress || userOf(network, snapshot)) return;
		if (!lastTask(network, snapshot)) return;
		await cluster.wait(seq, leftMs, signal);
	}
}

function event(network: Network, action: ClusterEvent["action"]): Omit<ClusterEvent, "timeMs"> {
	return {
		type: "network",
		action,
		id: network.id,
		attributes: { name: network.name, type: "overlay" },
	};
}
