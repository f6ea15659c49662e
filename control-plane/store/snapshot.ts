// The snapshot that a host keeps, and how it catches up: what is newer than it knows, and what went.
//
// `read` asks for the rows, page by page, until one batch has brought every table to its end; `catchUp` puts them into
// the facts. Between the two nothing is awaited, so readers never see half of it.

import type { Build, BuildStatus } from "../../model/build.ts";
import type { Change } from "../../model/change.ts";
import type { Cluster } from "../../model/cluster.ts";
import type {
	ApplicationId,
	BuildId,
	ClusterId,
	DeploymentId,
	MaterialId,
	NetworkId,
	NodeId,
	ServiceId,
	TaskId,
} from "../../model/id.ts";
import { invariant, must } from "../../model/invariant.ts";
import { isSaidBefore, type Node } from "../../model/node.ts";
import { Facts } from "../../model/snapshot.ts";
import type { Task, TaskStatus } from "../../model/task.ts";
import type { Reported } from "../cluster.ts";
import type { Database, Statement } from "./client.ts";
import { type Kind, kinds, type RowOf, tables, toBuild, toNode, toTask } from "./rows.ts";

/** Facts, and up to which write they are known. */
export interface Held {
	facts: Facts;
	seq: number;
	/** The seq of the last change of anything that assignments are made of. */
	assignedSeq: number;
	/** What was reported and not planned for yet. */
	readonly touched: Touched;
	wakeAtMs: number | null;
	listeningSinceMs: number;
	/** Until then another process plans. */
	plannerUntilMs: number;
}

export interface Touched {
	/** Each with the seq at which it was touched last. */
	readonly services: Map<ServiceId, number>;
	readonly nodes: Map<NodeId, number>;
	/** Everything is to be planned anew; the seq since when. */
	all: number | null;
}

/** Reports of many nodes, one entry each. */
export interface MergedReports {
	readonly nodes: ReadonlyMap<NodeId, Omit<Reported, "tasks" | "builds">>;
	readonly statuses: ReadonlyMap<TaskId, TaskStatus>;
	readonly builds: ReadonlyMap<BuildId, BuildStatus>;
}

export interface Head {
	readonly revision: number;
	readonly seq: number;
	readonly cluster: Cluster;
	readonly planned: number;
	readonly wakeAtMs: number | null;
	readonly listeningSinceMs: number;
	readonly plannerUntilMs: number;
}

/** All that was written after `since`, in pages. */
export interface News {
	readonly since: number;
	readonly head: Head;
	readonly pages: readonly Page[];
}

type Page = {
	readonly [K in Kind]: readonly RowOf[K][];
} & { readonly gone: readonly (readonly [kind: Kind, key: string])[] };

/** Undefined when the cluster is no more. */
export async function readNews(
	database: Database,
	id: ClusterId,
	since: number,
): Promise<News | undefined> {
	let from = since;
	const at = new Map<Kind | "gone", Position>();
	const pages: Page[] = [];
	for (;;) {
		const [head, ...results] = await database.read([
			headOf(id),
			...([...kinds, "gone"] as const).map((kind) =>
				pageOf(kind, id, at.get(kind) ?? { seq: from, rowid: lastRowid }),
			),
		]);
		const row = head?.rows[0];
		if (!row) return undefined;
		if (from > 0 && from < Number(row["pruned"])) {
			// The tombstones that we would need are gone, so we begin anew.
			from = 0;
			at.clear();
			pages.length = 0;
			continue;
		}
		const page: Record<string, unknown> = {};
		let more = false;
		for (const [index, kind] of ([...kinds, "gone"] as const).entries()) {
			const found = must(results[index]?.rows[0], "an aggregate has one row");
			page[kind] = JSON.parse(String(found["page"] ?? "[]"));
			if (Number(found["count"]) === 0) continue;
			at.set(kind, { seq: Number(found["seq"]), rowid: Number(found["id"]) });
			if (Number(found["count"]) < Number(found["candidates"])) more = true;
			if (Number(found["candidates"]) === pageRows) more = true;
		}
		pages.push(page as Page);
		if (more) {
			// An embedded file answers within the tick: without this, nobody else would get a turn until the end.
			await new Promise((resolve) => setTimeout(resolve, 0));
			continue;
		}
		return {
			since: from,
			pages,
			head: {
				revision: Number(row["revision"]),
				seq: Number(row["seq"]),
				cluster: JSON.parse(String(row["decided"])) as Cluster,
				planned: Number(row["planned"]),
				wakeAtMs: row["wake_at_ms"] === null ? null : Number(row["wake_at_ms"]),
				listeningSinceMs: Number(row["listening_since_ms"]),
				plannerUntilMs: Number(row["planner_until_ms"]),
			},
		};
	}
}

