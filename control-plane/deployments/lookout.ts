// The net under lost deliveries: now and then each repository is asked where its branches are.
//
// A branch that an environment names in full, and that is where nobody told us of, is deployed as if it had been pushed
// just now. Only applications that were deployed before are looked after: the first time is their owner's to choose.

import type { Application } from "../../model/application.ts";
import type { Change } from "../../model/change.ts";
import { messageOf } from "../../model/errors.ts";
import type { Commit } from "../../model/git.ts";
import type { Snapshot } from "../../model/snapshot.ts";
import type { ClusterDoor, Delivery } from "../cluster.ts";
import { isGlob } from "../webhooks/glob.ts";
import type { RefsOf } from "../webhooks/refs.ts";
import { newDeployment, nextNumber } from "./deliver.ts";
import { readSecrets } from "./secrets.ts";

/** So often, in ms. */
export const lookEveryMs = 300_000;

/** @param say what could not be asked, and why */
export async function lookForPushes(
	door: ClusterDoor,
	say: (line: string) => void,
	refsOf: RefsOf,
): Promise<void> {
	for (const application of (await door.snapshot()).applications.values()) {
		try {
			await lookAt(door, application, refsOf);
		} catch (error) {
			say(`application ${application.spec.name}: ${messageOf(error)}`);
		}
	}
}

async function lookAt(door: ClusterDoor, application: Application, refsOf: RefsOf) {
	const { repository, environments } = application.spec;
	const isAsked = environments.some(
		({ branches, previews }) => !previews && branches.some((each) => !isGlob(each)),
	);
	if (!isAsked || !repository.startsWith("https://")) return;
	if (!wasDeployed(await door.snapshot(), application)) return;
	const { login } = await readSecrets(door.contents, application);
	const refs = await refsOf(
		repository,
		login ? { username: login.user, password: login.password } : null,
	);
	const told = commitsOf(await door.inbox.list(application.id));
	await door.commit((snapshot, moment) => {
		let number = nextNumber(snapshot, application);
		const changes: Change[] = [];
		for (const { environment, ref, commit } of missed(snapshot, application, refs, told)) {
			const deployment = newDeployment(moment, application, {
				environment,
				number: number++,
				cause: { kind: "poll" },
				commit,
				ref,
				message: "",
				author: "",
			});
			changes.push({ kind: "put-deployment", deployment });
		}
		return { changes, result: undefined };
	});
}

const wasDeployed = ({ deployments }: Snapshot, { id }: Application) =>
	[...deployments.values()].some(({ application }) => application === id);

const commitsOf = (deliveries: readonly Delivery[]): ReadonlySet<Commit> =>
	new Set(
		deliveries
			.flatMap(({ events }) => events)
			.flatMap((event) => (event.kind === "push" && event.commit ? [event.commit] : [])),
	);

function missed(
	snapshot: Snapshot,
	{ id, spec }: Application,
	refs: ReadonlyMap<string, Commit>,
	told: ReadonlySet<Commit>,
) {
	const pushed = spec.environments.filter(({ previews }) => !previews);
	return pushed.flatMap(({ name: environment, branches }) =>
		branches.flatMap((branch) => {
			const ref = `refs/heads/${branch}`;
			const commit = refs.get(ref);
			if (isGlob(branch) || !commit || told.has(commit)) return [];
			const isKnown = [...snapshot.deployments.values()].some(
				(each) =>
					each.application === id && each.environment === environment && each.commit === commit,
			);
			return isKnown ? [] : [{ environment, ref, commit }];
		}),
	);
}
