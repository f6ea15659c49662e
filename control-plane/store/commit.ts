// Changes become one write batch, or nothing.
//
// A decision raises the revision by one, which a trigger guards: planned from a stale snapshot, the whole batch breaks
// and nothing of it lands. A report raises only `seq` and merges into what is there.

import type { ResultSet } from "@libsql/client";
import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import { Refusal } from "../../model/errors.ts";
import type { ClusterId, NodeId, TaskId } from "../../model/id.ts";
import type { Lease, Network } from "../../model/network.ts";
import type { Node } from "../../model/node.ts";
import type { Service, TemplateVersion } from "../../model/service.ts";
import { isLater } from "../../model/snapshot.ts";
import type { Task, TaskStatus } from "../../model/task.ts";
import type { ClusterEvent, Reported } from "../cluster.ts";
import { type Database, OutcomeUnknown, type Statement } from "./client.ts";
import { type Kind, kinds, rankOfStatus, splitNode, splitTask, tables } from "./rows.ts";
import type { MergedReports } from "./snapshot.ts";

/** Somebody else made the next revision first: look again, decide again. */
export class StaleSnapshot extends Error {
	constructor(message: string, options?: ErrorOptions) {
		super(message, options);
		this.name = "StaleSnapshot";
	}
}

const staleMessage = "the cluster has moved on since it was looked at";

export interface Landed {
	readonly revision: number;
	readonly seq: number;
}

export interface Commit {
	/** The revision that the changes were decided from. */
	readonly base: number;
	/** Unique to this attempt: tells our revision from another's when an answer got lost. */
	readonly writer: string;
	readonly nowMs: number;
	readonly changes: readonly Change[];
	readonly events: readonly ClusterEvent[];
	/** The seq of the snapshot, where everything reported until then was planned for with this; else null. */
	readonly planned: number | null;
	readonly wake: Wake;
}

/** When time alone changes the plan, and whether that is so of the whole cluster or of what was planned. */
export interface Wake {
	readonly atMs: number | null;
	readonly whole: boolean;
}

export async function commit(database: Database, id: ClusterId, wanted: Commit): Promise<Landed> {
	const revision = wanted.base + 1;
	const statements = commitStatements(id, wanted);
	try {
		return landedOf(await database.write(statements));
	} catch (error) {
		if (isGone(error)) throw clusterGone({ cause: error });
		if (isConflict(error)) throw new StaleSnapshot(staleMessage, { cause: error });
		if (!(error instanceof OutcomeUnknown)) throw error;
		const [found] = await database.read([
			{
				sql: `select writer, (select seq from cluster where id = ?1) as seq from revision
					where cluster = ?1 and revision = ?2`,
				args: [id, revision],
			},
		]);
		const row = found?.rows[0];
		if (row?.["writer"] === wanted.writer) return { revision, seq: Number(row["seq"]) };
		throw new StaleSnapshot(staleMessage, { cause: error });
	}
}

export function commitStatements(id: ClusterId, wanted: Commit): Statement[] {
	const revision = wanted.base + 1;
	return [
		{
			// Where nobody wrote in between, what this very commit writes is planned for too. An alarm that somebody else
			// set stays, unless everything was planned: then ours is the only one.
			sql: `update cluster set revision = ?2, seq = seq + 1,
				wake_at_ms = case when ?5 then ?4 else min(coalesce(wake_at_ms, ?4), coalesce(?4, wake_at_ms)) end,
				planned = case when seq = ?3 then seq + 1 else max(planned, coalesce(?3, 0)) end
				where id = ?1 returning revision, seq`,
			args: [id, revision, wanted.planned, wanted.wake.atMs, wanted.wake.whole ? 1 : 0],
		},
		{
			sql: "insert into revision (cluster, revision, writer, at_ms) select id, ?2, ?3, ?4 from cluster where id = ?1",
			args: [id, revision, wanted.writer, wanted.nowMs],
		},
		...writesOf(id, fold(wanted.changes), wanted.nowMs),
		...eventWrites(id, revision, wanted.events),
	];
}

