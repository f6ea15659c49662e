// Which right each route takes, and who has it. Data, and two pure functions over it.
//
// app.ts asks for every request; a route that is not named here is refused to everybody, and a test finds it.

import { forbidden, type Refusal } from "../../model/errors.ts";
import { type Actor, atLeast, type MemberRole, owner } from "./actor.ts";

/** The least role that has it. */
const leastRole = {
	/** What everybody may who is known: see what they are and where they belong. */
	self: "viewer",
	/** Their own account: sessions, tokens of their own, leaving. */
	account: "viewer",
	read: "viewer",
	/** Services, networks, configs. */
	deploy: "developer",
	secrets: "developer",
	/** Into containers: commands, files, signals. */
	exec: "developer",
	/** Machines, what lets them join, and the cluster's own settings. */
	nodes: "admin",
	/** Making clusters. */
	clusters: "admin",
	members: "admin",
	/** Other people's. */
	tokens: "admin",
	audit: "admin",
	/** What cannot be undone: clusters and the organization erased, its ownership given on. */
	organization: "owner",
	/** What concerns the whole control plane, all tenants of it: its own organization's alone. */
	operate: "owner",
} as const satisfies Readonly<Record<string, MemberRole>>;

export type Right = keyof typeof leastRole;

export const rights = Object.keys(leastRole) as readonly Right[];

export const leastRoleOf = (right: Right): MemberRole => leastRole[right];

/** `open`: to everybody. `own`: to whoever has credentials of another kind, which the route checks itself. */
export type Admission = Right | "open" | "own";

/** By method and pattern; the Engine API's patterns without their version. */
export const admissions: Readonly<Record<string, Admission>> = {
	"ALL /agent/*": "own",
	"POST /agent/join": "own",
	"GET /agent/assignment": "own",
	"GET /agent/bell": "own",
	"POST /agent/report": "own",
	"POST /agent/contents": "own",
	"POST /agent/registry-auth": "own",
	"POST /agent/build-secrets": "own",
	"POST /agent/build-log": "own",
	"POST /agent/build-stack": "own",
	"POST /agent/stream/:id": "own",
	"GET /agent/stream/:id": "own",
	"POST /agent/leave": "own",
	"GET /api/health": "open",
	"GET /api/ready": "open",
	/** Nothing of anybody's is in it. */
	"GET /api/openapi.json": "open",
	"GET /api/docs": "open",
	"GET /metrics": "own",
	"GET /install.sh": "open",
	"GET /cli.sh": "open",
	"GET /install/:name": "open",

	"POST /api/auth/sign-up/email": "open",
	"POST /api/auth/sign-in/email": "open",
	"POST /api/auth/sign-in/social": "open",
	"GET /api/auth/callback/:provider": "open",
	"POST /api/auth/link-social": "account",
	"POST /api/auth/change-password": "account",
	"POST /api/auth/sign-out": "self",
	"POST /api/auth/request-password-reset": "open",
	"POST /api/auth/reset-password": "open",
	"POST /api/auth/send-verification-email": "account",
	"POST /api/auth/change-email": "account",
	"GET /api/auth/verify-email": "open",
	"POST /api/users/password-reset": "operate",
	"GET /api/account": "self",
	"DELETE /api/account": "account",
	"GET /api/account/sessions": "account",
	"DELETE /api/account/sessions/:id": "account",
	"GET /api/organizations": "self",
	"POST /api/organizations": "account",
	"GET /api/organizations/:organization": "read",
	"PATCH /api/organizations/:organization": "members",
	"DELETE /api/organizations/:organization": "organization",
	"GET /api/organizations/:organization/limits": "read",
	"PUT /api/organizations/:organization/limits": "operate",
	"GET /api/organizations/:organization/usage": "read",
	"GET /api/organizations/:organization/members": "read",
	"PATCH /api/organizations/:organization/members/:user": "members",
	/** One's own membership is everybody's to end. */
	"DELETE /api/organizations/:organization/members/:user": "account",
	"GET /api/organizations/:organization/invitations": "members",
	"POST /api/organizations/:organization/invitations": "members",
	"DELETE /api/organizations/:organization/invitations/:id": "members",
	"GET /api/invitations/:invitation": "open",
	"POST /api/invitations/accept": "account",
	"GET /api/audit": "audit",
	"GET /api/tokens": "account",
	"POST /api/tokens": "account",
	"DELETE /api/tokens/:id": "account",
	"GET /api/clusters": "read",
	"POST /api/clusters": "clusters",
	"DELETE /api/clusters/:name": "organization",
	"GET /api/keys": "operate",
	"POST /api/clusters/:name/keys/rotate": "nodes",
	"POST /api/clusters/:name/keys/replace": "nodes",
	"POST /api/clusters/import": "clusters",
	"POST /api/clusters/:name/export": "clusters",
	"POST /api/clusters/:name/move": "clusters",
	"GET /api/clusters/:name/usage": "read",
	"GET /api/clusters/:name/shard": "operate",
	"POST /api/clusters/:name/shard": "operate",
	"GET /api/services/:id/rollouts": "read",
	/** Proved by the signature. */
	"POST /webhooks/:cluster/:application": "own",
	"GET /api/applications": "read",
	"POST /api/applications": "deploy",
	"GET /api/applications/:name": "read",
	"PUT /api/applications/:name": "deploy",
	"DELETE /api/applications/:name": "deploy",
	"PUT /api/applications/:name/secrets": "secrets",
	"GET /api/applications/:name/deployments": "read",
	"POST /api/applications/:name/deployments": "deploy",
	"GET /api/applications/:name/deployments/:number": "read",
	"POST /api/applications/:name/deployments/:number/cancel": "deploy",
	"GET /api/applications/:name/deployments/:number/log": "read",
	"GET /api/applications/:name/deliveries": "read",
	"POST /api/applications/:name/deliveries/:key/replay": "deploy",
	/** What it carries comes in by the same gate once more. */
	"GET /api/tunnel": "exec",

	"GET /_ping": "open",
	"GET /version": "read",
	"GET /info": "read",
	"GET /plugins": "read",
	"GET /system/df": "read",
	"GET /events": "read",
	"GET /images/json": "read",
	"GET /images/:name{.+}/json": "read",
	"POST /images/:any{.+}": "deploy",
	"GET /volumes": "read",
	"GET /volumes/:name{.+}": "read",
	"POST /volumes/create": "deploy",
	"POST /volumes/prune": "deploy",
	"PUT /volumes/:name": "deploy",
	"DELETE /volumes/:name{.+}": "deploy",
	"POST /build/prune": "deploy",
	"POST /build": "deploy",
	"GET /distribution/:name{.+}/json": "read",
	"POST /auth": "read",

	"GET /swarm": "read",
	"POST /swarm/init": "clusters",
	"POST /swarm/join": "nodes",
	"POST /swarm/leave": "organization",
	"GET /swarm/unlockkey": "nodes",
	"POST /swarm/unlock": "nodes",
	"POST /swarm/update": "nodes",
	"GET /nodes": "read",
	"GET /nodes/:id": "read",
	"POST /nodes/:id/update": "nodes",
	"DELETE /nodes/:id": "nodes",

	"GET /services": "read",
	"GET /services/:id": "read",
	"GET /services/:id/logs": "read",
	"POST /services/create": "deploy",
	"POST /services/:id/update": "deploy",
	"DELETE /services/:id": "deploy",
	"GET /tasks": "read",
	"GET /tasks/:id": "read",
	"GET /tasks/:id/logs": "read",

	"GET /containers/json": "read",
	"GET /containers/:id/json": "read",
	"GET /containers/:id/logs": "read",
	"GET /containers/:id/top": "read",
	"GET /containers/:id/stats": "read",
	"GET /containers/:id/changes": "read",
	"POST /containers/:id/wait": "read",
	"GET /containers/:id/archive": "exec",
	"PUT /containers/:id/archive": "exec",
	"POST /containers/:id/kill": "exec",
	"POST /containers/:id/stop": "exec",
	"POST /containers/:id/restart": "exec",
	"POST /containers/:id/resize": "exec",
	"POST /containers/:id/attach": "exec",
	"POST /containers/create": "deploy",
	"POST /containers/prune": "deploy",
	"POST /containers/:id/start": "exec",
	"POST /containers/:id/:verb{pause|unpause|rename|update}": "exec",
	"DELETE /containers/:id": "exec",
	"POST /containers/:id/exec": "exec",
	"POST /exec/:id/start": "exec",
	"POST /exec/:id/resize": "exec",
	"GET /exec/:id/json": "exec",

	"GET /networks": "read",
	"GET /networks/": "read",
	"GET /networks/:id": "read",
	"POST /networks/create": "deploy",
	"DELETE /networks/:id": "deploy",
	"POST /networks/prune": "deploy",
	"GET /configs": "read",
	"GET /configs/": "read",
	"GET /configs/:id": "read",
	"POST /configs/create": "deploy",
	"POST /configs/:id/update": "deploy",
	"DELETE /configs/:id": "deploy",
	"GET /secrets": "read",
	"GET /secrets/": "read",
	"GET /secrets/:id": "read",
	"POST /secrets/create": "secrets",
	"POST /secrets/:id/update": "secrets",
	"DELETE /secrets/:id": "secrets",
};

