// Which of the clusters in a caller's reach a request is for: the one that it names, or the only one there is.
//
// It may be named by the host (`acme.docker.example.com`), by the path (`/c/acme/…`, behind which a cluster's routes are
// as they are at `/`), or by a header, which the docker CLI can be told to send over a unix socket too. Routes of our own
// that are about one cluster name it themselves (`/api/clusters/acme/keys/rotate`). A name out of reach is answered as one
// that nobody has.

import { getPath } from "hono/utils/url";
import { invalid, notFound, unavailable } from "../model/errors.ts";
import type { ClusterSummary, FoundClusters } from "./cluster.ts";

export const clusterHeader = "Skein-Cluster";

/** Where a cluster's name stands in `/api/clusters/…`. */
export const reservedNames: readonly string[] = ["import"];

const prefix = /^\/c\/([a-z0-9-]+)(?=\/|$)/;
/** Where it lies is its operator's business, in whose reach it need not be. */
const ofCluster = /^\/api\/clusters\/([a-z0-9-]+)(?=\/(?!shard$)|$)/;
const ofNone =
	/^\/(agent|webhooks|install|install\.sh|cli\.sh|metrics)(\/|$)|^\/api\/(?!(services|tunnel|applications)(\/|$))/;

/** The path without the cluster in front of it: what is routed by. */
export function routedPath(request: Request): string {
	return getPath(request).replace(prefix, "") || "/";
}

export function namedByPath(request: Request): string | undefined {
	return prefix.exec(getPath(request))?.[1];
}

/** Whether what is asked for there lies in no cluster. */
export const isOfNone = (path: string) => ofNone.test(path);

/** @param dockerHost what follows the cluster's name in a host, `docker.example.com`, where that is known */
export function namedIn(request: Request, dockerHost: string | undefined): string | undefined {
	const path = routedPath(request);
	if (isOfNone(path)) {
		const name = ofCluster.exec(path)?.[1];
		return name === undefined || reservedNames.includes(name) ? undefined : name;
	}
	return (
		namedByPath(request) ?? request.headers.get(clusterHeader) ?? namedByHost(request, dockerHost)
	);
}

export function namedByHost(request: Request, dockerHost: string | undefined): string | undefined {
	if (dockerHost === undefined) return undefined;
	const { hostname } = new URL(request.url);
	const suffix = `.${dockerHost}`;
	if (!hostname.endsWith(suffix)) return undefined;
	const label = hostname.slice(0, -suffix.length);
	return /^[a-z0-9-]+$/.test(label) ? label : undefined;
}

/** Unavailable when it is the one that is just being made: that there is none would not be true for long. */
export function choose(
	named: string | undefined,
	{ there, beingMade }: FoundClusters,
): ClusterSummary | undefined {
	if (named === undefined) {
		if (there.length > 1) throw severalInReach(there);
		const [only] = there;
		const [awaited] = beingMade;
		if (!only && awaited) throw tooEarly(awaited);
		return only;
	}
	const called = (all: readonly ClusterSummary[]) =>
		all.find(({ name }) => name === named) ?? all.find(({ id }) => id === named);
	const found = called(there);
	if (found) return found;
	const awaited = called(beingMade);
	if (awaited) throw tooEarly(awaited);
	throw notFound(`no such cluster: ${named}`);
}

const tooEarly = ({ name }: ClusterSummary) =>
	unavailable(`the cluster ${name} is being made: try again in a moment`, {
		retryAfterSeconds: 1,
	});

function severalInReach(inReach: readonly ClusterSummary[]) {
	const names = inReach.map(({ name }) => name).join(", ");
	return invalid(
		`which cluster? There are ${names}. Name one: by a host NAME.docker.HOST, a path that begins with /c/NAME, ` +
			`or the header ${clusterHeader} (with docker 27.1 or later: export DOCKER_CUSTOM_HEADERS='${clusterHeader}=NAME'; ` +
			`with any: {"HttpHeaders": {"${clusterHeader}": "NAME"}} in config.json)`,
	);
}
