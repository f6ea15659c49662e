// A delivery's JSON in the shape that we read of it, and the parts in which the forges are alike.

import { z } from "zod";
import { invalid, messageOf } from "../../model/errors.ts";
import type { Commit, GitEvent, PullRequest } from "../../model/git.ts";
import type { Delivery } from "./forge.ts";

/** The payload in the schema's shape, or `invalid` with the field's name. */
export function parsePayload<Shape>(
	forge: string,
	schema: z.ZodType<Shape>,
	delivery: Delivery,
): Shape {
	const parsed = schema.safeParse(jsonOf(forge, delivery));
	if (parsed.success) return parsed.data;
	const [issue] = parsed.error.issues;
	const field = issue?.path.map(String).join(".") || "the payload";
	throw invalid(`${forge}'s payload: ${field}: ${issue?.message}`);
}

function jsonOf(forge: string, { headers, body }: Delivery): unknown {
	const text = new TextDecoder().decode(body);
	const isForm = headers.get("Content-Type")?.startsWith("application/x-www-form-urlencoded");
	try {
		// GitHub's and Gitea's other content type: a form with the JSON in one field.
		return JSON.parse(isForm ? (new URLSearchParams(text).get("payload") ?? "") : text);
	} catch (cause) {
		throw invalid(
			`${forge}'s payload is no JSON (${messageOf(cause)}): set the webhook's content type to application/json`,
			{ cause },
		);
	}
}

export const commit = z
	.string()
	.regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, "no commit: 40 or 64 hexadecimal digits");

/** Where a ref led or leads to; zeros say that it led nowhere. */
export const revision = commit.transform((hash): Commit | null =>
	/^0+$/.test(hash) ? null : hash,
);

export const signature = z.object({ name: z.string(), email: z.string().nullish() });

export function authorOf(author: z.infer<typeof signature> | null | undefined): string {
	if (!author) return "";
	return author.email ? `${author.name} <${author.email}>` : author.name;
}

/** Null is Go's word for none; a forge that leaves a list out does not say. */
const files = z.array(z.string()).nullable().optional();

export const listedCommit = z.object({
	id: commit,
	message: z.string(),
	author: signature,
	added: files,
	modified: files,
	removed: files,
});

/** GitHub's words for a pull request, which Gitea took over: all but who its author is, and where it comes from. */
interface GitHubPullRequest {
	readonly action: string;
	readonly number: number;
	readonly pull_request: {
		readonly title: string;
		readonly user: { readonly login: string };
		readonly head: { readonly sha: Commit; readonly ref: string };
		readonly base: { readonly ref: string };
	};
}

export function pullRequestFrom(
	{ action, number, pull_request: { title, user, head, base } }: GitHubPullRequest,
	actions: Readonly<Record<string, PullRequest["action"]>>,
	{ isBot, isFork }: Pick<PullRequest, "isBot" | "isFork">,
): GitEvent {
	const known = actions[action];
	if (!known) return { kind: "other", event: `pull_request ${action}` };
	return {
		kind: "pull-request",
		action: known,
		number,
		title,
		author: user.login,
		isBot,
		commit: head.sha,
		branch: head.ref,
		base: base.ref,
		isFork,
	};
}

/** So many in one list, and it may have been cut off: GitHub does that at some thousands. */
const listedFilesMax = 3_000;

/**
 * What a push touched, by its commits; null unless they are surely all that it changed. The commits that a forced push
 * took away are in no forge's list, nor is what a new ref differs in from what was deployed before.
 */
export function pathsOf(
	push: { before: Commit | null; commit: Commit | null; forced: boolean },
	commits: readonly z.infer<typeof listedCommit>[],
	commitsInAll: number,
): readonly string[] | null {
	const isWhole = commits.length > 0 && commits.length === commitsInAll;
	if (!push.before || !push.commit || push.forced || !isWhole) return null;
	const lists = commits.flatMap(({ added, modified, removed }) => [added, modified, removed]);
	if (lists.some((list) => list === undefined || (list?.length ?? 0) >= listedFilesMax))
		return null;
	return [...new Set(lists.flatMap((list) => list ?? []))].sort();
}
