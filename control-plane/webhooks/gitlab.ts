// GitLab, in the cloud and on a server of one's own.
//
// https://docs.gitlab.com/user/project/integrations/webhook_events/
//
// It proves itself in one of two ways: with the secret itself in a header, which whoever reads the request then knows,
// or, in newer versions and when the hook has a signing token (`whsec_…`), with a signature as Standard Webhooks has it.

import { z } from "zod";
import type { GitEvent, PullRequest } from "../../model/git.ts";
import { fromBase64 } from "../accounts/base64.ts";
import { bytesOf, bytesOfAll } from "./bytes.ts";
import type { Delivery, Forge } from "./forge.ts";
import { authorOf, commit, listedCommit, parsePayload, pathsOf, revision } from "./payload.ts";
import { isHmac, isSame } from "./signature.ts";

const name = "GitLab";

export const gitlab: Forge = {
	name,
	recognizes: (headers) => headers.has("X-Gitlab-Event"),
	async verify(secret, delivery) {
		// A hook may have both, and Skein either of them.
		const token = delivery.headers.get("X-Gitlab-Token") ?? "";
		return (await isSigned(secret, delivery)) || isSame(secret, token);
	},
	// The same in every attempt to deliver. (X-Gitlab-Event-UUID is not one: events that follow from each other share it.)
	id: (headers) => headers.get("Idempotency-Key") ?? headers.get("webhook-id") ?? "",
	signedId: (headers) => (headers.has("webhook-signature") ? headers.get("webhook-id") : null),
	events(delivery) {
		const { object_kind: kind } = parsePayload(
			name,
			z.object({ object_kind: z.string() }),
			delivery,
		);
		if (kind === "push" || kind === "tag_push") return [pushOf(delivery)];
		if (kind === "merge_request") return [mergeRequestOf(delivery)];
		return [{ kind: "other", event: kind }];
	},
};

const base64 = /^[A-Za-z0-9+/]+={0,2}$/;

/** https://www.standardwebhooks.com: several signatures may stand there, of which each is `v1,BASE64`. */
async function isSigned(secret: string, { headers, body }: Delivery): Promise<boolean> {
	const key = secret.replace(/^whsec_/, "");
	if (!base64.test(key) || key.length % 4 !== 0) return false;
	const before = `${headers.get("webhook-id")}.${headers.get("webhook-timestamp")}.`;
	const message = await bytesOfAll([bytesOf(before), body]);
	const signatures = (headers.get("webhook-signature") ?? "")
		.split(" ")
		.map((each) => /^v1,(.*)$/.exec(each)?.[1] ?? "")
		.filter((each) => base64.test(each) && each.length % 4 === 0);
	const found = signatures.map((each) => isHmac(fromBase64(key), message, fromBase64(each)));
	return (await Promise.all(found)).includes(true);
}

/** What project and group access tokens push as; nothing else tells a program from a person. */
const botName = /^(project|group)_\d+_bot/;

const pushSchema = z.object({
	ref: z.string(),
	before: revision,
	after: revision,
	/** The commit, where `after` is the hash of an annotated tag. */
	checkout_sha: commit.nullish(),
	user_username: z.string().optional(),
	/** The newest twenty, the newest last. */
	commits: z.array(listedCommit),
	total_commits_count: z.int(),
});

function pushOf(delivery: Delivery): GitEvent {
	const pushed = parsePayload(name, pushSchema, delivery);
	const moved = {
		before: pushed.before,
		commit: pushed.after && (pushed.checkout_sha ?? pushed.after),
		forced: false,
	};
	const head = pushed.commits.find(({ id }) => id === moved.commit);
	return {
		kind: "push",
		ref: pushed.ref,
		...moved,
		message: head?.message ?? "",
		author: authorOf(head?.author),
		isBot: botName.test(pushed.user_username ?? ""),
		paths: pathsOf(moved, pushed.commits, pushed.total_commits_count),
	};
}

const mergeRequestSchema = z.object({
	user: z.object({ username: z.string() }),
	object_attributes: z.object({
		iid: z.int(),
		title: z.string(),
		action: z.string().optional(),
		/** Only there when commits came. */
		oldrev: z.string().optional(),
		source_branch: z.string(),
		target_branch: z.string(),
		source_project_id: z.int(),
		target_project_id: z.int(),
		last_commit: z.object({ id: commit }),
	}),
});

const actions: Readonly<Record<string, PullRequest["action"]>> = {
	open: "opened",
	reopen: "opened",
	close: "closed",
	merge: "closed",
};

function mergeRequestOf(delivery: Delivery): GitEvent {
	const { user, object_attributes: request } = parsePayload(name, mergeRequestSchema, delivery);
	const action = request.action ?? "";
	const known = action === "update" && request.oldrev ? "updated" : actions[action];
	if (!known) return { kind: "other", event: `merge_request ${action}` };
	return {
		kind: "pull-request",
		action: known,
		number: request.iid,
		title: request.title,
		author: user.username,
		isBot: botName.test(user.username),
		commit: request.last_commit.id,
		branch: request.source_branch,
		base: request.target_branch,
		isFork: request.source_project_id !== request.target_project_id,
	};
}
