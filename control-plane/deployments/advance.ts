// How deployments go on: each a step further, from what builds, jobs and rollouts have come to. Pure.
//
// A deployment is queued, has its image built, has what must come before run, rolls, and ends. One environment has at
// most one past its build: what comes later overtakes those that wait, and waits for the one that rolls.

import type { Application, Environment } from "../../model/application.ts";
import { type Build, hasEnded } from "../../model/build.ts";
import type { Change, Moment } from "../../model/change.ts";
import {
	type Deployment,
	type DeploymentOutcome,
	keptDeployments,
	type Phase,
	type RolledService,
	tellAtMs,
} from "../../model/deployment.ts";
import { Refusal } from "../../model/errors.ts";
import type { ServiceId } from "../../model/id.ts";
import type { Evidence } from "../../model/rollout.ts";
import type { ServiceSpec } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Stack } from "../../model/stack.ts";
import { Draft } from "../manager/draft.ts";
import { same } from "../manager/same.ts";
import { indexOf } from "./architectures.ts";
import {
	assignBuilds,
	buildsFor,
	imageOf,
	imagesOf,
	isImageKept,
	lackingFile,
	partsOf,
	storedOf,
} from "./builds.ts";
import { changeService, isUnchanged, type Made, makeJob, makeService } from "./make.ts";
import { type Ended, type Found, outcomeOf } from "./outcome.ts";
import { environmentOf, isOver, previewsUntilMs, removeOver } from "./previews.ts";
import { changeStack, removal, stackJob, takeBack, vanishedOf } from "./stack.ts";

export interface Advance {
	readonly changes: readonly Change[];
	/** When time alone would move one of them. */
	readonly wakeAtMs: number | null;
}

/** An image that is complete is told of within moments. */
const tellImageMs = 60_000;
/** Whoever is woken to tell a forge may die over it. */
const tellAgainMs = 1_000;
/** A builder that dies takes its build along; another one gets this many more tries. */
const mostLost = 2;

export function advance(snapshot: Snapshot, moment: Moment): Advance {
	const { deployments, builds, untold, previews } = snapshot.unsettled;
	if (deployments.size + builds.size + untold.size + previews.size === 0) {
		return { changes: [], wakeAtMs: null };
	}
	const draft = new Draft(snapshot);
	const times: number[] = [];
	const isFewer = removeOver(draft, moment);
	const untilMs = previewsUntilMs(draft);
	if (untilMs !== null) times.push(untilMs);
	const open = [...deployments.values()].sort((a, b) => a.number - b.number);
	for (const { id } of open) {
		// As many steps as there are to be taken at once.
		for (;;) {
			const deployment = draft.deployments.get(id);
			if (!deployment || deployment.outcome !== null) break;
			const edits = draft.edits;
			const untilMs = step(draft, moment, deployment);
			if (untilMs !== null) times.push(untilMs);
			if (draft.edits === edits) break;
		}
	}
	assignBuilds(draft, moment);
	const hasEndedNow = [...deployments.keys()].some((id) => !draft.unsettled.deployments.has(id));
	if (hasEndedNow || isFewer) forgetOld(draft);
	for (const each of draft.unsettled.untold.values()) {
		times.push(Math.max(tellAtMs(each), moment.nowMs + tellAgainMs));
	}
	return { changes: draft.changes(), wakeAtMs: times.length > 0 ? Math.min(...times) : null };
}

