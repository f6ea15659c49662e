// The machine's Docker engine, over its socket: the few calls we need, in the engine's own JSON.
//
// A thin client of our own, since Bun speaks HTTP over unix sockets by itself. It knows versions, errors and
// streams, and no object of Docker's: whoever calls names the path and the shape of the answer.

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
	/** An answer that goes on: a pull's progress, a container's log. */
	stream(
		method: "GET" | "POST",
		path: string,
		signal: AbortSignal,
		headers?: Record<string, string>,
	): Promise<ReadableStream<Uint8Array>>;
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

/** 20.10's, and the newest that we have run against. */
const oldest = "1.41";
const newest = "1.51";

/** An engine that does not answer a question in a minute is stuck; orders (a stop with grace) may take their time. */
const readTimeoutMs = 60_000;
const writeTimeoutMs = 3_600_000;

export const defaultSocket = "/var/run/docker.sock";

/** Throws when nobody answers, or when the engine is too old or too new for us. */
export async function connectDocker(socketPath: string): Promise<Docker> {
	const version = await answerOf<{ ApiVersion: string; MinAPIVersion?: string; Version: string }>(
		await call(socketPath, "GET", "/version", AbortSignal.timeout(readTimeoutMs)),
	);
	const apiVersion = negotiate(version);
	const send = (
		method: string,
		path: string,
		signal: AbortSignal,
		body?: unknown,
		headers?: Record<string, string>,
	) => call(socketPath, method, `/v${apiVersion}${path}`, signal, body, headers);

	const docker: Docker = {
		apiVersion,
		async request<Answer>(
			method: "GET" | "POST" | "DELETE" | "PUT",
			path: string,
			body?: unknown,
			headers?: Record<string, string>,
		) {
			const timeoutMs = method === "GET" ? readTimeoutMs : writeTimeoutMs;
			const reply = await send(method, path, AbortSignal.timeout(timeoutMs), body, headers);
			return answerOf<Answer>(reply);
		},
		async stream(method, path, signal, headers) {
			const reply = await send(method, path, signal, undefined, headers);
			if (!reply.ok) throw await refusal(reply);
			return reply.body ?? new Blob([]).stream();
		},
		async *events(filters, signal) {
			const stream = await docker.stream("GET", eventsPath(filters), signal);
			for await (const line of lines(stream)) yield JSON.parse(line) as DockerEvent;
		},
	};
	return docker;
}

/** Whether the negotiated version is at least this one. */
export function speaks(docker: Pick<Docker, "apiVersion">, version: string): boolean {
	return compare(docker.apiVersion, version) >= 0;
}

/** The lines of a stream that are not empty: what Docker calls JSON messages. */
export async function* lines(stream: ReadableStream<Uint8Array>): AsyncIterable<string> {
	const decoder = new TextDecoder();
	let rest = "";
	for await (const chunk of stream) {
		const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
		rest = parts.pop() ?? "";
		for (const part of parts) if (part.trim() !== "") yield part;
	}
	if (rest.trim() !== "") yield rest;
}

/** As `X-Registry-Auth`. */
export function registryAuth(login: {
	readonly username: string;
	readonly password: string;
}): string {
	// Of base64url's two alphabets Go's, which fills up the end.
	const text = Buffer.from(JSON.stringify(login)).toString("base64");
	return text.replaceAll("+", "-").replaceAll("/", "_");
}

export function eventsPath(filters: Record<string, readonly string[]>): string {
	return `/events?filters=${encodeURIComponent(JSON.stringify(filters))}`;
}

function negotiate(engine: { ApiVersion: string; MinAPIVersion?: string; Version: string }) {
	if (compare(engine.ApiVersion, oldest) < 0) {
		throw new Error(
			`Docker ${engine.Version} speaks API ${engine.ApiVersion}; Skein needs ${oldest} or later: upgrade to Docker 20.10 or newer`,
		);
	}
	if (engine.MinAPIVersion && compare(engine.MinAPIVersion, newest) > 0) {
		throw new Error(
			`Docker ${engine.Version} needs API ${engine.MinAPIVersion} or later; this agent speaks up to ${newest}: upgrade the agent by running the install line again`,
		);
	}
	return compare(engine.ApiVersion, newest) < 0 ? engine.ApiVersion : newest;
}

function compare(a: string, b: string): number {
	const [aMajor = 0, aMinor = 0] = a.split(".").map(Number);
	const [bMajor = 0, bMinor = 0] = b.split(".").map(Number);
	return aMajor - bMajor || aMinor - bMinor;
}

function call(
	socketPath: string,
	method: string,
	path: string,
	signal: AbortSignal,
	body?: unknown,
	headers: Record<string, string> = {},
): Promise<Response> {
	return fetch(`http://docker${path}`, {
		unix: socketPath,
		method,
		signal,
		// Bun gives up on an idle answer after five minutes unless told; the signal is our only bound.
		timeout: false,
		headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
		...(body !== undefined && { body: JSON.stringify(body) }),
	} as RequestInit);
}

async function answerOf<Answer>(reply: Response): Promise<Answer> {
	if (!reply.ok) throw await refusal(reply);
	const text = await reply.text();
	return (text === "" ? undefined : JSON.parse(text)) as Answer;
}

async function refusal(reply: Response): Promise<DockerError> {
	const text = await reply.text();
	try {
		const { message } = JSON.parse(text) as { message?: unknown };
		if (typeof message === "string") return new DockerError(reply.status, message);
	} catch {
		// Not JSON: the whole text is the message.
	}
	return new DockerError(reply.status, text.trim() || `Docker answered ${reply.status}`);
}
