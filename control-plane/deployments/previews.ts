// Previews: an environment for each open pull request, which goes when that is closed or nobody pushes any more. Pure.
//
// What there is of one is with its application; the plan removes what is over, and says when time alone makes it so.

import type {
	Application,
	ApplicationSpec,
	Environment,
	Preview,
	Previews,
} from "../../model/application.ts";
import type { Moment } from "../../model/change.ts";
import type { Deployment } from "../../model/deployment.ts";
import type { PullRequest } from "../../model/git.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Draft } from "../manager/draft.ts";
import { same } from "../manager/same.ts";
import { removeLeft, stacksOf } from "./leftovers.ts";
import { removal } from "./stack.ts";

/** The environment that all previews are made after; itself it is none. */
export type Pattern = Environment & { readonly previews: Previews };

export const patternOf = ({ environments }: Pick<ApplicationSpec, "environments">) =>
	environments.find((each): each is Pattern => Boolean(each.previews));

export const previewName = (number: number) => `pr-${number}`;

export function previewEnvironment(pattern: Pattern, number: number): Environment {
	const { previews: _previews, ...environment } = pattern;
	const name = previewName(number);
	return { ...environment, name, service: `${pattern.service}-${name}`, branches: [], tags: [] };
}

/** Undefined once it is in the spec no more. */
export function environmentOf(
	{ spec }: Application,
	{ environment, preview }: Pick<Deployment, "environment" | "preview">,
): Environment | undefined {
	if (!preview) return spec.environments.find(({ name }) => name === environment);
	const pattern = patternOf(spec);
	return pattern && previewEnvironment(pattern, preview.number);
}

export const isOver = (
	{ previews = [] }: Application,
	{ preview }: Pick<Deployment, "preview">,
): boolean =>
	preview !== undefined && !previews.some(({ number, over }) => number === preview.number && !over);

export type Verdict =
	/** `previews` are those that there are then. */
	| { readonly kind: "deploy"; readonly previews: readonly Preview[] }
	| { readonly kind: "remove"; readonly previews: readonly Preview[] }
	| { readonly kind: "refuse"; readonly reason: string }
	| { readonly kind: "nothing"; readonly because: string };

/** What becomes of a pull request that the pattern concerns. */
export function judge(
	snapshot: Snapshot,
	application: Application,
	pattern: Pattern,
	request: PullRequest,
	{ nowMs }: Pick<Moment, "nowMs">,
): Verdict {
	const { number, commit, branch, title, isFork } = request;
	const all = application.previews ?? [];
	const others = all.filter((each) => each.number !== number);
	const standing = others.filter(({ over }) => !over).length;
	const known = all.find((each) => each.number === number);
	if (request.action === "closed") {
		if (!known) return { kind: "nothing", because: `Pull request ${number} has no preview.` };
		const over = `pull request ${number} was closed`;
		return { kind: "remove", previews: [...others, { ...known, over }] };
	}
	const last = [...snapshot.deployments.values()]
		.filter(({ application: of, preview }) => of === application.id && preview?.number === number)
		.toSorted((a, b) => b.number - a.number)[0];
	if (known && !known.over && last?.commit === commit) {
		return { kind: "nothing", because: `Deployment #${last.number} is of that commit.` };
	}
	const { max } = pattern.previews;
	if ((!known || known.over) && standing >= max) {
		const reason = `previews: there are ${standing} already, and previews.max is ${max}: close a pull request or raise it, then push again`;
		return { kind: "refuse", reason };
	}
	const preview: Preview = { number, branch, title, isFork, touchedMs: nowMs };
	return { kind: "deploy", previews: [...others, preview] };
}

const endOf = ({ touchedMs, over }: Preview, pattern: Pattern | undefined) =>
	over || !pattern ? 0 : touchedMs + pattern.previews.ttlMs;

/** Until when nothing of them is to be removed; null where there are none, and where all wait for tasks to stop. */
export function previewsUntilMs({ unsettled }: Snapshot): number | null {
	let untilMs: number | null = null;
	for (const { spec, previews = [] } of unsettled.previews.values()) {
		const pattern = patternOf(spec);
		for (const each of previews) {
			if (!each.stacks) untilMs = Math.min(untilMs ?? Infinity, endOf(each, pattern));
		}
	}
	return untilMs;
}

/** Whether some wait for their tasks to stop, which is news that no time foretells. */
export const areGoing = ({ unsettled }: Snapshot): boolean =>
	[...unsettled.previews.values()].some(({ previews }) => previews?.some(({ stacks }) => stacks));

/** Whether there were some: deployments under way notice by themselves. */
export function removeOver(draft: Draft, moment: Moment): boolean {
	if ((previewsUntilMs(draft) ?? Infinity) > moment.nowMs && !areGoing(draft)) return false;
	const { edits } = draft;
	for (const application of [...draft.unsettled.previews.values()]) {
		const pattern = patternOf(application.spec);
		const all = application.previews ?? [];
		const next = all.flatMap((each) =>
			endOf(each, pattern) <= moment.nowMs
				? (ending(draft, moment, application, each) ?? [])
				: each,
		);
		if (same(all, next)) continue;
		draft.put({ kind: "put-application", application: { ...application, previews: next } });
	}
	return draft.edits !== edits;
}

/** One whose end has come: its services go, then what a stack leaves behind; undefined once there is nothing left of it. */
function ending(
	draft: Draft,
	moment: Moment,
	application: Application,
	preview: Preview,
): Preview | undefined {
	const { number, over = "nobody pushed to it any more" } = preview;
	let { stacks } = preview;
	if (!stacks) {
		stacks = stacksOf(draft, application, number);
		for (const service of servicesOf(draft, application, number)) {
			draft.put(removal(service, moment));
		}
		tellGone(draft, application, number);
	}
	return removeLeft(draft, stacks) ? undefined : { ...preview, over, stacks };
}

/** By the labels that deployments give them: the pattern may name them otherwise by now. */
export const servicesOf = (
	{ services }: Snapshot,
	{ spec }: Application,
	number: number,
): readonly Service[] =>
	[...services.values()].filter(
		({ spec: { labels }, removing }) =>
			!removing &&
			labels["skein.application"] === spec.name &&
			labels["skein.environment"] === previewName(number),
	);

/** A forge that lists deployments is to know that these are no more. */
function tellGone(draft: Draft, { id }: Application, number: number): void {
	for (const deployment of [...draft.deployments.values()]) {
		const { application, preview, outcome, told } = deployment;
		if (application !== id || preview?.number !== number || outcome === null) continue;
		if (!told || told.id === "") continue;
		draft.put({
			kind: "put-deployment",
			deployment: {
				...deployment,
				preview: { ...preview, isRemoved: true },
				told: { ...told, tries: 0, nextMs: 0 },
			},
		});
	}
}
