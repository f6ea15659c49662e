// An application: a repository, how an image is made of it, and the services that run that image, one in each of its
// environments.

import type { Recipe } from "./build.ts";
import type { ApplicationId } from "./id.ts";
import type { Document, Resources } from "./service.ts";

export interface Application {
	readonly id: ApplicationId;
	readonly spec: ApplicationSpec;
	/** Counts changes of the spec: what clients send back as `version`. */
	readonly specVersion: number;
	/** Of `sealed`, which no snapshot has: the webhook's secret, the repository's credentials, build secrets. */
	readonly secretsVersion: number;
	/** Their names, since nobody is shown more. */
	readonly secretNames: readonly string[];
	readonly createdMs: number;
	readonly updatedMs: number;
	/** Those that there are; absent where there never was one. */
	readonly previews?: readonly Preview[];
}

/** A pull request's own environment. */
export interface Preview {
	readonly number: number;
	/** What it would merge: a short name. */
	readonly branch: string;
	readonly title: string;
	readonly isFork: boolean;
	/** Of the last push. */
	readonly touchedMs: number;
	/** Why it is to go; absent while it is to stay. */
	readonly over?: string;
	/** Of a compose file, once it goes: the stacks whose networks, secrets and configs go when their services have. */
	readonly stacks?: readonly string[];
}

export interface ApplicationSpec {
	readonly name: string;
	/** `https://…`, `ssh://…` or `git@host:path`; no credentials in it. */
	readonly repository: string;
	readonly build: Recipe;
	/** Architectures that images are made for (`amd64`, `arm64`); absent: those of the nodes that may run them. */
	readonly platforms?: readonly string[];
	/** Where images are pushed to, and pulled from: `registry.example.org/team/web`; absent or empty: nodes keep them. */
	readonly registry?: string;
	/** Of the machine that builds. */
	readonly buildLimits: Resources;
	readonly buildTimeoutMs: number;
	/** Only pushes that touch a path of these (globs; any when empty) which is none of `ignore` lead to a deployment. */
	readonly paths: readonly string[];
	readonly ignore: readonly string[];
	/** At least one; their names differ. */
	readonly environments: readonly Environment[];
	/** Where it is told how deployments go; what is absent follows from the repository. Told only where there is a token. */
	readonly forge?: ForgeSpec | null;
}

export const forgeKinds = ["github", "gitlab", "gitea", "bitbucket"] as const;

export interface ForgeSpec {
	readonly kind?: (typeof forgeKinds)[number] | undefined;
	/** Where its API begins: `https://git.example.com/api/v4`. */
	readonly api?: string | undefined;
	/** As the forge names the repository: `team/web`. */
	readonly project?: string | undefined;
	/** Whether it is told of deployments too, beside the commits' statuses, where it has them. */
	readonly deployments: boolean;
}

export interface Environment {
	readonly name: string;
	/** Globs of branches and tags whose pushes are deployed here; both empty: only by hand or by promotion. */
	readonly branches: readonly string[];
	readonly tags: readonly string[];
	/** The service's name. One that is there gets the image and the variables; else it is made from `create`. Of a compose file: the stack's. */
	readonly service: string;
	/** Docker's ServiceSpec as `POST /services/create` takes it, its image left out; null: the service must be there. */
	readonly create: Document | null;
	/** Set in the service, over its own. What `${…}` stands for in a compose file. */
	readonly variables: Readonly<Record<string, string>>;
	/** Run to its end in a container of the new image before anything changes (migrations); empty for none. */
	readonly before: readonly string[];
	/** The compose file's service whose image and settings that container has. */
	readonly beforeService?: string;
	readonly beforeTimeoutMs: number;
	/** Where people find it, with `{branch}`, `{port}` and the like in it; absent or empty where nobody said. */
	readonly url?: string;
	/** Then it is a pattern: each pull request into `branches` (any, when empty) gets an environment of its own after it. */
	readonly previews?: Previews | null;
}

export interface Previews {
	/** One goes when nobody pushed to it for so long. */
	readonly ttlMs: number;
	readonly max: number;
	/** Whether strangers' pull requests get one too: their code runs with the environment's variables. */
	readonly forks: boolean;
}
