// What a bench says: one figure to a row.

export interface Row {
	/** `tasks placed, 5 000 nodes` */
	readonly what: string;
	readonly value: number;
	/** `tasks/s`, `µs`, `MiB` */
	readonly unit: string;
	/** What one has to know to read the figure. */
	readonly note?: string;
}

/** The middle of the times, in µs: the odd slow run, a collection of garbage or a neighbour, does not count. */
export async function medianUs(runs: number, once: () => unknown): Promise<number> {
	const times: number[] = [];
	for (let run = 0; run < runs; run++) {
		const startedNs = Bun.nanoseconds();
		await once();
		times.push((Bun.nanoseconds() - startedNs) / 1000);
	}
	return times.sort((a, b) => a - b)[runs >> 1] ?? Number.NaN;
}
