// Which builds there are to be, and on which nodes. Pure.

import type { Application, Environment } from "../../model/application.ts";
import { type Build, type BuildStatus, type Recipe, unbuilt } from "../../model/build.ts";
import type { Moment } from "../../model/change.ts";
import type { Deployment } from "../../model/deployment.ts";
import type { BuildId, NodeId } from "../../model/id.ts";
import { imageHost } from "../../model/image.ts";
import { builderLabel } from "../../model/labels.ts";
import { isToBeEmptied, type Node } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { Stack, StackOrder } from "../../model/stack.ts";
import type { Draft } from "../manager/draft.ts";
import { architectureOf } from "../manager/images.ts";
import { same } from "../manager/same.ts";
import { architecturesFor } from "./architectures.ts";

/** As long as this one is in a tag, nobody needs more of a commit's name. */
const shortCommit = 12;

/**
 * The build that the deployment waits for, and its others: those that there are already, of the same commit by the same
 * recipe, or new ones.
 */
export function buildsFor(
	draft: Draft,
	{ nowMs, newId }: Moment,
	{ id: application, spec }: Application,
	environment: Environment,
	deployment: Deployment,
): readonly [Build, ...Build[]] {
	const { commit, ref, preview } = deployment;
	const stack = orderFor(draft, spec.build, environment, deployment);
	// Strangers wrote what reads them.
	const recipe = preview?.isFork ? { ...spec.build, secrets: [] } : spec.build;
	// And nothing of theirs is left where others take it from.
	const repository = (!preview?.isFork && spec.registry) || `${imageHost}/${spec.name}`;
	// Nobody here puts an index into a registry outside, or into a stack's documents.
	const isOne = stack !== undefined || isOutside(repository);
	const architectures = architecturesFor(draft, { spec }, environment, isOne);
	const known = [...draft.builds.values()].find(
		(each) =>
			each.of === undefined &&
			each.application === application &&
			each.commit === commit &&
			same(
				partsOf(draft, each).map((part) => part.architecture),
				architectures,
			) &&
			same(each.recipe, recipe) &&
			same(each.stack ?? null, stack ?? null) &&
			each.image.startsWith(`${repository}:`) &&
			!(isOutside(each.image) && hasFailed(draft, each)) &&
			lackingFile(draft, each.made) === undefined &&
			partsOf(draft, each).every(
				(part) => part.desired === "complete" && !isVoid(part.status) && isToBeHad(draft, part),
			),
	);
	if (known) return [known, ...partsOf(draft, known).slice(1)];
	const ids = architectures.map(() => newId() as BuildId);
	const [first = newId() as BuildId, ...others] = ids;
	const build = {
		application,
		repository: spec.repository,
		commit,
		ref,
		recipe,
		image: `${repository}:${tagOf({ commit, recipe, stack }, draft)}`,
		...(stack && { stack }),
		...(others.length > 0 && { isPart: true as const }),
		desired: "complete" as const,
		limits: spec.buildLimits,
		timeoutMs: spec.buildTimeoutMs,
		node: null,
		createdMs: nowMs,
		status: { ...unbuilt, sinceMs: nowMs },
	};
	const [architecture = "amd64"] = architectures;
	return [
		{ ...build, id: first, architecture, ...(others.length > 0 && { others }) },
		...others.map((id, index) => ({
			...build,
			id,
			architecture: architectures[index + 1] ?? architecture,
			of: first,
		})),
	];
}

/** It, and those of the same image for other architectures that are known. */
export const partsOf = ({ builds }: Pick<Snapshot, "builds">, build: Build): readonly Build[] => [
	build,
	...(build.others ?? []).flatMap((id) => builds.get(id) ?? []),
];

const isToBeHad = (draft: Draft, build: Build) =>
	build.status.state !== "complete" || storedOf(build).every((image) => isImageKept(draft, image));

const isOutside = (image: string) => !image.startsWith(`${imageHost}/`);

