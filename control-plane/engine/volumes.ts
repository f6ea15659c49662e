// Volumes that tasks made, on whatever node: listed, shown, and removed when somebody asks for it, never of themselves.
//
// A volume lies on one machine, and several may have one of a name: the label `skein.node` says where it is, and
// `NODE/NAME` means that one. Each node's engine is asked; what it says is passed on.

import type { Context } from "hono";
import { Hono } from "hono";
import { conflict, messageOf, notFound } from "../../model/errors.ts";
import type { NodeId } from "../../model/id.ts";
import { type Node, nodeName } from "../../model/node.ts";
import type { VolumeRequest } from "../../model/relay.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { isTerminal } from "../../model/taskstate.ts";
import type { DoorEnv } from "../cluster.ts";
import { askEngine, containerName } from "./container.ts";
import { askingOf } from "./containers.ts";
import { nodeLabel } from "./convert/container.ts";
import { clusterOf } from "./door.ts";
import { ofService } from "./errors.ts";
import { anyOf, type Filters, hasLabels, isTrue, parseFilters } from "./filters.ts";
import { findNode } from "./lookup.ts";

type VolumeContext = Context<DoorEnv>;

/** As engines say it. */
interface Volume {
	readonly Name: string;
	readonly Driver: string;
	readonly Labels: Readonly<Record<string, string>> | null;
	readonly Options: Readonly<Record<string, string>> | null;
}

interface Found {
	readonly node: Node;
	readonly volume: Volume;
}

export function volumeRoutes(): Hono<DoorEnv> {
	return new Hono<DoorEnv>()
		.get("/volumes", list)
		.get("/volumes/:name{.+}", async (c) => {
			const found = await findVolume(c, c.req.param("name"));
			return c.json(shown(found));
		})
		.post("/volumes/prune", prune)
		.post("/volumes/create", () => {
			throw ofService(
				"a volume is made with the first task that uses it, on that task's node",
				"docker service create --mount type=volume,source=NAME,target=PATH",
			);
		})
		.put("/volumes/:name", () => {
			throw ofService("there are no cluster volumes", "docker service update --mount-add");
		})
		.delete("/volumes/:name{.+}", remove);
}

async function list(c: VolumeContext): Promise<Response> {
	const filters = parseFilters(c.req.query("filters"), Object.keys(tests));
	if (!c.get("cluster")) return c.json({ Volumes: [], Warnings: [] });
	const dangling = filters.get("dangling")?.map((value) => String(isTrue(value)));
	const { found, unheard } = await listAll(c, new Set(dangling).size === 1 ? dangling?.[0] : "");
	const all = found.map(shown).filter((volume) => isListed(volume, filters));
	return c.json({ Volumes: all, Warnings: unheard });
}

async function listAll(c: VolumeContext, dangling = "") {
	const { nodes, cluster } = await clusterOf(c).snapshot();
	const unheard: string[] = [];
	const found = await Promise.all(
		byName(nodes.values()).map(async (node): Promise<Found[]> => {
			try {
				const asked = { kind: "volume-list", cluster: cluster.id, dangling } as const;
				const { status, body } = await ask(c, node.id, asked);
				if (status !== 200) throw new Error(`node ${nodeName(node)}: ${wordsOf(body, status)}`);
				const { Volumes } = body as { readonly Volumes: readonly Volume[] | null };
				return (Volumes ?? []).map((volume) => ({ node, volume }));
			} catch (error) {
				unheard.push(`${messageOf(error)}: its volumes are not shown`);
				return [];
			}
		}),
	);
	return { found: found.flat(), unheard };
}

const byName = (nodes: Iterable<Node>) =>
	[...nodes].sort((a, b) => (nodeName(a) < nodeName(b) ? -1 : 1));

function shown({ node, volume }: Found) {
	return {
		...volume,
		Labels: { ...volume.Labels, [nodeLabel]: nodeName(node) },
		Options: volume.Options ?? {},
	};
}

type Shown = ReturnType<typeof shown>;

const tests: Readonly<Record<string, (volume: Shown, filters: Filters) => boolean>> = {
	name: ({ Name }, filters) => anyOf(filters, "name", (name) => Name.includes(name)),
	driver: ({ Driver }, filters) => anyOf(filters, "driver", (driver) => Driver === driver),
	label: ({ Labels }, filters) => hasLabels(filters, Labels),
	node: ({ Labels }, filters) => anyOf(filters, "node", (node) => Labels[nodeLabel] === node),
	// The engine has seen to it.
	dangling: () => true,
};

const isListed = (volume: Shown, filters: Filters) =>
	[...filters.keys()].every((key) => tests[key]?.(volume, filters));

