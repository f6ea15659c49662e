// Gitea and Forgejo. They keep no deployments, so that a commit's status is all there is to say; and that as to GitHub,
// whose interface theirs is modelled on.
//
// https://docs.gitea.com/api/#tag/repository/operation/repoCreateStatus, https://codeberg.org/api/swagger

import type { ForgeApi } from "./forge.ts";
import { github } from "./github.ts";

export const gitea: ForgeApi = {
	name: "Gitea",
	needs: "write:repository",
	base: (host) => `https://${host}/api/v1`,
	headers: ({ token }) => ({ Accept: "application/json", Authorization: `token ${token}` }),
	status: github.status,
};
