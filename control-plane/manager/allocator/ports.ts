// Published ports: nobody's twice, and one of ours where the user leaves the choice.
//
// Ports in host mode are the scheduler's: they are a node's, not the cluster's.

import type { ServiceId } from "../../../model/id.ts";
import type { PortSpec, Service, ServiceSpec } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import type { Draft } from "../draft.ts";

/** Docker's range. */
const [firstPort, lastPort] = [30_000, 32_767];

/** Docker's words for the first of the spec's ports that another service has; undefined if there is none. */
export function portConflict(
	snapshot: Snapshot,
	spec: Pick<ServiceSpec, "ports">,
	exceptServiceId?: ServiceId,
): string | undefined {
	const asked = new Map(
		spec.ports
			.filter((port) => port.mode === "ingress" && port.published > 0)
			.map((port) => [portKey(port), port.published]),
	);
	if (asked.size === 0) return undefined;
	for (const service of snapshot.services.values()) {
		if (service.id === exceptServiceId || service.removing) continue;
		for (const port of ingressPorts(service)) {
			const published = asked.get(portKey(port));
			if (published !== undefined) {
				return `port '${published}' is already in use by service '${service.spec.name}' (${service.id}) as an ingress port`;
			}
		}
	}
	return undefined;
}

/** Fills in what the user left to us; keeps what was chosen before. */
export function choosePorts(draft: Draft, service: Service): void {
	const open = service.spec.ports.some((port) => port.mode === "ingress" && port.published === 0);
	const asPublished = service.spec.ports.map((port, index) => {
		const known = service.ports[index];
		return port.published === 0 && port.mode === "ingress" && known && isAlike(known, port)
			? { ...port, published: known.published }
			: port;
	});
	const ports = open ? choose(draft, service, asPublished) : asPublished;
	draft.put({ kind: "put-service", service: { ...service, ports } });
}

function choose(draft: Draft, service: Service, ports: readonly PortSpec[]): PortSpec[] {
	if (ports.every((port) => port.mode === "host" || port.published > 0)) return [...ports];
	const used = new Set(ports.map(portKey));
	for (const other of draft.services.values()) {
		if (other.id === service.id) continue;
		for (const port of other.ports) if (port.mode === "ingress") used.add(portKey(port));
	}
	return ports.map((port) => {
		if (port.mode === "host" || port.published > 0) return port;
		for (let published = firstPort; published <= lastPort; published++) {
			const chosen = { ...port, published };
			if (used.has(portKey(chosen))) continue;
			used.add(portKey(chosen));
			return chosen;
		}
		return port;
	});
}

const portKey = ({ protocol, published }: PortSpec) => `${protocol}/${published}`;

const isAlike = (a: PortSpec, b: PortSpec) =>
	a.mode === b.mode && a.protocol === b.protocol && a.target === b.target;

/** What the service answers to on every node. */
export function ingressPorts({ ports }: Pick<Service, "ports">): PortSpec[] {
	return ports.filter((port) => port.mode === "ingress");
}
