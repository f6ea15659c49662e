// GitHub, in the cloud and on a server of one's own.
//
// https://docs.github.com/en/webhooks/webhook-events-and-payloads

import { z } from "zod";
import type { GitEvent, PullRequest } from "../../model/git.ts";
import type { Delivery, Forge } from "./forge.ts";
import {
	authorOf,
	commit,
	listedCommit,
	parsePayload,
	pathsOf,
	pullRequestFrom,
	revision,
} from "./payload.ts";
import { isHexHmac } from "./signature.ts";

const name = "GitHub";

export const github: Forge = {
	name,
	recognizes: (headers) => headers.has("X-GitHub-Event"),
	verify: (secret, { headers, body }) =>
		isHexHmac(secret, body, /^sha256=(.*)$/.exec(headers.get("X-Hub-Signature-256") ?? "")?.[1]),
	id: (headers) => headers.get("X-GitHub-Delivery") ?? "",
	events(delivery) {
		const event = delivery.headers.get("X-GitHub-Event") ?? "";
		if (event === "ping") return [{ kind: "ping" }];
		if (event === "push") return [pushOf(delivery)];
		if (event === "pull_request") return [pullRequestOf(delivery)];
		return [{ kind: "other", event }];
	},
};

/** Of a push with more commits than these, GitHub lists the newest. */
const listedCommitsMax = 2_048;

const account = z.object({ login: z.string(), type: z.string().optional() });

const pushSchema = z.object({
	ref: z.string(),
	before: revision,
	after: revision,
	forced: z.boolean(),
	commits: z.array(listedCommit),
	head_commit: listedCommit.nullable(),
	sender: account.optional(),
});

function pushOf(delivery: Delivery): GitEvent {
	const pushed = parsePayload(name, pushSchema, delivery);
	const { ref, before, forced, commits, head_commit: head } = pushed;
	// Of an annotated tag, `after` is the tag's own hash.
	const moved = { before, commit: pushed.after && (head?.id ?? pushed.after), forced };
	const inAll = commits.length < listedCommitsMax ? commits.length : Number.POSITIVE_INFINITY;
	return {
		kind: "push",
		ref,
		...moved,
		message: head?.message ?? "",
		author: authorOf(head?.author),
		isBot: pushed.sender?.type === "Bot",
		paths: pathsOf(moved, commits, inAll),
	};
}

const repository = z.object({ full_name: z.string() });

const pullRequestSchema = z.object({
	action: z.string(),
	number: z.int(),
	pull_request: z.object({
		title: z.string(),
		user: account,
		head: z.object({ sha: commit, ref: z.string(), repo: repository.nullable() }),
		base: z.object({ ref: z.string(), repo: repository }),
	}),
});

const actions: Readonly<Record<string, PullRequest["action"]>> = {
	opened: "opened",
	reopened: "opened",
	synchronize: "updated",
	closed: "closed",
};

function pullRequestOf(delivery: Delivery): GitEvent {
	const payload = parsePayload(name, pullRequestSchema, delivery);
	const { user, head, base } = payload.pull_request;
	return pullRequestFrom(payload, actions, {
		isBot: user.type === "Bot",
		// The repository it came from may be gone: then it was another one.
		isFork: head.repo?.full_name !== base.repo.full_name,
	});
}