/** Writes what nodes reported. Safe to repeat: states only rise, and acknowledgements and leases only grow. */
export async function writeReports(
	database: Database,
	id: ClusterId,
	{ nodes, statuses }: MergedReports,
	nowMs: number,
	gapMs: number,
): Promise<number> {
	const statements: Statement[] = [
		{
			sql: `update cluster set seq = seq + 1, alive_ms = ?2,
				listening_since_ms = case when ?2 - alive_ms > ?3 then ?2 else listening_since_ms end
				where id = ?1 returning revision, seq`,
			args: [id, nowMs, gapMs],
		},
		...bulk(
			[...nodes.values()].map((node) => [
				node.node,
				node.description ?? null,
				node.attached ?? null,
				node.applied?.revision ?? null,
				node.applied?.hash ?? null,
				node.leaseUntilMs ?? null,
				node.unreachable ?? null,
			]),
			(rows) => ({
				// An upsert of rows that are there, since an `update … from` would walk the whole table. ->> gives objects as JSON
				// text, and NULL where nothing was reported.
				sql: `insert into node (cluster, id, seq, decided, description, attached,
						applied_revision, applied_hash, lease_until_ms, unreachable)
					select n.cluster, n.id, ${currentSeq}, n.decided,
						coalesce(j.value->>1, n.description), coalesce(j.value->>2, n.attached),
						max(n.applied_revision, coalesce(j.value->>3, 0)),
						case when j.value->>3 >= n.applied_revision then j.value->>4 else n.applied_hash end,
						max(n.lease_until_ms, coalesce(j.value->>5, 0)), coalesce(j.value->>6, n.unreachable)
					from json_each(?2) j cross join node n on n.cluster = ?1 and n.id = j.value->>0 where true
					on conflict do update set seq = excluded.seq, description = excluded.description,
						attached = excluded.attached, applied_revision = excluded.applied_revision,
						applied_hash = excluded.applied_hash, lease_until_ms = excluded.lease_until_ms,
						unreachable = excluded.unreachable`,
				args: [id, rows],
			}),
		),
		...statusWrites(id, statuses),
	];
	for (let attempt = 0; ; attempt++) {
		try {
			return landedOf(await database.write(statements)).seq;
		} catch (error) {
			if (!(error instanceof OutcomeUnknown) || attempt === 2) throw error;
		}
	}
}

/** Several reports of one node as one: the last word on each field, the highest of what only grows. */
export function mergeReports(reports: readonly Reported[]): MergedReports {
	const nodes = new Map<NodeId, Omit<Reported, "tasks">>();
	const statuses = new Map<TaskId, TaskStatus>();
	for (const { tasks, ...report } of reports) {
		for (const { id, status } of tasks ?? []) raise(statuses, id, status);
		if (Object.values(report).filter((value) => value !== undefined).length === 1) continue;
		const known = nodes.get(report.node);
		nodes.set(report.node, {
			...known,
			...report,
			...laterApplied(known?.applied, report.applied),
			...laterLease(known?.leaseUntilMs, report.leaseUntilMs),
		});
	}
	return { nodes, statuses };
}

function laterApplied(known: Reported["applied"], next: Reported["applied"]) {
	if (!known || !next)
		return known || next ? { applied: (next ?? known) as NonNullable<typeof next> } : {};
	return { applied: next.revision >= known.revision ? next : known };
}

function laterLease(known: number | undefined, next: number | undefined) {
	if (known === undefined && next === undefined) return {};
	return { leaseUntilMs: Math.max(known ?? 0, next ?? 0) };
}

/** What a list of changes comes to, object by object, when one follows the other. */
interface Folded {
	cluster: Cluster | null;
	readonly removed: { readonly [K in Kind]: Set<string> };
	readonly nodes: Map<string, Node>;
	readonly networks: Map<string, Network>;
	readonly services: Map<string, Service>;
	readonly templates: Map<string, TemplateVersion>;
	readonly leases: Map<string, Lease>;
	readonly tasks: Map<string, Task>;
	readonly statuses: Map<TaskId, TaskStatus>;
}

