// Containers of tasks on any node, through one endpoint: what Swarm left to whoever could log in there.
//
// Lists come from what nodes reported. The rest is asked of the container's own engine, whose answer is passed on as it
// is. A task's container is its service's: it is stopped and killed as asked, and replaced like any that dies; it is
// not made, started, renamed or removed by hand.

import { Hono } from "hono";
import { conflict, messageOf } from "../../model/errors.ts";
import { nodeName } from "../../model/node.ts";
import type { EngineRequest } from "../../model/relay.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { DoorEnv, NodeAnswer } from "../cluster.ts";
import {
	type Asking,
	askContainer,
	containersOf,
	findContainer,
	type Held,
	isTaskId,
	Unheard,
	unheard,
} from "./container.ts";
import { listed } from "./containerfilters.ts";
import { nodeLabel, toInspection, toSummary } from "./convert/container.ts";
import { toEngine as toTask } from "./convert/task.ts";
import { clusterOf, type EngineContext } from "./door.ts";
import { ofService, onTheMachine } from "./errors.ts";
import { isTrue } from "./filters.ts";
import { askedOf } from "./logs.ts";

export function containerRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.get("/containers/json", async (c) => {
			const snapshot = await c.get("cluster")?.snapshot();
			if (!snapshot) return c.json([]);
			const found = listed(snapshot, containersOf(snapshot), (key) => c.req.query(key));
			return c.json(found.map((task) => toSummary(task, snapshot, Date.now())));
		})
		.get("/containers/:id/json", async (c) => c.json(await inspect(c)))
		.get("/containers/:id/logs", (c) => pass(c, { kind: "logs", ...askedOf(c) }))
		.get("/containers/:id/top", (c) =>
			pass(c, { kind: "top", arguments: c.req.query("ps_args") ?? "" }),
		)
		.get("/containers/:id/stats", (c) =>
			pass(c, {
				kind: "stats",
				stream: isTrue(c.req.query("stream") ?? "true"),
				oneShot: isTrue(c.req.query("one-shot")),
			}),
		)
		.get("/containers/:id/changes", (c) => pass(c, { kind: "changes" }))
		.get("/containers/:id/archive", (c) => {
			// Hono answers HEAD by GET, and throws the body away.
			const kind = c.req.raw.method === "HEAD" ? "archive-stat" : "archive-get";
			return pass(c, { kind, path: c.req.query("path") ?? "" });
		})
		.put("/containers/:id/archive", (c) =>
			pass(
				c,
				{
					kind: "archive-put",
					path: c.req.query("path") ?? "",
					noOverwriteDirNonDir: c.req.query("noOverwriteDirNonDir") ?? "",
					copyUidGid: c.req.query("copyUIDGID") ?? "",
				},
				c.req.raw.body ?? new Blob([]).stream(),
			),
		)
		.post("/containers/:id/kill", (c) =>
			pass(c, { kind: "kill", signal: c.req.query("signal") ?? "" }),
		)
		.post("/containers/:id/stop", (c) => pass(c, stopOf(c)))
		.post("/containers/:id/restart", restart)
		.post("/containers/:id/resize", (c) =>
			pass(c, {
				kind: "resize",
				height: c.req.query("h") ?? "",
				width: c.req.query("w") ?? "",
			}),
		)
		.post("/containers/:id/attach", (c) => {
			const options = {
				stdin: isTrue(c.req.query("stdin")),
				stdout: isTrue(c.req.query("stdout")),
				stderr: isTrue(c.req.query("stderr")),
				logs: isTrue(c.req.query("logs")),
				stream: isTrue(c.req.query("stream")),
				detachKeys: c.req.query("detachKeys") ?? "",
			};
			return pass(c, { kind: "attach", ...options }, c.get("stdin"));
		})
		.post("/containers/:id/wait", wait)
		.post("/containers/create", () => {
			throw ofService("a container is made by its service", "docker service create");
		})
		.post("/containers/prune", () => {
			throw onTheMachine("containers");
		})
		.post("/containers/:id/start", async (c) => {
			const { service } = await found(c);
			throw ofService(
				"a task runs once, and its service starts the next one",
				`docker service update --force ${service}`,
			);
		})
		.post("/containers/:id/:verb{pause|unpause|rename|update}", async (c) => {
			const { service } = await found(c);
			throw ofService(
				`a task's container is as its service says, so there is no ${c.req.param("verb")}`,
				`docker service update ${service}`,
			);
		})
		.delete("/containers/:id", async (c) => {
			const { service, isLeaving } = await found(c);
			// It goes by itself, and whoever waits for that (terraform) is content.
			if (isLeaving) return c.body(null, 204);
			throw conflict(
				`cannot remove container ${c.req.param("id")}: it is a task's of service ${service}, which would make another: ` +
					`use docker service scale ${service}=N or docker service rm ${service}. What has ended is removed by itself`,
			);
		});
}

