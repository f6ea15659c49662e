// A deployment: one commit's way into one environment, from the push to its outcome. What it was, how far it got and
// why it failed stay with it after builds and tasks are forgotten.
//
// Written by manager/deployment/ alone, from what builds, jobs and rollouts say.

import type { Commit } from "./git.ts";
import type { ApplicationId, BuildId, DeploymentId, ServiceId } from "./id.ts";
import type { Evidence } from "./rollout.ts";
import type { Document, ServiceSpec } from "./service.ts";
import type { Stack } from "./stack.ts";

/** In their order; `phase` only moves forward. */
export const phases = ["queued", "building", "before", "rolling", "ended"] as const;
export type Phase = (typeof phases)[number];

/** `rolled back`: the service went back by itself. `superseded`: a newer push overtook it. `unchanged`: there was nothing to do. */
export type DeploymentOutcome =
	| "succeeded"
	| "failed"
	| "rolled back"
	| "superseded"
	| "cancelled"
	| "unchanged";

export interface Deployment {
	readonly id: DeploymentId;
	readonly application: ApplicationId;
	readonly environment: string;
	/** Counts the application's deployments, from 1. */
	readonly number: number;
	readonly cause: Cause;
	readonly commit: Commit;
	/** `refs/heads/main`; of one by hand as asked. */
	readonly ref: string;
	readonly message: string;
	readonly author: string;
	readonly phase: Phase;
	/** Null where an image that is there is deployed, and while nobody could build it. */
	readonly build: BuildId | null;
	/** Builds that were lost with their nodes, so far. */
	readonly lost: number;
	/** With its digest, once it is known: `skein.local/web:3f2a1b0@sha256:…`. */
	readonly image: string;
	/** The job that runs before, and the service. */
	readonly job: ServiceId | null;
	readonly service: ServiceId | null;
	/** What the service was made to be, for a roll-back to exactly that. */
	readonly made: { readonly spec: ServiceSpec; readonly document: Document } | null;
	/** Of a compose file, in place of `image` and `made`: what it came to, which is all that a roll-back needs. */
	readonly stack?: Stack;
	/** Its services as they were changed: absent until it rolls. */
	readonly services?: readonly RolledService[];
	/** The version of the service's template that it made; 0 while there is none. */
	readonly template: number;
	/** When each phase began. */
	readonly times: readonly (readonly [Phase, number])[];
	/** Whoever wants it ended; it is, unless it rolls. */
	readonly cancelledBy: string | null;
	readonly outcome: DeploymentOutcome | null;
	/** Why it ended as it did, the failing step first; empty where nothing is to be said. */
	readonly reason: string;
	/** Of the step that failed: its last lines, the exit code's story. */
	readonly evidence: Evidence | null;
	/** The pull request whose preview it is of; absent elsewhere. `isRemoved` once that preview is gone. */
	readonly preview?: {
		readonly number: number;
		readonly isFork: boolean;
		readonly isRemoved?: true;
	};
	/** What its forge was told of it; absent where there is none to tell. */
	readonly told?: Told;
}

export interface Told {
	/** What the forge took last, or was spared in the end; null before. */
	readonly said: Sayable | null;
	/** The forge's own id of this deployment, where it keeps deployments; empty before. */
	readonly id: string;
	/** Attempts to say what is to be said now, and before when there is to be no other. */
	readonly tries: number;
	readonly nextMs: number;
	/** Why the forge did not take the last, with the remedy; empty when it did. */
	readonly error: string;
}

export const untold: Told = { said: null, id: "", tries: 0, nextMs: 0, error: "" };

export type Sayable = Phase | DeploymentOutcome | "removed";

export const sayable = ({ outcome, phase, preview }: Deployment): Sayable =>
	preview?.isRemoved ? "removed" : (outcome ?? phase);

export const isUntold = (deployment: Deployment): boolean =>
	deployment.told !== undefined && deployment.told.said !== sayable(deployment);

/** Whoever decided something tells it at once; what is not told by then is anybody's to tell. */
const lateMs = 15_000;

export function tellAtMs({ told, times }: Deployment): number {
	if (told && told.tries > 0) return told.nextMs;
	return (times.at(-1)?.[1] ?? 0) + lateMs;
}

/** One of a stack's. */
export interface RolledService {
	readonly service: ServiceId;
	readonly name: string;
	/** The version of its template that the deployment made. */
	readonly template: number;
	/** It was not there before. */
	readonly isNew: boolean;
	/** Null while it rolls. */
	readonly outcome: DeploymentOutcome | null;
}

export type Cause =
	/** By a webhook's delivery. */
	| { readonly kind: "push"; readonly delivery: string }
	| { readonly kind: "pull-request"; readonly delivery: string; readonly number: number }
	/** A look at the repository's refs found it: the delivery was lost. */
	| { readonly kind: "poll" }
	/** Somebody's wish. */
	| { readonly kind: "manual"; readonly actor: string }
	| { readonly kind: "rollback"; readonly to: DeploymentId; readonly actor: string }
	| { readonly kind: "promotion"; readonly from: DeploymentId; readonly actor: string };

/** So many of each environment are kept. */
export const keptDeployments = 20;
