// GitLab, in the cloud and on a server of one's own.
//
// https://docs.gitlab.com/api/commits/#set-commit-pipeline-status, https://docs.gitlab.com/api/deployments/

import { z } from "zod";
import type { ForgeApi, Saying } from "./forge.ts";

const commitStates = {
	queued: "pending",
	running: "running",
	succeeded: "success",
	failed: "failed",
	stopped: "canceled",
	removed: "success",
} as const satisfies Record<Saying["state"], string>;

/** A deployment that waits has no state of its own there. */
const deploymentStates = {
	queued: "running",
	running: "running",
	succeeded: "success",
	failed: "failed",
	stopped: "canceled",
	removed: "success",
} as const satisfies Record<Saying["state"], string>;

const listed = z.array(z.object({ id: z.int(), sha: z.string(), status: z.string() }));

const pathOf = (project: string) => `/projects/${encodeURIComponent(project)}`;

export const gitlab: ForgeApi = {
	name: "GitLab",
	needs: "the scope api and the role Developer",
	base: (host) => `https://${host}/api/v4`,
	headers: ({ token }) => ({ Accept: "application/json", "PRIVATE-TOKEN": token }),
	status: (project, { state, description, context, commit, url, log, ref }) => ({
		method: "POST",
		path: `${pathOf(project)}/statuses/${commit}`,
		body: {
			state: commitStates[state],
			name: context,
			description,
			...(ref && { ref }),
			...((url || log) && { target_url: url || log }),
		},
	}),
	// What is said twice is refused there: `Cannot transition status via :run from :running`.
	isKnown: (text) =>
		text.includes("Cannot transition status") || text.includes("cannot transition"),
	deployments: {
		find: (project, { environment }) => ({
			method: "GET",
			path: `${pathOf(project)}/deployments?${new URLSearchParams({ environment, status: "running", order_by: "id", sort: "desc", per_page: "20" })}`,
		}),
		found(answer, { commit }) {
			const known = listed.safeParse(answer).data?.find(({ sha }) => sha === commit);
			return known && String(known.id);
		},
		make: (project, { state, environment, commit, ref, isTag }) => ({
			method: "POST",
			path: `${pathOf(project)}/deployments`,
			body: {
				environment,
				sha: commit,
				ref: ref || commit,
				tag: isTag,
				status: deploymentStates[state],
			},
		}),
		isSaidByMaking: true,
		state(project, id, { state }) {
			const status = deploymentStates[state];
			if (status === "running" || state === "removed") return null;
			return { method: "PUT", path: `${pathOf(project)}/deployments/${id}`, body: { status } };
		},
	},
};
