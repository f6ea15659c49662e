// Gitea and Forgejo, which sends Gitea's headers beside its own.
//
// https://docs.gitea.com/usage/webhooks, https://forgejo.org/docs/latest/user/webhooks/

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

const name = "Gitea";

const either = (headers: Headers, what: string) =>
	headers.get(`X-Forgejo-${what}`) ?? headers.get(`X-Gitea-${what}`);

export const gitea: Forge = {
	name,
	recognizes: (headers) => either(headers, "Event") !== null,
	verify: (secret, { headers, body }) => isHexHmac(secret, body, either(headers, "Signature")),
	id: (headers) => either(headers, "Delivery") ?? "",
	events(delivery) {
		const event = either(delivery.headers, "Event") ?? "";
		if (event === "push") return [pushOf(delivery)];
		if (event === "pull_request") return [pullRequestOf(delivery)];
		return [{ kind: "other", event }];
	},
};

/** Programs of the forge's own (its Actions) have numbers below zero. */
const account = z.object({ id: z.int(), login: z.string() });

const pushSchema = z.object({
	ref: z.string(),
	before: revision,
	after: revision,
	commits: z.array(listedCommit).nullable(),
	/** It lists only so many (`FEED_MAX_COMMIT_NUM`, five by default); before 1.18 it did not say how many there are. */
	total_commits: z.int().optional(),
	head_commit: listedCommit.nullish(),
	sender: account,
});

function pushOf(delivery: Delivery): GitEvent {
	const pushed = parsePayload(name, pushSchema, delivery);
	const commits = pushed.commits ?? [];
	const head = pushed.head_commit ?? commits.find(({ id }) => id === pushed.after);
	const moved = {
		before: pushed.before,
		// Of an annotated tag, `after` is the tag's own hash.
		commit: pushed.after && (head?.id ?? pushed.after),
		forced: false,
	};
	return {
		kind: "push",
		ref: pushed.ref,
		...moved,
		message: head?.message ?? "",
		author: authorOf(head?.author),
		isBot: pushed.sender.id < 0,
		paths: pathsOf(moved, commits, pushed.total_commits ?? Number.POSITIVE_INFINITY),
	};
}

const pullRequestSchema = z.object({
	action: z.string(),
	number: z.int(),
	pull_request: z.object({
		title: z.string(),
		user: account,
		head: z.object({ sha: commit, ref: z.string(), repo_id: z.int() }),
		base: z.object({ ref: z.string(), repo_id: z.int() }),
	}),
});

const actions: Readonly<Record<string, PullRequest["action"]>> = {
	opened: "opened",
	reopened: "opened",
	synchronized: "updated",
	closed: "closed",
};

function pullRequestOf(delivery: Delivery): GitEvent {
	const payload = parsePayload(name, pullRequestSchema, delivery);
	const { user, head, base } = payload.pull_request;
	return pullRequestFrom(payload, actions, {
		isBot: user.id < 0,
		isFork: head.repo_id !== base.repo_id,
	});
}