/** The one that is called so, wherever it is; where several nodes have one, they are named. */
async function findVolume(c: VolumeContext, asked: string): Promise<Found> {
	const snapshot = await clusterOf(c).snapshot();
	const at = asked.lastIndexOf("/");
	const name = asked.slice(at + 1);
	const nodes = at > 0 ? [findNode(snapshot, asked.slice(0, at))] : byName(snapshot.nodes.values());
	const unheard: string[] = [];
	const found = await Promise.all(
		nodes.map(async (node): Promise<Found[]> => {
			const { id } = snapshot.cluster;
			const inspect = { kind: "volume-inspect", cluster: id, volume: name } as const;
			const { status, body } = await ask(c, node.id, inspect).catch((error: unknown) => {
				unheard.push(messageOf(error));
				return { status: 0, body: null };
			});
			return status === 200 ? [{ node, volume: body as Volume }] : [];
		}),
	);
	const [first, ...more] = found.flat();
	if (first && more.length > 0) {
		const names = [first, ...more].map(({ node }) => `${nodeName(node)}/${name}`);
		throw conflict(`volume ${name} is on ${names.length} nodes: say which: ${names.join(", ")}`);
	}
	if (first) return first;
	if (unheard.length > 0) {
		// 404 as well: `docker inspect` asks for a volume before it asks for a task, and goes on only then.
		throw notFound(`get ${asked}: no such volume on the nodes that answer (${unheard.join("; ")})`);
	}
	throw notFound(`get ${asked}: no such volume`);
}

async function remove(c: VolumeContext): Promise<Response> {
	const asked = c.req.param("name") ?? "";
	const found = await findVolume(c, asked).catch((error: unknown) => {
		// As Docker has it: what is not there need not be removed.
		if (isTrue(c.req.query("force")) && /no such volume$/.test(messageOf(error))) return undefined;
		throw error;
	});
	const refusal = found && (await removed(c, found));
	if (refusal) throw conflict(refusal);
	return c.body(null, 204);
}

/** Removes it; else the reason why not. */
async function removed(c: VolumeContext, { node, volume }: Found): Promise<string | undefined> {
	const snapshot = await clusterOf(c).snapshot();
	const { Name: name } = volume;
	const where = `remove ${name}: the volume on node ${nodeName(node)}`;
	const users = usersOf(snapshot, node.id, name);
	if (users.length > 0) return `${where} is in use by ${users.join(", ")}`;
	const asked = { kind: "volume-remove", cluster: snapshot.cluster.id, volume: name } as const;
	const { status, body } = await ask(c, node.id, asked);
	if (status < 300) return undefined;
	const words = wordsOf(body, status);
	const ended = [...snapshot.tasksOfNode(node.id).values()].find(
		(task) => task.status.containerId !== "" && words.includes(task.status.containerId),
	);
	if (!ended) return `${where} stays: ${words}`;
	return (
		`${where} is in use by ${containerName(snapshot, ended)}, which has ended: ` +
		"its container is kept until another takes its place or its service is removed"
	);
}

/** Tasks that have the volume or are about to. A name may be a template, which only the node can expand. */
function usersOf(snapshot: Snapshot, node: NodeId, volume: string): string[] {
	return [...snapshot.tasksOfNode(node).values()]
		.filter(({ status }) => !isTerminal(status.state))
		.filter(({ service, templateVersion }) =>
			snapshot
				.template(service, templateVersion)
				?.template.container.mounts.some(
					({ type, source }) => type === "volume" && mayBecome(source, volume),
				),
		)
		.map((task) => containerName(snapshot, task));
}

function mayBecome(template: string, name: string): boolean {
	const parts = template
		.split(/\{\{.*?\}\}/)
		.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
	return new RegExp(`^${parts.join(".*")}$`).test(name);
}

/** Before this version of the API, named volumes went without being asked for. */
const namedAskedFor = 42;

async function prune(c: VolumeContext): Promise<Response> {
	const filters = parseFilters(c.req.query("filters"), ["label", "label!", "all"]);
	const minor = Number(/^\/v1\.(\d+)\//.exec(c.req.path)?.[1] ?? namedAskedFor);
	// Volumes without a name went with their containers.
	const isAsked = minor < namedAskedFor || filters.get("all")?.some(isTrue) === true;
	const { found } = isAsked ? await listAll(c, "true") : { found: [] };
	const deleted: string[] = [];
	for (const each of found) {
		const { Labels } = shown(each);
		const isSpared = filters
			.get("label!")
			?.some((asked) => hasLabels(new Map([["label", [asked]]]), Labels));
		if (isSpared || !hasLabels(filters, Labels)) continue;
		const refusal = await removed(c, each).catch(messageOf);
		if (!refusal) deleted.push(`${nodeName(each.node)}/${each.volume.Name}`);
	}
	return c.json({ VolumesDeleted: deleted, SpaceReclaimed: 0 });
}

/** Rejects with an `Unheard`, as an error of ours, where the node does not answer. */
async function ask(c: VolumeContext, node: NodeId, asked: VolumeRequest) {
	const { status, body } = await askEngine(askingOf(c), node, { asked });
	const text = await new Response(body).text();
	return { status, body: text === "" ? null : (JSON.parse(text) as unknown) };
}

/** An agent that knows containers only says that there is none. */
function wordsOf(body: unknown, status: number): string {
	const { message } = (body ?? {}) as { readonly message?: string };
	if (message?.startsWith("No such container")) {
		return "its agent is too old for volumes: run the install line there again";
	}
	return message ?? `Docker says ${status}`;
}
