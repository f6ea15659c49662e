// The agents' door: `/agent/…`. Knows HTTP and who may say what; the rest is in the files beside it.

import { Hono } from "hono";
import type { z } from "zod";
import type { AssignmentReply } from "../../model/assignment.ts";
import { invalid, Refusal, retryHeader } from "../../model/errors.ts";
import type { ClusterId, NodeId } from "../../model/id.ts";
import { protocolHeader, protocolVersion } from "../../model/protocol.ts";
import { joinSchema, reportSchema } from "../../model/report.ts";
import type { AgentsDoor } from "../cluster.ts";
import type { Directory } from "../store/directory.ts";
import { holdPoll } from "./assignments.ts";
import { buildSchema, buildSecretsFor, keepBuildLog, keepBuildStack } from "./builds.ts";
import { contentsFor, contentsSchema } from "./contents.ts";
import { credentialsFor, credentialsSchema } from "./credentials.ts";
import {
	AgentRefusal,
	clusterErased,
	type Identity,
	identify,
	nodeOf,
	unknownNode,
} from "./identity.ts";
import { findJoinToken, join, leave } from "./join.ts";
import { protocolOf } from "./protocol.ts";
import type { Relay } from "./relay.ts";
import { takeReport } from "./reports.ts";

/** What this door needs of the world. */
export interface Agents {
	readonly directory: Directory;
	readonly relay: Relay;
	/** Where the control plane has bells to ring (model/assignment.ts): else agents' polls are held. */
	readonly bells?: AgentBells;
	/** Identities found before. */
	readonly identities: Map<string, Identity>;
	/** Who asks, where whoever passed the request on has found out. */
	readonly admitted?: Identity;
	door(id: ClusterId): Promise<AgentsDoor>;
	/** Who asks, for the log. */
	note(node: NodeId, cluster: ClusterId): void;
	nowMs(): number;
	newId(): string;
}

export interface AgentBells {
	offer(): NonNullable<AssignmentReply["bell"]>;
	/** The node wants its bell: answers a request to upgrade to a WebSocket. */
	open(node: NodeId, protocol: number): Response | Promise<Response>;
	/** The assignment that the node has or was just given. */
	told(node: NodeId, assignment: { readonly hash: string; readonly revision: number }): void;
}

const bodyLimitBytes = 10 * 1024 * 1024;

export interface AgentsEnv {
	Variables: {
		agents: Agents;
		/** The version in which this agent is answered. */
		protocol: number;
	};
}

