// Where sealed texts stand in a cluster's rows: contents of secrets and configs, and registries' logins in services'
// specs. A backup has them under the passphrase's keys instead of the cluster's.

import type { MaterialId } from "../../model/id.ts";
import { contentKey } from "../../model/material.ts";
import type { Service } from "../../model/service.ts";
import { type Rings, type Seal, sealFor } from "../accounts/seal.ts";
import { loginsBelongTo, loginsOf, openable, withLogins } from "../keys.ts";
import type { Cell, Page } from "../store/copy.ts";

export interface Seals {
	readonly contents: Seal;
	readonly logins: Seal;
}

export const sealsOf = (rings: Rings, cluster: string): Seals => ({
	contents: sealFor(rings, cluster, "contents"),
	logins: sealFor(rings, cluster, "registries"),
});

/** The same page, sealed anew. What no key opens any more stays as it is, and opens as little there. */
export async function resealPage(page: Page, from: Seals, to: Seals): Promise<Page> {
	const at = (column: string) => page.columns.indexOf(column);
	const each = async (work: (row: readonly Cell[]) => Promise<readonly Cell[]>) => {
		const rows: (readonly Cell[])[] = [];
		// One after the other: a page of contents is megabytes, and each would be there several times.
		for (const row of page.rows) rows.push(await work(row));
		return { ...page, rows };
	};
	switch (page.table) {
		case "content":
			return each(async (row) => {
				const [material, version] = [row[at("material")], row[at("version")]];
				const name = contentKey({
					material: String(material) as MaterialId,
					version: Number(version),
				});
				const sealed = String(row[at("sealed")]);
				return row.with(at("sealed"), await anew(name, sealed, from.contents, to.contents));
			});
		case "service":
			return each(async (row) => {
				const service = JSON.parse(String(row[at("decided")])) as Service;
				const logins = new Map<string, string>();
				for (const sealed of loginsOf(service)) {
					logins.set(sealed, await anew(loginsBelongTo, sealed, from.logins, to.logins));
				}
				return row.with(at("decided"), JSON.stringify(withLogins(service, logins)));
			});
		default:
			return page;
	}
}

async function anew(belongsTo: string, sealed: string, from: Seal, to: Seal): Promise<string> {
	const plain = await openable(from, belongsTo, sealed);
	return plain ? to.seal(belongsTo, plain) : sealed;
}
