// Answers what somebody far away asks of this node's engine, about containers and volumes of ours, or for the log of a
// build: nothing that is not listed.
//
// The engine's answer is passed on unchanged after a line that says how it began. A container that does not bear the
// label of the task it is asked for is not there, whatever it is; nor is a volume without the cluster's.

import { messageOf } from "../model/errors.ts";
import type { BuildId } from "../model/id.ts";
import type {
	AnswerHead,
	ContainerQuestion,
	EngineRequest,
	NodeRequest,
	VolumeQuestion,
	VolumeRequest,
} from "../model/relay.ts";
import type { RawEngine } from "./host/raw.ts";
import { label } from "./task/container.ts";

/** What the asker sends. */
export type Input = () => Promise<ReadableStream<Uint8Array>>;

/** The log of a build, and with `follow` what comes until it ends; undefined where there is none. */
export type BuildLogs = (
	build: BuildId,
	follow: boolean,
	signal: AbortSignal,
) => ReadableStream<Uint8Array> | undefined;

/** The whole answer, as it is sent: an empty line at once, a line of JSON, the engine's bytes. Never fails. */
export function answerTo(
	engine: RawEngine,
	builds: BuildLogs,
	request: NodeRequest,
	input: Input,
	signal: AbortSignal,
): ReadableStream<Uint8Array> {
	let body: Reader | undefined;
	return new ReadableStream<Uint8Array>(
		{
			start(to) {
				// So that the asker knows that we are at it, however long the engine takes.
				to.enqueue(new TextEncoder().encode("\n"));
			},
			async pull(to) {
				if (!body) {
					const answer = await ask(engine, builds, request, input, signal).catch(broken);
					body = answer.body.getReader();
					to.enqueue(new TextEncoder().encode(`${JSON.stringify(answer.head)}\n`));
					return;
				}
				const { done, value } = await body.read();
				if (value) to.enqueue(value);
				if (done) to.close();
			},
			cancel: (reason) => body?.cancel(reason),
		},
		{ highWaterMark: 0 },
	);
}

type EngineQuestion = ContainerQuestion | VolumeQuestion;

interface Reader {
	read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
	cancel(reason?: unknown): Promise<void>;
}

interface Answer {
	readonly head: AnswerHead;
	readonly body: ReadableStream<Uint8Array>;
}

async function ask(
	engine: RawEngine,
	builds: BuildLogs,
	request: NodeRequest,
	input: Input,
	signal: AbortSignal,
): Promise<Answer> {
	if (request.build !== undefined) {
		const { build, asked } = request;
		const body = builds(build, asked.follow, signal);
		const head = { status: 200, type: "text/plain; charset=utf-8" };
		return body ? { head, body } : answerOf(404, `build ${build}: this node has no log of it`);
	}
	const refused = await refusalOf(engine, request, signal);
	if (refused) return refused;
	const { method, path, json, goesOn, sendsBody } =
		request.task === undefined
			? volumeCallOf(request.asked)
			: callOf(request.containerId, request.asked);
	if (goesOn) {
		const { status, type, body, send } = await engine.upgrade(path, signal, json && { json });
		if (status === 101 && request.sends) void input().then(send, () => undefined);
		return { head: { status, type }, body };
	}
	const sent = sendsBody ? await input() : json && { json };
	const reply = await engine.exchange(method, path, signal, sent);
	const pathStat = reply.headers.get("X-Docker-Container-Path-Stat");
	const head = {
		status: reply.status,
		type: reply.headers.get("Content-Type") ?? "",
		...(pathStat && { pathStat }),
	};
	return { head, body: reply.body ?? new Blob([]).stream() };
}

/** Where the container, or the exec in it, is not what the asker may ask for. */
async function refusalOf(
	engine: RawEngine,
	{ asked, containerId, task }: EngineQuestion,
	signal: AbortSignal,
): Promise<Answer | undefined> {
	if (task === undefined) return volumeRefusalOf(engine, asked, signal);
	const none = answerOf(404, `No such container: ${containerId}`);
	if (!/^\w[\w.-]*$/.test(containerId)) return none;
	const container = await engine.exchange("GET", `/containers/${containerId}/json`, signal);
	const found = (await container.json()) as Inspected;
	if (!container.ok || found.Config?.Labels?.[label.task] !== task) return none;
	if (!("exec" in asked)) return undefined;
	const noExec = answerOf(404, `No such exec instance: ${asked.exec}`);
	if (!/^[0-9a-f]{64}$/.test(asked.exec)) return noExec;
	const exec = await engine.exchange("GET", `/exec/${asked.exec}/json`, signal);
	const { ContainerID } = (await exec.json()) as { ContainerID?: string };
	return exec.ok && ContainerID === found.Id ? undefined : noExec;
}

