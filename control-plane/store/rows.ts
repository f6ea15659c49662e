// How objects lie in rows: what is decided as one JSON text, what is reported beside it.
//
// Pure, both ways. Rows are read as pages of JSON that the database puts together, and written as one JSON argument
// that it takes apart: on a server that is several times faster than a row at a time.

import type { Lease, Network } from "../../model/network.ts";
import type { Node } from "../../model/node.ts";
import type { Service, TemplateVersion } from "../../model/service.ts";
import type { Task, TaskStatus } from "../../model/task.ts";
import { rankOf } from "../../model/taskstate.ts";

/** What is decided of a node; the rest is reported. */
export type DecidedNode = Omit<Node, ReportedField>;
export type ReportedNode = Pick<Node, ReportedField>;
type ReportedField =
	| "description"
	| "attached"
	| "appliedRevision"
	| "appliedHash"
	| "leaseUntilMs"
	| "unreachable";

export type DecidedTask = Omit<Task, "status">;

export function splitNode(node: Node): [DecidedNode, ReportedNode] {
	const {
		description,
		attached,
		appliedRevision,
		appliedHash,
		leaseUntilMs,
		unreachable,
		...decided
	} = node;
	return [
		decided,
		{ description, attached, appliedRevision, appliedHash, leaseUntilMs, unreachable },
	];
}

export function splitTask(task: Task): [DecidedTask, TaskStatus] {
	const { status, ...decided } = task;
	return [decided, status];
}

/** Every table whose rows make up a snapshot. */
export type Kind = "node" | "network" | "lease" | "service" | "template" | "task";

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
	];
	readonly network: readonly [Network];
	readonly lease: readonly [Lease];
	readonly service: readonly [Service];
	readonly template: readonly [TemplateVersion];
	readonly task: readonly [DecidedTask, TaskStatus];
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
		json: "decided || ',' || description || ',' || attached || ',' || applied_revision || ',' || json_quote(applied_hash) || ',' || lease_until_ms || ',' || unreachable",
	},
	network: { key: ["id"], json: "decided" },
	lease: { key: ["network", "address"], json: "decided" },
	service: { key: ["id"], json: "decided" },
	template: { key: ["service", "version"], json: "decided" },
	task: { key: ["id"], json: "decided || ',' || status" },
};

export const kinds = Object.keys(tables) as Kind[];

export function toNode(row: RowOf["node"]): Node {
	const [decided, description, attached, appliedRevision, appliedHash, leaseUntilMs, unreachable] =
		row;
	return {
		...decided,
		description,
		attached,
		appliedRevision,
		appliedHash,
		leaseUntilMs,
		unreachable,
	};
}

export function toTask([decided, status]: RowOf["task"]): Task {
	return { ...decided, status };
}

/** The columns that `isLater` compares. */
export function rankOfStatus(status: TaskStatus): readonly [rank: number, observed: number] {
	return [rankOf[status.state], status.observed];
}
