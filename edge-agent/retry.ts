// When to try again what the control plane did not answer: pure.
//
// All agents lose it in the same instant. So each waits for any part of a time that doubles up to a ceiling: after a long
// outage they come back spread over as long as the ceiling is, half of them in its first third, and nobody later.

/** What is back at once, as a proxy that was reloaded, has all of them within it. */
const firstMs = 1_000;
/** About as long as a poll is held: agents that come back ask no more than those that are there. */
const longestMs = 5_000;

/** @param failures since it last worked, from 1. @param random from 0 to 1. */
export function retryInMs(failures: number, random: number): number {
	return random * Math.min(longestMs, firstMs * 2 ** (failures - 1));
}
