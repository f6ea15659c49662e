// The cluster that docker itself would ask: where its context, or its options, lead to. By that way come the routes of
// ours that Docker has no word for.

import { messageOf } from "../model/errors.ts";
import { Complaint } from "./complaint.ts";
import type { Terminal } from "./terminal.ts";

export interface Reached {
	/** Throws a `Complaint` in the cluster's own words for what it refuses. */
	ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer>;
	/** As it comes. */
	read(path: string): Promise<ReadableStream<Uint8Array>>;
}

export async function reachCluster(terminal: Terminal): Promise<Reached> {
	const host = await terminal.host();
	const unix = /^unix:\/\/(.+)$/.exec(host)?.[1];
	const base = unix ? "http://skein" : host.replace(/^tcp:/, "http:");
	if (!unix && !/^https?:/.test(base)) {
		throw new Complaint(`${host} is no address that applications can be asked for at`);
	}
	const send = async (method: string, path: string, body?: unknown): Promise<Response> => {
		const reply = await fetch(`${base}${path}`, {
			method,
			...(unix && { unix }),
			...(body !== undefined && {
				headers: { "Content-Type": "application/json" },
				body: JSON.stringify(body),
			}),
		}).catch((cause: unknown) => {
			throw new Complaint(`${host} does not answer (${messageOf(cause)})`, { cause });
		});
		if (reply.ok) return reply;
		const text = await reply.text();
		throw new Complaint(
			complaintOf(text) ?? `${host} answered ${reply.status}: ${text.slice(0, 200)}`,
		);
	};
	return {
		async ask<Answer>(method: string, path: string, body?: unknown) {
			const text = await (await send(method, path, body)).text();
			return (text === "" ? undefined : JSON.parse(text)) as Answer;
		},
		async read(path) {
			return (await send("GET", path)).body ?? new Blob([]).stream();
		},
	};
}

function complaintOf(text: string): string | undefined {
	try {
		const { message } = JSON.parse(text) as { message?: unknown };
		// Docker's own engine has no applications.
		if (message === "page not found") {
			return "this is no cluster of Skein: choose its context (docker --context NAME skein app …)";
		}
		return typeof message === "string" ? message : undefined;
	} catch {
		return undefined;
	}
}