/** Keys of composite things join their parts with a space, as tombstones do. */
const leaseKey = (network: string, address: string) => `${network} ${address}`;
const templateKey = (service: string, version: number) => `${service} ${version}`;

function fold(changes: readonly Change[]): Folded {
	const folded: Folded = {
		cluster: null,
		removed: {
			node: new Set(),
			network: new Set(),
			lease: new Set(),
			service: new Set(),
			template: new Set(),
			task: new Set(),
		},
		nodes: new Map(),
		networks: new Map(),
		services: new Map(),
		templates: new Map(),
		leases: new Map(),
		tasks: new Map(),
		statuses: new Map(),
	};
	for (const change of changes) foldIn(folded, change);
	return folded;
}

function foldIn(folded: Folded, change: Change): void {
	switch (change.kind) {
		case "put-cluster":
			folded.cluster = change.cluster;
			return;
		case "put-node": {
			const known = folded.nodes.get(change.node.id);
			const reported = known && splitNode(known)[1];
			folded.nodes.set(change.node.id, { ...change.node, ...reported });
			return;
		}
		case "remove-node":
			folded.nodes.delete(change.id);
			folded.removed.node.add(change.id);
			return;
		case "put-network":
			folded.networks.set(change.network.id, change.network);
			return;
		case "remove-network":
			folded.networks.delete(change.id);
			folded.removed.network.add(change.id);
			for (const [key, lease] of folded.leases) {
				if (lease.network === change.id) folded.leases.delete(key);
			}
			return;
		case "put-service":
			folded.services.set(change.service.id, change.service);
			return;
		case "remove-service":
			folded.services.delete(change.id);
			folded.removed.service.add(change.id);
			for (const [key, template] of folded.templates) {
				if (template.service === change.id) folded.templates.delete(key);
			}
			return;
		case "put-template": {
			const { service, version } = change.template;
			folded.templates.set(templateKey(service, version), change.template);
			return;
		}
		case "remove-template": {
			const key = templateKey(change.service, change.version);
			folded.templates.delete(key);
			folded.removed.template.add(key);
			return;
		}
		case "put-lease":
			folded.leases.set(leaseKey(change.lease.network, change.lease.address), change.lease);
			return;
		case "remove-lease": {
			const key = leaseKey(change.network, change.address);
			folded.leases.delete(key);
			folded.removed.lease.add(key);
			return;
		}
		case "put-task": {
			const known = folded.tasks.get(change.task.id);
			const task = known ? { ...change.task, status: known.status } : change.task;
			folded.tasks.set(task.id, task);
			return;
		}
		case "task-status":
			raise(folded.statuses, change.id, change.status);
			return;
		case "remove-task":
			folded.tasks.delete(change.id);
			folded.statuses.delete(change.id);
			folded.removed.task.add(change.id);
			return;
	}
}

function raise(statuses: Map<TaskId, TaskStatus>, id: TaskId, status: TaskStatus): void {
	const known = statuses.get(id);
	if (!known || isLater(status, known)) statuses.set(id, status);
}

/** Removals first: what is removed and put again in one commit begins anew. */
function writesOf(id: ClusterId, folded: Folded, nowMs: number): Statement[] {
	return [
		...(folded.cluster ? clusterWrites(folded.cluster) : []),
		...kinds.flatMap((kind) => removals(id, kind, folded.removed[kind], nowMs)),
		...cascade(id, "lease", "network", folded.removed.network),
		...cascade(id, "template", "service", folded.removed.service),
		...puts(
			id,
			"network",
			[...folded.networks.values()].map((each) => [each.id, each]),
		),
		...puts(
			id,
			"service",
			[...folded.services.values()].map((each) => [each.id, each]),
		),
		...puts(
			id,
			"template",
			[...folded.templates.values()].map((each) => [each.service, each.version, each]),
		),
		...puts(
			id,
			"lease",
			[...folded.leases.values()].map((each) => [each.network, each.address, each]),
		),
		...revivals(id, "lease", [...folded.leases.keys()]),
		...revivals(id, "template", [...folded.templates.keys()]),
		...nodePuts(id, [...folded.nodes.values()]),
		...taskPuts(id, [...folded.tasks.values()]),
		...statusWrites(id, folded.statuses),
	];
}

