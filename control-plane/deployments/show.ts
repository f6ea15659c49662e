// Applications, deployments and deliveries as `/api/…` shows them. Nothing of a secret but its name.

import type { Application, Environment } from "../../model/application.ts";
import type { Build } from "../../model/build.ts";
import type { Deployment } from "../../model/deployment.ts";
import { messageOf } from "../../model/errors.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Stack } from "../../model/stack.ts";
import type { Delivery } from "../cluster.ts";
import type { ServiceDocument } from "../engine/convert/document.ts";
import { whereOf } from "../forges/where.ts";
import type { Reach } from "../webhooks/reach.ts";
import { writeSpec } from "./application.ts";
import { partsOf } from "./builds.ts";
import { waitingFor } from "./outcome.ts";
import { patternOf, previewEnvironment } from "./previews.ts";
import { lastTold } from "./tell.ts";

export function showApplication(
	application: Application,
	snapshot: Snapshot,
	{ webhook, reach }: { readonly webhook: string; readonly reach: Reach },
) {
	const { id, spec, specVersion, secretNames, createdMs, updatedMs } = application;
	const newest = (environment: string) =>
		[...snapshot.deployments.values()]
			.filter((each) => each.application === id && each.environment === environment)
			.toSorted((a, b) => b.number - a.number)[0];
	const shown = ({ name, service }: Environment) => {
		const deployment = newest(name);
		return { name, service, deployment: deployment ? showDeployment(deployment, snapshot) : null };
	};
	return {
		id,
		version: specVersion,
		spec: writeSpec(spec),
		secrets: secretNames,
		webhook,
		forge: showForge(application, snapshot, reach),
		environments: [
			...spec.environments.map((each) => shown(each)),
			...(application.previews ?? []).flatMap((preview) => {
				const pattern = patternOf(spec);
				if (!pattern || preview.over) return [];
				const { number: pullRequest, branch, title, touchedMs } = preview;
				const untilMs = touchedMs + pattern.previews.ttlMs;
				return {
					...shown(previewEnvironment(pattern, pullRequest)),
					preview: { pullRequest, branch, title, until: new Date(untilMs).toISOString() },
				};
			}),
		],
		createdAt: new Date(createdMs).toISOString(),
		updatedAt: new Date(updatedMs).toISOString(),
	};
}

/** Who is told how deployments go, and what is wrong with that; null where nobody is. */
function showForge(application: Application, snapshot: Snapshot, reach: Reach) {
	if (!application.secretNames.includes("forge")) return null;
	const last = lastTold(snapshot, application);
	const told = {
		deployment: last?.number ?? null,
		said: last?.told?.said ?? null,
		error: last?.told?.error ?? "",
	};
	try {
		const { forge, api, project } = whereOf(application.spec, reach);
		return { name: forge.name, api, project, ...told };
	} catch (error) {
		return { name: "", api: "", project: "", ...told, error: messageOf(error) };
	}
}

export function showDeployment(deployment: Deployment, snapshot: Snapshot) {
	const { number, environment, cause, commit, ref, message, author, phase, image } = deployment;
	const build = deployment.build === null ? undefined : snapshot.builds.get(deployment.build);
	const waits = waitsFor(deployment, snapshot);
	return {
		id: deployment.id,
		number,
		environment,
		cause,
		commit,
		ref,
		message,
		author,
		phase,
		outcome: deployment.outcome,
		reason: deployment.reason || waits,
		lines: deployment.evidence?.lines ?? [],
		image,
		told: deployment.told ? { said: deployment.told.said, error: deployment.told.error } : null,
		...(deployment.stack && { services: showServices(deployment, deployment.stack) }),
		build: build ? showBuild(build) : null,
		...(build?.isPart && {
			builds: partsOf(snapshot, build).map((part) => ({
				platform: `linux/${part.architecture}`,
				...showBuild(part),
			})),
		}),
		times: deployment.times.map(shownTime),
	};
}

const showBuild = ({ id, node, status: { state, bytes, times } }: Build) => ({
	id,
	node,
	state,
	bytes,
	times: times.map(shownTime),
});

/** What keeps it, while it is under way. */
function waitsFor(
	{ phase, build, service, services = [] }: Deployment,
	snapshot: Snapshot,
): string {
	if (phase === "building" && build !== null) {
		const known = snapshot.builds.get(build);
		const waiting = known && partsOf(snapshot, known).find(isWaiting);
		return waiting?.status.error ?? "";
	}
	if (phase !== "rolling") return "";
	const rolling = services.filter(({ outcome }) => outcome === null).map((each) => each.service);
	for (const id of service === null ? rolling : [service]) {
		const known = snapshot.services.get(id);
		const waits = known && waitingFor(snapshot, known);
		if (waits) return service === null ? `${known.spec.name}: ${waits}` : waits;
	}
	return "";
}

const isWaiting = ({ status }: Build) => status.state === "waiting";

/** A stack's, and how far each is. */
function showServices({ services = [] }: Deployment, stack: Stack) {
	return (stack.services as readonly ServiceDocument[]).map(({ Name: name, TaskTemplate }) => ({
		name,
		image: TaskTemplate?.ContainerSpec?.Image ?? "",
		outcome: services.find((each) => each.name === name)?.outcome ?? null,
	}));
}

const shownTime = ([what, ms]: readonly [string, number]) => ({
	phase: what,
	at: new Date(ms).toISOString(),
});

export function showDelivery({ key, forge, name, atMs, events, outcome }: Delivery) {
	return { key, forge, name, at: new Date(atMs).toISOString(), events, outcome };
}
