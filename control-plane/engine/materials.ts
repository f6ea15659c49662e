// Secrets and configs: list, create, inspect, change, remove.
//
// A changed content is a new version, and every service that uses it rolls to it in the same commit. What a secret
// says is written and never shown again.

import { Hono } from "hono";
import { notFound } from "../../model/errors.ts";
import {
	type ContentVersion,
	contentKey,
	filesOf,
	type Material,
	type MaterialKind,
	newestOf,
	withContent,
} from "../../model/material.ts";
import type { Service } from "../../model/service.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { ClusterDoor, ClusterEvent, Decision, DoorEnv } from "../cluster.ts";
import { readBody } from "./body.ts";
import {
	checkContent,
	fromEngine,
	materialSchema,
	type ReadMaterial,
	toEngine,
} from "./convert/material.ts";
import { clusterOf, created, done, type EngineContext, versionOf } from "./door.ts";
import { badArgument, existsAlready, outOfSequence } from "./errors.ts";
import { anyOf, hasLabels, idPrefix, namePrefix, parseFilters } from "./filters.ts";
import { findMaterial, services } from "./lookup.ts";
import { putSpec } from "./services.ts";

export function materialRoutes(): Hono<DoorEnv> {
	const routes = new Hono<DoorEnv>();
	for (const kind of ["secret", "config"] as const) {
		const list = (c: EngineContext) => listAll(kind, c);
		const type = kind === "secret" ? "SecretSpec" : "ConfigSpec";
		routes
			.get(`/${kind}s`, list)
			.get(`/${kind}s/`, list)
			.get(`/${kind}s/:id`, async (c) => {
				const cluster = clusterOf(c);
				const material = findMaterial(kind, await cluster.snapshot(), c.req.param("id"));
				const [shown] = await show(cluster, [material]);
				return c.json(shown);
			})
			.post(`/${kind}s/create`, async (c) => {
				const { value } = await readBody(c.req.raw, materialSchema, type);
				return created(c, { ID: await create(clusterOf(c), kind, fromEngine(kind, value)) });
			})
			.post(`/${kind}s/:id/update`, async (c) => {
				const version = versionOf(c, kind);
				const { value } = await readBody(c.req.raw, materialSchema, type);
				await update(clusterOf(c), kind, c.req.param("id"), version, value);
				return done(c);
			})
			.delete(`/${kind}s/:id`, async (c) => {
				const asked = c.req.param("id");
				await clusterOf(c).commit((snapshot) =>
					remove(snapshot, findMaterial(kind, snapshot, asked)),
				);
				return c.body(null, 204);
			});
	}
	return routes;
}

async function listAll(kind: MaterialKind, c: EngineContext): Promise<Response> {
	const filters = parseFilters(c.req.query("filters"), ["id", "name", "names", "label"]);
	const cluster = clusterOf(c);
	const found = [...(await cluster.snapshot()).materials.values()]
		.filter(
			(each) =>
				each.kind === kind &&
				idPrefix(filters, each.id) &&
				namePrefix(filters, each.name) &&
				anyOf(filters, "names", (name) => name === each.name) &&
				hasLabels(filters, each.labels),
		)
		.sort((a, b) => (a.name < b.name ? -1 : 1));
	return c.json(await show(cluster, found));
}

async function show(cluster: ClusterDoor, materials: readonly Material[]) {
	const names = materials
		.filter(({ kind }) => kind === "config")
		.map((each) => ({ material: each.id, version: newestOf(each).number }));
	const contents = await cluster.contents.read(names);
	return materials.map((each) => {
		const name = { material: each.id, version: newestOf(each).number };
		return toEngine(each, contents.get(contentKey(name)));
	});
}

async function create(
	cluster: ClusterDoor,
	kind: MaterialKind,
	{ content = new Uint8Array(), name, labels, templating, document }: ReadMaterial,
): Promise<string> {
	checkContent(kind, content);
	const id = cluster.contents.newId();
	const sealed = await cluster.contents.seal({ material: id, version: 1 }, content);
	await cluster.commit((snapshot, { nowMs }) => {
		if (isTaken(snapshot, kind, name)) throw existsAlready(kind, name);
		const material: Material = {
			kind,
			id,
			name,
			labels,
			versions: [{ number: 1, templating, bytes: sealed.sealed.length, createdMs: nowMs }],
			specVersion: 1,
			document,
			createdMs: nowMs,
			updatedMs: nowMs,
		};
		return {
			changes: [
				{ kind: "put-material", material },
				{ kind: "put-content", content: sealed },
			],
			result: undefined,
			events: [event(material, "create")],
		};
	});
	return id;
}

const isTaken = (snapshot: Snapshot, kind: MaterialKind, name: string) =>
	[...snapshot.materials.values()].some((each) => each.kind === kind && each.name === name);