/** Join tokens are looked up by their hash before anybody knows the cluster. The old ones stay: see `joinToken`. */
function clusterWrites(cluster: Cluster): Statement[] {
	return [
		{
			sql: "update cluster set decided = ?2 where id = ?1",
			args: [cluster.id, JSON.stringify(cluster)],
		},
		...Object.entries(cluster.tokens).map(([role, { sha256, epoch }]) => ({
			sql: "insert into join_token (sha256, cluster, role, epoch) values (?, ?, ?, ?) on conflict do nothing",
			args: [sha256, cluster.id, role, epoch],
		})),
	];
}

function removals(
	id: ClusterId,
	kind: Kind,
	keys: ReadonlySet<string>,
	nowMs: number,
): Statement[] {
	const columns = tables[kind].key;
	const match = columns.map((column, index) => `${column} = j.value->>${index}`).join(" and ");
	return bulk(
		[...keys].map((key) => key.split(" ")),
		(rows) => ({
			sql: `delete from ${kind} where rowid in (
				select t.rowid from json_each(?2) j cross join ${kind} t on t.cluster = ?1 and ${match.replaceAll(/\b(\w+) = j/g, "t.$1 = j")})`,
			args: [id, rows],
		}),
	).concat(
		bulk(
			[...keys].map((key) => [key]),
			(rows) => ({
				sql: `insert into gone (cluster, kind, key, seq, at_ms)
					select ?1, ?3, value->>0, ${currentSeq}, ?4 from json_each(?2) where true
					on conflict do update set seq = excluded.seq, at_ms = excluded.at_ms`,
				args: [id, rows, kind, nowMs],
			}),
		),
	);
}

/** What goes with its owner needs no tombstone: who forgets the owner forgets it too. */
function cascade(
	id: ClusterId,
	kind: "lease" | "template",
	owner: string,
	owners: ReadonlySet<string>,
): Statement[] {
	return bulk([...owners], (rows) => ({
		sql: `delete from ${kind} where cluster = ?1 and ${owner} in (select value from json_each(?2))`,
		args: [id, rows],
	}));
}

/** A key that is used again must not be taken for gone by a host that reads its tombstone later than its row. */
function revivals(id: ClusterId, kind: "lease" | "template", keys: readonly string[]): Statement[] {
	return bulk(keys, (rows) => ({
		sql: `delete from gone where cluster = ?1 and kind = ?3 and key in (select value from json_each(?2))`,
		args: [id, rows, kind],
	}));
}

/** Rows are their key's parts, then the object. */
function puts(
	id: ClusterId,
	kind: "network" | "service" | "template" | "lease",
	rows: readonly (readonly unknown[])[],
): Statement[] {
	const { key } = tables[kind];
	const values = key.map((_, index) => `value->>${index}`).join(", ");
	return bulk(rows, (chunk) => ({
		sql: `insert into ${kind} (cluster, ${key.join(", ")}, seq, decided)
			select ?1, ${values}, ${currentSeq}, value->${key.length} from json_each(?2) where true
			on conflict do update set seq = excluded.seq, decided = excluded.decided`,
		args: [id, chunk],
	}));
}

