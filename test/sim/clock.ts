// Virtual time: it jumps to the next event, and what that set off runs to its end before the one after.
//
// Between two events nothing is left to chance: promises settle in the order in which they were made to, as long as
// every timer and every answer of the world comes from here.

import { drainMicrotasks } from "bun:jsc";
import { heapOf } from "../../control-plane/manager/scheduler/heap.ts";

export interface Clock {
	nowMs(): number;
	/** Events of one instant happen in the order in which they were asked for. What it returns calls the event off. */
	after(delayMs: number, event: () => void): () => void;
	/** Runs the next event and all that follows from it at once; false when there is none before `untilMs`. */
	step(untilMs: number): boolean;
}

/** Not zero: a time of 0 means "never" in several fields. */
const startMs = 1_000_000;

export function clock(): Clock {
	interface Event {
		readonly atMs: number;
		readonly turn: number;
		run: (() => void) | undefined;
	}
	const events = heapOf<Event>([], (a, b) =>
		a.atMs === b.atMs ? a.turn < b.turn : a.atMs < b.atMs,
	);
	let [nowMs, turns] = [startMs, 0];
	return {
		nowMs: () => nowMs,
		after(delayMs, run) {
			const atMs = nowMs + Math.max(0, Math.round(delayMs));
			const event: Event = { atMs, turn: turns++, run };
			events.push(event);
			return () => {
				event.run = undefined;
			};
		},
		step(untilMs) {
			const event = events.peek();
			if (!event || event.atMs > untilMs) {
				nowMs = untilMs;
				return false;
			}
			events.pop();
			if (!event.run) return true;
			nowMs = event.atMs;
			event.run();
			drainMicrotasks();
			return true;
		},
	};
}
