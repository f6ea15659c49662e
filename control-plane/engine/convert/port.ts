// Published ports as Docker shows them.

import type { Document, PortSpec } from "../../../model/service.ts";

export function showPort(port: PortSpec): Document {
	return {
		...(port.name && { Name: port.name }),
		Protocol: port.protocol,
		TargetPort: port.target,
		...(port.published > 0 && { PublishedPort: port.published }),
		PublishMode: port.mode,
	};
}
