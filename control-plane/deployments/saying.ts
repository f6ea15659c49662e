// What a forge is to be told of a deployment. Pure: of the deployment as it is, and of nothing that was said before.

import type { Application, Environment } from "../../model/application.ts";
import { type Deployment, type Sayable, sayable } from "../../model/deployment.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { longestDescription, type Saying } from "../forges/forge.ts";
import { patternOf } from "./previews.ts";
import { urlOf } from "./url.ts";

/** `log` is where people read what was printed; empty where that is not known. */
export function sayingOf(
	snapshot: Snapshot,
	application: Application,
	environment: Environment,
	deployment: Deployment,
	log: string,
): Saying {
	const { commit, ref } = deployment;
	const { name } = application.spec;
	const [state, words] = said[sayable(deployment)];
	const pattern = deployment.preview && patternOf(application.spec);
	const isTag = ref.startsWith("refs/tags/");
	return {
		state,
		description: clipped(deployment.reason === "" ? words : `${words}: ${deployment.reason}`),
		// The pattern's, for all pull requests: only a name that stays can be a check that a forge insists on.
		context: `skein/${name}/${pattern?.name ?? environment.name}`,
		environment: `${name}/${environment.name}`,
		isTransient: deployment.preview !== undefined,
		commit,
		ref: /^refs\/(?:heads|tags)\/(.+)$/s.exec(ref)?.[1] ?? "",
		isTag,
		url: urlOf({ snapshot, application, environment, deployment }),
		log,
		deployment: deployment.id,
		isOvertaken: [...snapshot.deployments.values()].some(
			(other) =>
				other.number > deployment.number &&
				other.application === deployment.application &&
				other.environment === deployment.environment &&
				other.commit === commit,
		),
	};
}

const said: Readonly<Record<Sayable, readonly [Saying["state"], string]>> = {
	queued: ["queued", "Queued"],
	building: ["running", "Building"],
	before: ["running", "Running what comes before"],
	rolling: ["running", "Rolling out"],
	ended: ["stopped", "Ended"],
	succeeded: ["succeeded", "Deployed"],
	unchanged: ["succeeded", "Deployed"],
	failed: ["failed", "Failed"],
	"rolled back": ["failed", "Rolled back"],
	superseded: ["stopped", "Superseded"],
	cancelled: ["stopped", "Cancelled"],
	removed: ["removed", "Removed"],
};

/** One line: a failing program's words are whatever they are. */
function clipped(text: string): string {
	const line = text.replaceAll(/[\s\p{Cc}]+/gu, " ").trim();
	if (line.length <= longestDescription) return line;
	// Not in the middle of a character of two halves.
	return `${line.slice(0, longestDescription - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}
