// Dice that fall the same way for the same seed. Each subsystem has its own, so that a change in one does not
// reshuffle the others.

export interface Dice {
	/** In [0, 1). */
	next(): number;
	/** True with that probability. */
	chance(probability: number): boolean;
	/** From `least` to `most`, both included. */
	between(least: number, most: number): number;
	pick<Item>(items: readonly Item[]): Item;
	id(): string;
}

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";

export function diceOf(seed: number, name: string): Dice {
	let state = hash(`${seed}/${name}`);
	// mulberry32: 32 bits of state are enough for a run of minutes.
	const next = () => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
	const between = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
	return {
		next,
		chance: (probability) => next() < probability,
		between,
		pick: (items) => items[between(0, items.length - 1)] as (typeof items)[number],
		id: () => Array.from({ length: 25 }, () => alphabet[between(0, 35)]).join(""),
	};
}

/** FNV-1a, spread once more so that neighbouring seeds have nothing in common. */
function hash(text: string): number {
	let value = 0x811c9dc5;
	for (let at = 0; at < text.length; at++) {
		value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
	}
	value = Math.imul(value ^ (value >>> 16), 0x45d9f3b);
	return value ^ (value >>> 16);
}
