// Deployments for tests of the plan: as a push begins them, and what became of one.

import type { Build } from "../../model/build.ts";
import type { Deployment } from "../../model/deployment.ts";
import type { ApplicationId, DeploymentId } from "../../model/id.ts";
import { must } from "../../model/invariant.ts";
import type { Little } from "../../test/build.ts";
import { newDeployment } from "./deliver.ts";

const application = { id: "app" as ApplicationId, secretNames: [] };

let number = 0;

/** Of `production`, unless told; its commit is that letter, forty times. */
export function push(
	little: Little,
	letter: string,
	words: Partial<Deployment> = {},
): DeploymentId {
	const id = `d${++number}`;
	const moment = { nowMs: little.nowMs, newId: () => id };
	const begun = newDeployment(moment, application, {
		environment: "production",
		number,
		cause: { kind: "push", delivery: id },
		commit: letter.repeat(40),
		ref: "refs/heads/main",
		message: `change ${letter}`,
		author: "Ann <ann@example.org>",
	});
	const deployment = { ...begun, ...words };
	little.commit([{ kind: "put-deployment", deployment }]);
	return deployment.id;
}

export const find = (little: Little, id: DeploymentId): Deployment =>
	must(little.facts.deployments.get(id), "it is there");

export const buildOf = (little: Little, id: DeploymentId): Build =>
	must(little.facts.builds.get(must(find(little, id).build, "it is built")), "the build is there");
