// A stand-in for a forge that is told how deployments go: it takes what the forge's published API documents, field by
// field, and nothing else, and keeps it.
//
// Run inside the lab, where the control plane reaches it: forge.ts ADDRESS KIND TOKEN PROJECT; GET /kept shows what it has.

import { z } from "zod";
import type { forgeKinds } from "../model/application.ts";

export type Kind = (typeof forgeKinds)[number];

export interface Kept {
	/** As they came. */
	readonly statuses: Record<string, unknown>[];
	/** By id, their states in order. */
	readonly deployments: {
		readonly id: number;
		readonly made: Record<string, unknown>;
		readonly states: Record<string, unknown>[];
	}[];
	/** What was not as documented, for whoever looks. */
	readonly complaints: string[];
}

export interface StandIn extends Kept {
	readonly url: string;
	readonly host: string;
	/** What every request is answered with instead, while it is set. */
	answer: ((request: Request) => Response | undefined) | undefined;
	requests: number;
	stop(): Promise<void>;
}

interface Going {
	readonly kept: Kept;
	readonly path: string;
	readonly method: string;
	readonly query: URLSearchParams;
	readonly body: unknown;
}

const sha = /^[0-9a-f]{40}$/;
const url = z.url({ protocol: /^https?$/ });
const shortText = z.string().max(140);

export function startForge(
	kind: Kind,
	{ token, project }: { readonly token: string; readonly project: string },
	{ hostname, port }: { readonly hostname: string; readonly port: number } = {
		hostname: "127.0.0.1",
		port: 0,
	},
): StandIn {
	const kept: Kept = { statuses: [], deployments: [], complaints: [] };
	const standIn = { ...kept, answer: undefined, requests: 0 } as unknown as StandIn;
	const server = Bun.serve({
		hostname,
		port,
		async fetch(request) {
			const { pathname, searchParams: query } = new URL(request.url);
			if (pathname === "/kept") return Response.json(kept);
			standIn.requests++;
			const instead = standIn.answer?.(request);
			if (instead) return instead;
			const words = isAllowed(kind, request.headers, token);
			if (words !== "") return Response.json({ message: words }, { status: 401 });
			const body = request.method === "GET" ? undefined : await request.json();
			const going = { kept, path: pathname, method: request.method, query, body };
			try {
				const reply = answers[kind](going, project);
				return reply ?? Response.json({ message: "Not Found" }, { status: 404 });
			} catch (error) {
				const message = `${request.method} ${pathname}: ${error instanceof Error ? error.message : error}`;
				kept.complaints.push(message);
				return Response.json({ message }, { status: 422 });
			}
		},
	});
	return Object.assign(standIn, {
		url: server.url.origin,
		host: server.url.host,
		stop: () => server.stop(true),
	});
}

function isAllowed(kind: Kind, headers: Headers, token: string): string {
	const said = headers.get("Authorization");
	if (!headers.has("User-Agent")) return "Request forbidden by administrative rules";
	switch (kind) {
		case "github":
			if (headers.get("Accept") !== "application/vnd.github+json") return "Accept";
			if (headers.get("X-GitHub-Api-Version") !== "2022-11-28") return "X-GitHub-Api-Version";
			return said === `Bearer ${token}` ? "" : "Bad credentials";
		case "gitlab":
			return headers.get("PRIVATE-TOKEN") === token ? "" : "401 Unauthorized";
		case "gitea":
			return said === `token ${token}` ? "" : "token is required";
		case "bitbucket":
			return said === `Bearer ${token}` || said === `Basic ${btoa(`ann:${token}`)}`
				? ""
				: "Token is invalid";
	}
}

