// Bitbucket, in the cloud.
//
// https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/

import { z } from "zod";
import type { GitEvent, PullRequest } from "../../model/git.ts";
import type { Delivery, Forge } from "./forge.ts";
import { commit, parsePayload } from "./payload.ts";
import { isHexHmac } from "./signature.ts";

const name = "Bitbucket";

export const bitbucket: Forge = {
	name,
	recognizes: (headers) => headers.has("X-Event-Key"),
	verify: (secret, { headers, body }) =>
		isHexHmac(secret, body, /^sha256=(.*)$/.exec(headers.get("X-Hub-Signature") ?? "")?.[1]),
	// The same in every attempt to deliver.
	id: (headers) => headers.get("X-Request-UUID") ?? "",
	events(delivery) {
		const event = delivery.headers.get("X-Event-Key") ?? "";
		if (event === "diagnostics:ping") return [{ kind: "ping" }];
		if (event === "repo:push") return pushesOf(delivery);
		const action = actions[event];
		return [action ? pullRequestOf(delivery, action) : { kind: "other", event }];
	},
};

/** People are of the type `user`; access tokens and apps are `app_user`. */
const actor = z.object({ type: z.string().optional(), nickname: z.string().optional() });

const isProgram = ({ type }: z.infer<typeof actor>) => type === "app_user";

const head = z.object({
	type: z.enum(["branch", "tag"], 'neither "branch" nor "tag"'),
	name: z.string(),
	target: z.object({
		hash: commit,
		message: z.string().optional(),
		author: z.object({ raw: z.string().optional() }).optional(),
	}),
});

const pushSchema = z.object({
	actor,
	push: z.object({
		changes: z.array(
			z
				.object({ old: head.nullable(), new: head.nullable(), forced: z.boolean().default(false) })
				.refine((change) => change.old ?? change.new, "neither old nor new"),
		),
	}),
});

function pushesOf(delivery: Delivery): readonly GitEvent[] {
	const payload = parsePayload(name, pushSchema, delivery);
	return payload.push.changes.map((change) => {
		const named = change.new ?? change.old;
		const target = change.new?.target;
		return {
			kind: "push",
			ref: `refs/${named?.type === "tag" ? "tags" : "heads"}/${named?.name}`,
			before: change.old?.target.hash ?? null,
			commit: target?.hash ?? null,
			forced: change.forced,
			message: target?.message ?? "",
			author: target?.author?.raw ?? "",
			isBot: isProgram(payload.actor),
			// It names commits, and no files.
			paths: null,
		};
	});
}

const side = z.object({
	/** Twelve digits of it. */
	commit: z.object({ hash: z.string().regex(/^[0-9a-f]{12,64}$/, "no commit") }),
	branch: z.object({ name: z.string() }),
	repository: z.object({ full_name: z.string() }).nullable(),
});

const pullRequestSchema = z.object({
	actor,
	pullrequest: z.object({
		id: z.int(),
		title: z.string(),
		author: actor.extend({ display_name: z.string().optional() }),
		source: side,
		destination: side,
	}),
});

const actions: Readonly<Record<string, PullRequest["action"]>> = {
	"pullrequest:created": "opened",
	"pullrequest:updated": "updated",
	"pullrequest:fulfilled": "closed",
	"pullrequest:rejected": "closed",
};

function pullRequestOf(delivery: Delivery, action: PullRequest["action"]): GitEvent {
	const { pullrequest } = parsePayload(name, pullRequestSchema, delivery);
	const { id, title, author, source, destination } = pullrequest;
	return {
		kind: "pull-request",
		action,
		number: id,
		title,
		author: author.nickname ?? author.display_name ?? "",
		isBot: isProgram(author),
		commit: source.commit.hash,
		branch: source.branch.name,
		base: destination.branch.name,
		isFork: source.repository?.full_name !== destination.repository?.full_name,
	};
}
