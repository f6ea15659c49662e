// Changes become one write batch, or nothing.
//
// A decision raises the revision by one, which a trigger guards: planned from a stale snapshot, the whole batch breaks
// and nothing of it lands. A report raises only `seq` and merges into what is there.

import type { ResultSet } from "@libsql/client";
import type { Application } from "../../model/application.ts";
import type { Build, BuildStatus } from "../../model/build.ts";
import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import type { Deployment } from "../../model/deployment.ts";
import { Refusal } from "../../model/errors.ts";
import type { BuildId, ClusterId, NodeId, TaskId } from "../../model/id.ts";
import type { Material, SealedContent } from "../../model/material.ts";
import type { Lease, Network } from "../../model/network.ts";
import { isSaidBefore, type Node, splitNode } from "../../model/node.ts";
import type { Service, TemplateVersion } from "../../model/service.ts";
import { isFurther, isLater } from "../../model/snapshot.ts";
import type { Task, TaskStatus } from "../../model/task.ts";
import type { ClusterEvent, Reported } from "../cluster.ts";
import { type Database, OutcomeUnknown, type Statement } from "./client.ts";
import {
	type Kind,
	kinds,
	rankOfBuild,
	rankOfStatus,
	splitBuild,
	splitTask,
	tables,
} from "./rows.ts";
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
	try {
		return landedOf(await database.write(commitStatements(id, wanted)));
	} catch (error) {
		if (isGone(error)) throw clusterGone({ cause: error });
		if (isConflict(error)) throw new StaleSnapshot(staleMessage, { cause: error });
		if (!(error instanceof OutcomeUnknown)) throw error;
		const landed = await findLanded(database, id, wanted);
		if (landed) return landed;
		throw new StaleSnapshot(staleMessage, { cause: error });
	}
}

/** Whether this very commit is there although nobody heard of it. */
export async function findLanded(
	database: Database,
	id: ClusterId,
	{ base, writer }: Commit,
): Promise<Landed | undefined> {
	const revision = base + 1;
	const [found] = await database.read([
		{
			sql: "select c.seq, r.writer from cluster c left join revision r on r.cluster = c.id and r.revision = ?2 where c.id = ?1",
			args: [id, revision],
		},
	]);
	const row = found?.rows[0];
	if (!row) throw clusterGone();
	return row["writer"] === writer ? { revision, seq: Number(row["seq"]) } : undefined;
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
	{ nodes, statuses, builds }: MergedReports,
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
				node.said?.start ?? null,
				node.said?.count ?? null,
				node.images ?? null,
			]),
			(rows) => ({
				// An upsert of rows that are there, since an `update … from` would walk the whole table. ->> gives objects as JSON
				// text, and NULL where nothing was reported.
				sql: `insert into node (cluster, id, seq, decided, description, attached,
						applied_revision, applied_hash, lease_until_ms, unreachable, said_start, said_count, images)
					select n.cluster, n.id, ${currentSeq}, n.decided,
						${described("1", "description")}, ${described("2", "attached")},
						max(n.applied_revision, coalesce(j.value->>3, 0)),
						case when j.value->>3 >= n.applied_revision then j.value->>4 else n.applied_hash end,
						max(n.lease_until_ms, coalesce(j.value->>5, 0)), ${described("6", "unreachable")},
						${described("7", "said_start")}, ${described("8", "said_count")}, ${described("9", "images")}
					from json_each(?2) j cross join node n on n.cluster = ?1 and n.id = j.value->>0 where true
					on conflict do update set seq = excluded.seq, description = excluded.description,
						attached = excluded.attached, applied_revision = excluded.applied_revision,
						applied_hash = excluded.applied_hash, lease_until_ms = excluded.lease_until_ms,
						unreachable = excluded.unreachable, said_start = excluded.said_start,
						said_count = excluded.said_count, images = excluded.images`,
				args: [id, rows],
			}),
		),
		...statusWrites(id, "task", taskStatusRows(statuses)),
		...statusWrites(id, "build", buildStatusRows(builds)),
	];
	for (let attempt = 0; ; attempt++) {
		try {
			return landedOf(await database.write(statements)).seq;
		} catch (error) {
			if (!(error instanceof OutcomeUnknown) || attempt === 2) throw error;
		}
	}
}

/** `afterReport`, in SQL, for one column: what is said, unless something newer was. */
const described = (field: string, column: string) =>
	`iif((j.value->>7, j.value->>8) < (n.said_start, n.said_count), n.${column}, coalesce(j.value->>${field}, n.${column}))`;

