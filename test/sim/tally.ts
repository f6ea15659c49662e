// How often what happened, over many lives: nobody should take an idle simulator for one that holds.

export interface Tally {
	add(counts: ReadonlyMap<string, number>): void;
	/** By name: how often in all, and in how many lives. */
	readonly of: ReadonlyMap<string, { readonly times: number; readonly lives: number }>;
}

export function tally(): Tally {
	const of = new Map<string, { times: number; lives: number }>();
	return {
		of,
		add(counts) {
			for (const [what, times] of counts) {
				const known = of.get(what) ?? { times: 0, lives: 0 };
				of.set(what, { times: known.times + times, lives: known.lives + 1 });
			}
		},
	};
}

export function table({ of }: Tally): string {
	const rows = [...of].sort(([, a], [, b]) => b.times - a.times);
	return rows
		.map(
			([what, { times, lives }]) =>
				`${String(times).padStart(8)}  in ${String(lives).padStart(4)} lives  ${what}`,
		)
		.join("\n");
}
