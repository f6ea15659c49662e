// `docker skein context` and `clusters`: which clusters there are, and docker contexts that lead to them.

import { messageOf } from "../../model/errors.ts";
import { Complaint } from "../complaint.ts";
import { contextOf, putContext, refuseName, removeContext } from "../contexts.ts";
import { type Cluster, clustersOf, originOf } from "../endpoint.ts";
import { isOf, type Login, readLogins, writeLogins } from "../logins.ts";
import { ensureRunning } from "../running.ts";
import { type Terminal, table } from "../terminal.ts";
import type { Command, Given } from "./command.ts";

interface Found extends Cluster {
	readonly login: Login;
}

export const context: Command = {
	usage: "context [CLUSTER...] [--name NAME] [--url URL]",
	summary: "Make a docker context of each cluster, or of those named",
	help: `A context leads to a socket on this machine that adds your credential, so that plain docker goes to the cluster:

  docker --context acme service ls

Of all clusters of all your organizations unless some are named; then contexts of clusters that are gone are removed too.
Where several have the name, put the organization's before it: acme/shop.

Options:
  --name NAME   call the context so, where one cluster is named (the cluster's own name unless told;
                a cluster called default gets the context skein, since docker keeps that name for itself)
  --url URL     clusters of this control plane only`,
	options: { name: { type: "string" }, url: { type: "string" } },
	words: [0, 100],
	async run(terminal, names, { name, url }) {
		const { places } = terminal;
		const logins = await readLogins(places);
		const { found, answered } = await reach(terminal, logins, url);
		const chosen = names.length === 0 ? found : names.map((each) => oneCluster(found, each));
		if (name !== undefined && chosen.length !== 1) {
			throw new Complaint("--name: name one cluster with it");
		}
		const wanted = chosen.map((cluster) => ({
			cluster,
			name: typeof name === "string" ? name : nameFor(cluster, chosen),
		}));
		for (const each of wanted) {
			refuseName(each.name);
			refuseTaken(logins, each.cluster, each.name);
		}
		for (const { cluster, name } of wanted) {
			cluster.login.contexts[name] = { cluster: cluster.name, endpoint: cluster.endpoint };
		}
		if (names.length === 0) await forgetGone();
		await writeLogins(places, logins);
		const said: string[] = [];
		for (const { cluster, name } of wanted) {
			const words = `Skein cluster ${cluster.name} at ${cluster.login.url}`;
			const what = await putContext(terminal.docker, places, name, words);
			said.push(
				`${name}: ${what === "made" ? "made" : "is there"}. docker --context ${name} service ls`,
			);
		}
		await ensureRunning(places, terminal.program);
		for (const line of said) terminal.say(line);
		if (said.length === 0) terminal.say("there is no cluster in your reach yet");

		async function forgetGone(): Promise<void> {
			for (const login of answered) {
				for (const [name, { cluster }] of Object.entries(login.contexts)) {
					if (found.some((each) => each.login === login && each.name === cluster)) continue;
					delete login.contexts[name];
					await removeContext(terminal.docker, places, name);
					terminal.say(
						`${name}: removed, since the cluster ${cluster} is not in your reach any more`,
					);
				}
			}
		}
	},
};

export const clusters: Command = {
	usage: "clusters [--url URL]",
	summary: "List the clusters in your reach",
	help: "Options:\n  --url URL   of this control plane only",
	options: { url: { type: "string" } },
	words: [0, 0],
	async run(terminal, _words, { url }) {
		const logins = await readLogins(terminal.places);
		const { found } = await reach(terminal, logins, url);
		const contextsOf = ({ login, name }: Found) =>
			Object.entries(login.contexts)
				.filter(([, { cluster }]) => cluster === name)
				.map(([context]) => context);
		const rows = found.map((each) => [
			each.name,
			organizationOf(each),
			contextsOf(each).join(",") || "-",
			each.endpoint,
		]);
		for (const line of table([["CLUSTER", "ORGANIZATION", "CONTEXT", "ENDPOINT"], ...rows])) {
			terminal.say(line);
		}
	},
};

/** What each of the user's logins reaches, or each of those at one control plane. */
export interface Reached {
	readonly found: readonly Found[];
	/** Those that were answered. */
	readonly answered: readonly Login[];
}

/** A login that is refused is said, and the others' clusters are there all the same. */
export async function reach(
	terminal: Terminal,
	logins: readonly Login[],
	url: Given[string],
): Promise<Reached> {
	const origin = typeof url === "string" ? originOf(url) : undefined;
	const asked = logins.filter((each) => origin === undefined || each.url === origin);
	if (asked.length === 0) {
		const where = origin === undefined ? "anywhere" : `at ${origin}`;
		throw new Complaint(`you are not signed in ${where}: docker skein login ${origin ?? "URL"}`);
	}
	const replies = await Promise.allSettled(
		asked.map(async (login) => (await clustersOf(login)).map((each) => ({ ...each, login }))),
	);
	const refusals = replies.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
	if (refusals.length === asked.length) throw refusals[0];
	for (const each of refusals) terminal.warn(messageOf(each));
	return {
		found: replies.flatMap((each) => (each.status === "fulfilled" ? each.value : [])),
		answered: asked.filter((_, at) => replies[at]?.status === "fulfilled"),
	};
}

/** By its name, with its organization's before it where that alone does not say which: `acme/shop`. */
export function oneCluster(found: readonly Found[], given: string): Found {
	const [, organization, name = ""] = /^(?:(.+)\/)?([^/]*)$/s.exec(given) ?? [];
	const isMeant = (each: Found) =>
		each.name === name &&
		(organization === undefined ||
			each.organization === organization ||
			isOf(each.login, organization));
	const [first, ...more] = found.filter(isMeant);
	if (!first) {
		const all = found.map((each) => each.name).join(", ") || "none";
		throw new Complaint(`there is no cluster ${given} in your reach (there are: ${all})`);
	}
	if (more.length === 0) return first;
	throw new Complaint(
		`${severalOf([first, ...more])}: say which with --url, or as ORGANIZATION/CLUSTER`,
	);
}

const severalOf = (same: readonly Found[]) => {
	const all = same.map((each) => `${organizationOf(each)}/${each.name} at ${each.login.url}`);
	return `there is a cluster ${same[0]?.name} in several places: ${all.join(", ")}`;
};

const organizationOf = ({ login, organization }: Found) => login.organization?.name ?? organization;

/** The one that it has, or its own. */
function nameFor({ login, name }: Found, chosen: readonly Found[]): string {
	const [known] = Object.entries(login.contexts).find(([, { cluster }]) => cluster === name) ?? [];
	if (known !== undefined) return known;
	const same = chosen.filter((each) => each.name === name);
	if (same.length === 1) return contextOf(name);
	throw new Complaint(
		`${severalOf(same)}: docker skein context ORGANIZATION/${name} --url URL --name NAME, for each`,
	);
}

function refuseTaken(logins: readonly Login[], cluster: Found, name: string): void {
	for (const login of logins) {
		const taken = login.contexts[name];
		if (!taken || (login === cluster.login && taken.cluster === cluster.name)) continue;
		throw new Complaint(
			`the context ${name} leads to ${taken.cluster} at ${login.url} already: choose another name with --name`,
		);
	}
}
