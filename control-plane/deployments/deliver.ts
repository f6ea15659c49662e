// What is made of a delivery: a deployment for each environment that it concerns.
//
// May be called again for the same delivery, by whoever finds it unhandled: its deployments bear its key, so that they
// are made once.

import type { Application } from "../../model/application.ts";
import type { Change, Moment } from "../../model/change.ts";
import { type Cause, type Deployment, untold } from "../../model/deployment.ts";
import type { PullRequest, Push } from "../../model/git.ts";
import type { DeploymentId } from "../../model/id.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { ClusterDoor, Delivery } from "../cluster.ts";
import { concerns } from "../webhooks/filters.ts";
import type { RefsOf } from "../webhooks/refs.ts";
import { withWholeCommits } from "./commits.ts";
import { judge, patternOf, previewName } from "./previews.ts";

export async function handle(
	door: ClusterDoor,
	delivery: Delivery,
	refsOf: RefsOf,
): Promise<readonly string[]> {
	const application = (await door.snapshot()).applications.get(delivery.application);
	const events = application
		? await withWholeCommits(door, application, delivery.events, refsOf)
		: delivery.events;
	const { result } = await door.commit((snapshot, moment) => {
		const made = deploymentsOf(snapshot, moment, { ...delivery, events });
		return { changes: made.changes, result: made.outcome };
	});
	await door.inbox.settle(delivery, result);
	return result;
}

/** All that were written and not handled: their process died, or the cluster could not be changed just then. */
export async function handleRest(door: ClusterDoor, refsOf: RefsOf): Promise<void> {
	if ((await door.snapshot()).applications.size === 0) return;
	for (const delivery of await door.inbox.unhandled()) await handle(door, delivery, refsOf);
}

/** Pure: what is to be committed, and a sentence for each event and environment. */
export function deploymentsOf(
	snapshot: Snapshot,
	moment: Moment,
	{ application: id, key, forge, events }: Delivery,
): { readonly changes: readonly Change[]; readonly outcome: readonly string[] } {
	const application = snapshot.applications.get(id);
	if (!application) return { changes: [], outcome: ["The application was removed."] };
	const changes: Change[] = [];
	const outcome: string[] = [];
	let number = nextNumber(snapshot, application);
	// By this delivery, or found before it came.
	const known = [...snapshot.deployments.values()].filter(
		({ application: of, cause }) =>
			of === id && (cause.kind === "poll" || ("delivery" in cause && cause.delivery === key)),
	);
	for (const event of events) {
		for (const concern of concerns(application.spec, event)) {
			const { environment } = concern;
			if (!concern.deploy) {
				outcome.push(`${environment}: ${concern.because}`);
				continue;
			}
			if (event.kind === "pull-request") {
				const made = ofPullRequest(snapshot, moment, application, event, { key, forge, number });
				const name = previewName(event.number);
				const before = known.find(
					(each) => each.environment === name && each.commit === event.commit,
				);
				if (!before || event.action === "closed") changes.push(...made.changes);
				outcome.push(`${name}: ${before ? `deployment #${before.number}.` : made.outcome}`);
				continue;
			}
			const push = event as Push;
			const before = known.find(
				(each) => each.environment === environment && each.commit === push.commit,
			);
			if (before) {
				outcome.push(`${environment}: deployment #${before.number}.`);
				continue;
			}
			const deployment = newDeployment(moment, application, {
				environment,
				number: number++,
				cause: { kind: "push", delivery: key },
				commit: push.commit ?? "",
				ref: push.ref,
				message: push.message,
				author: push.author,
			});
			changes.push({ kind: "put-deployment", deployment });
			outcome.push(`${environment}: deployment #${deployment.number}.`);
		}
	}
	return { changes, outcome };
}

function ofPullRequest(
	snapshot: Snapshot,
	moment: Moment,
	application: Application,
	request: PullRequest,
	{ key, forge, number }: { readonly key: string; readonly forge: string; readonly number: number },
): { readonly changes: readonly Change[]; readonly outcome: string } {
	const pattern = patternOf(application.spec);
	if (!pattern) return { changes: [], outcome: "It has no previews any more." };
	const verdict = judge(snapshot, application, pattern, request, moment);
	if (verdict.kind === "nothing") return { changes: [], outcome: verdict.because };
	if (verdict.kind === "remove") {
		const { previews } = verdict;
		return {
			changes: [{ kind: "put-application", application: { ...application, previews } }],
			outcome: "The pull request was closed: its preview goes.",
		};
	}
	const { number: of, isFork, commit, branch, title, author } = request;
	const asked = newDeployment(moment, application, {
		environment: previewName(of),
		number,
		cause: { kind: "pull-request", delivery: key, number: of },
		commit,
		ref: isFork ? refOfFork(forge, of) : `refs/heads/${branch}`,
		message: title,
		author,
		preview: { number: of, isFork },
	});
	if (verdict.kind === "refuse") {
		const deployment: Deployment = {
			...asked,
			phase: "ended",
			times: [...asked.times, ["ended", moment.nowMs]],
			outcome: "failed",
			reason: verdict.reason,
		};
		return {
			changes: [{ kind: "put-deployment", deployment }],
			outcome: `deployment #${number} failed: ${verdict.reason}.`,
		};
	}
	const { previews } = verdict;
	return {
		changes: [
			{ kind: "put-application", application: { ...application, previews } },
			{ kind: "put-deployment", deployment: asked },
		],
		outcome: `deployment #${number}.`,
	};
}

/** By which the repository itself leads to what is in the fork. */
const refOfFork = (forge: string, number: number) =>
	forge === "GitLab" ? `refs/merge-requests/${number}/head` : `refs/pull/${number}/head`;

export function nextNumber(snapshot: Snapshot, { id }: Pick<Application, "id">): number {
	let last = 0;
	for (const { application, number } of snapshot.deployments.values()) {
		if (application === id) last = Math.max(last, number);
	}
	return last + 1;
}

export function newDeployment(
	{ nowMs, newId }: Pick<Moment, "nowMs" | "newId">,
	{ id, secretNames }: Pick<Application, "id" | "secretNames">,
	words: Pick<Deployment, "environment" | "number" | "commit" | "ref" | "message" | "author"> & {
		readonly cause: Cause;
	} & Partial<Pick<Deployment, "image" | "made" | "stack" | "preview">>,
): Deployment {
	return {
		id: newId() as DeploymentId,
		application: id,
		phase: "queued",
		build: null,
		lost: 0,
		image: "",
		job: null,
		service: null,
		made: null,
		template: 0,
		times: [["queued", nowMs]],
		cancelledBy: null,
		outcome: null,
		reason: "",
		evidence: null,
		...(secretNames.includes("forge") && { told: untold }),
		...words,
	};
}