/** Several reports of one node as one: the last word on each field, the highest of what only grows. */
export function mergeReports(reports: readonly Reported[]): MergedReports {
	const nodes = new Map<NodeId, Omit<Reported, "tasks" | "builds">>();
	const statuses = new Map<TaskId, TaskStatus>();
	const buildStatuses = new Map<BuildId, BuildStatus>();
	for (const { tasks, builds, ...report } of reports) {
		for (const { id, status } of tasks ?? []) raise(statuses, id, status);
		for (const { id, status } of builds ?? []) raiseBuild(buildStatuses, id, status);
		if (Object.values(report).filter((value) => value !== undefined).length === 1) continue;
		const known = nodes.get(report.node);
		nodes.set(report.node, {
			...(known ? lastWord(known, report) : report),
			...laterApplied(known?.applied, report.applied),
			...laterLease(known?.leaseUntilMs, report.leaseUntilMs),
		});
	}
	return { nodes, statuses, builds: buildStatuses };
}

/** Of two that carry their place, only the newer is heard of what it describes: see `Report.said`. */
function lastWord(
	known: Omit<Reported, "tasks" | "builds">,
	next: Omit<Reported, "tasks" | "builds">,
) {
	if (isSaidBefore(next.said, known.said)) return known;
	return isSaidBefore(known.said, next.said) ? next : { ...known, ...next };
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
	readonly materials: Map<string, Material>;
	readonly contents: SealedContent[];
	readonly statuses: Map<TaskId, TaskStatus>;
	readonly applications: Map<string, Application>;
	readonly deployments: Map<string, Deployment>;
	readonly builds: Map<string, Build>;
	readonly buildStatuses: Map<BuildId, BuildStatus>;
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
			material: new Set(),
			application: new Set(),
			deployment: new Set(),
			build: new Set(),
		},
		nodes: new Map(),
		networks: new Map(),
		services: new Map(),
		templates: new Map(),
		leases: new Map(),
		tasks: new Map(),
		materials: new Map(),
		contents: [],
		statuses: new Map(),
		applications: new Map(),
		deployments: new Map(),
		builds: new Map(),
		buildStatuses: new Map(),
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
		case "put-material":
			folded.materials.set(change.material.id, change.material);
			return;
		case "remove-material":
			folded.materials.delete(change.id);
			folded.removed.material.add(change.id);
			return;
		case "put-content":
			folded.contents.push(change.content);
			return;
		case "put-application":
			folded.applications.set(change.application.id, change.application);
			return;
		case "remove-application":
			folded.applications.delete(change.id);
			folded.removed.application.add(change.id);
			return;
		case "put-deployment":
			folded.deployments.set(change.deployment.id, change.deployment);
			return;
		case "remove-deployment":
			folded.deployments.delete(change.id);
			folded.removed.deployment.add(change.id);
			return;
		case "put-build": {
			const known = folded.builds.get(change.build.id);
			const build = known ? { ...change.build, status: known.status } : change.build;
			folded.builds.set(build.id, build);
			return;
		}
		case "build-status":
			raiseBuild(folded.buildStatuses, change.id, change.status);
			return;
		case "remove-build":
			folded.builds.delete(change.id);
			folded.buildStatuses.delete(change.id);
			folded.removed.build.add(change.id);
			return;
	}
}

function raiseBuild(statuses: Map<BuildId, BuildStatus>, id: BuildId, status: BuildStatus): void {
	const known = statuses.get(id);
	if (!known || isFurther(status, known)) statuses.set(id, status);
}

function raise(statuses: Map<TaskId, TaskStatus>, id: TaskId, status: TaskStatus): void {
	const known = statuses.get(id);
	if (!known || isLater(status, known)) statuses.set(id, status);
}

