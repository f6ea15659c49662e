// The cluster has been taken over by another control plane, as the assignment says: this node asks there, with the
// credential that it has, and once it is known there it belongs there. Until then it stays where it is.
//
// Nothing that runs is touched: the agent is started again and finds its ledger as it was.

import type { Assignment } from "../model/assignment.ts";
import { messageOf } from "../model/errors.ts";

export interface MoveWorld {
	readonly url: string;
	/** As it was accepted last. */
	assignment(): Assignment | undefined;
	/** Whether the control plane at that address knows this node. Rejects when it does not answer. */
	isKnownAt(url: string): Promise<boolean>;
	sleep(ms: number, signal: AbortSignal): Promise<void>;
	log(line: string): void;
}

/** An import may be on its way: soon enough to be at once for people, seldom enough for whoever is asked in vain. */
const lookMs = 5_000;

/** The address to go to; undefined when the signal ends the wait for one. */
export async function movedTo(world: MoveWorld, signal: AbortSignal): Promise<string | undefined> {
	let said = "";
	for (; !signal.aborted; await world.sleep(lookMs, signal)) {
		const to = world.assignment()?.movedTo;
		if (to === undefined || to === world.url) continue;
		const trouble = await world
			.isKnownAt(to)
			.then((known) => (known ? undefined : "this node is not known there"), messageOf);
		if (signal.aborted) return undefined;
		if (trouble === undefined) {
			world.log(`the cluster has moved to ${to}: this node goes there`);
			return to;
		}
		const words = `the cluster has moved to ${to}, but ${trouble}: this node stays at ${world.url} for now`;
		if (words !== said) world.log(words);
		said = words;
	}
	return undefined;
}
