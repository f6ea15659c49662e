// `docker service logs`: the output of a service's tasks, wherever they run, as one stream.
//
// Each task's node is asked for its container's log; lines are passed on whole, with the task's identity in front where
// the client asked for details. The stream that the CLI reads is Docker's own framing: [fd,0,0,0,length] and a payload,
// a line a frame. There is no frame for "still here", so silence is just silence; an error is a frame of fd 3.

import { Hono } from "hono";
import { messageOf } from "../../model/errors.ts";
import type { ServiceId, TaskId } from "../../model/id.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Task } from "../../model/task.ts";
import type { ClusterDoor, DoorEnv } from "../cluster.ts";
import { type Asking, askContainer, type Held, Unheard } from "./container.ts";
import { clusterOf, type EngineContext } from "./door.ts";
import { fault } from "./errors.ts";
import { isTrue } from "./filters.ts";
import { findService, findTask } from "./lookup.ts";

export function logRoutes(): Hono<DoorEnv> {
	const stream = (
		c: EngineContext,
		of: { readonly service: ServiceId; readonly task?: TaskId },
		tty: boolean,
	) => {
		const asked = askedOf(c);
		const body = logsOf(clusterOf(c), of, asked, c.get("askNode"), c.req.raw.signal);
		return new Response(body, {
			headers: {
				"Content-Type": `application/vnd.docker.${tty ? "raw" : "multiplexed"}-stream`,
				// An edge that compresses would hold lines back.
				"Cache-Control": "no-transform",
			},
		});
	};
	return new Hono<DoorEnv>()
		.get("/services/:id/logs", async (c) => {
			const snapshot = await clusterOf(c).snapshot();
			const service = findService(snapshot, c.req.param("id"));
			return stream(c, { service: service.id }, service.spec.template.container.tty);
		})
		.get("/tasks/:id/logs", async (c) => {
			const snapshot = await clusterOf(c).snapshot();
			const task = findTask(snapshot, c.req.param("id"));
			return stream(c, { service: task.service, task: task.id }, isTty(snapshot, task));
		});
}

/** What the query asks for, of a service's, a task's or a container's log. */
export function askedOf(c: EngineContext): LogsAsked {
	const asked: LogsAsked = {
		stdout: isTrue(c.req.query("stdout")),
		stderr: isTrue(c.req.query("stderr")),
		follow: isTrue(c.req.query("follow")),
		timestamps: isTrue(c.req.query("timestamps")),
		details: isTrue(c.req.query("details")),
		tail: c.req.query("tail") || "all",
		since: c.req.query("since") ?? "",
		until: c.req.query("until") ?? "",
	};
	if (asked.stdout || asked.stderr) return asked;
	throw fault("Bad parameters: you must choose at least one stream");
}

export interface LogsAsked {
	readonly stdout: boolean;
	readonly stderr: boolean;
	readonly follow: boolean;
	readonly timestamps: boolean;
	readonly details: boolean;
	readonly tail: string;
	readonly since: string;
	readonly until: string;
}

type AskNode = DoorEnv["Variables"]["askNode"];

/** The logs of every task of the service, or of the one task. With `follow`, tasks that start later join in. */
export function logsOf(
	cluster: ClusterDoor,
	of: { readonly service: ServiceId; readonly task?: TaskId },
	asked: LogsAsked,
	askNode: AskNode,
	signal: AbortSignal,
): ReadableStream<Uint8Array> {
	const ended = new AbortController();
	const either = AbortSignal.any([signal, ended.signal]);
	return new ReadableStream<Uint8Array>({
		start(out) {
			run(cluster, of, asked, askNode, out, either)
				.catch((error: unknown) => {
					if (!either.aborted) out.enqueue(frame(3, String(error)));
				})
				.finally(() => {
					if (!either.aborted) out.close();
				});
		},
		cancel() {
			ended.abort();
		},
	});
}

async function run(
	cluster: ClusterDoor,
	of: { readonly service: ServiceId; readonly task?: TaskId },
	asked: LogsAsked,
	askNode: AskNode,
	out: ReadableStreamDefaultController<Uint8Array>,
	signal: AbortSignal,
): Promise<void> {
	const begun = new Map<TaskId, Promise<void>>();
	// Tasks that start while the client follows come whole; the others as far back as it asked.
	for (let late = false; ; late = true) {
		const snapshot = await cluster.snapshot();
		const seq = cluster.seq();
		for (const task of tasksWithLogs(snapshot, of)) {
			if (begun.has(task.id)) continue;
			begun.set(
				task.id,
				copy(
					snapshot,
					task,
					late ? { ...asked, tail: "all" } : asked,
					{ cluster, askNode, signal },
					out,
				),
			);
		}
		if (!asked.follow || signal.aborted) break;
		const service = snapshot.services.get(of.service);
		if (!service || of.task) break;
		await cluster.wait(seq, 5_000, signal);
	}
	await Promise.all(begun.values());
}

