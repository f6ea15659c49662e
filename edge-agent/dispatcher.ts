// The agent's side of the only door it knocks at: join, poll, report, answer what somebody asks of the engine.
//
// Each call is one attempt; who calls decides how often to try again. Proxies are for this door alone: Bun reads
// HTTPS_PROXY, HTTP_PROXY and NO_PROXY by itself, and nothing else in the agent speaks HTTP over a network.

import pRetry from "p-retry";
import type { AssignmentReply } from "../model/assignment.ts";
import type { BuildSecrets } from "../model/build.ts";
import type { BuildId, TaskId } from "../model/id.ts";
import type { ContentName, DeliveredContent } from "../model/material.ts";
import { oldestProtocol, protocolHeader, protocolVersion } from "../model/protocol.ts";
import { proxyFor } from "../model/proxy.ts";
import type { JoinReply, JoinRequest, Report } from "../model/report.ts";
import type { ReportedStack, StackReply } from "../model/stack.ts";
import { keepOpen } from "./line.ts";

/** The control plane knows this node no more: it was removed. The one answer that changes anything here. */
export class NodeGone extends Error {}

/** An answer that is no yes: its status, its words. */
export class DispatcherError extends Error {
	readonly status: number;

	constructor(status: number, message: string) {
		super(message);
		this.name = "DispatcherError";
		this.status = status;
	}
}

