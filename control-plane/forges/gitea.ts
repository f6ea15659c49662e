// Gitea and Forgejo. They keep no deployments, so that a commit's status is all there is to say.
//
// https://docs.gitea.com/api/#tag/repository/operation/repoCreateStatus, https://codeberg.org/api/swagger

import type { ForgeApi, Saying } from "./forge.ts";

const states = {
	queued: "pending",
	running: "pending",
	succeeded: "success",
	failed: "failure",
	stopped: "error",
	removed: "success",
} as const satisfies Record<Saying["state"], string>;

export const gitea: ForgeApi = {
	name: "Gitea",
	needs: "write:repository",
	base: (host) => `https://${host}/api/v1`,
	headers: ({ token }) => ({ Accept: "application/json", Authorization: `token ${token}` }),
	status: (project, { state, description, context, commit, url, log }) => ({
		method: "POST",
		path: `/repos/${project}/statuses/${commit}`,
		body: {
			state: states[state],
			description,
			context,
			...((url || log) && { target_url: url || log }),
		},
	}),
};