function tasksWithLogs(
	snapshot: Snapshot,
	of: { readonly service: ServiceId; readonly task?: TaskId },
): Held[] {
	return [...snapshot.tasksOfService(of.service).values()]
		.filter((task): task is Held => task.node !== null && task.status.containerId !== "")
		.filter((task) => !of.task || task.id === of.task)
		.sort((a, b) => a.createdMs - b.createdMs);
}

/** One task's lines into the stream. A node that does not answer costs its lines, not the others'. */
async function copy(
	snapshot: Snapshot,
	task: Held,
	asked: LogsAsked,
	asking: Asking,
	out: ReadableStreamDefaultController<Uint8Array>,
): Promise<void> {
	const { timestamps } = asked;
	const tty = isTty(snapshot, task);
	const prefix = asked.details ? details(task) : "";
	try {
		// Details are the task's identity, which the engine does not know as we say it.
		const answer = await askContainer(asking, task, { kind: "logs", ...asked, details: false });
		// A container that is gone has nothing to read, which is no error of anybody's.
		if (answer.status === 404) return;
		const { body } = answer;
		if (answer.status !== 200) throw new Error(await refusalOf(body));
		// A terminal's output has no frames, and its reader expects none.
		if (tty) {
			for await (const bytes of body) out.enqueue(bytes);
			return;
		}
		for await (const { fd, payload } of parsedFrames(body)) {
			out.enqueue(frame(fd, withDetails(payload, prefix, timestamps)));
		}
	} catch (error) {
		if (asking.signal.aborted) return;
		const hostname = snapshot.nodes.get(task.node)?.description.hostname ?? task.node;
		const why = error instanceof Unheard ? error.why : messageOf(error);
		const time = timestamps ? `${new Date().toISOString()} ` : "";
		const line = `${time}(no log from node ${hostname}: ${why})\n`;
		out.enqueue(
			tty ? new TextEncoder().encode(line) : frame(2, withDetails(line, prefix, timestamps)),
		);
	}
}

async function refusalOf(body: ReadableStream<Uint8Array>): Promise<string> {
	const text = await new Response(body).text();
	try {
		return String((JSON.parse(text) as { message?: unknown }).message ?? text);
	} catch {
		return text;
	}
}

function isTty(snapshot: Snapshot, task: Task): boolean {
	return snapshot.template(task.service, task.templateVersion)?.template.container.tty ?? false;
}

function details(task: Task): string {
	return [
		`com.docker.swarm.node.id=${task.node}`,
		`com.docker.swarm.service.id=${task.service}`,
		`com.docker.swarm.task.id=${task.id}`,
	].join(",");
}

/** Docker's order: timestamp, details, line. */
function withDetails(line: string, prefix: string, timestamps: boolean): string {
	if (prefix === "") return line;
	if (!timestamps) return `${prefix} ${line}`;
	const at = line.indexOf(" ");
	return `${line.slice(0, at)} ${prefix} ${line.slice(at + 1)}`;
}

export function frame(fd: number, payload: string): Uint8Array {
	const bytes = new TextEncoder().encode(payload);
	const whole = new Uint8Array(8 + bytes.length);
	whole[0] = fd;
	new DataView(whole.buffer).setUint32(4, bytes.length);
	whole.set(bytes, 8);
	return whole;
}

interface Line {
	readonly fd: number;
	readonly payload: string;
}

/** Frames as the engine sends them, which chunks of the network cut anywhere. */
export async function* parsedFrames(body: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
	let held = new Uint8Array(0);
	for await (const chunk of body) {
		const joined = new Uint8Array(held.length + chunk.length);
		joined.set(held);
		joined.set(chunk, held.length);
		held = joined;
		while (held.length >= 8) {
			const length = new DataView(held.buffer, held.byteOffset).getUint32(4);
			if (held.length < 8 + length) break;
			const payload = new TextDecoder().decode(held.subarray(8, 8 + length));
			yield { fd: held[0] ?? 1, payload: payload.endsWith("\n") ? payload : `${payload}\n` };
			held = held.subarray(8 + length);
		}
	}
}
