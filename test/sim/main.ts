// `npm run sim -- --seed N [--seeds COUNT]`: plays that many seeds from N on; tells the story of the first that fails.

import { parseArgs } from "node:util";
import { Failed, run } from "./world.ts";

const { values } = parseArgs({
	options: {
		seed: { type: "string", default: "1" },
		seeds: { type: "string", default: "1" },
		/** Tells the story of a seed that holds, too. */
		story: { type: "boolean", default: false },
	},
});
const [first, count] = [Number(values.seed), Number(values.seeds)];
const startedMs = performance.now();
const totals = { revisions: 0, tasks: 0, worstMs: 0 };

for (let seed = first; seed < first + count; seed++) {
	try {
		const { revisions, tasks, convergedMs, story } = run(seed);
		totals.revisions += revisions;
		totals.tasks += tasks;
		totals.worstMs = Math.max(totals.worstMs, convergedMs);
		if (values.story) console.log(story.join("\n"));
	} catch (error) {
		if (!(error instanceof Failed)) throw error;
		console.log(error.story.join("\n"));
		console.error(`\n${error.message}`);
		if (!(error.cause instanceof Error && error.cause.name === "Broken"))
			console.error(error.cause);
		console.error(`\nagain: npm run sim -- --seed ${seed}`);
		process.exit(1);
	}
}

const seconds = (performance.now() - startedMs) / 1000;
console.log(
	`${count} seeds hold: ${totals.revisions} revisions, ${(count / seconds).toFixed(1)} seeds/s, ` +
		`converged within ${(totals.worstMs / 1000).toFixed(0)} s of virtual time`,
);