/** Whether a registry still has what was pushed there, nobody here knows: what came to nothing is made and pushed anew. */
const hasFailed = ({ deployments }: Snapshot, { id }: Build) =>
	[...deployments.values()].some(({ build, outcome }) => build === id && outcome === "failed");

const isVoid = ({ state }: BuildStatus) =>
	state === "failed" || state === "cancelled" || state === "lost";

/** The commit; with a number behind it where another recipe made another image of it. */
function tagOf(
	{ commit, recipe, stack }: Pick<Build, "commit" | "recipe"> & { stack: StackOrder | undefined },
	snapshot: Snapshot,
): string {
	const others = [...snapshot.builds.values()].filter(
		(each) => each.commit === commit && each.status.state === "complete",
	);
	const count = others.filter(
		(each) => !same(each.recipe, recipe) || !same(each.stack ?? null, stack ?? null),
	).length;
	return count === 0 ? commit.slice(0, shortCommit) : `${commit.slice(0, shortCommit)}-${count}`;
}

/** With its digest, of one that is complete, as its others are. */
export const imageOf = ({ image, index, status }: Build) =>
	`${image}@${index?.digest ?? status.digest}`;

/** What its node made: a compose file's are several. None while it is not complete. */
export function storedOf({ image, made, stack, status }: Build): readonly string[] {
	if (stack) return Object.values(made?.images ?? {});
	return status.digest === "" ? [] : [`${image}@${status.digest}`];
}

/** What services know it by. */
export const imagesOf = (build: Build): readonly string[] =>
	build.index ? [imageOf(build)] : storedOf(build);

/** Somebody removed a secret or config of the stack: only its commit says what it said. */
export function lackingFile({ materials }: Snapshot, stack: Stack | undefined) {
	return stack?.files.find(
		({ material, version }) =>
			!materials.get(material)?.versions.some(({ number }) => number === version),
	);
}

/** How a compose file is read for this environment; where another's deployment is promoted, with its images. */
function orderFor(
	{ deployments }: Snapshot,
	{ compose }: Recipe,
	{ service: name, variables }: Environment,
	{ cause, preview }: Pick<Deployment, "cause" | "preview">,
): StackOrder | undefined {
	if (!compose) return undefined;
	const from = cause.kind === "promotion" ? deployments.get(cause.from) : undefined;
	return {
		name,
		variables,
		...(from?.stack && { images: from.stack.images }),
		...(preview && { preview: { isFork: preview.isFork } }),
	};
}

/** Whether anybody can get it now. An image of a registry outside is that registry's matter. */
export function isImageKept(snapshot: Snapshot, image: string): boolean {
	if (isOutside(image)) return true;
	const index = [...snapshot.builds.values()].find(
		(build) => build.index && image.endsWith(build.index.digest),
	)?.index;
	const digests = Object.values(index?.manifests ?? {});
	if (index) return digests.every((digest) => isImageKept(snapshot, `${imageHost}/@${digest}`));
	return [...snapshot.nodes.values()].some(
		({ images, status }) =>
			status.state === "ready" && images.some((digest) => image.endsWith(digest)),
	);
}

