// Whether a task may stay where it is.

import type { NodeId } from "../../../model/id.ts";
import { isToBeEmptied } from "../../../model/node.ts";
import type { Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { mayStay } from "../scheduler/schedule.ts";

/**
 * Down, gone, drained, or no longer what the service's constraints ask for. Remembers its answers: a service has more
 * tasks than nodes.
 */
export function placesOf(snapshot: Snapshot, service: Service): (node: NodeId | null) => boolean {
	const { constraints, platforms } = service.spec.template.placement;
	const isPicky = constraints.length > 0 || platforms.length > 0;
	const known = new Map<NodeId, boolean>();
	return (id) => {
		if (id === null) return true;
		const answer = known.get(id);
		if (answer !== undefined) return answer;
		const node = snapshot.nodes.get(id);
		const may =
			node !== undefined &&
			node.status.state === "ready" &&
			!isToBeEmptied(node) &&
			(!isPicky || mayStay(snapshot, service, node));
		known.set(id, may);
		return may;
	};
}
