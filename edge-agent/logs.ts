// A container's log, for a reader far away: what the engine gives, unchanged.

import type { StreamRequest } from "../model/assignment.ts";
import { type Docker, DockerError } from "./host/docker.ts";

/** Empty when the container is gone: there is nothing to read, and that is no error of anybody's. */
export async function logsOf(
	docker: Docker,
	request: StreamRequest,
	signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
	const { containerId, stdout, stderr, follow, timestamps, tail, since, until } = request;
	const query = new URLSearchParams({
		stdout: String(stdout),
		stderr: String(stderr),
		follow: String(follow),
		timestamps: String(timestamps),
		tail,
		...(since && { since }),
		...(until && { until }),
	});
	try {
		return await docker.stream("GET", `/containers/${containerId}/logs?${query}`, signal);
	} catch (error) {
		if (error instanceof DockerError && error.status === 404) return new Blob([]).stream();
		throw error;
	}
}
