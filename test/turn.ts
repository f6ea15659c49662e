// Which of the longest test files has its turn: one with each commit, since all of them together take longer than people
// wait for CI. `SKEIN_LONG=all` plays all of them. Prints the others, as the pattern that `npm test` leaves out.

/** What they show is shown in small elsewhere: another kernel, the edge, each engine, each fault of a network. */
export const long = [
	"test/e2e/edge.test.ts",
	"test/e2e/images.test.ts",
	"test/e2e/machines.test.ts",
	"test/e2e/move.test.ts",
	"test/e2e/placement.test.ts",
	"test/e2e/proof.test.ts",
	"test/e2e/remote.test.ts",
	"test/e2e/update.test.ts",
	"test/netns/mesh-engines.test.ts",
];

const commits = Bun.which("git")
	? Bun.spawnSync(["git", "rev-list", "--count", "HEAD"]).stdout.toString()
	: "";
const waiting =
	process.env["SKEIN_LONG"] === "all" ? [] : long.toSpliced(Number(commits) % long.length, 1);
console.log(`{${["nothing", ...waiting].join(",")}}`);
