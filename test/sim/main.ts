// `npm run sim -- --seed N [--seeds COUNT]`: plays that many seeds from N on; tells the story of the first that fails.

import { parseArgs } from "node:util";
import { table, tally } from "./tally.ts";
import { Failed, run } from "./world.ts";

const { values } = parseArgs({
	options: {
		seed: { type: "string", default: "1" },
		seeds: { type: "string", default: "1" },
		/** Tells the story of a seed that holds, too. */
		story: { type: "boolean", default: false },
		/** Goes on after a seed that fails, and names them all. */
		all: { type: "boolean", default: false },
	},
});
const [first, count] = [Number(values.seed), Number(values.seeds)];
const startedMs = performance.now();
const totals = { revisions: 0, tasks: 0, worstMs: 0, failed: 0 };
const counts = tally();

for (let seed = first; seed < first + count; seed++) {
	try {
		const played = run(seed);
		totals.revisions += played.revisions;
		totals.tasks += played.tasks;
		totals.worstMs = Math.max(totals.worstMs, played.convergedMs);
		counts.add(played.counts);
		if (values.story) console.log(played.story.join("\n"));
	} catch (error) {
		if (!(error instanceof Failed)) throw error;
		totals.failed++;
		if (!values.all) console.log(error.story.join("\n"));
		console.error(`\n${error.message}`);
		if (!(error.cause instanceof Error && error.cause.name === "Broken"))
			console.error(error.cause);
		if (values.all) continue;
		console.error(`\nagain: npm run sim -- --seed ${seed}`);
		process.exit(1);
	}
}

const seconds = (performance.now() - startedMs) / 1000;
console.log(table(counts));
console.log(
	`${count - totals.failed} of ${count} seeds hold: ${totals.revisions} revisions, ${(count / seconds).toFixed(1)} seeds/s, ` +
		`converged within ${(totals.worstMs / 1000).toFixed(0)} s of virtual time`,
);
if (totals.failed > 0) process.exit(1);