/** Until when what it waits for may take; null where only news ends the wait. */
function step(draft: Draft, moment: Moment, deployment: Deployment): number | null {
	const application = draft.applications.get(deployment.application);
	const environment = application && environmentOf(application, deployment);
	if (!application || !environment) {
		const gone = application ? `environment ${deployment.environment}` : "the application";
		end(draft, moment, deployment, "cancelled", `${gone} was removed`);
		return null;
	}
	if (isOver(application, deployment)) {
		end(draft, moment, deployment, "cancelled", `the preview ${environment.name} is over`);
		return null;
	}
	if (deployment.cancelledBy !== null && deployment.phase !== "rolling") {
		const by = deployment.cancelledBy === "" ? "" : `by ${deployment.cancelledBy}`;
		end(draft, moment, deployment, "cancelled", by);
		return null;
	}
	const others = [...draft.unsettled.deployments.values()].filter(
		(other) =>
			other.application === deployment.application &&
			other.environment === deployment.environment &&
			other.id !== deployment.id,
	);
	const isWaiting = deployment.phase === "queued" || deployment.phase === "building";
	const newer = others.find(({ number }) => number > deployment.number);
	if (isWaiting && newer) {
		end(draft, moment, deployment, "superseded", `#${newer.number} came before it was built`);
		return null;
	}
	switch (deployment.phase) {
		case "queued":
			beginBuild(draft, moment, deployment, application, environment);
			return null;
		case "building": {
			const built = builtImage(draft, moment, application, environment, deployment);
			const isNext = !others.some(({ number }) => number < deployment.number);
			if (typeof built === "number") return built;
			if (built && isNext) {
				const next = { ...deployment, ...built };
				enter(draft, moment, next, environment.before.length > 0 ? "before" : "rolling");
			}
			return null;
		}
		case "before":
			return runBefore(draft, moment, deployment, application, environment);
		case "rolling":
			return deployment.stack
				? rollStack(
						draft,
						moment,
						{ ...deployment, stack: deployment.stack },
						application,
						environment,
					)
				: roll(draft, moment, deployment, application, environment);
		case "ended":
			return null;
	}
}

function beginBuild(
	draft: Draft,
	moment: Moment,
	deployment: Deployment,
	application: Application,
	environment: Environment,
): void {
	if (isBuilt(deployment)) {
		enter(draft, moment, deployment, "building");
		return;
	}
	const builds = buildsFor(draft, moment, application, environment, deployment);
	for (const build of builds) draft.put({ kind: "put-build", build });
	enter(draft, moment, { ...deployment, build: builds[0].id }, "building");
}

const isBuilt = ({ image, stack }: Deployment) => image !== "" || stack !== undefined;

/** Undefined while there is none, or when the deployment has just ended for that; a number: until when to wait for it. */
function builtImage(
	draft: Draft,
	moment: Moment,
	application: Application,
	environment: Environment,
	deployment: Deployment,
): Pick<Deployment, "image" | "stack"> | number | undefined {
	if (deployment.build === null) {
		const { image, stack } = deployment;
		const lacking = lackingFile(draft, stack);
		if (lacking) {
			const reason = `${lacking.kind} ${lacking.name}: its content is gone: deploy its commit again`;
			end(draft, moment, deployment, "failed", reason);
			return undefined;
		}
		const missing = (stack ? Object.values(stack.images) : [image]).find(
			(each) => !isImageKept(draft, each),
		);
		if (missing === undefined) return stack ? { image, stack } : { image };
		const reason = `image: no node has ${missing} any more: deploy its commit again`;
		end(draft, moment, deployment, "failed", reason);
		return undefined;
	}
	const build = draft.builds.get(deployment.build);
	const parts = build ? partsOf(draft, build) : [];
	const broken = brokenOf(parts);
	if (!broken && parts.some(({ status }) => !hasEnded(status.state))) return undefined;
	const isComplete = build !== undefined && broken === undefined;
	if (isComplete) {
		if (build.stack && !build.made) {
			end(draft, moment, deployment, "failed", "build: its node said nothing of the compose file");
			return undefined;
		}
		if (parts.flatMap(storedOf).every((image) => isImageKept(draft, image))) {
			if (build.made) return { image: "", stack: build.made };
			const whole = parts.length > 1 ? joined(draft, build, parts) : build;
			if (whole) return { image: imageOf(whole) };
			end(draft, moment, deployment, "failed", "build: a node said too little of its image");
			return undefined;
		}
		// The nodes that built it have yet to say that they have it; unless one died over that.
		const untilMs = Math.max(...parts.map(({ status }) => status.sinceMs)) + tellImageMs;
		const areThere = parts.every(
			({ node }) => node !== null && draft.nodes.get(node)?.status.state === "ready",
		);
		if (areThere && moment.nowMs < untilMs) return untilMs;
	}
	const wasLost = broken === undefined || broken.status.state === "lost";
	if (wasLost && deployment.lost < mostLost) {
		for (const part of parts) cancelBuild(draft, part);
		const again = buildsFor(draft, moment, application, environment, deployment);
		const lost = deployment.lost + 1;
		for (const each of again) draft.put({ kind: "put-build", build: each });
		draft.put({
			kind: "put-deployment",
			deployment: { ...deployment, build: again[0].id, lost },
		});
		return undefined;
	}
	const reason = wasLost ? `build: lost with its node, ${mostLost + 1} times` : failureOf(broken);
	end(draft, moment, deployment, "failed", reason, evidenceOf(broken));
	return undefined;
}

