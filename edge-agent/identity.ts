// Who this machine is to the control plane: kept in one file from the join to the removal.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { NodeId } from "../model/id.ts";
import { contentFiles } from "./contents.ts";
import { readJson, writeDurably } from "./ledger.ts";

export interface Identity {
	/** The control plane's, no slash at the end. */
	readonly url: string;
	readonly node: NodeId;
	readonly credential: string;
	/** Empty for the machine's own name. */
	readonly name: string;
	/** Empty for the default route's address. */
	readonly advertise: string;
	readonly wireguardPort: number;
}

const file = (dir: string) => join(dir, "identity.json");

export const readIdentity = (dir: string) => readJson<Identity>(file(dir));

export const writeIdentity = (dir: string, identity: Identity) =>
	writeDurably(file(dir), `${JSON.stringify(identity, null, "\t")}\n`);

/** Nothing here is a node any more; the WireGuard key and what else the machine has of its own stay. */
export async function forget(dir: string): Promise<void> {
	for (const name of ["identity.json", "assignment.json", "tasks.json", ...contentFiles]) {
		await rm(join(dir, name), { force: true });
	}
}
