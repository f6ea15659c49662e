// What is left of a task that failed, for whoever has to find out why: gathered at once, before the container may go.
//
// Never fails and takes no longer than a moment: the task's end is told with it, and must not wait for a stuck engine.

import { type Evidence, evidenceBounds } from "../../model/rollout.ts";
import type { Docker } from "../host/docker.ts";
import type { Seen } from "./step.ts";

const patienceMs = 2_000;

export async function gather(
	docker: Docker,
	seen: Exclude<Seen, { kind: "none" }>,
	tty: boolean,
): Promise<Evidence> {
	const { lines, lineLength, healthLength } = evidenceBounds;
	const text = seen.kind === "created" ? "" : await lastWords(docker, seen.containerId, tty);
	return {
		oomKilled: seen.oomKilled,
		health: (seen.healthOutput ?? "").trim().slice(0, healthLength),
		lines: text
			.split(/\r?\n/)
			.filter((line) => line.trim() !== "")
			.slice(-lines)
			.map((line) => line.slice(0, lineLength)),
	};
}

/** Empty where the engine keeps no log. */
async function lastWords(docker: Docker, containerId: string, tty: boolean): Promise<string> {
	const query = `stdout=1&stderr=1&tail=${evidenceBounds.lines}`;
	const signal = AbortSignal.timeout(patienceMs);
	try {
		const stream = await docker.stream("GET", `/containers/${containerId}/logs?${query}`, signal);
		const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
		return tty ? new TextDecoder().decode(bytes) : payloads(bytes);
	} catch {
		return "";
	}
}

/** Without a terminal, each piece has a head of eight bytes, of which the last four are its length. */
function payloads(bytes: Uint8Array): string {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const decoder = new TextDecoder();
	let text = "";
	for (let at = 0; at + 8 <= bytes.length; ) {
		const length = view.getUint32(at + 4);
		text += decoder.decode(bytes.subarray(at + 8, at + 8 + length), { stream: true });
		at += 8 + length;
	}
	return text;
}
