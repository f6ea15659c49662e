import { describe, expect, test } from "bun:test";
import { bugs } from "./bugs.ts";
import { table, tally } from "./tally.ts";
import { Failed, run } from "./world.ts";

/** Small clusters, half a minute of trouble each: what a thousand of them do not find, `npm run sim` may. */
const seeds = 1000;

/** A simulator in which nothing happens keeps every promise too: each of these is part of one life in fifty or more. */
const usual = [
	"a call to the database fails",
	"a container breaks",
	"a decision comes second",
	"a job's run is complete",
	"a job's run is failed",
	"a job's slot completes",
	"a machine is cut off from everybody",
	"a machine is cut off from its peers",
	"a machine is cut off from the control plane",
	"a machine is lost for good",
	"a machine reboots",
	"a message is late",
	"a message is lost",
	"a node is down",
	"a node is down by its peers' word",
	"a node joins",
	"a poll is answered from before",
	"a process of the control plane is killed",
	"a pull fails",
	"a report comes twice",
	"a roll-back ends where it began",
	"a rollout fails and is rolled back",
	"a rollout is completed",
	"a rollout is paused",
	"a rollout is updating",
	"a start fails",
	"a stop is let through",
	"a task is written off",
	"a task serves",
	"an address is given up",
	"an agent is killed",
	"an assignment is refused as older",
	"an old description comes again",
	"an engine is restarted",
	"docker config update",
	"docker node rm",
	"docker node update",
	"docker service create",
	"docker service create --mode job",
	"docker service rm",
	"docker service rollback",
	"docker service scale",
	"docker service update",
	"docker service update --force of a job",
	"the whole control plane is killed",
];

test(`${seeds} seeds hold every promise`, () => {
	const counts = tally();
	for (let seed = 1; seed <= seeds; seed++) counts.add(run(seed).counts);
	console.log(table(counts));
	const rare = usual.filter((what) => (counts.of.get(what)?.lives ?? 0) < seeds / 50);
	expect(rare).toEqual([]);
}, 600_000);

test("one seed, one story", () => {
	// From one place in the code: a story may tell where in it something was thrown.
	const [once, again] = [7, 7].map((seed) => run(seed).story);
	expect(again).toEqual(once);
});

/** Where the rarest were last found: looked at first, since a hundred lives of each take long. */
const lastFound = [30, 88, 29, 39];

describe("a bug is found", () => {
	const within = 100;
	test.each(bugs)(
		"$name",
		({ bugs }) => {
			const found = [...lastFound, ...Array.from({ length: within }, (_, at) => at + 1)].find(
				(seed) => {
					try {
						run(seed, bugs);
						return false;
					} catch (error) {
						if (!(error instanceof Failed)) throw error;
						console.log(error.message.slice(0, 300));
						return true;
					}
				},
			);
			expect(found).toBeDefined();
		},
		120_000,
	);
});