export function agentsRouter(): Hono<AgentsEnv> {
	const router = new Hono<AgentsEnv>();

	router.use(async (c, next) => {
		c.set("protocol", protocolOf(c.req.header(protocolHeader)));
		await next();
		// A connection that was handed over has no more to say.
		if (c.res.status !== 101) c.header(protocolHeader, String(protocolVersion));
	});

	router.post("/join", async (c) => {
		const agents = c.get("agents");
		const { token: text, description } = await parsed(c.req.raw, joinSchema);
		const token = await findJoinToken(agents.directory, text);
		// A machine that kept an old credential and has a good token is welcome, whatever became of the credential.
		const known = await identify(c.req.raw, agents.directory, agents.identities).catch(
			() => undefined,
		);
		const door = await openDoor(agents, token.cluster);
		const reply = await join({
			door,
			token,
			description,
			known,
			directory: agents.directory,
			newId: () => agents.newId(),
			nowMs: agents.nowMs(),
		});
		return c.json(reply);
	});

	router.get("/assignment", async (c) => {
		const agents = c.get("agents");
		const { door, node } = await admitted(agents, c.req.raw);
		const reply = await holdPoll(door, agents.relay, {
			node,
			hash: c.req.query("hash") ?? "",
			atOnce: c.req.query("hold") === "no",
			protocol: c.get("protocol"),
			signal: c.req.raw.signal,
			nowMs: () => agents.nowMs(),
		});
		if (!agents.bells) return c.json(reply);
		agents.bells.told(node, reply);
		return c.json({ ...reply, bell: agents.bells.offer() });
	});

	router.get("/bell", async (c) => {
		const agents = c.get("agents");
		const { node, door } = await admitted(agents, c.req.raw);
		nodeOf(await door.snapshot(), node);
		if (!agents.bells) return c.json({ message: "there are no bells here: polls are held" }, 404);
		if (c.req.header("Upgrade")?.toLowerCase() === "websocket") {
			return agents.bells.open(node, c.get("protocol"));
		}
		return c.json({ message: "Upgrade: a bell is a WebSocket" }, 426);
	});

	router.post("/report", async (c) => {
		const agents = c.get("agents");
		const { door, node } = await admitted(agents, c.req.raw);
		const report = await parsed(c.req.raw, reportSchema);
		return c.json(await takeReport(door, node, report, agents.nowMs()));
	});

	router.post("/contents", async (c) => {
		const { door, node } = await admitted(c.get("agents"), c.req.raw);
		const { names } = await parsed(c.req.raw, contentsSchema);
		return c.json({ contents: await contentsFor(door, node, names) });
	});

	router.post("/registry-auth", async (c) => {
		const { door, node } = await admitted(c.get("agents"), c.req.raw);
		const { task } = await parsed(c.req.raw, credentialsSchema);
		return c.json({ registryAuth: await credentialsFor(door, node, task) });
	});

	router.post("/build-secrets", async (c) => {
		const { door, node } = await admitted(c.get("agents"), c.req.raw);
		const { build } = await parsed(c.req.raw, buildSchema);
		return c.json(await buildSecretsFor(door, node, build));
	});

	router.post("/build-log", async (c) => {
		const { door, node } = await admitted(c.get("agents"), c.req.raw);
		await keepBuildLog(door, node, c.req.query("build") ?? "", await boundedText(c.req.raw));
		return c.body(null, 204);
	});

	router.post("/build-stack", async (c) => {
		const { door, node } = await admitted(c.get("agents"), c.req.raw);
		const text = await boundedText(c.req.raw);
		return c.json(await keepBuildStack(door, node, c.req.query("build") ?? "", text));
	});

	router.post("/stream/:id", async (c) => {
		const agents = c.get("agents");
		const { node } = await admitted(agents, c.req.raw);
		const body = c.req.raw.body ?? new Blob([]).stream();
		const wanted = await agents.relay.answer(node, c.req.param("id"), body);
		return c.body(null, wanted ? 204 : 404);
	});

	router.get("/stream/:id", async (c) => {
		const agents = c.get("agents");
		const { node } = await admitted(agents, c.req.raw);
		const input = agents.relay.input(node, c.req.param("id"));
		if (!input) return c.body(null, 404);
		// An edge that compresses, or a proxy that waits for more, would hold keystrokes back.
		return c.body(input, 200, { "Cache-Control": "no-transform", "X-Accel-Buffering": "no" });
	});

	router.post("/leave", async (c) => {
		const { door, node } = await admitted(c.get("agents"), c.req.raw);
		await leave(door, node);
		return c.body(null, 204);
	});

	router.onError((error) => {
		if (!(error instanceof Refusal)) throw error;
		// Said with refusals too: an agent that hears a lower number speaks that.
		const headers = { [protocolHeader]: String(protocolVersion), ...retryHeader(error) };
		return Response.json({ message: error.message }, { status: statusFor(error), headers });
	});

	return router;
}

/** Whose door it is that an agent knocks at, and who it is unless it comes to join; undefined for one that is to be refused. */
export async function clusterOfAgent(
	{ directory, identities }: Pick<Agents, "directory" | "identities">,
	request: Request,
): Promise<{ readonly cluster: ClusterId; readonly identity?: Identity } | undefined> {
	try {
		if (new URL(request.url).pathname !== "/agent/join") {
			const identity = await identify(request, directory, identities);
			return identity && { cluster: identity.cluster, identity };
		}
		const { token } = await parsed(request.clone() as Request, joinSchema);
		return { cluster: (await findJoinToken(directory, token)).cluster };
	} catch (error) {
		if (error instanceof Refusal && error.kind !== "unavailable") return undefined;
		throw error;
	}
}

async function admitted(agents: Agents, request: Request) {
	const identity =
		agents.admitted ?? (await identify(request, agents.directory, agents.identities));
	if (!identity) throw unknownNode();
	agents.note(identity.node, identity.cluster);
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