/** Removals first: what is removed and put again in one commit begins anew. */
function writesOf(id: ClusterId, folded: Folded, nowMs: number): Statement[] {
	return [
		...(folded.cluster
			? [
					{
						sql: "update cluster set decided = ?2 where id = ?1",
						args: [id, JSON.stringify(folded.cluster)],
					},
				]
			: []),
		...kinds.flatMap((kind) => removals(id, kind, folded.removed[kind], nowMs)),
		...cascade(id, "lease", "network", folded.removed.network),
		...cascade(id, "template", "service", folded.removed.service),
		...cascade(id, "content", "material", folded.removed.material),
		...cascade(id, "content", "material", folded.removed.application),
		...cascade(id, "build_log", "build", folded.removed.build),
		...cascade(id, "delivery", "application", folded.removed.application),
		...puts(id, "network", [...folded.networks]),
		...puts(id, "service", [...folded.services]),
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
		...puts(id, "material", [...folded.materials]),
		...puts(id, "application", [...folded.applications]),
		...puts(id, "deployment", [...folded.deployments]),
		...contentWrites(id, folded),
		...revivals(id, "lease", [...folded.leases.keys()]),
		...revivals(id, "template", [...folded.templates.keys()]),
		...nodePuts(id, [...folded.nodes.values()]),
		...statusPuts(
			id,
			"task",
			[...folded.tasks.values()].map((task) => {
				const [decided, status] = splitTask(task);
				return [task.id, decided, status, ...rankOfStatus(status)];
			}),
		),
		...statusPuts(
			id,
			"build",
			[...folded.builds.values()].map((build) => {
				const [decided, status] = splitBuild(build);
				return [build.id, decided, status, ...rankOfBuild(status)];
			}),
		),
		...statusWrites(id, "task", taskStatusRows(folded.statuses)),
		...statusWrites(id, "build", buildStatusRows(folded.buildStatuses)),
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
	kind: "lease" | "template" | "content" | "build_log" | "delivery",
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
	kind: "network" | "service" | "template" | "lease" | "material" | "application" | "deployment",
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

/** A content goes with the version that it is of. */
function contentWrites(id: ClusterId, { materials, applications, contents }: Folded): Statement[] {
	const versions = [
		...[...materials.values()].map((each) => [each.id, each.versions.map(({ number }) => number)]),
		...[...applications.values()].map((each) => [each.id, [each.secretsVersion]]),
	];
	return [
		...bulk(versions, (rows) => ({
			sql: `delete from content where rowid in (
				select c.rowid from json_each(?2) j cross join content c on c.cluster = ?1 and c.material = j.value->>0
				where c.version not in (select value from json_each(j.value->1)))`,
			args: [id, rows],
		})),
		...bulk(
			contents.map(({ material, version, sealed }) => [material, version, sealed]),
			(rows) => ({
				sql: `insert into content (cluster, material, version, sealed)
					select ?1, value->>0, value->>1, value->>2 from json_each(?2) where true
					on conflict do update set sealed = excluded.sealed`,
				args: [id, rows],
			}),
		),
	];
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
			reported.said.start,
			reported.said.count,
			reported.images,
		];
	});
	return bulk(rows, (chunk) => ({
		sql: `insert into node (cluster, id, seq, decided, description, attached,
				applied_revision, applied_hash, lease_until_ms, unreachable, said_start, said_count, images)
			select ?1, value->>0, ${currentSeq}, value->1, value->2, value->3,
				value->>4, value->>5, value->>6, value->7, value->>8, value->>9, value->10 from json_each(?2) where true
			on conflict do update set seq = excluded.seq, decided = excluded.decided`,
		args: [id, chunk],
	}));
}

/** Of what has a status: rows are its id, what is decided, the status, and the status's rank. */
function statusPuts(
	id: ClusterId,
	kind: "task" | "build",
	rows: readonly (readonly unknown[])[],
): Statement[] {
	return bulk(rows, (chunk) => ({
		sql: `insert into ${kind} (cluster, id, seq, decided, status, rank, observed)
			select ?1, value->>0, ${currentSeq}, value->1, value->2, value->>3, value->>4
			from json_each(?2) where true
			on conflict do update set seq = excluded.seq, decided = excluded.decided`,
		args: [id, chunk],
	}));
}

const taskStatusRows = (statuses: ReadonlyMap<TaskId, TaskStatus>) =>
	[...statuses].map(([task, status]) => [task, status, ...rankOfStatus(status)]);

const buildStatusRows = (statuses: ReadonlyMap<BuildId, BuildStatus>) =>
	[...statuses].map(([build, status]) => [build, status, ...rankOfBuild(status)]);

/** `isLater` and `isFurther`, in SQL. The cross join keeps SQLite from walking all of the table for a few reports. */
function statusWrites(
	id: ClusterId,
	kind: "task" | "build",
	rows: readonly (readonly unknown[])[],
): Statement[] {
	return bulk(rows, (chunk) => ({
		sql: `insert into ${kind} (cluster, id, seq, decided, status, rank, observed)
			select t.cluster, t.id, ${currentSeq}, t.decided, j.value->1, j.value->>2, j.value->>3
			from json_each(?2) j cross join ${kind} t on t.cluster = ?1 and t.id = j.value->>0
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

/** For a write that touches no row of `cluster`: a change that is refused, or made at the other place, like any other. */
export async function writeUnfenced(
	database: Database,
	id: ClusterId,
	statements: readonly Statement[],
): Promise<void> {
	const touch = {
		sql: "update cluster set planned = planned where id = ? returning id",
		args: [id],
	};
	const [touched] = await database.write([touch, ...statements]);
	if (touched?.rows.length !== 1) throw clusterGone();
}

/** What a host meets while the cluster's rows are copied: nothing landed. */
export function isFenced(error: unknown): boolean {
	return /CLUSTER_FENCED/.test(String(error));
}

/** Every insert takes its seq from the cluster's row. */
function isGone(error: unknown): boolean {
	return /NOT NULL constraint failed: \w+\.seq/.test(String(error));
}

function isConflict(error: unknown): boolean {
	// The second: two commits with one revision where the guard itself could not see the other's.
	return /REVISION_CONFLICT|UNIQUE constraint failed: revision\./.test(String(error));
}