/** The one that ends the others: a failure says more than what followed from it. */
function brokenOf(parts: readonly Build[]): Build | undefined {
	const states = ["failed", "lost", "cancelled"] as const;
	return states.flatMap((state) => parts.find(({ status }) => status.state === state) ?? []).at(0);
}

/** Known by the index of all of them from now on. */
function joined(draft: Draft, build: Build, parts: readonly Build[]): Build | undefined {
	const index = build.index ?? indexOf(parts);
	if (!index) return undefined;
	const whole = { ...build, index };
	if (!build.index) draft.put({ kind: "put-build", build: whole });
	return whole;
}

function cancelBuild(draft: Draft, build: Build): void {
	if (hasEnded(build.status.state)) return;
	draft.put({ kind: "put-build", build: { ...build, desired: "cancelled" } });
}

const failureOf = ({ architecture, isPart, status }: Build) =>
	`build${isPart ? ` for linux/${architecture}` : ""}: ${
		status.error || (status.state === "cancelled" ? "it was cancelled" : "it failed")
	}`;

const evidenceOf = (build: Build | undefined): Evidence | null =>
	build && build.status.lines.length > 0
		? { oomKilled: false, health: "", lines: build.status.lines }
		: null;

function runBefore(
	draft: Draft,
	moment: Moment,
	deployment: Deployment,
	application: Application,
	environment: Environment,
): number | null {
	const sinceMs = deployment.times.find(([phase]) => phase === "before")?.[1] ?? moment.nowMs;
	const untilMs = sinceMs + environment.beforeTimeoutMs;
	const job = deployment.job === null ? undefined : draft.services.get(deployment.job);
	if (deployment.job === null) {
		const made = tried(draft, moment, deployment, () =>
			deployment.stack
				? stackJob(draft, moment, application, environment, {
						...deployment,
						stack: deployment.stack,
					})
				: makeJob(draft, moment, application, environment, deployment),
		);
		if (!made) return null;
		for (const change of made.changes) draft.put(change);
		draft.put({ kind: "put-deployment", deployment: { ...deployment, job: made.id } });
		return untilMs;
	}
	const what = `before: ${environment.before.join(" ")}`;
	if (!job || job.removing) {
		end(draft, moment, deployment, "failed", `${what}: its job was removed`);
		return null;
	}
	if (job.job?.state === "complete") {
		enter(draft, moment, deployment, "rolling");
		return null;
	}
	const isLate = moment.nowMs >= untilMs;
	if (job.job?.state !== "failed" && !isLate) return untilMs;
	const [failed] = [...draft.tasksOfService(job.id).values()]
		.filter(({ status }) => status.error !== "" || status.exitCode !== null)
		.toSorted((a, b) => b.createdMs - a.createdMs);
	const code = failed?.status.exitCode;
	const why = isLate
		? `not done within ${environment.beforeTimeoutMs / 1000} s`
		: failed?.status.error || (code === null || code === undefined ? "" : `exit code ${code}`);
	end(
		draft,
		moment,
		deployment,
		"failed",
		`${what}: ${why || "it failed"}`,
		failed?.status.evidence,
	);
	return null;
}

