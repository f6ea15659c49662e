// Bitbucket tells the first twelve digits of a pull request's commit. The whole of it is in what it told of the push, or
// in the repository.

import type { Application } from "../../model/application.ts";
import { messageOf } from "../../model/errors.ts";
import type { Commit, GitEvent } from "../../model/git.ts";
import type { ClusterDoor, Delivery } from "../cluster.ts";
import type { RefsOf } from "../webhooks/refs.ts";
import { patternOf } from "./previews.ts";
import { readSecrets } from "./secrets.ts";

const shortest = 40;

/** The same, with whole commits; what nobody could tell in full is `other`, and says why. */
export function withWholeCommits(
	door: ClusterDoor,
	application: Application,
	events: readonly GitEvent[],
	refsOf: RefsOf,
): Promise<readonly GitEvent[]> {
	return Promise.all(
		events.map(async (event): Promise<GitEvent> => {
			if (event.kind !== "pull-request" || event.commit.length >= shortest) return event;
			if (event.action === "closed" || !patternOf(application.spec)) return event;
			const what = `pull request ${event.number} at ${event.commit}`;
			try {
				const commit = await wholeOf(door, application, event, refsOf);
				if (commit) return { ...event, commit };
				return { kind: "other", event: `${what}, which its branch does not lead to any more` };
			} catch (error) {
				return {
					kind: "other",
					event: `${what}, of which nobody tells the rest: ${messageOf(error)}`,
				};
			}
		}),
	);
}

async function wholeOf(
	door: ClusterDoor,
	application: Application,
	{ branch, commit }: { readonly branch: string; readonly commit: Commit },
	refsOf: RefsOf,
): Promise<Commit | undefined> {
	const ref = `refs/heads/${branch}`;
	const deliveries: readonly Delivery[] = await door.inbox.list(application.id);
	for (const event of deliveries.flatMap(({ events }) => events)) {
		if (event.kind === "push" && event.ref === ref && event.commit?.startsWith(commit)) {
			return event.commit;
		}
	}
	const { login } = await readSecrets(door.contents, application);
	const refs = await refsOf(
		application.spec.repository,
		login ? { username: login.user, password: login.password } : null,
	);
	const found = refs.get(ref);
	return found?.startsWith(commit) ? found : undefined;
}
