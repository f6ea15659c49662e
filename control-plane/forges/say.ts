// One thing said to a forge, once: the commit's status, and the deployment where the forge has some.

import { messageOf } from "../../model/errors.ts";
import { bytesWithin } from "../webhooks/bytes.ts";
import type { Send } from "../webhooks/reach.ts";
import type { Asked, ForgeToken, Saying } from "./forge.ts";
import type { Where } from "./where.ts";

/** `id` is the forge's of the deployment, as far as it is known. */
export type Said =
	| { readonly kind: "taken"; readonly id: string }
	/** May be taken later: not before `waitMs`, where the forge says so. */
	| { readonly kind: "later"; readonly id: string; readonly error: string; readonly waitMs: number }
	/** Until somebody does what the error says. */
	| { readonly kind: "refused"; readonly id: string; readonly error: string };

const timeoutMs = 10_000;
/** A list of a hundred deployments. */
const mostBytes = 2 * 1024 * 1024;

class Failed extends Error {
	override name = "Failed";
	readonly waitMs: number | null;
	/** @param options `waitMs` is null where waiting does not help */
	constructor(message: string, { waitMs, ...options }: ErrorOptions & Pick<Failed, "waitMs">) {
		super(message, options);
		this.waitMs = waitMs;
	}
}

const never = { waitMs: null };

export async function say(
	where: Where,
	token: ForgeToken,
	saying: Saying,
	known: string,
	send: Send = (request) => fetch(request),
): Promise<Said> {
	let id = known;
	const ask = (asked: Asked) => answerTo(where, token, asked, send);
	try {
		if (!saying.isOvertaken && saying.state !== "removed") {
			await ask(where.forge.status(where.project, saying));
		}
		const { deployments } = where.forge;
		if (!deployments || !where.hasDeployments) return { kind: "taken", id };
		if (id === "") {
			// Nobody saw it there, and it is over.
			if (saying.state === "removed") return { kind: "taken", id };
			const before = await ask(deployments.find(where.project, saying));
			id = deployments.found(before, saying) ?? "";
		}
		if (id === "") {
			id = idOf(await ask(deployments.make(where.project, saying)), where);
			if (deployments.isSaidByMaking) return { kind: "taken", id };
		}
		const state = deployments.state(where.project, id, saying);
		if (state) await ask(state);
		return { kind: "taken", id };
	} catch (error) {
		if (!(error instanceof Failed)) throw error;
		const { message, waitMs } = error;
		return waitMs === null
			? { kind: "refused", id, error: message }
			: { kind: "later", id, error: message, waitMs };
	}
}

async function answerTo(
	{ forge, api, project }: Where,
	token: ForgeToken,
	{ method, path, body }: Asked,
	send: Send,
): Promise<unknown> {
	const { host } = new URL(api);
	let reply: Response;
	let text: string;
	try {
		reply = await send(
			new Request(`${api}${path}`, {
				method,
				headers: {
					...forge.headers(token),
					"User-Agent": "skein",
					...(body && { "Content-Type": "application/json" }),
				},
				...(body && { body: JSON.stringify(body) }),
				// The token is for this host alone.
				redirect: "manual",
				signal: AbortSignal.timeout(timeoutMs),
			}),
		);
		const tooMuch = () => new Error(`it answers with more than ${mostBytes >> 20} MB`);
		text = new TextDecoder().decode(await bytesWithin(reply.body, mostBytes, tooMuch));
	} catch (cause) {
		throw new Failed(`${forge.name} (${host}) does not answer: ${messageOf(cause)}`, {
			cause,
			waitMs: 0,
		});
	}
	const { status } = reply;
	if (reply.ok || (status === 400 && forge.isKnown?.(text))) return jsonOf(text);
	const words = wordsOf(text);
	const said = words && `, ${words}`;
	if (status === 429 || status >= 500 || isLimited(reply)) {
		throw new Failed(`${forge.name} (${host}) answers with status ${status}${said}`, {
			waitMs: waitOf(reply),
		});
	}
	if (status === 401) {
		throw new Failed(
			`${forge.name} refuses the token${said}: give another one that may ${needs(forge)}`,
			never,
		);
	}
	if (status === 403 || status === 404) {
		throw new Failed(
			`${forge.name} has no ${project} for this token to write to (status ${status}${said}): give one that may ${needs(forge)}, or correct forge.project`,
			never,
		);
	}
	if (status >= 300 && status < 400) {
		throw new Failed(
			`${forge.name} says that ${project} is elsewhere: write its address of today into repository, or into forge.api and forge.project`,
			never,
		);
	}
	throw new Failed(`${forge.name} does not take it: status ${status}${said}`, never);
}

const needs = ({ needs: what }: Where["forge"]) => `write there: ${what}`;

/** GitHub says so with 403 as well. */
const isLimited = ({ status, headers }: Response) =>
	status === 403 && (headers.has("Retry-After") || headers.get("X-RateLimit-Remaining") === "0");

function waitOf({ headers }: Response): number {
	const seconds = Number(headers.get("Retry-After"));
	return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}

function idOf(answer: unknown, { forge }: Where): string {
	const id = answer && typeof answer === "object" && "id" in answer ? answer.id : undefined;
	if (typeof id === "number" && Number.isSafeInteger(id)) return String(id);
	throw new Failed(`${forge.name} answers without a deployment's id: is forge.api its API?`, never);
}

function jsonOf(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

/** All four say what is wrong in `message`; Bitbucket in `error.message`. */
function wordsOf(text: string): string {
	const said = jsonOf(text) as { message?: unknown; error?: { message?: unknown } } | undefined;
	const message = said?.message ?? said?.error?.message;
	const words = typeof message === "string" ? message : JSON.stringify(message ?? "");
	return words
		.replaceAll(/[\s\p{Cc}]+/gu, " ")
		.replaceAll(/^"|"$/g, "")
		.slice(0, 200);
}
