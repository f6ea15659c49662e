// Which environments of an application what happened in its repository concerns, and why not the others.

import type { ApplicationSpec, Environment } from "../../model/application.ts";
import type { GitEvent, Push } from "../../model/git.ts";
import { isMatch } from "./glob.ts";

export type Concern =
	| { readonly environment: string; readonly deploy: true }
	/** A whole sentence, for whoever asks why nothing happened. */
	| { readonly environment: string; readonly deploy: false; readonly because: string };

/** One for each environment, in their order. Who pushed makes no difference: merges are often a program's. */
export function concerns(spec: ApplicationSpec, event: GitEvent): readonly Concern[] {
	const ofAll = event.kind === "push" ? notDeployed(event) : otherKind(event);
	// The paths are looked through once, however many environments there are.
	const ofPaths = event.kind === "push" && ofAll === null ? pathsAside(spec, event.paths) : null;
	return spec.environments.map((environment) => {
		const because = environment.previews
			? requestAside(environment, event)
			: (ofAll ?? (event.kind === "push" ? refAside(environment, event) : null) ?? ofPaths);
		return because === null
			? { environment: environment.name, deploy: true }
			: { environment: environment.name, deploy: false, because };
	});
}

function otherKind(event: Exclude<GitEvent, Push>): string {
	if (event.kind === "ping") return "It was a ping: the webhook works.";
	if (event.kind === "pull-request") {
		return `It was about pull request ${event.number}: pull requests are deployed once they are merged.`;
	}
	return `It was "${event.event}": only pushes of branches and tags are deployed.`;
}

/** Why a pull request has no preview by this pattern. One that has one already may end it whatever it says. */
function requestAside({ branches, previews }: Environment, event: GitEvent): string | null {
	if (event.kind === "push") return `It is for pull requests, and ${event.ref} was pushed.`;
	if (event.kind !== "pull-request") return otherKind(event);
	const { number, base, isFork, action } = event;
	if (action === "closed") return null;
	if (isFork && !previews?.forks) {
		return `Pull request ${number} comes out of a fork: those get a preview where previews.forks is true.`;
	}
	if (branches.length === 0 || branches.some((glob) => isMatch(glob, base))) return null;
	return `Pull request ${number} would merge into ${base}, which is none of its branches: ${branches.join(", ")}.`;
}

const refName = /^refs\/(heads|tags)\/(.+)$/s;

function notDeployed({ ref, commit }: Push): string | null {
	if (!refName.test(ref)) return `${ref} is neither a branch nor a tag.`;
	if (commit === null) return `${ref} was deleted: what was deployed from it goes on.`;
	return null;
}

function refAside({ branches, tags }: Environment, { ref }: Push): string | null {
	const [, kind = "", name = ""] = refName.exec(ref) ?? [];
	const isTag = kind === "tags";
	const [what, globs] = isTag ? (["tag", tags] as const) : (["branch", branches] as const);
	if (globs.some((glob) => isMatch(glob, name))) return null;
	if (branches.length + tags.length === 0) {
		return "It names no branches and no tags: it is deployed by hand or by promotion.";
	}
	if (globs.length === 0) {
		return `It names no ${isTag ? "tags" : "branches"}, and a ${what} was pushed: ${name}.`;
	}
	return `${isTag ? "Tag" : "Branch"} ${name} is none of its ${isTag ? "tags" : "branches"}: ${globs.join(", ")}.`;
}

/** So much is looked through; what a larger push touched is taken for everything. */
const lookedThroughMax = 100_000;

function pathsAside(
	{ paths: wanted, ignore }: ApplicationSpec,
	touched: readonly string[] | null,
): string | null {
	if (touched === null || wanted.length + ignore.length === 0) return null;
	if (touched.reduce((sum, path) => sum + path.length, 0) > lookedThroughMax) return null;
	const matches = (globs: readonly string[], path: string) =>
		globs.some((glob) => isMatch(glob, path));
	const ours = touched.filter((path) => wanted.length === 0 || matches(wanted, path));
	if (ours.some((path) => !matches(ignore, path))) return null;
	if (touched.length === 0) return "The push touched no path.";
	const pushed = `the ${touched.length} paths that were pushed`;
	return ours.length === 0
		? `None of ${pushed} is of this application: ${wanted.join(", ")}.`
		: `Of ${pushed}, all that are of this application are to be ignored: ${ignore.join(", ")}.`;
}
