// The agents' door: `/agent/…`. Knows HTTP and who may say what; the rest is in the files beside it.

import { Hono } from "hono";
import type { z } from "zod";
import { invalid, Refusal } from "../../model/errors.ts";
import type { ClusterId } from "../../model/id.ts";
import { protocolHeader, protocolVersion } from "../../model/protocol.ts";
import { joinSchema, reportSchema } from "../../model/report.ts";
import type { AgentsDoor } from "../cluster.ts";
import type { Accounts } from "../store/accounts.ts";
import { holdPoll } from "./assignments.ts";
import { AgentRefusal, clusterErased, type Identity, identify, unknownNode } from "./identity.ts";
import { findJoinToken, join, leave } from "./join.ts";
import { takeReport } from "./reports.ts";
import type { Streams } from "./streams.ts";

/** What this door needs of the world. */
export interface Agents {
	readonly accounts: Accounts;
	readonly streams: Streams;
	/** Identities found before. */
	readonly identities: Map<string, Identity>;
	door(id: ClusterId): Promise<AgentsDoor>;
	nowMs(): number;
	newId(): string;
}

const bodyLimitBytes = 10 * 1024 * 1024;

export function agentsRouter(): Hono<{ Variables: { agents: Agents } }> {
	const router = new Hono<{ Variables: { agents: Agents } }>();

	router.use(async (c, next) => {
		const theirs = Number(c.req.header(protocolHeader) ?? protocolVersion);
		if (theirs !== protocolVersion) {
			throw invalid(
				`${protocolHeader}: this control plane speaks version ${protocolVersion}, the agent ${theirs}: run the install line again on the node`,
			);
		}
		await next();
		c.header(protocolHeader, String(protocolVersion));
	});

	router.post("/join", async (c) => {
		const agents = c.get("agents");
		const { token: text, description } = await parsed(c.req.raw, joinSchema);
		const token = await findJoinToken(agents.accounts, text);
		// A machine that kept an old credential and has a good token is welcome, whatever became of the credential.
		const known = await identify(c.req.raw, agents.accounts, agents.identities).catch(
			() => undefined,
		);
		const door = await openDoor(agents, token.cluster);
		const reply = await join({
			door,
			token,
			description,
			known,
			accounts: agents.accounts,
			newId: () => agents.newId(),
			nowMs: agents.nowMs(),
		});
		return c.json(reply);
	});

	router.get("/assignment", async (c) => {
		const agents = c.get("agents");
		const { door, node } = await admitted(agents, c.req.raw);
		const reply = await holdPoll(door, agents.streams, {
			node,
			hash: c.req.query("hash") ?? "",
			signal: c.req.raw.signal,
			nowMs: () => agents.nowMs(),
		});
		return c.json(reply);
	});

	router.post("/report", async (c) => {
		const agents = c.get("agents");
		const { door, node } = await admitted(agents, c.req.raw);
		const report = await parsed(c.req.raw, reportSchema);
		return c.json(await takeReport(door, node, report, agents.nowMs()));
	});

	router.post("/stream/:id", async (c) => {
		const agents = c.get("agents");
		const { node } = await admitted(agents, c.req.raw);
		const body = c.req.raw.body ?? new Blob([]).stream();
		const wanted = await agents.streams.accept(node, c.req.param("id"), body);
		return c.body(null, wanted ? 204 : 404);
	});

	router.post("/leave", async (c) => {
		const { door, node } = await admitted(c.get("agents"), c.req.raw);
		await leave(door, node);
		return c.body(null, 204);
	});

	router.onError((error) => {
		if (!(error instanceof Refusal)) throw error;
		return Response.json({ message: error.message }, { status: statusFor(error) });
	});

	return router;
}

async function admitted(agents: Agents, request: Request) {
	const identity = await identify(request, agents.accounts, agents.identities);
	if (!identity) throw unknownNode();
	const door = await openDoor(agents, identity.cluster);
	return { door, node: identity.node };
}

async function openDoor(agents: Agents, id: ClusterId): Promise<AgentsDoor> {
	try {
		const door = await agents.door(id);
		await door.snapshot();
		return door;
	} catch (error) {
		if (error instanceof Refusal && error.kind === "not-found") throw clusterErased();
		throw error;
	}
}

/** The body in the schema's shape, or a refusal that names the field. Never reads more than the limit. */
async function parsed<Shape>(request: Request, schema: z.ZodType<Shape>): Promise<Shape> {
	const text = await boundedText(request);
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (error) {
		throw invalid(`body: not JSON: ${error instanceof Error ? error.message : error}`, {
			cause: error,
		});
	}
	const result = schema.safeParse(value);
	if (result.success) return result.data;
	const [issue] = result.error.issues;
	throw invalid(`${issue?.path.join(".") || "body"}: ${issue?.message}`);
}

async function boundedText(request: Request): Promise<string> {
	const tooLarge = () =>
		new AgentRefusal(413, `body: more than ${bodyLimitBytes} bytes: send less at a time`);
	if (Number(request.headers.get("Content-Length") ?? 0) > bodyLimitBytes) throw tooLarge();
	if (!request.body) return "";
	const decoder = new TextDecoder();
	const reader = request.body.getReader();
	let text = "";
	let bytes = 0;
	for (;;) {
		const { done, value } = await reader.read();
		if (done) return text + decoder.decode();
		bytes += value.byteLength;
		if (bytes > bodyLimitBytes) {
			await reader.cancel();
			throw tooLarge();
		}
		text += decoder.decode(value, { stream: true });
	}
}

function statusFor(error: Refusal): number {
	if (error instanceof AgentRefusal) return error.status;
	const statuses = {
		invalid: 400,
		forbidden: 403,
		"not-found": 410,
		conflict: 409,
		unavailable: 503,
	} as const;
	return statuses[error.kind];
}
