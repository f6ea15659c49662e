// A delivery read: which forge it is of, whose secret signed it, and what happened in the repository.
//
// Replays. Whoever has seen one delivery can send it again, under any id: no forge's signature covers the id, but for
// GitLab's newer one. So what was delivered before is known by its `key`, which is made of what is signed, and whoever
// keeps deliveries keeps that. The price: a push that takes a ref back to where it was, and a third that repeats the
// first, may be the same to the letter in GitLab's and Bitbucket's words, and counts as delivered before.

import { bytesToHex } from "@noble/hashes/utils.js";
import { forbidden, invalid } from "../../model/errors.ts";
import type { GitEvent } from "../../model/git.ts";
import { bitbucket } from "./bitbucket.ts";
import type { Delivery, Forge } from "./forge.ts";
import { generic } from "./generic.ts";
import { gitea } from "./gitea.ts";
import { github } from "./github.ts";
import { gitlab } from "./gitlab.ts";

export interface Delivered {
	readonly forge: string;
	/** As the forge's own pages name it; the key where it has no name. For people: nothing is decided by it. */
	readonly id: string;
	/** The same for whatever says the same, signed by the same secret: `sha256:…` of the body, or `gitlab:ID`. */
	readonly key: string;
	/** One for each ref that was pushed. */
	readonly events: readonly GitEvent[];
}

/** Gitea sends GitHub's headers too, so it is asked first. */
const forges: readonly Forge[] = [generic, gitea, github, gitlab, bitbucket];

/**
 * `secrets` are all that are valid now; while one takes another's place, two. Throws `invalid` for what is of no forge
 * and for what is not as its forge documents it, `forbidden` for what none of the secrets signed.
 */
export async function readDelivery(
	delivery: Delivery,
	secrets: readonly string[],
): Promise<Delivered> {
	const { headers, body } = delivery;
	const forge = forges.find((each) => each.recognizes(headers));
	if (!forge) {
		throw invalid(
			"this is no webhook of GitHub, GitLab, Gitea, Forgejo or Bitbucket: each sends a header that names its event. " +
				"From anywhere else, send X-Skein-Signature-256",
		);
	}
	// All are tried, so that the time it takes does not tell which it was.
	const verified = await Promise.all(secrets.map((secret) => forge.verify(secret, delivery)));
	if (!verified.includes(true)) {
		throw forbidden(
			`this delivery is not signed with the application's webhook secret: set the same secret in ${forge.name}`,
		);
	}
	const signedId = forge.signedId?.(headers);
	const key = signedId ? `${forge.name.toLowerCase()}:${signedId}` : await digestOf(body);
	return {
		forge: forge.name,
		id: forge.id(headers) || key,
		key,
		events: forge.events(delivery),
	};
}

async function digestOf(body: Uint8Array<ArrayBuffer>): Promise<string> {
	return `sha256:${bytesToHex(new Uint8Array(await crypto.subtle.digest("SHA-256", body)))}`;
}
