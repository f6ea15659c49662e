// `npm test`: in the order and number that two cores bear, and in the half hour that people wait for CI. A phase that fails
// does not keep the next from being seen. With arguments: those files alone, as `bun test` takes them.
//
// Of two lists one file has its turn with each commit; all with `SKEIN_LONG=all`.

/** What they show is shown in small elsewhere: the edge, each engine, each fault of a network. */
const long = [
	"test/app/bells.test.ts",
	"test/app/told.test.ts",
	"test/e2e/edge.test.ts",
	"test/e2e/images.test.ts",
	"test/e2e/jobs.test.ts",
	"test/e2e/move.test.ts",
	"test/e2e/placement.test.ts",
	"test/e2e/proof.test.ts",
	"test/e2e/remote.test.ts",
	"test/e2e/secrets.test.ts",
	"test/e2e/sqld.test.ts",
	"test/e2e/update.test.ts",
	"test/netns/mesh-engines.test.ts",
];
/** They take the machine for themselves: two count what is lost in a second, one emulates a processor. */
const alone = ["test/e2e/machines.test.ts", "test/e2e/outage.test.ts", "test/e2e/rollout.test.ts"];

const commits = Number(
	Bun.which("git") && Bun.spawnSync(["git", "rev-list", "--count", "HEAD"]).stdout.toString(),
);
const hasAll = process.env["SKEIN_LONG"] === "all";
const waiting = hasAll ? [] : long.toSpliced(commits % long.length, 1);
const later = hasAll ? alone : alone.slice(commits % alone.length).slice(0, 1);

const given = process.argv.slice(2);
const phases =
	given.length > 0
		? [given]
		: [
				["--parallel=3", "--path-ignore-patterns", `{${[...waiting, ...alone].join(",")}}`],
				...later.map((file) => [file]),
			];
let worst = 0;
for (const phase of phases) {
	const child = Bun.spawn([process.execPath, "test", "--timeout", "60000", ...phase], {
		stdio: ["inherit", "inherit", "inherit"],
	});
	worst = Math.max(worst, await child.exited);
}
process.exit(worst);
