// Whether a spec's published ports are free, in Docker's words where they are not.

import type { ServiceId } from "../../model/id.ts";
import type { ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { badArgument } from "./errors.ts";
import { services } from "./lookup.ts";

export function checkPorts(snapshot: Snapshot, id: ServiceId, spec: ServiceSpec): void {
	for (const port of spec.ports) {
		if (port.mode !== "ingress" || port.published === 0) continue;
		const other = services(snapshot).find(
			(service) =>
				service.id !== id &&
				service.ports.some(
					(theirs) =>
						theirs.mode === "ingress" &&
						theirs.published === port.published &&
						theirs.protocol === port.protocol,
				),
		);
		if (other) {
			throw badArgument(
				`port '${port.published}' is already in use by service '${other.spec.name}' (${other.id}) as an ingress port`,
			);
		}
	}
}
