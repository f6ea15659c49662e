// Images that were built here, and that no registry outside has.
//
// Every agent is a small registry: on loopback for its own engine, which pushes what it built and pulls what it is to
// run, and on its mesh address for its peers, read-only. What the one does not have the others do, by digest.

import type { NodeId } from "./id.ts";

/** The host part of such images' names; no registry has it. `skein.local/web:3f2a1b0@sha256:…` */
export const imageHost = "skein.local";

/** On loopback and on the mesh address. Docker trusts 127.0.0.0/8 without TLS. */
export const imagePort = 4788;

/** One image that the cluster keeps, as a node is told. */
export interface ImageAssignment {
	/** Without the host: `web`. */
	readonly repository: string;
	/** Of the image's manifest: `sha256:…`. */
	readonly digest: string;
	/** This node keeps a whole copy, whether it runs it or not. */
	readonly keep: boolean;
	/** The nodes that have a whole copy, by their own word: where the others get it. Sorted. */
	readonly holders: readonly NodeId[];
	/** Of an image for several architectures the index itself, whose digest that is; it is to be served as it stands. */
	readonly index?: string;
}

/** Of the manifests that engines push. */
export const manifestTypes = [
	"application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.oci.image.manifest.v1+json",
] as const;

export interface ManifestForm {
	readonly mediaType: (typeof manifestTypes)[number];
	/** In bytes, exactly. */
	readonly size: number;
}

/** An image for several architectures: OCI's index of one manifest for each. */
export interface ImageIndex {
	readonly digest: string;
	/** To the byte: the digest is that of it. */
	readonly text: string;
	/** Digests of the manifests, by architecture. */
	readonly manifests: Readonly<Record<string, string>>;
}

/** One of these images, in a node's own words. */
export interface OwnImage {
	/** `web` */
	readonly repository: string;
	readonly tag: string;
	/** Empty where the reference names none. */
	readonly digest: string;
	/** As it is shown on the node: `skein.local/web:3f2a1b0`. */
	readonly name: string;
	/** Where the node's engine pushes it to and pulls it from: `127.0.0.1:4788/web`. */
	readonly source: string;
}

/** Undefined for images of registries outside. */
export function ownImage(image: string): OwnImage | undefined {
	const [, repository, tag = "latest", digest = ""] =
		/^skein\.local\/([^:@]+)(?::([^@]+))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(image) ?? [];
	if (repository === undefined) return undefined;
	return {
		repository,
		tag,
		digest,
		name: `${imageHost}/${repository}:${tag}`,
		source: `127.0.0.1:${imagePort}/${repository}`,
	};
}

const dockerHub = "https://index.docker.io/v1/";

/** Which of the logins, by registry, is the image's. Docker Hub has two names. */
export function loginFor<Login>(
	logins: Readonly<Record<string, Login>>,
	image: string,
): Login | undefined {
	const registry = registryOf(image);
	return logins[registry] ?? (registry === "docker.io" ? logins[dockerHub] : undefined);
}

/** As Docker tells them: only a first part with a dot or a port, or localhost, is a registry's name. */
export function registryOf(image: string): string {
	const [first = "", rest] = image.split("/", 2);
	return rest !== undefined && /[.:]|^localhost$/.test(first) ? first : "docker.io";
}
