// A stand-in for the control plane, for tests of the agent alone: it serves the real install line, lets any machine
// join, hands out the assignments it was given by hand, and keeps what is reported.
//
// Run inside the lab, where the nodes reach it: stand-in.ts TCP-ADDRESS SOCKET DATA-FOLDER. Tests talk to the socket:
// PUT /assignment/HOSTNAME, PUT /secrets/BUILD, GET /nodes.

import { rm } from "node:fs/promises";
import { fillIn } from "../../control-plane/install.ts";
import { localInstallFiles } from "../../control-plane/installables.ts";
import type { Assignment, AssignmentReply } from "../../model/assignment.ts";
import type { BuildSecrets } from "../../model/build.ts";
import type { NodeDescription } from "../../model/node.ts";
import type { NodeRequest } from "../../model/relay.ts";
import type { JoinRequest, Report } from "../../model/report.ts";
import { reportSchema } from "../../model/report.ts";

export interface StandInNode {
	readonly node: string;
	description: NodeDescription;
	assignment: Assignment | null;
	revision: number;
	hash: string;
	applied: { revision: number; hash: string };
	/** By task, newest last. */
	readonly tasks: Record<string, NonNullable<Report["tasks"]>[number]["status"][]>;
	attached: NonNullable<Report["attached"]>;
	unreachable: readonly string[];
	/** 410 from now on. */
	removed: boolean;
	readonly streams: Record<string, string>;
	/** By build, newest last. */
	readonly builds: Record<string, NonNullable<Report["builds"]>[number]["status"][]>;
	images: readonly string[];
	readonly buildLogs: Record<string, string>;
}

const [tcp = "", socket = "", data = ""] = process.argv.slice(2);
const [hostname = "", port = ""] = tcp.split(":");
const url = `http://${tcp}`;
const nodes = new Map<string, StandInNode>();
const asked = new Map<string, NodeRequest[]>();
const secrets = new Map<string, BuildSecrets>();
const bells = new Set<() => void>();
const install = localInstallFiles(data);

async function agentDoor(request: Request): Promise<Response> {
	const { pathname, searchParams } = new URL(request.url);
	if (pathname === "/_ping") return new Response("OK");
	if (pathname === "/install.sh") {
		return new Response(fillIn(await install.script("install.sh"), url, await install.files()));
	}
	if (pathname.startsWith("/install/")) {
		return (await install.open(pathname.slice(9))) ?? new Response(null, { status: 404 });
	}
	if (pathname === "/agent/join") {
		const { token, description } = (await request.json()) as JoinRequest;
		if (token !== "good")
			return Response.json({ message: "token: no such token" }, { status: 403 });
		const node = description.hostname;
		const known = nodes.get(node);
		nodes.set(node, {
			node,
			description,
			assignment: known?.assignment ?? null,
			revision: known?.revision ?? 0,
			hash: known?.hash ?? "",
			applied: { revision: 0, hash: "" },
			tasks: {},
			attached: [],
			unreachable: [],
			removed: false,
			streams: {},
			builds: {},
			images: [],
			buildLogs: {},
		});
		return Response.json({ node, credential: `SKEIN-NODE.${node}.secret` });
	}
	const name = /^Bearer SKEIN-NODE\.(.+)\.secret$/.exec(
		request.headers.get("authorization") ?? "",
	)?.[1];
	const node = nodes.get(name ?? "");
	if (!node) return Response.json({ message: "who?" }, { status: 401 });
	if (node.removed)
		return Response.json({ message: `node ${node.node} was removed` }, { status: 410 });
	if (pathname === "/agent/assignment") return Response.json(await poll(node, searchParams));
	if (pathname === "/agent/report") {
		take(node, reportSchema.parse(await request.json()) as unknown as Report);
		return Response.json({});
	}
	if (pathname.startsWith("/agent/stream/")) {
		node.streams[pathname.slice(14)] = await request.text();
		return new Response(null, { status: 204 });
	}
	if (pathname === "/agent/build-secrets") {
		const { build } = (await request.json()) as { build: string };
		return Response.json(secrets.get(build) ?? { secrets: {}, registries: {} });
	}
	if (pathname === "/agent/build-log") {
		node.buildLogs[searchParams.get("build") ?? ""] = await request.text();
		return Response.json({});
	}
	if (pathname === "/agent/leave") {
		nodes.delete(node.node);
		return new Response(null, { status: 204 });
	}
	return new Response(null, { status: 404 });
}

async function poll(node: StandInNode, held: URLSearchParams): Promise<AssignmentReply> {
	const until = Date.now() + 4_000;
	while (Date.now() < until) {
		const requests = asked.get(node.node) ?? [];
		asked.delete(node.node);
		if (
			node.removed ||
			requests.length > 0 ||
			(node.assignment && held.get("hash") !== node.hash)
		) {
			const news = node.assignment && held.get("hash") !== node.hash;
			return { ...node, assignment: news ? node.assignment : null, pollMs: 0, requests };
		}
		await new Promise<void>((resolve) => {
			const ring = () => {
				bells.delete(ring);
				resolve();
			};
			bells.add(ring);
			setTimeout(ring, until - Date.now());
		});
	}
	return { revision: node.revision, hash: node.hash, assignment: null, pollMs: 0 };
}

function take(node: StandInNode, report: Report): void {
	for (const { id, status } of report.tasks ?? []) {
		node.tasks[id] = [...(node.tasks[id] ?? []), status];
	}
	for (const { id, status } of report.builds ?? []) {
		node.builds[id] = [...(node.builds[id] ?? []), status];
	}
	if (report.images) node.images = report.images;
	if (report.description) node.description = report.description;
	if (report.applied) node.applied = report.applied;
	if (report.attached) node.attached = report.attached;
	if (report.unreachable) node.unreachable = report.unreachable;
}

async function testDoor(request: Request): Promise<Response> {
	const { pathname } = new URL(request.url);
	if (pathname === "/nodes") return Response.json(Object.fromEntries(nodes));
	const [, verb = "", name = ""] = pathname.split("/");
	if (verb === "secrets") {
		secrets.set(name, (await request.json()) as BuildSecrets);
		return Response.json({});
	}
	const node = nodes.get(name);
	if (!node) return new Response(null, { status: 404 });
	if (verb === "assignment") {
		node.assignment = (await request.json()) as Assignment;
		node.revision = node.assignment.revision;
		node.hash = String(Bun.hash(JSON.stringify({ ...node.assignment, revision: 0 })));
	}
	if (verb === "remove") node.removed = true;
	if (verb === "stream") asked.set(name, [(await request.json()) as NodeRequest]);
	for (const ring of bells) ring();
	return Response.json({});
}

// One that was killed leaves it.
await rm(socket, { force: true });
Bun.serve({ hostname, port: Number(port), idleTimeout: 60, fetch: agentDoor });
Bun.serve({ unix: socket, fetch: testDoor });
console.log("ready");