const answers: Readonly<Record<Kind, (going: Going, project: string) => Response | undefined>> = {
	// https://docs.github.com/en/rest/commits/statuses#create-a-commit-status,
	// https://docs.github.com/en/rest/deployments/deployments, …/statuses
	github({ kept, path, method, query, body }, project) {
		const at = `/repos/${project}`;
		if (!path.startsWith(at)) return undefined;
		const [, what = "", id = "", more] = path.slice(at.length).split("/");
		if (what === "statuses" && method === "POST") {
			const status = z
				.strictObject({
					state: z.enum(["error", "failure", "pending", "success"]),
					target_url: url.optional(),
					description: shortText.optional(),
					context: z.string().default("default"),
				})
				.parse(body);
			kept.statuses.push({ sha: sha.exec(id)?.[0] ?? refuse("sha"), ...status });
			return Response.json({ id: kept.statuses.length }, { status: 201 });
		}
		if (what === "deployments" && id === "" && method === "GET") {
			const asked = (name: string, of: unknown) => !query.has(name) || query.get(name) === of;
			const found = kept.deployments.filter(
				({ made }) =>
					asked("sha", made["ref"]) &&
					asked("task", made["task"]) &&
					asked("environment", made["environment"]),
			);
			return Response.json(found.map((each) => ({ id: each.id, payload: each.made["payload"] })));
		}
		if (what === "deployments" && id === "" && method === "POST") {
			const made = z
				.strictObject({
					ref: z.string(),
					task: z.string().default("deploy"),
					auto_merge: z.boolean().default(true),
					required_contexts: z.array(z.string()).optional(),
					payload: z.union([z.record(z.string(), z.unknown()), z.string()]).optional(),
					environment: z.string().default("production"),
					description: shortText.optional(),
					transient_environment: z.boolean().default(false),
					production_environment: z.boolean().optional(),
				})
				.parse(body);
			// Otherwise GitHub waits for the very status that says that we wait.
			if (made.required_contexts?.length !== 0) refuse("required_contexts");
			return keptAs(kept, made);
		}
		const known = kept.deployments.find((each) => String(each.id) === id);
		if (what !== "deployments" || more !== "statuses" || !known) return undefined;
		const state = z
			.strictObject({
				state: z.enum([
					"error",
					"failure",
					"inactive",
					"in_progress",
					"queued",
					"pending",
					"success",
				]),
				log_url: url.optional(),
				description: shortText.optional(),
				environment: z.string().optional(),
				environment_url: url.optional(),
				auto_inactive: z.boolean().optional(),
			})
			.parse(body);
		known.states.push(state);
		return Response.json({ id: known.states.length }, { status: 201 });
	},

	// https://docs.gitlab.com/api/commits/#set-commit-pipeline-status, https://docs.gitlab.com/api/deployments/
	gitlab({ kept, path, method, query, body }, project) {
		const at = `/projects/${encodeURIComponent(project)}`;
		if (!path.startsWith(at)) return undefined;
		const [, what = "", id = ""] = path.slice(at.length).split("/");
		if (what === "statuses" && method === "POST") {
			const status = z
				.strictObject({
					state: z.enum(["pending", "running", "success", "failed", "canceled", "skipped"]),
					name: z.string().optional(),
					ref: z.string().optional(),
					description: z.string().max(255).optional(),
					target_url: url.optional(),
				})
				.parse(body);
			const last = kept.statuses.findLast(
				(each) => each["name"] === status.name && each["sha"] === id,
			);
			if (last?.["state"] === status.state) return transition(status.state);
			kept.statuses.push({ sha: sha.exec(id)?.[0] ?? refuse("sha"), ...status });
			return Response.json({ id: kept.statuses.length }, { status: 201 });
		}
		if (what !== "deployments") return undefined;
		const states = z.enum(["running", "success", "failed", "canceled"]);
		const stateOf = (each: Kept["deployments"][number]) =>
			each.states.at(-1)?.["status"] ?? each.made["status"];
		if (method === "GET") {
			const found = kept.deployments
				.filter((each) => stateOf(each) === query.get("status"))
				.filter(({ made }) => made["environment"] === query.get("environment"));
			return Response.json(
				found.map((each) => ({ id: each.id, sha: each.made["sha"], status: stateOf(each) })),
			);
		}
		if (method === "POST") {
			const made = z
				.strictObject({
					environment: z.string().regex(/^[A-Za-z0-9_/${}. -]+$/),
					sha: z.string().regex(sha),
					ref: z.string().min(1),
					tag: z.boolean(),
					status: states,
				})
				.parse(body);
			return keptAs(kept, made);
		}
		const known = kept.deployments.find((each) => String(each.id) === id);
		if (method !== "PUT" || !known) return undefined;
		const { status } = z.strictObject({ status: states }).parse(body);
		if (stateOf(known) !== "running") return transition(status);
		known.states.push({ status });
		return Response.json({ id: known.id, status });
	},

	// https://docs.gitea.com/api/#tag/repository/operation/repoCreateStatus
	gitea({ kept, path, method, body }, project) {
		const [, hash] = new RegExp(`^/repos/${project}/statuses/(.+)$`).exec(path) ?? [];
		if (!hash || method !== "POST") return undefined;
		const status = z
			.strictObject({
				state: z.enum(["pending", "success", "error", "failure", "warning"]),
				context: z.string().optional(),
				description: z.string().optional(),
				target_url: url.optional(),
			})
			.parse(body);
		kept.statuses.push({ sha: sha.exec(hash)?.[0] ?? refuse("sha"), ...status });
		return Response.json({ id: kept.statuses.length }, { status: 201 });
	},

	// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/
	bitbucket({ kept, path, method, body }, project) {
		const [, hash] =
			new RegExp(`^/repositories/${project}/commit/([^/]+)/statuses/build$`).exec(path) ?? [];
		if (!hash || method !== "POST") return undefined;
		const status = z
			.strictObject({
				key: z.string().min(1).max(40),
				state: z.enum(["INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"]),
				url,
				name: z.string().optional(),
				description: z.string().optional(),
				refname: z.string().optional(),
			})
			.parse(body);
		kept.statuses.push({ sha: sha.exec(hash)?.[0] ?? refuse("sha"), ...status });
		return Response.json({ type: "build" }, { status: 201 });
	},
};

function refuse(field: string): never {
	throw new Error(`${field} is not as documented`);
}

function keptAs(kept: Kept, made: Record<string, unknown>): Response {
	const id = 1000 + kept.deployments.length;
	kept.deployments.push({ id, made, states: [] });
	return Response.json({ id, status: made["status"] }, { status: 201 });
}

const transition = (to: string) =>
	Response.json({ message: `Cannot transition status via :${to} from :${to}` }, { status: 400 });

if (import.meta.main) {
	const [address = "", kind = "", token = "", project = ""] = process.argv.slice(2);
	const [hostname = "", port = ""] = address.split(":");
	startForge(kind as Kind, { token, project }, { hostname, port: Number(port) });
	console.log("ready");
}