/** The request, answered by the container's own engine. */
export async function pass(
	c: EngineContext,
	asked: EngineRequest,
	stdin?: ReadableStream<Uint8Array>,
): Promise<Response> {
	const snapshot = await clusterOf(c).snapshot();
	const task = findContainer(snapshot, c.req.param("id") ?? "");
	return passed(await answerOf(c, task, asked, stdin));
}

export async function answerOf(
	c: EngineContext,
	task: Held,
	asked: EngineRequest,
	stdin?: ReadableStream<Uint8Array>,
): Promise<NodeAnswer> {
	try {
		return await askContainer({ ...askingOf(c), stdin }, task, asked);
	} catch (error) {
		throw unheard(error);
	}
}

export function askingOf(c: EngineContext): Asking {
	return { cluster: clusterOf(c), askNode: c.get("askNode"), signal: c.req.raw.signal };
}

/** The engine's answer as ours. Whoever holds the connection turns `Upgrade` into raw bytes (listen.ts). */
export function passed({ status, type, pathStat, body }: NodeAnswer): Response {
	const isBare = status === 204 || status === 304;
	if (isBare) void body.cancel().catch(() => undefined);
	return new Response(isBare ? null : body, {
		status: status === 101 ? 200 : status,
		headers: {
			...(type && { "Content-Type": type.replace(/^application\/json;.*/, "application/json") }),
			...(pathStat && { "X-Docker-Container-Path-Stat": pathStat }),
			...(status === 101 && { Upgrade: "tcp" }),
			// An edge that compresses would hold output back.
			"Cache-Control": "no-transform",
		},
	});
}

/** The engine's own words, with the node's name; of a node that does not answer, what it last reported. */
async function inspect(c: EngineContext) {
	const snapshot = await clusterOf(c).snapshot();
	const asked = c.req.param("id") ?? "";
	const task = findContainer(snapshot, asked);
	const shown = await inspection(c, task).catch((error: unknown) => {
		if (!(error instanceof Unheard)) throw error;
		return toInspection(task, snapshot, messageOf(error));
	});
	// `docker inspect TASK` means the task to whoever knows Swarm, so all of it is there, beside its container.
	return isTaskId(task.id, asked) ? { ...toTask(task, snapshot, Date.now()), ...shown } : shown;
}

async function inspection(c: EngineContext, task: Held) {
	const answer = await askContainer(askingOf(c), task, {
		kind: "inspect",
		size: isTrue(c.req.query("size")),
	});
	const snapshot = await clusterOf(c).snapshot();
	const node = snapshot.nodes.get(task.node);
	const name = node ? nodeName(node) : task.node;
	const body = (await new Response(answer.body).json()) as {
		readonly Config?: { readonly Labels?: Readonly<Record<string, string>> };
		readonly message?: string;
	};
	if (answer.status !== 200)
		throw new Unheard(name, body.message ?? `Docker says ${answer.status}`);
	const labels = { ...body.Config?.Labels, [nodeLabel]: name };
	return { ...body, Config: { ...body.Config, Labels: labels } };
}

function stopOf(c: EngineContext) {
	return {
		kind: "stop",
		signal: c.req.query("signal") ?? "",
		seconds: c.req.query("t") ?? "",
	} as const;
}

/** Stopped, and its service starts the next task: where it would not, nothing is stopped. */
async function restart(c: EngineContext): Promise<Response> {
	const snapshot = await clusterOf(c).snapshot();
	const task = findContainer(snapshot, c.req.param("id") ?? "");
	const { service, condition } = await found(c);
	if (condition !== "any") {
		throw ofService(
			`service ${service} does not replace a task that is stopped (restart condition ${condition})`,
			`docker service update --force ${service}`,
		);
	}
	return passed(await answerOf(c, task, stopOf(c)));
}

const waitMs = 10_000;

/** Until the task has ended, and with which code. Clients go on as soon as the answer has begun. */
async function wait(c: EngineContext): Promise<Response> {
	const cluster = clusterOf(c);
	const { signal } = c.req.raw;
	const { id } = findContainer(await cluster.snapshot(), c.req.param("id") ?? "");
	const ended = async () => {
		for (;;) {
			const seq = cluster.seq();
			const task = (await cluster.snapshot()).tasks.get(id);
			if (!task || isTerminal(task.status.state) || signal.aborted)
				return task?.status.exitCode ?? 0;
			await cluster.wait(seq, waitMs, signal);
		}
	};
	const body = new ReadableStream<Uint8Array>({
		async start(to) {
			const text = JSON.stringify({ StatusCode: await ended() });
			to.enqueue(new TextEncoder().encode(text));
			to.close();
		},
	});
	return c.body(body, 200, {
		"Content-Type": "application/json",
		"Cache-Control": "no-transform",
	});
}

async function found(c: EngineContext) {
	const snapshot = await clusterOf(c).snapshot();
	const task = findContainer(snapshot, c.req.param("id") ?? "");
	const service = snapshot.services.get(task.service);
	return {
		service: service?.spec.name ?? task.service,
		condition: service?.spec.template.restart.condition ?? "none",
		isLeaving: service?.removing ?? true,
	};
}