function roll(
	draft: Draft,
	moment: Moment,
	deployment: Deployment,
	application: Application,
	environment: Environment,
): number | null {
	if (deployment.service === null) {
		const made = tried(draft, moment, deployment, () =>
			makeService(draft, moment, application, environment, deployment),
		);
		if (made) beginRolling(draft, moment, deployment, made);
		return null;
	}
	const service = draft.services.get(deployment.service);
	if (!service || service.removing) {
		end(draft, moment, deployment, "failed", "rollout: the service was removed");
		return null;
	}
	const found = outcomeOf(draft, moment, service, {
		template: deployment.template,
		sinceMs: startOf(deployment),
	});
	if (!found.outcome) return found.untilMs;
	end(draft, moment, deployment, found.outcome, found.reason, found.evidence);
	return null;
}

/** When it began to roll. */
const startOf = ({ times }: Deployment) =>
	times.findLast(([phase]) => phase === "rolling")?.[1] ?? 0;

/**
 * All services of a stack, each by its own rollout. It is done when all are. Where one is rolled back, so are the others;
 * what the file no longer has goes at the end, when all is well.
 */
function rollStack(
	draft: Draft,
	moment: Moment,
	deployment: Deployment & { readonly stack: Stack },
	application: Application,
	environment: Environment,
): number | null {
	const { stack } = deployment;
	if (!deployment.services) {
		const made = tried(draft, moment, deployment, () =>
			changeStack(draft, moment, application, environment, stack),
		);
		if (!made) return null;
		for (const change of made.changes) draft.put(change);
		draft.put({
			kind: "put-deployment",
			deployment: { ...deployment, services: made.services },
		});
		return null;
	}
	const times: number[] = [];
	const services: RolledService[] = [];
	let failed: (Ended & { readonly name: string }) | undefined;
	for (const each of deployment.services) {
		const found = each.outcome === null ? rolledOf(draft, moment, deployment, each) : undefined;
		if (found?.outcome === null && found.untilMs !== null) times.push(found.untilMs);
		if (found && found.outcome !== null && found.outcome !== "succeeded") {
			failed ??= { ...found, name: each.name };
		}
		services.push(found?.outcome ? { ...each, outcome: found.outcome } : each);
	}
	const next = { ...deployment, services };
	if (failed) {
		const { outcome, name, reason, evidence } = failed;
		if (outcome === "rolled back") {
			for (const change of takeBack(draft, moment, services)) draft.put(change);
		}
		const why = reason.replace(/^rollout: /, "");
		const said = why.startsWith(name) ? why : `${name}: ${why || outcome}`;
		end(draft, moment, next, outcome, `rollout: ${said}`, evidence);
		return null;
	}
	if (services.some(({ outcome }) => outcome === null)) {
		if (!same(services, deployment.services))
			draft.put({ kind: "put-deployment", deployment: next });
		return times.length > 0 ? Math.min(...times) : null;
	}
	const vanished = vanishedOf(draft, application, environment, stack);
	for (const service of vanished) draft.put(removal(service, moment));
	const isSame = vanished.length === 0 && services.every(({ outcome }) => outcome === "unchanged");
	if (isSame) end(draft, moment, next, "unchanged", "the stack is just that already");
	else end(draft, moment, next, "succeeded", "");
	return null;
}

function rolledOf(
	draft: Draft,
	moment: Moment,
	deployment: Deployment,
	{ service: id, template }: RolledService,
): Found {
	const service = draft.services.get(id);
	if (!service || service.removing) {
		return { outcome: "failed", reason: "the service was removed", evidence: null };
	}
	return outcomeOf(draft, moment, service, { template, sinceMs: startOf(deployment) });
}

/** The service as it is to be; what is so already is no rollout. */
function beginRolling(draft: Draft, moment: Moment, deployment: Deployment, made: Made): void {
	const { known } = made;
	const { changes, service } = changeService(draft, moment, made);
	const next: Deployment = {
		...deployment,
		service: service.id,
		made: { spec: withoutLogin(made.spec), document: made.document },
		template: service.templateVersion,
	};
	if (known && isUnchanged(known, made)) {
		end(draft, moment, next, "unchanged", "the service is just that already");
		return;
	}
	for (const change of changes) draft.put(change);
	draft.put({ kind: "put-deployment", deployment: next });
}

