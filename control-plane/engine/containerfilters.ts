// Which containers `docker ps` shows: its switches and its `--filter`s, as Docker reads them, and one of ours: `node`.

import { invalid } from "../../model/errors.ts";
import { nodeName } from "../../model/node.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import { containerName, findContainer, type Held } from "./container.ts";
import { labelsOf, networksOf, portsOf, stateOf } from "./convert/container.ts";
import { anyOf, type Filters, hasLabels, isTrue, parseFilters } from "./filters.ts";

const states = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

/** `newestFirst` stays in order. */
export function listed(
	snapshot: Snapshot,
	newestFirst: readonly Held[],
	query: (key: string) => string | undefined,
): readonly Held[] {
	const filters = parseFilters(query("filters"), Object.keys(tests));
	for (const state of filters.get("status") ?? []) {
		if (!states.includes(state)) throw invalid(`invalid filter 'status=${state}'`);
	}
	const limit = Number(query("limit") ?? 0);
	const all = isTrue(query("all")) || limit > 0 || filters.has("status") || filters.has("exited");
	const found = newestFirst
		.filter((task) => all || stateOf(task) === "running")
		.filter((task) =>
			[...filters.keys()].every((key) => tests[key]?.(task, filters, snapshot) ?? true),
		);
	return limit > 0 ? found.slice(0, limit) : found;
}

type Test = (task: Held, filters: Filters, snapshot: Snapshot) => boolean;

const tests: Readonly<Record<string, Test>> = {
	id: ({ status }, filters) => anyOf(filters, "id", (id) => status.containerId.startsWith(id)),
	name: (task, filters, snapshot) =>
		anyOf(filters, "name", (name) => expressionOf(name).test(`/${containerName(snapshot, task)}`)),
	label: (task, filters, snapshot) => hasLabels(filters, labelsOf(task, snapshot)),
	status: (task, filters) => anyOf(filters, "status", (state) => state === stateOf(task)),
	exited: (task, filters) =>
		anyOf(
			filters,
			"exited",
			(code) => stateOf(task) === "exited" && Number(code) === task.status.exitCode,
		),
	health: ({ status }, filters) => anyOf(filters, "health", (health) => health === status.health),
	ancestor: (task, filters, snapshot) => {
		const template = snapshot.template(task.service, task.templateVersion);
		const image = template?.template.container.image ?? "";
		const [named = ""] = image.split("@");
		return anyOf(filters, "ancestor", (asked) =>
			[image, named, named.replace(/:[^:/]*$/, "")].includes(asked),
		);
	},
	network: (task, filters, snapshot) =>
		anyOf(filters, "network", (asked) =>
			networksOf(task, snapshot).some(
				([name, { NetworkID }]) => name === asked || String(NetworkID).startsWith(asked),
			),
		),
	node: (task, filters, snapshot) => {
		const node = snapshot.nodes.get(task.node);
		return anyOf(
			filters,
			"node",
			(asked) => task.node.startsWith(asked) || (node !== undefined && nodeName(node) === asked),
		);
	},
	"is-task": (_task, filters) => anyOf(filters, "is-task", isTrue),
	publish: (task, filters, snapshot) =>
		anyOf(filters, "publish", (asked) =>
			portsOf(task, snapshot).some(({ PublicPort, Type }) => isPort(asked, PublicPort, Type)),
		),
	expose: (task, filters, snapshot) =>
		anyOf(filters, "expose", (asked) =>
			portsOf(task, snapshot).some(({ PrivatePort, Type }) => isPort(asked, PrivatePort, Type)),
		),
	volume: (task, filters, snapshot) => {
		const template = snapshot.template(task.service, task.templateVersion);
		const mounts = template?.template.container.mounts ?? [];
		return anyOf(filters, "volume", (asked) =>
			mounts.some(({ source, target }) => source === asked || target === asked),
		);
	},
	before: (task, filters, snapshot) =>
		anyOf(filters, "before", (asked) => task.createdMs < findContainer(snapshot, asked).createdMs),
	since: (task, filters, snapshot) =>
		anyOf(filters, "since", (asked) => task.createdMs > findContainer(snapshot, asked).createdMs),
	isolation: () => true,
};

/** `80`, `80/tcp`, `8000-8080`. */
function isPort(asked: string, port: number | undefined, type: string): boolean {
	if (port === undefined) return false;
	const [range = "", protocol = "tcp"] = asked.split("/");
	const [from = 0, to = from] = range.split("-").map(Number);
	return protocol === type && port >= from && port <= to;
}

/** Docker takes names as regular expressions; what is none is taken as it stands. */
function expressionOf(text: string): RegExp {
	try {
		return new RegExp(text);
	} catch {
		return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
	}
}
