// `docker skein usage`: what there is, of what there may be.

import { type LimitName, showAmount, type Usages } from "../../model/limits.ts";
import { accountOf, clustersUsed, usageOf } from "../endpoint.ts";
import { placeOf, readLogins } from "../logins.ts";
import { table } from "../terminal.ts";
import type { Command } from "./command.ts";
import { reach } from "./context.ts";

export const usage: Command = {
	usage: "usage [--url URL]",
	summary: "Show what your organizations have, of what they may have",
	help: `Clusters are counted for an organization; nodes, services, tasks, and bytes of secrets and configs in each cluster.

Options:
  --url URL   at this control plane only`,
	options: { url: { type: "string" } },
	words: [0, 0],
	async run(terminal, _words, { url }) {
		const { found, answered } = await reach(terminal, await readLogins(terminal.places), url);
		for (const login of answered) {
			const { id } = login.organization ?? (await accountOf(login)).organization;
			const { clusters } = await clustersUsed(login, id);
			terminal.say(`${placeOf(login)}: clusters ${shown("clusters", clusters)}`);
			const rows = found
				.filter((each) => each.login === login)
				.map(async ({ name }) => {
					const used = await usageOf(login, name);
					return [name, ...columns.map((column) => shown(column, used[column]))];
				});
			if (rows.length === 0) continue;
			const head = ["CLUSTER", ...columns.map((each) => each.toUpperCase())];
			for (const line of table([head, ...(await Promise.all(rows))])) terminal.say(line);
		}
	},
};

const columns = ["nodes", "services", "tasks", "contents"] as const;

function shown(name: LimitName, { used, limit }: Usages<LimitName>[LimitName]): string {
	const has = showAmount(name, used);
	return limit === null ? has : `${has} of ${showAmount(name, limit)}`;
}
