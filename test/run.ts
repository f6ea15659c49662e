// `npm test`: all of it, in the order and number that two cores bear. A phase that fails does not keep the next from being
// seen. With arguments: those files alone, as `bun test` takes them.

/**
 * One of these has its turn with each commit, since all of them together take longer than people wait for CI; all with
 * `SKEIN_LONG=all`. What they show is shown in small elsewhere: the edge, each engine, each fault of a network.
 */
const long = [
	"test/e2e/edge.test.ts",
	"test/e2e/images.test.ts",
	"test/e2e/jobs.test.ts",
	"test/e2e/machines.test.ts",
	"test/e2e/move.test.ts",
	"test/e2e/placement.test.ts",
	"test/e2e/proof.test.ts",
	"test/e2e/remote.test.ts",
	"test/e2e/update.test.ts",
	"test/netns/mesh-engines.test.ts",
];
/** They count what is lost in a second: not beside three others. */
const timed = ["test/e2e/outage.test.ts", "test/e2e/rollout.test.ts"];
/** Emulates a processor, which takes the whole machine. */
const alone = ["test/e2e/machines.test.ts"];

const commits = Bun.which("git")
	? Bun.spawnSync(["git", "rev-list", "--count", "HEAD"]).stdout.toString()
	: "";
const waiting =
	process.env["SKEIN_LONG"] === "all" ? [] : long.toSpliced(Number(commits) % long.length, 1);
const later = [...timed, ...alone];
const files = (of: readonly string[]) => of.filter((file) => !waiting.includes(file));

const given = process.argv.slice(2);
const phases =
	given.length > 0
		? [given]
		: [
				["--parallel=3", "--path-ignore-patterns", `{${[...waiting, ...later].join(",")}}`],
				["--parallel=2", ...files(timed)],
				...files(alone).map((file) => [file]),
			];
let worst = 0;
for (const phase of phases) {
	const child = Bun.spawn([process.execPath, "test", "--timeout", "60000", ...phase], {
		stdio: ["inherit", "inherit", "inherit"],
	});
	worst = Math.max(worst, await child.exited);
}
process.exit(worst);