export interface Dispatcher {
	/** Held by the control plane until there is news, or for a while. */
	poll(asked: Asked, signal: AbortSignal): Promise<AssignmentReply>;
	/**
	 * Opens the node's bell. `rung` is called once it is open, and whenever another poll is worth while. Resolves when the
	 * line ends after it was open, with the signal too; rejects where it cannot be opened.
	 */
	bell(pingMs: number, rung: () => void, signal: AbortSignal): Promise<void>;
	report(report: Report): Promise<void>;
	/** What secrets and configs say, of those that this node's tasks use. */
	contents(names: readonly ContentName[]): Promise<readonly DeliveredContent[]>;
	/** Resolves when the reader has gone, or the body has ended. */
	stream(id: string, body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<void>;
	/** What the reader of that stream sends. */
	input(id: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
	/** What the registry of the task's image wants to see, as `X-Registry-Auth`; null for nothing. */
	registryAuth(task: TaskId): Promise<string | null>;
	/** What a build of this node must know and nobody else. */
	buildSecrets(build: BuildId): Promise<BuildSecrets>;
	/** All that a build of this node said, once it has ended. */
	buildLog(build: BuildId, text: string): Promise<void>;
	/** What its compose file came to, before it is complete. */
	buildStack(build: BuildId, stack: ReportedStack): Promise<StackReply>;
	/** The node goes of its own will. */
	leave(): Promise<void>;
}

export interface Asked {
	/** Of the assignment that the node has; 0 and empty for none. */
	readonly revision: number;
	readonly hash: string;
	/** The bell is open: an answer at once, news or not. */
	readonly atOnce?: boolean;
}

/** A control plane that holds a poll longer than this has lost us, or we it. */
const pollTimeoutMs = 20_000;
const callTimeoutMs = 20_000;
/** A runtime has some 90 MB. */
const loadTimeoutMs = 300_000;

export function openDispatcher(url: string, credential: string): Dispatcher {
	const headers = { authorization: `Bearer ${credential}` };
	return {
		async poll({ revision, hash, atOnce }, signal) {
			const query = new URLSearchParams({ revision: String(revision), hash });
			if (atOnce) query.set("hold", "no");
			const reply = await call(url, "GET", `/agent/assignment?${query}`, {
				headers,
				signal: AbortSignal.any([signal, AbortSignal.timeout(pollTimeoutMs)]),
			});
			return (await reply.json()) as AssignmentReply;
		},
		bell: (pingMs, rung, signal) =>
			keepOpen(openSocket(`${url}/agent/bell`, headers), pingMs, rung, signal),
		async report(report) {
			await call(url, "POST", "/agent/report", json(report, headers));
		},
		async contents(names) {
			const reply = await call(url, "POST", "/agent/contents", json({ names }, headers));
			return ((await reply.json()) as { contents: DeliveredContent[] }).contents;
		},
		async stream(id, body, signal) {
			const path = `/agent/stream/${encodeURIComponent(id)}`;
			await call(url, "POST", path, { headers, body, signal });
		},
		async input(id, signal) {
			const reply = await call(url, "GET", `/agent/stream/${encodeURIComponent(id)}`, {
				headers,
				signal,
			});
			return reply.body ?? new Blob([]).stream();
		},
		async registryAuth(task) {
			const reply = await call(url, "POST", "/agent/registry-auth", json({ task }, headers));
			return ((await reply.json()) as { registryAuth: string | null }).registryAuth;
		},
		async buildSecrets(build) {
			const reply = await call(url, "POST", "/agent/build-secrets", json({ build }, headers));
			return (await reply.json()) as BuildSecrets;
		},
		async buildLog(build, text) {
			await call(url, "POST", `/agent/build-log?build=${encodeURIComponent(build)}`, {
				headers: { "content-type": "text/plain; charset=utf-8", ...headers },
				body: text,
			});
		},
		async buildStack(build, stack) {
			const path = `/agent/build-stack?build=${encodeURIComponent(build)}`;
			const reply = await call(url, "POST", path, json(stack, headers));
			return (await reply.json()) as StackReply;
		},
		async leave() {
			await call(url, "POST", "/agent/leave", json({}, headers));
		},
	};
}

/** Makes this machine a node: a token in, an identity out. With the credential of an earlier join, that node's. */
export async function join(
	url: string,
	request: JoinRequest,
	credential?: string,
): Promise<JoinReply> {
	const headers = credential ? { authorization: `Bearer ${credential}` } : {};
	const reply = await call(url, "POST", "/agent/join", json(request, headers));
	return (await reply.json()) as JoinReply;
}

/**
 * Whether the control plane knows us. Only its own word counts: one that is slow, or just starting, is asked again, and
 * what it answers in the end is thrown.
 */
export async function isKnown(dispatcher: Pick<Dispatcher, "report">): Promise<boolean> {
	try {
		await pRetry(() => dispatcher.report({}), {
			retries: 4,
			shouldRetry: ({ error }) => !isDisowned(error),
		});
		return true;
	} catch (error) {
		if (isDisowned(error)) return false;
		throw error;
	}
}

const isDisowned = (error: unknown) =>
	error instanceof NodeGone || (error instanceof DispatcherError && error.status === 401);

/** With the proxy that `fetch` would take. */
function openSocket(url: string, headers: Readonly<Record<string, string>>): WebSocket {
	const proxy = proxyFor(new URL(url), process.env);
	return new WebSocket(url.replace(/^http/, "ws"), {
		headers: { [protocolHeader]: String(spoken), ...headers },
		...(proxy !== undefined && { proxy }),
	});
}

/** Writes a file as the control plane serves it, from there or from where it says: the agent's program, its runtime. */
export async function load(url: string, name: string, path: string): Promise<void> {
	const reply = await fetch(`${url}/install/${name}`, {
		signal: AbortSignal.timeout(loadTimeoutMs),
	});
	if (!reply.ok) throw new DispatcherError(reply.status, `/install/${name}: ${reply.status}`);
	await Bun.write(path, reply);
}

const json = (value: unknown, headers: Readonly<Record<string, string>>) => ({
	headers: { "content-type": "application/json", ...headers },
	body: JSON.stringify(value),
});

/** What we speak with the control plane: the lower of its version and ours, as it said last. */
let spoken = protocolVersion;

interface Call {
	readonly headers?: Readonly<Record<string, string>>;
	readonly body?: string | ReadableStream<Uint8Array>;
	readonly signal?: AbortSignal;
}

async function call(url: string, method: string, path: string, init: Call): Promise<Response> {
	const tried = spoken;
	const reply = await fetch(`${url}${path}`, {
		method,
		headers: { [protocolHeader]: String(tried), ...init.headers },
		...(init.body !== undefined && { body: init.body }),
		signal: init.signal ?? AbortSignal.timeout(callTimeoutMs),
		// Bun ends a silent answer after five minutes unless told; the signal is our only bound.
		timeout: false,
	} as RequestInit);
	spoken = lowerOf(reply);
	if (reply.ok) return reply;
	const text = await reply.text().catch(() => "");
	// The control plane was put back to an earlier version: it refused what we speak, before it read on.
	const isOtherVersion = spoken !== tried && text.includes(protocolHeader);
	if (isOtherVersion && !(init.body instanceof ReadableStream))
		return call(url, method, path, init);
	const message = messageOf(text) || `the control plane answered ${reply.status}`;
	if (reply.status === 410) throw new NodeGone(message);
	throw new DispatcherError(reply.status, message);
}

/** The first version refused others without a word of its own; a gateway's error page says nothing of versions. */
function lowerOf(reply: Response): number {
	const theirs = Number(
		reply.headers.get(protocolHeader) ?? (reply.status === 400 ? 1 : Number.NaN),
	);
	if (!(theirs >= 1)) return spoken;
	return Math.max(oldestProtocol, Math.min(protocolVersion, theirs));
}

function messageOf(text: string): string {
	try {
		const { message } = JSON.parse(text) as { message?: unknown };
		return typeof message === "string" ? message : text.trim();
	} catch {
		return text.trim();
	}
}
