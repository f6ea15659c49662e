// What an entry builds and every request is given: the ways to accounts, clusters and nodes.

import type { DoorEnv } from "./cluster.ts";
import type { HostedClusters } from "./clusters.ts";
import type { Identity } from "./dispatcher/identity.ts";
import type { Agents } from "./dispatcher/router.ts";
import type { Streams } from "./dispatcher/streams.ts";
import type { Accounts } from "./store/accounts.ts";

export interface World {
	readonly accounts: Accounts;
	readonly hosted: HostedClusters;
	readonly streams: Streams;
	/** Agents that were recognised before. */
	readonly identities: Map<string, Identity>;
	readonly install: InstallFiles;
	/** How agents and people reach us, where that is known better than from the request. */
	readonly publicUrl: string | undefined;
	/** What to tell those who came by the socket and so named no address. */
	readonly listenUrl: string;
	nowMs(): number;
	newId(): string;
}

/** What Hono carries along with a request. */
export interface AppEnv {
	Bindings: { world: World; via: "socket" | "tcp" };
	Variables: DoorEnv["Variables"] & { agents: Agents };
}

export interface InstallFiles {
	/** The script as it stands in the repository. */
	script(): Promise<string>;
	/** Every file that it may load: where from, and its SHA-256. A path of ours, or an address elsewhere. */
	files(): Promise<readonly InstallFile[]>;
	/** The bytes of a file of ours. */
	open(name: string): Promise<Response | undefined>;
}

export interface InstallFile {
	/** `agent.js`, `bun-linux-x64`, … */
	readonly name: string;
	readonly sha256: string;
	/** Elsewhere; ours is `/install/<name>`. */
	readonly url?: string;
}
