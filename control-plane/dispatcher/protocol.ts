// Which version of the protocol an agent speaks, and an assignment as that version knows it.

import type { Assignment } from "../../model/assignment.ts";
import { oldestProtocol, protocolHeader, protocolVersion } from "../../model/protocol.ts";
import { AgentRefusal } from "./identity.ts";

/** Agents have always said it; whoever says nothing is a person with `curl`, and hears the newest. */
export function protocolOf(header: string | undefined): number {
	const theirs = Number(header ?? protocolVersion);
	if (theirs >= oldestProtocol && theirs <= protocolVersion) return theirs;
	const spoken = `${protocolHeader}: this control plane speaks versions ${oldestProtocol} to ${protocolVersion}, the agent ${header}`;
	if (theirs > protocolVersion) {
		throw new AgentRefusal(
			426,
			`${spoken}: upgrade the control plane, or run its install line on the node to go back to its agent`,
		);
	}
	throw new AgentRefusal(426, `${spoken}: run the install line again on the node`);
}

/** An agent refuses an assignment of a version later than its own. */
export function inVersion(assignment: Assignment, protocol: number): Assignment {
	if (protocol >= protocolVersion) return assignment;
	const { agent: _agent, movedTo: _movedTo, ...known } = assignment;
	return { ...known, protocol };
}