function nodePuts(id: ClusterId, nodes: readonly Node[]): Statement[] {
	const rows = nodes.map((node) => {
		const [decided, reported] = splitNode(node);
		return [
			node.id,
			decided,
			reported.description,
			reported.attached,
			reported.appliedRevision,
			reported.appliedHash,
			reported.leaseUntilMs,
			reported.unreachable,
		];
	});
	return bulk(rows, (chunk) => ({
		sql: `insert into node (cluster, id, seq, decided, description, attached,
				applied_revision, applied_hash, lease_until_ms, unreachable)
			select ?1, value->>0, ${currentSeq}, value->1, value->2, value->3,
				value->>4, value->>5, value->>6, value->7 from json_each(?2) where true
			on conflict do update set seq = excluded.seq, decided = excluded.decided`,
		args: [id, chunk],
	}));
}

function taskPuts(id: ClusterId, tasks: readonly Task[]): Statement[] {
	const rows = tasks.map((task) => {
		const [decided, status] = splitTask(task);
		return [task.id, decided, status, ...rankOfStatus(status)];
	});
	return bulk(rows, (chunk) => ({
		sql: `insert into task (cluster, id, seq, decided, status, rank, observed)
			select ?1, value->>0, ${currentSeq}, value->1, value->2, value->>3, value->>4
			from json_each(?2) where true
			on conflict do update set seq = excluded.seq, decided = excluded.decided`,
		args: [id, chunk],
	}));
}

/** `isLater`, in SQL. The cross join keeps SQLite from walking all tasks for a few reports. */
function statusWrites(id: ClusterId, statuses: ReadonlyMap<TaskId, TaskStatus>): Statement[] {
	const rows = [...statuses].map(([task, status]) => [task, status, ...rankOfStatus(status)]);
	return bulk(rows, (chunk) => ({
		sql: `insert into task (cluster, id, seq, decided, status, rank, observed)
			select t.cluster, t.id, ${currentSeq}, t.decided, j.value->1, j.value->>2, j.value->>3
			from json_each(?2) j cross join task t on t.cluster = ?1 and t.id = j.value->>0
			where (t.rank, t.observed) < (j.value->>2, j.value->>3)
			on conflict do update set seq = excluded.seq, status = excluded.status,
				rank = excluded.rank, observed = excluded.observed`,
		args: [id, chunk],
	}));
}

function eventWrites(
	id: ClusterId,
	revision: number,
	events: readonly ClusterEvent[],
): Statement[] {
	return events.map((event, place) => ({
		sql: "insert into event (cluster, at_ms, revision, place, body) values (?, ?, ?, ?, ?)",
		args: [id, event.timeMs, revision, place, JSON.stringify(event)],
	}));
}

/** The seq that the batch's first statement made. NULL where the cluster is gone, which breaks every insert. */
const currentSeq = "(select seq from cluster where id = ?1)";

const chunkRows = 2_000;
const chunkBytes = 2_000_000;

/** Many rows as few statements, each with its rows as one JSON argument. */
function bulk(rows: readonly unknown[], statement: (json: string) => Statement): Statement[] {
	const statements: Statement[] = [];
	let chunk: string[] = [];
	let bytes = 0;
	const flush = () => {
		if (chunk.length > 0) statements.push(statement(`[${chunk.join(",")}]`));
		chunk = [];
		bytes = 0;
	};
	for (const row of rows) {
		const text = JSON.stringify(row);
		if (chunk.length === chunkRows || bytes + text.length > chunkBytes) flush();
		chunk.push(text);
		bytes += text.length;
	}
	flush();
	return statements;
}

function landedOf(results: readonly ResultSet[]): Landed {
	const row = results[0]?.rows[0];
	if (!row) throw clusterGone();
	return { revision: Number(row["revision"]), seq: Number(row["seq"]) };
}

export const clusterGone = (options?: ErrorOptions) =>
	new Refusal("not-found", "this cluster was erased: make one with `docker swarm init`", options);

/** Every insert takes its seq from the cluster's row. */
function isGone(error: unknown): boolean {
	return /NOT NULL constraint failed: \w+\.seq/.test(String(error));
}

function isConflict(error: unknown): boolean {
	// The second: two commits with one revision where the guard itself could not see the other's.
	return /REVISION_CONFLICT|UNIQUE constraint failed: revision\./.test(String(error));
}
