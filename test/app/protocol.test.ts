// Agents of other versions: those before ours are answered as they were in their day, in words recorded then; who is too
// old or too new is told so; and our own agent speaks the version of a control plane that was put back.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { openDispatcher } from "../../edge-agent/dispatcher.ts";
import type { AssignmentReply } from "../../model/assignment.ts";
import { oldestProtocol, protocolHeader, protocolVersion } from "../../model/protocol.ts";
import { type Runtime, startBun } from "../runtimes.ts";
import { describeMachine, joinAgent } from "./agent.ts";
import recorded1 from "./protocol-1.json" with { type: "json" };

let at: Runtime;
let token = "";
beforeAll(async () => {
	at = await startBun({});
	token = await workerToken();
}, 30_000);
afterAll(() => at.stop(), 15_000);

const owner = (path: string, init: RequestInit = {}) =>
	fetch(`${at.url}${path}`, { ...init, headers: { Authorization: `Bearer ${at.token}` } });

async function workerToken(): Promise<string> {
	const swarm = (await (await owner("/swarm")).json()) as { JoinTokens: { Worker: string } };
	return swarm.JoinTokens.Worker;
}

/** Which fields there are, however deep; values and the length of lists are of the day. */
function shape(value: unknown): unknown {
	if (Array.isArray(value)) return value.length === 0 ? [] : [shape(value[0])];
	if (typeof value !== "object" || value === null) return typeof value;
	return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner)]));
}

test("an agent of version 1 is answered as in its day", async () => {
	const service = {
		Name: "web",
		TaskTemplate: { ContainerSpec: { Image: "nginx:1.22" } },
		Mode: { Replicated: { Replicas: 1 } },
	};
	expect(
		(await owner("/services/create", { method: "POST", body: JSON.stringify(service) })).status,
	).toBe(201);
	const words = new Map([["TOKEN", token]]);
	const fill = (text: string) =>
		[...words].reduce((filled, [word, real]) => filled.replaceAll(word, real), text);
	for (const { request, reply } of recorded1) {
		const told = await fetch(`${at.url}${fill(request.path)}`, {
			method: request.method,
			headers: JSON.parse(fill(JSON.stringify(request.headers))) as Record<string, string>,
			...(request.body !== null && { body: fill(JSON.stringify(request.body)) }),
		});
		const text = await told.text();
		const body: unknown = text === "" ? null : JSON.parse(text);
		expect([request.path, told.status, shape(body)]).toEqual([
			request.path,
			reply.status,
			shape(reply.body),
		]);
		if (request.path === "/agent/join") {
			const { node, credential } = body as { node: string; credential: string };
			words.set("NODE", node).set("CREDENTIAL", credential);
		}
		const { assignment, hash } = (body ?? {}) as Partial<AssignmentReply>;
		if (!assignment || !hash) continue;
		expect(assignment.protocol).toBe(1);
		words.set("HASH", hash).set("TASK", assignment.tasks[0]?.id ?? "");
	}
});

test("an assignment is another for another version, and none for the same", async () => {
	const agent = await joinAgent(at.url, token, describeMachine(2));
	const ask = async (version: number, hash: string) => {
		const headers = { [protocolHeader]: `${version}` };
		const reply = await agent.ask(`/assignment?revision=0&hash=${hash}`, { headers });
		return (await reply.json()) as AssignmentReply;
	};
	const first = await ask(1, "");
	const second = await ask(protocolVersion, first.hash);
	expect(second.assignment?.protocol).toBe(protocolVersion);
	expect(second.hash).not.toBe(first.hash);
});

test.each([
	["too old", `${oldestProtocol - 1}`, "run the install line again on the node"],
	["too new", `${protocolVersion + 1}`, "upgrade the control plane"],
	["no version", "one", "run the install line again on the node"],
])("who is %s is told so", async (_what, version, remedy) => {
	const agent = await joinAgent(at.url, token, describeMachine(3)).catch(() => undefined);
	const refused = await fetch(`${at.url}/agent/report`, {
		method: "POST",
		headers: { [protocolHeader]: version, Authorization: `Bearer ${agent?.credential}` },
		body: "{}",
	});
	expect(refused.status).toBe(426);
	expect(refused.headers.get(protocolHeader)).toBe(`${protocolVersion}`);
	const { message } = (await refused.json()) as { message: string };
	expect(message).toContain(
		`versions ${oldestProtocol} to ${protocolVersion}, the agent ${version}`,
	);
	expect(message).toContain(remedy);
});

test("an agent whose control plane was put back to version 1 speaks version 1, and its own again after the next upgrade", async () => {
	const heard: (string | null)[] = [];
	let known = 1;
	const server = Bun.serve({
		port: 0,
		fetch(request) {
			const theirs = request.headers.get(protocolHeader);
			heard.push(theirs);
			// The first version's own words, and no header with them.
			if (known === 1 && theirs !== "1") {
				const message = `${protocolHeader}: this control plane speaks version 1, the agent ${theirs}: run the install line again on the node`;
				return Response.json({ message }, { status: 400 });
			}
			return Response.json({ revision: 1 }, { headers: { [protocolHeader]: `${known}` } });
		},
	});
	const dispatcher = openDispatcher(server.url.origin, "credential");
	await dispatcher.report({});
	await dispatcher.report({});
	known = protocolVersion;
	await dispatcher.report({});
	await dispatcher.report({});
	await server.stop(true);
	const newest = `${protocolVersion}`;
	expect(heard).toEqual([newest, "1", "1", "1", newest]);
});
