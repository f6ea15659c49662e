// The line to the engine, kept through its restarts and upgrades: who holds an `Engine` need not know of them.
//
// Listens to the engine's events, tells when it went and when it is back, and negotiates anew each time.

import { messageOf } from "../../model/errors.ts";
import { connectDocker, type Docker, type DockerEvent, eventsPath, lines } from "./docker.ts";

export interface Engine {
	/** Throws while the engine is away. */
	readonly docker: Docker;
	/** The same, but undefined while the engine is away. */
	current(): Docker | undefined;
	/** Why it is away, in words; empty while it answers. */
	readonly complaint: string;
	/** Connects, once, without listening. */
	connect(): Promise<Docker>;
	/** Connects and listens until the signal. Never rejects. */
	listen(listener: EngineListener, signal: AbortSignal): Promise<void>;
}

export interface EngineListener {
	event(event: DockerEvent): void;
	/** It answers (again): whatever happened meanwhile was missed. */
	back(): void;
	/** It does not answer, from the beginning or no more. Said once. */
	gone(complaint: string): void;
}

/** Health checks alone make three events a second per container that we do not care for: only these are asked for. */
const events: Record<string, readonly string[]> = {
	type: ["container", "network"],
	event: [
		"create",
		"start",
		"die",
		"oom",
		"destroy",
		"health_status",
		"pause",
		"unpause",
		"rename",
		"connect",
		"disconnect",
		"remove",
	],
};

const retryMs = 500;

export function openEngine(socketPath: string): Engine {
	let connected: Docker | undefined;
	let complaint = "not asked yet";
	const use = () => {
		if (!connected) throw new Error(`Docker does not answer at ${socketPath}: ${complaint}`);
		return connected;
	};
	const docker: Docker = {
		get apiVersion() {
			return use().apiVersion;
		},
		request: async (method, path, body, headers) => use().request(method, path, body, headers),
		stream: async (method, path, signal, headers) => use().stream(method, path, signal, headers),
		events: (filters, signal) => use().events(filters, signal),
	};
	const connect = async () => {
		try {
			connected = await connectDocker(socketPath);
			complaint = "";
			return connected;
		} catch (error) {
			connected = undefined;
			complaint = messageOf(error);
			throw error;
		}
	};
	return {
		docker,
		current: () => connected,
		get complaint() {
			return complaint;
		},
		connect,
		async listen(listener, signal) {
			let isGone = false;
			while (!signal.aborted) {
				try {
					const fresh = await connect();
					const stream = await fresh.stream("GET", eventsPath(events), signal);
					// Listening has begun only when the answer's head is here: what is looked up after that is not missed.
					isGone = false;
					listener.back();
					for await (const line of lines(stream)) listener.event(JSON.parse(line) as DockerEvent);
					complaint = "its events ended";
				} catch (error) {
					complaint = messageOf(error);
				}
				if (signal.aborted) return;
				connected = undefined;
				if (!isGone) listener.gone(complaint);
				isGone = true;
				await Bun.sleep(retryMs);
			}
		},
	};
}
