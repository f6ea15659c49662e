// Containers that people attach to our networks with plain `docker run --network`: who they are and where.
//
// Tasks are not among them; those carry `taskLabel`. Names and tables of other nodes come from what is reported here.

import type { NetworkId } from "../../model/id.ts";
import type { AttachedContainer } from "../../model/node.ts";
import { type Docker, DockerError } from "../host/docker.ts";

/** On every container that is a task of ours. */
export const taskLabel = "skein.task";

/** Of each overlay that is ready, what the engine calls it. */
type Networks = ReadonlyMap<NetworkId, { readonly id: NetworkId; readonly engineId: string }>;

interface ListedContainer {
	readonly Id: string;
	readonly Labels?: Readonly<Record<string, string>> | null;
	readonly NetworkSettings?: { readonly Networks?: EngineEndpoints | null } | null;
}

type EngineEndpoints = Readonly<
	Record<
		string,
		{
			readonly NetworkID: string;
			readonly IPAddress: string;
			readonly MacAddress: string;
			readonly Aliases?: readonly string[] | null;
		}
	>
>;

/** What we read of a container's inspection. */
export interface Inspected {
	readonly Id: string;
	readonly Name: string;
	readonly NetworkSettings: { readonly Networks: EngineEndpoints };
}

/** `networks`: those that `apply` has made ready. Sorted by container and network. */
export async function listAttached(
	docker: Docker,
	networks: Networks,
): Promise<AttachedContainer[]> {
	if (networks.size === 0) return [];
	// Stopped ones too: at the moment of the connection some engines do not call a container running yet.
	const engineIds = [...networks.values()].map(({ engineId }) => engineId);
	const filters = encodeURIComponent(JSON.stringify({ network: engineIds }));
	const listed = await docker.request<readonly ListedContainer[]>(
		"GET",
		`/containers/json?all=1&filters=${filters}`,
	);
	const attached = listed
		.filter(({ Labels }) => Labels?.[taskLabel] === undefined)
		.filter(({ NetworkSettings }) =>
			Object.values(NetworkSettings?.Networks ?? {}).some(({ IPAddress }) => IPAddress !== ""),
		);
	const inspected = await Promise.all(attached.map(({ Id }) => inspect(docker, Id)));
	return inspected
		.flatMap((container) => (container ? attachments(container, networks) : []))
		.toSorted((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
}

/** Undefined when it has gone meanwhile. */
async function inspect(docker: Docker, id: string): Promise<Inspected | undefined> {
	try {
		return await docker.request<Inspected>("GET", `/containers/${id}/json`);
	} catch (error) {
		if (error instanceof DockerError && error.status === 404) return undefined;
		throw error;
	}
}

/** One container, in each of our networks that it has an address in. */
export function attachments(container: Inspected, networks: Networks): AttachedContainer[] {
	const byEngineId = new Map([...networks.values()].map(({ engineId, id }) => [engineId, id]));
	return Object.values(container.NetworkSettings.Networks).flatMap((endpoint) => {
		const network = byEngineId.get(endpoint.NetworkID);
		if (network === undefined || endpoint.IPAddress === "") return [];
		const aliases = endpoint.Aliases ?? [];
		return [
			{
				containerId: container.Id,
				name: container.Name.replace(/^\//, ""),
				// The engine counts the short id among them, some twice.
				aliases: [...new Set(aliases)]
					.filter((alias) => !container.Id.startsWith(alias))
					.toSorted(),
				network,
				address: endpoint.IPAddress,
				mac: endpoint.MacAddress.toLowerCase(),
			},
		];
	});
}

const sortKey = ({ containerId, network }: AttachedContainer) => `${containerId} ${network}`;
