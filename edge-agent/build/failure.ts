// Why a build failed, in a sentence for the person whose build it is.

import { registryOf } from "../../model/image.ts";

/** The build is at fault, or what it needs: to be told as it stands. */
export class BuildFailure extends Error {}

const noSpace = /no space left on device/i;

/**
 * Of what `docker build` said: the step that failed and what became of it. BuildKit numbers what it does, several at a
 * time (`#7 [2/3] RUN make`, `#7 ERROR: …`); the classic builder says one step after the other.
 */
export function failureOf(said: readonly string[], code: number): string {
	const failed = said.findLast((line) => /^#\d+ ERROR: /.test(line));
	const [number = "", error = ""] = failed?.split(/ ERROR: (.*)/, 2) ?? [];
	const step = failed
		? said.find((line) => line.startsWith(`${number} [`))?.slice(number.length + 1)
		: said.findLast((line) => /^Step \d+\/\d+ : /.test(line));
	const reason = said.some((line) => noSpace.test(line))
		? "the disk of Docker is full: docker builder prune, or docker system prune, makes room"
		: plainly(failed ? error : (said.at(-1) ?? `exit ${code}`));
	return step ? `${titled(step)}: ${reason}` : reason;
}

const titled = (step: string) =>
	step
		.replace(/^\[internal\] /, "")
		.replace(/^Step (\d+\/\d+) : /, "[$1] ")
		.slice(0, 300);

/** Without what the builder's parts say about one another, and the command, which the step names. */
function plainly(error: string): string {
	const exit = /(?:exit code: |non-zero code: )(\d+)$/.exec(error)?.[1];
	if (exit !== undefined) return exit === "137" ? killed : `exit code ${exit}`;
	const wrapped =
		/^(?:ERROR: )?(?:failed to build: )?(?:failed to solve(?: with frontend [\w.]+)?: )?(?:failed to create LLB definition: )?/;
	return error.replace(wrapped, "").slice(0, 1000);
}

const killed = "exit code 137: killed, as by a build that needs more memory than it may have";

const isAway =
	/dial tcp|no such host|i\/o timeout|connection refused|no route to host|Client\.Timeout|deadline exceeded|EOF$/;
const isRefused =
	/unauthorized|no basic auth credentials|authentication required|denied|forbidden/i;

/** What to do about a push that a registry did not take: engines and registries of all kinds, in their own words. */
export function pushRemedy(image: string, isLoggedIn: boolean, said: string): string {
	const registry = registryOf(image);
	const repository = image.slice(registry.length + 1).replace(/:[^:/]*$/, "");
	if (/server gave HTTP response to HTTPS client/.test(said)) {
		return `: ${registry} has no TLS: give it some, or name it under insecure-registries in the nodes' /etc/docker/daemon.json`;
	}
	if (/x509|certificate/.test(said)) {
		return `: put the authority of ${registry}'s certificate into /etc/docker/certs.d/${registry}/ca.crt on the nodes`;
	}
	if (isAway.test(said))
		return `: is ${registry} the registry's address, and does this node reach it?`;
	if (/name unknown|not found|does not exist|404/i.test(said) && !isRefused.test(said)) {
		return `: make the repository ${repository} in ${registry} first, or look at \`registry\` in the application's spec`;
	}
	if (!isRefused.test(said)) return "";
	const secret = `docker skein app secret NAME registries.${registry} --user USER`;
	return isLoggedIn
		? `: ${registry} refuses the login that it was given, or that login may not push to ${repository} (${secret} gives another)`
		: `: ${registry} wants a login: ${secret}`;
}
