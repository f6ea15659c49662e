// What happened in a repository, in one language for all forges. A webhook says it, or a look at the repository's refs.

/** A full object name: 40 hexadecimal digits (64 in repositories of the new format). */
export type Commit = string;

export type GitEvent =
	| Push
	| PullRequest
	/** The forge tries whether we are there. */
	| { readonly kind: "ping" }
	/** Nothing that we deploy for; named as the forge names it. */
	| { readonly kind: "other"; readonly event: string };

/** A branch or a tag came, moved or went. */
export interface Push {
	readonly kind: "push";
	/** `refs/heads/main`, `refs/tags/v1`. */
	readonly ref: string;
	/** Null when the ref is new. */
	readonly before: Commit | null;
	/** Null when the ref is gone. */
	readonly commit: Commit | null;
	/** The ref no longer leads to what it led to: false also where the forge does not say. */
	readonly forced: boolean;
	/** Of the newest commit, whole; empty where it is not known. */
	readonly message: string;
	/** Who wrote the newest commit: `Name <address>`, or as much as is known. */
	readonly author: string;
	/** Who pushed is a program, as the forge says. */
	readonly isBot: boolean;
	/** Every path that the push touched; null where the forge does not say, or may have said only some. */
	readonly paths: readonly string[] | null;
}

/** A pull or merge request. */
export interface PullRequest {
	readonly kind: "pull-request";
	readonly action: "opened" | "updated" | "closed";
	readonly number: number;
	readonly title: string;
	readonly author: string;
	readonly isBot: boolean;
	/** What it would merge, and into which branch (a short name). Bitbucket tells the commit's first twelve digits. */
	readonly commit: Commit;
	readonly branch: string;
	readonly base: string;
	/** Comes from another repository: strangers may have written it, and it gets none of our secrets. */
	readonly isFork: boolean;
}
