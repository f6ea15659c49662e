// Whether a node is what a service's constraints ask for.

import { parseConstraint, satisfies } from "../../control-plane/manager/scheduler/constraint.ts";
import type { Node } from "../../model/node.ts";
import type { Service } from "../../model/service.ts";

export function suits({ spec }: Service, node: Node): boolean {
	return spec.template.placement.constraints
		.map(parseConstraint)
		.filter((constraint) => constraint.kind === "constraint")
		.every((constraint) => satisfies(node, constraint));
}
