// The machine's Docker engine, over its socket: the few calls we need, in the engine's own JSON.

/** The engine's refusal: its HTTP status and its words. */
export class DockerError extends Error {
	readonly status: number;

	constructor(status: number, message: string) {
		super(message);
		this.name = "DockerError";
		this.status = status;
	}
}

export interface Docker {
	/** Negotiated: min(ours, the engine's). */
	readonly apiVersion: string;
	/** `path` without version: `/containers/json?all=1`. Throws `DockerError`, or the socket's own error. */
	request<Answer>(
		method: "GET" | "POST" | "DELETE" | "PUT",
		path: string,
		body?: unknown,
		headers?: Record<string, string>,
	): Promise<Answer>;
	/** The engine's events (JSON objects) until the signal. Ends when the engine does. */
	events(
		filters: Record<string, readonly string[]>,
		signal: AbortSignal,
	): AsyncIterable<DockerEvent>;
}

export interface DockerEvent {
	readonly Type: string;
	readonly Action: string;
	readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> };
	readonly timeNano: number;
}
