// The Engine API's door over a cluster in memory, for tests: every answer is held against Docker's schema.

import { expect } from "bun:test";
import { Hono } from "hono";
import type { AskNode, DoorEnv, NodeAnswer } from "../../control-plane/cluster.ts";
import type { EngineDeps } from "../../control-plane/engine/door.ts";
import { engine } from "../../control-plane/engine/router.ts";
import { FakeAgents, type MemoryCluster, MemoryClusters } from "../memory-cluster.ts";
import { complaints } from "./schema.ts";

export interface Answer {
	readonly status: number;
	// biome-ignore lint/suspicious/noExplicitAny: tests look into answers as clients without types do
	readonly body: any;
	readonly headers: Headers;
}

export interface Door {
	readonly app: Hono<DoorEnv>;
	readonly clusters: MemoryClusters;
	readonly agents: FakeAgents;
	readonly faults: readonly unknown[];
	cluster(): MemoryCluster;
	ask(
		method: string,
		path: string,
		body?: unknown,
		headers?: Record<string, string>,
	): Promise<Answer>;
	/** Lets the agents work until nothing is left to do. */
	settle(): Promise<void>;
	close(): void;
}

export async function openDoor(
	options: {
		readonly init?: boolean;
		readonly nodes?: readonly string[];
		readonly via?: "socket" | "tcp";
		readonly insecureRegistries?: readonly string[];
		readonly fetch?: EngineDeps["fetch"];
		readonly askNode?: AskNode;
	} = {},
): Promise<Door> {
	const clusters = new MemoryClusters();
	if (options.init ?? true) await clusters.create({});
	const faults: unknown[] = [];
	const app = new Hono<DoorEnv>();
	app.use("*", async (c, next) => {
		c.set("cluster", clusters.current);
		c.set("clusters", clusters);
		c.set("mayAdmit", true);
		c.set("via", options.via ?? "socket");
		c.set("publicUrl", "http://192.0.2.1:8787");
		c.set("askNode", options.askNode ?? (() => Promise.reject(new Error("nobody answers"))));
		c.set("stdin", (c.env as { stdin?: ReadableStream<Uint8Array> } | undefined)?.stdin);
		await next();
	});
	app.route(
		"/",
		engine({
			version: "0.1.0",
			insecureRegistries: options.insecureRegistries ?? [],
			fetch: options.fetch ?? (() => Promise.reject(new Error("this test has no network"))),
			onFault: (error) => faults.push(error),
		}),
	);
	const cluster = () => {
		if (!clusters.current) throw new Error("there is no cluster");
		return clusters.current;
	};
	let agents: FakeAgents | undefined;
	const machines = () => {
		agents ??= new FakeAgents(cluster());
		return agents;
	};
	for (const name of options.nodes ?? []) await machines().join(name);
	return {
		app,
		clusters,
		faults,
		cluster,
		get agents() {
			return machines();
		},
		async ask(method, path, body, headers = {}) {
			const response = await app.request(path, {
				method,
				headers: { Connection: "close", ...headers },
				...(body !== undefined && {
					body: typeof body === "string" ? body : JSON.stringify(body),
				}),
			});
			const text = await response.text();
			// Events are many objects, one after the other.
			const isJson =
				response.headers.get("Content-Type") === "application/json" && !path.includes("/events");
			const answer = {
				status: response.status,
				body: isJson && text !== "" ? JSON.parse(text) : text,
				headers: response.headers,
			};
			if (isJson) {
				const found = complaints(method, path, answer.status, answer.body);
				expect(found, `${method} ${path}: ${text.slice(0, 2000)}`).toEqual([]);
			}
			return answer;
		},
		async settle() {
			// The cluster may be erased while its machines work: then there is nothing left to settle.
			for (let before = -1; clusters.current && before !== clusters.current.seq(); ) {
				before = clusters.current.seq();
				await machines().turn();
			}
		},
		close() {
			agents?.close();
			clusters.current?.close();
		},
	};
}

/** What an engine says, as a node's answer. */
export function answering(
	bytes: readonly number[] | object,
	head: Partial<NodeAnswer> = {},
): NodeAnswer {
	const isBytes = Array.isArray(bytes) && typeof (bytes[0] ?? 0) === "number";
	const body = isBytes ? new Uint8Array(bytes) : JSON.stringify(bytes);
	return {
		status: 200,
		type: isBytes ? "application/vnd.docker.multiplexed-stream" : "application/json",
		body: new Blob([body]).stream(),
		over: Promise.resolve(),
		...head,
	};
}