/** A fresh snapshot. Nobody can know what of it was planned for, so all of it is to be. */
export function holdNews(news: News): Held {
	const held: Held = {
		facts: new Facts(news.head.cluster),
		seq: 0,
		assignedSeq: news.head.seq,
		touched: { services: new Map(), nodes: new Map(), all: news.head.seq },
		wakeAtMs: null,
		listeningSinceMs: 0,
		plannerUntilMs: 0,
	};
	catchUp(held, news);
	return held;
}

/**
 * Rows are as they were at `head`, so news may overlap with what is known already, and older news is none. That makes
 * it safe for several readers to share one `held`. `isAlone`: nobody else writes.
 */
export function catchUp(held: Held, news: News, isAlone = false): void {
	if (news.head.seq <= held.seq) return;
	invariant(news.since <= held.seq, "news begins where knowledge ends");
	if (news.since === 0 && held.seq > 0) {
		held.facts = new Facts(news.head.cluster);
		held.touched.all = news.head.seq;
	}
	const { facts, touched } = held;
	const { seq } = news.head;
	if (news.head.revision !== facts.revision) held.assignedSeq = seq;
	facts.revision = news.head.revision;
	facts.cluster = news.head.cluster;
	for (const page of news.pages) {
		for (const [kind, key] of page.gone) forget(facts, kind, key);
		for (const [network] of page.network) facts.networks.set(network.id, network);
		for (const [service] of page.service) facts.setService(service);
		for (const [template] of page.template) facts.apply({ kind: "put-template", template });
		for (const [material] of page.material) facts.apply({ kind: "put-material", material });
		for (const [application] of page.application) {
			facts.apply({ kind: "put-application", application });
		}
		for (const [deployment] of page.deployment) facts.setDeployment(deployment);
		for (const [lease] of page.lease) facts.setLease(lease);
		for (const row of page.node) {
			const node = toNode(row);
			const known = facts.nodes.get(node.id);
			// A host hears of nodes more often than it writes so. A lease that is shorter by far was ended by somebody else.
			const heardMs = (known?.leaseUntilMs ?? 0) - node.leaseUntilMs;
			const isHeard = heardMs > 0 && (isAlone || heardMs <= facts.cluster.nodeTimeoutMs);
			const leaseUntilMs = isHeard ? node.leaseUntilMs + heardMs : node.leaseUntilMs;
			noteNode(held, known, node, seq);
			facts.setNode({ ...node, leaseUntilMs });
		}
		for (const row of page.task) {
			const task = toTask(row);
			noteTask(held, facts.tasks.get(task.id), task, seq);
			facts.setTask(task);
		}
		for (const row of page.build) {
			const build = toBuild(row);
			noteBuild(held, facts.builds.get(build.id), build, seq);
			facts.setBuild(build);
		}
	}
	held.seq = seq;
	held.wakeAtMs = news.head.wakeAtMs;
	held.listeningSinceMs = news.head.listeningSinceMs;
	held.plannerUntilMs = news.head.plannerUntilMs;
	forgetPlanned(touched, news.head.planned);
}

/** What landed as the very next write needs no reading: the facts get it as the rows did. */
export function applyCommit(
	held: Held,
	landed: { readonly revision: number; readonly seq: number },
	changes: readonly Change[],
): void {
	for (const change of changes) held.facts.apply(change);
	held.facts.revision = landed.revision;
	held.seq = landed.seq;
	held.assignedSeq = landed.seq;
}

export function applyReports(held: Held, seq: number, merged: MergedReports): void {
	for (const [id, report] of merged.nodes) {
		const known = held.facts.nodes.get(id);
		if (!known) continue;
		const next = afterReport(known, report);
		noteNode(held, known, next, seq);
		held.facts.setNode(next);
	}
	for (const [id, status] of merged.statuses) {
		const known = held.facts.tasks.get(id);
		if (!known) continue;
		held.facts.apply({ kind: "task-status", id, status });
		noteTask(held, known, must(held.facts.tasks.get(id), "a status removes no task"), seq);
	}
	for (const [id, status] of merged.builds) {
		const known = held.facts.builds.get(id);
		if (!known) continue;
		held.facts.apply({ kind: "build-status", id, status });
		noteBuild(held, known, must(held.facts.builds.get(id), "a status removes no build"), seq);
	}
	held.seq = seq;
}

/** The node as a report leaves it. What an older one describes has been overtaken; the rest only grows. */
export function afterReport(known: Node, report: Omit<Reported, "tasks" | "builds">): Node {
	const { revision = 0, hash = "" } = report.applied ?? {};
	const described: Partial<Reported> = isSaidBefore(report.said, known.said) ? {} : report;
	return {
		...known,
		said: described.said ?? known.said,
		description: described.description ?? known.description,
		attached: described.attached ?? known.attached,
		unreachable: described.unreachable ?? known.unreachable,
		images: described.images ?? known.images,
		appliedRevision: Math.max(known.appliedRevision, revision),
		appliedHash: report.applied && revision >= known.appliedRevision ? hash : known.appliedHash,
		leaseUntilMs: Math.max(known.leaseUntilMs, report.leaseUntilMs ?? 0),
	};
}