/** What a request leaves out stays as it is. */
async function update(
	cluster: ClusterDoor,
	kind: MaterialKind,
	asked: string,
	specVersion: number,
	value: Parameters<typeof fromEngine>[1],
): Promise<void> {
	const known = findMaterial(kind, await cluster.snapshot(), asked);
	if (known.specVersion !== specVersion) throw outOfSequence();
	const read = fromEngine(kind, { ...value, Name: value.Name || known.name });
	if (read.name !== known.name) {
		throw badArgument(
			`only updates to Labels and Data are allowed: a ${kind} keeps its name, create another one for another name`,
		);
	}
	const next = await contentAfter(cluster, known, read, value.Templating === undefined);
	await cluster.commit((snapshot, moment) => {
		const material = findMaterial(kind, snapshot, known.id);
		// Whoever changed it meanwhile made another number of what we sealed.
		if (material.specVersion !== specVersion) throw outOfSequence();
		const updated: Material = {
			...material,
			labels: read.labels,
			document: documentOf(read, next?.version ?? newestOf(material), material),
			versions: next
				? [...material.versions, { ...next.version, createdMs: moment.nowMs }]
				: material.versions,
			specVersion: specVersion + 1,
			updatedMs: moment.nowMs,
		};
		const rolled = next ? roll(snapshot, updated, moment) : [];
		return {
			changes: [
				{ kind: "put-material", material: updated },
				...(next ? [{ kind: "put-content", content: next.sealed } as const] : []),
				...rolled.flatMap(({ changes }) => changes),
			],
			result: undefined,
			events: [event(updated, "update"), ...rolled.flatMap(({ events }) => events ?? [])],
		};
	});
}

/** The next version, sealed; undefined where nothing of what tasks read changes. */
async function contentAfter(
	{ contents }: ClusterDoor,
	material: Material,
	{ content: asked, templating: wanted }: ReadMaterial,
	keepsTemplating: boolean,
) {
	if (asked) checkContent(material.kind, asked);
	const newest = newestOf(material);
	const templating = !asked && keepsTemplating ? newest.templating : wanted;
	const name = { material: material.id, version: newest.number };
	const before = (await contents.read([name])).get(contentKey(name));
	const content = asked ?? before;
	if (!content)
		throw notFound(`${material.kind} ${material.name}: its content is gone: send Data too`);
	if (before && isSame(before, content) && templating === newest.templating) return undefined;
	const number = newest.number + 1;
	const sealed = await contents.seal({ material: material.id, version: number }, content);
	const bytes = sealed.sealed.length;
	const version: ContentVersion = { number, templating, bytes, createdMs: 0 };
	return { version, sealed };
}

function documentOf(
	{ document }: ReadMaterial,
	{ templating }: ContentVersion,
	{ document: before }: Material,
): Material["document"] {
	if (!templating || document["Templating"] !== undefined) return document;
	return { ...document, Templating: before["Templating"] };
}

const isSame = (a: Uint8Array, b: Uint8Array) =>
	a.length === b.length && a.every((byte, index) => byte === b[index]);

/**
 * Every service that uses it goes over to its newest content, by its own update policy. A job that has run does not run
 * again for that: its next run has it.
 */
function roll(
	snapshot: Snapshot,
	material: Material,
	moment: Parameters<typeof putSpec>[4],
): Pick<Decision<unknown>, "changes" | "events">[] {
	return users(snapshot, material).map((service) => {
		const spec = withContent(service.spec, material.id, newestOf(material));
		const next = { spec, document: service.document };
		const { changes, events = [] } = putSpec(service, next, null, snapshot, moment);
		const { job } = service;
		if (!job) return { changes, events };
		const kept = changes.map((change) =>
			change.kind === "put-service" ? { ...change, service: { ...change.service, job } } : change,
		);
		return { changes: kept, events };
	});
}

function users(snapshot: Snapshot, { id }: Material): Service[] {
	return services(snapshot)
		.filter(({ spec }) => filesOf(spec.template).some(({ material }) => material === id))
		.sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1));
}

/** A rollback that would bring back what is gone is offered no more. */
function remove(snapshot: Snapshot, material: Material): Decision<void> {
	const { kind, id, name } = material;
	const names = users(snapshot, material).map(({ spec }) => spec.name);
	if (names.length > 0) {
		const these = names.length > 1 ? "services" : "service";
		throw badArgument(`${kind} '${name}' is in use by the following ${these}: ${names.join(", ")}`);
	}
	const stranded = [...snapshot.services.values()].filter(
		({ previous }) =>
			previous && filesOf(previous.spec.template).some((file) => file.material === id),
	);
	return {
		changes: [
			{ kind: "remove-material", id },
			...stranded.map(
				(service) => ({ kind: "put-service", service: { ...service, previous: null } }) as const,
			),
		],
		result: undefined,
		events: [event(material, "remove")],
	};
}

function event(
	{ kind, id, name }: Material,
	action: ClusterEvent["action"],
): Omit<ClusterEvent, "timeMs"> {
	return { type: kind, action, id, attributes: { name } };
}
