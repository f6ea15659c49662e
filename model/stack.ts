// A stack: what a compose file comes to, in the documents that `docker stack deploy` sends to a swarm.
//
// The node that builds lets Docker's own command line make them, so that nobody here has to know what a compose file
// means; the control plane reads them as it reads the command line's requests.

import type { ContentName, MaterialKind } from "./material.ts";
import type { Document } from "./service.ts";

/** What a compose file is read with. */
export interface StackOrder {
	/** The stack's: its services are NAME_service. */
	readonly name: string;
	/** What `${…}` stands for in the file. */
	readonly variables: Readonly<Record<string, string>>;
	/** By service: these images and no others, where another environment's are promoted. */
	readonly images?: Readonly<Record<string, string>>;
	/** Of a pull request: its ports are whichever are free, and out of a fork it has what is its own and no more. */
	readonly preview?: { readonly isFork: boolean };
}

/** As the node that built it tells: `POST /agent/build-stack?build=ID`. */
export interface ReportedStack {
	/** Bodies of `POST /networks/create`. Networks that are there already (`external`) are not among them. */
	readonly networks: readonly Document[];
	/** Bodies of `POST /secrets/create` and `POST /configs/create`, contents included. */
	readonly secrets: readonly Document[];
	readonly configs: readonly Document[];
	/** Bodies of `POST /services/create`; what they refer to goes by its name. Images by digest where one is known. */
	readonly services: readonly Document[];
	/** Of the services that are built here, by their names in the file: `skein.local/shop/web:3f2a1b0@sha256:…`. */
	readonly images: Readonly<Record<string, string>>;
}

/** What of it has no effect here, a sentence each: for the build's log. */
export interface StackReply {
	readonly warnings: readonly string[];
}

/** As it is kept: contents lie beside the snapshot, by material and version. */
export interface Stack {
	readonly name: string;
	readonly networks: readonly Document[];
	readonly services: readonly Document[];
	readonly files: readonly StackFile[];
	readonly images: ReportedStack["images"];
	/** Out of a fork: none of the application's logins are for it. */
	readonly isStrangers?: true;
}

/** A secret or config of the stack, at just this content. */
export interface StackFile extends ContentName {
	readonly kind: MaterialKind;
	readonly name: string;
	readonly templating: boolean;
}

/** On all that is the stack's: Docker's own, by which `docker stack` finds it. */
export const stackLabel = "com.docker.stack.namespace";

/**
 * All documents of a stack but contents, as JSON: they are in every snapshot, and once more in each deployment. A
 * service takes 1 to 2 KB.
 */
export const longestStackBytes = 128 * 1024;
/** Contents, in base64: within what an agent may send at once. */
export const longestStackContents = 8 * 1024 * 1024;