/** Marks what a report about the node has changed. A renewed lease changes nothing while the node counts as up. */
export function noteNode(held: Held, known: Node | undefined, next: Node, seq: number): void {
	const assignedFrom = (node: Node) =>
		JSON.stringify([
			node.description.hostname,
			node.description.publicKey,
			node.description.wireguardPort,
			node.description.addresses,
			node.attached,
			node.images,
		]);
	if (!known || assignedFrom(known) !== assignedFrom(next)) held.assignedSeq = seq;
	const plannedFrom = (node: Node) =>
		JSON.stringify([
			node.description,
			node.attached,
			node.appliedRevision,
			node.unreachable,
			node.images,
			node.status.state === "ready" ? 0 : node.leaseUntilMs,
		]);
	if (!known || plannedFrom(known) !== plannedFrom(next)) held.touched.nodes.set(next.id, seq);
}

/** Marks what a report about the task has changed. What was decided of it was planned for when it was decided. */
export function noteTask(held: Held, known: Task | undefined, next: Task, seq: number): void {
	const same =
		known &&
		known.status.state === next.status.state &&
		known.status.observed === next.status.observed;
	if (same) return;
	held.touched.services.set(next.service, seq);
	if (next.node) held.touched.nodes.set(next.node, seq);
}

/** A build concerns no service until it is complete: its node stands for it. */
function noteBuild(held: Held, known: Build | undefined, next: Build, seq: number): void {
	const same =
		known &&
		known.status.state === next.status.state &&
		known.status.observed === next.status.observed;
	if (!same && next.node) held.touched.nodes.set(next.node, seq);
}

export function forgetPlanned(touched: Touched, planned: number): void {
	for (const map of [touched.services, touched.nodes] as const) {
		for (const [id, seq] of map as Map<string, number>) {
			if (seq <= planned) (map as Map<string, number>).delete(id);
		}
	}
	if (touched.all !== null && touched.all <= planned) touched.all = null;
}

function forget(facts: Facts, kind: Kind, key: string): void {
	const [first = "", second = ""] = key.split(" ");
	const removed: Readonly<Record<Kind, () => Change>> = {
		node: () => ({ kind: "remove-node", id: first as NodeId }),
		network: () => ({ kind: "remove-network", id: first as NetworkId }),
		lease: () => ({ kind: "remove-lease", network: first as NetworkId, address: second }),
		service: () => ({ kind: "remove-service", id: first as ServiceId }),
		template: () => ({
			kind: "remove-template",
			service: first as ServiceId,
			version: Number(second),
		}),
		task: () => ({ kind: "remove-task", id: first as TaskId }),
		material: () => ({ kind: "remove-material", id: first as MaterialId }),
		application: () => ({ kind: "remove-application", id: first as ApplicationId }),
		deployment: () => ({ kind: "remove-deployment", id: first as DeploymentId }),
		build: () => ({ kind: "remove-build", id: first as BuildId }),
	};
	facts.apply(removed[kind]());
}

/** The last row read of a table. Among rows of one write the index orders them by rowid, for nothing. */
interface Position {
	readonly seq: number;
	readonly rowid: number;
}

/** A server answers with 10 MB at most; a page stays well below, whatever the size of its rows. */
const pageBytes = 3_000_000;
const pageRows = 5_000;
/** Behind every row of the seq that is known already. */
const lastRowid = Number.MAX_SAFE_INTEGER;

function headOf(id: ClusterId): Statement {
	return {
		sql: "select revision, seq, decided, planned, wake_at_ms, listening_since_ms, planner_until_ms, pruned from cluster where id = ?",
		args: [id],
	};
}

/**
 * One page as one row: `page` (JSON), `count` rows in it, `candidates` looked at, and where it ends: beside a lone
 * `max`, SQLite takes plain columns from the row that has it. Rows come in the order of their seq, so what changes
 * while we read comes again at the end.
 */
function pageOf(kind: Kind | "gone", id: ClusterId, from: Position): Statement {
	const json = kind === "gone" ? "json_quote(kind) || ',' || json_quote(key)" : tables[kind].json;
	return {
		sql: `select '[' || group_concat(body, ',') || ']' as page, count(*) as count,
				sum(candidates) / count(*) as candidates, seq, id, max(place) as place
			from (
				select seq, id, body, row_number() over lines as place, count(*) over () as candidates,
					sum(length(body)) over (lines rows unbounded preceding) as bytes
				from (
					select seq, rowid as id, '[' || ${json} || ']' as body from ${kind}
					where cluster = ?1 and (seq, rowid) > (?2, ?3) order by seq, rowid limit ${pageRows}
				)
				window lines as (order by seq, id)
			)
			where bytes <= ${pageBytes} or place = 1`,
		args: [id, from.seq, from.rowid],
	};
}
