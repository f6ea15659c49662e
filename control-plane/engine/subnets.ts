// Whether a subnet that a user asks for is free: of our own networks, and of the nodes' own routes.

import { overlaps, parseRange } from "../../model/cidr.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { badArgument } from "./errors.ts";
import { nodeName } from "./lookup.ts";

export function checkSubnet(snapshot: Snapshot, subnet: string): void {
	const asked = parseRange(subnet);
	const clashes = (text: string) => {
		const range = parseRange(text);
		return asked !== undefined && range !== undefined && overlaps(asked, range);
	};
	for (const network of snapshot.networks.values()) {
		if (network.subnet !== "" && clashes(network.subnet)) {
			throw badArgument(
				`invalid pool request: Pool overlaps with other one on this address space: ${subnet} overlaps network ${network.name} (${network.subnet})`,
			);
		}
	}
	for (const node of snapshot.nodes.values()) {
		const route = node.description.routes.find(clashes);
		if (route !== undefined) {
			throw badArgument(
				`subnet ${subnet} overlaps ${route}, which node ${nodeName(node)} has a route to`,
			);
		}
	}
}
