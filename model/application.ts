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
}

export interface ApplicationSpec {
	readonly name: string;
	/** `https://…`, `ssh://…` or `git@host:path`; no credentials in it. */
	readonly repository: string;
	readonly build: Recipe;
	/** Of the machine that builds. */
	readonly buildLimits: Resources;
	readonly buildTimeoutMs: number;
	/** Only pushes that touch a path of these (globs; any when empty) which is none of `ignore` lead to a deployment. */
	readonly paths: readonly string[];
	readonly ignore: readonly string[];
	/** At least one; their names differ. */
	readonly environments: readonly Environment[];
}

export interface Environment {
	readonly name: string;
	/** Globs of branches and tags whose pushes are deployed here; both empty: only by hand or by promotion. */
	readonly branches: readonly string[];
	readonly tags: readonly string[];
	/** The service's name. One that is there gets the image and the variables; else it is made from `create`. */
	readonly service: string;
	/** Docker's ServiceSpec as `POST /services/create` takes it, its image left out; null: the service must be there. */
	readonly create: Document | null;
	/** Set in the service, over its own. */
	readonly variables: Readonly<Record<string, string>>;
	/** Run to its end in a container of the new image before anything changes (migrations); empty for none. */
	readonly before: readonly string[];
	readonly beforeTimeoutMs: number;
}