/** Each to a node of its own; what went with its node is lost. */
export function assignBuilds(draft: Draft, { nowMs }: Moment): void {
	const say = (build: Build, status: Partial<BuildStatus> & Pick<BuildStatus, "state">) => {
		const { state, error = "" } = status;
		if (build.status.state === state && build.status.error === error) return;
		const times = [...build.status.times, [state, nowMs] as const];
		const isNew = build.status.state !== state;
		draft.put({
			kind: "build-status",
			id: build.id,
			status: {
				...build.status,
				state,
				error,
				...(isNew && { sinceMs: nowMs, times }),
				observed: build.status.observed + 1,
			},
		});
	};
	for (const build of [...draft.unsettled.builds.values()]) {
		const isThere = build.node !== null && draft.nodes.get(build.node)?.status.state === "ready";
		if (build.node !== null && !isThere) say(build, { state: "lost", error: "its node is gone" });
		if (build.node === null && build.desired === "cancelled") say(build, { state: "cancelled" });
	}
	const waiting = [...draft.unsettled.builds.values()]
		.filter(({ node }) => node === null)
		.toSorted((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
	for (const build of waiting) {
		const able = buildersFor(draft, build);
		if (able.length === 0) {
			say(build, { state: "waiting", error: whyNone(draft, build) });
			continue;
		}
		const busy = new Set([...draft.unsettled.builds.values()].map(({ node }) => node));
		const free = able.filter(({ id }) => !busy.has(id));
		const chosen = bestOf(draft, free, build);
		if (!chosen) {
			say(build, { state: "waiting", error: "every node that may build has another build" });
			continue;
		}
		draft.put({ kind: "put-build", build: { ...build, node: chosen } });
		say({ ...build, node: chosen }, { state: "assigned" });
	}
}

/** Nodes that can, and may: those that somebody chose for it, where anybody chose any. */
function buildersFor(snapshot: Snapshot, { architecture, isPart, recipe }: Build): readonly Node[] {
	const able = [...snapshot.nodes.values()].filter(
		(node) =>
			node.status.state === "ready" &&
			node.spec.availability === "active" &&
			!isToBeEmptied(node) &&
			node.description.diskFull !== true &&
			node.description.builder !== undefined &&
			(!recipe.compose || node.description.builder.compose === true) &&
			(!isPart || node.description.builder.parts === true) &&
			(recipe.secrets.length === 0 || node.description.builder.builder === "buildkit") &&
			architectureOf(node.description) === architecture &&
			node.spec.labels[builderLabel] !== "no",
	);
	const chosen = able.filter(({ spec }) => spec.labels[builderLabel] === "yes");
	const anyChosen = [...snapshot.nodes.values()].some(
		({ spec }) => spec.labels[builderLabel] === "yes",
	);
	return anyChosen ? chosen : able;
}

function whyNone(snapshot: Snapshot, { architecture, isPart, recipe }: Build): string {
	const nodes = [...snapshot.nodes.values()];
	const remedy = isPart
		? `; nodes of several architectures may run the service: build.platforms says it when ${architecture} is not to be among them`
		: "";
	const chosen = nodes.filter(({ spec }) => spec.labels[builderLabel] === "yes");
	if (chosen.length > 0) {
		return `none of the nodes with the label ${builderLabel}=yes can build ${isPart ? `for ${architecture} ` : ""}just now: they must be ready, active, have git and room on their disks${remedy}`;
	}
	if (nodes.every(({ description }) => description.builder === undefined)) {
		return "no node can build: install git on one (apt-get install git), or run its install line again with --builder";
	}
	if (recipe.compose && !nodes.some(({ description }) => description.builder?.compose)) {
		return "no node reads compose files yet: their agents are of an older version, and update themselves";
	}
	const able = nodes
		.filter(({ description }) => architectureOf(description) === architecture)
		.flatMap(({ description }) => description.builder ?? []);
	if (isPart && able.length > 0 && !able.some(({ parts }) => parts)) {
		return `no node of architecture ${architecture} builds for several yet: their agents are of an older version, and update themselves${remedy}`;
	}
	const secrets =
		recipe.secrets.length > 0 ? ", with BuildKit since the build uses secrets (docker-buildx)" : "";
	return `no node that may build is ready: one of architecture ${architecture} is needed, active, with git and room on its disk${secrets}${remedy}`;
}

/** Where the application was built before, since the cache is there; else the least busy. */
function bestOf(snapshot: Snapshot, free: readonly Node[], build: Build): NodeId | undefined {
	const before = [...snapshot.builds.values()]
		.filter(({ application }) => application === build.application)
		.toSorted((a, b) => b.createdMs - a.createdMs)
		.map(({ node }) => node);
	const known = before.find((id) => free.some((node) => node.id === id));
	if (known) return known;
	const tasks = (node: Node) => snapshot.tasksOfNode(node.id).size;
	return free.toSorted((a, b) => tasks(a) - tasks(b) || a.index - b.index)[0]?.id;
}
