// What an image's manifest says that a registry must know: what else belongs to the image.
//
// Pure. Manifests are Docker's (schema 2) or OCI's; a list of manifests, one for each platform, names other manifests.

export interface Manifest {
	readonly mediaType: string;
	/** Of a list. */
	readonly manifests: readonly string[];
	/** Its configuration and its layers. */
	readonly blobs: readonly { readonly digest: string; readonly size: number }[];
}

interface Descriptor {
	readonly mediaType?: string;
	readonly digest: string;
	readonly size: number;
}

const oci = "application/vnd.oci.image";

export const digestPattern = /^sha256:[0-9a-f]{64}$/;

/** Throws, in a sentence, what is no manifest of an image. */
export function parseManifest(bytes: Uint8Array): Manifest {
	const { mediaType, manifests, config, layers } = JSON.parse(new TextDecoder().decode(bytes)) as {
		readonly mediaType?: string;
		readonly manifests?: readonly Descriptor[];
		readonly config?: Descriptor;
		readonly layers?: readonly Descriptor[];
	};
	if (!manifests && !(config && layers)) {
		throw new Error("a manifest names manifests, or a config and layers: this is neither");
	}
	const blobs = config && layers ? [config, ...layers.filter((layer) => !isElsewhere(layer))] : [];
	const all = [...(manifests ?? []), ...blobs];
	const odd = all.find(({ digest }) => !digestPattern.test(digest));
	if (odd) throw new Error(`digest ${odd.digest}: only sha256 is known here`);
	return {
		mediaType: mediaType ?? `${oci}.${manifests ? "index" : "manifest"}.v1+json`,
		manifests: (manifests ?? []).map(({ digest }) => digest),
		blobs: blobs.map(({ digest, size }) => ({ digest, size })),
	};
}

/** Layers that engines never push: they name where they are to be had. */
function isElsewhere({ mediaType = "" }: Descriptor): boolean {
	return /foreign|nondistributable/.test(mediaType);
}
