// Which forge an application's repository lies in, where its API begins, and what may be reached there at all.
//
// The token is sent there, so it goes over TLS alone; but for the hosts that whoever runs the control plane named.

import { z } from "zod";
import { type ApplicationSpec, forgeKinds } from "../../model/application.ts";
import { invalid } from "../../model/errors.ts";
import { isPrivate, type Reach } from "../webhooks/reach.ts";
import { bitbucket } from "./bitbucket.ts";
import type { ForgeApi } from "./forge.ts";
import { gitea } from "./gitea.ts";
import { github } from "./github.ts";
import { gitlab } from "./gitlab.ts";

export interface Where {
	readonly forge: ForgeApi;
	/** No slash at its end. */
	readonly api: string;
	/** `team/web`. */
	readonly project: string;
	readonly hasDeployments: boolean;
}

const forges: Readonly<Record<(typeof forgeKinds)[number], ForgeApi>> = {
	github,
	gitlab,
	gitea,
	bitbucket,
};

const kindOfHost: Readonly<Record<string, keyof typeof forges>> = {
	"github.com": "github",
	"gitlab.com": "gitlab",
	"codeberg.org": "gitea",
	"gitea.com": "gitea",
	"bitbucket.org": "bitbucket",
};

/** Throws `invalid` where that cannot be told, or may not be reached. */
export function whereOf(spec: Pick<ApplicationSpec, "repository" | "forge">, reach: Reach): Where {
	const { host, path } = partsOf(spec.repository);
	const kind = spec.forge?.kind ?? kindOfHost[host];
	if (!kind) {
		throw invalid(
			`forge.kind: say which forge ${host} is: ${forgeKinds.join(", ")} (gitea is Forgejo too)`,
		);
	}
	const forge = forges[kind];
	const api = (spec.forge?.api || forge.base(host)).replace(/\/+$/, "");
	refuseUnreachable(api, reach);
	const project = spec.forge?.project || path;
	if (!/^[^/\s?#]+(\/[^/\s?#]+)+$/.test(project) || /(^|\/)\.{1,2}(\/|$)/.test(project)) {
		throw invalid(
			`forge.project: ${project || spec.repository} is no OWNER/REPOSITORY: say how ${forge.name} names it`,
		);
	}
	const hasDeployments = spec.forge?.deployments !== false && forge.deployments !== undefined;
	return { forge, api, project, hasDeployments };
}

/** Of `https://host/team/web.git`, `ssh://git@host:22/team/web`, `git@host:team/web.git`. */
function partsOf(repository: string): { readonly host: string; readonly path: string } {
	const url = urlOf(repository);
	const [, named = "", behind = ""] = /^[^@/]+@([^:/]+):(.*)$/.exec(repository) ?? [];
	// A port of ssh says nothing of where the API is.
	const host = (url?.protocol === "ssh:" ? url.hostname : url?.host) ?? named;
	const path = decodeURI(url?.pathname ?? behind)
		.replace(/^\/+|\/+$/g, "")
		.replace(/\.git$/, "");
	return { host: host.toLowerCase(), path };
}

const urlOf = (text: string) => (z.url().safeParse(text).success ? new URL(text) : null);

function refuseUnreachable(api: string, { insecure, isPrivateAllowed }: Reach): void {
	const url = urlOf(api);
	if (!url || url.username || url.password || url.search || url.hash) {
		throw invalid(`forge.api: ${api} is no address such as https://git.example.com/api/v4`);
	}
	if (insecure.includes(url.host) && /^https?:$/.test(url.protocol)) return;
	if (url.protocol !== "https:") {
		throw invalid(
			`forge.api: ${api} would be told the token without TLS: only https://… is, or a host that the control plane's SKEIN_INSECURE_FORGES names`,
		);
	}
	if (!isPrivateAllowed && isPrivate(url.hostname)) {
		throw invalid(`forge.api: ${api} lies in a private network, which is not reached from here`);
	}
}
