// Bitbucket, in the cloud. Its deployments are its own pipelines', so that a commit's build status is all there is to say.
//
// https://developer.atlassian.com/cloud/bitbucket/rest/api-group-commit-statuses/

import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { toBase64 } from "../accounts/base64.ts";
import { bytesOf } from "../webhooks/bytes.ts";
import type { ForgeApi, Saying } from "./forge.ts";

const states = {
	queued: "INPROGRESS",
	running: "INPROGRESS",
	succeeded: "SUCCESSFUL",
	failed: "FAILED",
	stopped: "STOPPED",
	removed: "SUCCESSFUL",
} as const satisfies Record<Saying["state"], string>;

/** Longer ones are refused. */
const longestKey = 40;

const keyOf = (context: string) =>
	context.length <= longestKey
		? context
		: bytesToHex(sha256(bytesOf(context))).slice(0, longestKey);

export const bitbucket: ForgeApi = {
	name: "Bitbucket",
	needs: "repository:write",
	base: () => "https://api.bitbucket.org/2.0",
	headers: ({ token, user }) => ({
		Accept: "application/json",
		Authorization: user ? `Basic ${toBase64(bytesOf(`${user}:${token}`))}` : `Bearer ${token}`,
	}),
	status: (project, { state, description, context, commit, url, log, ref }) => ({
		method: "POST",
		path: `/repositories/${project}/commit/${commit}/statuses/build`,
		body: {
			key: keyOf(context),
			name: context,
			state: states[state],
			description,
			// It takes none without.
			url: url || log || `https://bitbucket.org/${project}/commits/${commit}`,
			...(ref && { refname: ref }),
		},
	}),
};
