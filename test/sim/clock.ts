// Virtual time: it jumps to the next event.

import { heapOf } from "../../control-plane/manager/scheduler/heap.ts";

export interface Clock {
	nowMs(): number;
	/** Events of one instant happen in the order in which they were asked for. */
	after(delayMs: number, event: () => void): void;
	/** Runs the next event; false when there is none before `untilMs`. */
	step(untilMs: number): boolean;
}

/** Not zero: a time of 0 means "never" in several fields. */
const startMs = 1_000_000;

export function clock(): Clock {
	interface Event {
		readonly atMs: number;
		readonly turn: number;
		readonly run: () => void;
	}
	const events = heapOf<Event>([], (a, b) =>
		a.atMs === b.atMs ? a.turn < b.turn : a.atMs < b.atMs,
	);
	let [nowMs, turns] = [startMs, 0];
	return {
		nowMs: () => nowMs,
		after(delayMs, run) {
			events.push({ atMs: nowMs + Math.max(0, Math.round(delayMs)), turn: turns++, run });
		},
		step(untilMs) {
			const event = events.peek();
			if (!event || event.atMs > untilMs) {
				nowMs = untilMs;
				return false;
			}
			events.pop();
			nowMs = event.atMs;
			event.run();
			return true;
		},
	};
}
