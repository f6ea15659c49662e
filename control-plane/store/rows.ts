// How objects lie in rows: what is decided as one JSON text, what is reported beside it.
//
// Pure, both ways. Rows are read as pages of JSON that the database puts together, and written as one JSON argument
// that it takes apart: on a server that is several times faster than a row at a time.

import type { Application } from "../../model/application.ts";
import { type Build, type BuildStatus, buildRankOf } from "../../model/build.ts";
import type { Deployment } from "../../model/deployment.ts";
import type { Material } from "../../model/material.ts";
import type { Lease, Network } from "../../model/network.ts";
import type { DecidedNode, Node } from "../../model/node.ts";
import type { Service, TemplateVersion } from "../../model/service.ts";
import type { Task, TaskStatus } from "../../model/task.ts";
import { rankOf } from "../../model/taskstate.ts";

export type DecidedTask = Omit<Task, "status">;
export type DecidedBuild = Omit<Build, "status">;

export function splitTask(task: Task): [DecidedTask, TaskStatus] {
	const { status, ...decided } = task;
	return [decided, status];
}

export function splitBuild(build: Build): [DecidedBuild, BuildStatus] {
	const { status, ...decided } = build;
	return [decided, status];
}

/** Every table whose rows make up a snapshot. */
export type Kind =
	| "node"
	| "network"
	| "lease"
	| "service"
	| "template"
	| "task"
	| "material"
	| "application"
	| "deployment"
	| "build";

/** A row as the page brings it, by kind. */
export interface RowOf {
	readonly node: readonly [
		DecidedNode,
		Node["description"],
		Node["attached"],
		number,
		string,
		number,
		Node["unreachable"],
		saidStart: number,
		saidCount: number,
		images: Node["images"],
	];
	readonly network: readonly [Network];
	readonly lease: readonly [Lease];
	readonly service: readonly [Service];
	readonly template: readonly [TemplateVersion];
	readonly task: readonly [DecidedTask, TaskStatus];
	readonly material: readonly [Material];
	readonly application: readonly [Application];
	readonly deployment: readonly [Deployment];
	readonly build: readonly [DecidedBuild, BuildStatus];
}

interface Table {
	/** After the cluster, what names a row. */
	readonly key: readonly string[];
	/** The row as JSON, in the order of `RowOf`. */
	readonly json: string;
}

export const tables: Readonly<Record<Kind, Table>> = {
	node: {
		key: ["id"],
		json: "decided || ',' || description || ',' || attached || ',' || applied_revision || ',' || json_quote(applied_hash) || ',' || lease_until_ms || ',' || unreachable || ',' || said_start || ',' || said_count || ',' || images",
	},
	network: { key: ["id"], json: "decided" },
	lease: { key: ["network", "address"], json: "decided" },
	service: { key: ["id"], json: "decided" },
	template: { key: ["service", "version"], json: "decided" },
	task: { key: ["id"], json: "decided || ',' || status" },
	material: { key: ["id"], json: "decided" },
	application: { key: ["id"], json: "decided" },
	deployment: { key: ["id"], json: "decided" },
	build: { key: ["id"], json: "decided || ',' || status" },
};

export const kinds = Object.keys(tables) as Kind[];

export function toNode(row: RowOf["node"]): Node {
	const [
		decided,
		description,
		attached,
		appliedRevision,
		appliedHash,
		leaseUntilMs,
		unreachable,
		start,
		count,
		images,
	] = row;
	return {
		...decided,
		said: { start, count },
		description,
		attached,
		appliedRevision,
		appliedHash,
		leaseUntilMs,
		unreachable,
		images,
	};
}

export function toTask([decided, status]: RowOf["task"]): Task {
	return { ...decided, status };
}

export function toBuild([decided, status]: RowOf["build"]): Build {
	return { ...decided, status };
}

/** The columns that `isFurther` compares. */
export function rankOfBuild(status: BuildStatus): readonly [rank: number, observed: number] {
	return [buildRankOf[status.state], status.observed];
}

/** The columns that `isLater` compares. */
export function rankOfStatus(status: TaskStatus): readonly [rank: number, observed: number] {
	return [rankOf[status.state], status.observed];
}
