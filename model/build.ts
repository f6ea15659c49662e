// A build: one attempt to make an image of one commit, on one node. As with tasks, what is decided and what the node
// saw are kept apart, and a build only ever moves up the order of its states.

import type { Commit } from "./git.ts";
import type { ApplicationId, BuildId, NodeId } from "./id.ts";
import type { ImageIndex, ManifestForm } from "./image.ts";
import type { Resources } from "./service.ts";
import type { Stack, StackOrder } from "./stack.ts";

/** Ranks leave gaps for states to come. */
export const buildRankOf = {
	/** For a node that may build, and has no other build. */
	waiting: 0,
	assigned: 64,
	fetching: 128,
	building: 192,
	/** The image goes to where nodes get it from. */
	storing: 256,
	complete: 320,
	failed: 384,
	/** Superseded, or somebody's wish. */
	cancelled: 448,
	/** Its node is gone. */
	lost: 512,
} as const;

export type BuildState = keyof typeof buildRankOf;

export function hasEnded(state: BuildState): boolean {
	return buildRankOf[state] >= buildRankOf.complete;
}

/** The rest is the planner's. */
export function isNodesToSay(state: BuildState): boolean {
	return state !== "waiting" && state !== "assigned" && state !== "lost";
}

/** How far the build got, in its owner's words: the node's from `fetching` on. */
export interface BuildStatus {
	readonly state: BuildState;
	/** Why it failed, in a sentence that names the step; empty when nothing is wrong. */
	readonly error: string;
	/** The last lines of its log, oldest first, of one that failed. */
	readonly lines: readonly string[];
	/** Of the image's manifest, once it is complete: `sha256:…`; else empty. */
	readonly digest: string;
	/** What the image takes, compressed. */
	readonly bytes: number;
	/** Of one of several, once it is complete: what an index says of the manifest besides its digest. */
	readonly manifest?: ManifestForm | undefined;
	readonly sinceMs: number;
	/** When each state before began, for the breakdown: `[["fetching", 1700000000000], …]`. */
	readonly times: readonly (readonly [BuildState, number])[];
	/** Orders two reports of one state. */
	readonly observed: number;
}

/** How an image is made. */
export interface Recipe {
	/** In the repository, the build's context: `.` is all of it. */
	readonly context: string;
	/** In the context. */
	readonly dockerfile: string;
	/** Of a Dockerfile with several stages; empty for the last. */
	readonly target: string;
	readonly args: Readonly<Record<string, string>>;
	/** Names of the application's secrets that the build may read, as `RUN --mount=type=secret,id=NAME`. */
	readonly secrets: readonly string[];
	/** In the repository: a compose file, which says how its images are made. Context and Dockerfile are then its own to say. */
	readonly compose?: string;
}

/** As its node is told. Nothing of it changes but `desired`. */
export interface BuildAssignment {
	readonly id: BuildId;
	/** `https://…`, `ssh://…` or `git@host:path`. */
	readonly repository: string;
	readonly commit: Commit;
	/** A ref that leads to the commit: servers may not give out commits by their name. */
	readonly ref: string;
	readonly recipe: Recipe;
	/** As images name it: `amd64`, `arm64`. */
	readonly architecture: string;
	/** Where the image goes: `skein.local/web:3f2a1b0c9d8e`, or a name in a registry outside. */
	readonly image: string;
	/** Of a recipe with a compose file; images of its services are named after `image`: `skein.local/web/api:3f2a1b0c9d8e`. */
	readonly stack?: StackOrder;
	/** There are others, for other architectures: what comes of it goes into one index with theirs, so its node says `manifest`. */
	readonly isPart?: true;
	readonly desired: "complete" | "cancelled";
	/** What the build may take of the machine; 0 is no limit. */
	readonly limits: Resources;
	readonly timeoutMs: number;
}

export interface Build extends BuildAssignment {
	readonly application: ApplicationId;
	readonly node: NodeId | null;
	readonly createdMs: number;
	/** What the compose file came to, before the build is complete; it has no digest of its own. */
	readonly made?: Stack;
	/** Those of the same image for other architectures, of the one that a deployment names. */
	readonly others?: readonly BuildId[];
	/** The one that names it among its others; absent of those that deployments name. */
	readonly of?: BuildId;
	/** Of one with others, once all of them are complete: what the image is known by. */
	readonly index?: ImageIndex;
	readonly status: BuildStatus;
}

export const unbuilt: BuildStatus = {
	state: "waiting",
	error: "",
	lines: [],
	digest: "",
	bytes: 0,
	sinceMs: 0,
	times: [],
	observed: 0,
};

/** What a build must know and nobody else: asked for when it begins, never kept on a disk. */
export interface BuildSecrets {
	/** For git over https. */
	readonly login?: { readonly user: string; readonly password: string };
	/** For git over ssh: a private key in OpenSSH's format, and the host's lines of a known_hosts file. */
	readonly ssh?: { readonly key: string; readonly knownHosts: string };
	/** By name: see `Recipe.secrets`. */
	readonly secrets: Readonly<Record<string, string>>;
	/** Docker's `X-Registry-Config`, as an object: credentials by registry, of base images and for the push. */
	readonly registries: Readonly<Record<string, { username: string; password: string }>>;
}

/** Of what a failed build says in its status. */
export const buildBounds = { lines: 20, lineLength: 512 } as const;

/**
 * What is known of every build's log besides: it is sent whole when the build ends, its oldest part left out if longer.
 * `POST /agent/build-log?build=ID`, as text.
 */
export const longestLogBytes = 512 * 1024;
