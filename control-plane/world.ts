// What an entry builds and every request is given: the ways to the directory, clusters and nodes.

import type { ClusterId } from "../model/id.ts";
import type { Access } from "./accounts/access.ts";
import type { Actor } from "./accounts/actor.ts";
import type { AccountsEnv } from "./accounts/door.ts";
import type { Throttle } from "./accounts/throttle.ts";
import type { ClusterSummary, DoorEnv, FoundClusters } from "./cluster.ts";
import type { HostedClusters } from "./clusters.ts";
import type { Upgrade } from "./connection/websocket.ts";
import type { Identity } from "./dispatcher/identity.ts";
import type { Relay } from "./dispatcher/relay.ts";
import type { AgentBells, Agents } from "./dispatcher/router.ts";
import type { Operations } from "./operations/router.ts";
import type { Directory } from "./store/directory.ts";
import type { Reach } from "./webhooks/reach.ts";

export interface World {
	readonly directory: Directory;
	readonly access: Access;
	readonly hosted: HostedClusters;
	readonly relay: Relay;
	/** What rings agents that do not hold the line. */
	readonly bells?: AgentBells;
	/** Agents that were recognised before. */
	readonly identities: Map<string, Identity>;
	/** Where each cluster has a place of its own: hands a request that concerns one to it, and brings the answer. */
	readonly passOn?: (
		cluster: ClusterId,
		request: Request,
		admitted?: Admitted,
	) => Promise<Response>;
	/** Which forges may be told how deployments go. */
	readonly forges: Reach;
	readonly install: InstallFiles;
	readonly operations: Operations;
	/** How often whoever asks may ask; not where a request was counted before it was passed on. */
	readonly throttle?: Throttle;
	/** How agents and people reach us, where that is known better than from the request. */
	readonly publicUrl: string | undefined;
	/** What follows a cluster's name in a host name (`docker.example.com`), where such names lead here. */
	readonly dockerHost: string | undefined;
	/** What to tell those who came by the socket and so named no address. */
	readonly listenUrl: string;
	/** Work that outlives the request it came from. Rejects to nobody. */
	background(work: Promise<unknown>): void;
	nowMs(): number;
	newId(): string;
}

/** Whoever asks, as they were recognised where a request was passed on from: nobody looks them up again. */
export type Admitted =
	| { readonly kind: "actor"; readonly actor: Actor; readonly cluster: ClusterSummary }
	| { readonly kind: "agent"; readonly identity: Identity };

/** What Hono carries along with a request. */
export interface AppEnv {
	Bindings: {
		world: World;
		via: "socket" | "tcp";
		/** By whoever passed the request on. */
		admitted?: Admitted;
		/** The caller's, over TCP. */
		address?: string;
		/** Of the caller's certificate, where TLS proved that they have its key: SHA-256, as hex. */
		certificate?: string;
		/** Where the connection was upgraded to raw bytes. */
		stdin?: ReadableStream<Uint8Array>;
		/** Where the connection asked for a WebSocket. */
		upgrade?: Upgrade;
	};
	Variables: DoorEnv["Variables"] &
		AccountsEnv["Variables"] & {
			agents: Agents;
			noted: Noted;
			/** The clusters that the caller may ask for. */
			inReach: FoundClusters;
		};
}

/** What the log says of a request besides the request: filled in by whoever recognises who asks. */
export interface Noted {
	actor?: string;
	cluster?: string;
	/** It is answered, logged and counted where it went. */
	isPassedOn?: boolean;
}

/** Makes a machine a node; puts `docker skein` into a user's docker CLI. */
export type InstallScript = "install.sh" | "cli.sh";

export interface InstallFiles {
	/** As it stands in the repository. */
	script(name: InstallScript): Promise<string>;
	/** Every file that it may load: where from, and its SHA-256. A path of ours, or an address elsewhere. */
	files(): Promise<readonly InstallFile[]>;
	/** The bytes of a file of ours. */
	open(name: string): Promise<Response | undefined>;
}

export interface InstallFile {
	/** `agent.js`, `cli.js`, `bun-linux-x64`, … */
	readonly name: string;
	readonly sha256: string;
	/** Elsewhere; ours is `/install/<name>`. */
	readonly url?: string;
}
