// A preview's ports: what the compose file publishes, at whichever ports are free. Pure.
//
// The file is the one that production is made of, so that it names ports, and no two previews can have the same. To refuse
// it would ask for a second file, and what is previewed is to be what will be deployed.

import type { Document } from "../../model/service.ts";
import type { ServiceDocument } from "../engine/convert/document.ts";

/** And a sentence for each port that was named. */
export function withFreePorts(document: Document): {
	readonly document: Document;
	readonly warnings: readonly string[];
} {
	const { EndpointSpec: endpoint, Name: name } = document as ServiceDocument;
	const named = (endpoint?.Ports ?? []).filter(({ PublishedPort: port = 0 }) => port > 0);
	if (named.length === 0) return { document, warnings: [] };
	const Ports = endpoint?.Ports?.map(({ PublishedPort: _named, ...port }) => port);
	return {
		document: { ...document, EndpointSpec: { ...endpoint, Ports } },
		warnings: named.map(
			({ PublishedPort: port }) =>
				`service ${name}: a preview publishes no port ${port} but one that is free: docker service ls shows it, {port} in url stands for it`,
		),
	};
}
