// GitHub, in the cloud and on a server of one's own.
//
// https://docs.github.com/en/rest/commits/statuses, https://docs.github.com/en/rest/deployments/deployments,
// https://docs.github.com/en/rest/deployments/statuses

import { z } from "zod";
import type { ForgeApi, Saying } from "./forge.ts";

const commitStates = {
	queued: "pending",
	running: "pending",
	succeeded: "success",
	failed: "failure",
	// Neither good nor bad: something else came in between.
	stopped: "error",
	removed: "success",
} as const satisfies Record<Saying["state"], string>;

const deploymentStates = {
	queued: "queued",
	running: "in_progress",
	succeeded: "success",
	failed: "failure",
	stopped: "inactive",
	// Of a transient environment GitHub shows that as destroyed.
	removed: "inactive",
} as const satisfies Record<Saying["state"], string>;

const listed = z.array(
	z.object({ id: z.int(), payload: z.unknown() }).transform(({ id, payload }) => ({
		id: String(id),
		// Old servers give it as text.
		payload: JSON.stringify(payload),
	})),
);

const task = "deploy";

export const github: ForgeApi = {
	name: "GitHub",
	needs: "“Commit statuses” and “Deployments”, to read and write (of a classic token: repo)",
	base: (host) => (host === "github.com" ? "https://api.github.com" : `https://${host}/api/v3`),
	headers: ({ token }) => ({
		Accept: "application/vnd.github+json",
		Authorization: `Bearer ${token}`,
		"X-GitHub-Api-Version": "2022-11-28",
	}),
	status: (project, { state, description, context, commit, url, log }) => ({
		method: "POST",
		path: `/repos/${project}/statuses/${commit}`,
		body: {
			state: commitStates[state],
			description,
			context,
			...((url || log) && { target_url: url || log }),
		},
	}),
	deployments: {
		find: (project, { commit, environment }) => ({
			method: "GET",
			path: `/repos/${project}/deployments?${new URLSearchParams({ sha: commit, task, environment, per_page: "100" })}`,
		}),
		found: (answer, { deployment }) =>
			listed.safeParse(answer).data?.find(({ payload }) => payload.includes(deployment))?.id,
		make: (project, { commit, environment, description, deployment, isTransient }) => ({
			method: "POST",
			path: `/repos/${project}/deployments`,
			body: {
				ref: commit,
				task,
				// It is being deployed already: nothing is to be merged before, and no check awaited.
				auto_merge: false,
				required_contexts: [],
				payload: { skein: deployment },
				environment,
				description,
				transient_environment: isTransient,
				production_environment: environment.endsWith("/production"),
			},
		}),
		isSaidByMaking: false,
		state: (project, id, { state, description, url, log, environment }) => ({
			method: "POST",
			path: `/repos/${project}/deployments/${id}/statuses`,
			body: {
				state: deploymentStates[state],
				description,
				environment,
				auto_inactive: true,
				...(url && { environment_url: url }),
				...(log && { log_url: log }),
			},
		}),
	},
};
