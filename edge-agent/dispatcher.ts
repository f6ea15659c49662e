// The agent's side of the only door it knocks at: join, poll, report, send a log.
//
// Each call is one attempt; who calls decides how often to try again. Proxies are for this door alone: Bun reads
// HTTPS_PROXY, HTTP_PROXY and NO_PROXY by itself, and nothing else in the agent speaks HTTP over a network.

import type { AssignmentReply } from "../model/assignment.ts";
import { protocolHeader, protocolVersion } from "../model/protocol.ts";
import type { JoinReply, JoinRequest, Report } from "../model/report.ts";

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
	poll(held: { revision: number; hash: string }, signal: AbortSignal): Promise<AssignmentReply>;
	report(report: Report): Promise<void>;
	/** Resolves when the reader has gone, or the body has ended. */
	stream(id: string, body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<void>;
	/** The node goes of its own will. */
	leave(): Promise<void>;
}

/** A control plane that holds a poll longer than this has lost us, or we it. */
const pollTimeoutMs = 20_000;
const callTimeoutMs = 20_000;

export function openDispatcher(url: string, credential: string): Dispatcher {
	const headers = { authorization: `Bearer ${credential}` };
	return {
		async poll({ revision, hash }, signal) {
			const query = new URLSearchParams({ revision: String(revision), hash });
			const reply = await call(url, "GET", `/agent/assignment?${query}`, {
				headers,
				signal: AbortSignal.any([signal, AbortSignal.timeout(pollTimeoutMs)]),
			});
			return (await reply.json()) as AssignmentReply;
		},
		async report(report) {
			await call(url, "POST", "/agent/report", json(report, headers));
		},
		async stream(id, body, signal) {
			const path = `/agent/stream/${encodeURIComponent(id)}`;
			await call(url, "POST", path, { headers, body, signal });
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

const json = (value: unknown, headers: Readonly<Record<string, string>>) => ({
	headers: { "content-type": "application/json", ...headers },
	body: JSON.stringify(value),
});

async function call(
	url: string,
	method: string,
	path: string,
	init: {
		readonly headers?: Readonly<Record<string, string>>;
		readonly body?: string | ReadableStream<Uint8Array>;
		readonly signal?: AbortSignal;
	},
): Promise<Response> {
	const reply = await fetch(`${url}${path}`, {
		method,
		headers: { [protocolHeader]: String(protocolVersion), ...init.headers },
		...(init.body !== undefined && { body: init.body }),
		signal: init.signal ?? AbortSignal.timeout(callTimeoutMs),
		// Bun ends a silent answer after five minutes unless told; the signal is our only bound.
		timeout: false,
	} as RequestInit);
	if (reply.ok) return reply;
	const text = await reply.text().catch(() => "");
	const message = messageOf(text) || `the control plane answered ${reply.status}`;
	if (reply.status === 410) throw new NodeGone(message);
	throw new DispatcherError(reply.status, message);
}

function messageOf(text: string): string {
	try {
		const { message } = JSON.parse(text) as { message?: unknown };
		return typeof message === "string" ? message : text.trim();
	} catch {
		return text.trim();
	}
}
