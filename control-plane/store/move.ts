// A cluster from one shard to another, while its agents go on: fence its rows, copy them, let the placement lead to the
// copy, erase what was copied.
//
// Each step is a state of the placement, and what is done in it can be done again, by another process too, or twice at
// once: `mend` goes on from wherever a process died. Every row that a move writes or erases is behind the move's own
// fence, so a process that wakes up late finds nothing to do harm to.

import { conflict, messageOf, unavailable } from "../../model/errors.ts";
import { invariant, must } from "../../model/invariant.ts";
import {
	countRows,
	eraseFenced,
	eraseRows,
	hasRows,
	insertPage,
	liftFence,
	readPages,
	setFence,
} from "./copy.ts";
import type { Directory, Placement } from "./directory.ts";
import type { Shards } from "./shards.ts";

export interface Mover {
	readonly directory: Directory;
	readonly shards: Shards;
	nowMs(): number;
}

/** Until the cluster is there and nowhere else. Refused while it is being moved or erased. */
export async function moveCluster(mover: Mover, id: Placement["cluster"], to: string) {
	const { directory, shards } = mover;
	const from = await directory.placementOf(id);
	if (from?.state !== "active") {
		throw conflict(
			`cluster ${id} is ${from?.state ?? "not known"}: only an active one can be moved`,
		);
	}
	if (from.shard === to) return;
	await shards.open(to);
	const moving: Placement = { ...from, state: "moving", other: to, move: from.move + 1 };
	if (!(await directory.turn(from, moving, mover.nowMs()))) {
		throw conflict(`cluster ${id} changed its place or was erased meanwhile: look again`);
	}
	await goOn(mover, moving);
}

/**
 * From whatever step a process died at: what was begun is finished, or undone where it can not be. Throws when a
 * database is away; then the next call goes on.
 */
export async function mend(mover: Mover, placement: Placement): Promise<void> {
	const { directory, shards } = mover;
	switch (placement.state) {
		case "active":
		case "erased":
			return;
		case "making":
		case "remaking": {
			const database = await shards.open(placement.shard);
			// An import comes behind a fence, which is lifted when all of it is there.
			await eraseFenced(database, placement.cluster, placement.move);
			const isMade = await hasRows(database, placement.cluster);
			if (isMade) await directory.turn(placement, { state: "active" }, mover.nowMs());
			else await directory.forget(placement, mover.nowMs());
			return;
		}
		case "erasing": {
			await eraseRows(await shards.open(placement.shard), placement.cluster);
			await directory.turn(placement, { state: "erased" }, mover.nowMs());
			return;
		}
		case "moving":
		case "settling":
		case "staying":
			return goOn(mover, placement);
	}
}

async function goOn(mover: Mover, placement: Placement): Promise<void> {
	if (placement.state === "staying") return stay(mover, placement);
	const settling = placement.state === "moving" ? await copy(mover, placement) : placement;
	await settle(mover, settling);
}

/** The placement as it leads to the copy. What can not be copied stays where it is. */
async function copy(mover: Mover, moving: Placement): Promise<Placement> {
	const { directory } = mover;
	const { cluster, shard, other } = ends(moving);
	try {
		await copyRows(mover, moving);
	} catch (error) {
		const staying: Placement = { ...moving, state: "staying" };
		if (!(await directory.turn(moving, staying, mover.nowMs()))) throw error;
		await stay(mover, staying);
		throw unavailable(
			`cluster ${cluster} stays on ${shard}: it could not be copied to ${other} (${messageOf(error)})`,
			{ cause: error },
		);
	}
	const settling: Placement = { ...moving, state: "settling", shard: other, other: shard };
	if (await directory.turn(moving, settling, mover.nowMs())) return settling;
	throw conflict(`the move of cluster ${cluster} was finished or given up by another process`);
}

async function copyRows({ shards }: Mover, moving: Placement): Promise<void> {
	const { cluster, shard, other, move } = ends(moving);
	const [from, to] = [await shards.open(shard), await shards.open(other)];
	if (!(await setFence(from, cluster, move))) {
		throw unavailable(`shard ${shard} does not have its rows`);
	}
	for await (const page of readPages(from, cluster)) await insertPage(to, cluster, page, move);
	const [read, written] = [await countRows(from, cluster), await countRows(to, cluster)];
	invariant(
		JSON.stringify(read) === JSON.stringify(written),
		`a copy has every row: ${JSON.stringify(written)} of ${JSON.stringify(read)}`,
	);
}

/** What was copied is opened, what it was copied from goes. */
async function settle({ directory, shards, nowMs }: Mover, settling: Placement): Promise<void> {
	const { cluster, shard, other, move } = ends(settling);
	await liftFence(await shards.open(shard), cluster, move);
	await eraseFenced(await shards.open(other), cluster, move);
	await directory.turn(settling, { state: "active", other: null }, nowMs());
}

/** The other end may be the one that is away: what is left there is behind a fence, and goes with the next move. */
async function stay({ directory, shards, nowMs }: Mover, staying: Placement): Promise<void> {
	const { cluster, shard, other, move } = ends(staying);
	await liftFence(await shards.open(shard), cluster, move);
	await shards
		.open(other)
		.then((database) => eraseFenced(database, cluster, move))
		.catch(() => undefined);
	await directory.turn(staying, { state: "active", other: null }, nowMs());
}

function ends({ cluster, shard, other, move }: Placement) {
	return { cluster, shard, other: must(other, "a cluster that moves has another end"), move };
}
