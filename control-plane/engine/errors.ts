// Refusals as Docker's clients know them: a status and `{"message": …}`, in the words that tools look for.
//
// The content type must be `application/json` and nothing after it, or the CLI prints the raw JSON.

import { Refusal, type RefusalKind, retryHeader } from "../../model/errors.ts";

const statusOf: Readonly<Record<RefusalKind, number>> = {
	invalid: 400,
	forbidden: 403,
	"not-found": 404,
	conflict: 409,
	unavailable: 503,
};

/** A refusal for which Docker has a status of its own. */
class EngineRefusal extends Refusal {
	readonly status: number;

	constructor(status: number, kind: RefusalKind, message: string) {
		super(kind, message);
		this.name = "EngineRefusal";
		this.status = status;
	}
}

export function answerTo(refusal: Refusal): Response {
	const status = refusal instanceof EngineRefusal ? refusal.status : statusOf[refusal.kind];
	return new Response(`${JSON.stringify({ message: refusal.message })}\n`, {
		status,
		headers: { "Content-Type": "application/json", ...retryHeader(refusal) },
	});
}

/** Docker's manager answers through gRPC, and its clients match on these texts. */
const rpc = (code: string, message: string) => `rpc error: code = ${code} desc = ${message}`;

export const badArgument = (message: string) =>
	new EngineRefusal(400, "invalid", rpc("InvalidArgument", message));

export const failedPrecondition = (message: string) =>
	new EngineRefusal(400, "invalid", rpc("FailedPrecondition", message));

export const alreadyExists = (kind: string, name: string) =>
	new EngineRefusal(
		409,
		"conflict",
		rpc("AlreadyExists", `name conflicts with an existing object: ${kind} ${name} already exists`),
	);

/** Secrets and configs say it in fewer words than services. */
export const existsAlready = (kind: string, name: string) =>
	new EngineRefusal(409, "conflict", rpc("AlreadyExists", `${kind} ${name} already exists`));

export const unknownFault = (message: string) =>
	new EngineRefusal(500, "invalid", rpc("Unknown", message));

/** The version that a client sent back is not the newest: it should read again and try again. */
export const outOfSequence = () =>
	new EngineRefusal(500, "conflict", rpc("Unknown", "update out of sequence"));

export const unimplemented = (message: string) =>
	new EngineRefusal(501, "invalid", rpc("Unimplemented", message));

/** What Docker answers with 500 although the request was at fault. */
export const fault = (message: string) => new EngineRefusal(500, "invalid", message);

export const tooLarge = (limitBytes: number) =>
	new EngineRefusal(
		413,
		"invalid",
		`http: request body too large: more than ${limitBytes} bytes; send a smaller spec`,
	);

export const notSwarm = () =>
	new EngineRefusal(
		503,
		"unavailable",
		'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.',
	);

export const inSwarm = (publicUrl: string) =>
	new EngineRefusal(
		503,
		"unavailable",
		'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one. ' +
			`(The cluster is there: "docker node ls" shows it. To add a machine, run on it: ${installLine(publicUrl)}, ` +
			'with the token that "docker swarm join-token -q worker" prints.)',
	);

export function installLine(publicUrl: string, token = "TOKEN"): string {
	return `curl -fsSL ${publicUrl}/install.sh | sh -s -- --token ${token}`;
}

export const lastManager = () =>
	new EngineRefusal(
		503,
		"unavailable",
		"You are attempting to leave the swarm on a node that is participating as a manager. Removing the last manager " +
			"erases all current state of the swarm. Use `--force` to ignore this message. ",
	);

export const pageNotFound = () => new EngineRefusal(404, "not-found", "page not found");

/** What is not done to a task's container by hand, and what is done instead. */
export const ofService = (why: string, remedy: string) =>
	new EngineRefusal(501, "invalid", `${why}: use ${remedy}`);

/** What lives on each machine and not in the cluster. */
export const onTheMachine = (what: string) =>
	new EngineRefusal(
		501,
		"invalid",
		`${what} belong to each machine's own engine, not to the cluster: run this command on the machine`,
	);
