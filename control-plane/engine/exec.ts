// `docker exec` in a task's container, on whatever node.
//
// The id of an exec says whose it is: the task's id and then the engine's own. So nothing is kept here between the
// requests that one `docker exec` makes, and any process can answer each of them.

import { Hono } from "hono";
import { z } from "zod";
import { forbidden, notFound } from "../../model/errors.ts";
import type { TaskId } from "../../model/id.ts";
import type { EngineRequest } from "../../model/relay.ts";
import type { DoorEnv, NodeAnswer } from "../cluster.ts";
import { parseBody, readBody } from "./body.ts";
import { findContainer, type Held } from "./container.ts";
import { answerOf, passed } from "./containers.ts";
import { clusterOf, type EngineContext } from "./door.ts";

const text = z.string();
const texts = z.array(text);
const flag = z.boolean();
const consoleSize = z.array(z.int().nonnegative()).length(2);

const execSchema = z
	.object({
		AttachStdin: flag,
		AttachStdout: flag,
		AttachStderr: flag,
		ConsoleSize: consoleSize,
		DetachKeys: text,
		Tty: flag,
		Env: texts,
		Cmd: texts,
		Privileged: flag,
		User: text,
		WorkingDir: text,
	})
	.partial();

const startSchema = z.object({ Detach: flag, Tty: flag, ConsoleSize: consoleSize }).partial();

export function execRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.post("/containers/:id/exec", async (c) => {
			const task = findContainer(await clusterOf(c).snapshot(), c.req.param("id"));
			const { value } = await readBody(c.req.raw, execSchema, "ExecOptions");
			if (value.Privileged) {
				throw forbidden(
					"exec --privileged would give more than the service has: run it on the node, with its own docker",
				);
			}
			const answer = await answerOf(c, task, { kind: "exec-create", body: value });
			if (answer.status !== 201) return passed(answer);
			const { Id } = await json<{ Id: string }>(answer);
			return c.json({ Id: `${task.id}${Id}` }, 201);
		})
		.post("/exec/:id/start", async (c) => {
			const { task, exec } = await found(c);
			const body = await c.req.text();
			const { value } = parseBody(body === "" ? "{}" : body, startSchema, "ExecStartOptions");
			const { Detach: detach = false, Tty: tty = false, ConsoleSize: size = null } = value;
			const asked: EngineRequest = { kind: "exec-start", exec, detach, tty, consoleSize: size };
			return passed(await answerOf(c, task, asked, detach ? undefined : c.get("stdin")));
		})
		.post("/exec/:id/resize", async (c) => {
			const { task, exec } = await found(c);
			const size = { height: c.req.query("h") ?? "", width: c.req.query("w") ?? "" };
			return passed(await answerOf(c, task, { kind: "exec-resize", exec, ...size }));
		})
		.get("/exec/:id/json", async (c) => {
			const { task, exec } = await found(c);
			const answer = await answerOf(c, task, { kind: "exec-inspect", exec });
			if (answer.status !== 200) return passed(answer);
			return c.json({ ...(await json<object>(answer)), ID: c.req.param("id") });
		});
}

const taskIdLength = 25;

async function found(c: EngineContext): Promise<{ task: Held; exec: string }> {
	const asked = c.req.param("id") ?? "";
	const id = asked.slice(0, taskIdLength) as TaskId;
	const exec = asked.slice(taskIdLength);
	const snapshot = await clusterOf(c).snapshot();
	if (exec === "" || !snapshot.tasks.has(id)) throw notFound(`No such exec instance: ${asked}`);
	return { task: findContainer(snapshot, id), exec };
}

async function json<Shape>({ body }: NodeAnswer): Promise<Shape> {
	return (await new Response(body).json()) as Shape;
}