/** What is sealed stands in services only, where keys are looked after. */
function withoutLogin({ registryAuth: _sealed, loginOf: _, ...spec }: ServiceSpec): ServiceSpec {
	return spec;
}

/** What a spec cannot be, the deployment fails for, in the words of whoever refuses it. */
function tried<Result>(
	draft: Draft,
	moment: Moment,
	deployment: Deployment,
	work: () => Result,
): Result | undefined {
	try {
		return work();
	} catch (error) {
		if (!(error instanceof Refusal)) throw error;
		end(draft, moment, deployment, "failed", `service: ${error.message}`);
		return undefined;
	}
}

function enter(draft: Draft, { nowMs }: Moment, deployment: Deployment, phase: Phase): void {
	draft.put({
		kind: "put-deployment",
		deployment: {
			...deployment,
			phase,
			times: [...deployment.times, [phase, nowMs]],
			...toldAnew(deployment),
		},
	});
}

/** It is something else that is to be said now. */
const toldAnew = ({ told }: Deployment) => told && { told: { ...told, tries: 0, nextMs: 0 } };

function end(
	draft: Draft,
	{ nowMs }: Moment,
	deployment: Deployment,
	outcome: DeploymentOutcome,
	reason: string,
	evidence: Evidence | null = null,
): void {
	draft.put({
		kind: "put-deployment",
		deployment: {
			...deployment,
			phase: "ended",
			times: [...deployment.times, ["ended", nowMs]],
			outcome,
			reason,
			evidence,
			...toldAnew(deployment),
		},
	});
	removeJob(draft, nowMs, deployment.job);
	const build = deployment.build === null ? undefined : draft.builds.get(deployment.build);
	if (!build) return;
	const isShared = [...draft.unsettled.deployments.values()].some(
		(other) => other.id !== deployment.id && other.build === build.id,
	);
	if (isShared) return;
	for (const part of partsOf(draft, build)) cancelBuild(draft, part);
}

function removeJob(draft: Draft, nowMs: number, id: ServiceId | null): void {
	const job = id === null ? undefined : draft.services.get(id);
	if (!job || job.removing) return;
	draft.put({ kind: "put-service", service: { ...job, removing: true, updatedMs: nowMs } });
}

/** The newest of each environment stay, and the builds whose images those or a service need. */
function forgetOld(draft: Draft): void {
	const byEnvironment = Map.groupBy(draft.deployments.values(), (each) => {
		const application = draft.applications.get(each.application);
		// Those of previews that are gone are kept together.
		const isGone = application && isOver(application, each);
		return `${each.application} ${isGone ? "" : each.environment}`;
	});
	for (const all of byEnvironment.values()) {
		const ended = all.filter(({ outcome }) => outcome !== null);
		const old = ended.toSorted((a, b) => b.number - a.number).slice(keptDeployments);
		for (const { id } of old) draft.put({ kind: "remove-deployment", id });
	}
	for (const build of [...draft.builds.values()]) {
		if (!hasEnded(build.status.state) || isNeeded(draft, build)) continue;
		draft.put({ kind: "remove-build", id: build.id });
	}
}

function isNeeded(draft: Draft, part: Build): boolean {
	const build = part.of === undefined ? part : draft.builds.get(part.of);
	if (!build) return false;
	const { id } = build;
	const digests = imagesOf(build).map((image) => image.split("@")[1] ?? "?");
	for (const deployment of draft.deployments.values()) {
		if (deployment.build === id) return true;
		const used = deployment.stack ? Object.values(deployment.stack.images) : [deployment.image];
		if (used.some((image) => digests.some((digest) => image.endsWith(digest)))) return true;
	}
	return [...draft.services.values()].some(({ spec, previous }) =>
		[spec, previous?.spec].some((each) =>
			digests.some((digest) => each?.template.container.image.endsWith(digest)),
		),
	);
}
