// Nodes between Docker's JSON and ours, and the control plane as the manager that clients expect to find.

import { z } from "zod";
import type { Cluster } from "../../../model/cluster.ts";
import { invalid } from "../../../model/errors.ts";
import type { ClusterId } from "../../../model/id.ts";
import type { GenericResources, Node } from "../../../model/node.ts";
import type { Document } from "../../../model/service.ts";
import { hostOf } from "../address.ts";
import { installLine } from "../errors.ts";
import { timestamp } from "./time.ts";

export const nodeSchema = z
	.looseObject({
		Name: z.string(),
		Labels: z.record(z.string(), z.string()),
		Role: z.string(),
		Availability: z.string(),
	})
	.partial();

export function fromEngine(asked: z.infer<typeof nodeSchema>): Node["spec"] {
	return {
		name: asked.Name ?? "",
		labels: asked.Labels ?? {},
		role: roleOf(asked.Role ?? ""),
		availability: availabilityOf(asked.Availability ?? ""),
	};
}

function roleOf(text: string): Node["spec"]["role"] {
	if (text === "worker" || text === "manager") return text;
	throw invalid(`invalid Role: ${JSON.stringify(text)}`);
}

function availabilityOf(text: string): Node["spec"]["availability"] {
	if (text === "active" || text === "pause" || text === "drain") return text;
	throw invalid(`invalid Availability: ${JSON.stringify(text)}`);
}

export function toEngine(node: Node): Document {
	const { spec, description, status } = node;
	const { problems, warnings = [] } = description;
	const message = [...new Set([status.message, ...problems, ...warnings])]
		.filter((line) => line !== "")
		.join("; ");
	return {
		ID: node.id,
		Version: { Index: node.specVersion },
		CreatedAt: timestamp(node.createdMs),
		UpdatedAt: timestamp(node.updatedMs),
		Spec: {
			...(spec.name !== "" && { Name: spec.name }),
			Labels: spec.labels,
			Role: spec.role,
			Availability: spec.availability,
		},
		Description: {
			Hostname: description.hostname,
			Platform: { Architecture: description.architecture, OS: description.os },
			Resources: {
				NanoCPUs: description.nanoCpus,
				MemoryBytes: description.memoryBytes,
				...showGeneric(description.genericResources),
			},
			Engine: {
				EngineVersion: description.engineVersion,
				Labels: description.engineLabels,
				Plugins: description.plugins.map(({ type, name }) => ({ Type: type, Name: name })),
			},
			TLSInfo: {},
		},
		Status: {
			State: status.state,
			...(message !== "" && { Message: message }),
			Addr: description.addresses[0] ?? "",
		},
		...(spec.role === "manager" && {
			ManagerStatus: {
				Reachability: status.state === "ready" ? "reachable" : "unreachable",
				Addr: description.addresses[0] ?? "",
			},
		}),
	};
}

/** As the engine lists them: a named one each, a number for a kind that is only counted. */
export function showGeneric(resources: GenericResources = {}): Document {
	const listed = Object.entries(resources).flatMap(([kind, what]): Document[] =>
		typeof what === "number"
			? [{ DiscreteResourceSpec: { Kind: kind, Value: what } }]
			: what.map((name) => ({ NamedResourceSpec: { Kind: kind, Value: name } })),
	);
	return listed.length > 0 ? { GenericResources: listed } : {};
}

/** The control plane's own id among nodes. No node has it: nodes' ids are drawn, the cluster's too. */
export function managerId(cluster: { readonly id: ClusterId }): string {
	return cluster.id;
}

/**
 * The CLI asks which node it talks to and where that manager is reached, and prints nothing without. This answers it;
 * lists of nodes leave it out, since nothing can run there and people count machines.
 *
 * After `docker swarm join --token …` the CLI prints the address as it is, so the line that works here stands there too.
 */
export function managerToEngine(cluster: Cluster, publicUrl: string, version: string): Document {
	const address = hostOf(publicUrl);
	return {
		ID: managerId(cluster),
		Version: { Index: cluster.specVersion },
		CreatedAt: timestamp(cluster.createdMs),
		UpdatedAt: timestamp(cluster.updatedMs),
		Spec: { Labels: {}, Role: "manager", Availability: "drain" },
		Description: {
			Hostname: "control-plane",
			Platform: { Architecture: "x86_64", OS: "linux" },
			Resources: { NanoCPUs: 0, MemoryBytes: 0 },
			Engine: { EngineVersion: version, Labels: {}, Plugins: [] },
			TLSInfo: {},
		},
		Status: { State: "ready", Addr: address },
		ManagerStatus: {
			Leader: true,
			Reachability: "reachable",
			Addr: `${address}\n\nwhich is, here, this line typed on the machine itself:\n\n    ${installLine(publicUrl, "THE-TOKEN-ABOVE")}`,
		},
	};
}
