// Rollouts as they are shown: whole in an answer of our own, in short as labels where Docker's clients look, and as
// the refusal by which a progress bar learns that what it waits for was rolled back.

import { nodeName } from "../../../model/node.ts";
import type { Rollout, RolloutFailure } from "../../../model/rollout.ts";
import type { Document, Service } from "../../../model/service.ts";
import type { Snapshot } from "../../../model/snapshot.ts";
import { timestamp } from "./time.ts";

export function showRollout(rollout: Rollout, service: Service, snapshot: Snapshot): Document {
	const { startedMs, endedMs, progressedMs, failure, outcome, ...rest } = rollout;
	return {
		...rest,
		outcome: outcome ?? "under way",
		startedAt: timestamp(startedMs),
		progressedAt: timestamp(progressedMs),
		endedAt: endedMs === null ? null : timestamp(endedMs),
		failure: failure && showFailure(failure, service, snapshot),
	};
}

function showFailure(failure: RolloutFailure, service: Service, snapshot: Snapshot): Document {
	const { task, slot, node, error, exitCode, evidence } = failure;
	return {
		task,
		name: `${service.spec.name}.${slot > 0 ? slot : node}`,
		node,
		nodeName: hostOf(failure, snapshot),
		error,
		exitCode,
		oomKilled: evidence?.oomKilled ?? false,
		health: evidence?.health ?? "",
		lastLines: evidence?.lines ?? [],
	};
}

/** So many of the last rollouts are shown as labels. */
const labelled = 3;

export function rolloutLabels(
	service: Service,
	snapshot: Snapshot,
): Readonly<Record<string, string>> {
	return Object.fromEntries(
		(service.rollouts ?? [])
			.slice(0, labelled)
			.map((rollout) => [`skein.rollout.${rollout.number}`, inShort(rollout, service, snapshot)]),
	);
}

export const isRolloutLabel = (key: string) => /^skein\.rollout\.\d+$/.test(key);

function inShort(rollout: Rollout, service: Service, snapshot: Snapshot): string {
	const { kind, outcome, progress, from, to, failure } = rollout;
	const images = from ? `${from.image} to ${to.image}` : to.image;
	const done = `${kind} ${outcome ?? "under way"}, ${progress.updated} of ${progress.total}: ${images}`;
	if (!failure) return done;
	const name = `${service.spec.name}.${failure.slot || failure.node}`;
	const lines = failure.evidence?.lines.slice(-labelled) ?? [];
	const words = [failure.error, ...lines].filter(Boolean).join(" | ");
	return `${done}; first to fail: ${name} on ${hostOf(failure, snapshot)}: ${words}`;
}

function hostOf({ node }: RolloutFailure, snapshot: Snapshot): string | null {
	const known = node === null ? undefined : snapshot.nodes.get(node);
	return known ? nodeName(known) : node;
}

/**
 * Why the update that a progress bar waits for has come to nothing, once the service is back where it was; empty
 * otherwise. The CLI calls `rollback_completed` a success and ends with 0; an answer that refuses is what it believes.
 * Only those who wait for this very update ask: the next change of the spec resets the update's status.
 */
export function rolledBackBecause({ rollouts = [], updateStatus }: Service): string {
	const [back, update] = rollouts;
	if (back?.kind !== "automatic rollback" || !update) return "";
	const { updated, total } = back.progress;
	const isBack =
		updateStatus?.state === "rollback_completed" ||
		(updateStatus?.state === "rollback_started" && updated === total);
	return isBack ? update.reason : "";
}