export interface Route {
	readonly method: string;
	readonly path: string;
}

/** `POST /services/:id/update`: what a route is called in the table and in the audit log. */
export function routeName({ method, path }: Route): string {
	return `${method} ${path.replace(/^\/:version\{[^}]*\}(?=\/)/, "")}`;
}

/**
 * What the routes that match a request ask of whoever calls, the first that answers deciding. Where none answers there
 * is nothing to find, which only those learn who are known. Undefined: the table forgot it.
 */
export function admissionOf(matched: readonly Route[]): Admission | undefined {
	const answers = matched.find(({ method }) => method !== "ALL");
	if (answers) return admissions[routeName(answers)];
	const named = matched.find((each) => routeName(each) in admissions);
	return named ? admissions[routeName(named)] : "self";
}

/** What the audit log has a row for. Not for looking, nor for a terminal that changed its size. */
export function isChange(matched: readonly Route[]): boolean {
	const answers = matched.find(({ method }) => method !== "ALL");
	if (!answers || answers.method === "GET" || answers.path.endsWith("/resize")) return false;
	const admission = admissionOf([answers]);
	return admission !== "read" && admission !== "open" && admission !== "own";
}

export function may(actor: Actor, right: Right): boolean {
	return refusalOf(actor, right) === undefined;
}

/** Why not, with what it takes. */
export function refusalOf(actor: Actor, right: Right): Refusal | undefined {
	if (!atLeast(actor.role, leastRole[right])) {
		return forbidden(
			`this takes the role ${leastRole[right]}, and ${actor.name} is ${actor.role} here: ask an owner or admin of the organization for it`,
		);
	}
	if (right === "operate" && actor.organization !== owner) {
		return forbidden(
			"this is for whoever runs this control plane, by the token that it was started with",
		);
	}
	if (right === "self" || actor.scopes === "all" || actor.scopes.includes(right)) return undefined;
	return forbidden(
		`this takes the scope "${right}", which the token ${actor.name} does not have: use another, or make one with it`,
	);
}