/** The list is asked for by the label. */
async function volumeRefusalOf(
	engine: RawEngine,
	asked: VolumeRequest,
	signal: AbortSignal,
): Promise<Answer | undefined> {
	if (asked.kind === "volume-list") return undefined;
	const none = answerOf(404, `get ${asked.volume}: no such volume`);
	if (!/^\w[\w.-]*$/.test(asked.volume)) return none;
	const volume = await engine.exchange("GET", `/volumes/${asked.volume}`, signal);
	const found = (await volume.json()) as { readonly Labels?: Inspected["Labels"] | null };
	return volume.ok && found.Labels?.[label.cluster] === asked.cluster ? undefined : none;
}

interface Inspected {
	readonly Id?: string;
	readonly Labels?: Readonly<Record<string, string>>;
	readonly Config?: { readonly Labels?: Readonly<Record<string, string>> };
}

interface Call {
	readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
	readonly path: string;
	readonly json?: object;
	/** In raw bytes, both ways. */
	readonly goesOn?: true;
	/** The asker's bytes are the body. */
	readonly sendsBody?: true;
}

/** The request in the engine's own words. */
export function callOf(container: string, asked: EngineRequest): Call {
	const at = (path: string, query: Query = {}) => `/containers/${container}${path}${text(query)}`;
	switch (asked.kind) {
		case "inspect":
			return { method: "GET", path: at("/json", { size: asked.size }) };
		case "logs": {
			const { kind: _kind, ...options } = asked;
			return { method: "GET", path: at("/logs", options) };
		}
		case "top":
			return { method: "GET", path: at("/top", { ps_args: asked.arguments }) };
		case "stats":
			return {
				method: "GET",
				path: at("/stats", { stream: asked.stream, "one-shot": asked.oneShot }),
			};
		case "changes":
			return { method: "GET", path: at("/changes") };
		case "kill":
			return { method: "POST", path: at("/kill", { signal: asked.signal }) };
		case "stop":
			return { method: "POST", path: at("/stop", { signal: asked.signal, t: asked.seconds }) };
		case "attach": {
			const { kind: _kind, ...options } = asked;
			return { method: "POST", path: at("/attach", options), goesOn: true };
		}
		case "resize":
			return { method: "POST", path: at("/resize", { h: asked.height, w: asked.width }) };
		case "exec-create":
			return { method: "POST", path: at("/exec"), json: asked.body };
		case "exec-start": {
			const { exec, detach, tty, consoleSize } = asked;
			const json = { Detach: detach, Tty: tty, ...(consoleSize && { ConsoleSize: consoleSize }) };
			const path = `/exec/${exec}/start`;
			return { method: "POST", path, json, ...(!detach && { goesOn: true }) };
		}
		case "exec-inspect":
			return { method: "GET", path: `/exec/${asked.exec}/json` };
		case "exec-resize": {
			const { exec, height, width } = asked;
			return { method: "POST", path: `/exec/${exec}/resize${text({ h: height, w: width })}` };
		}
		case "archive-stat":
			return { method: "HEAD", path: at("/archive", { path: asked.path }) };
		case "archive-get":
			return { method: "GET", path: at("/archive", { path: asked.path }) };
		case "archive-put": {
			const { path, noOverwriteDirNonDir, copyUidGid } = asked;
			const query = { path, noOverwriteDirNonDir, copyUIDGID: copyUidGid };
			return { method: "PUT", path: at("/archive", query), sendsBody: true };
		}
	}
}

export function volumeCallOf(asked: VolumeRequest): Call {
	switch (asked.kind) {
		case "volume-list": {
			const { cluster, dangling } = asked;
			const filters = {
				label: [`${label.cluster}=${cluster}`],
				...(dangling && { dangling: [dangling] }),
			};
			return { method: "GET", path: `/volumes${text({ filters: JSON.stringify(filters) })}` };
		}
		case "volume-inspect":
			return { method: "GET", path: `/volumes/${asked.volume}` };
		case "volume-remove":
			return { method: "DELETE", path: `/volumes/${asked.volume}` };
	}
}

type Query = Readonly<Record<string, string | boolean>>;

/** What is empty is left to the engine. */
function text(query: Query): string {
	const given = Object.entries(query).filter(([, value]) => value !== "");
	if (given.length === 0) return "";
	return `?${new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)]))}`;
}

const broken = (error: unknown) =>
	answerOf(503, `the node's Docker engine does not answer: ${messageOf(error)}`);

function answerOf(status: number, message: string): Answer {
	return {
		head: { status, type: "application/json" },
		body: new Blob([JSON.stringify({ message })]).stream(),
	};
}
